"""The default size of -W: a share of the memory, or of what control groups leave to each task."""

from __future__ import annotations

import base64
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.container import memory_share
from sundog.runtime.container.memory_share import memory_left, overlay_share
from tests.runtime.launcher.conftest import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import RootHelper
    from tests.runtime.launcher.compiled import Compiled

MIB = 1 << 20
V1, V2 = b"/sys/fs/cgroup/memory", b"/sys/fs/cgroup"
NONE = b"9223372036854771712\n"  # version 1: no limit

GROUPS: dict[str, tuple[Mapping[bytes, bytes], int | None]] = {
    "none": ({b"/proc/self/cgroup": b"0::/a/b\n", V2 + b"/a/memory.max": b"max\n"}, None),
    "no memory controller": ({b"/proc/self/cgroup": b"4:cpu:/a\n"}, None),
    "the tightest of version 2": (
        {
            b"/proc/self/cgroup": b"0::/a/b\n",
            V2 + b"/a/b/memory.max": b"100\n",
            V2 + b"/a/b/memory.current": b"30\n",
            V2 + b"/a/memory.max": b"50\n",
            V2 + b"/a/memory.current": b"40\n",
            V2 + b"/a/memory.stat": b"anon 3\nfile 30\ninactive_file 20\nactive_file 5\n",
        },
        35,
    ),
    "version 1": (
        {
            b"/proc/self/cgroup": b"5:cpu:/\n4:hugetlb,memory:/job/step\n0::/\n",
            V1 + b"/job/step/memory.limit_in_bytes": NONE,
            V1 + b"/job/memory.limit_in_bytes": b"100\n",
            V1 + b"/job/memory.usage_in_bytes": b"70\n",
            V1 + b"/job/memory.stat": b"cache 60\ntotal_inactive_file 10\ntotal_active_file 1\n",
        },
        41,
    ),
    "all used": (
        {
            b"/proc/self/cgroup": b"0::/\n",
            V2 + b"/memory.max": b"10\n",
            V2 + b"/memory.current": b"11\n",
        },
        0,
    ),
}


@pytest.mark.parametrize("case", GROUPS)
def test_what_limits_leave(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files, left = GROUPS[case]
    monkeypatch.setattr(memory_share, "read_group_file", lambda path: files.get(path, b""))
    assert memory_left() == left
    if left is None:
        assert overlay_share(lambda _: None) == b"12%"
    else:
        assert overlay_share(lambda _: None) == b"%d" % MIB  # the least


def size_of_root(compiled: Compiled, image: Path, groups: Path, *options: str, **env: str) -> int:
    """Return the bytes that a container may write, where ``groups`` shows the control groups."""
    show = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'
    inside = [*options, str(image), "--", "stat", "-fc", "%b %S", "/"]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", show, str(groups), str(compiled.command), *inside],
        env=ENVIRONMENT | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    blocks, size = map(int, done.stdout.split())
    return blocks * size


def test_containers_below_a_limit(compiled: Compiled, image: Path, tmp_path: Path) -> None:
    """Both starts obey the limits; an explicit size stays."""
    groups = tmp_path / "groups"
    groups.mkdir()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share = memory * 12 // 100
    starts: tuple[dict[str, str], ...] = ({}, {"SUNDOG_START": "python"})
    for start in starts:
        assert abs(size_of_root(compiled, image, groups, "-W", **start) - share) < MIB
    # The limit is that of the root of both versions, whatever this machine has.
    (groups / "memory").mkdir()
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        (groups / name).write_text(f"{100 * MIB}\n")
    for name in ("memory.current", "memory/memory.usage_in_bytes"):
        (groups / name).write_text(f"{20 * MIB}\n")
    for start in starts:
        assert size_of_root(compiled, image, groups, "-W", **start) == 40 * MIB
        tasks = {"SLURM_STEP_TASKS_PER_NODE": "4"}
        assert size_of_root(compiled, image, groups, "-W", **start, **tasks) == 10 * MIB
        assert size_of_root(compiled, image, groups, "-W64m", **start, **tasks) == 64 * MIB


# What launches the tasks is in their control group, as slurmstepd may be.
TASKS = """
for task in 1 2; do
    "$0" -W -b "$1:/mnt" "$2" -- sh -c "$3" "$task" &
done
wait
echo the launcher lives
"""
FILL = """
cat /dev/zero >/full
touch /mnt/$0
for second in 1 2 3 4 5 6 7 8 9 10; do
    [ -e /mnt/1 ] && [ -e /mnt/2 ] && break
    sleep 1
done
"""


@pytest.mark.parametrize("start", ["", "python"])
def test_tasks_that_fill_their_roots(
    start: str, compiled: Compiled, image: Path, tmp_path: Path, root_helper: RootHelper
) -> None:
    """Under a limit of the kernel, all get ENOSPC; the kernel kills nothing."""
    both = tmp_path / "both"
    both.mkdir()
    answer = root_helper.ask(
        "below-a-memory-limit",
        bytes=96 * MIB,
        argv=["sh", "-c", TASKS, *map(str, (compiled.command, both, image)), FILL],
        env=ENVIRONMENT | {"SLURM_STEP_TASKS_PER_NODE": "2", "SUNDOG_START": start},
    )
    if not answer:
        pytest.skip("no control group limits memory here")
    assert base64.b64decode(answer["stderr"]).count(b"No space left on device") == 2, answer
    assert base64.b64decode(answer["stdout"]) == b"the launcher lives\n"
    assert answer["killed"] == 0
