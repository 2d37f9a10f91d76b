"""The least that any builder needs: the same install without a builder."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from bench import inputs
from bench.report import Row, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROUNDS = 5


def measure(tarball: Path) -> Table:
    """Install as real root in a chroot on tmpfs, where syncs cost nothing, and return the table."""
    script = inputs.DOCKERFILE.splitlines()[1].removeprefix("RUN ")
    costs = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="sundog-floor.", dir="/var/tmp") as directory:
            _run(["mount", "-t", "tmpfs", "sundog-floor", directory])
            try:
                _run(["tar", "-C", directory, "-xf", str(tarball)])
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                started = time.monotonic()
                _run(["chroot", directory, "sh", "-c", script])
                wall = time.monotonic() - started
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
            finally:
                _run(["umount", "--lazy", directory])
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        costs.append((wall, cpu))
    wall, cpu = (statistics.median(values) for values in zip(*costs, strict=True))
    return Table(
        "The install alone",
        "The part that is in every cold build above: the same `apt-get` command line"
        f" as real root in a chroot on a tmpfs. Medians of {ROUNDS} rounds.",
        ("wall, s", "CPU, s"),
        [Row((f"{wall:.2f}", f"{cpu:.2f}"))],
        commands=[f"chroot TMPFS sh -c {script!r}"],
    )


def _run(argv: Sequence[str]) -> None:
    environment = {"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/root"}
    subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
