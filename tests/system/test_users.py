"""Storage belongs to one user: what another user sees of it, and imports of another's files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.references import FOREIGN, UNREADABLE

from tests.conftest import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RootHelper, Runner


@pytest.fixture
def storage() -> Iterator[Path]:
    """Return a storage directory that everyone can reach: pytest's own place is private."""
    with tempfile.TemporaryDirectory(prefix="public.") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "storage"


@pytest.mark.needs_root
def test_second_user_gets_nowhere_in_storage(
    root_helper: RootHelper, run_ch_image: Runner, storage: Path, busybox_tar: Path
) -> None:
    run_ch_image("import", busybox_tar, "bb")
    looked = root_helper.as_second_user(["ls", str(storage)])
    assert looked.returncode == 2
    assert b"Permission denied" in looked.stderr
    # The reason is not that the path is closed.
    assert root_helper.as_second_user(["ls", "-d", str(storage)]).returncode == 0


@pytest.mark.needs_root
def test_second_user_cannot_run_from_storage(
    root_helper: RootHelper, run_ch_image: Runner, storage: Path, busybox_tar: Path
) -> None:
    run_ch_image("import", busybox_tar, "bb")
    run = [*command("ch-run"), "-s", str(storage), "bb", "--", "true"]
    refused = root_helper.as_second_user(run)
    assert refused.returncode == 31
    assert b"error: can't look into the storage directory" in refused.stderr
    assert b"hint: it belongs to another user" in refused.stderr
    assert b"Traceback" not in refused.stderr


@pytest.mark.needs_root
def test_import_of_a_directory_with_others_files_in_it(
    foreign_tree: Path, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    run_ch_image("import", foreign_tree, "foreign")
    # A program to look with; the image has only a file to bind it over.
    bind = ["-b", "/bin/busybox:/bin/busybox"]
    listed = run_ch_run(*bind, "foreign", "--", "/bin/busybox", "find", "/", "-xdev")
    found = {line.removeprefix("/") for line in listed.stdout.splitlines()}
    assert {name for name, *_ in FOREIGN} <= found


@pytest.mark.needs_root
def test_import_names_all_that_cannot_be_read(foreign_tree: Path, run_ch_image: Runner) -> None:
    failed = run_ch_image("import", foreign_tree.with_name("unreadable"), "no", check=False)
    assert failed.returncode == 1
    (error,) = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    unreadable = {name for name, _, _, _, mode in UNREADABLE if not mode & 0o004}
    assert set(error.rpartition(": ")[2].split(", ")) == unreadable, error
    assert "no" not in run_ch_image("list").stdout.split()
