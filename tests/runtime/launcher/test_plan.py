"""The plan of mounts as data."""

import os
from pathlib import Path

from sundog.runtime.container.hidden import Hidden
from sundog.runtime.container.operations import CREATED, DESIRED, Bind, FileMount, TmpfsMount
from sundog.runtime.container.plan import Plan
from sundog.runtime.container.root import DirectoryRoot, OverlayRoot
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.host_places import TemporaryDirectory
from sundog.runtime.launcher.host_sources import HostSources, requested_binds
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.options import CommandLine
from sundog.runtime.launcher.part import Part
from sundog.runtime.launcher.run_plan import build_plan, host_files, mounts_of, needed
from tests.runtime.launcher.conftest import ChRun, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.root import Root

IMAGE = DirectoryRoot(b"/images/a")


def command_line(*options: bytes) -> CommandLine:
    return CommandLine([*options, b"image"], Messages())


def plan_of(
    *options: bytes,
    root: "Root" = IMAGE,
    cray: bool = False,
    tmpdir: bytes = b"/tmp",
    accounts: tuple[bytes, ...] = (),
) -> Plan:
    """Return the plan of parts that ask the host nothing."""
    line = command_line(*options)
    need, places = needed(line.image), (b"/etc/passwd", b"/etc/group")
    parts = [
        Part(host_files(need, cray=cray)),
        Part([FileMount(*each, need) for each in zip(accounts, places, strict=False)]),
        TemporaryDirectory(line, Environment([b"TMPDIR=" + tmpdir]), need),
        Part(line.mounts.tmpfs),
        requested_binds(line.mounts, Hidden(), HostSources(), line.messages.warning),
    ]
    return build_plan(root, mounts_of(parts), Hidden(), line.image)


def test_ordinary() -> None:
    plan = plan_of(b"-b/x:/y", b"-b/z:/z:ro", accounts=(b"root:x\n", b"g\n"))
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
        "bind /x at /y (created)",
        "bind /z at /z (created, read-only)",
    ]


def test_on_a_cray() -> None:
    ordinary = plan_of().describe()
    extra = plan_of(cray=True).describe()
    more = [line for line in extra if line not in ordinary]
    assert len(more) == 7
    assert all("cray" in line and line.endswith("(optional)") for line in more)
    assert [line for line in extra if line not in more] == ordinary


def test_private_tmp_and_own_accounts(tmp_path: Path) -> None:
    plan = plan_of(b"-t").describe()
    assert plan[-1] == "mount tmpfs at /tmp (required)"
    assert not any("passwd" in line for line in plan)
    plan = plan_of(tmpdir=bytes(tmp_path)).describe()
    assert f"bind {tmp_path} at /tmp (required)" in plan


def test_write() -> None:
    assert plan_of(b"-w").describe()[0] == "mount /images/a at / (read-write)"


def test_write_fake_makes_what_is_required() -> None:
    plan = plan_of(b"-W1g", accounts=(b"", b"")).describe()
    assert plan[:2] == [
        "mount /images/a at / (read-only)",
        "overlay it with a tmpfs of size 1g",
    ]
    assert not any(line.endswith("(required)") for line in plan)
    assert "bind /dev at /dev (created)" in plan


def test_a_later_part_lies_over_earlier_ones() -> None:
    """A mount point can be made in a tmpfs of an earlier part, whichever option asks for it."""

    def places(*mounts: "Operation") -> list[bool]:
        found = mounts_of([Part(), Part(mounts[:1]), Part(mounts[1:])])
        assert found == [*mounts]
        return [mount.in_tmpfs for mount in found if isinstance(mount, Bind)]

    def bind(place: bytes) -> Bind:
        return Bind(b"/host", place, DESIRED)

    tmpfs = TmpfsMount(b"/data", CREATED)
    assert places(tmpfs, bind(b"/data/a"), bind(b"/data"), bind(b"/data/a/b")) == [
        True,
        False,
        False,
    ]
    assert places(bind(b"/data/a"), tmpfs, bind(b"/data/../a"), bind(b"/database")) == [False] * 3
    assert plan_of(b"--tmpfs=/data", b"-b/x:/data/x", b"-b/y:/y").describe()[-3:] == [
        "mount tmpfs at /data (created)",
        "bind /x at /data/x (created)",
        "bind /y at /y (created)",
    ]


def test_stored_images(tmp_path: Path) -> None:
    """A descriptor at the start of a path means nothing to people."""
    fd = os.open(tmp_path, os.O_PATH)
    place, shown = b"/proc/self/fd/%d" % fd, str(tmp_path)
    overlay = OverlayRoot(place + b"/layers", [place + b"/root", b"1/tree", b"../skeleton"])
    assert plan_of(root=overlay).describe()[0] == (
        f"overlay 3 directories of {shown}/layers at / (read-only)"
    )
    flat = DirectoryRoot(place + b"/trees/1", ((place + b"/root/ch", b"ch"),))
    assert plan_of(root=flat).describe()[:2] == [
        f"mount {shown}/trees/1 at / (read-only)",
        f"bind {shown}/root/ch at /ch (required, read-only)",
    ]
    os.close(fd)
    assert plan_of(root=flat).describe()[0] == f"mount {place.decode()}/trees/1 at / (read-only)"


def test_it_is_shown_at_the_second_v(ch_run: ChRun, image: Path) -> None:
    told = messages(ch_run("-vv", "-t", image, "--", "/bin/true"))
    assert f"mount {image} at / (read-only)" in told
    assert "mount tmpfs at /tmp (required)" in told
    told = messages(ch_run("-v", "-t", image, "--", "/bin/true"))
    assert "mount tmpfs at /tmp (required)" not in told
