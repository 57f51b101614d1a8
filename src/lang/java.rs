//! Java and other languages of the JVM: `pom.xml` and Gradle's files, as far as they are plain.
//!
//! Gradle's files are programs, and Maven combines parents and profiles into a project. Only literal values are read;
//! others count as absent.

use super::{Explanation, Facts, Language, LanguageError, Source, WantedRuntime, explain, versions::Releases};
use crate::app_folder::AppFolder;

/// Java, with Maven and Gradle.
#[derive(Debug)]
pub(super) struct Java;

impl Language for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    /// A jar beside files of another language is one of its tools.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let names = folder.list("").ok().flatten().unwrap_or_default();
        let mut names = names.iter().filter_map(|entry| entry.name.to_str());
        names.any(|name| !name.ends_with(".jar") && (FILES.contains(&name) || name.ends_with(".java")))
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        if let Some(text) = source.read(POM)? {
            if source.starts {
                check_packaging(source, &text)?;
            }
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
        other_release(line).or_else(|| explain::find(line, SAYINGS))
    }
}

/// The files that describe a project to Maven or Gradle.
const FILES: [&str; 5] = [POM, "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"];

/// The file that describes a project to Maven.
const POM: &str = "pom.xml";

const SAYINGS: &[(&str, Explanation)] = &[
    ("No matching toolchains found", Explanation::hint(OTHER)),
    ("Cannot find a Java installation on your machine", Explanation::hint(OTHER)),
    ("has not been downloaded from it before", Explanation::NotCached),
    ("No cached version of", Explanation::NotCached),
    ("class file has wrong version", Explanation::hint(OTHER)),
    ("error: invalid flag: --release", Explanation::hint(OTHER)),
    (".gradle/wrapper/dists", Explanation::hint(WRAPPER)),
    ("services.gradle.org", Explanation::hint(WRAPPER)),
    (
        "MAVEN_MODULE=FOLDER in the environment says which",
        Explanation::hint("choose the module that is the app: MAVEN_MODULE=FOLDER in the environment of microbuild"),
    ),
];

const OTHER: &str = "the project asks for a later JDK than the base has: --base debian:trixie has 21 (bookworm 17); or lower what the \
                     project asks for";

const LATER: &str = "the project asks for a later JDK than the base has: lower what the project asks for, or begin a recipe with packages of \
                     another JDK: `microbuild recipes java > mine.toml`";

/// The latest JDK of a base that a hint may name.
const LATEST: u32 = 21;

/// The meaning of a line of javac about a release that it does not know.
fn other_release(line: &str) -> Option<Explanation> {
    let words = ["release version ", "invalid target release: ", "invalid source release: "];
    let (_, rest) = words.iter().find_map(|words| line.split_once(words))?;
    let digits = rest.strip_prefix("1.").unwrap_or(rest).split(|c: char| !c.is_ascii_digit()).next()?;
    let asked: u32 = digits.parse().ok()?;
    Some(Explanation::hint(if asked > LATEST { LATER } else { OTHER }))
}

const WRAPPER: &str = "the project's wrapper could not fetch Gradle: distributionUrl in gradle/wrapper/gradle-wrapper.properties may name a \
                       mirror that is reached here";

/// Refuses a war that no server here runs. Spring Boot's plugin makes one that starts by itself.
///
/// # Errors
/// When the project is packaged as a war, and nothing tells that it is one of Spring Boot's.
fn check_packaging(source: &Source<'_>, text: &str) -> Result<(), LanguageError> {
    let is_war = elements(text).iter().any(|(path, text)| path == "project/packaging" && text == "war");
    if !is_war || text.contains("spring-boot") {
        return Ok(());
    }
    Err(LanguageError::Unusable {
        message: format!("expected an app that starts by itself, found a war: {}", source.place(POM).display()),
        hint: Some(
            "a server such as Tomcat runs a war, and no package of the base is one; Spring Boot's Maven plugin makes a war that starts, and \
             Jetty or Tomcat can be embedded in the app"
                .into(),
        ),
    })
}

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
    fn a_war_needs_a_server_unless_it_is_of_spring_boot() {
        let pom = |more: &str| format!("<project><artifactId>a</artifactId><packaging>war</packaging>{more}</project>");
        let error = Draft::new(&[("pom.xml", pom(""))]).read(&Java).unwrap_err();
        assert!(
            error.starts_with("expected an app that starts by itself, found a war: shop/pom.xml\nhint: "),
            "{error}"
        );
        let boot = pom("<parent><artifactId>spring-boot-starter-parent</artifactId></parent>");
        assert!(Draft::new(&[("pom.xml", boot)]).read(&Java).is_ok());
        assert!(Draft::new(&[("pom.xml", pom("").replace(">war<", ">jar<"))]).read(&Java).is_ok());
    }

    #[test]
    fn a_jar_is_an_app_where_nothing_else_is() {
        for (files, is_app) in [
            (&["pom.xml", "tools.jar"][..], true),
            (&["Main.java"], true),
            (&["build.gradle.kts"], true),
            (&["tools.jar", "package.json"], false),
        ] {
            let files: Vec<(&str, &str)> = files.iter().map(|name| (*name, "")).collect();
            assert_eq!(Java.is_app(Draft::new(&files).folder()), is_app, "{files:?}");
        }
    }

    #[test]
    fn explains_javac() {
        let line = "[ERROR] Fatal error compiling: error: release version 25 not supported";
        assert_eq!(Java.explain(line), Some(Explanation::Hint(LATER.into())));
        for line in ["error: release version 21 not supported", "error: invalid source release: 21"] {
            assert_eq!(Java.explain(line), Some(Explanation::Hint(OTHER.into())), "{line}");
        }
    }
}
