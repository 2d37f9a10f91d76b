"""``builder.naming``: the table of names without ``-t``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.image.builder.naming import inferred_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("dockerfile", "context", "name"),
    [
        ("Dockerfile.debian", "/x/ctx", "debian"),
        ("/a/Dockerfile.Foo.Bar", "/x/ctx", "foo.bar"),
        ("/a/hello.df", "/x/ctx", "hello"),
        ("hello.dockerfile", "-", "hello"),
        ("Dockerfile", "/x/My Ctx", "myctx"),
        ("/x/ctx/Dockerfile", "/x/ctx/", "ctx"),
        ("Containerfile", "/x/.ctx_", "ctx"),
        ("Dockerfile", "/", "root"),
        ("-", "/x/ctx", "ctx"),
        ("-", "-", ""),
        ("Dockerfile", "/x/ÄÖ", ""),
        (".df", "/x/ctx", "ctx"),
    ],
)
def test_inferred_name(dockerfile: str, context: str, name: str) -> None:
    assert inferred_name(dockerfile, context) == name


def test_relative_context_is_named_after_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    assert inferred_name("Dockerfile", ".") == "app"
    assert inferred_name("Dockerfile", os.pardir) == inferred_name("x", str(tmp_path))
