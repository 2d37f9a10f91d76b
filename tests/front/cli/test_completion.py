"""Completion: what bash, zsh and fish offer after the installation, and what they are asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.front.cli.completion import NAME_LIMIT, print_names
from sundog.image.builder.force import _TAGS, AUTO, STRICT
from sundog.image.convert.formats import INPUTS, OUTPUTS
from sundog.image.transfer.packing import Packing
from tests.conftest import command
from tests.front.cli.shells import Shells

if TYPE_CHECKING:
    from tests.conftest import Runner

pytestmark = pytest.mark.slow

SHARE = Path(sys.prefix) / "share"
SHELLS = ("bash", "zsh", "fish")
DOCKERFILE = """\
FROM one AS base
RUN echo FROM x AS nothing
from base as final
FROM two AS $(touch${IFS}hacked)
FROM three AS `id`
"""


@pytest.fixture
def shells(tmp_path: Path, storage: Path) -> Shells:
    """Return shells in a directory with files of awkward names."""
    place = tmp_path / "place"
    (place / "context").mkdir(parents=True)
    for name in ("Dockerfile", "context/Dockerfile"):
        (place / name).write_text(DOCKERFILE)
    (place / "other.df").write_text("FROM x AS other\n")
    for name in ("a b.tar", "a$(touch hacked).tar", "-?x"):
        (place / name).touch()
    return Shells(
        place, Path(command("ch-image")[0]).parent, SHARE, {"CH_IMAGE_STORAGE": str(storage)}
    )


@pytest.fixture
def stored(run_ch_image: Runner, busybox_tar: Path, storage: Path) -> Path:
    """Return a storage directory with three names, and with directories that are no images."""
    run_ch_image("import", busybox_tar, "debian:trixie")
    run_ch_image("tag", "debian:trixie", "debian")
    run_ch_image("tag", "debian:trixie", "example.com:5000/me/app:1")
    for name in ("debian$(touch hacked)", "debian`id`", "debian\nx", "debian;x", "-x", "debian x"):
        (storage / "images" / name).mkdir()
    return storage


# The line, and all words that are offered for its last one.
LINES = [
    ("ch-image bui", ["build", "build-cache"]),
    ("ch-image -v -s x bui", ["build", "build-cache"]),
    ("ch-image build --forc", ["--force", "--force-cmd"]),
    ("ch-image build --force=n", ["--force=none", "--force=notify", "--force=notify,strict"]),
    ("ch-image build --force n", ["none", "notify", "notify,strict"]),
    ("ch-image build --target ", ["base", "final"]),
    ("ch-image build -f other.df --target ", ["other"]),
    ("ch-image save --format oci-a", ["oci-archive"]),
    ("ch-image help bu", ["build", "build-cache"]),
    ("ch-image rm deb", ["debian", "debian:trixie"]),
    ("ch-image rm debian:t", ["debian:trixie"]),
    ("ch-image rm debian debian:t", ["debian:trixie"]),
    ("ch-image rm exa", ["example.com:5000/me/app:1"]),
    ("ch-image -s /nowhere rm deb", []),
    ("ch-image import a", ["a b.tar", "a$(touch hacked).tar"]),
    ("ch-convert -i o", ["oci-archive", "oci-dir"]),
    ("ch-convert deb", ["debian", "debian:trixie"]),
    ("ch-run --priv", ["--private-tmp"]),
    ("ch-run deb", ["debian", "debian:trixie"]),
    ("ch-run --cd / deb", ["debian", "debian:trixie"]),
    ("sundog appt", ["apptainer"]),
    ("sundog run --deta", ["--detach", "--detach-keys"]),
    ("sundog apptainer bui", ["build"]),
    ("sundog apptainer --qui", ["--quiet"]),
    ("sundog apptainer exec --conta", ["--contain", "--containall", "--containlibs"]),
    ("sundog apptainer -q exec -B x --network n", ["none"]),
    ("sundog apptainer exec --no-mount t", ["tmp"]),
    ("sundog apptainer exec a", ["a b.tar", "a$(touch hacked).tar"]),
    ("sundog apptainer run --runsc", ["--runscript-timeout"]),
    ("sundog apptainer shell --shel", ["--shell"]),
    ("sundog apptainer build --secti", ["--section"]),
    ("sundog apptainer pull --arch-", ["--arch-variant"]),
    ("sundog apptainer instance sta", ["start", "stats"]),
    ("sundog apptainer instance stop --si", ["--signal"]),
    ("sundog apptainer instance start --pid-f", ["--pid-file"]),
    ("sundog apptainer overlay create --cre", ["--create-dir"]),
    ("sundog apptainer sif h", ["header"]),
]
# A line without a candidate stays as it is.
NOTHING = ["deb"]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_offers(shell: str, shells: Shells, stored: Path) -> None:
    answers = shells.ask(shell, [line for line, _ in LINES])
    for (line, offered), words in zip(LINES, answers, strict=True):
        if shell == "bash" and line.endswith("--force=n"):
            offered = ["--force=none", "notify", "notify,strict"]  # noqa: PLW2901 - bash replaces what follows "="
        found = sorted(word for word in words if word)
        assert found == offered or (not offered and found == NOTHING), (shell, line, found)
    assert not (shells.directory / "hacked").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_program_beside_a_path_is_not_asked(shell: str, shells: Shells, stored: Path) -> None:
    """A directory with such programs may have been unpacked from an archive of anybody."""
    for name in ("ch-image", "ch-run"):
        program = shells.directory / "hostile" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {shells.directory}/hacked; echo debian-hacked\n")
        program.chmod(0o755)
    lines = ["hostile/ch-image rm deb", "./hostile/ch-run deb"]
    # At the first attempt, bash-completion only loads the file of such a command.
    for found in [*shells.ask(shell, [*lines, *lines])][2:]:
        assert sorted(word for word in found if word) == ["debian", "debian:trixie"], found
    assert not (shells.directory / "hacked").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_storage_directory(shell: str, shells: Shells, storage: Path) -> None:
    """Completion creates nothing and says nothing."""
    (found,) = shells.ask(shell, ["ch-image rm deb"])
    assert found in (NOTHING, [])
    assert not storage.exists()


def asked(*words: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [*command("ch-image"), "__complete", *words],
        cwd=cwd,
        env=os.environ | {"CH_IMAGE_STORAGE": str(cwd / "storage")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode("ascii").splitlines()


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["images"], ["images", "ch-image", "-s"], ["stages", "x", "-f"]]
)
def test_any_question_has_an_answer(words: list[str], tmp_path: Path) -> None:
    assert asked(*words, cwd=tmp_path) == []


def test_stages_of_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 8000)
    (tmp_path / "long").write_text("FROM x AS y\n" * 10**6)
    for name in ("fifo", "binary", "/dev/zero", "/", "nothing"):
        assert asked("stages", "ch-image", "build", "-f", name, cwd=tmp_path) == []
    assert asked("stages", "ch-image", "build", "--file=long", cwd=tmp_path) == ["y"]
    assert asked("stages", "ch-image", "build", "-flong", cwd=tmp_path) == ["y"]


def test_names_are_bounded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(NAME_LIMIT + 100):
        (tmp_path / "images" / f"docker.io%library%i{number}+latest").mkdir(parents=True)
    print_names(["images", "ch-image", "-s", str(tmp_path), ""])
    names = capfd.readouterr().out.splitlines()
    assert len(names) == NAME_LIMIT
    assert all(name.startswith("i") and ":" not in name for name in names)


def test_the_words_of_the_tables_are_those_of_the_program() -> None:
    """These options have no table of words that the build of the wheel could read."""
    text = (SHARE / "bash-completion/completions/ch-image").read_text()
    row = next(line for line in text.splitlines() if "'build --force'" in line)
    modes = [*_TAGS, AUTO, f"notify,{STRICT}", f"{AUTO},{STRICT}"]
    assert sorted(row.partition("words ")[2].rstrip("' ;").split()) == sorted(modes)
    row = next(line for line in text.splitlines() if "'push --compression'" in line)
    for name in row.partition("words ")[2].rstrip("' ;").split():
        Packing.choose(name, {})
    text = (SHARE / "bash-completion/completions/ch-convert").read_text()
    for option, formats in (("--in-fmt", INPUTS), ("--out-fmt", OUTPUTS)):
        row = next(line for line in text.splitlines() if f"' {option}')" in line)
        assert sorted(row.partition("words ")[2].rstrip("' ;").split()) == sorted(formats)
