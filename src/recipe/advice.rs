//! What to do with an app in a language that has no recipe.

use crate::glob::Pattern;

/// A language without a recipe.
struct Other {
    /// Patterns for files that tell it.
    files: &'static [&'static str],
    /// Its name.
    name: &'static str,
    /// How a program for `microbuild static` is made.
    way: &'static str,
}

/// The languages without a recipe. A language that gets one leaves this table.
const OTHERS: &[Other] = &[
    Other {
        files: &["Package.swift", "*.swift"],
        name: "Swift",
        way: "`swift build -c release --static-swift-stdlib`, then `microbuild static .build/release/NAME --base debian`",
    },
    Other {
        files: &["pubspec.yaml", "*.dart"],
        name: "Dart",
        way: "`dart compile exe bin/server.dart -o server`, then `microbuild static server --base debian`",
    },
    Other {
        files: &["gleam.toml"],
        name: "Gleam",
        way: "`gleam export erlang-shipment`, then `microbuild build build/erlang-shipment --recipe base --base alpine -p erlang --cmd './entrypoint.sh run'`",
    },
    Other {
        files: &["*.nimble", "*.nim"],
        name: "Nim",
        way: "`nimble build -d:release`, then `microbuild static NAME`",
    },
    Other {
        files: &["dub.json", "dub.sdl", "*.d"],
        name: "D",
        way: "`dub build -b release`, then `microbuild static NAME`",
    },
    Other { files: &["v.mod", "*.v"], name: "V", way: "`v -prod -o app .`, then `microbuild static app`" },
    Other { files: &["*.odin"], name: "Odin", way: "`odin build . -out:app`, then `microbuild static app`" },
    Other {
        files: &["dune-project", "*.opam", "*.ml"],
        name: "OCaml",
        way: "`dune build --profile release`, then `microbuild static _build/default/bin/main.exe`",
    },
    Other {
        files: &["*.gpr", "alire.toml", "*.adb"],
        name: "Ada",
        way: "`gprbuild`, or `alr build --release`, then `microbuild static bin/NAME`",
    },
    Other {
        files: &["fpm.toml", "*.f90"],
        name: "Fortran",
        way: "`gfortran -O2 -static -o app *.f90`, then `microbuild static app`",
    },
    Other {
        files: &["Project.toml", "*.jl"],
        name: "Julia",
        way: "a program with its runtime by PackageCompiler, then `microbuild static FOLDER --base debian`",
    },
    Other {
        files: &["renv.lock", "*.R", "*.r"],
        name: "R",
        way: "a recipe of your own with Debian's r-base-core and bash: begin with `microbuild recipes perl > r.toml`",
    },
    Other {
        files: &["*.rkt"],
        name: "Racket",
        way: "`raco exe main.rkt && raco distribute dist main`, then `microbuild static dist --base debian`",
    },
    Other {
        files: &["*.groovy"],
        name: "Groovy",
        way: "a build.gradle with the plugin `groovy`, which the recipe java builds",
    },
];

/// The hint for the project with the `files` at its top; `None` when no language is told by them.
pub(super) fn of_other_language(files: &[String]) -> Option<String> {
    let fits = |pattern: &str| {
        let pattern = pattern.parse::<Pattern>().ok()?;
        files.iter().find(|file| pattern.matches(file))
    };
    let (other, file) = OTHERS.iter().find_map(|other| {
        let file = other.files.iter().find_map(|pattern| fits(pattern))?;
        Some((other, file))
    })?;
    let Other { name, way, .. } = other;
    Some(format!("{file} tells of {name}, for which microbuild has no recipe yet: {way}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_without_a_recipe_is_told_with_a_way() {
        let told = |file: &str| of_other_language(&["README.md".to_owned(), file.to_owned()]);
        assert!(told("Package.swift").unwrap().contains("no recipe yet: `swift build -c release"));
        assert!(told("dune-project").unwrap().contains("OCaml"));
        assert_eq!(told("notes.txt"), None);
    }

    /// A pattern that a recipe has would never be asked for.
    #[test]
    fn no_recipe_recognizes_these_files() {
        let recipes = crate::recipe::RecipeSearch::default().all().unwrap();
        for pattern in OTHERS.iter().flat_map(|other| other.files) {
            let file = pattern.replace('*', "x");
            let speaks =
                recipes.iter().find(|recipe| recipe.detect.iter().chain(&recipe.source).any(|own| own.matches(&file)));
            assert_eq!(speaks.map(|recipe| recipe.name.as_str()), None, "{file}");
        }
    }
}
