"""A tiny root file system, made of programs of this host and the libraries that they need.

It needs no network, and runs wherever this host's own programs run.
"""

from __future__ import annotations

import os
import shutil

from sundog.errors import SundogError
from sundog.image.fromhost.linked import linked

PROGRAMS = ("sh", "cat", "chmod", "chown", "mkdir", "readlink", "stat")
_DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var/tmp")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "",
    "etc/resolv.conf": "",
}


def make_tiny_image(place: str) -> None:
    """Fill the empty directory ``place``.  Raises SundogError and OSError."""
    for name in _DIRECTORIES:
        os.makedirs(os.path.join(place, name))
    for name, text in _FILES.items():
        with open(os.path.join(place, name), "w", encoding="ascii") as file:
            file.write(text)
    if shutil.which("ldd") is None:
        raise SundogError("this host has no ldd", "it finds the libraries that the image needs")
    for name in PROGRAMS:
        program = shutil.which(name, path="/usr/bin:/bin")
        if program is None:
            raise SundogError(f"this host has no {name} in /usr/bin", "the image is made of it")
        target = os.path.join(place, "bin", name)
        shutil.copyfile(program, target)
        os.chmod(target, 0o755)
        for library in map(os.fsdecode, linked(os.fsencode(program)).files):
            copy = os.path.join(place, library.lstrip("/"))
            if not os.path.exists(copy):
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copyfile(library, copy)
                os.chmod(copy, 0o755)
