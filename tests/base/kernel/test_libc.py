"""The C library by _ctypes: arguments, results, messages."""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.kernel.libc import (
    checked,
    descriptor_path,
    escaped,
    kernel_error,
    libc_call,
    printable,
    syscall,
    u64_struct,
)
from sundog.base.kernel.numbers import OPENAT2
from sundog.errors import KernelError

if TYPE_CHECKING:
    from pathlib import Path


def test_libc_call_passes_64_bits(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        assert libc_call("fallocate", file.fileno(), 0, 5 << 30, 1) == 0
        assert os.fstat(file.fileno()).st_size == (5 << 30) + 1


def test_libc_call_returns_a_negated_errno() -> None:
    assert libc_call("umount2", b"/no/such/mount", 0) == -errno.ENOENT


def test_libc_call_returns_an_int_that_is_not_minus_one() -> None:
    assert libc_call("getppid") == os.getppid()
    assert libc_call("toupper", ord("a")) == ord("A")


def test_libc_call_reads_an_int_as_an_int() -> None:
    # abs(3) takes an int, so it ignores the upper half of its argument.
    assert libc_call("abs", (7 << 32) | 5) == 5


def test_syscall_returns_a_negated_errno() -> None:
    assert syscall(OPENAT2, -1, b"relative", u64_struct(0, 0, 0), 24) == -errno.EBADF


def test_syscall_of_an_unknown_number() -> None:
    assert syscall(100_000) == -errno.ENOSYS


def test_checked_passes_a_result_on() -> None:
    assert checked(3, "open_tree", b"/x") == 3


def test_checked_raises_with_call_object_and_reason() -> None:
    with pytest.raises(KernelError) as caught:
        checked(-errno.EACCES, "mount", b"/x\xff", "mount proc on /x")
    error = caught.value
    assert error.message == "can't mount proc on /x: Permission denied"
    assert (error.call, error.errno) == ("mount", errno.EACCES)
    assert os.fsencode(error.subject) == b"/x\xff"


def test_kernel_error_says_call_and_object_by_default() -> None:
    error = kernel_error("mkdir", b"/a\nb", errno.ENOSPC)
    assert str(error) == "can't mkdir /a\\nb: No space left on device"


def test_kernel_error_names_an_open_file(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    error = kernel_error("syncfs", fd, errno.EIO)
    os.close(fd)
    assert error.message == f"can't syncfs {tmp_path}: Input/output error"
    assert error.subject == str(tmp_path)


def test_printable_keeps_what_a_terminal_can_show() -> None:
    assert printable("/tmp/a b/é…".encode()) == "/tmp/a b/é…"


@settings(database=None)
@given(st.binary())
def test_printable_is_one_harmless_line(name: bytes) -> None:
    assert printable(name).isprintable()
    printable(name).encode()


@settings(database=None)
@given(st.text(st.characters(exclude_categories=())), st.sampled_from(["", "\t"]))
def test_escaped_is_one_harmless_line(text: str, layout: str) -> None:
    shown = escaped(text, layout)
    assert all(c in layout or unicodedata.category(c) not in OBEYED or c == " " for c in shown)
    shown.encode()
    assert escaped(shown, layout) == shown  # a second escape changes nothing
    if text.isprintable():
        assert shown == text


OBEYED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\033[2J", "\\x1b[2J"),
        ("a\nb\r\tc\0", "a\\nb\\r\\tc\\x00"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("\u2028\u2029\u200b\ufeff\xad", "\\u2028\\u2029\\u200b\\ufeff\\xad"),
        ("\U000e0041\ue000\u0378", "\\U000e0041\\ue000\\u0378"),
        ("\xa0\u3000", "\\xa0\\u3000"),
        ("\udcff \ud800", "\\xff \\ud800"),  # an undecodable byte; a lone surrogate
        ("\\x1b é 名 🐕", "\\x1b é 名 🐕"),
    ],
)
def test_what_is_escaped_and_how(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_descriptor_path_names_the_file(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    assert descriptor_path(fd) == os.fsencode(tmp_path)
    os.close(fd)
    assert descriptor_path(fd) == b"file descriptor %d" % fd


def test_u64_struct_is_in_native_order() -> None:
    expected = (1).to_bytes(8, sys.byteorder) + (1 << 63).to_bytes(8, sys.byteorder)
    assert u64_struct(1, 1 << 63) == expected
