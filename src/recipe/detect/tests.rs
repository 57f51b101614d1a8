//! Folders as people have them, and the recipe of each.

use std::fs;

use crate::{
    error::Explain as _,
    recipe::{RecipeError, RecipeSearch},
};

/// What is found in a folder with these files: `path` or `path=content`; a path that ends with `/` is a folder.
fn found(files: &[&str]) -> Result<crate::recipe::Detected, RecipeError> {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let (path, content) = file.split_once('=').unwrap_or((file, ""));
        let place = dir.path().join(path);
        fs::create_dir_all(if path.ends_with('/') { &place } else { place.parent().unwrap() }).unwrap();
        if !path.ends_with('/') {
            fs::write(&place, content).unwrap();
        }
    }
    RecipeSearch::default().detect(dir.path())
}

const NODE: &str = "package.json={\"main\": \"index.js\"}";
const ASSETS: &str = "package.json={\"devDependencies\": {\"vite\": \"6\"}, \"scripts\": {\"build\": \"vite build\"}}";
const SERVED: &str = "package.json={\"scripts\": {\"start\": \"node server.js\"}}";

/// Files, and the recipe that they are for; several names where the app has to say which.
const TABLE: &[(&[&str], &str)] = &[
    // Node and its relatives.
    (&[NODE], "node"),
    (&[SERVED, "server.js", "Dockerfile"], "node"),
    (&[ASSETS, "index.html", "src/main.ts"], "site"),
    (&[NODE, "package-lock.json", "tsconfig.json", "index.ts"], "node"),
    (&[NODE, "bun.lock"], "node"),
    (&[NODE, "bun.lockb", "index.ts"], "bun"),
    (&[NODE, "deno.json"], "deno"),
    (&["deno.jsonc", "main.ts"], "deno"),
    (&[NODE, "binding.gyp", "binding.cc"], "node"),
    (&[NODE, "CMakeLists.txt", "addon.cc"], "node"),
    (&["server.js"], "node"),
    (&["hello.js", "README.md"], "node"),
    (&["app.mjs"], "node"),
    (&["main.ts"], "deno"),
    (&["server.ts=import { serve } from \"bun\";"], "bun"),
    (&["index.ts=Bun.serve({ fetch() {} })"], "bun"),
    (&["index.js=Bun.serve({})"], "bun"),
    (&["main.ts", "main_test.ts", "types.d.ts"], "deno"),
    // Python.
    (&["requirements.txt", "app.py"], "python"),
    (&["pyproject.toml=[project]\nname = 'a'", "src/a/__init__.py"], "python"),
    (&["Pipfile", "main.py"], "python"),
    (&["setup.py", "ext.c"], "python"),
    (&["manage.py", "mysite/wsgi.py"], "python"),
    (&["manage.py", "requirements.txt", ASSETS, "static/"], "python"),
    (&["requirements.txt", "main.py", SERVED], "python"),
    (&["pyproject.toml=[tool.ruff]", SERVED, "server.js"], "node"),
    (&["pyproject.toml=[build-system]\nrequires = ['maturin']", "Cargo.toml=[package]\nname='a'"], "python"),
    (&["pyproject.toml=[build-system]\nrequires = ['meson-python']", "meson.build", "a.c"], "python"),
    (&["hello.py"], "python"),
    (&["hello.py", "test_hello.py", "conftest.py"], "python"),
    (&["bot.py", "deploy.sh", "Dockerfile"], "python"),
    (&["main.py", "helper.py", "data.csv"], "python"),
    (&["app.py", "Makefile", "script.sh"], "python"),
    // PHP.
    (&["composer.json", "public/index.php", "artisan", "package.json={}", "vite.config.js"], "php"),
    (&["composer.json", "public/index.php", "artisan", ASSETS], "php"),
    (&["composer.json", "public/index.php", "bin/console", "symfony.lock"], "php"),
    (&["composer.json", "web/index.php"], "php"),
    (&["index.php", "wp-config-sample.php", "wp-includes/"], "php"),
    (&["index.php", "style.css", SERVED], "php"),
    (&["public/index.php", ASSETS], "php"),
    (&["html/index.php"], "php"),
    (&["src/index.php"], "php"),
    (&["hello.php"], "php"),
    (&["worker.php", "start.sh"], "php"),
    (&["composer.json", SERVED, "server.js"], "node"),
    // Ruby.
    (&["Gemfile", "config.ru", "bin/rails", "config/environment.rb", ASSETS], "ruby"),
    (&["Gemfile", "Gemfile.lock", "config.ru", SERVED], "ruby"),
    (&["Gemfile", "app.rb"], "ruby"),
    (&["Gemfile", "config.ru", NODE, "bun.lock"], "ruby"),
    (&["config.ru"], "ruby"),
    (&["shop.gemspec", "exe/shop", "lib/shop.rb"], "ruby"),
    (&["Gemfile", "fastlane/Fastfile", SERVED, "server.js"], "node"),
    (&["hello.rb"], "ruby"),
    (&["hello.rb", "hello_test.rb", "hello_spec.rb"], "ruby"),
    // Go.
    (&["go.mod", "main.go"], "go"),
    (&["go.work", "a/go.mod"], "go"),
    (&["go.mod", "main.go", ASSETS], "go"),
    (&["go.mod", "main.go", SERVED, "server.js"], "go"),
    (&["main.go"], "go"),
    (&["main.go", "util.go", "main_test.go"], "go"),
    (&["go.mod", "main.go", "lib.c", "lib.h"], "go"),
    (&["go.mod", "Makefile", "install.sh"], "go"),
    // Rust.
    (&["Cargo.toml=[package]\nname='a'", "src/main.rs"], "rust"),
    (&["Cargo.toml=[package]\nname='a'", ASSETS], "rust"),
    (&["Cargo.toml=[package]\nname='a'", "CMakeLists.txt"], "rust"),
    (&["hello.rs"], "rust"),
    // The JVM.
    (&["pom.xml", "src/main/java/Main.java"], "java"),
    (&["pom.xml", ASSETS], "java"),
    (&["build.gradle", "settings.gradle"], "java"),
    (&["build.gradle.kts", "gradlew"], "java"),
    (&["build.gradle.kts", "src/main/kotlin/"], "kotlin"),
    (&["pom.xml", "src/main/kotlin/App.kt", ASSETS], "kotlin"),
    (&["Hello.java"], "java"),
    (&["src/Main.java"], "java"),
    (&["src/main/java/Main.java"], "java"),
    (&["Hello.kt"], "kotlin"),
    (&["build.sbt", "project/build.properties"], "scala"),
    (&["Hello.scala"], "scala"),
    (&["project.clj", "src/"], "clojure"),
    // C and C++.
    (&["CMakeLists.txt", "main.cpp"], "gcc"),
    (&["configure.ac", "main.c"], "gcc"),
    (&["meson.build", "main.c"], "gcc"),
    (&["hello.c"], "gcc"),
    (&["hello.C"], "gcc"),
    (&["hello.cpp", "hello.h", "Makefile"], "gcc"),
    // .NET.
    (&["App.csproj", "Program.cs"], "dotnet"),
    (&["App.sln", "src/App/App.csproj"], "dotnet"),
    (&["App.slnx", "App/App.fsproj"], "dotnet"),
    (&["src/App/App.csproj"], "dotnet"),
    (&["App/App.csproj", "README.md"], "dotnet"),
    (&["App.csproj", ASSETS], "dotnet"),
    (&["hello.cs"], "mono"),
    // Others.
    (&["mix.exs", "lib/"], "elixir"),
    (&["mix.exs", ASSETS], "elixir"),
    (&["rebar.config", "src/"], "erlang"),
    (&["shop.cabal", "app/Main.hs"], "haskell"),
    (&["Main.hs"], "haskell"),
    (&["hello.hs"], "haskell"),
    (&["shop-1.0-1.rockspec", "core.c", "main.lua"], "lua"),
    (&["main.lua"], "lua"),
    (&["hello.lua", "run.sh"], "lua"),
    (&["cpanfile", "app.psgi"], "perl"),
    (&["app.psgi"], "perl"),
    (&["hello.pl"], "perl"),
    (&["cpanfile", "bin/app.pl", ASSETS], "perl"),
    (&["start.sh"], "shell"),
    (&["start.sh", "lib.sh", "README.md"], "shell"),
    (&["serve", "www/index.html", "serve.sh"], "shell"),
    (&["shard.yml", "src/shop.cr"], "crystal"),
    (&["hello.cr"], "crystal"),
    (&["build.zig", "src/main.zig"], "zig"),
    (&["hello.zig"], "zig"),
    (&["app.R"], ""),
    (&["plumber.R", "DESCRIPTION"], ""),
    (&["renv.lock", "app.R"], ""),
    (&["main.r", "renv.lock"], ""),
    // Two languages that are both the app.
    (&["go.mod", "pom.xml"], "go java"),
    (&["requirements.txt", "Gemfile", "config.ru"], "python ruby"),
    (&["composer.json", "index.php", "requirements.txt", NODE], "php python"),
    (&["go.mod", "Cargo.toml=[package]\nname='a'"], "go rust"),
    (&["hello.py", "hello.rb"], "python ruby"),
    (&["hello.js", "hello.php"], "php"),
    // Nothing that a recipe is for.
    (&[], ""),
    (&["README.md", "data.csv"], ""),
    (&["Package.swift", "Sources/main.swift"], ""),
    (&["test_only.py"], ""),
    (&["gleam.toml", "src/shop.gleam"], ""),
    (&["backend/package.json", "docs/"], ""),
];

#[test]
fn each_folder_has_its_recipe() {
    let mut wrong = Vec::new();
    for (files, expected) in TABLE {
        let told = match found(files) {
            Ok(found) => found.recipe.name,
            Err(RecipeError::Detected { found, .. }) => {
                found.into_iter().map(|(recipe, _)| recipe).collect::<Vec<_>>().join(" ")
            }
            Err(RecipeError::NotRecognized { .. }) => String::new(),
            Err(error) => error.to_string(),
        };
        if told != *expected {
            wrong.push(format!("{files:?}: expected `{expected}`, found `{told}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(TABLE.len() >= 120, "{}", TABLE.len());
}

#[test]
fn what_is_not_the_app_itself_is_told() {
    let line = |files: &[&str]| found(files).unwrap().parts_line();
    assert_eq!(
        line(&["composer.json", "public/index.php", "artisan", ASSETS]).as_deref(),
        Some(
            "composer.json makes it an app of php; package.json is taken for its tools and assets (--recipe node builds that app instead)"
        )
    );
    assert_eq!(line(&["go.mod", "main.go"]), None);
    assert_eq!(line(&[NODE, "bun.lock"]), None, "Bun's projects have a package.json");
}

#[test]
fn an_app_that_no_recipe_recognizes_is_told_the_nearest_way() {
    let told = |files: &[&str]| {
        let error = found(files).unwrap_err();
        let app = match &error {
            RecipeError::NotRecognized { app, .. } | RecipeError::Detected { app, .. } => app.display().to_string(),
            _ => String::new(),
        };
        format!("{error}\nhint: {}", error.hint().unwrap_or_default()).replace(&app, "./app")
    };
    let texts = [
        told(&[]),
        told(&["README.md", "data.csv", "a.txt", "b.txt", "c.txt", ".gitignore"]),
        told(&["Package.swift", "Sources/main.swift"]),
        told(&["backend/package.json", "frontend/index.html", "README.md"]),
        told(&["node_modules/a/package.json", "docs/x.md"]),
        told(&["compose.yaml", "api/pom.xml"]),
        told(&["go.mod", "pom.xml"]),
    ];
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn a_program_is_recognized_by_its_content() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    fs::write(dir.path().join("bin/shop"), crate::elf::testing::Draft::new().interpreter("/lib/ld.so").bytes())
        .unwrap();
    fs::write(dir.path().join("notes"), "text").unwrap();
    let found = RecipeSearch::default().detect(dir.path()).unwrap();
    assert_eq!((found.recipe.name.as_str(), found.files), ("static", vec!["bin/shop".to_owned()]));
}
