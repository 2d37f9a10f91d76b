"""``ch-image`` where the kernel refuses user namespaces: one error, one hint, no harm."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.conftest import command
from tests.image.store.conftest import temporary_things

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed, Runner

# The test sets the limit of a user namespace of its own; $@ is the command.
NONE_LEFT = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
HINT = "hint: user namespaces are switched off here: user.max_user_namespaces is 0; "


def _refused_ch_image(storage: Path, *arguments: str | Path) -> Completed:
    """Run ``ch-image`` where it can make no user namespace; assert that it fails with the hint."""
    done = subprocess.run(
        ["unshare", "-r", "sh", "-c", NONE_LEFT, "sh", *command("ch-image"), *arguments],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: ")
    assert error.endswith("No space left on device")
    assert "can't unshare user" in error
    assert hint.startswith(HINT)
    assert done.stderr.count("error: ") == done.stderr.count("hint: ") == 1
    return done


def _look(storage: Path) -> dict[str, list[str]]:
    """Return the images, layers and results in the storage."""
    names = ("images", "layers", "trees", "cache")
    return {name: sorted(os.listdir(storage / name)) for name in names}


def _context(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM bb\nRUN echo done >/result\n")
    return context


def test_import(run_ch_image: Runner, run_ch_run: Runner, busybox_tar: Path, storage: Path) -> None:
    run_ch_image("import", busybox_tar, "bb")
    before = _look(storage)
    for name in ("new", "bb"):
        _refused_ch_image(storage, "import", busybox_tar, name)
        assert _look(storage) == before
        assert temporary_things(storage) == []
    assert run_ch_image("list").stdout == "bb\n"
    assert run_ch_run("bb", "--", "echo", "whole").stdout == "whole\n"


def test_import_into_a_new_storage(run_ch_image: Runner, busybox_tar: Path, storage: Path) -> None:
    """Later commands can use the storage that the refused command made."""
    _refused_ch_image(storage, "import", busybox_tar, "bb")
    assert run_ch_image("list").stdout == ""
    run_ch_image("import", busybox_tar, "bb")
    assert run_ch_image("list").stdout == "bb\n"


def test_build(
    run_ch_image: Runner, run_ch_run: Runner, bb: str, storage: Path, tmp_path: Path
) -> None:
    context = _context(tmp_path)
    before = _look(storage)
    done = _refused_ch_image(storage, "build", "-t", "img", context)
    assert "2. RUN.S echo done >/result" in done.stderr
    after = _look(storage)
    assert after | {"cache": []} == before | {"cache": []}
    assert temporary_things(storage) == []
    assert run_ch_image("list").stdout == "bb\n"
    run_ch_image("build", "-t", "img", context)
    assert run_ch_run("img", "--", "cat", "/result").stdout == "done\n"


def test_what_needs_no_namespace_still_works(run_ch_image: Runner, bb: str, storage: Path) -> None:
    listed = subprocess.run(
        ["unshare", "-r", "sh", "-c", NONE_LEFT, "sh", *command("ch-image"), "list"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "bb\n", "")
