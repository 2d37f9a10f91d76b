"""The options of ``sundog root``, which podman does not have."""

from __future__ import annotations

from sundog.front.options import TAKEN, Option
from sundog.front.podman.image_options import HELP

ROOT = (
    Option("--state", "FILE", TAKEN, "load owners, modes and devices from FILE, and save them"),
    Option("--unknown-is-real -u", "", TAKEN, "show the real owners of files without a record"),
    HELP,
)
