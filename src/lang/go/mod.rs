//! Go: `go.mod` and `go.work` (<https://go.dev/ref/mod>), the programs of a project, and the messages of the command `go`.

mod programs;
mod source;

use std::collections::BTreeMap;

use super::{
    Explanation, Facts, LARGEST, Language, LanguageError, Source, WantedRuntime, explain, some, versions::Releases,
};
use crate::app_folder::AppFolder;

/// Go, with its modules.
#[derive(Debug)]
pub(super) struct Go;

impl Language for Go {
    fn name(&self) -> &'static str {
        "go"
    }

    /// Without a module, one of the files at the top must be a program: others may be there for tools.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let names = folder.list("").ok().flatten().unwrap_or_default();
        let mut names = names.iter().filter_map(|entry| entry.name.to_str());
        let is_program = |name: &str| {
            let text = folder.read(name, LARGEST).ok().flatten().and_then(|text| source::read(&text, &[]));
            text.is_some_and(|file| file.package == "main" && file.has_main)
        };
        folder.is_file("go.mod")
            || folder.is_file("go.work")
            || names.any(|name| source::is_built(name) && is_program(name))
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let choice = programs::choose(source)?;
        let file = if choice.module.is_empty() { "go.mod".to_owned() } else { format!("{}/go.mod", choice.module) };
        let module = source.read(&file)?.unwrap_or_default();
        let name = directive(&module, "module").map(|path| short(path).to_owned());
        // A workspace's version is at least that of its modules (go.dev/ref/mod, "go directive" of go.work).
        let work = source.read("go.work")?.unwrap_or_default();
        let asked = directive(&work, "go").map(|range| (range, "go.work"));
        let asked = asked.or_else(|| Some((directive(&module, "go")?, &*file)));
        let runtime = asked
            .and_then(|(range, file)| WantedRuntime::advised("Go", range, Some("go"), file, Releases::at_least(range)));
        let mut build_env = BTreeMap::new();
        if let Some(main) = &choice.main {
            build_env.insert("GO_MAIN".to_owned(), programs::shown(main));
        }
        if !choice.module.is_empty() {
            build_env.insert("GO_MODULE".to_owned(), choice.module.clone());
        }
        let notes = notes(source, &choice);
        // A pattern that is none embeds nothing: Go refuses it.
        let embedded = choice.embedded.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        Ok(Facts { name, runtime, build_env, folder: choice.module, embedded, notes, ..Facts::default() })
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        older(line).or_else(|| explain::find(line, SAYINGS))
    }
}

/// What the user should know of the choice.
fn notes(source: &Source<'_>, choice: &programs::Choice) -> Vec<String> {
    let mut notes = Vec::new();
    if choice.without_module && choice.main.is_some() {
        notes.push("there is no go.mod: the build makes one, with the latest version of each dependency".to_owned());
    }
    let Some(main) = &choice.main else { return notes };
    let chosen = programs::joined(&choice.module, main);
    let others: Vec<String> =
        choice.programs.iter().filter(|path| **path != chosen).map(|path| programs::shown(path)).collect();
    if !others.is_empty() && !source.variables.contains_key("GO_MAIN") {
        let (chosen, others) = (programs::shown(&chosen), some(&others));
        notes.push(format!("the program is {chosen}; another: GO_MAIN={others} in the environment of microbuild"));
    }
    notes
}

const SAYINGS: &[(&str, Explanation)] = &[
    (
        "missing go.sum entry",
        Explanation::lock("bring go.sum up to date with go.mod: `microbuild dev go APP -- go mod tidy`"),
    ),
    ("updates to go.mod needed", Explanation::lock("bring go.mod up to date: `microbuild dev go APP -- go mod tidy`")),
    (
        "inconsistent vendoring",
        Explanation::lock("bring vendor up to date with go.mod: `microbuild dev go APP -- go mod vendor`"),
    ),
    ("module lookup disabled by GOPROXY=off", Explanation::NotCached),
    ("requires cgo", Explanation::hint("a package has C code: set CGO_ENABLED=1 in your environment to compile it")),
    (
        "C source files not allowed when not using cgo",
        Explanation::hint("set CGO_ENABLED=1 in your environment to compile the C code"),
    ),
];

/// The meaning of a line that says that Go is older than `go.mod` asks for. From 1.21 on, Go itself can fetch a later one
/// (<https://go.dev/doc/toolchain>).
fn older(line: &str) -> Option<Explanation> {
    let found = match line.split_once("; GOTOOLCHAIN=local") {
        Some((before, _)) => before.rsplit_once("(running go ")?.1,
        None => line.split_once("as go.mod says, found ")?.1,
    };
    let version = found.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let fetches = Releases::at_least("1.21").is_some_and(|releases| releases.contain(version));
    let hint = if fetches {
        "go.mod asks for a later Go than the base has: with GOTOOLCHAIN=auto in the environment of microbuild, Go fetches that version; or \
         lower `go` in go.mod"
    } else {
        "go.mod asks for a later Go than the base has: --base debian:trixie has 1.24, which fetches later ones with GOTOOLCHAIN=auto in the \
         environment of microbuild; or lower `go` in go.mod"
    };
    Some(Explanation::hint(hint))
}

/// The value in the line `name VALUE` of a file; `//` begins a comment. Lines within parentheses begin with other
/// words.
fn directive<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().map(|line| line.split("//").next().unwrap_or(line));
    let value = lines.find_map(|line| {
        let rest = line.trim().strip_prefix(name)?;
        rest.starts_with([' ', '\t', '"']).then(|| rest.trim().trim_matches(['"', '`']))
    })?;
    (!value.is_empty() && !value.contains(char::is_whitespace)).then_some(value)
}

/// The name in a module's path: its last part, before the major version (from 2 on).
fn short(path: &str) -> &str {
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    path.rsplit('/').find(|part| !part.is_empty() && !is_version(part)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn reads_go_mod() {
        let read = |files: &[(&str, &str)]| Draft::new(files).read(&Go).unwrap();
        let text = "// the shop\nmodule \"example.org/team/shop/v2\" // v2\n\ngo 1.24.1\ntoolchain go1.25.0\n\nrequire (\n\tgo.uber.org/zap v1\n)\n";
        let main = ("main.go", "package main\nfunc main() {}\n");
        let facts = read(&[("go.mod", text), main]);
        assert_eq!(facts.name.as_deref(), Some("shop"));
        let wanted = facts.runtime.unwrap();
        assert_eq!((wanted.range.as_str(), wanted.place()), ("1.24.1", "go in go.mod".into()));
        assert!(
            wanted.fits("1.25.3-r0") && wanted.fits("2:1.24.1") && !wanted.fits("1.24.0") && !wanted.fits("1.19.8-2")
        );
        let facts = read(&[("go.mod", "module x\ngo 1.20"), ("go.work", "go 1.22\nuse .\n"), main]);
        assert_eq!(facts.runtime.map(|wanted| wanted.place()).as_deref(), Some("go in go.work"));
        let facts = read(&[("go.mod", "module\ngo\nmodules x\ngo next\n"), main]);
        assert_eq!((facts.name, facts.runtime), (None, None));
    }

    #[test]
    fn explains_go() {
        let line = "go: go.mod requires go >= 1.99 (running go 1.24.4; GOTOOLCHAIN=local)";
        let told = |line| match Go.explain(line) {
            Some(Explanation::Hint(hint)) => hint.into_owned(),
            other => panic!("{other:?}"),
        };
        assert!(told(line).contains("with GOTOOLCHAIN=auto in"), "{}", told(line));
        let line = "expected Go 1.25.0, as go.mod says, found 1.24.4";
        assert!(told(line).contains("with GOTOOLCHAIN=auto in"), "{}", told(line));
        let line = "expected Go 1.25.0, as go.mod says, found 1.19.8";
        assert!(told(line).contains("--base debian:trixie has 1.24"), "{}", told(line));
        let line = "main.go:3:8: module lookup disabled by GOPROXY=off";
        assert_eq!(Go.explain(line), Some(Explanation::NotCached));
    }
}
