"""Fixtures for tests of builds: a storage directory with busybox, on each driver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import copy_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.conftest import Completed, Runner

UNDER_A_LISTENER = """
from sundog.runtime.emulation.bpf import SECCOMP_RET_ALLOW, assemble, verdict
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_ABIS
from sundog.runtime.emulation.notify.seccomp.listener import install_listener
from sundog.base.kernel.numbers import process_abi
from sundog.base.kernel.process import set_no_new_privs
set_no_new_privs()
number = NOTIFY_ABIS[process_abi()].numbers["seccomp"]
install_listener(assemble([verdict(SECCOMP_RET_ALLOW)]), number)
"""
LINE = re.compile(r" *(\d+)([*. ]) (.*)")


class Workshop:
    """A context directory, a storage with the image ``bb``, and the commands on them."""

    def __init__(self, directory: Path, ch_image: Runner, ch_run: Runner) -> None:
        self.context = directory / "context"
        self.context.mkdir()
        self.ch_image = ch_image
        self.ch_run = ch_run

    def write(self, files: Mapping[str, str]) -> None:
        """Write files into the context."""
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def build(
        self,
        dockerfile: str,
        *options: str,
        tag: str = "img",
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Build ``dockerfile``, which is not in the context."""
        path = self.context.parent / "Dockerfile"
        path.write_text(dockerfile)
        return self.ch_image(
            "build", "-t", tag, "-f", path, *options, self.context, check=check, env=env
        )

    def statuses(self, dockerfile: str, *options: str, tag: str = "img") -> str:
        """Build and return the status character of each line; a blank is ``_``."""
        done = self.build(dockerfile, *options, tag=tag)
        return "".join(status for _, status, _ in announced(done)).replace(" ", "_")

    def run(self, script: str, image: str = "img") -> str:
        """Return the output of a shell script that runs as root in an image."""
        return self.ch_run("-u", "0", "-g", "0", image, "--", "/bin/sh", "-c", script).stdout

    def under_a_listener(self, *arguments: str) -> Completed:
        """Run ``ch-image`` in a process whose seccomp listener gets no notifications."""
        return self.prepared(UNDER_A_LISTENER, *arguments)

    def prepared(self, script: str, *arguments: str) -> Completed:
        """Run ``ch-image`` in a Python process that ran ``script`` first."""
        start = """
import sys
sys.argv = ["ch-image", *sys.argv[1:]]
from sundog.front.cli.image import main
sys.exit(main())
"""
        storage = self.ch_image("gestalt", "storage-path").stdout.strip()
        return subprocess.run(
            [sys.executable, "-c", script + start, *arguments],
            env=os.environ | {"CH_IMAGE_STORAGE": storage},
            capture_output=True,
            text=True,
            check=False,
        )

    def config(self, image: str = "img") -> dict[str, Any]:
        """Return the configuration of an image, in the form of OCI image-spec."""
        images = Path(self.ch_image("gestalt", "storage-path").stdout.strip(), "images")
        name = f"docker.io%library%{image}+latest"
        place = images / name
        if not place.exists():  # it is for another machine
            (place,) = images.glob(f"{name}=*")
        config: dict[str, Any] = json.loads((place / "config.json").read_text())
        return config


def announced(done: Completed) -> list[tuple[int, str, str]]:
    """Return the lines that announce instructions: number, status, text."""
    found = (LINE.fullmatch(line) for line in done.stderr.splitlines())
    return [(int(match[1]), match[2], match[3]) for match in found if match]


def make_workshop(
    tmp_path: Path, imported: Path, run_ch_image: Runner, run_ch_run: Runner
) -> Workshop:
    """Return a workshop with a copy of an ``imported`` storage at the place of the test's own."""
    copy_storage(imported, tmp_path / "storage")
    return Workshop(tmp_path, run_ch_image, run_ch_run)


@pytest.fixture
def workshop(
    driver: str,
    tmp_path: Path,
    storage_with_busybox: Callable[[str], Path],
    run_ch_image: Runner,
    run_ch_run: Runner,
) -> Workshop:
    """Return a workshop on each driver."""
    return make_workshop(tmp_path, storage_with_busybox(driver), run_ch_image, run_ch_run)


@pytest.fixture
def any_workshop(
    tmp_path: Path,
    storage_with_busybox: Callable[[str], Path],
    run_ch_image: Runner,
    run_ch_run: Runner,
) -> Workshop:
    """Return a workshop on any driver that works, for tests that do not concern drivers."""
    return make_workshop(tmp_path, storage_with_busybox(""), run_ch_image, run_ch_run)
