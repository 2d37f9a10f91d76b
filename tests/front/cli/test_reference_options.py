"""The options and variables that scripts for Charliecloud use."""

from __future__ import annotations

import os
import pstats
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.errors import UsageError
from sundog.front.cli import image_gestalt
from sundog.front.cli.image_arguments import parse_arguments
from tests.conftest import command, run_program

if TYPE_CHECKING:
    from tests.conftest import Runner

FESTOON = re.compile(
    r" *[0-9]+ [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9]{4}  "
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--xattrs --no-xattrs list", '"--xattrs" incompatible with "--no-xattrs"'),
        ("--xattrs list --no-xattrs", '"--xattrs" incompatible with "--no-xattrs"'),
        ("-q list -v", '"--quiet" incompatible with "--verbose"'),
        ("--cache-large x list", "argument --cache-large: not a number: x"),
        ("--cache-large nan list", "argument --cache-large: not a number: nan"),
        ("--break x list", "argument --break: not MODULE:LINE: x"),
        ("--break x:0 list", "argument --break: not MODULE:LINE: x:0"),
        ("gestalt storage-path --fail", "--fail is for logging"),
    ],
)
def test_what_does_not_fit_together(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_arguments(text.split())
    assert caught.value.message == message


def test_cache_large_of_zero_is_the_default(run_ch_image: Runner) -> None:
    assert run_ch_image("--cache-large", "-1", "list").stderr == ""


@pytest.mark.parametrize("name", ["CH_XATTRS", "CH_IMAGE_CACHE_LARGE"])
def test_variables_without_an_effect_say_so(run_ch_image: Runner, name: str) -> None:
    assert run_ch_image("list", env={name: "1"}).stderr == ""
    assert f"${name}: nothing to do: " in run_ch_image("-v", "list", env={name: "1"}).stderr


def test_dependencies(tmp_path: Path) -> None:
    argv = [*command("ch-image"), "--dependencies"]
    environment = {"PATH": os.environ["PATH"] + ":/usr/bin"}
    assert run_program(argv, env=environment).stdout == ""
    done = run_program(argv, env={"PATH": str(tmp_path)}, check=False)
    names = [line.split(": ")[1] for line in done.stdout.splitlines()]
    assert (done.returncode, names) == (1, ["git", "rsync", "ssh-agent"])
    assert done.stderr == ""


def test_profile_is_written_even_if_the_command_fails(run_ch_image: Runner, tmp_path: Path) -> None:
    done = run_ch_image("--profile", "inspect", "nope", cwd=tmp_path, check=False)
    assert (done.returncode, "nope" in done.stderr) == (1, True)
    assert "image_inspect" in (tmp_path / "profile.txt").read_text()
    functions = {
        name
        for _, _, name in pstats.Stats(str(tmp_path / "profile.p")).stats  # type: ignore[attr-defined]
    }
    assert "subcommand" in functions


def test_break_stops_before_the_line(tmp_path: Path) -> None:
    source = Path(image_gestalt.__file__).read_text().splitlines()
    line = source.index("    match arguments.key:") + 1
    done = subprocess.run(
        [
            *command("ch-image"),
            "--break",
            f"front.cli.image_gestalt:{line}",
            "gestalt",
            "storage-path",
        ],
        env=os.environ | {"CH_IMAGE_STORAGE": str(tmp_path / "storage")},
        input="p 'at', arguments.key\ncontinue\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "('at', 'storage-path')" in done.stdout
    assert str(tmp_path / "storage") in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nope:1", "--break: no such module: nope"),
        ("nope.at.all:1", "--break: no such module: nope.at.all"),
        ("front.cli.image:1000000", "--break: image.py:1000000: "),
    ],
)
def test_break_where_nothing_can_stop(run_ch_image: Runner, place: str, message: str) -> None:
    done = run_ch_image("--break", place, "list", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert "Traceback" not in done.stderr


def test_gestalt(run_ch_image: Runner, tmp_path: Path) -> None:
    assert run_ch_image("gestalt", "bucache").stdout == ""
    interpreter = run_ch_image("gestalt", "python-path").stdout.strip()
    assert os.path.samefile(interpreter, sys.executable)
    done = run_ch_image("gestalt", "bucache-dot", check=False, env={"PATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (1, "")
    (tmp_path / "dot").symlink_to("/bin/true")
    assert run_ch_image("gestalt", "bucache-dot", env={"PATH": str(tmp_path)}).stderr == ""


def test_gestalt_logging(run_ch_image: Runner) -> None:
    lines = run_ch_image("gestalt", "logging").stderr.splitlines()
    assert lines[:3] == ["info", "warning: warning", "error: error"]
    assert "debug" in run_ch_image("-vv", "gestalt", "logging").stderr
    done = run_ch_image("gestalt", "logging", "--fail", check=False)
    assert done.returncode == 1
    assert "error: the program failed inexplicably" in done.stderr


def test_debug_variable(run_ch_image: Runner) -> None:
    done = run_ch_image("inspect", "nope", check=False, env={"CH_IMAGE_DEBUG": "1"})
    assert "Traceback" in done.stderr


def test_log_file_has_the_messages_and_both_have_errors(
    run_ch_image: Runner, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environment = {"CH_LOG_FILE": str(log)}
    assert run_ch_image("-v", "gestalt", "logging", env=environment).stderr == "error: error\n"
    assert log.read_text().splitlines()[:2] == ["verbose", "info"]
    size = log.stat().st_size
    done = run_ch_image("inspect", "a\nb", check=False, env=environment)
    assert done.stderr.startswith("error: ")
    assert log.read_text()[size:] == done.stderr  # appended, and escaped
    # A log is verbose, unless the user says how much.
    run_ch_image("gestalt", "logging", env=environment)
    assert log.read_text().count("verbose\n") == 2
    run_ch_image("-q", "gestalt", "logging", env=environment)
    assert log.read_text().count("verbose\n") == 2


def test_log_file_that_cannot_be_written(run_ch_image: Runner, tmp_path: Path) -> None:
    done = run_ch_image("list", check=False, env={"CH_LOG_FILE": str(tmp_path / "no/log")})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: $CH_LOG_FILE: can't write {tmp_path}/no/log: ")


def test_festoon_has_process_and_time(run_ch_image: Runner) -> None:
    lines = run_ch_image("gestalt", "logging", env={"CH_LOG_FESTOON": "1"}).stderr.splitlines()
    assert lines
    assert all(FESTOON.match(line) for line in lines)


def test_dot(run_ch_image: Runner, bb: str, tmp_path: Path) -> None:
    run_ch_image("modify", "-c", "echo '\"\\' >/f", "bb", "new")
    programs = tmp_path / "bin"
    programs.mkdir()
    environment = {"PATH": str(programs)}
    done = run_ch_image("build-cache", "--dot", cwd=tmp_path, env=environment)
    assert "dot(1) of Graphviz is not installed here" in done.stderr
    text = (tmp_path / "build-cache.gv").read_text()
    assert text.startswith('digraph "build cache" {\n')
    assert r"""label="new\nRUN.S echo '\"\\' >/f"];""" in text
    assert text.count(" -> ") == 1
    (programs / "dot").write_text('#!/bin/sh\necho "$@" >"$3"\n')
    (programs / "dot").chmod(0o755)
    environment = {"PATH": f"{programs}:/bin"}
    run_ch_image("build-cache", "--dot=x", cwd=tmp_path, env=environment)
    assert (tmp_path / "x.pdf").read_text() == "-Tpdf -o x.pdf -- x.gv\n"
    (programs / "dot").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    done = run_ch_image("build-cache", "--dot=x", cwd=tmp_path, env=environment, check=False)
    assert "error: --dot: dot(1) can't write x.pdf: broken" in done.stderr
