"""The options of ``sundog kernel``, which podman does not have."""

from __future__ import annotations

from sundog.front.options import TAKEN, Option
from sundog.front.podman.image_options import HELP

KERNEL_INSTALL = (
    Option("--name", "NAME", TAKEN, "the kernelspec's name; default: IMAGE-KERNEL"),
    Option("--display-name", "TEXT", TAKEN, "the name that Jupyter shows"),
    Option("--kernel", "KERNEL", TAKEN, "which of the image's kernels; default: python3"),
    Option("--prefix", "DIR", TAKEN, "write below DIR/share/jupyter; default: the home directory"),
    HELP,
)
