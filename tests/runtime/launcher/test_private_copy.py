"""-W where the kernel refuses overlays: the command writes to a copy in memory."""

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.kernel.mounts import MS_RDONLY
from sundog.base.kernel.overlay import mount_layers
from sundog.base.record.owners import OwnerRecord, pack_owners
from sundog.errors import KernelError, SundogError
from sundog.runtime.container import private_copy
from sundog.runtime.container.enter import mount_scratch
from sundog.runtime.container.private_copy import LowersCopy, mount_copy
from sundog.runtime.container.root import DirectoryRoot
from tests.base.kernel.child import in_namespaces
from tests.front.doctor.causes import deny_argument, no_overlay
from tests.runtime.launcher.conftest import ENVIRONMENT, Completed, messages
from tests.runtime.launcher.storages import fill_storage, make_storage

REFUSED = "copying the image into memory: this machine refuses overlays"
SHOW = "cat /below; echo x >/bin/new && rm /below && ls /below /bin/new"


def run_refused(
    installed: Path,
    place: Path,
    *words: str | Path,
    refuse: Callable[[], None] = no_overlay,
) -> Completed:
    """Run ``ch-run`` where overlays that can be written to are refused."""
    return subprocess.run(
        [installed, *words],
        env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage")},
        cwd=place,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=refuse,
    )


def described(top: Path) -> dict[str, tuple[object, ...]]:
    """Return what a program sees of each file below ``top``; one number is one file."""
    found: dict[str, tuple[object, ...]] = {}
    numbers: dict[int, str] = {}
    for path in sorted(top.rglob("*")):
        name, status = str(path.relative_to(top)), path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        attributes = [
            (each, os.getxattr(path, each, follow_symlinks=False))
            for each in os.listxattr(path, follow_symlinks=False)
            if not each.startswith("user.overlay.")
        ]
        link = os.readlink(path) if path.is_symlink() else ""
        found[name] = (status.st_mode, content, link, status.st_mtime_ns, attributes)
        if not path.is_dir():
            found[name] += (status.st_nlink, numbers.setdefault(status.st_ino, name))
    found[""] = (top.stat().st_mode,)
    return found


def make_lowers(place: Path) -> list[bytes]:
    """Make two lowers, with all that one can hide of the other; return their paths, topmost first.

    The process must be mock root, for the marks.
    """
    base, top = place / "base", place / "top"
    for tree in (base, top):
        for made in ("both", "opaque/inner", "file", "gone", "link"):
            (tree / made).mkdir(parents=True)
        own = ("opaque/inner/" + tree.name, "both/" + tree.name)
        for made in ("both/same", "gone/x", "link/x", *own):
            (tree / made).write_text(made + tree.name)
    (base / "file" / "below").mkdir()
    (base / "empty").touch(0o4755)
    (base / "there").symlink_to("/nowhere")
    os.link(base / "both" / "base", base / "linked")
    os.mkfifo(base / "fifo", 0o640)
    with (base / "hole").open("wb") as file:
        file.truncate(1 << 22)
        file.seek(1 << 21)
        file.write(b"middle")
    os.setxattr(base / "empty", "user.kept", b"1")
    (base / "both").chmod(0o1777)
    for gone in (top / "gone" / "x", top / "file", top / "link" / "x"):
        subprocess.run(["rm", "-r", gone], check=True)
    for gone in (top / "gone", top / "link"):
        gone.rmdir()
    os.mknod(top / "gone", 0o020000, 0)
    (top / "file").write_text("now a file")
    (top / "link").symlink_to("both")
    os.setxattr(top / "opaque", "user.overlay.opaque", b"y")
    (top / "both").chmod(0o2700)
    for directory in (base, top):
        for path in sorted(directory.rglob("*"), reverse=True):
            if not path.is_symlink() and path.exists():
                os.utime(path, ns=(1, 1_000_000_001 + len(str(path))))
    return [os.fsencode(top), os.fsencode(base)]


def test_it_shows_what_an_overlay_shows(tmp_path: Path) -> None:
    def both() -> list[dict[str, tuple[object, ...]]]:
        lowers = make_lowers(tmp_path)
        overlay, target = tmp_path / "overlay", tmp_path / "copy"
        overlay.mkdir()
        target.mkdir()
        mount_layers(os.fsencode(overlay), lowers, flags=MS_RDONLY)
        copy = LowersCopy(os.open(target, os.O_PATH))
        for lower in reversed(lowers):
            copy.add(lower)
        copy.finish()
        assert copy.unread == 0
        return [described(overlay), described(target)]

    overlay, copy = in_namespaces(both)
    assert copy == overlay
    assert copy["linked"][-1] == "both/base"
    assert "gone" not in copy
    assert "opaque/inner/base" not in copy


def test_holes_stay_holes(tmp_path: Path) -> None:
    lower, target = tmp_path / "lower", tmp_path / "target"
    lower.mkdir()
    target.mkdir()
    with (lower / "hole").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"middle")
    copy = LowersCopy(os.open(target, os.O_PATH))
    copy.add(os.fsencode(lower))
    status = (target / "hole").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 < 1 << 20


def test_the_size_is_for_what_the_command_writes(installed: Path, image: Path) -> None:
    (image / "large").write_bytes(bytes(range(256)) * 8192)
    script = "cat /dev/zero >/big; stat -c %s /big; stat -c %s /large"
    done = run_refused(installed, image.parent, "-W1m", image, "--", "sh", "-c", script)
    assert b"No space left on device" in done.stderr
    written, large = map(int, done.stdout.split())
    assert 1 << 19 < written <= 1 << 20
    assert large == 1 << 21


def test_an_image_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(b"x" * (1 << 20))
    monkeypatch.setattr(private_copy, "COPY_LIMIT", b"512k")

    def attempt() -> str:
        refusal = KernelError("mount", "overlay", errno.ENODEV, "no overlay")
        told: list[str] = []
        try:
            mount_copy(DirectoryRoot(os.fsencode(tmp_path)), mount_scratch(), refusal, told.append)
        except SundogError as error:
            return f"{error.message}; {error.hint}"
        return ""

    text = in_namespaces(attempt)
    assert text.startswith("the image does not fit into 512k of the memory; make a directory of it")


@pytest.mark.parametrize("size", ["-W", "-W0", "-W5m"])
def test_a_directory(installed: Path, image: Path, size: str) -> None:
    (image / "below").write_text("base\n")
    before = sorted(path.name for path in image.rglob("*"))
    words = (size, "-b", "/usr:/new/place", image, "--", "sh", "-c", SHOW + " /new/place/bin")
    done = run_refused(installed, image.parent, *words)
    assert done.stdout.startswith(b"base\n/bin/new\n")
    assert REFUSED in done.stderr.decode().splitlines()[0]
    assert b"/below: No such file" in done.stderr
    assert sorted(path.name for path in image.rglob("*")) == before


def test_a_kernel_that_reserves_overlays_to_root(installed: Path, image: Path) -> None:
    def refuse() -> None:
        deny_argument("mount", 3, 0, errno.EPERM)

    words = ("-W", image, "--", "sh", "-c", "echo x >/new && cat /new")
    done = run_refused(installed, image.parent, *words, refuse=refuse)
    assert done.stdout == b"x\n"
    assert "Operation not permitted" in messages(done)[0]


def test_a_group_shares_one_copy(installed: Path, image: Path) -> None:
    script = "echo $0 >/both-$0; until test -f /both-1 && test -f /both-2; do sleep 0.01; done"
    words = ("-W", "--join-ct=2", "--join-tag=copy", image, "--", "sh", "-c", script)
    ranks = [
        subprocess.Popen(
            [installed, *words, rank],
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            preexec_fn=no_overlay,  # noqa: PLW1509 - this process has no threads that could mind
        )
        for rank in ("1", "2")
    ]
    printed = [rank.communicate(timeout=60)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], printed
    assert sum(REFUSED in text for text in printed) == 1
    assert not (image / "both-1").exists()


@pytest.mark.parametrize("name", ["app", "tree"])
def test_an_image_by_name(installed: Path, tmp_path: Path, name: str) -> None:
    storage = fill_storage(make_storage(tmp_path / "storage"))
    (storage / "trees" / "flat" / "below").write_text("top\n")
    done = run_refused(installed, tmp_path, "-W", name, "--", "sh", "-c", SHOW)
    assert done.stdout == b"top\n/bin/new\n"
    assert REFUSED in done.stderr.decode().splitlines()[0]
    assert (storage / "layers" / "top" / "tree" / "below").read_text() == "top\n"


def test_owners(installed: Path, image: Path) -> None:
    (image / "below").write_text("base\n")
    (image / "ch").mkdir()
    owners = {b"below": OwnerRecord("f", 5, 6), b"mnt": OwnerRecord("d", 7, 8)}
    (image / "ch" / "owners").write_bytes(pack_owners(owners))
    script = (
        "stat -c %u:%g /below /mnt /bin; chown 3:4 /bin; echo x >>/below; ln /below /mnt/x;"
        " stat -c %u:%g /mnt/x /bin"
    )
    done = run_refused(installed, image.parent, "-W", "--notify", image, "--", "sh", "-c", script)
    assert done.stdout.split() == [b"5:6", b"7:8", b"0:0", b"5:6", b"3:4"]
    assert [line.split(" (")[0] for line in messages(done)] == ["warning: " + REFUSED]


def test_an_image_that_can_not_be_overlaid(installed: Path) -> None:
    """It is not copied: the kernel has overlays, and the copy could be one of the whole host."""
    done = subprocess.run(
        [installed, "-W", "/", "--", "true"], capture_output=True, env=ENVIRONMENT, check=False
    )
    assert b"can't mount overlay on /: Invalid argument" in done.stderr
