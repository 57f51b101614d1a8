//! Rust: `Cargo.toml` (<https://doc.rust-lang.org/cargo/reference/manifest.html>), the programs of a project, and the messages
//! of Cargo.

mod embedded;
mod programs;

use std::collections::BTreeMap;

use super::{
    Explanation, Facts, LARGEST, Language, LanguageError, Source, WantedRuntime, explain, read_toml, some, text_at,
    toml_document, versions::Releases,
};
use crate::app_folder::AppFolder;

/// Rust, with Cargo.
#[derive(Debug)]
pub(super) struct Rust;

impl Language for Rust {
    fn name(&self) -> &'static str {
        "rust"
    }

    /// A Python module may be written in Rust.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let text = folder.read("pyproject.toml", LARGEST).ok().flatten().unwrap_or_default();
        !["maturin", "setuptools-rust", "setuptools_rust"].iter().any(|tool| text.contains(tool))
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let manifest = read_toml(source, MANIFEST)?.unwrap_or_default();
        // Values that a package takes from its workspace (`version.workspace = true`).
        let said = |key: &str| {
            let inherited = || text_at(&manifest, &["workspace", "package", key]);
            text_at(&manifest, &["package", key]).or_else(inherited).map(str::to_owned)
        };
        let runtime = match said("rust-version").and_then(|range| wanted(&range, Some("rust-version"), MANIFEST)) {
            Some(runtime) => Some(runtime),
            None => toolchain(source)?,
        };
        let version = said("version").filter(|_| manifest.contains_key("package"));
        let name = text_at(&manifest, &["package", "name"]).map(str::to_owned);
        let choice = programs::choose(source, &manifest)?;
        let mut build_env = BTreeMap::new();
        let mut notes = Vec::new();
        if let Some(program) = &choice.program {
            build_env.insert("CARGO_BIN".to_owned(), program.name.clone());
            build_env.extend(program.package.iter().map(|package| ("CARGO_PACKAGE".to_owned(), package.clone())));
            let others = choice.programs.iter().filter(|other| *other != program).map(|other| other.name.clone());
            let others: Vec<String> = others.collect();
            if !others.is_empty() && !source.variables.contains_key("CARGO_BIN") {
                let (name, others) = (&program.name, some(&others));
                notes.push(format!(
                    "the program is {name}; another: CARGO_BIN={others} in the environment of microbuild"
                ));
            }
        }
        let embedded = embedded::patterns(source, &choice.packages)?;
        Ok(Facts { name, version, runtime, build_env, embedded, notes, ..Facts::default() })
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }
}

/// The file that describes a package or workspace.
const MANIFEST: &str = "Cargo.toml";

const SAYINGS: &[(&str, Explanation)] = &[
    ("requires rustc", Explanation::hint(NEWER)),
    ("is not supported by the following package", Explanation::hint(NEWER)),
    ("feature `edition2024` is required", Explanation::hint(NEWER)),
    ("this version of Cargo is older than the", Explanation::hint(NEWER)),
    ("this version of Cargo does not understand this lock file", Explanation::hint(NEWER_LOCK)),
    ("requires `-Znext-lockfile-bump`", Explanation::hint(NEWER_LOCK)),
    ("needs to be updated but --locked was passed", Explanation::lock(LOCK)),
    ("cannot update the lock file", Explanation::lock(LOCK)),
    ("you're using offline mode (--offline)", Explanation::NotCached),
    ("you may want to run without `--offline`", Explanation::NotCached),
    ("unable to find library -l", Explanation::lacks(LIBRARY)),
    ("linking with `cc` failed", Explanation::hint(LIBRARY)),
    (
        "Could not find directory of OpenSSL installation",
        Explanation::lacks(
            "openssl-sys is linked with OpenSSL: --dev-package openssl-dev (Alpine) or libssl-dev (Debian) brings it; or take the crate's \
             feature `vendored`, or rustls",
        ),
    ),
    (
        "is `cmake` not installed?",
        Explanation::lacks("a crate's build script calls CMake: --dev-package cmake brings it"),
    ),
];

const LOCK: &str = "bring Cargo.lock up to date with Cargo.toml: `microbuild dev rust APP -- cargo update --workspace`";

const NEWER: &str = "the base has an older Rust than a package asks for: another release has a later one (--base alpine:edge, debian:trixie, \
                     …), or `cargo update` to versions of it that this one compiles";

const NEWER_LOCK: &str = "a later Cargo wrote Cargo.lock than the base has: another release has one that reads it (--base debian:trixie, \
                          alpine:3.23, …)";

const LIBRARY: &str = "the linker lacks a library, whose static form the program takes: --dev-package NAME-static or NAME-dev (Alpine), \
                       libNAME-dev (Debian) brings it";

/// The channel in `rust-toolchain.toml`, or in the older `rust-toolchain`. A version counts as the minimum: later ones
/// compile everything that earlier ones do.
fn toolchain(source: &Source<'_>) -> Result<Option<WantedRuntime>, LanguageError> {
    for file in ["rust-toolchain.toml", "rust-toolchain"] {
        let Some(text) = source.read(file)? else { continue };
        // The older file may be a single line.
        if file == "rust-toolchain" && !text.contains('[') {
            return Ok(wanted(text.trim(), None, file));
        }
        let table = toml_document(&text, &source.place(file))?;
        let channel = text_at(&table, &["toolchain", "channel"]);
        return Ok(channel.and_then(|channel| wanted(channel, Some("toolchain.channel"), file)));
    }
    Ok(None)
}

fn wanted(range: &str, key: Option<&'static str>, file: &str) -> Option<WantedRuntime> {
    WantedRuntime::advised("Rust", range, key, file, Releases::at_least(range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn reads_cargo_toml() {
        let read = |files: &[(&str, &str)]| {
            let facts = Draft::new(files).read(&Rust).unwrap();
            let runtime = facts
                .runtime
                .map(|wanted| (format!("{} in {}", wanted.range, wanted.place()), wanted.fits("1.88.0-r0")));
            (facts.name.unwrap_or_default(), facts.version.unwrap_or_default(), runtime)
        };
        let is = |name: &str, version: &str, runtime: Option<(&str, bool)>| {
            (name.to_owned(), version.to_owned(), runtime.map(|(text, fits)| (text.to_owned(), fits)))
        };
        let main = ("src/main.rs", "fn main() {}");
        let member = ("a/Cargo.toml", "[package]\nname = 'a'\n");
        let package = "[package]\nname = 'shop'\nversion = '0.3.0'\nrust-version = '1.90'\n";
        assert_eq!(
            read(&[("Cargo.toml", package), ("rust-toolchain", "1.70"), main]),
            is("shop", "0.3.0", Some(("1.90 in rust-version in Cargo.toml", false)))
        );
        let inherits = "[package]\nname = 'shop'\nversion.workspace = true\n[workspace.package]\nversion = '7.0.0'\n";
        assert_eq!(
            read(&[("Cargo.toml", inherits), ("rust-toolchain.toml", "[toolchain]\nchannel = '1.85.1'\n"), main]),
            is("shop", "7.0.0", Some(("1.85.1 in toolchain.channel in rust-toolchain.toml", true)))
        );
        let workspace = "[workspace]\nmembers = ['a']\n[workspace.package]\nversion = '7.0.0'\n";
        assert_eq!(
            read(&[("Cargo.toml", workspace), ("rust-toolchain", "1.89\n"), member, ("a/src/main.rs", "")]),
            is("", "", Some(("1.89 in rust-toolchain", false)))
        );
        let files = [("Cargo.toml", workspace), ("rust-toolchain", "nightly\n"), member, ("a/src/main.rs", "")];
        assert_eq!(read(&files), is("", "", None));
        let error = Draft::new(&[("Cargo.toml", "[package\n")]).read(&Rust).unwrap_err();
        assert!(error.starts_with("shop/Cargo.toml:1:"), "{error}");
    }

    #[test]
    fn a_module_of_pythons_is_no_app() {
        let project = |text: &str| Draft::new(&[("Cargo.toml", ""), ("pyproject.toml", text)]);
        assert!(!Rust.is_app(project("[build-system]\nrequires = ['maturin>=1']\n").folder()));
        assert!(Rust.is_app(project("[tool.ruff]\n").folder()));
    }

    #[test]
    fn explains_cargo() {
        for line in [
            "error: rustc 1.63.0 is not supported by the following packages:",
            "error: package `a v1` cannot be built because it requires rustc 1.90 or newer, while the currently active rustc version is 1.88.0",
        ] {
            assert_eq!(Rust.explain(line), Some(Explanation::Hint(NEWER.into())), "{line}");
        }
        let line = "lock file version `4` was found, but this version of Cargo does not understand this lock file, perhaps Cargo needs to be updated?";
        assert_eq!(Rust.explain(line), Some(Explanation::Hint(NEWER_LOCK.into())));
        assert!(matches!(
            Rust.explain(
                "error: the lock file /app/Cargo.lock needs to be updated but --locked was passed to prevent this"
            ),
            Some(Explanation::LockOutOfDate(_))
        ));
    }
}
