import os
import platform
import pwd
import signal
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

from flask import Flask
from markupsafe import _speedups
from waitress import serve

app = Flask(__name__)


@app.get("/")
def greet():
    return {
        "message": f"Hello, {os.environ.get('NAME', 'world')}!",
        "python": platform.python_version(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "time": datetime.now(ZoneInfo(os.environ.get("TZ", "UTC"))).isoformat(timespec="seconds"),
        "compiled": _speedups.__name__,
    }


@app.get("/healthz")
def healthz():
    return "", 204


def main():
    # The first process of a container gets no signal handler from the kernel: without one, `docker stop` would wait and kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    serve(app, port=int(os.environ.get("PORT", "8080")))


if __name__ == "__main__":
    main()
