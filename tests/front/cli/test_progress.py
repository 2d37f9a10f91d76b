"""Progress on a terminal: bytes, times, stages; what is finished stays as a line.

Elsewhere there is nothing of it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.builder.git_server import git, serving_git
from tests.image.builder.web import serving
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

SIZE = 3 << 20
AMOUNT = r"[\d.]+ MiB in [\d.]+ s"


@pytest.fixture
def place(tmp_path: Path, run_ch_image: Runner, bb: str) -> Path:
    """Return a directory with a large file and a tar of it; the image bb is in storage."""
    place = tmp_path / "place"
    (place / "tree").mkdir(parents=True)
    (place / "tree" / "large").write_bytes(os.urandom(SIZE))
    subprocess.run(["tar", "-C", place / "tree", "-cf", place / "large.tar", "."], check=True)
    return place


def on_terminal(storage: Path, place: Path, *words: str, term: str = "xterm") -> str:
    """Run a command with all output on a terminal; return what it wrote there."""
    controller, terminal = pty.openpty()
    said = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(controller, 1 << 16)
            except OSError:  # EIO: all writers have ended
                return
            said.extend(data)

    name, *rest = words
    with subprocess.Popen(
        [*command(name), *rest],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage), "TERM": term, "COLUMNS": "120"},
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ) as running:
        os.close(terminal)
        reader = threading.Thread(target=read)
        reader.start()
        assert running.wait(120) == 0
        reader.join()
    os.close(controller)
    return bytes(said).decode()


def plain(text: str) -> list[str]:
    """Return the lines of a terminal without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("ch-image import large.tar x", f"importing: {AMOUNT}"),
        ("ch-image import tree x", f"importing: {AMOUNT}"),
        ("ch-image save -o bb.tar bb", rf"layer 1/1: packing: {AMOUNT}"),
        ("ch-image build -t x .", f" +COPY: {AMOUNT}"),
        ("ch-convert bb bb.tar", rf"ch-convert: packing: {AMOUNT}"),
    ],
)
def test_bytes_that_moved_stay_as_a_line(words: str, line: str, place: Path, storage: Path) -> None:
    (place / "Dockerfile").write_text("FROM bb\nCOPY tree/large /\n")
    said = on_terminal(storage, place, *words.split())
    assert [text for text in plain(said) if re.fullmatch(line, text)], said
    assert said.rfind("\x1b[?25l") <= said.rfind("\x1b[?25h")  # the cursor is visible again


def test_files_from_elsewhere(place: Path, storage: Path, tmp_path: Path) -> None:
    work = tmp_path / "repositories" / "work"
    work.mkdir(parents=True)
    git(work, "init", "-q", "-b", "main")
    (work / "large").write_bytes(os.urandom(SIZE))
    (work / "Dockerfile").write_text("FROM bb\nCOPY large /\n")
    git(work, "add", "-A")
    git(work, "commit", "-qm", "one")
    git(work.parent, "clone", "-q", "--bare", "work", "public.git")
    with serving() as web, serving_git(work.parent) as repositories:
        web.files["/large"] = (place / "tree" / "large").read_bytes()
        sources = f"{web.url}/large", f"{repositories}/public.git"
        added = [f"ADD {source} /\n" for source in sources]
        (place / "Dockerfile").write_text("".join(["FROM bb\n", *added]))
        lines = plain(on_terminal(storage, place, "ch-image", "build", "-t", "x", "."))
        context = plain(on_terminal(storage, place, "ch-image", "build", "-t", "y", sources[1]))
    assert [text for text in lines if re.fullmatch(f"{sources[0]}: downloading: {AMOUNT}", text)]
    # A fetch of some milliseconds leaves no line.
    for printed in (lines, context):
        assert [text for text in printed if text.startswith(f"{sources[1]}: fetching")]


@pytest.mark.parametrize("words", ["delete large", "build-cache --gc", "reset"])
def test_what_is_deleted(words: str, place: Path, storage: Path, run_ch_image: Runner) -> None:
    if "gc" in words:  # the cache has what no image has any more
        (place / "Dockerfile").write_text("FROM bb\nCOPY tree/large /\n")
        run_ch_image("build", "-t", "large", ".", cwd=place)
        run_ch_image("delete", "large")
    else:
        run_ch_image("import", "large.tar", "large", cwd=place)
    said = on_terminal(storage, place, "ch-image", *words.split())
    assert [text for text in plain(said) if re.fullmatch(f"deleting: {AMOUNT}", text)], said


def test_a_push(place: Path, storage: Path) -> None:
    with InProcessRegistry().serve() as registry:
        target = f"{registry.host}/x:1"
        on_terminal(storage, place, "ch-image", "import", "large.tar", "x")
        said = on_terminal(storage, place, "ch-image", "push", "x", target)
    for step in ("packing", "uploading"):
        assert [text for text in plain(said) if re.search(f": {step}: {AMOUNT}$", text)], said


@pytest.mark.parametrize("term", ["dumb", ""])
def test_no_progress_where_it_cannot_be_drawn(term: str, place: Path, storage: Path) -> None:
    said = on_terminal(storage, place, "ch-image", "import", "large.tar", "x", term=term)
    assert " in " not in said
    assert "\x1b[?25l" not in said


def test_nothing_of_it_in_a_log(place: Path, storage: Path, run_ch_image: Runner) -> None:
    (place / "Dockerfile").write_text(
        "FROM bb AS one\nCOPY tree/large /\nFROM one\nRUN sleep 1.1\n"
    )
    for words in (
        ("import", "large.tar", "x"),
        ("build", "-t", "x", "."),
        ("save", "-o", "bb.tar", "bb"),
        ("list", "-l"),
    ):
        done = run_ch_image(*words, cwd=place)
        for text in ("\x1b", "MiB in", "stage 1/2", "took", "NAME"):
            assert text not in done.stdout + done.stderr


def test_stages_and_the_time_of_a_run(place: Path, storage: Path) -> None:
    (place / "Dockerfile").write_text("FROM bb AS one\nRUN sleep 1.1\nFROM one AS last\nRUN true\n")
    lines = plain(on_terminal(storage, place, "ch-image", "build", "-t", "x", "."))
    found = [line for line in lines if line.startswith("stage ")]
    assert found == ["stage 1/2: one", "stage 2/2: last"]
    assert lines.index("stage 2/2: last") < lines.index("  3* FROM one AS last")
    took = [line for line in lines if re.fullmatch(r"     RUN took [12]\.\d s", line)]
    assert len(took) == 1


def test_one_stage_is_not_announced(place: Path, storage: Path) -> None:
    (place / "Dockerfile").write_text("FROM bb\n")
    assert "stage" not in on_terminal(storage, place, "ch-image", "build", "-t", "x", ".")


def test_header_of_the_long_list(place: Path, storage: Path) -> None:
    header, row = plain(on_terminal(storage, place, "ch-image", "list", "-l"))[::2]
    assert header.split(" | ")[0].strip() == "NAME"
    assert row.split(" | ")[0].strip() == "bb"
    assert [at for at, c in enumerate(header) if c == "|"] == [
        at for at, c in enumerate(row) if c == "|"
    ]


def test_the_same_layer_with_and_without_a_terminal(
    place: Path, storage: Path, run_ch_image: Runner
) -> None:
    on_terminal(storage, place, "ch-image", "import", "large.tar", "x")
    run_ch_image("import", "large.tar", "y", cwd=place)
    found = json.loads(run_ch_image("inspect", "x", "y").stdout)
    assert len(found) == 2
    assert found[0]["layers"] == found[1]["layers"]
