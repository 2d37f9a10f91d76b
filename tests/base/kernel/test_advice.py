"""Errors of the operating system, in words for the user."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.advice import explained
from sundog.errors import SundogError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_and_the_cause(tmp_path: Path) -> None:
    """The message names both files of a call; the hint is about the second one."""
    absent = tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as caught:
        os.rename(absent / "a", absent / "b")
    shown = explained(caught.value, "can't go on: ")
    assert shown.message == f"can't go on: {absent}/a to {absent}/b: no such file or directory"
    assert shown.hint == f"there is no {absent}"


def test_a_relative_name_is_not_explained() -> None:
    """The name may be relative to another directory than the working directory."""
    shown = explained(FileNotFoundError(errno.ENOENT, "No such file or directory", b"absent"))
    assert (shown.message, shown.hint) == ("absent: no such file or directory", "")


def test_a_limit_is_explained_whatever_the_name() -> None:
    shown = explained(OSError(errno.EMFILE, os.strerror(errno.EMFILE), "relative"))
    assert shown.message == "relative: too many open files"
    assert "(ulimit -n)" in shown.hint


def test_a_full_file_system() -> None:
    """The message names the file system, and nothing is left for the hint."""
    with pytest.raises(OSError, match="No space") as caught, open("/dev/full", "wb", 0) as full:
        full.write(b"x")
    caught.value.filename = b"/dev/full"
    shown = explained(caught.value)
    assert shown.message.startswith("/dev/full: no space left on ")
    assert shown.hint == ""


def test_a_limit_without_a_name() -> None:
    shown = explained(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    assert shown.message == "can't open another file or pipe: Too many open files"
    assert "(ulimit -n)" in shown.hint


def test_other_exceptions() -> None:
    """An error for the user stays itself; what nobody expects is a bug."""
    error = SundogError("no", "why")
    assert explained(error) is error
    assert explained(KeyError("x")).message == "please report this bug: KeyError: 'x'"
