"""A container whose files ``sundog cp`` reads: the wait for a process that can be entered."""

import os
from types import SimpleNamespace
from typing import cast

import pytest

from sundog.errors import SundogError
from sundog.front.cli import container_files
from sundog.front.podman.container import Container


def container(*, is_running: bool = True) -> Container:
    fake = SimpleNamespace(
        name="c",
        is_running=is_running,
        process=SimpleNamespace(pid=os.getpid()),
        wait_for_group=lambda: None,
    )
    return cast("Container", fake)


def test_it_waits_until_one_lets_it_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """While ``ch-run`` becomes the command, nobody sees its namespaces."""
    looks = [[], [], [os.getpid()]]
    monkeypatch.setattr(container_files, "members", lambda _: looks.pop(0))
    os.close(container_files._entered(container()))
    assert not looks


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_files, "members", lambda _: [])
    monkeypatch.setattr(container_files, "_ENTRY", 0.01)
    for is_running in (True, False):
        with pytest.raises(SundogError, match="none of its processes can be entered"):
            container_files._entered(container(is_running=is_running))
