//! How apps start, as a table: files, and the command. Each row stands for a kind of app that people have.

use crate::lang::{Facts, python::Python, testing::Draft};

/// The command, with the variables that it needs and how many warnings there are; or the error with its hint.
fn started(files: &[(&str, &str)]) -> String {
    match Draft::new(files).read(&Python) {
        Ok(facts) => shown(&facts),
        Err(error) => format!("error: {error}"),
    }
}

fn shown(facts: &Facts) -> String {
    let mut words: Vec<String> = facts.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.extend(facts.command.clone().unwrap_or_default());
    words.extend(facts.start.iter().map(|start| format!("python3 {}", start.entry)));
    words.extend(facts.warnings.iter().map(|_| "!".to_owned()));
    words.join(" ")
}

#[track_caller]
fn check(rows: &[(&[(&str, &str)], &str)]) {
    let wrong = rows.iter().map(|(files, expected)| (files, *expected, started(files)));
    let wrong: Vec<_> = wrong.filter(|(_, expected, found)| found != expected).collect();
    assert!(wrong.is_empty(), "files, expected, found: {wrong:#?}");
}

const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n";
const FASTAPI: &str = "from fastapi import FastAPI\napp = FastAPI()\n";
const UVICORN: &str = "UVICORN_HOST=0.0.0.0 UVICORN_PORT=8000 uvicorn";
const FLASK_RUN: &str = "FLASK_APP=app:app FLASK_RUN_HOST=0.0.0.0 FLASK_RUN_PORT=8000 flask run !";

#[test]
fn wsgi_apps() {
    let flask = ("requirements.txt", "flask\n");
    let gunicorn = ("requirements.txt", "Flask==3.0\ngunicorn[gevent]\n");
    let main = |run: &str| format!("{FLASK}if __name__ == \"__main__\":\n    {run}\n");
    let (plain, open, debug) =
        (main("app.run()"), main("app.run(host=\"0.0.0.0\", port=5000)"), main("app.run(debug=True, port=5001)"));
    let (positional, with_more) = (main("app.run('0.0.0.0', 80)"), main("init_db()\n    app.run()"));
    let waitress = "from flask import Flask\nfrom waitress import serve\napp = Flask(__name__)\ndef main():\n    serve(app, port=8080)\nif __name__ == '__main__':\n    main()\n";
    let factory = "from flask import Flask\ndef create_app(config=None):\n    app = Flask(__name__)\n    return app\n";
    let needs = "from flask import Flask\ndef create_app(config):\n    return Flask(__name__)\n";
    check(&[
        (&[gunicorn, ("app.py", FLASK)], "PORT=8000 gunicorn app:app"),
        (&[gunicorn, ("main.py", &plain)], "PORT=8000 gunicorn main:app"),
        (&[gunicorn, ("main.py", &open)], "PORT=5000 gunicorn main:app"),
        (&[gunicorn, ("hello.py", FLASK)], "PORT=8000 gunicorn hello:app"),
        (
            &[gunicorn, ("wsgi.py", "from shop import app as application\n"), ("shop/__init__.py", FLASK)],
            "PORT=8000 gunicorn wsgi:application",
        ),
        (
            &[gunicorn, ("run.py", "from shop import create_app\napp = create_app()\n"), ("shop/__init__.py", factory)],
            "PORT=8000 gunicorn run:app",
        ),
        (&[gunicorn, ("shop/__init__.py", factory)], "PORT=8000 gunicorn shop:create_app()"),
        (&[gunicorn, ("src/shop/web.py", FLASK)], "PORT=8000 gunicorn shop.web:app"),
        (&[gunicorn, ("src/app.py", FLASK)], "PORT=8000 gunicorn app:app"),
        (
            &[gunicorn, ("app.py", "import flask\nserver: flask.Flask = flask.Flask(__name__)\n")],
            "PORT=8000 gunicorn app:server",
        ),
        (
            &[
                gunicorn,
                (
                    "app.py",
                    "from flask import (\n    Flask,  # the framework\n    jsonify,\n)\n\nweb = Flask(\n    __name__,\n)\n",
                ),
            ],
            "PORT=8000 gunicorn app:web",
        ),
        (
            &[
                gunicorn,
                (
                    "app.py",
                    "from flask import Flask as F\ntry:\n    app = F(__name__)\nexcept ImportError:\n    raise\n",
                ),
            ],
            "PORT=8000 gunicorn app:app",
        ),
        (
            &[("requirements.txt", "flask\nwaitress\n"), ("app.py", FLASK)],
            "waitress-serve --host=0.0.0.0 --port=8000 app:app",
        ),
        (&[("requirements.txt", "flask\nwaitress\n"), ("app.py", waitress)], "python3 app.py"),
        (
            &[("requirements.txt", "flask\nuwsgi\n"), ("app.py", FLASK)],
            "uwsgi --http 0.0.0.0:8000 --master --die-on-term --module app:app",
        ),
        (&[flask, ("app.py", FLASK)], FLASK_RUN),
        (&[flask, ("app.py", &plain)], FLASK_RUN),
        (&[flask, ("app.py", &debug)], "FLASK_APP=app:app FLASK_RUN_HOST=0.0.0.0 FLASK_RUN_PORT=5001 flask run !"),
        (&[flask, ("app.py", &open)], "python3 app.py"),
        (&[flask, ("app.py", &positional)], "python3 app.py"),
        (&[flask, ("app.py", &with_more)], "python3 app.py !"),
        (&[flask, ("app.py", &main("app.run(host=os.environ['HOST'])"))], "python3 app.py"),
        (&[flask, ("app.py", &main("app.run(**options)"))], "python3 app.py"),
        (
            &[flask, ("app/__init__.py", factory)],
            "FLASK_APP=app:create_app FLASK_RUN_HOST=0.0.0.0 FLASK_RUN_PORT=8000 flask run !",
        ),
        (&[gunicorn, ("app.py", &format!("{FLASK}app.run(host='0.0.0.0')\n"))], "python3 app.py"),
        (&[("app.py", FLASK)], "FLASK_APP=app:app FLASK_RUN_HOST=0.0.0.0 FLASK_RUN_PORT=8000 flask run !"),
        (
            &[("requirements.txt", "bottle\ngunicorn\n"), ("app.py", "import bottle\napp = bottle.default_app()\n")],
            "PORT=8000 gunicorn app:app",
        ),
        (
            &[
                ("requirements.txt", "bottle\n"),
                (
                    "app.py",
                    "from bottle import route, run\n@route('/')\ndef i(): pass\nrun(host='localhost', port=8080)\n",
                ),
            ],
            "python3 app.py !",
        ),
        (
            &[("requirements.txt", "falcon\ngunicorn\n"), ("app.py", "import falcon\napp = falcon.App()\n")],
            "PORT=8000 gunicorn app:app",
        ),
        (
            &[
                ("requirements.txt", "pyramid\ngunicorn\n"),
                (
                    "app.py",
                    "from pyramid.config import Configurator\nwith Configurator() as config:\n    app = config.make_wsgi_app()\n",
                ),
            ],
            "PORT=8000 gunicorn app:app",
        ),
        (
            &[
                ("requirements.txt", "dash\ngunicorn\n"),
                (
                    "app.py",
                    "from dash import Dash\napp = Dash(__name__)\nserver = app.server\nif __name__ == '__main__':\n    app.run(debug=True)\n",
                ),
            ],
            "PORT=8000 gunicorn app:server",
        ),
        (
            &[
                ("requirements.txt", "dash\n"),
                (
                    "app.py",
                    "from dash import Dash\napp = Dash(__name__)\nif __name__ == '__main__':\n    app.run(debug=True)\n",
                ),
            ],
            "HOST=0.0.0.0 python3 app.py",
        ),
    ]);
    assert_eq!(
        started(&[gunicorn, ("app.py", needs)]),
        "python3 app.py !",
        "a function that needs an argument is no app"
    );
}

#[test]
fn asgi_apps() {
    let uvicorn = ("requirements.txt", "fastapi==0.115.6\nuvicorn==0.34.0\n");
    let serve = |arguments: &str| {
        format!("import uvicorn\n{FASTAPI}if __name__ == '__main__':\n    uvicorn.run({arguments})\n")
    };
    let (plain, open, port, env) = (
        serve("app"),
        serve("app, host='0.0.0.0', port=80"),
        serve("\"main:app\", port=9000, reload=True"),
        serve("app, host=HOST"),
    );
    let lock = "[[package]]\nname = 'shop'\ndependencies = [{ name = 'fastapi' }, { name = 'uvicorn', extra = ['standard'] }]\n[[package]]\nname = 'uvicorn'\n";
    check(&[
        (&[uvicorn, ("main.py", FASTAPI)], &format!("{UVICORN} main:app")),
        (&[uvicorn, ("main.py", &plain)], &format!("{UVICORN} main:app")),
        (&[uvicorn, ("main.py", &port)], "UVICORN_HOST=0.0.0.0 UVICORN_PORT=9000 uvicorn main:app"),
        (&[uvicorn, ("main.py", &open)], "python3 main.py"),
        (&[uvicorn, ("main.py", &env)], "python3 main.py"),
        (
            &[
                uvicorn,
                ("main.py", "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n"),
            ],
            &format!("{UVICORN} main:create_app --factory"),
        ),
        (&[uvicorn, ("app/main.py", FASTAPI), ("app/__init__.py", "")], &format!("{UVICORN} app.main:app")),
        (
            &[uvicorn, ("app/main.py", &format!("from .db import x\n{FASTAPI}")), ("app/db.py", "")],
            &format!("{UVICORN} app.main:app"),
        ),
        (
            &[uvicorn, ("app/main.py", &format!("from db import x\n{FASTAPI}")), ("app/db.py", "")],
            &format!("PYTHONPATH=/app/site-packages:/app/src:/app/app:/app {UVICORN} main:app"),
        ),
        (&[uvicorn, ("src/main.py", FASTAPI)], &format!("{UVICORN} main:app")),
        (
            &[uvicorn, ("src/main.py", &format!("from .db import x\n{FASTAPI}")), ("src/db.py", "")],
            &format!("{UVICORN} src.main:app"),
        ),
        (&[uvicorn, ("src/shop/main.py", FASTAPI)], &format!("{UVICORN} shop.main:app")),
        (
            &[uvicorn, ("backend/app/main.py", &format!("from app.db import x\n{FASTAPI}")), ("backend/app/db.py", "")],
            &format!("{UVICORN} backend.app.main:app"),
        ),
        (
            &[
                ("pyproject.toml", "[project]\nname = 'shop'\ndependencies = ['fastapi[standard]']\n"),
                ("main.py", FASTAPI),
            ],
            &format!("{UVICORN} main:app"),
        ),
        (
            &[("pyproject.toml", "[project]\nname = 'shop'\n"), ("uv.lock", lock), ("main.py", FASTAPI)],
            &format!("{UVICORN} main:app"),
        ),
        (
            &[
                ("Pipfile", "[packages]\nfastapi = '*'\nuvicorn = {extras = ['standard'], version = '*'}\n"),
                ("main.py", FASTAPI),
            ],
            &format!("{UVICORN} main:app"),
        ),
        (
            &[
                ("requirements.txt", "starlette\nhypercorn\n"),
                ("main.py", "from starlette.applications import Starlette\napp = Starlette(routes=[])\n"),
            ],
            "hypercorn --bind 0.0.0.0:8000 main:app",
        ),
        (
            &[
                ("requirements.txt", "litestar[standard]\n"),
                ("app.py", "from litestar import Litestar, get\napp = Litestar([])\n"),
            ],
            &format!("{UVICORN} app:app"),
        ),
        (
            &[
                ("requirements.txt", "litestar\ngranian\n"),
                ("app.py", "from litestar import Litestar\napp = Litestar([])\n"),
            ],
            "GRANIAN_HOST=0.0.0.0 GRANIAN_PORT=8000 granian --interface asgi app:app",
        ),
        (
            &[
                ("requirements.txt", "quart\n"),
                (
                    "app.py",
                    "from quart import Quart\napp = Quart(__name__)\nif __name__ == '__main__':\n    app.run()\n",
                ),
            ],
            "hypercorn --bind 0.0.0.0:8000 app:app",
        ),
        (
            &[
                ("requirements.txt", "python-fasthtml\n"),
                ("main.py", "from fasthtml.common import *\napp, rt = fast_app()\nserve()\n"),
            ],
            "python3 main.py",
        ),
        (
            &[("requirements.txt", "sanic\n"), ("server.py", "from sanic import Sanic\napp = Sanic('shop')\n")],
            "sanic server:app --host=0.0.0.0 --port=8000",
        ),
        (
            &[
                ("requirements.txt", "sanic\n"),
                (
                    "server.py",
                    "from sanic import Sanic\napp = Sanic('shop')\nif __name__ == '__main__':\n    app.run(host='0.0.0.0', port=80)\n",
                ),
            ],
            "python3 server.py",
        ),
        (
            &[
                ("requirements.txt", "aiohttp\n"),
                (
                    "app.py",
                    "from aiohttp import web\napp = web.Application()\nif __name__ == '__main__':\n    web.run_app(app)\n",
                ),
            ],
            "python3 app.py",
        ),
        (
            &[("requirements.txt", "aiohttp\n"), ("app.py", "from aiohttp import web\napp = web.Application()\n")],
            "python3 app.py !",
        ),
        (
            &[("requirements.txt", "streamlit\n"), ("streamlit_app.py", "import streamlit as st\nst.write('x')\n")],
            "STREAMLIT_BROWSER_GATHER_USAGE_STATS=false STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_HEADLESS=true STREAMLIT_SERVER_PORT=8501 streamlit run streamlit_app.py",
        ),
        (
            &[
                ("requirements.txt", "gradio\n"),
                ("app.py", "import gradio as gr\ndemo = gr.Interface(f)\ndemo.launch()\n"),
            ],
            "GRADIO_ANALYTICS_ENABLED=False GRADIO_SERVER_NAME=0.0.0.0 python3 app.py",
        ),
        (
            &[
                ("requirements.txt", "celery\n"),
                ("tasks.py", ""),
                ("worker.py", "from celery import Celery\ncelery = Celery('x')\n"),
            ],
            "celery -A worker worker --loglevel=INFO",
        ),
    ]);
}

#[test]
fn apps_without_a_server_are_told_what_to_add() {
    check(&[
        (
            &[("requirements.txt", "fastapi\n"), ("main.py", FASTAPI)],
            "error: shop/main.py defines the FastAPI app `app`, and no server for it is installed\n\
             hint: add uvicorn to requirements.txt: the image then runs `uvicorn main:app`; or set the command with --cmd",
        ),
        (
            &[
                ("pyproject.toml", "[project]\nname = 'a'\ndependencies = ['falcon']\n"),
                ("app.py", "import falcon\napi = falcon.API()\n"),
            ],
            "error: shop/app.py defines the Falcon app `api`, and no server for it is installed\n\
             hint: add gunicorn to pyproject.toml: the image then runs `gunicorn app:api`; or set the command with --cmd",
        ),
        (&[("main.py", FASTAPI)], "python3 main.py !"),
    ]);
    let warnings = |files: &[(&str, &str)]| Draft::new(files).read(&Python).expect("facts").warnings;
    assert_eq!(
        warnings(&[("requirements.txt", "flask\n"), ("app.py", FLASK)]),
        [
            "app.py is served by Flask's development server: add gunicorn to requirements.txt, and the image runs `gunicorn app:app`"
        ]
    );
    let alone = format!("import uvicorn\n{FASTAPI}uvicorn.run(app)\n");
    assert_eq!(
        warnings(&[("main.py", &alone)]),
        [
            "main.py serves on 127.0.0.1, which only the container itself reaches: give uvicorn.run the argument host=\"0.0.0.0\""
        ]
    );
}

#[test]
fn django() {
    let manage =
        "#!/usr/bin/env python\nimport os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n";
    let wsgi = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n";
    let asgi = "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n";
    let site = [("manage.py", manage), ("mysite/wsgi.py", wsgi), ("mysite/asgi.py", asgi)];
    let with = |requirements: &'static str, settings: &'static str| {
        [&site[..], &[("requirements.txt", requirements), ("mysite/settings.py", settings)]].concat()
    };
    let config = "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"config.settings.local\")\n";
    let inner = [("shop/manage.py", manage), ("shop/mysite/wsgi.py", wsgi), ("shop/mysite/settings.py", "")];
    check(&[
        (&with("django\ngunicorn\n", ""), "PORT=8000 gunicorn mysite.wsgi:application"),
        (&with("django\nuvicorn\n", ""), &format!("{UVICORN} mysite.asgi:application")),
        (
            &with("django\nchannels\ndaphne\n", "ASGI_APPLICATION = 'mysite.asgi.application'\n"),
            "daphne -b 0.0.0.0 -p 8000 mysite.asgi:application",
        ),
        (&with("django\ngunicorn\nchannels[daphne]\n", ""), "daphne -b 0.0.0.0 -p 8000 mysite.asgi:application"),
        (&with("django\n", ""), "python3 manage.py runserver 0.0.0.0:8000 --noreload !"),
        (
            &[
                &with("django\ngunicorn\n", "WSGI_APPLICATION = 'mysite.server.app'\n")[..],
                &[("mysite/server.py", wsgi)],
            ]
            .concat(),
            "PORT=8000 gunicorn mysite.server:app",
        ),
        (
            &[
                ("manage.py", config),
                ("config/settings/local.py", ""),
                ("config/wsgi.py", wsgi),
                ("requirements/base.txt", "django\n"),
                ("requirements/production.txt", "-r base.txt\ngunicorn\n"),
            ],
            "PORT=8000 gunicorn config.wsgi:application",
        ),
        (
            &[&inner[..], &[("requirements.txt", "django\ngunicorn\n")]].concat(),
            "PORT=8000 PYTHONPATH=/app/site-packages:/app/shop:/app gunicorn mysite.wsgi:application",
        ),
        (
            &[&inner[..], &[("requirements.txt", "django\n")]].concat(),
            "PYTHONPATH=/app/site-packages:/app/shop:/app python3 shop/manage.py runserver 0.0.0.0:8000 --noreload !",
        ),
        (
            &[("src/manage.py", manage), ("src/mysite/wsgi.py", wsgi), ("requirements.txt", "gunicorn\ndjango\n")],
            "PORT=8000 gunicorn mysite.wsgi:application",
        ),
        (
            &[
                ("manage.py", manage),
                ("hello.py", "print()\n"),
                ("requirements.txt", "django\ngunicorn\n"),
                ("mysite/wsgi.py", wsgi),
            ],
            "PORT=8000 gunicorn mysite.wsgi:application",
        ),
    ]);
    let unneeded = |files: &[(&str, &str)]| Draft::new(files).read(&Python).expect("facts").unneeded;
    let root = "STATIC_ROOT = BASE_DIR / 'staticfiles'\n";
    assert_eq!(unneeded(&with("django\ngunicorn\n", root)), [""; 0]);
    assert_eq!(unneeded(&with("django\ngunicorn\n", "# STATIC_ROOT\n")), ["static"]);
    assert_eq!(
        unneeded(
            &[&with("django\n", root)[..], &[("pyproject.toml", "[tool.microbuild]\ncollectstatic = false\n")]]
                .concat()
        ),
        ["static"]
    );
    assert_eq!(unneeded(&[("app.py", "")]), ["static"]);
}

#[test]
fn programs() {
    let project =
        |scripts: &str| format!("[project]\nname = 'my-app'\ndependencies = []\n[project.scripts]\n{scripts}\n");
    let (one, two, own) =
        (project("serve = 'my_app:main'"), project("a = 'x:y'\nb = 'x:z'"), project("my-app = 'x:y'\nb = 'x:z'"));
    let poetry = "[tool.poetry]\nname = 'x'\n[tool.poetry.scripts]\nrun-it = 'x:main'\n";
    let main = "def main():\n    print()\nif __name__ == \"__main__\":\n    main()\n";
    let defines = "def main():\n    print()\n";
    check(&[
        (&[("main.py", "print('x')\n")], "python3 main.py"),
        (&[("main.py", main), ("app.py", "print()\n")], "python3 main.py"),
        (&[("main.py", defines), ("app.py", "print()\n")], "python3 app.py"),
        (&[("main.py", defines)], "python3 main.py !"),
        (&[("main.py", "")], "python3 main.py"),
        (&[("main.py", "if __name__ == '__main__': print()\n")], "python3 main.py"),
        (&[("main.py", "import asyncio\nasync def main():\n    pass\nasyncio.run(main())\n")], "python3 main.py"),
        (
            &[("server.py", "from http.server import HTTPServer\nHTTPServer(('', 80), H).serve_forever()\n")],
            "python3 server.py",
        ),
        (&[("src/main.py", "print()\n")], "python3 src/main.py"),
        (&[("__main__.py", "print()\n"), ("x.py", "")], "python3 __main__.py"),
        (&[("hello.py", "print()\n")], "python3 hello.py"),
        (
            &[
                ("bot.py", "import discord\nbot = discord.Client()\nbot.run(token)\n"),
                ("requirements.txt", "discord.py\n"),
            ],
            "python3 bot.py",
        ),
        (
            &[("hello.py", "print()\n"), ("setup.py", ""), ("conftest.py", ""), ("test_hello.py", "")],
            "python3 hello.py",
        ),
        (&[("src/bot.py", "print()\n")], "python3 src/bot.py"),
        (&[("pyproject.toml", &one), ("src/my_app/__init__.py", defines)], "serve"),
        (&[("pyproject.toml", &own), ("x.py", defines), ("y.py", "")], "my-app"),
        (&[("pyproject.toml", &one), ("main.py", "print()\n")], "python3 main.py"),
        (&[("pyproject.toml", &one), ("main.py", defines)], "serve"),
        (&[("pyproject.toml", poetry), ("x.py", defines), ("poetry.lock", "")], "run-it"),
        (&[("pkg/__main__.py", "print()\n"), ("pkg/__init__.py", "")], "python3 -m pkg"),
        (&[("src/pkg/__main__.py", "from . import x\nx()\n"), ("src/pkg/x.py", "")], "python3 -m pkg"),
        (
            &[
                ("requirements.txt", "pyqt5\n"),
                ("main.py", "from PyQt5.QtWidgets import QApplication\napp = QApplication([])\napp.exec()\n"),
            ],
            "python3 main.py",
        ),
    ]);
    for files in [
        &[("a.py", ""), ("b.py", "")][..],
        &[("hello.py", "print()\n"), ("locustfile.py", "")],
        &[("hello.py", "print()\n"), ("wsgi.py", "")],
        &[("a/__main__.py", ""), ("b/__main__.py", "")],
        &[("setup.py", "")],
        &[("tests/main.py", "print()\n")],
        &[("requirements.txt", "six\n")],
    ] {
        let error = started(files);
        assert!(
            error.starts_with("error: expected a file that starts the app, found none; looked at: main.py, "),
            "{files:?}: {error}"
        );
        assert!(
            error.ends_with("hint: name the file that starts main.py, or set the command: --cmd 'python3 tool.py'"),
            "{error}"
        );
    }
    let error = started(&[("pyproject.toml", &two), ("x.py", defines), ("y.py", "")]);
    assert!(
        error.contains("[project.scripts], which has several: a, b") && error.ends_with("hint: choose one: --cmd a"),
        "{error}"
    );
}

/// Files that have nothing of the form that is expected are read, too.
#[test]
fn odd_files_are_read() {
    for text in [
        "'",
        "\"\"\"",
        "((((",
        "))))",
        "app = ",
        "= Flask()",
        "def",
        "def create_app(",
        "from import x",
        "import",
        "import ,",
        "@",
        "\\",
        "if __name__ == '__main__':",
        "app = Flask(",
        "x: int",
        "é = Flask()",
        "\u{feff}app = 1",
        "\tapp.run(",
        "if '__name__' '__main__",
        "async ",
        "async def",
    ] {
        let _ = started(&[("main.py", text)]);
        let _ = started(&[("app/__init__.py", text), ("manage.py", &format!("DJANGO_SETTINGS_MODULE{text}"))]);
    }
}
