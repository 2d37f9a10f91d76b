"""The one reader of what ldd(1) prints, against a real ldd and against musl's form."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sundog.image.fromhost.linked import Linked, linked, parse

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GLIBC = b"""\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f1)
\tlibno.so.2 => not found
\tlibodd (1).so => /opt/a b (c)/libodd (1).so (0x00007f3)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)
"""
MUSL = b"""\
\t/lib/ld-musl-x86_64.so.1 (0x7f1)
\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f1)
"""


def test_what_ldd_prints() -> None:
    assert parse(GLIBC) == Linked(
        (b"/lib/x86_64-linux-gnu/libz.so.1", b"/opt/a b (c)/libodd (1).so"),
        (b"/lib64/ld-linux-x86-64.so.2",),
    )
    assert parse(MUSL).files == (b"/lib/ld-musl-x86_64.so.1",) * 2
    assert parse(b"\tstatically linked\n") == Linked()


def test_a_program_and_a_static_one(tmp_path: Path) -> None:
    found = linked(shutil.which("stat").encode())  # type: ignore[union-attr]
    assert any(b"libc.so" in path for path in found.libraries)
    assert len(found.nameless) == 1
    assert linked(b"/bin/busybox") == Linked()
    assert linked(b"/nope") == Linked()


def test_no_ldd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert linked(b"/bin/sh") == Linked()
