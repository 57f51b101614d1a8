//! Apps that serve files with validators made of size and time (RFC 9110, 8.8): where all files have one time, a browser that has
//! a file keeps it when its content changes and its length does not.
//!
//! One scanner for all languages: it looks for the names under which servers are known, and reads nothing else of a program.

use super::Source;

/// Most programs name their server in one of a few small files. More are not read.
const FILES: usize = 300;
const LARGEST: u64 = 256 << 10;

/// A server of files that an app uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Server {
    /// What its use looks like in a program.
    mark: &'static str,
    name: &'static str,
    /// Whether it tells versions of a file apart by the time alone, and takes an earlier one for an old one. Then only times that
    /// grow help.
    by_time: bool,
}

const fn server(mark: &'static str, name: &'static str) -> Server {
    Server { mark, name, by_time: false }
}

const fn by_time(mark: &'static str, name: &'static str) -> Server {
    Server { mark, name, by_time: true }
}

/// express, send, koa-send and @fastify/send make an ETag of size and time; so does sirv.
const NODE: &[Server] = &[
    server("express.static(", "express.static"),
    server("@nestjs/serve-static", "@nestjs/serve-static"),
    server("serve-static", "serve-static"),
    server("koa-static", "koa-static"),
    server("@fastify/static", "@fastify/static"),
    server("fastify-static", "fastify-static"),
    server("from \"sirv\"", "sirv"),
    server("from 'sirv'", "sirv"),
    server("require(\"sirv\")", "sirv"),
    server("require('sirv')", "sirv"),
];

/// WhiteNoise, Starlette, Flask (Werkzeug) and aiohttp do the same.
const PYTHON: &[Server] = &[
    server("whitenoise", "WhiteNoise"),
    server("StaticFiles(", "StaticFiles"),
    server("send_from_directory(", "send_from_directory"),
    server(".add_static(", "add_static"),
];

/// Go's net/http sends Last-Modified only, unless the program sets an ETag; gin, echo and chi build on it. Embedded files have no
/// time, and get no validator.
const GO: &[Server] = &[
    by_time("http.FileServer(", "http.FileServer"),
    by_time("http.FileServerFS(os.", "http.FileServerFS"),
    by_time("http.ServeFile(", "http.ServeFile"),
];

/// The warning for a project of `language` that serves files so, when all of its files have one time.
pub(crate) fn warning(language: &str, source: &Source<'_>) -> Option<String> {
    let (servers, extensions): (&[Server], &[&str]) = match language {
        "node" => (NODE, &[".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"]),
        "python" => (PYTHON, &[".py"]),
        "go" => (GO, &[".go"]),
        _ => return None,
    };
    let foreign =
        |path: &str| path.split('/').any(|part| matches!(part, "node_modules" | "site-packages" | "vendor" | "tests"));
    let is_code = |path: &&str| extensions.iter().any(|end| path.ends_with(end)) && !foreign(path);
    // What lies at the top first.
    let mut paths: Vec<&str> = source.files.paths().filter(is_code).collect();
    paths.sort_by_key(|path| (path.matches('/').count(), *path));
    paths.into_iter().take(FILES).find_map(|path| {
        let text = source.folder.read(path, LARGEST).ok().flatten()?;
        let Server { name, by_time, .. } = used(&text, servers).filter(|_| !text.contains("//go:embed"))?;
        let (by, hint) = if by_time {
            ("time", "--timestamps commit gives them the last commit's")
        } else {
            ("size and time", "--timestamps commit or content gives them others")
        };
        Some(format!(
            "{path} serves files with {name}, by which browsers tell versions of a file apart by {by}, and all files have the same \
             time: {hint}"
        ))
    })
}

/// The first of `servers` that a program's `text` uses. A line that is a comment does not count.
fn used(text: &str, servers: &[Server]) -> Option<Server> {
    let is_comment = |line: &str| ["//", "#", "*", "/*"].iter().any(|mark| line.trim_start().starts_with(mark));
    let uses = |server: &&Server| text.lines().any(|line| line.contains(server.mark) && !is_comment(line));
    servers.iter().find(uses).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    fn told(language: &str, files: &[(&str, &str)]) -> Option<String> {
        warning(language, &Draft::new(files).source())
    }

    #[test]
    fn servers_of_files_are_found_in_programs() {
        for (language, path, text, name) in [
            ("node", "app.js", "app.use(express.static('public'))", Some("express.static")),
            (
                "node",
                "src/main.ts",
                "import { ServeStaticModule } from '@nestjs/serve-static'",
                Some("@nestjs/serve-static"),
            ),
            ("node", "a.mjs", "import serve from 'koa-static'", Some("koa-static")),
            ("node", "a.cjs", "require('@fastify/static')", Some("@fastify/static")),
            ("node", "a.js", "const serveStatic = require('serve-static')", Some("serve-static")),
            ("node", "a.js", "import sirv from 'sirv'", Some("sirv")),
            ("node", "a.js", "// app.use(express.static('public'))", None),
            ("node", "a.js", "console.log('static')", None),
            ("node", "node_modules/express/lib/express.js", "express.static(", None),
            ("node", "a.json", "serve-static", None),
            (
                "python",
                "site/settings.py",
                "MIDDLEWARE = ['whitenoise.middleware.WhiteNoiseMiddleware']",
                Some("WhiteNoise"),
            ),
            ("python", "main.py", "app.mount('/', StaticFiles(directory='static'))", Some("StaticFiles")),
            ("python", "main.py", "# StaticFiles(directory='static')", None),
            ("go", "main.go", "http.Handle(\"/\", http.FileServer(http.Dir(\"public\")))", Some("http.FileServer")),
            ("go", "main.go", "//go:embed public\nvar files embed.FS\nhttp.FileServer(http.FS(files))", None),
            ("ruby", "a.rb", "express.static(", None),
        ] {
            let found = told(language, &[(path, text)]);
            let expected = name.map(|name| format!("{path} serves files with {name}, "));
            match (&found, &expected) {
                (Some(found), Some(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => assert_eq!(found, expected, "{path}: {text}"),
            }
        }
    }

    #[test]
    fn the_hint_fits_the_server() {
        let go = told("go", &[("main.go", "http.ServeFile(w, r, \"a\")")]).expect("a warning");
        assert!(go.contains("apart by time") && !go.contains("content"), "{go}");
        let node = told("node", &[("b/a.js", "serve-static"), ("z.js", "express.static(")]).expect("a warning");
        assert!(node.starts_with("z.js ") && node.contains("size and time") && node.contains("content"), "{node}");
    }
}
