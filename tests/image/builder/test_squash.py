"""``build --squash``: the build's own layers become one, which shows what they showed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.conftest import runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

DOCKERFILE = """\
FROM bb AS first
RUN mkdir -p /d/sub /gone && echo 1 >/d/a && echo 2 >/d/sub/b && chown 5:6 /d && chmod 4755 /d/a
RUN rm -r /gone /d/sub && mkdir /d/sub && ln /d/a /d/c && rm /bin/awk
ENV A=b
FROM first
COPY Dockerfile /d/
RUN rm -r /d/sub && mknod /null c 1 3 && chown 7:8 /d/Dockerfile && rm -r /var && mkdir -m 700 /var
CMD ["true"]
"""


def inspect(run_ch_image: Runner, name: str) -> dict[str, Any]:
    (image,) = json.loads(run_ch_image("inspect", name).stdout)
    return dict(image)


def tree_of(run: Runner, name: str, tmp_path: Path) -> list[str]:
    """Return what GNU tar lists of a whole image: owners, modes, sizes, times, links."""
    run("-o", "tar", name, tmp_path / f"{name}.tar")
    done = subprocess.run(
        [
            "tar",
            "-tvf",
            tmp_path / f"{name}.tar",
            "--full-time",
            "--exclude=./ch*",
            "--exclude=ch*",
        ],
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_squash(
    bb: str, tmp_path: Path, storage: Path, run_ch_image: Runner, run_ch_run: Runner
) -> None:
    run_ch_convert = runner("ch-convert", storage)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    base = inspect(run_ch_image, bb)["layers"]
    run_ch_image("build", "--force=notify", "-t", "plain", tmp_path)
    done = run_ch_image("build", "--force=notify", "--squash", "-t", "small", tmp_path)
    assert "squashed 4 layers into one" in done.stderr
    # The steps are those of the build before.
    assert not [line for line in done.stderr.splitlines() if line[:3].strip()[-1:] == "."]
    plain, small = (inspect(run_ch_image, name) for name in ("plain", "small"))
    assert [one["layer"] for one in small["layers"][:-1]] == [one["layer"] for one in base]
    assert len(plain["layers"]) == len(base) + 4
    assert tree_of(run_ch_convert, "plain", tmp_path) == tree_of(run_ch_convert, "small", tmp_path)
    history = json.loads(run_ch_image("history", "--format=json", "small").stdout)
    before = json.loads(run_ch_image("history", "--format=json", "plain").stdout)
    assert [one["created_by"] for one in history] == [one["created_by"] for one in before]
    assert [one["comment"] for one in history if "squashed" in one["comment"]] == [
        "4 layers, squashed"
    ]
    assert sum(not one["empty_layer"] for one in history) == len(small["layers"])
    # Again: nothing runs, nothing is joined, and the image stays as it is.
    again = run_ch_image("build", "--force=notify", "--squash", "-t", "small", tmp_path)
    assert inspect(run_ch_image, "small") == small
    assert not [line for line in again.stderr.splitlines() if line[:3].strip()[-1:] == "."]
    # Owners are right for others, too; the result is a base.
    look = ("stat", "-c", "%u:%g %a %F", "/d/a", "/d", "/d/Dockerfile", "/var", "/null")
    shown = run_ch_run("--notify", "small", "--", *look).stdout
    assert shown == run_ch_run("--notify", "plain", "--", *look).stdout
    assert shown.startswith("0:0 4755 regular file\n5:6 755 directory\n7:8 644 regular file\n")
    assert run_ch_run("small", "--", "stat", "-c", "%h", "/d/a").stdout == "2\n"
    (tmp_path / "Next").write_text(
        "FROM small\nRUN rm /d/c && test ! -e /bin/awk && test -e /d/a\n"
    )
    run_ch_image("build", "-t", "next", "-f", tmp_path / "Next", tmp_path)
    run_ch_image("build", "--force=notify", "--squash-all", "-t", "one", tmp_path)
    assert len(inspect(run_ch_image, "one")["layers"]) == 1
    assert tree_of(run_ch_convert, "one", tmp_path) == tree_of(run_ch_convert, "small", tmp_path)


def test_squash_of_nothing_new(bb: str, tmp_path: Path, run_ch_image: Runner) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {bb}\nENV A=b\nCOPY Dockerfile /\n")
    done = run_ch_image("build", "--squash", "-t", "x", tmp_path)
    assert "squashed" not in done.stderr
    run_ch_image("build", "--no-cache", "--squash", "-o", tmp_path / "out", tmp_path)
    assert (tmp_path / "out/Dockerfile").exists()
