"""Layers that another process completes while this one is about to."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from sundog.front.cli.report import Report
from sundog.image.registry import completion
from sundog.image.registry.completion import complete_layers
from sundog.image.registry.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.image.store.store import Store


@pytest.mark.parametrize("lost", [("here", "source"), ("source",)])
def test_another_process_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    """A layer that still lacks something, and does not say where it is, is an error."""
    for name in ("here", "source"):
        (tmp_path / name).touch()

    def completed(_directory: bytes) -> None:
        for name in lost:
            (tmp_path / name).unlink()

    monkeypatch.setattr(completion, "check_refused", completed)
    forgotten: list[str] = []
    layers = SimpleNamespace(directory=lambda _: os.fsencode(tmp_path), forget=forgotten.extend)
    store = cast("Store", SimpleNamespace(layers=layers))
    report = Report()
    if "here" in lost:
        complete_layers(store, Session(os.environ, report), ["one"], report)
        assert forgotten == ["one"]
    else:
        with pytest.raises(FileNotFoundError, match="source"):
            complete_layers(store, Session(os.environ, report), ["one"], report)
