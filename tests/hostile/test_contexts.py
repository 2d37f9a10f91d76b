"""Hostile build contexts: files, archives, and programs that change them meanwhile."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.hostile.builds import CANARY, Case, Place, make_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    Prepare = Callable[[Place], object]


def both(*steps: Prepare) -> Prepare:
    """Return a function that does all the ``steps``."""
    return lambda place: [step(place) for step in steps]


def write(name: str, data: str | bytes = "", mode: int = 0o644) -> Prepare:
    """Return a function that writes a file into the context."""

    def prepare(place: Place) -> None:
        path = place.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(mode)

    return prepare


def link(name: str, target: str) -> Prepare:
    """Return a function that makes a symlink in the context; OUTSIDE and CONTEXT are paths."""

    def prepare(place: Place) -> None:
        path = place.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = target.replace("OUTSIDE", str(place.outside))
        path.symlink_to(text.replace("CONTEXT", str(place.context)))

    return prepare


def directory(name: str, mode: int = 0o755) -> Prepare:
    """Return a function that makes a directory in the context."""

    def prepare(place: Place) -> None:
        (place.context / name).mkdir(parents=True)
        (place.context / name).chmod(mode)

    return prepare


def fifo(name: str) -> Prepare:
    return lambda place: os.mkfifo(place.context / name)


def listener(place: Place) -> None:
    """Make a socket, which stays there without a listener."""
    here = os.open(".", os.O_RDONLY)
    os.chdir(place.context)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("s")
    os.fchdir(here)
    os.close(here)


def deep(count: int) -> Prepare:
    """Return a function that makes nested directories."""

    def prepare(place: Place) -> None:
        here = os.open(".", os.O_RDONLY)
        os.chdir(place.context)
        for _ in range(count):
            os.mkdir("d")
            os.chdir("d")
        os.fchdir(here)
        os.close(here)

    return prepare


def many(count: int) -> Prepare:
    return both(*(write(f"many/{number}") for number in range(count)))


def hard_link(place: Place) -> None:
    os.link(place.context / "f", place.context / "g")


COPY = "FROM bb\nCOPY . /d/\n"
LIST = COPY + "RUN cd /d && find . | LC_ALL=C sort | tr '\\n' ' '\n"
WHERE = ("-f", "context/Dockerfile")

FILES = [
    Case(
        "symlink to a file outside",
        "FROM bb\nCOPY l /\n",
        "outside the context",
        2,
        prepare=link("l", "OUTSIDE/canary"),
    ),
    Case(
        "symlink upwards to a file outside",
        "FROM bb\nCOPY l /\n",
        "outside the context",
        2,
        prepare=link("l", "../outside/canary"),
    ),
    Case(
        "symlink to a directory outside",
        "FROM bb\nCOPY l/ /\n",
        "outside the context",
        2,
        prepare=link("l", "OUTSIDE"),
    ),
    Case(
        "file behind a symlink outside",
        "FROM bb\nCOPY l/canary /\n",
        "outside the context",
        2,
        prepare=link("l", "OUTSIDE"),
    ),
    Case(
        "pattern behind a symlink outside",
        "FROM bb\nCOPY l/c* /d/\n",
        "outside the context",
        2,
        prepare=link("l", "OUTSIDE"),
    ),
    Case(
        "symlink through two",
        "FROM bb\nCOPY a /\n",
        "outside the context",
        2,
        prepare=both(link("a", "b/canary"), link("b", "../outside")),
    ),
    Case(
        "symlink to the root",
        "FROM bb\nCOPY l/etc/passwd /\n",
        "outside the context",
        2,
        prepare=link("l", "/"),
    ),
    Case(
        "symlink to /proc",
        "FROM bb\nCOPY l /\n",
        "outside the context",
        2,
        prepare=link("l", "/proc/self/environ"),
    ),
    Case(
        "magic link",
        "FROM bb\nCOPY l/canary /\n",
        "outside the context",
        2,
        prepare=link("l", "/proc/self/cwd/outside"),
    ),
    Case(
        "parents behind a symlink",
        "FROM bb\nCOPY --parents l/./canary /\n",
        "outside",
        2,
        prepare=link("l", "OUTSIDE"),
    ),
    Case(
        "ADD of a symlink",
        "FROM bb\nADD l /\n",
        "outside the context",
        2,
        prepare=link("l", "OUTSIDE/canary"),
    ),
    Case(
        "symlinks in a directory stay symlinks",
        LIST,
        prepare=link("l", "OUTSIDE"),
        prints=". ./f ./l ",
    ),
    Case(
        "absolute symlink inside",
        "FROM bb\nCOPY l /x\nRUN cat /x\n",
        prints="file\n",
        prepare=link("l", "CONTEXT/f"),
    ),
    Case("circle", "FROM bb\nCOPY l /\n", "too many symlinks", 2, prepare=link("l", "l")),
    Case(
        "symlink to nowhere",
        "FROM bb\nCOPY l /\n",
        "source not found",
        2,
        prepare=link("l", "nowhere"),
    ),
    Case("FIFO", "FROM bb\nCOPY p /\n", "unknown file type", 2, prepare=fifo("p")),
    Case(
        "FIFO in a directory",
        COPY + "RUN test -p /d/p && echo ok\n",
        prints="ok\n",
        prepare=fifo("p"),
    ),
    Case("socket", "FROM bb\nCOPY s /\n", "unknown file type", 2, prepare=listener),
    Case("socket in a directory", LIST, prints=". ./f ", prepare=listener),
    Case(
        "symlink to a device",
        "FROM bb\nCOPY l /\n",
        "outside the context",
        2,
        prepare=link("l", "/dev/zero"),
    ),
    Case("file without permission", COPY, "permission denied", 2, prepare=write("x", mode=0)),
    Case("directory without permission", COPY, "permission denied", 2, prepare=directory("x", 0)),
    Case(
        "directory that cannot be searched",
        COPY,
        "ermission denied",
        2,
        prepare=both(write("x/y"), lambda place: (place.context / "x").chmod(0o444)),
    ),
    Case(
        "pattern in a directory without permission",
        "FROM bb\nCOPY x/* /d/\n",
        "permission denied",
        2,
        prepare=directory("x", 0),
    ),
    Case(
        "names of control characters",
        LIST,
        prepare=both(write("a\x1b[2Jb"), write("c\nd")),
        prints=". ./a\x1b[2Jb ./c ./f d ",
    ),
    Case("missing name of control characters", "FROM bb\nCOPY a\x1b]2J /\n", "not found", 2),
    Case(
        "unreadable name of control characters",
        COPY,
        "permission denied",
        2,
        prepare=write("a\x1b[2J\nerror: b", mode=0),
    ),
    Case(
        "names that are no text",
        COPY + "RUN ls /d | wc -l\n",
        prints="2\n",
        prepare=lambda place: open(bytes(place.context) + b"/\xff\xfe", "x").close(),
    ),
    Case("name of 255 bytes", COPY + "RUN ls /d | wc -l\n", prints="2\n", prepare=write("a" * 255)),
    Case(
        "names of whiteouts",
        COPY + "RUN ls -a /d | grep -c wh\n",
        prints="2\n",
        prepare=both(write(".wh.f"), write(".wh..wh..opq")),
    ),
    Case(
        "the kernel's own marks",
        LIST,
        prints=". ./f ./x ",
        prepare=both(
            directory("x"),
            lambda place: os.setxattr(place.context / "x", "user.overlay.opaque", b"y"),
        ),
    ),
    Case(
        "set-id bits",
        COPY + "RUN stat -c %a /d/x\n",
        prints="6755\n",
        prepare=write("x", mode=0o6755),
    ),
    Case("hard links", COPY + "RUN stat -c %h /d/f\n", prints="2\n", prepare=hard_link),
    Case(
        "a hole of a terabyte",
        "FROM bb\nCOPY --exclude=x . /d/\n",
        prepare=both(write("x"), lambda place: os.truncate(place.context / "x", 1 << 40)),
    ),
    Case("deep directories", COPY, "nested directories", 2, prepare=deep(600)),
    Case(
        "deep directories below patterns",
        "FROM bb\nCOPY --exclude=x . /d/\n",
        "nested directories",
        2,
        prepare=deep(600),
    ),
    Case(
        "deep directories of a stage",
        "FROM bb AS a\nRUN mkdir -p /x" + "/d" * 600 + "\nFROM bb\nCOPY --from=a /x /y\n",
        "nested directories",
        4,
    ),
    Case(
        "as deep as may be",
        COPY + "RUN find /d -type d | wc -l\n",
        prints="251\n",
        prepare=deep(250),
    ),
    Case("many files", COPY + "RUN ls /d/many | wc -l\n", prints="2000\n", prepare=many(2000)),
    Case(
        "directory that is in the way",
        "FROM bb\nRUN mkdir /x\nCOPY f /x/\nCOPY d /\n",
        "a directory is in the way",
        4,
        prepare=both(write("d/x")),
    ),
    Case(
        "file that is in the way",
        "FROM bb\nCOPY d/ /bin/sh\n",
        "not a directory",
        2,
        prepare=write("d/x"),
    ),
]

IGNORE = [
    Case("a directory", COPY, "Is a directory", 2, prepare=directory(".dockerignore")),
    Case("a FIFO", COPY, "not a regular file", 2, prepare=fifo(".dockerignore")),
    Case(
        "a socket",
        COPY,
        "can't read",
        2,
        prepare=both(
            listener, lambda place: (place.context / "s").rename(place.context / ".dockerignore")
        ),
    ),
    Case(
        "endless",
        COPY,
        "more than 256 kiB",
        2,
        prepare=write(".dockerignore", "# comment\n" * 40_000),
    ),
    Case("a device", COPY, "not a regular file", 2, prepare=link(".dockerignore", "/dev/zero")),
    Case("a terminal", COPY, "can't read", 2, prepare=link(".dockerignore", "/dev/tty")),
    Case(
        "a circle",
        LIST,
        prints=". ./.dockerignore ./f ",
        prepare=link(".dockerignore", ".dockerignore"),
    ),
    Case(
        "without permission", COPY, "Permission denied", 2, prepare=write(".dockerignore", mode=0)
    ),
    Case("no pattern", COPY, "malformed pattern", 2, prepare=write(".dockerignore", "f[\n")),
    Case(
        "control characters",
        COPY,
        "malformed pattern",
        2,
        prepare=write(".dockerignore", "\x1b[2J[\n"),
    ),
    Case(
        "no text",
        LIST,
        prints=". ./.dockerignore ./f ",
        prepare=write(".dockerignore", b"\xff\xfe\0\n"),
    ),
    Case(
        "many patterns",
        LIST,
        prints=". ./.dockerignore ./f ",
        prepare=write(".dockerignore", "**/a*b?c\n" * 20_000),
    ),
    Case(
        "exceptions to everything",
        LIST,
        prints=". ./f ",
        prepare=both(write(".dockerignore", "*\n!f\n" * 10_000), write("g")),
    ),
    Case(
        "paths above",
        LIST,
        prints=". ./.dockerignore ./f ",
        prepare=write(".dockerignore", "../outside\n/../..\n!../outside/canary\n"),
    ),
    Case(
        "of the Dockerfile, a FIFO",
        COPY,
        "not a regular file",
        2,
        prepare=lambda place: os.mkfifo(place.directory / "Dockerfile.dockerignore"),
    ),
]

DOCKERFILES = [
    Case("a FIFO", "", "not a regular file", options=WHERE, prepare=fifo("Dockerfile")),
    Case("a directory", "", "Is a directory", options=WHERE, prepare=directory("Dockerfile")),
    Case(
        "a socket",
        "",
        "can't read",
        options=WHERE,
        prepare=both(
            listener, lambda place: (place.context / "s").rename(place.context / "Dockerfile")
        ),
    ),
    Case(
        "a device", "", "not a regular file", options=WHERE, prepare=link("Dockerfile", "/dev/zero")
    ),
    Case(
        "a circle", "", "Too many levels", options=WHERE, prepare=link("Dockerfile", "Dockerfile")
    ),
    Case("missing", "", "No such file", options=WHERE),
    Case(
        "without permission",
        "",
        "Permission denied",
        options=WHERE,
        prepare=write("Dockerfile", "FROM bb\n", mode=0),
    ),
    Case(
        "a hole of a terabyte",
        "",
        "more than 16384 kiB",
        options=WHERE,
        prepare=both(
            write("Dockerfile"), lambda place: os.truncate(place.context / "Dockerfile", 1 << 40)
        ),
    ),
    Case("a file of the host", "", "unknown instruction", 1, options=("-f", "/etc/hostname")),
]

Member = tuple[str, bytes, str]


def archive(*members: Member, raw: bytes = b"") -> Prepare:
    """Return a function that makes ``c.tar`` of names, types and link targets; or of ``raw``."""

    def prepare(place: Place) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, kind, target in members:
                info = tarfile.TarInfo(name.replace("OUTSIDE", str(place.outside)))
                info.type, info.mode = kind, 0o755
                info.linkname = target.replace("OUTSIDE", str(place.outside))
                info.size = 4 if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(b"evil"))
        (place.directory / "c.tar").write_bytes(raw or out.getvalue())
        (place.context / "c.tar").write_bytes(raw or out.getvalue())

    return prepare


NAMED = ("--build-context", "c=c.tar")
FILE, DIRECTORY, SYMLINK, HARDLINK = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
)
ESCAPES: dict[str, tuple[tuple[Member, ...], str]] = {
    "a name upwards": ((("../outside/new", FILE, ""),), '".." in it'),
    "a name upwards inside": ((("a/../../outside/new", FILE, ""),), '".." in it'),
    "an absolute name": ((("OUTSIDE/new", FILE, ""),), ""),
    "a file behind a symlink": ((("l", SYMLINK, "OUTSIDE"), ("l/new", FILE, "")), ""),
    "a file behind a symlink upwards": (
        (("l", SYMLINK, "../../../../../../.."), ("l/tmp/new", FILE, "")),
        "",
    ),
    "a directory over a symlink": (
        (("l", SYMLINK, "OUTSIDE"), ("l", DIRECTORY, ""), ("l/new", FILE, "")),
        "",
    ),
    "a hard link to the host": ((("l", HARDLINK, "OUTSIDE/canary"),), "is not there"),
    "a hard link upwards": ((("l", HARDLINK, "../../outside/canary"),), '".." in it'),
    "a hard link to a symlink": ((("s", SYMLINK, "OUTSIDE/canary"), ("l", HARDLINK, "s")), ""),
    "a hard link behind a symlink": (
        (("s", SYMLINK, "OUTSIDE"), ("l", HARDLINK, "s/canary")),
        "is not there",
    ),
    "a device": ((("zero", tarfile.CHRTYPE, ""),), ""),
    "a FIFO": ((("p", tarfile.FIFOTYPE, ""),), ""),
    "a file in a file": ((("a", FILE, ""), ("a/b", FILE, "")), "is not a directory"),
}


def archive_cases() -> Generator[Case]:
    for name, (members, says) in ESCAPES.items():
        yield Case(
            f"context of {name}",
            "FROM bb\nCOPY --from=c . /d/\n",
            says,
            options=NAMED,
            prepare=archive(*members),
        )
        yield Case(
            f"ADD of {name}",
            "FROM bb\nRUN mkdir /d\nADD c.tar /d/\n",
            says,
            3 if says else 0,
            prepare=archive(*members),
        )


ARCHIVES = [
    *archive_cases(),
    Case(
        "ADD over a symlink of the image",
        "FROM bb\nRUN mkdir /d && ln -s OUTSIDE /d/l\nADD c.tar /d/\n",
        prepare=archive(("l/new", FILE, "")),
    ),
    Case(
        "ADD of noise",
        "FROM bb\nADD c.tar /d/\nRUN ls /d\n",
        prints="c.tar\n",
        prepare=archive(raw=os.urandom(4096)),
    ),
    Case(
        "context of noise",
        "FROM bb\nCOPY --from=c . /d/\n",
        "can't unpack",
        options=NAMED,
        prepare=archive(raw=os.urandom(4096)),
    ),
    Case(
        "context that is cut",
        "FROM bb\nCOPY --from=c . /d/\n",
        "can't unpack",
        options=NAMED,
        prepare=both(
            archive(("a", FILE, "")), lambda place: os.truncate(place.directory / "c.tar", 700)
        ),
    ),
    Case("context that is nothing", "FROM bb\n", "can't read", options=NAMED, usage=True),
    Case(
        "context that is a FIFO",
        "FROM bb\nCOPY --from=c . /\n",
        "must be a directory",
        options=("--build-context", "c=context/p"),
        prepare=fifo("p"),
        usage=True,
    ),
    Case(
        "context that is a device",
        "FROM bb\nCOPY --from=c . /\n",
        "must be a directory",
        options=("--build-context", "c=/dev/zero"),
        usage=True,
    ),
    Case(
        "context that is a symlink",
        "FROM bb\nCOPY --from=c f /x\nRUN cat /x\n",
        prints="file\n",
        options=("--build-context", "c=context/l"),
        prepare=link("l", "CONTEXT"),
    ),
    Case(
        "context without a name",
        "FROM bb\n",
        "no name",
        options=("--build-context", "=c"),
        usage=True,
    ),
]

CASES = {
    f"{kind}: {case.name}": case
    for kind, cases in {
        "files": FILES,
        "ignore file": IGNORE,
        "Dockerfile": DOCKERFILES,
        "archives": ARCHIVES,
    }.items()
    for case in cases
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    return make_storage(tmp_path_factory.mktemp("contexts"), busybox_tar)


@pytest.fixture
def place(storage: Path, tmp_path: Path) -> Generator[Place]:
    yield Place(tmp_path, storage)
    for name in ("x", "f"):
        if os.path.isdir(tmp_path / "context" / name):
            (tmp_path / "context" / name).chmod(0o755)
    shutil.rmtree(tmp_path / "context/d", ignore_errors=True)


@pytest.mark.parametrize("name", CASES)
def test_context(name: str, place: Place) -> None:
    place.attempt(CASES[name])


# While a build copies, another process exchanges the files in the context as fast as it can.

EXCHANGE = """
import os, sys
from sundog.base.kernel.files import RENAME_EXCHANGE, renameat2
one, other = (os.fsencode(name) for name in sys.argv[1:])
print("ready", flush=True)
parent = os.getppid()
while os.getppid() == parent:
    renameat2(-100, one, -100, other, RENAME_EXCHANGE)
"""
REFILL = """
import os, sys
print("ready", flush=True)
parent = os.getppid()
data = b"x" * 65536
while os.getppid() == parent:
    with open(sys.argv[1], "wb", 0) as file:
        for _ in range(int(sys.argv[2])):
            file.write(data)
"""


@pytest.fixture
def meanwhile() -> Generator[Callable[..., None]]:
    """Start a program that runs until the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: str | Path) -> None:
        argv = [sys.executable, "-c", program, *map(str, arguments)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    yield start
    for process in started:
        process.kill()
        process.communicate()


SWAPPED = {
    "directory in a directory": (COPY, "d/inner"),
    "directory that is the source": ("FROM bb\nCOPY d/inner /d/\n", "d/inner"),
    "directory above the source": ("FROM bb\nCOPY d/inner/canary /x\n", "d/inner"),
    "pattern": ("FROM bb\nCOPY d/inner/c* /d/\n", "d/inner"),
    "exclusion": ("FROM bb\nCOPY --exclude=z* d /d/\n", "d/inner"),
    "parents": ("FROM bb\nCOPY --parents ./d/inner/canary /d/\n", "d/inner"),
    "file": (COPY, "d/inner/canary"),
    "bind mount": ("FROM bb\nRUN --mount=source=d/inner,target=/m cp -r /m /d\n", "d/inner"),
}
ROUNDS = 12


@pytest.mark.parametrize("what", SWAPPED)
def test_swap_of_directory_and_symlink(
    what: str, place: Place, meanwhile: Callable[..., None]
) -> None:
    """Files outside are never copied: the build copies the context's own, or prints one error."""
    text, name = SWAPPED[what]
    for number in range(3):
        write(f"d/a{number}")(place)
    write("d/inner/canary", "harmless")(place)
    swapped = place.context / name
    target = place.outside / "canary" if swapped.is_file() else place.outside
    (place.context / "other").symlink_to(target)
    meanwhile(EXCHANGE, swapped, place.context / "other")
    outside, outcomes = place.look_outside(), set()
    for _ in range(ROUNDS):
        layers = place.layers()
        status, out, err = place.build(Case("", text))
        outcomes.add(status)
        assert "Traceback" not in err, err
        assert err.count("error: ") <= 1, err
        assert status == 0 or "Dockerfile:2: " in err, err
        assert CANARY not in os.fsencode(out + err)
        for layer in place.layers() - layers:
            assert not place.holds_secret(layer)
    assert place.look_outside() == outside
    assert outcomes <= {0, 1}


@pytest.mark.parametrize("blocks", [1, 200])
def test_file_that_grows_and_shrinks(
    blocks: int, place: Place, meanwhile: Callable[..., None]
) -> None:
    """It is copied in a length that it had at some time, or refused; the build always ends."""
    write("x")(place)
    meanwhile(REFILL, place.context / "x", str(blocks))
    for _ in range(3):
        status, _, err = place.build(Case("", COPY))
        assert "Traceback" not in err
        assert status == 0 or "Dockerfile:2: can't copy" in err, err


def test_file_that_only_grows(place: Place, meanwhile: Callable[..., None]) -> None:
    write("x")(place)
    meanwhile(REFILL, place.context / "x", str(1 << 40))
    status, out, err = place.build(Case("", COPY + "RUN stat -c %s /d/x\n"))
    assert status == 0, err
    assert int(out) % 65536 == 0
    os.truncate(place.context / "x", 0)
