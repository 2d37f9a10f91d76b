"""Names in the spelling of directories, ``a%b+c``: every command and FROM take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner


def test_every_command_takes_both_spellings(
    run_ch_image: Runner, run_ch_run: Runner, busybox_tar: Path, tmp_path: Path
) -> None:
    """Lists show the usual one, whichever was typed."""
    storage = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}

    def names() -> list[str]:
        return run_ch_image("list", env=storage).stdout.split()

    run_ch_image("import", busybox_tar, "me%bb+1", env=storage)
    assert names() == ["me/bb:1"]
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM me%bb+1\nCOPY --from=me%bb+1 /bin/cat /cat\n")
    run_ch_image("build", "-t", "docker.io%me%built+2", context, env=storage)
    assert names() == ["docker.io/me/built:2", "me/bb:1"]
    # The same name again is no new image.
    done = run_ch_image("build", "-t", "docker.io/me/built:2", context, env=storage)
    assert "* COPY" in done.stderr
    run_ch_image("tag", "me%built+2", "x%y+z", env=storage)
    run_ch_image("modify", "-c", "true", "x/y:z", "x%m+1", env=storage)
    assert names() == ["docker.io/me/built:2", "me/bb:1", "x/m:1", "x/y:z"]
    details = json.loads(run_ch_image("inspect", "x%y+z", env=storage).stdout)
    assert details[0]["name"] == "x/y:z"
    assert "x/y:z" in run_ch_image("list", "x%y+*", env=storage).stdout
    done = run_ch_image("save", "-o", tmp_path / "saved.tar", "me%built+2", env=storage)
    assert "me/built:2" in done.stderr
    run_ch_image("load", tmp_path / "saved.tar", "loaded%it+3", env=storage)
    assert run_ch_run("loaded%it+3", "--", "/bin/echo", "ran", env=storage).stdout == "ran\n"
    run_ch_image("delete", "x%*", "me%bb+1", "loaded%it+3", env=storage)
    assert names() == ["docker.io/me/built:2"]


def test_the_parts_of_a_name_are_the_same_in_both_spellings(run_ch_image: Runner) -> None:
    one, other = (
        run_ch_image("pull", "--parse-only", name).stdout
        for name in ("h.example+5000%a%b+c", "h.example:5000/a/b:c")
    )
    assert one == other
    assert "as string:    h.example:5000/a/b:c\n" in one


def test_scratch_can_be_pulled(run_ch_image: Runner, tmp_path: Path) -> None:
    """It is in no registry; the image has no files."""
    storage = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    run_ch_image("pull", "scratch", env=storage)
    run_ch_image("pull", "scratch", "empty", env=storage)
    images = json.loads(run_ch_image("inspect", "scratch", "empty", env=storage).stdout)
    assert [(image["name"], image["layers"], image["size"]) for image in images] == [
        ("scratch", [], 0),
        ("empty", [], 0),
    ]
    (tmp_path / "Dockerfile").write_text("FROM empty\nCOPY Dockerfile /\n")
    run_ch_image("build", "-t", "built", tmp_path, env=storage)
    assert "built" in run_ch_image("list", env=storage).stdout
    run_ch_image("save", "-o", tmp_path / "empty.tar", "empty", env=storage)
