"""Prints what Python's tarfile sees in each tar that is named on the command line, as members.go does."""

import hashlib
import os
import sys
import tarfile

XATTR = "SCHILY.xattr."
KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
}


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def members(path):
    with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            kind = KINDS.get(member.type, f"type-{member.type.hex()}")
            content = archive.extractfile(member).read() if kind == "file" else b""
            xattrs = sorted(
                f"{raw(key.removeprefix(XATTR)).hex()}={raw(value).hex()}"
                for key, value in member.pax_headers.items()
                if key.startswith(XATTR)
            )
            link = raw(member.linkname).hex() if kind in ("symlink", "hardlink") else ""
            digest = hashlib.sha1(content).hexdigest()
            yield (
                f"{kind} {len(content)} {member.mode & 0o7777:o} {member.uid} {member.gid} "
                f"{raw(member.name).hex()} {link} {digest} {','.join(xattrs)}"
            )


for path in sys.argv[1:]:
    name = os.path.basename(path)
    try:
        for line in members(path):
            print(name, line)
    except Exception as error:
        print(name, "error", repr(error))
