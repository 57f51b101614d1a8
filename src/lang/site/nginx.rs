//! nginx's configuration for a site.

use super::rules::{Answer, Redirect, Rules};

/// The configuration, with places to fill in.
const TEMPLATE: &str = include_str!("nginx.conf");

/// The port where the user names none.
pub(super) const PORT: u16 = 8080;

/// How a site is served.
pub(super) struct Server<'a> {
    /// The site's folder, relative to the app's; empty when it is the app's own.
    pub(super) root: &'a str,
    /// The port that it listens on.
    pub(super) port: u16,
    /// Whether the first page answers for every address that is no file.
    pub(super) single_page: bool,
    /// What the project's own files say.
    pub(super) rules: &'a Rules,
}

impl Server<'_> {
    /// The whole configuration.
    pub(super) fn configuration(&self) -> String {
        let root = if self.root.is_empty() { ".".to_owned() } else { quoted(self.root) };
        let tried =
            if self.single_page { "$uri $uri/index.html /index.html" } else { "$uri $uri/index.html $uri.html =404" };
        let text =
            TEMPLATE.replace("@ROOT@", &root).replace("@TRIED@", tried).replace("@PORT@", &self.port.to_string());
        text.replace("@RULES@\n", &self.lines())
    }

    /// The configuration that the project brings: the whole one, or the part with its servers.
    pub(super) fn with_own(&self, own: &str) -> String {
        let has = |block: &str| {
            own.lines()
                .any(|line| line.trim().strip_prefix(block).is_some_and(|rest| rest.trim_start().starts_with('{')))
        };
        if has("http") {
            let in_front =
                own.lines().any(|line| line.trim().trim_end_matches(';').split_whitespace().eq(["daemon", "off"]));
            return if in_front { own.to_owned() } else { format!("daemon off;\n{own}") };
        }
        let text = self.configuration();
        // Its servers stand where microbuild's own would.
        let before = text.split_once("    server {").map_or(&*text, |(before, _)| before);
        format!("{before}{}\n}}\n", own.trim_end())
    }

    /// The lines for the rules of the project.
    fn lines(&self) -> String {
        let mut lines = Vec::new();
        if self.rules.has_error_page {
            lines.push("error_page 404 /404.html;".to_owned());
        }
        if self.rules.lists_folders {
            lines.push("autoindex on;".to_owned());
        }
        for Redirect { from, to, answer } in &self.rules.redirects {
            let (place, target) = match from.strip_suffix("/*") {
                Some(below) => (format!("~ ^{}/(.*)$", escaped(below)), to.replace(":splat", "$1")),
                None => (format!("= {}", quoted(from)), to.clone()),
            };
            let action = match answer {
                Answer::Status(status) => format!("return {status} {};", quoted(&target)),
                Answer::Rewrite => format!("try_files $uri {} =404;", quoted(&target)),
            };
            lines.push(format!("location {place} {{ {action} }}"));
        }
        for (path, headers) in &self.rules.headers {
            let place = match path.strip_suffix('*') {
                Some(start) => format!("^~ {}", quoted(start)),
                None => format!("= {}", quoted(path)),
            };
            // A place with headers of its own does not get those around it.
            let headers =
                headers.iter().map(|(name, value)| format!("add_header {} {} always;", quoted(name), quoted(value)));
            let headers: Vec<String> = headers.collect();
            if path == "/*" {
                lines.extend(headers);
            } else {
                let tried = if self.single_page {
                    "$uri $uri/index.html /index.html"
                } else {
                    "$uri $uri/index.html $uri.html =404"
                };
                lines.push(format!("location {place} {{ {} try_files {tried}; }}", headers.join(" ")));
            }
        }
        lines.into_iter().map(|line| format!("        {line}\n")).collect()
    }
}

/// A word of nginx's configuration.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '/' | '.' | '_' | '-' | '$' | ':' | '%' | '?' | '=' | '&' | '#' | '+' | '~')
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text in a regular expression.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_ascii_alphanumeric() && c != '/' && c != '_').then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_configuration_stands_in_microbuilds_own() {
        let rules = Rules::default();
        let server = Server { root: "dist", port: PORT, single_page: false, rules: &rules };
        let text = server.with_own("server {\n    listen 9000;\n}\n");
        assert!(text.contains("http {") && text.contains("listen 9000") && !text.contains("listen 8080"), "{text}");
        assert!(server.with_own("events {}\nhttp { server { listen 9000; } }\n").starts_with("daemon off;\nevents"));
        assert_eq!(server.with_own("daemon off;\nhttp {}\n"), "daemon off;\nhttp {}\n");
    }

    #[test]
    fn rules_become_places() {
        let rules = Rules {
            redirects: vec![
                Redirect { from: "/old".into(), to: "/new".into(), answer: Answer::Status(301) },
                Redirect { from: "/blog/*".into(), to: "/news/:splat".into(), answer: Answer::Status(302) },
            ],
            headers: vec![("/*".into(), vec![("X-Frame-Options".into(), "DENY".into())])],
            has_error_page: true,
            ..Rules::default()
        };
        let lines = Server { root: "", port: PORT, single_page: false, rules: &rules }.lines();
        let expected = [
            "        error_page 404 /404.html;",
            "        location = /old { return 301 /new; }",
            "        location ~ ^/blog/(.*)$ { return 302 /news/$1; }",
            "        add_header X-Frame-Options DENY always;",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }
}
