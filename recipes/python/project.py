# What install_locked.py and install_project.py have in common.
import os
import subprocess
import sys
import tomllib


def install(*words):
    """Installs with pip into site-packages, and keeps the files: pip asks the index of a package even for what it has."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "install", "--target=site-packages", *words], check=True)
    subprocess.run([*pip, "download", "-qd", "/root/.cache/pip/files", *words], check=True)


def make_scripts():
    """Makes the programs that [project.scripts] of pyproject.toml names, in site-packages/bin."""
    project = {}
    if os.path.exists("pyproject.toml"):
        with open("pyproject.toml", "rb") as file:
            project = tomllib.load(file).get("project", {})
    for name, place in project.get("scripts", {}).items():
        module, function = place.split(":")
        os.makedirs("site-packages/bin", exist_ok=True)
        with open(f"site-packages/bin/{name}", "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as out:
            print(f"#!/usr/bin/python3\nimport sys\nfrom {module} import {function}\nsys.exit({function}())", file=out)
