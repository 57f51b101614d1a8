# Collects the static files of a Django project, as `manage.py collectstatic` does, and leaves them in OUT, at their place in the app's
# folder. Settings that take a secret key from the environment get one, which is in no image.
import os
import runpy
import shutil
import sys

app = os.getcwd()
sys.path[:0] = [os.path.join(app, "site-packages"), os.path.join(app, "src"), app]
for name in ["SECRET_KEY", "DJANGO_SECRET_KEY"]:
    os.environ.setdefault(name, "only for collectstatic")
sys.argv = ["manage.py", "collectstatic", "--noinput", "-v", "1"]
try:
    runpy.run_path("manage.py", run_name="__main__")
except SystemExit as end:
    if end.code:
        print("collectstatic failed", file=sys.stderr)
        raise
except BaseException:
    print("collectstatic failed", file=sys.stderr)
    raise

from django.conf import settings

root = os.path.realpath(settings.STATIC_ROOT or app)
place = os.path.relpath(root, app)
if place == "." or place.startswith(".."):
    sys.exit(f"expected STATIC_ROOT in the app's folder {app}, found {settings.STATIC_ROOT}")
os.makedirs(root, exist_ok=True)
shutil.copytree(root, os.path.join(os.environ["OUT"], place), dirs_exist_ok=True)
if not any(files for _, _, files in os.walk(root)):
    # An empty folder is no result, but whitenoise and others look for it.
    open(os.path.join(os.environ["OUT"], place, ".keep"), "w").close()
