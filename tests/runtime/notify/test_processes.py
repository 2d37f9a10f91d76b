"""Facts that the supervisor reads about processes, without the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sundog.runtime.emulation.notify.tracee.descriptors import inner_id
from sundog.runtime.emulation.notify.tracee.processes import Process

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GROUPS = 65536  # NGROUPS_MAX


def test_a_process_in_many_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The groups come before the numbers of the process."""
    (tmp_path / "77").mkdir()
    lines = ["Name:\tx", f"Groups:\t{'4294967294 ' * GROUPS}", "NStgid:\t77\t3", "NSpid:\t77\t4"]
    lines += ["NSpgid:\t70\t2", "NSsid:\t60\t1", "CapInh:\t0"]
    (tmp_path / "77/status").write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.chdir(tmp_path)
    assert inner_id(77) == 4
    process = Process(77)
    assert (process.group, process.session, process.depth) == (77, 60, 2)
    assert (process.inner(process), process.process_group(process)) == (3, 2)
