//! Apps' folders as a build reads them: what goes into the image, how it starts, what it says of itself.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
};

use microbuild::internals::{
    app_folder::AppFolderError,
    error::{Explain as _, Kind},
    lang::LanguageError,
    project::{AppFile, FileKind, Options, Project, ProjectError},
    recipe::{Recipe, RecipeSearch, Trust},
    values::Deps,
};
use tempfile::TempDir;

use crate::support::{skip, skip_forbidden};

/// An app in a temporary folder. What it holds is written fluently: a path that ends with `/` is a folder.
pub(super) struct App(TempDir);

impl App {
    pub(super) fn new(files: &[&str]) -> Self {
        files.iter().fold(Self(tempfile::tempdir().expect("a temporary folder")), |app, path| app.file(path, ""))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn file(self, path: &str, text: &str) -> Self {
        let at = self.path().join(path);
        fs::create_dir_all(at.parent().expect("a folder")).expect("a folder");
        if path.ends_with('/') {
            fs::create_dir_all(at).expect("a folder");
        } else {
            fs::write(at, text).expect("a file");
        }
        self
    }

    fn mode(self, path: &str, mode: u32) -> Self {
        fs::set_permissions(self.path().join(path), fs::Permissions::from_mode(mode)).expect("a mode");
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.path().join(path)).expect("a link");
        self
    }

    fn read(&self, options: &Options) -> Result<Project, ProjectError> {
        Project::read(self.path(), &node(), options)
    }

    /// What a build would read, whatever is run.
    fn project(&self, options: Options) -> Project {
        self.read(&Options { cmd: Some(vec!["node".into()]), ..options }).expect("a project")
    }

    /// The files of the image, as [`list`] shows them.
    fn files(&self, options: Options) -> Vec<String> {
        list(&self.project(options).files)
    }

    /// The message of the error that reading it ends with, and its hint; the folder's own path as `APP`.
    fn error(&self, options: &Options) -> String {
        let error = self.read(options).expect_err("an error");
        let text = format!("{:?}: {error}\nhint: {}\n", error.kind(), error.hint().unwrap_or_default());
        text.replace(&self.path().display().to_string(), "APP")
    }
}

fn node() -> Recipe {
    RecipeSearch::default().find("node").expect("the built-in recipe")
}

/// Folders end with `/`, executable files with `*`, links show their target.
pub(super) fn list(files: &[AppFile]) -> Vec<String> {
    let show = |file: &AppFile| match &file.kind {
        FileKind::Folder => format!("{}/", file.path),
        FileKind::File { executable: true, .. } => format!("{}*", file.path),
        FileKind::File { .. } => file.path.clone(),
        FileKind::Link { target } => format!("{} -> {target}", file.path),
    };
    files.iter().map(show).collect()
}

fn patterns(texts: &[&str]) -> Vec<microbuild::internals::glob::Pattern> {
    texts.iter().map(|text| text.parse().expect("a pattern")).collect()
}

pub(super) fn copy() -> Options {
    Options { deps: Deps::Copy, ..Options::default() }
}

#[test]
fn lists_an_app_sorted_and_with_plain_modes() {
    let app = App::new(&["b.js", "a/z", "a/b/c", "a.js", "empty/", "bin/www", "bin/tool", "group.sh"])
        .mode("bin/www", 0o700)
        .mode("bin/tool", 0o4511)
        .mode("group.sh", 0o655)
        .mode("b.js", 0o600)
        .mode("a", 0o700)
        .link("latest", "a/b/../z")
        .link("a/up", "../b.js")
        .link("folder", "a");
    let expected = [
        "a/",
        "a.js",
        "a/b/",
        "a/b/c",
        "a/up -> ../b.js",
        "a/z",
        "b.js",
        "bin/",
        "bin/tool*",
        "bin/www*",
        "empty/",
        "folder -> a",
        "group.sh",
        "latest -> a/b/../z",
    ];
    assert_eq!(app.files(Options::default()), expected);
    let project = app.project(Options::default());
    let modes: Vec<u32> = ["a", "b.js", "bin/www", "latest"]
        .iter()
        .filter_map(|path| project.files.iter().find(|file| file.path == *path))
        .map(|file| file.kind.mode())
        .collect();
    assert_eq!(modes, [0o755, 0o644, 0o755, 0o777]);
    assert_eq!(project.warnings, [""; 0]);
}

#[test]
fn leaves_out_what_the_ignore_file_and_good_sense_leave_out() {
    let files = [
        ".git/HEAD",
        ".env",
        ".env.local",
        ".env.example",
        "config/.env.test",
        "Dockerfile",
        "microbuild.toml",
        "microbuild.lock",
        "node_modules/a/index.js",
        "sub/node_modules/b/index.js",
        "index.js",
        "README.md",
        "docs/a.md",
        "docs/keep/b.md",
        "build/x.o",
        "src/a.js",
        "src/a.test.js",
    ];
    let usual = [".env.example", "config/", "index.js"];
    for (ignore, include, exclude, expected) in [
        ("*\n!index.js\n", &[][..], &[][..], &["index.js"][..]),
        (
            "# docs\ndocs\n!docs/keep\n/build\n*.md\n**/*.test.js\nsub\n",
            &[],
            &[],
            &[usual[0], usual[1], "docs/", "docs/keep/", "docs/keep/b.md", usual[2], "src/", "src/a.js"],
        ),
        ("*\n", &["src/*.js"], &["**/*.test.js"], &["src/", "src/a.js"]),
        ("*\n", &["**/b.md", ".env"], &[], &[".env", "docs/", "docs/keep/", "docs/keep/b.md"]),
        ("*\n!src\n", &[], &["src"], &[]),
    ] {
        for name in [".dockerignore", ".microbuildignore"] {
            let app = App::new(&files).file(name, ignore);
            let options = Options { include: patterns(include), exclude: patterns(exclude), ..Options::default() };
            assert_eq!(app.files(options), expected, "{name}: {ignore}");
        }
    }
    let both = App::new(&["a", "b"]).file(".dockerignore", "a").file(".microbuildignore", "b");
    assert_eq!(both.files(Options::default()), ["a"], "microbuild's own ignore file counts alone");
}

#[test]
fn a_recipe_within_the_app_stays_out_of_the_image() {
    let app = App::new(&["index.js", "recipes/cake.toml"]).file("recipes/node.toml", &node().text);
    let recipe = RecipeSearch::new(app.path(), None, Trust::Yes).find("node").expect("the app's recipe");
    let project = Project::read(app.path(), &recipe, &Options::default()).expect("a project");
    assert_eq!(list(&project.files), ["index.js", "recipes/", "recipes/cake.toml"]);
}

/// Whatever is left out is nobody's business: neither what it is called nor what it is.
#[test]
fn what_cannot_go_into_an_image_may_be_left_out() {
    let app = App::new(&["a", "x/"]).file(".dockerignore", "x\n*.sock\nout\n").link("out", "../../elsewhere");
    let _socket = UnixListener::bind(app.path().join("run.sock")).expect("a socket");
    let _other = UnixListener::bind(app.path().join("x/run")).expect("a socket");
    let name = std::ffi::OsStr::from_bytes(b"x/\xff");
    fs::write(app.path().join(name), "").expect("a file");
    assert_eq!(app.files(Options::default()), ["a"]);
}

#[test]
fn errors_name_what_was_expected_and_what_was_found() {
    let mut errors = Vec::new();
    let mut told = |app: App, options: &Options| errors.push(app.error(options));
    let usual = Options::default();

    let app = App::new(&[]);
    let _socket = UnixListener::bind(app.path().join("run.sock")).expect("a socket");
    told(app, &usual);
    let app = App::new(&[]);
    fs::write(app.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.js")), "").expect("a file");
    told(app, &usual);
    told(App::new(&["a/.wh.b"]), &usual);
    told(App::new(&["a/"]).link("a/b", "../../c"), &usual);
    told(App::new(&[]).file(".dockerignore", "a\n\n[b\n"), &usual);
    told(App::new(&[".dockerignore/"]), &usual);

    let json = |text: &str| App::new(&["index.js"]).file("package.json", text);
    told(json("{\n  \"name\": \"a\",\n}"), &usual);
    told(json(r#"{"engines": {"node": "lts/*"}}"#), &usual);
    told(json(r#"{"dependencies": {"a": "1"}}"#).file("package-lock.json", "<<<<<<<"), &usual);
    told(json(r#"{"dependencies": {"express": "5"}}"#), &copy());
    told(json(r#"{"dependencies": {"a": "1", "b": "1"}}"#).file("node_modules/a/package.json", "{}"), &copy());
    errors.push({
        let missing = tempfile::tempdir().expect("a temporary folder");
        let error = Project::read(&missing.path().join("app"), &node(), &usual).expect_err("an error");
        assert_eq!(error.kind(), Kind::Usage);
        error.to_string().replace(&missing.path().display().to_string(), "HERE")
    });
    errors.push({
        let app = App::new(&["server.js"]);
        let file = app.path().join("server.js");
        let error = Project::read(&file, &node(), &usual).expect_err("an error");
        format!("{error}\nhint: {}", error.hint().unwrap_or_default()).replace(&app.path().display().to_string(), "APP")
    });
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn absolute_links_are_kept_and_told() {
    let app = App::new(&["index.js"]).link("log", "/dev/stdout").link("tmp", "/tmp").link("data", "/srv/data");
    let project = app.read(&Options::default()).expect("a project");
    assert_eq!(list(&project.files), ["data -> /srv/data", "index.js", "log -> /dev/stdout", "tmp -> /tmp"]);
    assert_eq!(project.warnings, ["data links to /srv/data, which is kept and means that path in the image"]);
}

/// The command of the image, or `-`, for a `package.json` and the files beside it.
fn command(package: &str, files: &[&str]) -> String {
    let app = App::new(files);
    let app = if package.is_empty() { app } else { app.file("package.json", package) };
    match app.read(&Options::default()) {
        Ok(project) => project.cmd.join(" "),
        Err(ProjectError::Language(LanguageError::NoEntry { .. })) => "-".into(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn finds_what_is_run_where_node_would() {
    for (package, files, expected) in [
        // main, as Node resolves it
        (r#"{"main": "a.js"}"#, &["a.js", "index.js"][..], "node a.js"),
        (r#"{"main": "./lib/a"}"#, &["lib/a.js", "index.js"], "node lib/a.js"),
        (r#"{"main": "lib"}"#, &["lib/index.js", "index.js"], "node lib/index.js"),
        (r#"{"main": "lib/"}"#, &["lib/index.js"], "node lib/index.js"),
        (r#"{"main": "lib"}"#, &["lib.js", "lib/index.js"], "node lib.js"),
        (r#"{"main": "."}"#, &["index.js"], "node index.js"),
        (r#"{"main": "a.mjs"}"#, &["a.mjs"], "node a.mjs"),
        (r#"{"main": "server.ts"}"#, &["server.ts"], "node server.ts"),
        (r#"{"main": "a.b"}"#, &["a.b.js"], "node a.b.js"),
        (r#"{"main": "../a.js"}"#, &["index.js"], "node index.js"),
        (r#"{"main": "/a.js"}"#, &["a.js", "index.js"], "node index.js"),
        // the start script before main, main before the usual files
        (r#"{"main": "a.js", "scripts": {"start": "node b.js"}}"#, &["a.js", "b.js"], "node b.js"),
        (r#"{"main": "a.js", "scripts": {"start": "node b.js"}}"#, &["a.js", "index.js"], "node a.js"),
        (r#"{"main": "a.js", "scripts": {"start": "node b.js"}}"#, &["b.js", "index.js"], "node b.js"),
        (r#"{"main": "a", "scripts": {"start": "node -r ./x a.js --y"}}"#, &["a.js"], "node -r ./x a.js --y"),
        (
            r#"{"main": "a.js", "scripts": {"start": "node --trace-warnings ."}}"#,
            &["a.js"],
            "node --trace-warnings a.js",
        ),
        (r#"{"scripts": {"start": "node ./bin/www"}}"#, &["bin/www", "index.js"], "node bin/www"),
        (r#"{"scripts": {"start": "node src"}}"#, &["src/index.js"], "node src/index.js"),
        (r#"{"scripts": {"start": "node src/"}}"#, &["src.js", "src/index.js"], "node src/index.js"),
        (r#"{"scripts": {"start": "node gone.js"}}"#, &["server.js"], "node server.js"),
        (r#"{"scripts": {"start": "tsx a.ts"}}"#, &["a.ts", "app.mjs"], "node app.mjs"),
        // the usual files
        ("", &["app.js", "server.js", "index.js"], "node index.js"),
        ("", &["app.js", "server.mjs"], "node server.mjs"),
        ("{}", &["app.cjs"], "node app.cjs"),
        ("{}", &["index.js/x"], "-"),
        ("{}", &[], "-"),
        (r#"{"main": "dist/a.js"}"#, &["src/a.ts"], "-"),
        (r#"{"main": "a.json"}"#, &["a.json"], "node a.json"),
        (r#"{"main": "a"}"#, &["a.json"], "-"),
    ] {
        assert_eq!(command(package, files), expected, "{package} {files:?}");
    }
}

#[test]
fn a_folder_that_is_run_may_have_a_package_json_of_its_own() {
    let app = App::new(&["server/main.js"])
        .file("package.json", r#"{"scripts": {"start": "node ./server"}}"#)
        .file("server/package.json", r#"{"main": "main"}"#);
    assert_eq!(app.read(&Options::default()).expect("a project").cmd, ["node", "server/main.js"]);
}

#[test]
fn what_is_run_may_be_reached_through_links() {
    let app = App::new(&["releases/1/main.js"])
        .link("current", "releases/1")
        .link("circle", "circle")
        .file("package.json", r#"{"main": "current/main.js", "scripts": {"start": "node circle"}}"#);
    assert_eq!(app.read(&Options::default()).expect("a project").cmd, ["node", "current/main.js"]);
}

#[test]
fn an_entry_that_does_not_exist_is_told_with_the_places_looked_at() {
    let told = [
        App::new(&["README.md"]),
        App::new(&[]).file("package.json", r#"{"main": "dist/a.js", "scripts": {"start": "node dist/a"}}"#),
        App::new(&["server.js", "a.js"])
            .file(".dockerignore", "*\n!package.json")
            .file("package.json", r#"{"main": "a.js", "scripts": {"start": "npm run x && node a.js"}}"#),
        App::new(&[]).file("package.json", r#"{"main": "../a.js", "scripts": {"start": "node /a.js"}}"#),
    ]
    .map(|app| app.error(&Options::default()));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn warns_when_something_else_is_run_than_one_might_think() {
    let warnings = [
        (r#"{"main": "a.js", "scripts": {"start": "node b.js | tee log"}}"#, "a.js"),
        (r#"{"main": "gone.js", "scripts": {"start": "next start"}}"#, "index.js"),
        (r#"{"main": "a.js", "scripts": {"start": "node gone.js"}}"#, "a.js"),
        (r#"{"main": "gone.js", "scripts": {"start": "nodemon b.js"}}"#, "b.js"),
    ]
    .map(|(package, entry)| {
        let app = App::new(&["a.js", "b.js", "index.js"]).file("package.json", package);
        let project = app.read(&Options::default()).expect("a project");
        assert_eq!((project.entry.as_deref(), project.env.len()), (Some(entry), 0), "{package}");
        format!("{package}\n{}\n", project.warnings.join("\n"))
    });
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn options_say_what_is_run_and_then_no_entry_is_needed() {
    let app = App::new(&["x.js"]);
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    for (entrypoint, cmd, expected) in [
        (None, words(&["node", "x.js"]), (vec![], vec!["node", "x.js"])),
        (words(&["node"]), None, (vec!["node"], vec![])),
        (words(&["node"]), words(&["x.js"]), (vec!["node"], vec!["x.js"])),
        (None, words(&[]), (vec![], vec![])),
    ] {
        let project = app.read(&Options { entrypoint, cmd, ..Options::default() }).expect("a project");
        assert_eq!(
            (project.entrypoint, project.cmd, project.entry),
            (to_owned(&expected.0), to_owned(&expected.1), None)
        );
    }
}

fn to_owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_start_scripts_variables_reach_the_image() {
    let app =
        App::new(&["a.js"]).file("package.json", r#"{"scripts": {"start": "cross-env PORT=80 NAME='a b' node a.js"}}"#);
    let project = app.read(&Options::default()).expect("a project");
    assert_eq!(project.env, BTreeMap::from([("NAME".into(), "a b".into()), ("PORT".into(), "80".into())]));
}

#[test]
fn copies_dependencies_as_they_are() {
    let app = App::new(&["index.js", "node_modules/a/.env", "node_modules/a/x.md", "node_modules/@b/c/i.js"])
        .file("node_modules/.cache/babel/x", "")
        .file("packages/p/node_modules/d/i.js", "")
        .file("node_modules/.bin/", "")
        .link("node_modules/.bin/a", "../a/x.md")
        .link("node_modules/p", "../packages/p")
        .file(".dockerignore", "node_modules\n*.md\n")
        .file(
            "package.json",
            r#"{"dependencies": {"a": "1", "@b/c": "1", "p": "*"}, "optionalDependencies": {"o": "1"}}"#,
        );
    let project = app.read(&Options { exclude: patterns(&["**/i.js"]), ..copy() }).expect("a project");
    assert_eq!(list(&project.files), ["index.js", "package.json", "packages/", "packages/p/"]);
    assert_eq!(
        list(&project.dependencies),
        [
            "node_modules/",
            "node_modules/.bin/",
            "node_modules/.bin/a -> ../a/x.md",
            "node_modules/@b/",
            "node_modules/@b/c/",
            "node_modules/a/",
            "node_modules/a/.env",
            "node_modules/a/x.md",
            "node_modules/p -> ../packages/p",
            "packages/p/node_modules/",
            "packages/p/node_modules/d/",
        ]
    );
    assert_eq!(project.deps, Deps::Copy);

    let without = app.read(&Options { deps: Deps::None, ..Options::default() }).expect("a project");
    assert_eq!((without.dependencies.len(), without.deps), (0, Deps::None));
    assert_eq!(list(&without.files), ["index.js", "package.json", "packages/", "packages/p/"]);
}

#[test]
fn development_dependencies_are_none() {
    let app =
        App::new(&["index.js", "node_modules/a/index.js"]).file("package.json", r#"{"devDependencies": {"a": "1"}}"#);
    let project = app.read(&Options::default()).expect("a project");
    assert_eq!((project.dependencies.len(), project.deps, list(&project.files).len()), (0, Deps::None, 2));
    assert_eq!(App::new(&["index.js"]).read(&copy()).expect("a project").deps, Deps::None);
}

#[test]
fn checks_the_runtime_against_engines() {
    for (range, version, fits) in [
        (">=20", "24.11.1-r0", true),
        (">=24.11.1", "24.11.1-r0", true),
        ("^22 || 24.x", "24.11.1", true),
        ("18 - 20", "24.11.1-r0", false),
        ("<24", "24.0.0_rc1-r3", false),
        ("*", "24.11.1-r0", true),
        ("^24", "nonsense", false),
    ] {
        let app = App::new(&["index.js"]).file("package.json", &format!(r#"{{"engines": {{"node": "{range}"}}}}"#));
        let project = app.read(&Options::default()).expect("a project");
        assert_eq!(project.runtime.as_ref().map(|wanted| wanted.range.as_str()), Some(range));
        let checked = project.check_runtime(version);
        assert_eq!(checked.is_ok(), fits, "{range} {version}");
        if let Err(error) = checked {
            assert_eq!(error.kind(), Kind::Build);
            let message = error.to_string();
            assert!(message.contains(range) && message.contains(version) && error.hint().is_some(), "{message}");
        }
    }
    assert!(App::new(&["index.js"]).project(Options::default()).check_runtime("1").is_ok(), "no engines, no check");
}

/// The folder's name and the order in which files were made say nothing.
#[test]
fn reads_the_same_wherever_the_app_lies() {
    let one = App::new(&["index.js", "a", "b/c", "b/d"]);
    let other = App::new(&["b/d", "b/c", "a", "index.js"]);
    let read = |app: &App| {
        let project = app.read(&Options::default()).expect("a project");
        (project.files, project.title, project.version, project.cmd, project.revision, project.source)
    };
    assert_eq!(read(&one), read(&other));
    assert_eq!(read(&one).1, None);
}

#[test]
fn a_file_that_changes_is_noticed() {
    let app = App::new(&[]).file("index.js", "one");
    let project = app.read(&Options::default()).expect("a project");
    let (file, root) = (&project.files[0], project.folder().expect("the app's folder"));
    let mut text = String::new();
    file.open(&root).expect("an open file").read_to_string(&mut text).expect("its text");
    assert_eq!(text, "one");
    fs::write(app.path().join("index.js"), "three").expect("a file");
    assert!(matches!(file.open(&root), Err(ProjectError::Changed { expected: 3, found: 5, .. })));
    fs::remove_file(app.path().join("index.js")).expect("no file");
    assert!(matches!(file.open(&root), Err(ProjectError::File(AppFolderError::Io { .. }))));
}

#[test]
fn an_unreadable_folder_is_named() {
    let app = App::new(&["a/b"]).mode("a", 0o000);
    if fs::read_dir(app.path().join("a")).is_ok() {
        return skip_forbidden("root reads every folder");
    }
    let error = app.error(&Options::default());
    // So that the temporary folder can be taken away.
    let _app = app.mode("a", 0o755);
    assert!(error.starts_with("Build: cannot read APP/a: Permission denied"), "{error}");
}

#[test]
fn many_files_are_listed() {
    let app = App::new(&["index.js"]);
    for folder in 0..100 {
        fs::create_dir(app.path().join(format!("{folder}"))).expect("a folder");
        for file in 0..100 {
            fs::write(app.path().join(format!("{folder}/{file}.txt")), "").expect("a file");
        }
    }
    let app = app.file(".dockerignore", "**/7*.txt\n!9*/7*.txt\n");
    // 11 names of a hundred begin with 7; in the folders 9, 90, … they come back.
    assert_eq!(app.files(Options::default()).len(), 1 + 100 + 10_000 - 89 * 11);
}

#[test]
fn reads_the_commit_that_git_has() {
    let git = |folder: &Path, args: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"];
        let output = Command::new("git").current_dir(folder).args(identity).args(args).output().ok()?;
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let app = App::new(&["sub/index.js", "other/"]);
    let Some(_) = git(app.path(), &["init"]) else { return skip("git not installed") };
    let sub = app.path().join("sub");
    let read = |folder: &Path| {
        let project = Project::read(folder, &node(), &Options::default()).expect("a project");
        (project.revision, project.source)
    };
    assert_eq!(read(&sub), (None, None), "no commit, no remote");
    git(app.path(), &["add", "."]);
    git(app.path(), &["commit", "-m", "one"]);
    git(app.path(), &["remote", "add", "origin", "git@git.example.org:team/shop.git"]);
    let source = Some("https://git.example.org/team/shop".to_owned());
    let head = || git(app.path(), &["rev-parse", "HEAD"]);
    assert_eq!(read(&sub), (head(), source.clone()));
    git(app.path(), &["pack-refs", "--all"]);
    assert_eq!(read(&sub), (head(), source.clone()));
    git(app.path(), &["checkout", "--detach"]);
    assert_eq!(read(&sub), (head(), source.clone()));

    let tree = app.path().join("other/tree");
    git(app.path(), &["worktree", "add", "-b", "topic", tree.to_str().expect("UTF-8")]);
    fs::write(tree.join("sub/x"), "").expect("a file");
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-m", "two"]);
    let topic = git(&tree, &["rev-parse", "HEAD"]);
    assert_ne!(topic, head());
    assert_eq!(read(&tree.join("sub")), (topic, source));
}

#[test]
fn the_example_is_an_app() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node");
    let project = Project::read(&folder, &node(), &Options::default()).expect("a project");
    assert_eq!(list(&project.files), ["package.json", "server.js"]);
    assert_eq!(project.cmd, ["node", "server.js"]);
    assert_eq!((project.title.as_deref(), project.version.as_deref()), (Some("hello-node"), Some("1.0.0")));
    assert_eq!(project.warnings, [""; 0]);
    project.check_runtime("24.11.1-r0").expect("Alpine's Node");
}

#[test]
fn a_recipe_says_what_stays_out_and_what_certain_files_start() {
    let recipe = Recipe::parse(
        "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n[app]\nignore = ['**/.venv', 'tmp/*']\n\
         entry = ['main.x']\ncmd = ['x', '{entry}']\n[[app.start]]\nwhen = ['bin/rails', 'config.ru']\ncmd = ['rackup']\n",
        "x.toml",
    )
    .expect("a recipe");
    let read = |app: &App, options: &Options| {
        let project = Project::read(app.path(), &recipe, options).expect("a project");
        let files = project.files.into_iter().filter(|file| file.kind != FileKind::Folder).map(|file| file.path);
        (project.cmd.join(" "), files.collect::<Vec<_>>().join(" "))
    };
    let app = App::new(&["main.x", "lib/.venv/a", "tmp/b", "tmp/keep"]).file(".dockerignore", "!tmp/keep\n");
    assert_eq!(read(&app, &Options::default()), ("x main.x".into(), "main.x tmp/keep".into()));
    let app = app.file("config.ru", "");
    assert_eq!(read(&app, &Options::default()).0, "rackup");
    let app = app.file("Procfile", "web: other\n");
    assert_eq!(read(&app, &Options::default()).0, "other", "whoever writes a Procfile knows better");
    let options = Options { cmd: Some(vec!["given".into()]), ..Options::default() };
    assert_eq!(read(&app, &options).0, "given");
}
