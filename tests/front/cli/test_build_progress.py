"""``ch-image build --progress``: for viewers of BuildKit's builds, and for people."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.front.cli.solve_status import Progress
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner

Completed = subprocess.CompletedProcess[bytes]
RAW = "--progress=rawjson"

STAGES = """
ARG BASE=bb
FROM $BASE AS build
RUN echo out; echo err >&2; echo made >/made
ENV A=1 B=2
FROM bb
COPY --from=build /made /
RUN cat /made
"""


@pytest.fixture
def build(storage: Path, tmp_path: Path, run_ch_image: Runner, bb: str) -> Callable[..., Completed]:
    """Build a Dockerfile; return what was printed, as bytes."""

    def run(text: str | bytes, *options: str) -> Completed:
        (tmp_path / "Dockerfile").write_bytes(text if isinstance(text, bytes) else text.encode())
        return subprocess.run(
            [*command("ch-image"), "build", "-t", "x", *options, tmp_path],
            env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    return run


def test_vertices_of_a_build_and_of_its_repetition(build: Callable[..., Completed]) -> None:
    done = build(STAGES, RAW)
    assert (done.returncode, done.stdout) == (0, b"")
    first = Progress(done.stderr)
    assert first.names == [
        "ARG BASE='bb'",
        "[build 1/3] FROM bb AS build",
        "[build 2/3] RUN.S echo out; echo err >&2; echo made >/made",
        "[build 3/3] ENV A='1'",
        "[build 3/3] ENV B='2'",
        "[stage-1 1/3] FROM bb",
        "[stage-1 2/3] COPY --from=build ['/made'] -> '/'",
        "[stage-1 3/3] RUN.S cat /made",
    ]
    made = "echo made >/made"
    assert first.output(made, 1) == b"out\n"
    assert first.output(made, 2) == b"err\n"
    assert first.output("cat /made", 1) == b"made\n"
    assert "grown in 8 instructions: x" in first.messages
    base = first.vertex("FROM bb AS build")
    assert first.vertex(made)["inputs"] == [base["digest"]]
    assert first.vertex("FROM bb")["inputs"] == [first.vertex("ENV B='2'")["digest"]]
    assert not any("error" in vertex for vertex in first.vertexes.values())
    assert [one["name"] for one in first.vertexes.values() if one.get("cached")] == [
        "[build 1/3] FROM bb AS build",
        "[stage-1 1/3] FROM bb",
    ]
    again = Progress(build(STAGES, RAW).stderr)
    cached = [one["name"] for one in again.vertexes.values() if one.get("cached")]
    assert cached == again.names[1:]
    assert again.output(made, 1) == b""


# Control characters, invalid UTF-8, NUL, and a line without an end.
HOSTILE = r"""
FROM bb
RUN printf '\033[2J\377\376\r\n\000"}]\\\n\342\200\256'; printf '\033]0;x\007' >&2
RUN head -c 3000000 /dev/zero | tr '\0' 'x'; yes '"' | head -n 20000 >&2
"""


def test_hostile_output(build: Callable[..., Completed]) -> None:
    progress = Progress(build(HOSTILE, RAW).stderr)
    controls, long = progress.names[1:]
    assert progress.output(controls, 1) == b'\033[2J\xff\xfe\r\n\0"}]\\\n\xe2\x80\xae'
    assert progress.output(controls, 2) == b"\033]0;x\007"
    assert progress.output(long, 1) == b"x" * 3000000
    assert progress.output(long, 2) == b'"\n' * 20000


def test_hostile_instructions(build: Callable[..., Completed]) -> None:
    text = b"FROM bb\nENV A=\x1b[2J\nRUN true \xff\nRUN : " + b"y" * 100000 + b"\n"
    text += f"RUN {chr(0x1D518) * 5000}; false\n".encode()
    progress = Progress(build(text, RAW).stderr)
    assert "[3/5] RUN.S true \\udcff" in progress.names
    assert "[2/5] ENV A='\\x1b[2J'" in progress.names
    assert max(map(len, progress.names)) < 1100
    assert len(progress.names) == 5


@pytest.mark.parametrize(
    ("text", "vertex", "message"),
    [
        ("FROM bb\nRUN echo last; exit 7\nRUN true", "exit 7", "RUN command exited with 7"),
        ("FROM bb\nCOPY nothing /", "-> '/'", "nothing"),
        ("FROM bb\nNONSENSE", "[internal] ch-image", "NONSENSE"),
        ("FROM localhost:9/x", "FROM localhost:9/x", "localhost:9"),
        ("FROM nothing AS a\nFROM b:!", "[internal] ch-image", "b:!"),
    ],
)
def test_errors(build: Callable[..., Completed], text: str, vertex: str, message: str) -> None:
    done = build(text, RAW)
    assert done.returncode == 1
    progress = Progress(done.stderr)
    failed = [one for one in progress.vertexes.values() if "error" in one]
    assert len(failed) == 1
    assert failed[0]["name"].endswith(vertex)
    assert message in failed[0]["error"]
    assert "error: " in progress.messages


def test_warnings(build: Callable[..., Completed]) -> None:
    progress = Progress(build("FROM bb\nUSER nobody\nRUN true", RAW).stderr)
    (warning,) = progress.warnings
    assert warning["short"].startswith(b"RUN stays root after USER")
    assert progress.vertexes[warning["vertex"]]["completed"] <= progress.vertex("true")["started"]


def test_transfers(build: Callable[..., Completed], run_ch_image: Runner, storage: Path) -> None:
    with InProcessRegistry().serve() as registry:
        run_ch_image("push", "bb", f"{registry.host}/bb:1")
        progress = Progress(build(f"FROM {registry.host}/bb:1", RAW, "--always-download").stderr)
    (vertex,) = (progress.vertex(name) for name in progress.names)
    done = [status for status in progress.statuses if "completed" in status]
    assert done
    for status in done:
        assert status["vertex"] == vertex["digest"]
        assert status["current"] == status["total"] > 0


def test_modify_and_quiet_together(run_ch_image: Runner, bb: str) -> None:
    done = run_ch_image("modify", RAW, "-c", "echo hello", "bb", "new")
    assert Progress(done.stderr.encode()).output("echo hello", 1) == b"hello\n"
    done = run_ch_image("modify", RAW, "-qq", "-c", "echo hello; exit 1", "bb", "new", check=False)
    progress = Progress(done.stderr.encode())
    assert progress.output("exit 1", 1) == b""
    assert progress.vertex("exit 1")["error"].startswith("build failed")


def test_for_people(build: Callable[..., Completed]) -> None:
    text = "FROM bb\nRUN echo out; echo err >&2"
    auto = build(text)
    plain = build(text, "--progress=plain", "--rebuild")
    assert plain.stdout == auto.stdout == b"out\n"
    assert b"grown in 2 instructions" in plain.stderr
    quiet = build(text, "--progress=quiet", "--rebuild")
    assert (quiet.stdout, quiet.stderr) == (b"", b"")
    failed = build("FROM bb\nRUN echo why >&2; false", "--progress=quiet")
    assert failed.returncode == 1
    assert b"why" in failed.stderr
    assert b"exited with 1" in failed.stderr
    wrong = build(text, "--progress=nonsense")
    assert wrong.returncode == 2
    assert b"nonsense" in wrong.stderr
