//! Java and other languages of the JVM: `pom.xml` and Gradle's files, as far as they are plain.
//!
//! Gradle's files are programs, and Maven combines parents and profiles into a project. Only literal values are read;
//! others count as absent.

use super::{Explanation, Facts, Language, LanguageError, Source, WantedRuntime, explain, versions::Releases};

/// Java, with Maven and Gradle.
#[derive(Debug)]
pub(super) struct Java;

impl Language for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        if let Some(text) = source.read(POM)? {
            return Ok(of_maven(&text));
        }
        let mut facts = Facts::default();
        for file in ["settings.gradle", "settings.gradle.kts"] {
            let text = source.read(file)?.unwrap_or_default();
            facts.name = facts.name.or_else(|| assigned(&text, "rootProject.name"));
        }
        for file in ["build.gradle", "build.gradle.kts"] {
            let text = source.read(file)?.unwrap_or_default();
            facts.version = facts.version.or_else(|| assigned(&text, "version"));
            facts.runtime = facts.runtime.or_else(|| of_gradle(&text, file));
        }
        Ok(facts)
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }
}

/// The file that describes a project to Maven.
const POM: &str = "pom.xml";

const SAYINGS: &[(&str, Explanation)] = &[
    ("release version", Explanation::hint(OTHER)),
    ("invalid target release", Explanation::hint(OTHER)),
    ("invalid source release", Explanation::hint(OTHER)),
    ("No matching toolchains found", Explanation::hint(OTHER)),
    ("Cannot find a Java installation on your machine", Explanation::hint(OTHER)),
    ("has not been downloaded from it before", Explanation::NotCached),
    ("No cached version of", Explanation::NotCached),
];

const OTHER: &str = "the project asks for another JDK than the base has: another release has another one (--base debian:trixie, …), \
                     `microbuild recipes java > mine.toml` begins a recipe with another; or lower what the project asks for";

fn wanted(range: &str, key: &'static str, file: &str, releases: Option<Releases>) -> Option<WantedRuntime> {
    WantedRuntime::advised("Java", range, Some(key), file, releases)
}

/// Reads a `pom.xml` (<https://maven.apache.org/pom.html>). A value with a property (`${…}`) is not read.
fn of_maven(text: &str) -> Facts {
    let elements = elements(text);
    let at = |path: &str| {
        let found = elements.iter().find(|(at, _)| at == path).map(|(_, text)| text.clone());
        found.filter(|text| !text.is_empty() && !text.contains("${"))
    };
    let keys = ["maven.compiler.release", "java.version", "maven.compiler.target"];
    let runtime = keys.into_iter().find_map(|key| {
        let range = at(&format!("project/properties/{key}"))?;
        // Java 8 and earlier versions are also called 1.8 and so on.
        wanted(&range, key, POM, Releases::at_least(range.strip_prefix("1.").unwrap_or(&range)))
    });
    let version = at("project/version").or_else(|| at("project/parent/version"));
    Facts { name: at("project/artifactId"), version, runtime, ..Facts::default() }
}

/// The toolchain that a Gradle file asks for: exactly this version.
fn of_gradle(text: &str, file: &str) -> Option<WantedRuntime> {
    let mut found = ["JavaLanguageVersion.of(", "jvmToolchain("].into_iter().filter_map(|call| {
        let (_, rest) = text.split_once(call)?;
        let (version, _) = rest.split_once(')')?;
        let version = version.trim().trim_matches(['"', '\'']);
        version.bytes().all(|b| b.is_ascii_digit()).then_some(version)
    });
    let version = found.next()?;
    wanted(version, "toolchain", file, Releases::within(version, 1))
}

/// The text that a line of a Gradle file assigns to `name`: `version = '1.0'`, or `version '1.0'`.
fn assigned(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        // Within a block it belongs to something else.
        let rest = line.strip_prefix(name)?.trim_start();
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let value = rest[1..].strip_suffix(quote)?;
        (!value.is_empty() && !value.contains(['$', '"', '\''])).then(|| value.to_owned())
    })
}

/// The elements of an XML document that hold text, by their paths, in order. A damaged document is read up to the
/// damage.
fn elements(text: &str) -> Vec<(String, String)> {
    /// Deeper than any element that is used.
    const DEPTH: usize = 4;
    let mut found = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut content = "";
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        if before.trim() != "" {
            content = before.trim();
        }
        let end = match tag {
            _ if tag.starts_with("!--") => "-->",
            _ if tag.starts_with("![CDATA[") => "]]>",
            _ if tag.starts_with('?') => "?>",
            _ => ">",
        };
        let Some((tag, behind)) = tag.split_once(end) else { break };
        rest = behind;
        if end != ">" || tag.starts_with('!') {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(_) => {
                if !content.is_empty() && path.len() <= DEPTH {
                    found.push((path.join("/"), content.to_owned()));
                }
                path.pop();
                content = "";
            }
            None => {
                if !tag.ends_with('/') {
                    path.push(tag.split(char::is_whitespace).next().unwrap_or(tag));
                }
                content = "";
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    /// Name, version and runtime that are read, and whether Java 21 fits.
    fn read(files: &[(&str, &str)]) -> (String, String, Option<(String, bool)>) {
        let facts = Draft::new(files).read(&Java).unwrap();
        let runtime = facts
            .runtime
            .map(|wanted| (format!("{} in {}", wanted.range, wanted.place()), wanted.fits("21.0.9_p10-r0")));
        (facts.name.unwrap_or_default(), facts.version.unwrap_or_default(), runtime)
    }

    fn is(name: &str, version: &str, runtime: Option<(&str, bool)>) -> (String, String, Option<(String, bool)>) {
        (name.to_owned(), version.to_owned(), runtime.map(|(text, fits)| (text.to_owned(), fits)))
    }

    #[test]
    fn reads_a_pom() {
        let pom = |properties: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<!-- <artifactId>no</artifactId> -->\n<project xmlns=\"x\">\n  <parent><artifactId>up</artifactId>\
                 <version>2</version></parent>\n  <artifactId> shop </artifactId>\n  <dependencies><dependency><artifactId>d</artifactId>\
                 <version>9</version></dependency></dependencies>\n  <empty/>\n  <properties>{properties}</properties>\n</project>\n"
            )
        };
        for (properties, runtime) in [
            (
                "<maven.compiler.release>25</maven.compiler.release>",
                Some(("25 in maven.compiler.release in pom.xml", false)),
            ),
            ("<java.version>17</java.version>", Some(("17 in java.version in pom.xml", true))),
            (
                "<maven.compiler.target>1.8</maven.compiler.target>",
                Some(("1.8 in maven.compiler.target in pom.xml", true)),
            ),
            ("<java.version>${jdk}</java.version>", None),
        ] {
            assert_eq!(read(&[("pom.xml", &pom(properties))]), is("shop", "2", runtime), "{properties}");
        }
        assert_eq!(read(&[("pom.xml", "<project><artifactId>a</artifactId><version")]), is("a", "", None));
        assert_eq!(read(&[("pom.xml", "</a></b><<>")]), is("", "", None));
    }

    #[test]
    fn reads_gradles_files() {
        let build = "plugins {\n    id 'java' version '1'\n}\nversion = '1.2'\njava { toolchain { languageVersion = JavaLanguageVersion.of(17) } }\n";
        assert_eq!(
            read(&[("build.gradle", build), ("settings.gradle", "rootProject.name = 'shop'\n")]),
            is("shop", "1.2", Some(("17 in toolchain in build.gradle", false)))
        );
        let kotlin = "kotlin { jvmToolchain(21) }\nversion = \"$v\"\n";
        assert_eq!(
            read(&[("build.gradle.kts", kotlin)]),
            is("", "", Some(("21 in toolchain in build.gradle.kts", true)))
        );
        assert_eq!(read(&[("Main.java", "")]), is("", "", None));
    }

    #[test]
    fn explains_javac() {
        let line = "[ERROR] Fatal error compiling: error: release version 25 not supported";
        assert_eq!(Java.explain(line), Some(Explanation::Hint(OTHER.into())));
    }
}
