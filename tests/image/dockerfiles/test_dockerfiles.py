"""Whole Dockerfiles: they build as an ordinary user, the results run, and are what buildah makes.

The quick ones are in every run; `make conformance` takes all.  What buildah makes, as real root,
came before (scripts/conformance/peer.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from scripts.conformance import peer
from scripts.conformance.cases import BASE, EXCLUSIONS, MOST_EXCLUSIONS, cases, exclusions
from scripts.conformance.compare import differences
from scripts.conformance.images import read_image
from scripts.place import CHECKOUT

from sundog.runtime.container.search_path import ENGINE_PATH
from tests.conftest import base_image, kept_by_root, runner
from tests.image.pull.flavours import serving
from tests.image.seen import differences_when_lazy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.conformance.cases import Case, Check
    from scripts.conformance.images import Image

    from tests.conftest import Runner

ALL = os.environ.get("SUNDOG_CONFORMANCE") == "all"
CASES = [case for case in cases() if ALL or case.quick]
NAMES = [case.name for case in CASES]
DEMANDING = [case for case in CASES if ALL or case.force == "notify"]
TIMEOUT = 1800
# As base images in registries have it, and as buildah makes it.
BASE_DOCKERFILE = f"FROM imported\nENV PATH={ENGINE_PATH}\n"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * TIMEOUT)]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_dockerfile(
    case: Case, run_ch_image: Runner, run_ch_run: Runner, storage: Path, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    shutil.copytree(case.path, context)  # the user's own, as contexts are
    before = {path: path.read_bytes() for path in context.rglob("*") if path.is_file()}
    make_base(run_ch_image, case.base, tmp_path)
    options = [f"--force={case.force}", "--no-fallback", *case.options_in(context)]
    kept = f"--cache-to=type=local,dest={tmp_path}/cache"
    words: list[str | Path] = ["build", *options, "-t", "built", context]
    run_ch_image(*words, *([kept] if is_shared(case) else []), timeout=TIMEOUT)
    assert {path: path.read_bytes() for path in before} == before
    image = exported(run_ch_image, storage, tmp_path)
    for check in case.checks:
        run_check(check, run_ch_run, image)
    if is_shared(case):
        check_of_cache(words, image, tmp_path, case.base)
        check_of_lazy_start(run_ch_image, tmp_path)
    if not case.peer:
        return
    theirs = kept_by_root(lambda: peer.kept(case))
    found = differences(image, theirs, exclusions(), with_owners=case.force == "notify")
    assert not found, "\n".join([f"{len(found)} differ:", *found[:60]])


def is_shared(case: Case) -> bool:
    """Tell whether empty stores are to take the results, too: of each, but in ordinary runs."""
    return ALL or case == CASES[0]


def check_of_cache(words: Sequence[str | Path], built: Image, place: Path, base: str) -> None:
    """Build in an empty store from the shared cache: no RUN runs, and the image is the same."""
    ch_image = runner("ch-image", place / "empty")
    (place / "of-cache").mkdir()
    make_base(ch_image, base, place / "of-cache")
    done = ch_image(*words, f"--cache-from=type=local,src={place}/cache", timeout=TIMEOUT)
    assert not re.findall(r"^ *\d+\. (?:RUN|COPY|ADD).*", done.stderr, re.MULTILINE)
    found = differences(
        exported(ch_image, place / "empty", place / "of-cache"), built, (), with_owners=True
    )
    assert not found, "\n".join(found[:60])


def check_of_lazy_start(run_ch_image: Runner, place: Path) -> None:
    """Push what was built; its tree is the same before it is here and when it is."""
    (place / "registry").mkdir()
    with serving(place / "registry", "registry", {}, {}) as host:
        name = f"{host}/built"
        run_ch_image("push", "--compression=zstd:chunked", "built", name, timeout=TIMEOUT)
        found = differences_when_lazy(name, place)
    assert not found, "\n".join([f"{len(found)} differ:", *found[:60]])


@pytest.mark.parametrize("case", DEMANDING, ids=[case.name for case in DEMANDING])
def test_dockerfile_without_a_mode(case: Case, run_ch_image: Runner, tmp_path: Path) -> None:
    """Each builds without --force, by a second try where it needs one."""
    context = tmp_path / "context"
    shutil.copytree(case.path, context)
    make_base(run_ch_image, case.base, tmp_path)
    run_ch_image("build", *case.options_in(context), "-t", "built", context, timeout=TIMEOUT)


def make_base(run_ch_image: Runner, name: str, place: Path) -> None:
    """Put a base image into storage as registries have it; ``place`` gets a Dockerfile."""
    run_ch_image("import", base_image(name), "imported")
    (place / "Dockerfile").write_text(BASE_DOCKERFILE)
    run_ch_image("build", "-t", BASE, place)


def exported(run_ch_image: Runner, storage: Path, tmp_path: Path) -> Image:
    """Read the image that was built."""
    (described,) = json.loads(run_ch_image("inspect", "built").stdout)
    tars = tmp_path / "tars"
    tars.mkdir()
    export = CHECKOUT / "scripts/fidelity/export.py"
    subprocess.run([sys.executable, export, storage, "built", tars], check=True)
    numbers = range(len(described["layers"]))
    return read_image([tars / f"{number}.tar" for number in numbers], described["config"])


def run_check(check: Check, run_ch_run: Runner, image: Image) -> None:
    if check.paths:
        assert sorted(image.entries.keys() - {"."}) == sorted(check.paths)
        return
    command = () if check.argv is None else ("--", *check.argv)
    done = run_ch_run(*check.options, "built", *command, check=False)
    shown = f"{check.argv}\n{done.stdout}{done.stderr}"
    assert done.returncode == check.status, shown
    if check.stdout is not None:
        assert done.stdout == check.stdout, shown
    if check.matches is not None:
        assert re.search(check.matches, done.stdout), shown


def test_each_case_has_checks_enough_and_runs_what_it_built() -> None:
    for case in cases():
        assert len(case.checks) >= 5, case.name
        assert any(check.argv is None or check.argv for check in case.checks), case.name
    assert len(cases()) >= 12


def test_images_of_different_days_have_the_same_accounts(tmp_path: Path) -> None:
    images = []
    for number, line in enumerate(("sshd:!:20781::::::", "sshd:!:20782::::::", "sshd:x:20782:0:")):
        (tmp_path / "shadow").write_text(f"root:*:1:0:99999:7:::\n{line}\n")
        layer = tmp_path / f"{number}.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(tmp_path / "shadow", "etc/shadow")
        images.append(read_image([layer], {"config": {}}))
    assert images[0].contents == images[1].contents != images[2].contents


def test_exclusions_are_few_and_have_a_reason() -> None:
    excluded = exclusions()
    assert len(excluded) <= MOST_EXCLUSIONS, EXCLUSIONS
    for pattern, reason in excluded.items():
        re.compile(pattern)
        assert len(reason) > 10, pattern
