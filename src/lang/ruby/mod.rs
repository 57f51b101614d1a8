//! Ruby: `Gemfile` and related files (<https://bundler.io/man/gemfile.5.html>), and the results and messages of
//! Bundler.
//!
//! A `Gemfile` is a program. Only literal values in a line of it are read.

mod start;

use std::collections::BTreeSet;

use super::{
    Component, Explanation, Facts, Language, LanguageError, Source, WantedRuntime, explain, versions::Releases,
};
use crate::{app_folder::AppFolder, listing::AppFile};

/// Ruby, with Bundler.
#[derive(Debug)]
pub(super) struct Ruby;

impl Language for Ruby {
    fn name(&self) -> &'static str {
        "ruby"
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let wanted =
            |range: &str, key, file: &str, releases| WantedRuntime::advised("Ruby", range, key, file, releases);
        let gemfile = source.read("Gemfile")?.unwrap_or_default();
        let requirements = gemfile.lines().find_map(requirements);
        let by_gemfile = requirements.and_then(|found| {
            wanted(&found.join(", "), Some("ruby"), "Gemfile", Releases::gem(found.iter().map(String::as_str)))
        });
        let runtime = match by_gemfile {
            Some(runtime) => Some(runtime),
            None => {
                let file = ".ruby-version";
                let text = source.read(file)?.unwrap_or_default();
                // `ruby-3.3.1`, or another implementation (`jruby-…`), which is not read. The last number is only that
                // of the developer's machine.
                let version = text.trim();
                let number = version.strip_prefix("ruby-").unwrap_or(version);
                wanted(version, None, file, Releases::within(number, 2))
            }
        };
        let mut facts = Facts { runtime, ..Facts::default() };
        if source.starts {
            let lock = source.read("Gemfile.lock")?;
            let gems = Gems::of(&gemfile, lock.as_deref(), &source.read("microbuild.toml")?.unwrap_or_default());
            start::choose(source, &gems, &mut facts);
        }
        Ok(facts)
    }

    /// A Gemfile alone may be for tools: those that release a mobile app, or build a site.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let names = folder.list("").ok().flatten().unwrap_or_default();
        let is_source = |name: &str| name.ends_with(".rb") || name.ends_with(".gemspec") || name == "config.ru";
        names.iter().filter_map(|entry| entry.name.to_str()).any(is_source)
            || ["bin/rails", "config/environment.rb", "config/application.rb"].iter().any(|path| folder.is_file(path))
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        let is_installed = |path: &str| path.ends_with(".gemspec") && path.rsplit('/').nth(1) == Some("specifications");
        super::components(folder, files, is_installed, |text| {
            // RubyGems writes this line, so that it need not run the file: `# stub: NAME VERSION PLATFORM FOLDERS`.
            let stub = text.lines().find_map(|line| line.strip_prefix("# stub: "))?;
            let mut words = stub.split(' ');
            let (name, version, platform) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?);
            let mut purl = super::purl("gem", &name, &version);
            if platform != "ruby" {
                purl += &format!("?platform={platform}");
            }
            Some(vec![Component { name, version, purl }])
        })
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }
}

const SAYINGS: &[(&str, Explanation)] = &[
    (
        "Your Ruby version is",
        Explanation::hint(
            "the base has another Ruby than Gemfile asks for: another release has another one (--base alpine:edge, alpine:3.22, \
             debian:trixie, …), or widen `ruby` in Gemfile if the app runs on this one too",
        ),
    ),
    (
        "checking for pg_config... no",
        Explanation::lacks("pg is compiled with PostgreSQL's library: --dev-package libpq-dev brings it"),
    ),
    (
        "checking for mysql.h... no",
        Explanation::lacks(
            "mysql2 is compiled with MariaDB's library: --dev-package mariadb-dev (Alpine) or default-libmysqlclient-dev (Debian) brings it",
        ),
    ),
    (
        "checking for sqlite3.h... no",
        Explanation::lacks(
            "sqlite3 is compiled with SQLite's library: --dev-package sqlite-dev (Alpine) or libsqlite3-dev (Debian) brings it",
        ),
    ),
    ("checking for ffi.h... no", Explanation::lacks("ffi is compiled with libffi: --dev-package libffi-dev brings it")),
    ("can't find header files for ruby", Explanation::NeedsCompiler),
    ("frozen mode is set", Explanation::lock(LOCK)),
    ("in frozen mode", Explanation::lock(LOCK)),
    (
        "Your bundle only supports platforms",
        Explanation::lock(
            "Gemfile.lock knows other platforms only: `microbuild dev ruby APP -- bundle lock --add-platform ruby` adds what runs everywhere",
        ),
    ),
    ("in the local gem cache or installed locally", Explanation::NotCached),
];

const LOCK: &str = "bring Gemfile.lock up to date with Gemfile: `microbuild dev ruby APP -- bundle lock`";

/// The gems of a project, as far as literal words say them.
#[derive(Debug, Default)]
struct Gems {
    names: BTreeSet<String>,
    /// Whether they are all that there are: those of a lock file.
    is_all: bool,
}

impl Gems {
    /// Those of `Gemfile.lock`, or else those that lines of the `Gemfile` name; and packages that an app's microbuild.toml asks for
    /// by the name of a gem.
    fn of(gemfile: &str, lock: Option<&str>, packages: &str) -> Self {
        let quoted = |line: &str| line.split(['"', '\'']).nth(1).map(str::to_owned);
        let names = match lock {
            // `    puma (6.4.2)`: what a gem needs itself is indented further.
            Some(lock) => lock
                .lines()
                .filter_map(|line| line.strip_prefix("    ").filter(|rest| !rest.starts_with(' ')))
                .filter_map(|line| line.split(' ').next().map(str::to_owned))
                .collect(),
            None => gemfile.lines().map(str::trim).filter(|line| line.starts_with("gem ")).filter_map(quoted).collect(),
        };
        let mut gems = Self { names, is_all: lock.is_some() };
        let words = packages.split(['"', '\'']).map(|word| word.strip_prefix("ruby-").unwrap_or(word));
        let known = words.filter(|word| start::SERVERS.iter().any(|(name, _)| name == word));
        gems.names.extend(known.map(str::to_owned));
        gems
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// The requirements of a Gemfile's line `ruby "~> 3.2", ">= 3.2.1"`.
fn requirements(line: &str) -> Option<Vec<String>> {
    let rest = line.trim().strip_prefix("ruby")?.strip_prefix([' ', '('])?;
    let mut found = Vec::new();
    for word in rest.trim_end_matches(')').split(',').map(str::trim) {
        let quote = word.chars().next()?;
        let text = word.strip_prefix(['"', '\''])?;
        let (text, behind) = text.split_once(quote)?;
        if !(behind.trim().is_empty() || behind.trim().starts_with('#')) {
            return None;
        }
        found.push(text.to_owned());
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn reads_the_ruby_that_is_wanted() {
        for (gemfile, file, expected) in [
            (
                "source 'x'\nruby '~> 3.2', \">= 3.2.1\" # ours\n",
                "",
                Some(("~> 3.2, >= 3.2.1 in ruby in Gemfile", true)),
            ),
            ("ruby(\"3.3.1\")\n", "3.4", Some(("3.3.1 in ruby in Gemfile", false))),
            ("ruby file: '.ruby-version'\n", "ruby-3.4.2\n", Some(("ruby-3.4.2 in .ruby-version", true))),
            ("ruby '3.1', engine: 'jruby'\n", "3.3.6\n", Some(("3.3.6 in .ruby-version", false))),
            ("rubygems 'x'\n", "jruby-9.4\n", None),
            ("ruby '^3'\n", "", None),
        ] {
            let facts = Draft::new(&[("Gemfile", gemfile), (".ruby-version", file)]).read(&Ruby).unwrap();
            let found = facts
                .runtime
                .map(|wanted| (format!("{} in {}", wanted.range, wanted.place()), wanted.fits("3.4.7-r0")));
            assert_eq!(found, expected.map(|(text, fits)| (text.to_owned(), fits)), "{gemfile}");
        }
    }

    #[test]
    fn lists_what_is_installed() {
        let stub =
            |words: &str| format!("# -*- encoding: utf-8 -*-\n# stub: {words}\n\nGem::Specification.new do |s|\nend\n");
        let project = Draft::new(&[
            ("bundle/specifications/rack-3.1.8.gemspec", stub("rack 3.1.8 ruby lib")),
            ("bundle/specifications/nokogiri-1.16.7-x86_64-linux.gemspec", stub("nokogiri 1.16.7 x86_64-linux lib")),
            ("bundle/gems/rack-3.1.8/rack.gemspec", stub("no 1 ruby lib")),
            ("bundle/specifications/x.gemspec", "Gem::Specification.new\n".to_owned()),
        ]);
        assert_eq!(project.purls(&Ruby), ["pkg:gem/nokogiri@1.16.7?platform=x86_64-linux", "pkg:gem/rack@3.1.8"]);
    }

    #[test]
    fn explains_bundler() {
        let line = "Your Ruby version is 3.4.7, but your Gemfile specified ~> 2.7";
        assert!(matches!(Ruby.explain(line), Some(Explanation::Hint(hint)) if hint.contains("another Ruby")));
        assert!(matches!(Ruby.explain("checking for pg_config... no"), Some(Explanation::Lacks(_))));
    }
}
