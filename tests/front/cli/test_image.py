"""``ch-image`` as a program: subcommands, exit statuses, standard output and error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sundog import __version__
from sundog.base.record.location import account_name
from tests.conftest import command, run_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner


def test_version(run_ch_image: Runner, storage: Path) -> None:
    assert run_ch_image("--version").stdout == f"{__version__}\n"
    assert run_ch_image("-v", "--version").stdout == f"{__version__}\n"
    assert not storage.exists()


def test_version_imports_next_to_nothing() -> None:
    script = (
        "import sys; sys.argv = ['ch-image', '--version']\n"
        "from sundog.front.cli.image import main\n"
        "main(); print(*[name for name in sys.modules if name.startswith('sundog')])\n"
        "print('argparse' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == [
        "sundog sundog.front sundog.front.cli sundog.front.cli.image",
        "False",
    ]


def test_no_arguments(run_ch_image: Runner) -> None:
    done = run_ch_image(check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("usage: ch-image")


def test_help(run_ch_image: Runner) -> None:
    done = run_ch_image("--help")
    assert done.stderr == ""
    assert done.stdout.startswith("usage: ch-image")


def test_help_of_a_subcommand(run_ch_image: Runner) -> None:
    assert run_ch_image("help").stdout == run_ch_image("--help").stdout
    assert run_ch_image("help", "build").stdout == run_ch_image("build", "--help").stdout
    assert run_ch_image("help", "rm").stdout.startswith("usage: ch-image rm ")
    done = run_ch_image("help", "lst", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: not a subcommand: lst\nhint: did you mean list? See ch-image --help\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-v"], "error: CMD not specified"),
        (["bogus"], "invalid choice: 'bogus'"),
        (["list", "--bogus"], "error: unrecognized arguments: --bogus"),
        (["-q", "-v", "list"], 'error: "--quiet" incompatible with "--verbose"'),
        (["build", "--force=bogus", "."], "error: --force=bogus: no such mode"),
        (
            ["build", "--force=notify", "--force-cmd=x,y", "."],
            "error: --force-cmd and --force=notify",
        ),
        (["build", "--force-cmd=x", "."], "error: --force-cmd: at least one ARG is needed"),
        (["build", "/nowhere"], "error: context must be a directory: /nowhere"),
        (["build", "-b", ":/x", "."], "error: --bind: no source provided"),
        (["build", "-b", "/x:y", "."], "error: --bind: destination must be absolute"),
        (["build", "-b", "/x:ro", "."], "error: --bind: destination must be absolute"),
        (["build", "--build-arg", "=x", "."], "error: --build-arg: =x: no name"),
    ],
)
def test_wrong_command_line(run_ch_image: Runner, arguments: list[str], message: str) -> None:
    done = run_ch_image(*arguments, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "\nhint: " in done.stderr


def test_storage_path(run_ch_image: Runner, storage: Path, tmp_path: Path) -> None:
    assert run_ch_image("gestalt", "storage-path").stdout == f"{storage}\n"
    done = run_ch_image("-s", "other", "gestalt", "storage-path", cwd=tmp_path)
    assert done.stdout == f"{tmp_path}/other\n"
    done = run_ch_image("gestalt", "storage-path", env={"CH_IMAGE_STORAGE": "", "USER": "x"})
    name = account_name(os.geteuid()).decode()  # $USER is not this user's
    assert done.stdout == f"/var/tmp/{name}.sundog\n"
    assert not storage.exists()


def test_import_list_delete(run_ch_image: Runner, busybox_tar: Path) -> None:
    done = run_ch_image("import", busybox_tar, "bb")
    assert done.stdout == ""
    assert done.stderr == f"importing:    {busybox_tar}\ndestination:  bb\ndone\n"
    for name in ("a:1", "a:2", "example.com/a:3"):
        run_ch_image("import", busybox_tar, name)
    assert run_ch_image("list").stdout == "a:1\na:2\nbb\nexample.com/a:3\n"
    lines = run_ch_image("list", "-l").stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines] == [
        "a:1            ",
        "a:2            ",
        "bb             ",
        "example.com/a:3",
    ]
    assert run_ch_image("list", "-l", "bb").stdout.split(" | ")[0] == "bb"
    for words in (["-l"], ["--format=json"], ["bb"]):
        done = run_ch_image("list", "-u", *words, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: --undeletable: it lists the names of all\nhint: ")
    done = run_ch_image("delete", "a:*", "docker.io/library/bb")
    assert done.stderr == "deleting image: a:1\ndeleting image: a:2\ndeleting image: bb\n"
    assert run_ch_image("list").stdout == "example.com/a:3\n"


def test_a_caller_that_ignores_the_end_of_children(storage: Path, busybox_tar: Path) -> None:
    within = ("env", "--ignore-signal=CHLD", *command("ch-image"))
    run_program([*within, "import", busybox_tar, "bb"], env={"CH_IMAGE_STORAGE": str(storage)})


def test_names_of_other_tools(run_ch_image: Runner, bb: str) -> None:
    assert run_ch_image("ls").stdout == run_ch_image("list").stdout
    assert run_ch_image("images").stdout == run_ch_image("list", "-l").stdout
    assert run_ch_image("rm", "bb").stderr == "deleting image: bb\n"
    assert run_ch_image("prune").stdout == run_ch_image("build-cache", "--gc").stdout


def test_delete_goes_on_after_what_is_not_there(run_ch_image: Runner, bb: str) -> None:
    done = run_ch_image("delete", "no", "BAD:", "b*", "x?", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "deleting image: bb",
        "error: no matching image, can't delete: no BAD: x?",
        "hint: ch-image list",
    ]
    assert run_ch_image("list").stdout == ""


def test_import_of_nothing_and_under_a_bad_name(run_ch_image: Runner, tmp_path: Path) -> None:
    done = run_ch_image("import", tmp_path / "nothing", "bb", check=False)
    assert done.returncode == 1
    assert f"{tmp_path}/nothing" in done.stderr.splitlines()[-1]
    done = run_ch_image("import", tmp_path, "Bad", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: not an image reference: 'Bad'")


def test_reset(run_ch_image: Runner, bb: str, storage: Path, tmp_path: Path) -> None:
    done = run_ch_image("reset")
    assert done.stderr == f"deleting everything in storage directory: {storage}\n"
    assert run_ch_image("list").stdout == ""
    assert os.listdir(storage / "layers") == []
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "file").write_text("precious")
    done = run_ch_image("reset", "-s", stranger, check=False)
    assert done.returncode == 1
    assert "not a Sundog storage directory" in done.stderr
    assert (stranger / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "place", "marker"),
    [
        ("FROM scratch\nRUNX y\n", "2: unknown instruction: RUNX", "   2 | RUNX y"),
        ("RUN x\n", "1: RUN before the first FROM", "   1 | RUN x"),
        ("FROM scratch\nEXPOSE x\n", "2: not a port: x", "   2 | EXPOSE x"),
        ("FROM scratch\nENV A=${x\n", "2: ", "   2 | ENV A=${x"),
    ],
)
def test_fault_in_a_dockerfile(
    run_ch_image: Runner, tmp_path: Path, text: str, place: str, marker: str
) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    done = run_ch_image("build", "-t", "x", tmp_path, check=False)
    assert done.returncode == 1
    assert f"error: {path}:{place}" in done.stderr
    lines = done.stderr.splitlines()
    shown = lines.index(marker)
    assert lines[shown + 1].strip(" |~") == "^"


def test_dockerfile_that_is_not_there(run_ch_image: Runner, tmp_path: Path) -> None:
    done = run_ch_image("build", "-t", "x", tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: can't read {tmp_path}/Dockerfile: No such file or directory",
        "hint: name the Dockerfile with -f",
    ]
    done = run_ch_image("build", "-t", "x", "-f", "nosuch", tmp_path, check=False)
    assert done.stderr.splitlines()[0] == "error: can't read nosuch: No such file or directory"
    assert done.stderr.splitlines()[1].startswith("hint: there is no /")
    (tmp_path / "inside").write_text("FROM scratch\n")
    done = run_ch_image("build", "-t", "x", "-f", "inside", tmp_path, check=False)
    assert done.stderr.splitlines() == [
        "error: can't read inside: No such file or directory",
        f"hint: -f is relative to the working directory: -f {tmp_path}/inside",
    ]


def test_dockerfile_on_standard_input(tmp_path: Path, storage: Path) -> None:
    done = subprocess.run(
        [*command("ch-image"), "build", "-t", "x", "-"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        input="FROM scratch\nLABEL a=b\nFROMM x\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "error: standard input:3: unknown instruction: FROMM" in done.stderr


def test_reader_of_the_output_that_goes_away(storage: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*command("ch-image"), "gestalt", "storage-path"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_stack_trace_only_on_request(run_ch_image: Runner, tmp_path: Path) -> None:
    done = run_ch_image("build", "-t", "x", tmp_path, check=False)
    assert "Traceback" not in done.stderr
    done = run_ch_image("--debug", "build", "-t", "x", tmp_path, check=False)
    assert "Traceback" in done.stderr


def test_image_that_lost_a_layer(
    run_ch_image: Runner, run_ch_run: Runner, storage: Path, busybox_tar: Path, tmp_path: Path
) -> None:
    """A cleaner of /var/tmp removes a layer; the hint says what to do."""
    run_ch_image("import", busybox_tar, "bb")
    for layer in (storage / "layers").iterdir():
        shutil.rmtree(layer)
    (tmp_path / "Dockerfile").write_text("FROM bb\nRUN true\n")
    damage = "error: image in storage is damaged: bb: "
    failed = run_ch_image("build", "-t", "x", tmp_path, check=False)
    assert damage in failed.stderr
    assert "hint: import or build it again" in failed.stderr
    if os.environ.get("CH_IMAGE_DRIVER") != "copy":
        assert damage in run_ch_run("bb", "--", "true", check=False).stderr
    run_ch_image("import", busybox_tar, "bb")
    run_ch_image("build", "-t", "x", tmp_path)
    run_ch_run("x", "--", "true")
    run_ch_image("delete", "bb")


def test_damaged_archive_is_named(run_ch_image: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    failed = run_ch_image("-q", "import", tmp_path / "a.tar", "bb", check=False)
    assert f"error: can't import {tmp_path}/a.tar: " in failed.stderr


@pytest.mark.parametrize("words", ["list", "inspect bb", "save bb", "gestalt storage-path"])
def test_output_that_does_not_fit_is_told(
    words: str, run_ch_image: Runner, bb: str, storage: Path
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command("ch-image"), *words.split()],
            env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: /dev/stdout: no space left on devtmpfs")
    assert "Traceback" not in done.stderr


def test_output_that_nobody_wants(run_ch_image: Runner, bb: str, storage: Path) -> None:
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command("ch-image"), "list"],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (closed.returncode, closed.stderr) == (0, b"")
