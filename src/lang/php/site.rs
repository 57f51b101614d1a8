//! Apps that a web server runs: which folder it serves, and what a framework needs to be told in a container.
//!
//! The server is Apache with PHP in it, as in Docker's own image `php:apache`: one process, which reads the `.htaccess` files that
//! WordPress, Laravel and Symfony bring along. `recipes/php/apache.conf` is its configuration.

use serde_json::Value;

use super::super::{Facts, Source};

/// The folders that a web server may serve, the likelier first. The app's own folder comes before `src`.
pub(super) const ROOTS: [&str; 6] = ["public", "web", "html", "htdocs", "www", "src"];

/// What starts Apache in the foreground, with the app's folder as its root.
const COMMAND: [&str; 7] = ["httpd", "-d", ".", "-f", "/etc/microbuild/apache.conf", "-D", "FOREGROUND"];

/// Lets the recipe's web server run the app, where it has a page to begin with and no server of its own.
pub(super) fn serve(source: &Source<'_>, manifest: &Value, facts: &mut Facts) {
    let has = |path: &str| source.files.get(path).is_some();
    // Laravel had a server.php for PHP's own server.
    if has("server.php") && !has("artisan") {
        return;
    }
    let index = |root: &&str| has(&format!("{root}/index.php"));
    let before_top = ROOTS.iter().filter(|root| **root != "src").find(|root| index(root));
    let Some(root) =
        before_top.or_else(|| has("index.php").then_some(&".")).or_else(|| ROOTS.iter().find(|root| index(root)))
    else {
        return;
    };
    facts.command = Some(COMMAND.iter().map(|word| (*word).to_owned()).collect());
    facts.roles.push("web".to_owned());
    // One program answers for all addresses, unless there is a file for each.
    let is_one_program = *root != "." || manifest.is_object() || has("wp-includes");
    let mut set = |name: &str, value: &str| facts.env.insert(name.to_owned(), value.to_owned());
    set("APACHE_DOCUMENT_ROOT", root);
    set("APACHE_FALLBACK", if is_one_program { "/index.php" } else { "disabled" });
    set("PORT", "8080");
}

/// Tells a framework that its own folder is read-only: where it writes lists of packages, compiled views, sessions and logs. A
/// worker needs that as well as a web app.
pub(super) fn tell_framework(source: &Source<'_>, facts: &mut Facts) {
    let has = |path: &str| source.files.get(path).is_some();
    let mut set = |name: &str, value: &str| facts.env.insert(name.to_owned(), value.to_owned());
    if has("artisan") {
        for name in ["CONFIG", "EVENTS", "PACKAGES", "ROUTES", "SERVICES"] {
            set(&format!("APP_{name}_CACHE"), &format!("/tmp/laravel-{}.php", name.to_ascii_lowercase()));
        }
        set("APP_ENV", "production");
        set("LOG_CHANNEL", "stderr");
        set("SESSION_DRIVER", "cookie");
        set("VIEW_COMPILED_PATH", "/tmp/laravel-views");
    } else if has("bin/console") {
        set("APP_ENV", "prod");
        set("APP_DEBUG", "0");
        set("APP_CACHE_DIR", "/tmp/symfony/cache");
        set("APP_LOG_DIR", "/tmp/symfony/log");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Php;
    use crate::lang::testing::Draft;

    #[test]
    fn what_a_web_server_serves_is_found() {
        for (files, expected) in [
            (&["composer.json", "public/index.php", "artisan", "server.php"][..], Some(("public", "/index.php"))),
            (&["composer.json", "public/index.php", "bin/console"], Some(("public", "/index.php"))),
            (&["composer.json", "web/index.php"], Some(("web", "/index.php"))),
            (&["index.php", "wp-login.php", "wp-includes/x.php"], Some((".", "/index.php"))),
            (&["index.php", "contact.php"], Some((".", "disabled"))),
            (&["index.php", "public/index.php"], Some(("public", "/index.php"))),
            (&["index.php", "src/index.php"], Some((".", "disabled"))),
            (&["html/index.php"], Some(("html", "/index.php"))),
            (&["src/index.php"], Some(("src", "/index.php"))),
            (&["server.php", "public/index.php"], None),
            (&["worker.php"], None),
        ] {
            let files: Vec<_> = files.iter().map(|path| (*path, "{}")).collect();
            let facts = Draft::new(&files).read(&Php).unwrap();
            let env = |name: &str| facts.env.get(name).map(String::as_str);
            let found = env("APACHE_DOCUMENT_ROOT").zip(env("APACHE_FALLBACK"));
            assert_eq!(found, expected, "{files:?}");
            assert_eq!(facts.command.is_some(), expected.is_some(), "{files:?}");
            assert_eq!(facts.roles.is_empty(), expected.is_none(), "{files:?}");
        }
    }

    #[test]
    fn frameworks_write_where_they_may() {
        let env = |files: &[&str]| {
            let files: Vec<_> = files.iter().map(|path| (*path, "{}")).collect();
            Draft::new(&files).read(&Php).unwrap().env
        };
        let laravel = env(&["artisan", "public/index.php"]);
        assert_eq!(laravel["APP_PACKAGES_CACHE"], "/tmp/laravel-packages.php");
        assert_eq!((laravel["LOG_CHANNEL"].as_str(), laravel["APP_ENV"].as_str()), ("stderr", "production"));
        let symfony = env(&["bin/console", "public/index.php"]);
        assert_eq!((symfony["APP_ENV"].as_str(), symfony["APP_CACHE_DIR"].as_str()), ("prod", "/tmp/symfony/cache"));
        assert!(!env(&["index.php"]).contains_key("APP_ENV"));
    }
}
