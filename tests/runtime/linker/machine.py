"""Places of this machine's dynamic linker and its libraries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

LDCONFIG = Path("/sbin/ldconfig")


def linker() -> Path:
    """Return the path of this machine's dynamic linker."""
    text = subprocess.run(["readelf", "-l", "/bin/sh"], capture_output=True, text=True, check=True)
    found = re.search(r"interpreter: (\S+?)\]", text.stdout)
    assert found
    return Path(found[1])


def library(name: str) -> Path:
    """Return the path of a library of this machine, as its linker finds it."""
    text = subprocess.run([LDCONFIG, "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^\s{re.escape(name)} \(.*=> (.*)$", text, re.MULTILINE)
    assert found
    return Path(found[1])
