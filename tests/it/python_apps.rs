//! Apps in Python as people have them: the examples with their servers, and what their installation needs to see.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::python::{build, said, workbench};
use crate::support::{
    Process, free_port, run, tools, wait_for,
    workbench::{Workbench, app, copy, get, json as json_of, text},
};

/// An example with a server.
struct Example {
    name: &'static str,
    /// The most that its image may weigh, in bytes.
    most: u64,
    /// The command of the image.
    cmd: &'static [&'static str],
    /// The variable for the port.
    port: &'static str,
    /// More variables.
    env: &'static [&'static str],
}

/// A server that runs `app:1` until it is dropped.
struct Server {
    process: Process,
    port: u16,
}

impl Server {
    fn start(bench: &Workbench, variable: &str, env: &[&str]) -> Self {
        let port = free_port();
        let mut command = bench.home.microbuild(["run", "app:1", "-q", "-e", &format!("{variable}={port}")]);
        for pair in env {
            command.args(["-e", pair]);
        }
        Self { process: Process::spawn(&mut command).expect("microbuild run"), port }
    }

    /// Asks it to end; how long that took.
    #[track_caller]
    fn stop(mut self) -> Duration {
        let pid = self.process.child().id().to_string();
        let asked = Instant::now();
        run(Command::new("kill").args(["-TERM", &pid])).succeeds();
        let status = self.process.child().wait().expect("an end");
        assert!(matches!(status.code(), Some(0 | 143)), "it ends when it is asked to: {status}");
        asked.elapsed()
    }

    /// The whole answer to `GET path`.
    #[track_caller]
    fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a server");
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Example {
    /// Builds it by the recipe that its files speak for, runs it, asks it, and ends it; `more` asks further.
    #[track_caller]
    fn check(&self, more: impl FnOnce(&Value, &Server)) {
        let Some(bench) = workbench("bookworm") else { return };
        let dir = copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.name), &bench.path("example"));
        let mut command = bench.home.microbuild(["build", &text(&dir), "-t", "app:1", "--json"]);
        let built = json_of(&run(bench.sources(&mut command)));
        assert_eq!(built["recipe"], "python");
        let size = built["size"].as_u64().expect("a size");
        assert!(size <= self.most, "{}: expected at most {} bytes, found {size}", self.name, self.most);
        assert_eq!(command_of(&bench), self.cmd);
        let mut command = bench.home.microbuild(["build", &text(&dir), "-t", "app:1", "--json", "--offline"]);
        assert_eq!(json_of(&run(bench.sources(&mut command)))["digest"], built["digest"]);

        let server = Server::start(&bench, self.port, &[self.env, &["NAME=tests"]].concat());
        let answer = get(server.port).unwrap_or_else(|why| panic!("{}: {why}", self.name));
        assert_eq!(answer["message"], "Hello, tests!", "{answer}");
        assert_eq!(answer["user"], "nonroot", "{answer}");
        more(&answer, &server);
        let took = server.stop();
        assert!(took < Duration::from_secs(2), "{}: it ended after {took:?}", self.name);
    }
}

/// The command of `app:1`.
#[track_caller]
fn command_of(bench: &Workbench) -> Vec<String> {
    let inspected = json_of(&bench.microbuild(["inspect", "app:1", "--json"]));
    let config = find(&inspected, "Cmd").expect("a command");
    config.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The value of the first `key` in a document.
fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|value| find(value, key))),
        Value::Array(list) => list.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

#[test]
fn fastapi_is_served_by_uvicorn() {
    let cmd = &["uvicorn", "main:app"];
    Example { name: "python-fastapi", most: 22_000_000, cmd, port: "UVICORN_PORT", env: &[] }.check(|answer, _| {
        assert_eq!(answer["version"], "1.0.0", "the project's own version");
    });
}

#[test]
fn flask_is_served_by_gunicorn() {
    let cmd = &["gunicorn", "app:app"];
    Example { name: "flask-gunicorn", most: 18_500_000, cmd, port: "PORT", env: &[] }.check(|_, _| ());
}

#[test]
fn django_is_served_with_its_static_files() {
    let cmd = &["gunicorn", "hello.wsgi:application"];
    let env = &["SECRET_KEY=of the tests"];
    Example { name: "django", most: 23_500_000, cmd, port: "PORT", env }.check(|_, server| {
        let page = server.ask("/page");
        let (_, rest) = page.split_once("href=\"").unwrap_or_else(|| panic!("no link: {page}"));
        let link = rest.split('"').next().expect("a link");
        assert!(
            link.starts_with("/static/greetings/style.") && link.len() > "/static/greetings/style.css".len(),
            "{link}"
        );
        let style = server.ask(link);
        assert!(style.starts_with("HTTP/1.1 200") || style.starts_with("HTTP/1.0 200"), "{style}");
        assert!(style.contains("teal"), "{style}");
    });
}

/// Builds an app of `files`, and compares what it prints.
#[track_caller]
fn prints(bench: &Workbench, name: &str, files: &[(&str, &str)], options: &[&str], expected: &str) {
    let dir = app(&bench.path(name), files);
    build(bench, &dir, options).succeeds();
    assert_eq!(said(bench), expected, "{name}");
}

const CLICK: &str = "from importlib.metadata import version\nprint(version('click'))\n";

#[test]
fn files_of_requirements_are_followed() {
    let Some(bench) = workbench("bookworm") else { return };
    let project = "[project]\nname = 'pkg'\nversion = '1.5'\ndependencies = ['click==8.1.7']\n[build-system]\nrequires = ['setuptools']\n\
                   build-backend = 'setuptools.build_meta'\n";
    let both = "from importlib.metadata import version\nimport click, pkg\nprint(version('pkg'), pkg.NAME, version('click'))\n";
    prints(
        &bench,
        "below",
        &[
            ("requirements.txt", "-r requirements/prod.txt\n"),
            ("requirements/prod.txt", "-c ../limits.txt\nclick\n"),
            ("limits.txt", "click==8.1.7\n"),
            ("main.py", CLICK),
        ],
        &[],
        "8.1.7\n",
    );
    prints(
        &bench,
        "folder",
        &[
            ("requirements/base.txt", "click==8.1.6\n"),
            ("requirements/production.txt", "-r base.txt\n"),
            ("main.py", CLICK),
        ],
        &[],
        "8.1.6\n",
    );
    prints(
        &bench,
        "editable",
        &[
            ("requirements.txt", "-e .\n"),
            ("pyproject.toml", project),
            ("src/pkg/__init__.py", "NAME = 'src'\n"),
            ("main.py", both),
        ],
        &[],
        "1.5 src 8.1.7\n",
    );
    let setup = "from setuptools import setup\nsetup(name='old', version='2', install_requires=['click==8.1.7'])\n";
    prints(&bench, "setup", &[("setup.py", setup), ("main.py", CLICK)], &[], "8.1.7\n");
}

#[test]
fn the_project_itself_has_metadata_and_programs() {
    let Some(bench) = workbench("bookworm") else { return };
    let project =
        "[project]\nname = 'myapp'\nversion = '0.3'\ndependencies = []\n[project.scripts]\nmyapp = 'myapp.cli:main'\n";
    let files = [
        ("pyproject.toml", project),
        ("src/myapp/__init__.py", "from importlib.metadata import version\n__version__ = version('myapp')\n"),
        (
            "src/myapp/cli.py",
            "from importlib.metadata import entry_points\nfrom . import __version__\n\ndef main():\n    scripts = entry_points(group='console_scripts')\n    print(__version__, [script.value for script in scripts if script.name == 'myapp'])\n",
        ),
    ];
    prints(&bench, "app", &files, &[], "0.3 ['myapp.cli:main']\n");
    assert_eq!(command_of(&bench), ["myapp"]);
}

#[test]
fn libraries_are_found_by_name() {
    let Some(bench) = workbench("bookworm") else { return };
    let main = "import ctypes.util\nprint(ctypes.util.find_library('ssl'), ctypes.util.find_library('nothing'))\n";
    prints(&bench, "alone", &[("main.py", main)], &[], "libssl.so.3 None\n");
    prints(&bench, "with", &[("main.py", main), ("requirements.txt", "six\n")], &[], "libssl.so.3 None\n");
}

/// OpenCV's wheel needs a library that no wheel brings.
#[test]
fn what_a_wheel_lacks_is_told() {
    let Some(bench) = workbench("bookworm") else { return };
    let files = [
        ("requirements.txt", "opencv-python==4.10.0.84\nnumpy<2\n"),
        ("main.py", "import cv2\nprint(cv2.__version__)\n"),
    ];
    let dir = app(&bench.path("app"), &files);
    let failed = build(&bench, &dir, &[]);
    failed.exits(1);
    for said in [" needs libgthread-2.0.so.0", "hint: add what brings it: -p libglib2.0-0"] {
        assert!(failed.stderr.contains(said), "{said}: {}", failed.stderr);
    }
    let failed = build(&bench, &dir, &["-p", "libglib2.0-0"]);
    failed.exits(1);
    for said in ["cv2.abi3.so loads, needs libGL.so.1", "hint: add what brings it: -p libgl1"] {
        assert!(failed.stderr.contains(said), "{said}: {}", failed.stderr);
    }
}

#[test]
fn pure_archives_are_built_for_another_processor() {
    let Some(bench) = workbench("bookworm") else { return };
    let dir = app(&bench.path("app"), &[("requirements.txt", "docopt==0.6.2\n"), ("main.py", "import docopt\n")]);
    let other = if std::env::consts::ARCH == "aarch64" { "linux/amd64" } else { "linux/arm64" };
    let built = json_of(&build(&bench, &dir, &["--platform", other]));
    assert!(built["packages"].to_string().contains("docopt") || built["size"].as_u64() > Some(1_000_000), "{built}");
}

/// A lock with packages that have wheels only, and extras and groups that are chosen.
#[test]
fn locks_of_uv_are_installed_as_they_are() {
    let Some(bench) = workbench("bookworm") else { return };
    let Some([python]) = tools(["python3"]) else { return };
    let project = |more: &str| {
        format!(
            "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['click==8.1.7']\n\
             [project.optional-dependencies]\nweb = ['itsdangerous==2.2.0']\n[dependency-groups]\nprod = ['blinker==1.9.0']\ndev = ['six']\n{more}"
        )
    };
    let main = "from importlib.metadata import distributions\nprint(sorted({d.name for d in distributions()} & {'click', 'itsdangerous', 'blinker', 'six', 'shop'}))\n";
    let dir = app(&bench.path("app"), &[("pyproject.toml", &project("")), ("main.py", main)]);
    build(&bench, &dir, &[]).succeeds();
    assert_eq!(said(&bench), "['click', 'shop']\n");
    fs::write(dir.join("pyproject.toml"), project("[tool.microbuild]\nextras = ['web']\ngroups = ['prod']\n"))
        .expect("a file");
    build(&bench, &dir, &[]).succeeds();
    assert_eq!(said(&bench), "['blinker', 'click', 'itsdangerous', 'shop']\n");

    // A member of the workspace is installed, and a wheel of the project.
    let member = "[project]\nname = 'lib'\nversion = '0.1'\n[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n";
    let root = "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['lib']\n[tool.uv.workspace]\nmembers = ['packages/*']\n\
                [tool.uv.sources]\nlib = { workspace = true }\n";
    let lock = "version = 1\nrevision = 3\nrequires-python = '>=3.9'\n[manifest]\nmembers = ['lib', 'shop']\n\
                [[package]]\nname = 'lib'\nversion = '0.1'\nsource = { editable = 'packages/lib' }\n\
                [[package]]\nname = 'shop'\nversion = '1'\nsource = { virtual = '.' }\ndependencies = [{ name = 'lib' }]\n\
                [package.metadata]\nrequires-dist = [{ name = 'lib', editable = 'packages/lib' }]\n";
    prints(
        &bench,
        "workspace",
        &[
            ("pyproject.toml", root),
            ("uv.lock", lock),
            ("packages/lib/pyproject.toml", member),
            ("packages/lib/src/lib/__init__.py", "NAME = 'member'\n"),
            ("main.py", "import lib\nprint(lib.NAME, 'site-packages' in lib.__file__)\n"),
        ],
        &[],
        "member True\n",
    );
    prints(
        &bench,
        "wheels",
        &[
            ("pyproject.toml", PSYCOPG),
            ("uv.lock", PSYCOPG_LOCK),
            ("main.py", "import psycopg\nprint(psycopg.pq.__impl__)\n"),
        ],
        &[],
        "binary\n",
    );
    own_index(&bench, &python);
}

const PSYCOPG: &str =
    "[project]\nname = 'a'\nversion = '0'\nrequires-python = '>=3.11'\ndependencies = ['psycopg[binary]==3.2.3']\n";

/// psycopg-binary has wheels only.
const PSYCOPG_LOCK: &str = r#"
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "a"
version = "0"
source = { virtual = "." }
dependencies = [{ name = "psycopg", extra = ["binary"] }]

[package.metadata]
requires-dist = [{ name = "psycopg", extras = ["binary"], specifier = "==3.2.3" }]

[[package]]
name = "psycopg"
version = "3.2.3"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "typing-extensions", marker = "python_full_version < '3.13'" }]
sdist = { url = "https://files.pythonhosted.org/packages/d1/ad/7ce016ae63e231575df0498d2395d15f005f05e32d3a2d439038e1bd0851/psycopg-3.2.3.tar.gz", hash = "sha256:a5764f67c27bec8bfac85764d23c534af2c27b893550377e37ce59c12aac47a2" }
wheels = [{ url = "https://files.pythonhosted.org/packages/ce/21/534b8f5bd9734b7a2fcd3a16b1ee82ef6cad81a4796e95ebf4e0c6a24119/psycopg-3.2.3-py3-none-any.whl", hash = "sha256:644d3973fe26908c73d4be746074f6e5224b03c1101d302d9a53bf565ad64907" }]

[package.optional-dependencies]
binary = [{ name = "psycopg-binary", marker = "implementation_name != 'pypy'" }]

[[package]]
name = "psycopg-binary"
version = "3.2.3"
source = { registry = "https://pypi.org/simple" }
wheels = [
    { url = "https://files.pythonhosted.org/packages/0d/91/042fe504220a6e1a423e6a26d24f198da976b9cce11bc9ab7e9415bac08f/psycopg_binary-3.2.3-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", hash = "sha256:fda0162b0dbfa5eaed6cdc708179fa27e148cb8490c7d62e5cf30713909658ea" },
    { url = "https://files.pythonhosted.org/packages/56/65/cd4165c45359f4117147b861c16c7b85afbd93cc9efac6116b13f62bc725/psycopg_binary-3.2.3-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:7d784f614e4d53050cbe8abf2ae9d1aaacf8ed31ce57b42ce3bf2a48a66c3a5c" },
]

[[package]]
name = "typing-extensions"
version = "4.16.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.pythonhosted.org/packages/49/d3/b8441a820a491ddfc024b0b0cf0393375b75ea13866d9c66727e54c2fc80/typing_extensions-4.16.0-py3-none-any.whl", hash = "sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8" }]
"#;

/// A package of an explicit index comes from there, and from nowhere else.
fn own_index(bench: &Workbench, python: &Path) {
    let site = bench.path("index");
    let wheel = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n    z.writestr('ours.py', 'NAME = \"ours\"\\n')\n    d = 'ours-1.0.dist-info/'\n    \
                 z.writestr(d + 'METADATA', 'Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n')\n    \
                 z.writestr(d + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n    z.writestr(d + 'RECORD', '')\n";
    let name = "ours-1.0-py3-none-any.whl";
    app(&site, &[("simple/ours/index.html", &format!("<a href=\"/{name}\">{name}</a>"))]);
    run(Command::new(python).args(["-c", wheel]).arg(site.join(name))).succeeds();
    let (_server, port) = pages(python, &site);
    let root = format!(
        "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['ours', 'click==8.1.7']\n\
         [[tool.uv.index]]\nname = 'o'\nurl = 'http://127.0.0.1:{port}/simple'\nexplicit = true\n[tool.uv.sources]\nours = {{ index = 'o' }}\n"
    );
    let main = "import ours, click\nprint(ours.NAME)\n";
    prints(bench, "explicit", &[("pyproject.toml", &root), ("main.py", main)], &[], "ours\n");
    // The same with a lock.
    let url = format!("http://127.0.0.1:{port}");
    let lock = format!(
        "version = 1\nrevision = 3\nrequires-python = '>=3.9'\n\
         [[package]]\nname = 'ours'\nversion = '1.0'\nsource = {{ registry = '{url}/simple' }}\nwheels = [{{ url = '{url}/{name}' }}]\n\
         [[package]]\nname = 'shop'\nversion = '1'\nsource = {{ virtual = '.' }}\ndependencies = [{{ name = 'ours' }}]\n\
         [package.metadata]\nrequires-dist = [{{ name = 'ours', index = '{url}/simple' }}]\n"
    );
    let root = root.replace("'ours', 'click==8.1.7'", "'ours'");
    let main = "import ours\nprint(ours.NAME)\n";
    prints(bench, "locked", &[("pyproject.toml", &root), ("uv.lock", &lock), ("main.py", main)], &[], "ours\n");
    // A lock of Poetry tells its index, too; a wheel in the folder, and a folder with wheels.
    let poetry = format!(
        "[[package]]\nname = 'ours'\nversion = '1.0'\noptional = false\npython-versions = '*'\nfiles = []\n\
         [package.source]\ntype = 'legacy'\nurl = '{url}/simple'\nreference = 'o'\n[metadata]\nlock-version = '2.0'\n"
    );
    let project =
        "[tool.poetry]\nname = 'shop'\nversion = '1'\n[tool.poetry.dependencies]\npython = '^3.9'\nours = '^1.0'\n";
    prints(bench, "poetry", &[("pyproject.toml", project), ("poetry.lock", &poetry), ("main.py", main)], &[], "ours\n");
    for (folder, requirements) in
        [("file", format!("./wheels/{name}\n")), ("links", "--find-links wheels\n--no-index\nours\n".to_owned())]
    {
        let dir = app(&bench.path(folder), &[("requirements.txt", &requirements), ("main.py", main)]);
        fs::create_dir(dir.join("wheels")).expect("a folder");
        fs::copy(site.join(name), dir.join("wheels").join(name)).expect("a wheel");
        build(bench, &dir, &[]).succeeds();
        assert_eq!(said(bench), "ours\n", "{folder}");
    }
}

/// Serves the files of a folder.
fn pages(python: &Path, dir: &Path) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new(python);
    command.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "-d"]).arg(dir);
    let server = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).expect("a server");
    wait_for(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).ok()).expect("it listens");
    (server, port)
}

/// Git comes with the compilers, when a requirement needs it.
#[test]
fn requirements_come_from_git_repositories() {
    let Some(bench) = workbench("bookworm") else { return };
    let Some([python, git]) = tools(["python3", "git"]) else { return };
    let project = "[project]\nname = 'ours'\nversion = '3'\n[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n";
    let repository = app(&bench.path("pages/ours"), &[("pyproject.toml", project), ("ours.py", "NAME = 'of git'\n")]);
    for words in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."],
        &["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x"],
        &["update-server-info"],
    ] {
        run(Command::new(&git).current_dir(&repository).args(words)).succeeds();
    }
    let (_server, port) = pages(&python, &bench.path("pages"));
    let requirement = format!("ours @ git+http://127.0.0.1:{port}/ours/.git\n");
    let dir =
        app(&bench.path("app"), &[("requirements.txt", &requirement), ("main.py", "import ours\nprint(ours.NAME)\n")]);
    let finished = build(&bench, &dir, &[]);
    let built = json_of(&finished);
    assert!(finished.stderr.contains("it runs again with g++ git make"), "{}", finished.stderr);
    assert!(!built["packages"].to_string().contains("\"git\""), "{}", built["packages"]);
    assert_eq!(said(&bench), "of git\n");
}
