"""``ch-run oci:PATH[:TAG]``: layouts and archives, brought into storage once, and run by name."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sundog.base.record.known_layouts import KnownLayout
from sundog.errors import SundogError
from sundog.runtime.launcher.asked import read_answer
from tests.conftest import Completed, command, run_program

LOADING = "loading image: "
NAME = re.compile(r"localhost/oci@sha256:[0-9a-f]{64}")


class Place:
    """A directory with layouts and archives, and a storage directory that is empty at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"CH_IMAGE_STORAGE": str(path / "storage")}

    def run(self, *words: str, check: bool = True, **env: str) -> Completed:
        argv = [*command("ch-run"), *words]
        return run_program(argv, check=check, env=self.environment | env, cwd=self.path)

    def image(self, *words: str) -> Completed:
        return run_program([*command("ch-image"), *words], env=self.environment)

    def names(self) -> list[str]:
        return self.image("list").stdout.split()

    def say(self, layout: str) -> str:
        """Return what the container of a layout has in its file /which."""
        return self.run(layout, "--", "cat", "/which").stdout.strip()


def tool(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Make layouts and archives, by our own programs, skopeo and umoci."""
    path = tmp_path_factory.mktemp("layouts")
    maker = Place(path)
    maker.image("import", str(busybox_tar), "bb")
    for name in ("one", "two"):
        (path / "Dockerfile").write_text(f"FROM bb\nRUN echo {name} >/which\nCMD cat /which\n")
        maker.image("build", "-t", name, str(path))

    def convert(*words: str) -> None:
        argv = [*command("ch-convert"), "-q", *words]
        run_program(argv, env=maker.environment, cwd=path)

    convert("one", "-o", "oci-dir", "./ours")
    convert("one", "-o", "oci-archive", "./ours.tar")
    convert("one", "-o", "docker-archive", "./docker.tar")
    convert("two", "-o", "oci-archive", "./two.tar")
    tool("skopeo", "copy", f"oci-archive:{path}/ours.tar", f"oci:{path}/several:first")
    tool("skopeo", "copy", f"oci-archive:{path}/two.tar", f"oci:{path}/several:second")
    tool("umoci", "config", "--image", f"{path}/several:second", "--config.cmd", "pwd")
    tool("skopeo", "copy", f"oci:{path}/several:first", f"oci-archive:{path}/skopeo.tar:tag")
    tool("gzip", "-k", path / "skopeo.tar")
    shutil.rmtree(path / "storage")
    return path


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Place:
    """Return a copy of the layouts, which a test may change, with a storage of its own."""
    shutil.copytree(made, tmp_path / "place")
    return Place(tmp_path / "place")


def test_every_form_of_an_image_runs_and_equal_content_is_loaded_once(place: Place) -> None:
    forms: tuple[str, ...] = (
        "oci:ours",
        "oci:ours.tar",
        "oci-archive:ours.tar",
        f"oci:{place.path}/several:first",
    )
    forms = (*forms, "oci-archive:skopeo.tar:tag", "oci:skopeo.tar.gz")
    assert {form: place.say(form) for form in forms} == dict.fromkeys(forms, "one")
    ours, *others = place.names()
    assert NAME.fullmatch(ours)
    # skopeo has written the manifest anew, if at all: its own forms have one name.
    assert len(others) <= 1
    assert place.say("docker-archive:docker.tar") == "one"
    assert len([name for name in place.names() if name.startswith("localhost/docker@")]) == 1


def test_the_default_command_is_that_of_the_image(place: Place) -> None:
    assert place.run("oci:several:first").stdout == "one\n"
    assert place.run("oci:several:second").stdout == "/\n"


def test_ch_convert_knows_the_same_tags(place: Place) -> None:
    words = ("-q", "oci:several:first", "./directory")
    run_program([*command("ch-convert"), *words], env=place.environment, cwd=place.path)
    assert (place.path / "directory/which").read_text() == "one\n"


def traced(place: Place, *words: str) -> list[str]:
    log = place.path / "trace"
    argv = ["strace", "-f", "-qq", "-e", "trace=execve,open,openat,openat2", "-o", str(log)]
    run_program([*argv, *command("ch-run"), *words], env=place.environment, cwd=place.path)
    return [line for line in log.read_text().splitlines() if "ENOENT" not in line]


@pytest.mark.parametrize("layout", ["oci:skopeo.tar.gz", "oci:several:first"])
def test_a_second_start_reads_nothing_of_the_layout(place: Place, layout: str) -> None:
    first = traced(place, layout, "--", "true")
    path = layout.split(":")[1]
    assert [line for line in first if path in line and "open" in line]
    assert [line for line in first if "layout_loader" in line]
    second = traced(place, layout, "--", "true")
    assert not [line for line in second if path in line and "open" in line]
    assert not [line for line in second if "layout_loader" in line or "/json/" in line]


def test_a_copy_is_recognised_by_its_manifest(place: Place) -> None:
    place.say("oci:ours.tar")
    shutil.copy(place.path / "ours.tar", place.path / "copy.tar")
    done = place.run("-v", "oci:copy.tar", "--", "cat", "/which")
    assert (done.stdout, LOADING in done.stderr) == ("one\n", False)
    assert len(place.names()) == 1


def test_a_layout_that_changes_runs_its_new_content(place: Place) -> None:
    assert place.say("oci:several:first") == "one"
    tool("skopeo", "copy", f"oci-archive:{place.path}/two.tar", f"oci:{place.path}/several:first")
    assert place.say("oci:several:first") == "two"


def test_starts_at_the_same_time_load_once(place: Place) -> None:
    with ThreadPoolExecutor(6) as pool:
        words = ("-v", "oci:ours.tar", "--", "cat", "/which")
        done = list(pool.map(lambda _: place.run(*words), range(6)))
    assert [each.stdout for each in done] == ["one\n"] * 6
    assert sum(LOADING in each.stderr for each in done) == 1


def test_the_user_sees_the_image_and_can_delete_it(place: Place) -> None:
    place.say("oci:ours")
    (name,) = place.names()
    assert NAME.fullmatch(name)
    assert place.run(name, "--", "cat", "/which").stdout == "one\n"
    place.image("delete", name)
    assert place.names() == []
    assert place.say("oci:ours") == "one"
    assert place.names() == [name]


def test_dry_run_tells_and_loads_nothing(place: Place) -> None:
    told = place.run("--dry-run", "oci:ours", "--", "cat", "a b").stdout.splitlines()
    name = NAME.search(told[0])
    assert name is not None
    assert told[0] == f"load oci:ours into the storage directory as {name.group()}"
    assert told[1:] == ['executing: cat "a b"']
    assert place.names() == []
    place.say("oci:ours")
    told = place.run("--dry-run", "oci:ours", "--", "true").stdout.splitlines()
    assert (told[0], told[-1]) == (f"image: {name.group()}", "executing: true")


def test_a_name_in_storage_and_a_file_come_first(place: Place, busybox_tar: Path) -> None:
    place.image("import", str(busybox_tar), "oci:ours")
    assert place.run("oci:ours", "--", "cat", "/which", check=False).returncode == 1
    place.image("delete", "oci:ours")
    assert place.say("oci:ours") == "one"
    (place.path / "oci:ours" / "dev").mkdir(parents=True)
    assert "/oci:ours" in place.run("--dry-run", "oci:ours", "--", "true").stdout


def test_quiet_unless_it_is_told_to_speak(place: Place) -> None:
    assert place.run("oci:ours", "--", "true").stderr == ""


def test_no_other_program_is_run(place: Place) -> None:
    strange = place.path / "strange"
    strange.mkdir()
    for name in ("ch-image", "python", "python3", Path(os.path.realpath("/proc/self/exe")).name):
        (strange / name).write_text(f"#!/bin/sh\ntouch {strange}/run\n")
        (strange / name).chmod(0o755)
    (strange / "sundog.py").write_text(f"open('{strange}/run', 'w')\n")
    path = f"{strange}:{os.environ['PATH']}"
    done = place.run("oci:ours", "--", "true", PATH=path, PYTHONPATH=str(strange))
    assert done.returncode == 0
    assert not (strange / "run").exists()


def failure(place: Place, *words: str) -> tuple[str, str]:
    done = place.run(*words, "--", "true", check=False)
    assert done.returncode == 31
    lines = [re.sub(r"^ch-run\[\d+\]: ", "", line) for line in done.stderr.splitlines()]
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], lines
    return lines[0], lines[1]


def test_errors_are_one_line_and_a_hint(place: Place) -> None:
    error, hint = failure(place, "oci:several")
    assert "it holds 2 images: first, second" in error
    assert "TAG" in hint
    error, hint = failure(place, "oci:several:third")
    assert "it holds no image third" in error
    assert hint == "hint: it holds: first, second"
    assert "image not found: oci:nowhere" in failure(place, "oci:nowhere")[0]
    assert "image not found: oci:" in failure(place, "oci:")[0]
    (place.path / "index.json").write_text("{}")
    assert "neither an OCI layout nor an archive" in failure(place, "oci:.")[0]
    (place.path / "\033[1m.tar").write_bytes(b"no tar")
    error, _ = failure(place, "oci:\033[1m.tar")
    assert "\033" not in error
    assert place.names() == []


def test_a_damaged_layer_leaves_nothing(place: Place) -> None:
    blobs = sorted(
        (place.path / "ours/blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size
    )
    content = bytearray(blobs[-1].read_bytes())
    content[len(content) // 2] ^= 1
    blobs[-1].write_bytes(content)
    failure(place, "oci:ours")
    assert place.names() == []
    assert not (place.path / "storage/layouts").exists()


def test_a_group_runs_a_layout(place: Place) -> None:
    words = ("--join-tag", f"oci-{os.getpid()}", "oci:ours")
    assert place.run(*words, "--", "cat", "/which").stdout == "one\n"
    assert place.run(*words).stdout == "one\n"


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(SundogError, match="has died"):
        read_answer("oci:x", b"")
    with pytest.raises(SundogError, match="can't run oci:x: why"):
        read_answer("oci:x", b"error\0why\0hint")
    assert read_answer("oci:x", b"image\0name\0there") == (b"name", True)


def test_a_record_holds_only_for_its_layout_and_state(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(b"1")
    path = os.fsencode(file)
    record = KnownLayout(path, b"tag").pack("localhost/name")
    assert KnownLayout(path, b"tag").unpack(record) == "localhost/name"
    assert KnownLayout(path, b"").unpack(record) is None
    os.link(file, tmp_path / "b.tar")
    assert KnownLayout(os.fsencode(tmp_path / "b.tar"), b"tag").unpack(record) is None
    file.write_bytes(b"22")
    assert KnownLayout(path, b"tag").unpack(record) is None
