"""A bind's destination that a read-only image lacks is made in a layer on top of the image."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages
from tests.runtime.launcher.storages import fill_storage, make_storage


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "file").write_text("host\n")
    return path


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return fill_storage(make_storage(tmp_path / "storage"))


def listing(path: Path) -> list[tuple[str, int, int]]:
    found = [path, *sorted(path.rglob("*"))]
    status = [place.lstat() for place in found]
    return [(str(p), s.st_mode, s.st_mtime_ns) for p, s in zip(found, status, strict=True)]


def test_directories_and_files(ch_run: ChRun, image: Path, data: Path) -> None:
    before = listing(image)
    binds = ("-b", f"{data}:/mnt/new/place", "-b", f"{data}/file:/mnt/new/x/y", "-b", f"{data}:/n")
    script = "cat /mnt/new/place/file /mnt/new/x/y /n/file; stat -c '%a %F' /mnt/new /n"
    script += "; ls /; touch /made /mnt/made /mnt/new/made 2>&1 | grep -c Read-only"
    done = ch_run("-t", *binds, image, "--", "sh", "-c", script)
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert lines[:4] == ["host"] * 3 + ["755 directory"]
    assert set(lines[5:-1]) == {path.name for path in image.iterdir()} | {"n"}
    assert lines[-1] == "3"
    assert listing(image) == before


def test_parents_have_the_modes_and_times_of_the_image(
    ch_run: ChRun, image: Path, data: Path
) -> None:
    (image / "opt" / "sub").mkdir(parents=True)
    (image / "opt" / "sub" / "kept").touch()
    for path, mode, time in (
        ("opt/sub", 0o2711, 10**9),
        ("opt", 0o1775, 2 * 10**9),
        ("", 0o751, 5),
    ):
        (image / path).chmod(mode)
        os.utime(image / path, (time, time))
    show = "stat -c '%a %Y' / /opt /opt/sub; ls /opt/sub"
    done = ch_run("-t", "-b", f"{data}:/opt/sub/new", image, "--", "sh", "-c", show)
    assert done.stdout.decode().split() == [
        *("751", "5", "1775", "2000000000", "2711", "1000000000", "kept", "new")
    ]


@pytest.mark.parametrize("name", ["app", "tree"])
def test_image_by_name(ch_run: ChRun, storage: Path, data: Path, name: str) -> None:
    before = listing(storage / "layers"), listing(storage / "skeleton"), listing(storage / "trees")
    show = "cat /a/b/file; test -e /below && cat /below"
    show += "; ls /; stat -c %d / /mnt /bin/busybox /bin/sh"
    done = ch_run("-b", f"{data}:/a/b", name, "--", "sh", "-c", show)
    lines = done.stdout.decode().splitlines()
    assert lines[: lines.index("a")] == (["host", "top"] if name == "app" else ["host"])
    assert len(set(lines[-4:])) == 1  # find -xdev sees one file system
    after = listing(storage / "layers"), listing(storage / "skeleton"), listing(storage / "trees")
    assert after == before


def test_a_mount_point_that_only_a_newer_storage_has(
    ch_run: ChRun, storage: Path, data: Path
) -> None:
    assert not (storage / "skeleton" / "mnt").exists()
    for _ in range(2):
        done = ch_run("-v", "-b", f"{data}:/mnt/9", "app", "--", "cat", "/mnt/9/file")
        assert done.stdout == b"host\n", done.stderr
        is_new = (storage / "skeleton" / "mnt").exists()
        assert (b"made /mnt/9 in a layer" in done.stderr) is not is_new
        (storage / "skeleton" / "mnt" / "9").mkdir(parents=True, exist_ok=True)


def test_only_a_missing_one_needs_the_layer(ch_run: ChRun, image: Path, data: Path) -> None:
    (data / "sub").mkdir()
    binds = ("-b", f"{data}:/mnt", "-b", f"{data}:/mnt/sub", "-b", f"{data}:/tmp/../mnt")
    show = ("cat", "/proc/self/mountinfo")
    done = ch_run("-t", *binds, image, "--", *show)
    root = [line for line in done.stdout.decode().splitlines() if line.split()[4] == "/"]
    assert len(root) == 1
    assert " - overlay " not in root[0]
    done = ch_run("-t", "-b", f"{data}:/new", image, "--", *show)
    points = [line.split()[4] for line in done.stdout.decode().splitlines()]
    assert points.count("/") == 1
    assert {point.split("/")[1] for point in points} <= {
        "",
        "dev",
        "proc",
        "sys",
        "tmp",
        "etc",
        "new",
    }
    done = ch_run("-t", "-v", *binds, image, "--", "true")
    assert not any("layer on top" in text for text in messages(done))
    done = ch_run("-t", "-v", "-b", f"{data}:/new", image, "--", "true")
    assert "made /new in a layer on top of the image" in messages(done)


def test_below_an_earlier_bind_nothing_is_made(ch_run: ChRun, image: Path, data: Path) -> None:
    for place in ("/mnt/new", "/tmp/x", "/dev/x", "/made/new"):
        top = "made" if place.startswith("/made") else "mnt"
        binds = ("-b", f"{data}:/{top}", "-b", f"{data}:{place}")
        done = ch_run(*binds, image, "--", "true", env={"TMPDIR": str(data)})
        assert done.returncode == 31, place
        assert messages(done)[0] == (
            f"error: can't bind: {place} is missing below another mount, where nothing is created"
        )
    assert os.listdir(data) == ["file"]


@pytest.mark.parametrize("write", [[], ["-W"]])
@pytest.mark.parametrize(
    "place",
    [
        "/new/../evil",
        "/new/../../../../made/evil",
        "/new/x/../../link/evil",
        "/link/new/../../evil",
    ],
)
def test_parents_of_missing_directories(
    ch_run: ChRun, image: Path, data: Path, place: str, write: list[str]
) -> None:
    """No ".." leads out of the layer: neither to the host nor over a link of the image."""
    (image / "made").mkdir()
    (image / "link").symlink_to("made")
    before = listing(image), listing(data), os.listdir("/")
    show = f"cat {place}/file; readlink /link"
    done = ch_run("-t", *write, "-b", f"{data}:{place}", image, "--", "sh", "-c", show)
    assert done.stdout == b"host\nmade\n", done.stderr
    assert (listing(image), listing(data), os.listdir("/")) == before


@pytest.mark.parametrize("options", [["-u0", "-g0"], ["--notify"], ["--seccomp"]])
def test_root(ch_run: ChRun, image: Path, data: Path, options: list[str]) -> None:
    script = (
        "cat /new/file; umount /new 2>/dev/null || umount -l / 2>/dev/null; ls -d /new /bin; id -u"
    )
    done = ch_run("-t", *options, "-b", f"{data}:/new", image, "--", "sh", "-c", script)
    user = str(os.getuid()) if options == ["--seccomp"] else "0"
    assert done.stdout.decode().split() == ["host", "/bin", "/new", user], done.stderr


def test_a_root_that_cannot_be_a_layer(installed: Path, image: Path, data: Path) -> None:
    """An overlay would hide a mount inside the image, so the kernel refuses to make it."""
    script = "mount -t tmpfs x $1/mnt && exec $0 -t -v -b $2:/new $1 -- true"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, installed, image, data],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    told = messages(done)
    assert done.returncode == 31
    assert any(text.startswith("can't make /new in a layer on top of the image: ") for text in told)
    assert told[-2:] == [
        "error: can't bind: /new is not in the image, which is read-only",
        "hint: use -W to create it for this one run",
    ]


def test_tmpfs(ch_run: ChRun, image: Path, data: Path) -> None:
    """--tmpfs makes its mount point, and binds make theirs in it; the image stays as it is."""
    before = listing(image)
    words = ["--tmpfs=/mnt", "--tmpfs", "/new:size=8k,mode=711,noexec", "-b", f"{data}:/mnt/a/b"]
    script = "cat /mnt/a/b/file; stat -c %a /mnt /new; cp /bin/busybox /new/ || echo full; "
    script += "echo '#!/bin/sh' >/new/x; chmod +x /new/x; /new/x || echo no"
    done = ch_run("-t", *words, image, "--", "sh", "-c", script)
    assert done.stdout.decode().split() == ["host", "1777", "711", "full", "no"]
    assert listing(image) == before
