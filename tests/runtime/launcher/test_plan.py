"""The plan of mounts as data."""

import os
from pathlib import Path

from sundog.runtime.container.root import DirectoryRoot, OverlayRoot
from sundog.runtime.launcher.run_plan import build_plan
from tests.runtime.launcher.conftest import ChRun, messages

IMAGE = DirectoryRoot(b"/images/a")


def test_ordinary() -> None:
    plan = build_plan(
        IMAGE, accounts=(b"root:x\n", b"g\n"), binds=[(b"x", b"/y", True), (b"/z", b"/z", False)]
    )
    assert plan.describe() == [
        "mount /images/a at / (read-only)",
        "bind /dev at /dev (required)",
        "bind /proc at /proc (required)",
        "bind /sys at /sys (required)",
        "bind /etc/hosts at /etc/hosts (optional)",
        "bind /etc/machine-id at /etc/machine-id (optional)",
        "bind /etc/resolv.conf at /etc/resolv.conf (optional)",
        "bind /var/lib/hugetlbfs at /var/lib/hugetlbfs (optional)",
        "bind /var/spool/slurmd at /var/spool/slurmd (optional)",
        "bind a file of 7 bytes at /etc/passwd (required)",
        "bind a file of 2 bytes at /etc/group (required)",
        "bind /tmp at /tmp (required)",
        "bind x at /y (created)",
        "bind /z at /z (created, read-only)",
    ]


def test_on_a_cray() -> None:
    ordinary = build_plan(IMAGE, binds=[]).describe()
    extra = build_plan(IMAGE, binds=[], cray=True).describe()
    more = [line for line in extra if line not in ordinary]
    assert len(more) == 7
    assert all("cray" in line and line.endswith("(optional)") for line in more)
    assert [line for line in extra if line not in more] == ordinary


def test_private_tmp_and_own_accounts() -> None:
    plan = build_plan(IMAGE, host_tmp=None, binds=[]).describe()
    assert plan[-1] == "mount tmpfs at /tmp (required)"
    assert not any("passwd" in line for line in plan)
    assert (
        "bind /scratch at /tmp (required)"
        in build_plan(IMAGE, host_tmp=b"/scratch", binds=[]).describe()
    )


def test_write() -> None:
    assert build_plan(IMAGE, writable=True, binds=[]).describe()[0] == (
        "mount /images/a at / (read-write)"
    )


def test_write_fake_makes_what_is_required() -> None:
    plan = build_plan(IMAGE, overlay_size=b"1g", accounts=(b"", b""), binds=[]).describe()
    assert plan[:2] == [
        "mount /images/a at / (read-only)",
        "overlay it with a tmpfs of size 1g",
    ]
    assert not any(line.endswith("(required)") for line in plan)
    assert "bind /dev at /dev (created)" in plan


def test_stored_images(tmp_path: Path) -> None:
    """A descriptor at the start of a path means nothing to people."""
    fd = os.open(tmp_path, os.O_PATH)
    place, shown = b"/proc/self/fd/%d" % fd, str(tmp_path)
    overlay = OverlayRoot(place + b"/layers", [place + b"/root", b"1/tree", b"../skeleton"])
    assert build_plan(overlay, binds=[]).describe()[0] == (
        f"overlay 3 directories of {shown}/layers at / (read-only)"
    )
    flat = DirectoryRoot(place + b"/trees/1", ((place + b"/root/ch", b"ch"),))
    assert build_plan(flat, binds=[]).describe()[:2] == [
        f"mount {shown}/trees/1 at / (read-only)",
        f"bind {shown}/root/ch at /ch (required, read-only)",
    ]
    os.close(fd)
    assert (
        build_plan(flat, binds=[]).describe()[0]
        == f"mount {place.decode()}/trees/1 at / (read-only)"
    )


def test_it_is_shown_at_the_second_v(ch_run: ChRun, image: Path) -> None:
    told = messages(ch_run("-vv", "-t", image, "--", "/bin/true"))
    assert f"mount {image} at / (read-only)" in told
    assert "mount tmpfs at /tmp (required)" in told
    told = messages(ch_run("-v", "-t", image, "--", "/bin/true"))
    assert "mount tmpfs at /tmp (required)" not in told
