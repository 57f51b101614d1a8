//! Steps: which of them a project has, what stays out of its own files for them; chained and refused; what `plan` and `why` know.

use std::{fs, path::Path};

use microbuild::internals::{
    project::{Options, Project},
    recipe::{Recipe, RecipeSearch},
    values::Deps,
};

use super::{
    deb_mirror::has_release,
    project::{App, copy, list},
};
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

/// A folder that the build makes anew may hold other versions, or packages for development only.
#[test]
fn what_the_build_installs_is_not_taken_from_the_folder() {
    for (recipe, asks, main, left) in [
        ("python", "requirements.txt", "main.py", "site-packages/six.py"),
        ("php", "composer.json", "index.php", "vendor/autoload.php"),
    ] {
        let recipe = RecipeSearch::default().find(recipe).expect("a built-in recipe");
        let app = App::new(&[main, left]).file(asks, if asks.ends_with("json") { "{}" } else { "six==1.16.0\n" });
        let read = |options: &Options| Project::read(app.path(), &recipe, options).expect("a project");
        let folder = left.split('/').next().expect("a folder");
        let project = read(&Options::default());
        let files = list(&project.files);
        assert!(files.contains(&main.to_owned()) && !files.iter().any(|file| file.starts_with(folder)), "{files:?}");
        let warning = format!(
            "{folder} in the app's folder stays out of the image, because the build makes it anew; --deps copy takes it"
        );
        assert!(project.warnings.contains(&warning), "{:?}", project.warnings);
        let project = read(&copy());
        assert_eq!(list(&project.dependencies), [format!("{folder}/"), left.to_owned()]);
        assert!(!project.warnings.contains(&warning), "{:?}", project.warnings);
    }
}

/// Nothing but a language reads lock files: here `x.lock` is none of npm's JSON.
#[test]
fn a_recipe_without_language_reads_no_lock_file() {
    let text = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n[app]\ncmd = ['x']\n\
                [[step]]\nname = 'install'\ninstalls = true\nfiles = ['x.lock']\nlock = ['x.lock']\nrun = ['z']\nkeep = ['lib']\n";
    let recipe = Recipe::parse(text, "x.toml").expect("a recipe");
    let app = App::new(&[]).file("x.lock", "one 1.0\ntwo 2.0\n");
    let steps = Project::read(app.path(), &recipe, &Options::default()).expect("a project").steps;
    assert_eq!(steps.first().and_then(|step| step.lock.as_deref()), Some("x.lock"));
}

#[test]
fn another_runtime_than_a_project_asks_for_is_a_warning() {
    let php = RecipeSearch::default().find("php").expect("the built-in recipe");
    let app = App::new(&["index.php"]).file("composer.json", r#"{"name": "team/shop", "require": {"php": "^8.4"}}"#);
    let project = Project::read(app.path(), &php, &Options::default()).expect("a project");
    assert_eq!(project.check_runtime("8.4.14-r0").expect("no error"), None);
    let warning = project.check_runtime("8.2.29").expect("no error");
    let expected = "expected a version of PHP that fits require.php in composer.json (`^8.4`), found 8.2.29";
    assert_eq!(warning.as_deref(), Some(expected));
}

/// What a build step makes anew does not lie under what an earlier build left in the app's folder.
#[test]
fn what_a_step_makes_anew_stays_out_of_the_apps_files() {
    let text = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n[app]\ncmd = ['x']\n\
                [[step]]\nname = 'build'\nrun = ['make']\nkeep = ['dist', '{out}/lib']\n";
    let recipe = Recipe::parse(text, "x.toml").expect("a recipe");
    let app = App::new(&["dist/old.js", "lib/a.js", "src/dist/b.js"]);
    for deps in [Deps::Auto, Deps::Copy, Deps::None] {
        let project = Project::read(app.path(), &recipe, &Options { deps, ..Options::default() }).expect("a project");
        assert_eq!(list(&project.files), ["lib/", "lib/a.js", "src/", "src/dist/", "src/dist/b.js"]);
        assert_eq!(project.warnings.len(), 1, "{:?}", project.warnings);
        assert!(project.warnings[0].starts_with("dist in the app's folder stays out"), "{:?}", project.warnings);
        assert!(!project.warnings[0].contains("--deps"), "{:?}", project.warnings);
        assert_eq!(project.steps[0].files.len(), 5, "nor does the step see it");
    }
}
