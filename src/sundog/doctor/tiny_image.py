"""A tiny root file system, made of programs of this host and the libraries that they need.

It needs no network, and runs wherever this host's own programs run.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from sundog.errors import SundogError
from sundog.kernel.libc import escaped

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
    for name in PROGRAMS:
        program = shutil.which(name, path="/usr/bin:/bin")
        if program is None:
            raise SundogError(f"this host has no {name} in /usr/bin", "the image is made of it")
        target = os.path.join(place, "bin", name)
        shutil.copyfile(program, target)
        os.chmod(target, 0o755)
        for library in _libraries(program):
            copy = os.path.join(place, library.lstrip("/"))
            if not os.path.exists(copy):
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copyfile(library, copy)
                os.chmod(copy, 0o755)


def _libraries(program: str) -> list[str]:
    """Return the libraries and the loader of a program, as ldd(1) names them; none if static."""
    try:
        done = subprocess.run(
            ["ldd", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="surrogateescape",
            check=False,
        )
    except OSError as error:
        raise SundogError(
            f"can't find the libraries of {escaped(program)}: ldd: {error.strerror}"
        ) from None
    found = []
    for line in done.stdout.splitlines():
        path = line.partition("=>")[2] or line
        word = path.split("(")[0].strip()
        if word.startswith("/"):
            found.append(word)
    return found
