"""Images that are one file: the compiled ``ch-run`` starts their server in Python, and no more."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from sundog.base.record.stack import ImageStack, pack_command, pack_stack
from tests.runtime.fuse.conftest import make_squashfs
from tests.runtime.launcher.compiled import Compiled, leave_accounts
from tests.runtime.launcher.conftest import BUSYBOX, ENVIRONMENT, make_image
from tests.runtime.launcher.storages import fill_storage, make_storage

pytestmark = pytest.mark.usefixtures("fuse")

Outcome = tuple[int, bytes, list[bytes]]

COMMAND = [b"sh", b"-c"], [b'pwd; echo "$WORD"; id -u']
FILES = ImageStack([], b"", *COMMAND, has_files=True)
TREES: dict[str, dict[str, bytes | str]] = {
    "plain": {},
    "own": {"ch/stack": pack_command(*COMMAND, b"/mnt", user=b"7:8"), "ch/environment": b"WORD=x"},
    "own without variables": {"ch/stack": pack_command(*COMMAND)},
    "layers": {"ch/stack": pack_stack(ImageStack([b"x"], b"", *COMMAND))},
    "a stack that promises files": {"ch/stack": pack_stack(FILES)},
    "another stack": {"ch/stack": b"sundog-stack 9\0"},
    "a stack that leads out": {"ch/stack": "/proc/self/fd/3"},
    "a ch that leads out": {"ch": "/proc/self/root/ch"},
    "variables that lead out": {
        "ch/stack": pack_command(*COMMAND),
        "ch/environment": "/proc/self/environ",
    },
    "a directory that leads out": {
        "ch/stack": pack_command(*COMMAND, b"/way"),
        "way": "/proc/self/fd/3",
    },
    "enroot": {"etc/rc": b"echo rc"},
    "apptainer": {".singularity.d/runscript": b"#!/bin/sh\necho runscript\n"},
}
SERVED = {"plain", "own", "own without variables", "a stack that promises files"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with accounts, and a file for each tree."""
    place = tmp_path_factory.mktemp("files")
    storage = fill_storage(make_storage(place / "storage"))
    for uid, gid in ((os.geteuid(), os.getegid()), (0, 0)):
        leave_accounts(storage, uid, gid)
    for name, contents in TREES.items():
        tree = make_image(place / "tree")
        for path, content in contents.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                (tree / path).symlink_to(content)
            else:
                (tree / path).write_bytes(content)
                (tree / path).chmod(0o755)
        make_squashfs(tree, place / name)
        shutil.rmtree(tree)
    return place


def start(
    command: Path, place: Path, *words: str, kind: str = "", env: Mapping[str, str] | None = None
) -> Outcome:
    """Run a ``ch-run``; return the status, the output and the messages without process IDs."""
    done = subprocess.run(
        [command, *words],
        env=ENVIRONMENT
        | {"CH_IMAGE_STORAGE": str(place / "storage"), "SUNDOG_START": kind}
        | dict(env or {}),
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = [line.partition(b"]: ")[2] or line for line in done.stderr.splitlines()]
    return done.returncode, done.stdout, lines


def declined(compiled: Compiled, place: Path, *words: str) -> str:
    """Return why the program hands a start over; "" if it serves the start."""
    env = ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage")}
    return compiled.reason(words, env, place)


@pytest.mark.parametrize("words", [(), ("--", "sh", "-c", *COMMAND[1])], ids=["own", "given"])
@pytest.mark.parametrize("name", TREES)
def test_what_it_runs(compiled: Compiled, place: Path, name: str, words: tuple[str, ...]) -> None:
    words = (name, *(os.fsdecode(word) for word in words))
    python = start(compiled.command, place, *words, kind="python")
    assert start(compiled.command, place, *words) == python
    if name in SERVED and python[0] == 0:
        assert start(compiled.command, place, *words, kind="compiled") == python


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-b", "plain:/mnt", "app"), "a bind of SquashFS"),
        (("-b", "plain:/mnt", "plain"), "a bind of SquashFS"),
        (("-w", "plain"), "-w with a file"),
        (("--notify", "plain"), "a rare option"),
        (("-m", "storage", "plain"), "a rare option"),
        (("--join-tag=first", "plain"), "the first of its group"),
        (("enroot",), "an image of another program"),
        (("apptainer",), "an image of another program"),
        (("layers",), "layers in a file"),
        (("sif",), "a file of Apptainer"),
        (("cut",), "the server of a file"),
    ],
)
def test_it_hands_over(
    compiled: Compiled, place: Path, words: tuple[str, ...], reason: str
) -> None:
    (place / "sif").write_bytes(bytes(32) + b"SIF_MAGIC")
    (place / "cut").write_bytes((place / "plain").read_bytes()[:1000])
    assert declined(compiled, place, *words, "--", "true") == reason


def test_a_bind_of_a_file_shows_a_directory(compiled: Compiled, place: Path) -> None:
    words = ("-W", "-b", "plain:/new", "app", "--", "ls", "/new")
    assert b"busybox" not in start(compiled.command, place, *words, kind="python")[1]
    for kind in ("", "python"):
        assert start(compiled.command, place, *words, kind=kind)[1].splitlines()[0] == b"bin"


def test_a_name_in_storage_beats_a_file(compiled: Compiled, place: Path) -> None:
    shutil.copy(place / "own", place / "app")
    for kind in ("compiled", "python"):
        assert start(compiled.command, place, "app", "--", "cat", "/below", kind=kind)[0] == 0
        assert start(compiled.command, place, "./app", "--", "cat", "/below", kind=kind)[0] != 0
    (place / "app").unlink()


@pytest.mark.parametrize("size", [4, 96, 5000])
def test_errors_are_pythons(compiled: Compiled, place: Path, size: int) -> None:
    (place / "damaged").write_bytes((place / "plain").read_bytes()[:size])
    python = start(compiled.command, place, "damaged", "--", "true", kind="python")
    assert start(compiled.command, place, "damaged", "--", "true") == python
    assert python[0] == 31
    (place / "damaged").chmod(0)
    python = start(compiled.command, place, "damaged", "--", "true", kind="python")
    assert start(compiled.command, place, "damaged", "--", "true") == python
    assert python[2][0] == b"error: can't open damaged: Permission denied"
    (place / "damaged").unlink()


@pytest.mark.parametrize(
    "interpreter",
    [
        "echo such is life; echo such is life >&2",
        "kill -9 $$",
        'eval channel=\\${$(($# - 1))}; eval "echo no >&$channel"',
    ],
)
def test_a_server_that_fails(
    compiled: Compiled, place: Path, tmp_path: Path, interpreter: str
) -> None:
    """The launcher in Python then serves the start, and nothing of the server is seen."""
    prefix = tmp_path / "prefix"
    shutil.copytree(compiled.command.parents[1], prefix, symlinks=True)
    command = prefix / "bin" / "ch-run"
    (prefix / "bin" / "python3").unlink()
    (prefix / "bin" / "python3").write_text(f"#!{BUSYBOX} sh\n{interpreter}\n")
    (prefix / "bin" / "python3").chmod(0o755)
    words = ("plain", "--", "sh", "-c", "echo here")
    assert start(command, place, *words, kind="compiled")[2] == [
        b"error: declined: the server of a file"
    ]
    assert start(command, place, *words) == (0, b"here\n", [])


def test_the_interpreter_of_the_installer(compiled: Compiled, place: Path, tmp_path: Path) -> None:
    """It serves if there is none beside the program, as after pip install --user."""
    prefix = tmp_path / "prefix"
    shutil.copytree(compiled.command.parents[1], prefix, symlinks=True)
    command = prefix / "bin" / "ch-run"
    interpreter = (prefix / "bin" / "python3").resolve()
    (prefix / "bin" / "python3").unlink()
    words = ("plain", "--", "sh", "-c", "echo here")
    assert start(command, place, *words, kind="compiled")[2] == [
        b"error: declined: the server of a file"
    ]
    (prefix / "bin" / "sundog-python").write_text(f"#!{interpreter}\nimport sys\n")
    assert start(command, place, *words, kind="compiled") == (0, b"here\n", [])


@pytest.mark.parametrize(
    ("name", "reason"), [("plain", ""), ("enroot", "an image of another program")]
)
def test_a_peer_of_a_group(compiled: Compiled, place: Path, name: str, reason: str) -> None:
    """A peer needs no server, but the variables and the entry point that Python knows."""
    words = (f"--join-tag={name}-{os.getpid()}", name, "--", "sh", "-c")
    first = subprocess.Popen(
        [compiled.command, *words, "echo; read line"],
        env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage")},
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"\n"
        assert declined(compiled, place, *words, "true") == reason
        assert start(compiled.command, place, *words, "echo here") == (0, b"here\n", [])
    finally:
        first.communicate(b"\n")
