# Tells uv of the indexes that pip is told of, by variables or by the file in PIP_CONFIG_FILE: uv knows neither.
# Prints: commands of a shell that set uv's variables. Those that are set already win.
import configparser
import os
import shlex

config = configparser.RawConfigParser()
config.read(os.environ.get("PIP_CONFIG_FILE", os.devnull), encoding="utf-8")
settings = {}
for section in ["global", "install"]:
    if config.has_section(section):
        settings.update({key.replace("_", "-"): value for key, value in config.items(section)})
for variable, key in [
    ("UV_DEFAULT_INDEX", "index-url"),
    ("UV_INDEX", "extra-index-url"),
    ("UV_INSECURE_HOST", "trusted-host"),
]:
    value = os.environ.get("PIP_" + key.upper().replace("-", "_")) or settings.get(key, "")
    if value.split() and not os.environ.get(variable):
        print(f"export {variable}={shlex.quote(' '.join(value.split()))}")
