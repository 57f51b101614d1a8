//! What recipes run, read by the checkers of its languages; and tools that are not what they should be.

use std::{fs, path::Path, process::Command};

use super::deb_mirror::has_release;
use crate::support::{
    run, tools,
    workbench::{Workbench, app, temporary, text},
};

fn check(ending: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipe-files");
    run(Command::new(script).arg(ending)).succeeds();
}

#[test]
fn shellcheck_has_nothing_against_scripts() {
    if tools(["bash", "shellcheck"]).is_some() {
        check("sh");
    }
}

#[test]
fn node_reads_programs_in_javascript() {
    if tools(["bash", "node"]).is_some() {
        check("js");
    }
}

#[test]
fn python_reads_programs_in_python_and_xml() {
    if tools(["bash", "python3"]).is_some() {
        check("py");
        check("xml");
    }
}

/// Of pip's settings for indexes, variables win over its file, `[install]` over `[global]`, and uv's own variables over all.
#[test]
fn python_tells_uv_of_pips_indexes() {
    let Some([python]) = tools(["python3"]) else { return };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/python/indexes.py");
    let dir = temporary();
    let config = dir.path().join("pip.conf");
    let file = "[global]\nindex_url = https://a.example/%40x/\ntrusted-host = a.example\n[install]\n\
                extra-index-url =\n    https://b.example/\n    https://c.example/it's\n";
    fs::write(&config, file).expect("a file");
    let printed = |variables: &[(&str, &str)]| {
        let mut command = Command::new(&python);
        command.arg(&program).env_clear().envs(variables.iter().copied());
        run(&mut command).succeeds().to_owned()
    };
    assert_eq!(printed(&[]), "");
    let config = ("PIP_CONFIG_FILE", config.to_str().expect("a path of the tests"));
    let others =
        "export UV_INDEX='https://b.example/ https://c.example/it'\"'\"'s'\nexport UV_INSECURE_HOST=a.example\n";
    assert_eq!(printed(&[config]), format!("export UV_DEFAULT_INDEX=https://a.example/%40x/\n{others}"));
    let variable = ("PIP_INDEX_URL", "https://d.example/");
    assert_eq!(printed(&[config, variable]), format!("export UV_DEFAULT_INDEX=https://d.example/\n{others}"));
    assert_eq!(printed(&[config, variable, ("UV_DEFAULT_INDEX", "https://e.example/")]), others);
}

/// A package manager whose bytes are not those that the recipe expects, or the project.
#[test]
fn a_tool_that_is_another_ends_the_build() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let (right, wrong) = ("f627a8e971343afe49dfd0f63d028234201dfa831d5cb588733e1e5f8db26bf1", "0".repeat(128));
    let recipe = bench.path("mine.toml");
    let tool = format!("[tools.pnpm]\nversion = \"10.34.8\"\nsha512 = \"{wrong}\"\n");
    fs::write(&recipe, format!("name = \"mine\"\nlike = \"node\"\n{tool}")).expect("a recipe");
    let package =
        |more: &str| format!(r#"{{"name": "a", "main": "index.js", "dependencies": {{"is-number": "7.0.0"}}{more}}}"#);
    let asks = package(&format!(r#", "packageManager": "pnpm@10.34.8+sha512.{wrong}""#));
    for (recipe, package) in [(text(&recipe), package("")), ("node".to_owned(), asks)] {
        let files =
            [("package.json", package.as_str()), ("index.js", ""), ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")];
        let dir = app(&bench.path("app"), &files);
        let mut command = bench.home.microbuild([recipe, text(&dir)]);
        let failed = run(bench.sources(&mut command));
        failed.exits(1);
        for said in
            ["the tool pnpm@10.34.8 is not the one", &format!("expected sha512:{wrong}"), &format!("sha512:{right}")]
        {
            assert!(failed.stderr.contains(said), "{said}: {}", failed.stderr);
        }
    }
}
