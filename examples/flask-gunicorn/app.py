import os
import platform
import pwd

from flask import Flask

app = Flask(__name__)


@app.get("/")
def greet():
    return {
        "message": f"Hello, {os.environ.get('NAME', 'world')}!",
        "python": platform.python_version(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
    }


@app.get("/healthz")
def healthz():
    return "", 204


if __name__ == "__main__":
    # For development; the image has gunicorn.
    app.run(debug=True)
