import os
import platform
import pwd
from importlib.metadata import version

from fastapi import FastAPI

app = FastAPI(title="greeter", version=version("greeter"))


@app.get("/")
def greet():
    return {
        "message": f"Hello, {os.environ.get('NAME', 'world')}!",
        "python": platform.python_version(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "version": app.version,
    }


@app.get("/healthz", status_code=204)
def healthz():
    return None
