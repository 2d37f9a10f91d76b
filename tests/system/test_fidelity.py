"""An install under ``--force=notify`` leaves the same files as real root's: no path differs.

Real root's install came before, in a chroot (scripts/references.py). `make fidelity` does the same
with more packages.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from scripts import account
from scripts.fidelity import reference
from scripts.fidelity.compare import Verdict, judge
from scripts.fidelity.emulated import Builder
from scripts.fidelity.sets import ALPINE, DNF, QUICK, ZYPPER

from tests.conftest import command, kept_by_root

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.fidelity.sets import PackageSet

pytestmark = [pytest.mark.slow, pytest.mark.needs_root]


def verdict(packages: PackageSet, mode: str, place: Path) -> Verdict:
    real = kept_by_root(lambda: reference.kept(packages))
    for name in ("ch-image", "ch-run"):
        script = place / name
        script.write_text(f'#!/bin/sh\nexec {" ".join(command(name))} "$@"\n')
        script.chmod(0o755)
    environment = os.environ | account.environment(account.current(), place)
    environment["CH_IMAGE_STORAGE"] = str(place / "storage")
    builder = Builder(account.current(), environment, place, sys.executable)
    return judge(real, builder.make(packages, real.base, mode))


# Programs have the fast path on the one driver.  dnf and zypper drive rpm: each does on a driver.
CASES = [
    (packages, driver)
    for driver in ("overlay", "copy")
    for packages in QUICK
    if (packages, driver) not in ((DNF, "copy"), (ZYPPER, "overlay"))
]


@pytest.mark.parametrize(
    ("packages", "driver"), CASES, ids=[f"{packages.name}, {driver}" for packages, driver in CASES]
)
def test_notify_makes_what_real_root_makes(
    packages: PackageSet, driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CH_IMAGE_DRIVER", driver)
    monkeypatch.setenv("SUNDOG_FAST_PATH", "yes" if driver == "overlay" else "no")
    found = verdict(packages, "notify", tmp_path)
    assert found.compared > 500
    assert not found.lines(20)


def test_seccomp_is_seen_to_make_something_else(tmp_path: Path) -> None:
    found = verdict(ALPINE, "seccomp", tmp_path)
    secret = "usr/share/ownership-demo/secret"
    line = f"{secret}: real root: file 0640 0:42; emulated: file 0640 0:0"
    assert f"tar: {line}" in found.lines(20)
    assert [line for line in found.lines(20) if line.startswith(f"RUN, stat: {secret}: ")]
