//! What the words of a failing tool mean.

use std::borrow::Cow;

use super::Language;

/// What a line of a failing tool means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// Something has to be compiled, and there is nothing to compile it with: the recipe's compilers may help.
    NeedsCompiler,
    /// Something that is compiled lacks a library, or a program: the text says what brings it.
    Lacks(Cow<'static, str>),
    /// What is not to be fetched was not kept either.
    NotCached,
    /// The lock file does not fit the project: the text says what mends it.
    LockOutOfDate(Cow<'static, str>),
    /// Anything else: the text says what may help.
    Hint(Cow<'static, str>),
}

/// What a failing tool has said, line by line, and what to do about it.
#[derive(Debug, Default)]
pub struct Diagnosis {
    language: Option<&'static dyn Language>,
    needs_compiler: bool,
    not_cached: bool,
    lacks: Option<Cow<'static, str>>,
    lock: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
}

impl Diagnosis {
    /// Of a tool of `language`.
    pub fn new(language: Option<&'static dyn Language>) -> Self {
        Self { language, ..Self::default() }
    }

    /// Takes note of a line, or a part of one. Of several explanations of a kind the first counts: what follows mostly comes of it.
    pub fn note(&mut self, line: &str) {
        let own = self.language.and_then(|language| language.explain(line));
        match own.or_else(|| of_compilers(line)) {
            None => {}
            Some(Explanation::NeedsCompiler) => self.needs_compiler = true,
            Some(Explanation::NotCached) => self.not_cached = true,
            Some(Explanation::Lacks(text)) => _ = self.lacks.get_or_insert(text),
            Some(Explanation::LockOutOfDate(text)) => _ = self.lock.get_or_insert(text),
            Some(Explanation::Hint(text)) => _ = self.hint.get_or_insert(text),
        }
    }

    /// Whether the tool may succeed with the recipe's compilers.
    pub fn needs_compiler(&self) -> bool {
        self.needs_compiler
    }

    /// What to do, for the user. `locked` is whether a lock file says what is installed, `offline` whether nothing may be fetched.
    pub fn hint(&self, locked: bool, offline: bool) -> Option<String> {
        if offline && self.not_cached {
            return Some("build once without --offline: the cache has what was installed before".into());
        }
        if let Some(lacks) = &self.lacks {
            return Some(lacks.clone().into_owned());
        }
        if self.needs_compiler {
            return Some(
                "a package is compiled, and lacks what it is compiled with: --dev-package NAME brings that, such as --dev-package libpq-dev"
                    .into(),
            );
        }
        self.lock.as_ref().filter(|_| locked).or(self.hint.as_ref()).map(|text| text.clone().into_owned())
    }
}

/// What `line` means by a table of the words that it may have; the first that it has count.
pub(super) fn find(line: &str, sayings: &[(&str, Explanation)]) -> Option<Explanation> {
    sayings.iter().find(|(words, _)| line.contains(words)).map(|(_, explanation)| explanation.clone())
}

/// What compilers, and what calls them in every language, write.
fn of_compilers(line: &str) -> Option<Explanation> {
    const NO_COMPILER: [&str; 6] =
        ["gcc: not found", "g++: not found", "cc: not found", "make: not found", "C compiler", "Unknown compiler"];
    NO_COMPILER.iter().any(|words| line.contains(words)).then_some(Explanation::NeedsCompiler)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::ALL;

    #[test]
    fn lines_become_a_hint() {
        let node = ALL.iter().find(|language| language.name() == "node").copied();
        let hint = |lines: &[&str], locked, offline| {
            let mut diagnosis = Diagnosis::new(node);
            lines.iter().for_each(|line| diagnosis.note(line));
            (diagnosis.needs_compiler(), diagnosis.hint(locked, offline).unwrap_or_default())
        };
        let compiler = "a package is compiled, and lacks what it is compiled with: --dev-package NAME brings that, such as \
                        --dev-package libpq-dev";
        let script = "npm error command sh -c node install.js";
        assert_eq!(hint(&["all is well"], true, true), (false, String::new()));
        assert_eq!(hint(&[script, "gyp ERR! find Python"], true, false), (true, compiler.into()));
        assert_eq!(hint(&["sh: make: not found"], true, false), (true, compiler.into()));
        let (_, scripts) = hint(&[script], true, false);
        assert!(scripts.contains("--ignore-scripts runs none"), "{scripts}");
        let (_, lock) = hint(&[script, "npm error code EUSAGE"], true, false);
        assert!(lock.contains("`microbuild dev node APP -- npm install --package-lock-only`"), "{lock}");
        assert_eq!(hint(&[script, "npm error code EUSAGE"], false, false).1, scripts);
        let cached = "npm error code ENOTCACHED";
        assert!(hint(&[cached, "gyp ERR!"], true, true).1.contains("without --offline"));
        assert_eq!(hint(&[cached], true, false).1, "");
    }
}
