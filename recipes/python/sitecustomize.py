# Python imports this when it starts. The image has neither ldconfig nor a compiler, which ctypes.util.find_library asks for the name of
# a library: it looks into the folders of the loader instead.
import ctypes.util
import os
import re
import sysconfig

asks = ctypes.util.find_library


def find_library(name):
    found = asks(name)
    if found:
        return found
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    for top in ["/usr/local/lib", "/lib", "/usr/lib", "/lib64", "/usr/lib64"]:
        folders += [f"{top}/{triplet}", top]
    is_library = re.compile(rf"lib{re.escape(name)}\.so(\.[0-9.]+)?").fullmatch
    for folder in filter(os.path.isdir, folders):
        # The shortest is what programs are linked with: libz.so.1, and not libz.so.1.3.
        libraries = sorted(filter(is_library, os.listdir(folder)), key=lambda file: (len(file), file))
        if libraries:
            return libraries[0]
    return None


ctypes.util.find_library = find_library
