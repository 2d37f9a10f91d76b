"""Dockerfiles in the style of published ones build without --force.

``published/`` has them.  All build under ``notify``.  Those that do not build under ``seccomp``
need a second try, and only those get one.  `make conformance` builds all; every test run has those
of the small base image.  Another store finds all their results in a shared cache, and others start
the images before they are there: all of them, but in ordinary runs the first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import base_image, copy_storage, runner
from tests.image.dockerfiles.test_dockerfiles import ALL, TIMEOUT, check_of_lazy_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Runner

PLACE = Path(__file__).parent / "published"
SMALL = "alpine"
# What these copy, the RUN of another stage made elsewhere.  Nothing remembers that.
COPY_FAILS = {"builder-home"}
REF_NAME = "org.opencontainers.image.ref.name"
NEED_OWNERS = {
    *("acl", "builder-home", "cron", "fix-permissions", "home-tool", "install-owner", "jail"),
    *("mariadb", "memcached", "postgres", "redis", "refuses-root", "sudo"),
}


def base_of(path: Path) -> str:
    """Return the base image of a Dockerfile."""
    return next(line.split()[1] for line in path.read_text().splitlines() if line[:4] == "FROM")


EVERY = sorted(PLACE.glob("*.dockerfile"))
PATHS = [path for path in EVERY if ALL or base_of(path) == SMALL]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * TIMEOUT)]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives a storage directory with a base image, imported once."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "storage"
            runner("ch-image", made[name])("import", base_image(name), name)
        return made[name]

    return of


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_published(
    path: Path,
    run_ch_image: Runner,
    storage: Path,
    tmp_path: Path,
    imported: Callable[[str], Path],
) -> None:
    copy_storage(imported(base_of(path)), storage)
    context = tmp_path / "context"
    context.mkdir()
    cache = tmp_path / "cache"
    words = ["build", "-t", "built", "-f", str(path), str(context)]
    done = run_ch_image(*words, f"--cache-to=type=local,dest={cache}", timeout=TIMEOUT)
    again = [line for line in done.stderr.splitlines() if " again " in line and "notify" in line]
    assert bool(again) == (path.stem in NEED_OWNERS), again
    if ALL or path == PATHS[0]:
        check_of_lazy_start(run_ch_image, tmp_path)

    other = runner("ch-image", tmp_path / "other")
    copy_storage(imported(base_of(path)), tmp_path / "other")
    done = other(*words, "-n", "-v", f"--cache-from=type=local,src={cache}")
    missed = re.findall(r"^ *\d+\. (?:RUN|COPY|ADD|WORKDIR|VOLUME).*", done.stderr, re.MULTILINE)
    if path.stem in COPY_FAILS:
        assert missed
        return
    assert not missed
    index = json.loads((cache / "index.json").read_bytes())
    names = {entry["annotations"][REF_NAME] for entry in index["manifests"]}
    found = set(re.findall(r"found in \S+: ([0-9a-f]{64})", done.stderr))
    # A build that began again has noted that at two steps, and the first one is enough.
    assert found <= names
    assert len(names - found) <= 1


def test_there_are_enough() -> None:
    assert len(EVERY) >= 20
    assert {path.stem for path in EVERY} > NEED_OWNERS
