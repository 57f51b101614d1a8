//! What uv installs for apps in Python, judged by what runs in the image.

use std::{env::consts::ARCH, fs, path::Path};

use super::{deb_mirror::has_release, node::unpacked};
use crate::support::{
    Finished, run, tools,
    workbench::{Workbench, app, json as json_of, text},
};

const SIX: &str = "import six\nprint(six.__version__)\ndef main(): pass\n";

/// The sums of the wheel and of the archive of six 1.16.0.
const SUMS: [&str; 2] = [
    "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254",
    "1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926",
];

/// The address of that wheel.
const WHEEL: &str = "https://files.pythonhosted.org/packages/d9/5a/e7c31adbe875f2abbb91bd84cf2dc52d792b5a01506781dbcf25c91daf11/\
                     six-1.16.0-py2.py3-none-any.whl";

/// A workbench with Debian's packages and an OCI runtime, or a skip.
#[track_caller]
pub(super) fn workbench(release: &str) -> Option<Workbench> {
    tools(["runc"])?;
    has_release(release, "amd64").then(|| Workbench::debian(release))
}

/// Builds the app in `dir` as `app:1`. All apps of a test have the caches in common, so that uv is fetched once.
pub(super) fn build(bench: &Workbench, dir: &Path, options: &[&str]) -> Finished {
    let mut command = bench.home.microbuild(["python", &text(dir), "-t", "app:1", "--json", "--shared-cache"]);
    run(bench.sources(&mut command).args(options))
}

/// What `app:1` prints.
#[track_caller]
pub(super) fn said(bench: &Workbench) -> String {
    bench.microbuild(["run", "app:1", "-q"]).succeeds().to_owned()
}

#[test]
fn uv_installs_what_every_kind_of_lock_says() {
    let Some(bench) = workbench("bookworm") else { return };
    let [wheel, archive] = SUMS;
    let project = "[project]\nname = 'shop'\ndynamic = ['version']\nrequires-python = '>=3.9'\ndependencies = ['six']\n\
                   [build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n";
    let scripts = format!("{project}[project.scripts]\nshop = 'main:main'\n");
    let uv = format!(
        "version = 1\nrevision = 3\nrequires-python = '>=3.9'\n\
         [[package]]\nname = 'shop'\nsource = {{ editable = '.' }}\ndependencies = [{{ name = 'six' }}]\n\
         [package.metadata]\nrequires-dist = [{{ name = 'six' }}]\n\
         [[package]]\nname = 'six'\nversion = '1.16.0'\nsource = {{ registry = 'https://pypi.org/simple' }}\n\
         sdist = {{ url = 'https://example.org/six-1.16.0.tar.gz', hash = 'sha256:{archive}' }}\n\
         wheels = [{{ url = '{WHEEL}', hash = 'sha256:{wheel}' }}]\n"
    );
    let poetry = format!(
        "[[package]]\nname = 'six'\nversion = '1.16.0'\noptional = false\npython-versions = '*'\ngroups = ['main']\n\
         files = [{{file = 'six-1.16.0-py2.py3-none-any.whl', hash = 'sha256:{wheel}'}}]\n\
         [[package]]\nname = 'colorama'\nversion = '0.4.6'\noptional = false\npython-versions = '*'\ngroups = ['main']\n\
         markers = \"sys_platform == 'win32'\"\nfiles = [{{file = 'x.whl', hash = 'sha256:{archive}'}}]\n\
         [metadata]\nlock-version = '2.1'\n"
    );
    let pipenv = format!(
        r#"{{"default": {{"six": {{"version": "==1.16.0", "hashes": ["sha256:{wheel}", "sha256:{archive}"]}}}}}}"#
    );
    for (n, files) in [
        &[("pyproject.toml", project), ("uv.lock", uv.as_str())][..],
        &[("pyproject.toml", scripts.as_str()), ("poetry.lock", poetry.as_str())],
        &[("Pipfile", ""), ("Pipfile.lock", pipenv.as_str())],
        &[("pyproject.toml", "[project]\nname = 'shop'\nversion = '1'\ndependencies = ['six==1.16.0']\n")],
        &[("requirements.txt", "-r requirements-base.txt\n"), ("requirements-base.txt", "six==1.16.0\n")],
    ]
    .into_iter()
    .enumerate()
    {
        let dir = app(&bench.path(&format!("app-{n}")), &[files, &[("main.py", SIX)]].concat());
        // The programs of the project itself are on PATH.
        let options = if n == 1 { &["--cmd", "shop"][..] } else { &[] };
        let built = json_of(&build(&bench, &dir, options));
        assert_eq!(said(&bench), "1.16.0\n", "{files:?}");
        // The result is remembered; a file that changes nothing makes the step run again.
        let name = files[files.len() - 1].0;
        let comment = if name.ends_with(".lock") && name.starts_with("Pip") { " \n" } else { "\n# the same\n" };
        fs::write(dir.join(name), format!("{}{comment}", files[files.len() - 1].1)).expect("a file");
        let again = json_of(&build(&bench, &dir, &["--offline"]));
        let layer = |built: &serde_json::Value| {
            let layers = built["layers"].as_array().expect("layers");
            layers.iter().find(|layer| layer["title"] == "dependencies").expect("dependencies")["digest"].clone()
        };
        assert_eq!(layer(&again), layer(&built), "offline, from the cache");
    }

    // What the lock does not know ends the build.
    let dir = bench.path("app-0");
    fs::write(dir.join("pyproject.toml"), project.replace("dynamic = ['version']", "version = '1'")).expect("a file");
    fs::write(dir.join("uv.lock"), uv.replace("name = 'shop'\n", "name = 'shop'\nversion = '1'\n")).expect("a file");
    build(&bench, &dir, &[]).succeeds();
    let more = project.replace("dynamic = ['version']", "version = '1'").replace("['six']", "['six', 'idna']");
    fs::write(dir.join("pyproject.toml"), more).expect("a file");
    let failed = build(&bench, &dir, &[]);
    failed.exits(1);
    assert!(failed.stderr.contains("hint: bring uv.lock up to date with pyproject.toml"), "{}", failed.stderr);
    let wrong = pipenv.replace(archive, &"0".repeat(64)).replace(wheel, &"0".repeat(64));
    fs::write(bench.path("app-2/Pipfile.lock"), wrong).expect("a file");
    let failed = build(&bench, &bench.path("app-2"), &[]);
    failed.exits(1);
    assert!(failed.stderr.contains("hint: the index has other files than the lock file knows"), "{}", failed.stderr);
}

/// The app's folder has another version of what the build installs.
#[test]
fn what_is_installed_is_not_shadowed_by_the_folder() {
    let Some(bench) = workbench("bookworm") else { return };
    let dir = app(
        &bench.path("app"),
        &[
            ("requirements.txt", "six==1.16.0\n"),
            ("main.py", SIX),
            ("site-packages/six.py", "__version__ = '1.15.0'\n"),
        ],
    );
    let finished = build(&bench, &dir, &[]);
    finished.succeeds();
    let warning = "site-packages in the app's folder stays out of the image";
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
    assert_eq!(said(&bench), "1.16.0\n");
    build(&bench, &dir, &["--deps", "copy"]).succeeds();
    assert_eq!(said(&bench), "1.15.0\n");
}

fn compiled_with_libpq(release: &str) {
    let Some(bench) = workbench(release) else { return };
    let main = "import psycopg2\nprint(psycopg2.__libpq_version__ > 0)\n";
    let dir = app(&bench.path("app"), &[("requirements.txt", "psycopg2==2.9.10\n"), ("main.py", main)]);
    let failed = build(&bench, &dir, &[]);
    failed.exits(1);
    let hint = "hint: psycopg2 is compiled with PostgreSQL's library: --dev-package libpq-dev brings it";
    assert!(failed.stderr.contains(hint), "{}", failed.stderr);
    let finished = build(&bench, &dir, &["--dev-package", "libpq-dev"]);
    let built = json_of(&finished);
    assert!(finished.stderr.contains(" needs a compiler: it runs again with "), "{}", finished.stderr);
    let packages = built["packages"].to_string();
    assert!(packages.contains("\"libpq5\""), "{packages}");
    assert!(!packages.contains("\"libpq-dev\"") && !packages.contains("\"g++\""), "{packages}");
    assert_eq!(said(&bench), "True\n");
}

#[test]
fn a_package_that_is_compiled_gets_its_library() {
    compiled_with_libpq("bookworm");
}

#[test]
fn a_package_that_is_compiled_gets_its_library_on_trixie() {
    compiled_with_libpq("trixie");
}

#[test]
fn packages_for_another_processor_come_as_wheels() {
    let Some(bench) = workbench("bookworm") else { return };
    let (platform, other) = if ARCH == "aarch64" { ("linux/amd64", "x86_64") } else { ("linux/arm64", "aarch64") };
    let dir = app(&bench.path("app"), &[("requirements.txt", "markupsafe==3.0.2\n"), ("main.py", "")]);
    build(&bench, &dir, &["--platform", platform]).succeeds();
    let layout = bench.path("layout");
    bench.microbuild(["export", "app:1", &format!("oci:{}:app", layout.display())]).succeeds();
    if let Some(bundle) = unpacked(&bench, &layout, "bundle") {
        let folder = bundle.join("rootfs/app/site-packages/markupsafe");
        let found = folder.join(format!("_speedups.cpython-311-{other}-linux-gnu.so"));
        assert!(found.is_file(), "{}", found.display());
    }
    let failed = build(&bench, &dir, &["--platform", "linux/arm/v7"]);
    failed.exits(1);
    let refused = "step install of recipe python cannot work for linux/arm/v7 on a machine that is";
    assert!(failed.stderr.contains(refused), "{}", failed.stderr);

    fs::write(dir.join("requirements.txt"), "psycopg2==2.9.10\n").expect("a file");
    let failed = build(&bench, &dir, &["--platform", platform]);
    failed.exits(1);
    assert!(failed.stderr.contains("hint: a package has no wheel"), "{}", failed.stderr);
}

#[test]
fn a_uv_that_is_another_ends_the_build() {
    let Some(bench) = workbench("bookworm") else { return };
    let wrong = "0".repeat(64);
    let recipe = bench.path("mine.toml");
    let tool = format!("[tools.uv-{ARCH}]\nversion = \"0.13.9\"\nsha256 = \"{wrong}\"\n");
    fs::write(&recipe, format!("name = \"mine\"\nlike = \"python\"\n{tool}")).expect("a recipe");
    let dir = app(&bench.path("app"), &[("requirements.txt", "six==1.16.0\n"), ("main.py", SIX)]);
    let mut command = bench.home.microbuild([text(&recipe), text(&dir)]);
    let failed = run(bench.sources(&mut command));
    failed.exits(1);
    for said in ["the tool uv 0.13.9 is not the one that is expected", &format!("expected sha256:{wrong}")] {
        assert!(failed.stderr.contains(said), "{said}: {}", failed.stderr);
    }
}
