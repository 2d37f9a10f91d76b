"""The options of ``sundog install`` and ``uninstall``, which podman does not have."""

from __future__ import annotations

from sundog.front.options import TAKEN, Option
from sundog.front.podman.image_options import HELP

INSTALL = (Option("--prefix", "DIR", TAKEN, "the directory, such as /opt/sundog/1.1"), HELP)
