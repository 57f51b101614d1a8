//! The meaning of a failing tool's output.

use std::borrow::Cow;

use super::Language;

/// The meaning of a line of a failing tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// A package has to be compiled, and there is no compiler: the recipe's compilers may help.
    NeedsCompiler,
    /// The compilation lacks a library or a program. The text is the hint that names its package.
    Lacks(Cow<'static, str>),
    /// A file that must not be fetched is not in the cache.
    NotCached,
    /// The lock file does not fit the project. The text is the hint.
    LockOutOfDate(Cow<'static, str>),
    /// Anything else. The text is the hint.
    Hint(Cow<'static, str>),
}

impl Explanation {
    /// The compilation lacks something that `hint` names.
    pub(super) const fn lacks(hint: &'static str) -> Self {
        Self::Lacks(Cow::Borrowed(hint))
    }

    /// The lock file does not fit the project; `hint` mends it.
    pub(super) const fn lock(hint: &'static str) -> Self {
        Self::LockOutOfDate(Cow::Borrowed(hint))
    }

    /// Anything else, with this hint.
    pub(super) const fn hint(hint: &'static str) -> Self {
        Self::Hint(Cow::Borrowed(hint))
    }
}

/// The diagnosis of a failing tool, from its output line by line.
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
    /// Begins the diagnosis of a tool of `language`.
    pub fn new(language: Option<&'static dyn Language>) -> Self {
        Self { language, ..Self::default() }
    }

    /// Takes note of a line, or a part of one. Of several explanations of a kind the first counts: it mostly causes the
    /// others.
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

    /// The hint for the user. `locked` is whether there is a lock file, `offline` whether the network is not used.
    pub fn hint(&self, locked: bool, offline: bool) -> Option<String> {
        if offline && self.not_cached {
            return Some("build once without --offline: the cache has what was installed before".into());
        }
        if let Some(lacks) = &self.lacks {
            return Some(lacks.clone().into_owned());
        }
        if self.needs_compiler {
            return Some(
                "a package cannot be compiled, because a library or tool is missing: add it with --dev-package NAME, such as --dev-package libpq-dev"
                    .into(),
            );
        }
        self.lock.as_ref().filter(|_| locked).or(self.hint.as_ref()).map(|text| text.clone().into_owned())
    }
}

/// Finds the meaning of `line` in a table of words. The first words that it contains count.
pub(super) fn find(line: &str, sayings: &[(&str, Explanation)]) -> Option<Explanation> {
    sayings.iter().find(|(words, _)| line.contains(words)).map(|(_, explanation)| explanation.clone())
}

/// Explains the messages of compilers and build tools, which are the same in every language.
fn of_compilers(line: &str) -> Option<Explanation> {
    const NO_COMPILER: [&str; 8] = [
        "gcc: not found",
        "g++: not found",
        "cc: not found",
        "make: not found",
        "C compiler",
        "Unknown compiler",
        "CMAKE_C_COMPILER could be found",
        "CMAKE_CXX_COMPILER could be found",
    ];
    // Words of CMake, Meson and configure scripts about a compiler that exists.
    const COMPILER: [&str; 5] =
        ["identification is", "checking ", "Check for working", "Detecting C", "for the host machine"];
    let has = |words: &[&str]| words.iter().any(|words| line.contains(words));
    if has(&NO_COMPILER) && !has(&COMPILER) {
        return Some(Explanation::NeedsCompiler);
    }
    let lacks = |text: String| Some(Explanation::Lacks(text.into()));
    if let Some(header) = header(line) {
        return lacks(format!(
            "a header is missing, {header}: --dev-package NAME brings it, where NAME is the package that has it, such as libpq-dev for \
             libpq-fe.h"
        ));
    }
    if let Some(name) = module(line) {
        return lacks(format!(
            "a library is missing, {name}: on Alpine `--dev-package pc:{name}` brings it, on Debian --dev-package with the package that \
             has {name}.pc"
        ));
    }
    let (_, library) = line.split_once("cannot find -l")?;
    let library = word(library)?;
    lacks(format!(
        "the linker lacks the library {library}: --dev-package NAME brings it, where NAME is the package that has lib{library}.so or \
         lib{library}.a"
    ))
}

/// The missing header in a line of GCC or Clang.
fn header(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fatal error: ")?;
    let (name, _) =
        rest.split_once(": No such file").or_else(|| rest.strip_prefix('\'')?.split_once("' file not found"))?;
    word(name).filter(|word| word.len() == name.len())
}

/// The missing module in a line of pkg-config, or of a program that calls it.
fn module(line: &str) -> Option<&str> {
    let rest = match line.split_once("Package '") {
        Some((_, rest)) => rest,
        None => line.split_once("Package ")?.1,
    };
    let name = word(rest)?;
    let behind = rest[name.len()..].trim_start_matches([',', '\'']);
    ["was not found in the pkg-config search path", "required by 'virtual:world', not found"]
        .iter()
        .any(|words| behind.trim_start().starts_with(words))
        .then_some(name)
}

/// The beginning of `text` that may be the name of a header, a library or a module.
fn word(text: &str) -> Option<&str> {
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '/');
    let end = text.find(|c| !is_of_names(c)).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
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
        let compiler = "a package cannot be compiled, because a library or tool is missing: add it with --dev-package NAME, \
                        such as --dev-package libpq-dev";
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

    #[test]
    fn compilers_are_explained_in_every_language() {
        for (line, expected) in [
            (
                "src/x.c:3:10: fatal error: libxml/parser.h: No such file or directory",
                "a header is missing, libxml/parser.h:",
            ),
            ("x.c:3:10: fatal error: 'ffi.h' file not found", "a header is missing, ffi.h:"),
            ("Package 'libxml-2.0', required by 'virtual:world', not found", "a library is missing, libxml-2.0:"),
            ("Package 'gtk+-3.0' was not found in the pkg-config search path.", "a library is missing, gtk+-3.0:"),
            ("Package libffi was not found in the pkg-config search path.", "a library is missing, libffi:"),
            ("/usr/bin/ld: cannot find -lpq: No such file or directory", "the linker lacks the library pq:"),
        ] {
            let mut diagnosis = Diagnosis::default();
            diagnosis.note(line);
            let hint = diagnosis.hint(false, false).unwrap_or_default();
            assert!(hint.starts_with(expected), "{line}: {hint}");
        }
        for line in [
            "fatal error: too bad",
            "Package",
            "Package 'x' is installed",
            "cannot find -l",
            "fatal error: : No such file",
        ] {
            assert_eq!(of_compilers(line), None, "{line}");
        }
    }
}
