"""``ch-image`` in a container: import, build and run inside ``ch-run``.

A container does not see the storage directory outside, so it has one of its own, unless the user
shows it that directory with ``:rw``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

import sundog
from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed, Runner
    from tests.image.builder.conftest import Workshop

DOCKERFILE = """\
FROM inner
COPY text /text
RUN chown 5:6 /text && id -u && echo more >>/text
RUN rm /bin/wget
WORKDIR /w
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "inner"
    path.mkdir()
    (path / "text").write_text("text\n")
    (path / "Dockerfile").write_text(DOCKERFILE)
    return path


def _host_places(*more: Path) -> list[str]:
    """Return the directories of the host that the commands need, and ``more``."""
    needed = ["/lib", "/lib64", "/usr", sys.base_prefix, sys.prefix]
    needed.append(os.path.dirname(sundog.__file__))
    return [place for place in needed if os.path.isdir(place)] + [str(path) for path in more]


def _own_storage(context: Path) -> str:
    """Return the option of ``ch-run`` that gives a container a storage directory of its own."""
    return f"--set-env=CH_IMAGE_STORAGE={context.parent}/inner-storage"


def _import_build_run(inside: list[str | Path], run: Runner, tar: Path, context: Path) -> None:
    """Import, build and run, each by a command in a container of its own.

    ``inside`` are the arguments of ``ch-run`` before the command.
    """

    def do(name: str, *arguments: str | Path) -> Completed:
        return run(*inside, "--", *command(name), *arguments)

    do("ch-image", "import", tar, "inner")
    built = do("ch-image", "build", "-t", "built", context)
    assert "0\n" in built.stdout
    assert {"built", "inner"} <= set(do("ch-image", "list").stdout.split())
    script = "ls -d /w; cat /text; test -e /bin/wget || echo gone"
    seen = do("ch-run", "built", "--", "sh", "-c", script).stdout
    assert seen == "/w\ntext\nmore\ngone\n"
    again = do("ch-image", "build", "-t", "built", context)
    assert again.stderr.count("* ") == 5, again.stderr


def test_in_the_hosts_own_root(
    driver: str, run_ch_run: Runner, busybox_tar: Path, context: Path
) -> None:
    assert driver
    # The temporary directory may be outside the directories that ch-run binds by itself.
    own = [f"--bind={context.parent}", _own_storage(context)]
    _import_build_run([*own, "/"], run_ch_run, busybox_tar, context)


def test_what_was_built_inside_is_good_outside(
    driver: str,
    run_ch_image: Runner,
    run_ch_run: Runner,
    storage: Path,
    *,
    busybox_tar: Path,
    context: Path,
) -> None:
    """The storage directory is the same, inside and outside."""
    assert driver
    run_ch_image("import", busybox_tar, "outside")
    shared = [f"--bind={context.parent}", f"--bind={storage}:{storage}:rw"]
    _import_build_run([*shared, "/"], run_ch_run, busybox_tar, context)
    assert run_ch_run("built", "--", "cat", "/text").stdout == "text\nmore\n"
    done = run_ch_image("build", "-t", "outside", context)
    assert done.stderr.count("* ") == 5, done.stderr


def test_in_an_image(workshop: Workshop, busybox_tar: Path, context: Path) -> None:
    """The outer container has an image, with the host's programs bound into it."""
    places = _host_places(context.parent, busybox_tar.parent)
    workshop.build(f"FROM bb\nRUN mkdir -p {' '.join(places)}\n", tag="outer")
    binds = [f"--bind={place}" for place in places]
    _import_build_run(
        [*binds, _own_storage(context), "outer"], workshop.ch_run, busybox_tar, context
    )


@pytest.mark.parametrize("fallback", [True, False])
def test_notify_in_a_run_with_the_filter(
    any_workshop: Workshop, busybox_tar: Path, context: Path, *, fallback: bool
) -> None:
    """The outer filter would answer chown(2) before a supervisor could see the call."""
    places = _host_places(context.parent, busybox_tar.parent)
    (context / "Dockerfile").write_text("FROM inner\nRUN chown 5:6 /etc; stat -c is=%u:%g /etc\n")
    ch_image = " ".join(command("ch-image"))
    force = "--force=notify" if fallback else "--force=notify --no-fallback"
    any_workshop.build(f"FROM bb\nRUN mkdir -p {' '.join(places)}\n", tag="outer")
    done = any_workshop.build(
        f"FROM outer\nENV CH_IMAGE_STORAGE={context.parent}/inner-storage\n"
        f"RUN {ch_image} import {busybox_tar} inner && {ch_image} build {force} {context}\n",
        *(f"--bind={place}" for place in places),
        "--force=seccomp",
        check=False,
    )
    told = done.stdout + done.stderr
    reason = "a filter around this process (ch-run --seccomp, a RUN.S) answers setuid and "
    kind = "warning" if fallback else "error"
    using = ", using seccomp" if fallback else ""
    message = f"{kind}: --force=notify is not possible here{using}: {reason}"
    assert told.count(message) == 1 + fallback, told  # warnings are printed again at the end
    assert ("is=0:0" in told, done.returncode == 0) == (fallback, fallback), told
