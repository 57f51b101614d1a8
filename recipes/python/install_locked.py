# Installs what uv.lock, poetry.lock or Pipfile.lock says for this Python and processor, without groups for development and extras.
# Given: one of these files in the work folder; further options of pip, of which --platform tells another processor.
# Leaves: site-packages, and the files of the packages in /root/.cache/pip/files.
import json
import os
import platform
import sys
import tomllib

from pip._vendor.packaging.markers import Marker

from project import install, make_scripts  # /run/recipe/project.py

words, found = sys.argv[1:], []
machine = ([word for word in words if word.startswith("--platform=")] + ["--platform=x_1_1_" + platform.machine()])[0]
world = {"platform_machine": machine.split("_", 3)[3], "extra": ""}


def holds(marker):
    return not marker or Marker(marker).evaluate(world)


def load(name):
    with open(name, "rb") as file:
        return tomllib.load(file)


if os.path.exists("uv.lock"):
    locked = {p["name"]: p for p in load("uv.lock")["package"] if any(map(holds, p.get("resolution-markers", [""])))}
    own = [name for name, p in locked.items() if "." in p["source"].values()]
    todo, done = [(name, "") for name in own], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) not in done:
            done.add((name, extra))
            p = locked[name]
            needs = p.get("optional-dependencies", {}).get(extra, []) if extra else p.get("dependencies", [])
            todo += [(d["name"], e) for d in needs if holds(d.get("marker")) for e in ["", *d.get("extra", [])]]
    for p in (locked[name] for name in sorted({name for name, extra in done} - set(own))):
        if "registry" not in p["source"]:
            sys.exit(f"expected {p['name']} of uv.lock to come from an index, found {p['source']}")
        found.append((p["name"], p["version"], p.get("wheels", []) + [p["sdist"]] * ("sdist" in p)))
elif os.path.exists("poetry.lock"):
    for p in load("poetry.lock")["package"]:
        if "groups" not in p:
            sys.exit("expected a poetry.lock of Poetry 2, found an older one; `poetry lock` writes a new one")
        markers = p.get("markers", "")
        markers = markers.get("main") if isinstance(markers, dict) else markers
        if "source" in p and p["source"]["type"] != "legacy":
            sys.exit(f"expected {p['name']} of poetry.lock to come from an index, found {p['source']}")
        if "main" in p["groups"] and holds(markers):
            found.append((p["name"], p["version"], p["files"]))
else:
    for name, p in json.load(open("Pipfile.lock"))["default"].items():
        if "version" not in p:
            sys.exit(f"expected {name} of Pipfile.lock to come from an index, found {p}")
        if holds(p.get("markers")):
            found.append((name, p["version"].lstrip("="), [{"hash": hash} for hash in p["hashes"]]))
with open("requirements.txt", "w") as out:
    for name, version, files in found:
        print(f"{name}=={version}", *(f"--hash={file['hash']}" for file in files), file=out)
if found:
    install("--no-deps", "-r", "requirements.txt", *words)
make_scripts()
