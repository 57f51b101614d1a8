//! Steps of recipes as users write their own: chained, refused, and what `plan` and `why` know of them.

use std::{fs, path::Path};

use super::deb_mirror::has_release;
use crate::support::{
    run, tools,
    workbench::{Workbench, app, json, text},
};

/// A workbench with a mirror and an OCI runtime, or a skip.
#[track_caller]
fn workbench() -> Option<Workbench> {
    tools(["runc"])?;
    Workbench::alpine()
}

/// The recipe `name` with these steps, on a base with a shell; the path of its file.
fn recipe(bench: &Workbench, name: &str, steps: &str) -> String {
    let head = format!("name = '{name}'\ndescription = 'x'\n[base.alpine]\npackages = ['busybox-binsh']\n");
    let path = bench.path(&format!("{name}.toml"));
    fs::write(&path, format!("{head}[app]\nmade = true\ncmd = ['sh', 'app']\n{steps}")).expect("a recipe");
    text(&path)
}

/// Whether each step was run, in the order of `names`, and the command's output in the image.
fn built_and_run<const N: usize>(bench: &Workbench, recipe: &str, dir: &Path, names: [&str; N]) -> ([bool; N], String) {
    let mut build = bench.home.microbuild([recipe, &text(dir), "--json", "-v", "-t", "steps:1"]);
    let finished = run(bench.sources(&mut build));
    finished.succeeds();
    let ran = names.map(|name| finished.stderr.contains(&format!("{name} for linux/")));
    (ran, bench.microbuild(["run", "-q", "steps:1"]).succeeds().to_owned())
}

#[test]
fn a_step_sees_what_an_earlier_one_kept() {
    let Some(bench) = workbench() else { return };
    let steps = "[[step]]\nname = 'generate'\nfiles = ['words']\nkeep = [{ path = 'made', layer = false }]\n\
                 run = ['sh', '-ec', 'mkdir -p made/deep; tr a-z A-Z <words >made/deep/words; ln -s deep/words made/link']\n\
                 [[step]]\nname = 'build'\nafter = ['generate']\nfiles = ['end']\nkeep = ['{out}']\n\
                 run = ['sh', '-ec', 'cat made/link end | sed \"s/.*/echo &/\" >$OUT/app']\n";
    let recipe = recipe(&bench, "chained", steps);
    let dir = app(&bench.path("app"), &[("words", "hello\n"), ("end", "end\n"), ("other", "")]);
    let names = ["generate", "build"];
    assert_eq!(built_and_run(&bench, &recipe, &dir, names), ([true, true], "HELLO\nend\n".into()));
    assert_eq!(built_and_run(&bench, &recipe, &dir, names), ([false, false], "HELLO\nend\n".into()));

    fs::write(dir.join("other"), "changed").expect("write");
    assert_eq!(built_and_run(&bench, &recipe, &dir, names).0, [false, false], "no step sees it");
    fs::write(dir.join("end"), "END\n").expect("write");
    assert_eq!(built_and_run(&bench, &recipe, &dir, names), ([false, true], "HELLO\nEND\n".into()), "of what was kept");
    fs::write(dir.join("words"), "HELLO\n").expect("write");
    assert_eq!(built_and_run(&bench, &recipe, &dir, names).0, [true, false], "another way to the same result");
    fs::write(dir.join("words"), "bye\n").expect("write");
    assert_eq!(built_and_run(&bench, &recipe, &dir, names), ([true, true], "BYE\nEND\n".into()));

    let built =
        json(&run(bench.sources(&mut bench.home.microbuild([&recipe, &text(&dir), "--json", "-t", "steps:1"]))));
    let mut titles = built["layers"].as_array().expect("layers").iter().filter_map(|layer| layer["title"].as_str());
    assert_eq!(titles.next_back(), Some("app"), "what only steps see is in no layer");
    assert!(built["timings"]["generate"].is_number() && built["timings"]["build"].is_number(), "{}", built["timings"]);
}

#[test]
fn plan_knows_of_steps_what_builds_have_learnt() {
    let Some(bench) = workbench() else { return };
    let steps = "[[step]]\nname = 'compile'\nkeep = ['{out}']\nrun = ['sh', '-ec', 'cp app $OUT']\n";
    let recipe = recipe(&bench, "small", steps);
    let dir = app(&bench.path("app"), &[("app", "echo hello\n")]);
    let plan = || {
        let mut plan = bench.home.microbuild(["plan", &recipe, &text(&dir), "--json"]);
        json(&run(bench.sources(&mut plan)))
    };
    let before = plan();
    assert_eq!(before["images"][0]["unknown"], serde_json::json!(["compile"]));
    assert!(before["dev"]["packages"].to_string().contains("busybox"), "{}", before["dev"]);
    assert_eq!(built_and_run(&bench, &recipe, &dir, ["compile"]), ([true], "hello\n".into()));
    assert_eq!(plan()["images"][0]["unknown"], serde_json::json!([]));
}

#[test]
fn another_processor_is_refused_before_anything_is_fetched() {
    let bench = Workbench::fake();
    let dir = app(&bench.path("app"), &[("Gemfile", "source 'https://rubygems.org'\n"), ("app.rb", "puts 1\n")]);
    let other = if cfg!(target_arch = "aarch64") { "linux/amd64" } else { "linux/arm64" };
    let nowhere = text(&bench.path("nowhere"));
    for options in [&[][..], &["--ignore-scripts"]] {
        let mut build = bench.home.microbuild(["ruby", &text(&dir), "--platform", other, "--base", "alpine"]);
        let refused = run(build.args(["--mirror", &nowhere]).args(options));
        assert_eq!(refused.exits(1), "");
        let told = format!("step install of recipe ruby cannot work for {other} on a machine that is linux/");
        assert!(refused.stderr.contains(&told), "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("build on a machine that is {other}")), "{}", refused.stderr);
        assert!(!refused.stderr.contains("--ignore-scripts"), "the hint leads on: {}", refused.stderr);
    }
}

#[test]
fn why_knows_the_libraries_that_a_program_is_linked_with() {
    if tools(["cc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let source = app(&bench.path("source"), &[("main.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n")]);
    let dir = bench.path("prog");
    fs::create_dir(&dir).expect("a folder");
    let mut cc = bench.home.command("cc", ["-o", &text(&dir.join("prog")), &text(&source.join("main.c"))]);
    run(&mut cc).succeeds();
    let ask = |package: &str| {
        let mut why = bench.home.microbuild(["why", package, "static", &text(&dir)]);
        run(bench.sources(&mut why))
    };
    let told = ask("libc6");
    assert!(told.succeeds().contains("has a library that a program is linked with"), "{told:?}");
    let none = ask("libc7");
    assert_eq!(none.exits(2), "");
    assert!(none.stderr.contains("libc7 is not in the image; did you mean libc6?"), "{}", none.stderr);
}
