"""Removing trees that are hard to remove."""

from __future__ import annotations

import os

import pytest

from sundog.image.layer.remove import remove_tree
from tests.image.layer.namespace import in_namespace, mounted


def test_modes_are_no_obstacle(place: bytes) -> None:
    tree = place + b"/tree"
    os.makedirs(tree + b"/closed/deep")
    os.makedirs(tree + b"/readonly/in")
    for name in (b"/closed/deep/file", b"/closed/file", b"/readonly/file"):
        with open(tree + name, "w"):
            pass
        os.chmod(tree + name, 0)
    for name, mode in ((b"/closed/deep", 0), (b"/closed", 0), (b"/readonly", 0o555), (b"", 0o111)):
        os.chmod(tree + name, mode)
    remove_tree(tree)
    assert os.listdir(place) == []


def test_depth_is_no_obstacle(place: bytes) -> None:
    """The tree is deeper than the recursion limit, PATH_MAX and RLIMIT_NOFILE allow."""
    fd = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir(b"directory", dir_fd=fd)
        child = os.open(b"directory", os.O_RDONLY, dir_fd=fd)
        os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        fd = child
    os.close(fd)
    remove_tree(place + b"/directory")
    assert os.listdir(place) == [b"file"]


def test_symlinks_are_not_followed(place: bytes) -> None:
    os.makedirs(place + b"/outside/keep")
    os.mkdir(place + b"/tree")
    os.symlink(b"../outside", place + b"/tree/link")
    os.symlink(b"outside", place + b"/link")
    remove_tree(place + b"/tree")
    remove_tree(place + b"/link")
    assert os.listdir(place) == [b"outside"]
    assert os.listdir(place + b"/outside") == [b"keep"]


def test_anything_that_is_no_directory(place: bytes) -> None:
    os.mkfifo(place + b"/fifo")
    with open(place + b"/file", "w"):
        pass
    fd = os.open(place, os.O_RDONLY)
    remove_tree(b"fifo", dir_fd=fd)
    remove_tree(b"file", dir_fd=fd)
    os.close(fd)
    remove_tree(place + b"/never there")
    assert os.listdir(place) == []


def test_names_that_are_not_text(place: bytes) -> None:
    os.makedirs(place + b"/tree/\xff\xfe\n/x")
    remove_tree(place + b"/tree")
    assert os.listdir(place) == []


@pytest.mark.parametrize("inside", [True, False])
def test_workdirs_of_an_overlay(place: bytes, inside: bool) -> None:
    """The inner directory of a workdir has mode 0000."""

    def work() -> None:
        for name in (b"/lower", b"/upper", b"/work"):
            os.mkdir(place + name)
        with mounted(
            [place + b"/lower"], place + b"/mount", upper=place + b"/upper", work=place + b"/work"
        ) as mount:
            os.mkdir(mount + b"/new")
        if inside:
            remove_tree(place + b"/work")

    in_namespace(work)
    if not inside:
        remove_tree(place + b"/work")
    assert not os.path.exists(place + b"/work")
