//! Rules that a site brings: `Staticfile` (Cloud Foundry's and Railpack's), `_redirects` and `_headers` (Netlify's).

use super::super::{LanguageError, Source};

/// The rules of a site.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// The folder of the site, relative to the app's.
    pub(super) root: Option<String>,
    /// Whether the first page answers for every address that is no file.
    pub(super) single_page: bool,
    /// Whether folders without a page are listed.
    pub(super) lists_folders: bool,
    /// Whether there is a page for addresses that are not found.
    pub(super) has_error_page: bool,
    /// Addresses that lead to others.
    pub(super) redirects: Vec<Redirect>,
    /// Paths, with additional headers of the answers there.
    pub(super) headers: Vec<(String, Vec<(String, String)>)>,
    /// What could not be taken over, for the user.
    pub(super) warnings: Vec<String>,
}

/// An address that leads to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) answer: Answer,
}

/// How an address leads to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The browser is sent there, with this status.
    Status(u16),
    /// What is there is the answer.
    Rewrite,
}

impl Rules {
    /// Reads the rules of a project.
    pub(super) fn read(source: &Source<'_>) -> Result<Self, LanguageError> {
        let mut rules = Self::default();
        if let Some(text) = source.read("Staticfile")? {
            rules.staticfile(&text);
        }
        // Where files are built, these lie among those that are taken as they are.
        for folder in ["", "public/", "static/"] {
            if let Some(text) = source.read(&format!("{folder}_redirects"))? {
                rules.redirects(&text);
            }
            if let Some(text) = source.read(&format!("{folder}_headers"))? {
                rules.headers(&text);
            }
        }
        let root = rules.root.as_deref().map_or_else(String::new, |root| format!("{root}/"));
        let pages = [format!("{root}404.html"), "public/404.html".to_owned(), "static/404.html".to_owned()];
        rules.has_error_page = pages.iter().any(|page| source.folder.is_file(page));
        Ok(rules)
    }

    /// Reads `Staticfile`: lines `key: value`.
    fn staticfile(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
            match (key, value) {
                (_, "") => {}
                ("root", root) => {
                    let root = root.trim_start_matches("./").trim_matches('/');
                    if root.split('/').any(|part| part == "..") {
                        self.warnings.push(format!("Staticfile: root {value} leads out of the app, and is not used"));
                    } else {
                        self.root = Some(root.to_owned()).filter(|root| !root.is_empty() && root != ".");
                    }
                }
                ("pushstate", "enabled" | "true") => self.single_page = true,
                ("directory", "visible") => self.lists_folders = true,
                ("index_fallback", "true") => self.single_page = true,
                (key, _) if key.starts_with('#') => {}
                (key, _) => {
                    self.warnings.push(format!("Staticfile: {key} is not read; an own nginx.conf can say the same"));
                }
            }
        }
    }

    /// Reads `_redirects`: lines `FROM TO [STATUS]`.
    fn redirects(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (from, to, status) = match words[..] {
                [from, to] => (from, to, "301"),
                [from, to, status] => (from, to, status),
                _ => ("", "", ""),
            };
            let is_plain =
                from.starts_with('/') && !from.contains(':') && from.find('*').is_none_or(|at| at + 1 == from.len());
            match (status.trim_end_matches('!'), is_plain) {
                ("200", true) if from == "/*" && to == "/index.html" => self.single_page = true,
                ("200", true) if to.starts_with('/') => {
                    self.redirects.push(Redirect { from: from.to_owned(), to: to.to_owned(), answer: Answer::Rewrite });
                }
                (status @ ("301" | "302" | "307" | "308"), true) => {
                    let answer = Answer::Status(status.parse().unwrap_or(302));
                    self.redirects.push(Redirect { from: from.to_owned(), to: to.to_owned(), answer });
                }
                _ => {
                    self.warnings.push(format!("_redirects: `{line}` is not read; an own nginx.conf can say the same"));
                }
            }
        }
    }

    /// Reads `_headers`: a path, then its headers, indented.
    fn headers(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
            match (line.starts_with([' ', '\t']), line.trim().split_once(':')) {
                (false, _) => self.headers.push((line.trim().to_owned(), Vec::new())),
                (true, Some((name, value))) => {
                    if let Some((_, headers)) = self.headers.last_mut() {
                        headers.push((name.trim().to_owned(), value.trim().to_owned()));
                    }
                }
                (true, None) => self.warnings.push(format!("_headers: `{}` is no header", line.trim())),
            }
        }
        self.headers.retain(|(path, headers)| path.starts_with('/') && !headers.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_plain() {
        let mut rules = Rules::default();
        rules.staticfile(
            "root: ./web/\n# a comment\npushstate: enabled\nhttp_strict_transport_security: true\nroot: ../x\n",
        );
        rules.redirects("# old\n/a /b\n/c/* /d/:splat 302!\n/app/* /app.html 200\n/:id /x 301\n/e https://x/e 404\n");
        rules.headers("/*\n  X-A: 1\n  X-B: a: b\n/b\n\n/c\n  X-C: 2\n");
        assert_eq!(rules.root.as_deref(), Some("web"));
        assert!(rules.single_page);
        let redirect = |from: &str, to: &str, answer| Redirect { from: from.into(), to: to.into(), answer };
        assert_eq!(
            rules.redirects,
            [
                redirect("/a", "/b", Answer::Status(301)),
                redirect("/c/*", "/d/:splat", Answer::Status(302)),
                redirect("/app/*", "/app.html", Answer::Rewrite)
            ]
        );
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            rules.headers,
            [
                ("/*".to_owned(), vec![header("X-A", "1"), header("X-B", "a: b")]),
                ("/c".to_owned(), vec![header("X-C", "2")])
            ]
        );
        assert_eq!(rules.warnings.len(), 4, "{:?}", rules.warnings);
    }
}
