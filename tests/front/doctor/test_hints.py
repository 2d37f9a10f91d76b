"""Errors that ``ch-checkns --all`` can explain say so, after the hint."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.advice import advice
from sundog.errors import (
    KernelError,
    NotInStorage,
    StoreError,
    SundogError,
    UnfitStorage,
    UnreachableError,
)
from tests.base.kernel.child import in_namespaces
from tests.base.kernel.test_refusal import deny
from tests.conftest import command, run_program
from tests.front.doctor.causes import no_seccomp_filters
from tests.front.doctor.test_checkns import limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed

SAYS_MORE = "ch-checkns --all says more"
REGISTRY_SAYS_MORE = "ch-checkns --all --registry=HOST says more"


def kernel(call: str, number: int, hint: str = "why") -> KernelError:
    return KernelError(call, "x", number, "refused", hint)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (kernel("unshare", errno.ENOSPC), f"why ({SAYS_MORE})"),
        (kernel("write", errno.EPERM), f"why ({SAYS_MORE})"),
        (kernel("mount", errno.ENODEV), f"why ({SAYS_MORE})"),
        (kernel("mount", errno.ENOENT), "why"),
        (kernel("open_tree", errno.EPERM), f"why ({SAYS_MORE})"),
        (kernel("open_tree", errno.EACCES), "why"),  # of what the user wants to bind
        (kernel("openat2", errno.EACCES), "why"),
        (UnfitStorage("no", "why"), f"why ({SAYS_MORE})"),
        (UnfitStorage("no"), SAYS_MORE),
        (StoreError("damaged", "why"), "why"),
        (NotInStorage("no image", "why"), "why"),
        (SundogError("no"), ""),
        (UnreachableError("no", "why"), f"why ({REGISTRY_SAYS_MORE})"),
    ],
)
def test_which_errors(error: SundogError, hint: str) -> None:
    assert advice(error) == hint


def test_an_error_about_another() -> None:
    error = SundogError("Dockerfile:1: no", "why")
    error.__cause__ = UnfitStorage("no", "why")
    assert advice(error) == f"why ({SAYS_MORE})"


def refused(done: Completed, *parts: str, says: str = SAYS_MORE) -> None:
    """Check that a command has failed with these parts in its messages, and with the hint."""
    for part in parts:
        assert part in done.stderr, done.stderr
    hints = [line for line in done.stderr.splitlines() if "hint: " in line]
    assert hints[-1].endswith(f"({says})"), done.stderr


def after(prepare: Callable[[], None], *words: str | Path) -> Completed:
    """Run a command of ours as mock root, after ``prepare``."""
    name, *rest = words

    def inside() -> Completed:
        prepare()
        return run_program([*command(str(name)), *rest], check=False)

    return in_namespaces(inside)


def test_namespaces(busybox_tree: Path) -> None:
    done = after(lambda: limit("user", 0), "ch-run", busybox_tree, "--", "true")
    refused(done, "can't unshare user", "sysctl -w user.max_user_namespaces=10000")


def test_seccomp(busybox_tree: Path) -> None:
    done = after(no_seccomp_filters, "ch-run", "--seccomp", busybox_tree, "--", "true")
    refused(done, "CONFIG_SECCOMP_FILTER")


def test_supervision(busybox_tree: Path, tmp_path: Path) -> None:
    def prepare() -> None:
        deny("process_vm_readv", errno.EPERM)

    run = ("ch-run", "--notify", "--no-fallback", busybox_tree, "--", "true")
    refused(after(prepare, *run), "--notify is not possible here")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    build = ("build", "--force=notify", "--no-fallback", "-t", "x", tmp_path)
    done = after(prepare, "ch-image", "-s", tmp_path / "storage", *build)
    refused(done, "--force=notify is not possible here")


def test_a_directory_from_which_nothing_runs(
    small_tmpfs: Callable[[int, str], Path], busybox_tree: Path
) -> None:
    place = small_tmpfs(8192, "noexec") / "image"
    run_program(["cp", "-a", busybox_tree, place])
    # Without variables, the tree has all mount points: an overlay would run its programs.
    bare = ("env", "-i", "PATH=/usr/bin:/bin")
    done = run_program([*bare, *command("ch-run"), place, "--", "true"], check=False)
    assert done.returncode == 49
    refused(done, "is mounted noexec")


@pytest.mark.parametrize("name", ["ch-image", "ch-convert"])
def test_storage(name: str, busybox_tar: Path) -> None:
    words = ("import", str(busybox_tar), "bb")[0 if name == "ch-image" else 1 :]
    done = run_program([*command(name), "--storage=/usr", *words], check=False)
    assert done.returncode == 1
    refused(done, "storage directory /usr belongs to root")


def test_registry(tmp_path: Path) -> None:
    words: tuple[str, ...] = (f"--storage={tmp_path / 'storage'}", "pull", "127.0.0.1:9/image")
    done = run_program([*command("ch-image"), *words], check=False)
    refused(done, "can't reach 127.0.0.1:9", says=REGISTRY_SAYS_MORE)
    (tmp_path / "Dockerfile").write_text("FROM 127.0.0.1:9/image\n")
    words = (f"--storage={tmp_path / 'storage'}", "build", "-t", "x", str(tmp_path))
    done = run_program([*command("ch-image"), *words], check=False)
    refused(done, "can't reach 127.0.0.1:9", "Dockerfile:1: ", says=REGISTRY_SAYS_MORE)
