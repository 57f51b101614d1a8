# Installs the dependencies that pyproject.toml names. The project itself is not installed: it lies in /app or /app/src.
# Given: pyproject.toml in the work folder; further options of pip.
# Leaves: site-packages, and the files of the packages in /root/.cache/pip/files.
import os
import sys
import tomllib

from project import install, make_scripts  # /run/recipe/project.py

if os.path.exists("Pipfile"):
    sys.exit("expected Pipfile.lock, found Pipfile alone; `pipenv lock` writes it")
if not os.path.exists("pyproject.toml"):
    sys.exit("expected requirements.txt or pyproject.toml, found setup.py alone, which is not run; --deps none installs nothing")
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
if "dependencies" in project.get("tool", {}).get("poetry", {}):
    sys.exit("expected poetry.lock, found [tool.poetry.dependencies] alone; `poetry lock` writes it")
wanted = project.get("project", {}).get("dependencies", [])
if wanted:
    install(*wanted, *sys.argv[1:])
make_scripts()
