"""The compiled ``ch-run`` with random command lines and damaged files.

It never crashes.  If it serves a start, the launcher in Python has the same result.
"""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.record.stack import ImageStack, pack_stack
from tests.runtime.fuse.conftest import make_squashfs
from tests.runtime.launcher.compiled import Compiled, leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT, make_image
from tests.runtime.launcher.storages import ENVIRONMENT_TEXT, fill_storage, make_storage

pytestmark = pytest.mark.slow  # no Python is in it

SHOW = "busybox cut -d' ' -f5,6 /proc/self/mountinfo; id; env; pwd"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    storage = fill_storage(make_storage(place / "storage"))
    for uid, gid in ((os.geteuid(), os.getegid()), (0, 0), (0, os.getegid()), (os.geteuid(), 0)):
        leave_accounts(storage, uid, gid)
    make_squashfs(make_image(place / "directory"), place / "file")
    (place / "data").mkdir()
    (place / "vars").write_text("A=1\nB=$A\n")
    return place


def judge(compiled: Compiled, place: Path, words: list[bytes]) -> None:
    """Start the compiled program; if it serves the start, Python must have the same result."""
    outcomes = []
    for kind in ("compiled", "python"):
        done = subprocess.run(
            [compiled.command, *words],
            env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage"), "SUNDOG_START": kind},
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert 0 <= done.returncode < 128, (words, done)
        lines = done.stdout.replace(f"SUNDOG_START={kind}".encode(), b"").splitlines()
        outcomes.append((done.returncode, lines))
        if kind == "compiled" and b"]: error: " in done.stderr:
            assert done.returncode in (31, 49)
            assert done.stdout == b""
            assert done.stderr.count(b"\n") == 1
            assert b"declined: " in done.stderr
            return
    assert outcomes[0] == outcomes[1], words


OPTIONS = st.sampled_from(
    [
        *("-W", "-W=", "-W1m", "-W0", "-Wx", "-W1,size=2", "--write-fake=50%", "-t", "-tW", "-w"),
        *("-u0", "-g0", "-u", "0", "--uid=4294967294", "--no-passwd", "--seccomp", "-c/mnt", "-c"),
        *(
            "/",
            "--cd=..",
            "-c/etc/passwd",
            "-bdata:/mnt",
            "-bdata:/new",
            "-bdata",
            "-b/:/mnt",
            "-b",
        ),
        *(
            "data:/proc",
            "-bvars:/etc/group",
            "-bvars:/mnt",
            "-bfile:/mnt",
            "-bfile:/new",
            "-b/dev/null:/etc/x/y",
            "-b/usr:/tmp/x",
        ),
        *("--set-env", "--set-env0", "--set-env=vars", "--set-env=X=$A", "--set-env=PATH=", "--"),
        *("--unset-env=*", "--unset-env=PATH", "--env-no-expand", "--set-env=", "-s", "storage"),
        *(
            "-s./storage//",
            "-snowhere",
            "--storage=data",
            "--set",
            "--no",
            "-v",
            "-",
            "-z",
            "--help",
        ),
    ]
)
IMAGES = st.sampled_from(
    ["app", "tree", "directory", "./directory/", "library/app:latest", "APP", ".", "file"]
)


@given(before=st.lists(OPTIONS, max_size=5), image=IMAGES, after=st.lists(OPTIONS, max_size=2))
@settings(max_examples=150, deadline=None)
def test_command_lines(
    compiled: Compiled, place: Path, before: list[str], image: str, after: list[str]
) -> None:
    words = [*before, image, *after, "--", "/bin/sh", "-c", SHOW]
    judge(compiled, place, list(map(os.fsencode, words)))


@given(words=st.lists(st.binary(max_size=8), max_size=6))
@settings(max_examples=100, deadline=None)
def test_any_words(compiled: Compiled, place: Path, words: list[bytes]) -> None:
    judge(compiled, place, [word.replace(b"\0", b"x") for word in words])


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw a file that is cut, or in which bytes are replaced, removed or added."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        piece = st.sampled_from(
            [b"", b"\0", b"\n", b"=", b"1", b"9", b"/", b"..", b":", b"\xff", b"$A"]
        )
        data[at : at + draw(st.integers(0, 3))] = draw(piece)
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


COMMAND = [b"/bin/sh", b"-c", b"id; env; pwd; cat /below; ls /"]  # no damage adds to its output
STACK = pack_stack(ImageStack([b"top", b"base"], b"", COMMAND, [b"x"], b"/mnt", user=b"u"))
FLAT = pack_stack(ImageStack([b"base"], b"flat", COMMAND))


@given(stack=damaged(STACK) | damaged(FLAT), has_command=st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_stacks(
    compiled: Compiled, place: Path, stack: bytes, *, has_command: bool
) -> None:
    file = place / "storage" / "images" / "docker.io%library%app+latest" / "stack"
    before = file.read_bytes()
    file.write_bytes(stack)
    try:
        judge(compiled, place, [b"app", *([b"--", *COMMAND] if has_command else [])])
    finally:
        file.write_bytes(before)


@given(text=damaged(ENVIRONMENT_TEXT.encode()), option=st.sampled_from(["--set-env", "--set-env0"]))
@settings(max_examples=100, deadline=None)
def test_damaged_environments(compiled: Compiled, place: Path, text: bytes, option: str) -> None:
    root = place / "storage" / "images" / "docker.io%library%app+latest" / "root"
    file = root / "ch" / "environment"
    file.write_bytes(text)
    try:
        judge(compiled, place, [option.encode(), b"app", b"--", *COMMAND])
    finally:
        file.write_text(ENVIRONMENT_TEXT)
