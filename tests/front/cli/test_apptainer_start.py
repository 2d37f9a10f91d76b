"""The common start of ``sundog apptainer exec`` and the usual one make exactly the same container.

An option before ``apptainer`` makes a start usual.
"""

from __future__ import annotations

import difflib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.pathnames import joined, normalized
from tests.conftest import command, run_program
from tests.image.convert.formats import make_sif
from tests.runtime.fuse.conftest import make_squashfs
from tests.runtime.launcher.test_native_equal import PROBE, inherit

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_SCRIPT = 'export PATH="/opt/bin:/bin"\nexport FOO="${FOO:-of the image}"\n'
SHELL_SCRIPT = "export DATE=$(echo of a shell)\n"


class Place:
    """A storage directory with an image, a directory and SIFs of it, and directories of a user."""

    def __init__(self, path: Path, busybox: Path) -> None:
        self.path = path
        self.home = path / "home"
        self.storage = str(path / "storage")
        for directory in (self.home, path / "run", path / "data", path / "work"):
            directory.mkdir(mode=0o700)
        (path / "env").write_text("E='of a file'\n")
        (path / "conf").write_text(f"bind path = {path}/data\nmount tmp = no\n")
        self.environment = {
            "CH_IMAGE_STORAGE": self.storage,
            "XDG_RUNTIME_DIR": str(path / "run"),
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "USER": os.environ.get("USER", ""),
        }
        tree = path / "tree"
        tree.mkdir()
        subprocess.run(["tar", "-xf", busybox, "-C", tree], check=True)
        (tree / "ch").mkdir(exist_ok=True)
        (tree / "ch/environment").write_text("A='of the image'\nLANG=of-the-image\nP=a:$A\n")
        run_program([*command("ch-image"), "import", tree, "bb"], env=self.environment)
        (tree / "ch/environment").unlink()
        scripts = tree / ".singularity.d/env"
        scripts.mkdir(parents=True)
        (scripts / "10-docker.sh").write_text(ENV_SCRIPT)
        (tree / ".singularity.d/runscript").write_text('#!/bin/sh\nexec "$@"\n')
        (tree / ".singularity.d/runscript").chmod(0o755)
        for name, text in (("x.sif", None), ("shell.sif", SHELL_SCRIPT)):
            if text is not None:
                (scripts / "20-more.sh").write_text(text)
            squashfs = make_squashfs(tree, path / f"{name}.squashfs")
            (path / name).write_bytes(make_sif(squashfs.read_bytes()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("start"), busybox_tar)


def ways(place: Place) -> tuple[list[str], list[str]]:
    """Return the words before a line for the common start, and for the usual one."""
    program = command("sundog")[0]
    if not Path(program).read_bytes().startswith(b"\x7fELF"):
        pytest.fail("sundog is not compiled")
    return [program, "apptainer"], [program, f"--storage={place.storage}", "apptainer"]


def shown(
    place: Place, way: list[str], words: list[str], variables: Mapping[str, str], *, cwd: str
) -> tuple[int, list[str], str]:
    """Return status and output of a line, without what differs from start to start."""
    environment = place.environment | dict(variables)
    done = subprocess.run(
        [*way, *(word.replace("PLACE", str(place.path)) for word in words)],
        env={name: text.replace("PLACE", str(place.path)) for name, text in environment.items()},
        cwd=cwd.replace("PLACE", str(place.path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        restore_signals=False,
        preexec_fn=inherit,
        timeout=60,
        check=False,
    )
    text = done.stdout.decode("utf-8", "backslashreplace")
    text = re.sub(r"^\d+ \d+ \d+:\d+ (?=/)", "", text, flags=re.M)  # mountinfo
    text = re.sub(r"(?<=/proc/self/fd/)\d+", "N", text)
    text = re.sub(r"(?<=/proc/)\d+(?=/fd)|(?<=pipe:\[)\d+", "N", text)
    text = re.sub(r"^(?=.* (proc|sys|dev|tmp|mnt|\.\.?)$).*\n", "", text, flags=re.M)  # ls: links
    text = re.sub(r" [A-Z][a-z]{2} [ \d]\d [ \d:]{5} ", " TIME ", text)  # ls: each start's own
    text = re.sub(r"^(/(?:tmp|dev) \d+ \d+ \d+) .*", r"\1", text, flags=re.M)  # others use them
    return done.returncode, text.splitlines(), re.sub(r"\[\d+\]", "[N]", done.stderr.decode())


SH = ["/bin/sh", "-c", PROBE]
# Words after ``apptainer``, variables, and the working directory.
LINES: dict[str, tuple[list[str], dict[str, str], str]] = {
    "a SIF": (["exec", "PLACE/x.sif", *SH], {}, "PLACE/home"),
    "an image": (["exec", "docker://bb", *SH], {"FOO": "1", "LANG": "C"}, "PLACE/work"),
    "a directory": (["exec", "PLACE/tree", *SH], {}, "PLACE/data"),
    "run": (["run", "PLACE/x.sif", *SH], {}, "/"),
    "run of an image": (["run", "docker://bb", "sh", "-c", "id; pwd; env -0"], {}, "/usr"),
    "shell": (["shell", "docker://bb", "-c", "id; pwd; env -0"], {}, "/dev"),
    "variables": (
        ["exec", "docker://bb", "env", "-0"],
        {"BASH_FUNC_f%%": "() { :; }", "a.b": "\udcff", "LD_X": "1", "PS1": "x", "_": "y"},
        "/tmp",
    ),
    "Apptainer's variables": (
        ["exec", "PLACE/x.sif", "env", "-0"],
        {"APPTAINERENV_FOO": "$HOME", "SINGULARITYENV_B": "2", "APPTAINER_BIND": "PLACE/data:/d"},
        "/",
    ),
    "options": (
        ["-q", "exec", "--bind", "PLACE/data:/mnt:ro", "--env", "X=a b,Y=$FOO", "--env-file",
         "PLACE/env", "--no-home", "--writable-tmpfs", "--cwd=/mnt", "--no-umask", "docker://bb",
         *SH],
        {}, "PLACE/work",
    ),
    "contained": (["-v", "exec", "-c", "-e", "--no-eval", "PLACE/x.sif", "env"], {}, "PLACE/home"),
    "a site": (["exec", "docker://bb", *SH], {"APPTAINER_CONFIG_FILE": "PLACE/conf"}, "/var/tmp"),
    "root": (["exec", "--fakeroot", "docker://bb", "id"], {}, "PLACE/home"),
    # These are rare, and these are wrong.
    "a shell's script": (["exec", "PLACE/shell.sif", "sh", "-c", "echo $DATE"], {}, "/"),
    "processes": (["exec", "--pid", "docker://bb", "sh", "-c", "echo $$"], {}, "/"),
    "a directory to make": (
        ["exec", "-c", "--workdir", "PLACE/made", "docker://bb", "ls", "-a", "/tmp"], {}, "/"),
    "no variable": (["exec", "docker://bb", "id"], {"HOME": "relative"}, "/"),
    "no command": (["exec", "docker://bb", "no-such"], {}, "/"),
    "no image": (["exec", "PLACE/none.sif", "true"], {}, "/"),
    "a wrong image": (["exec", "PLACE/conf", "true"], {}, "/"),
    "a wrong option": (["exec", "--wrong", "docker://bb", "true"], {}, "/"),
    "a wrong variable": (["exec", "docker://bb", "true"], {"APPTAINER_CONTAIN": "perhaps"}, "/"),
    "no action": (["exec"], {}, "/"),
    "a version": (["--version"], {}, "/"),
    "a status": (["exec", "docker://bb", "sh", "-c", "kill -9 $$"], {}, "/"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_both_starts_make_the_same(place: Place, case: str) -> None:
    words, variables, cwd = LINES[case]
    common, usual = (shown(place, way, words, variables, cwd=cwd) for way in ways(place))
    assert [*difflib.unified_diff(common[1], usual[1], lineterm="")] == []
    assert (common[0], common[2]) == (usual[0], usual[2])
    assert "Traceback" not in common[2]
    if words[-1] == PROBE:
        assert (common[0], "== mountinfo" in common[1]) == (0, True), common[2]


def test_odd_strings(place: Place) -> None:
    """Neither a shell nor a dictionary can hold these environments."""
    odd = [b"no equals sign", b"", b"A=1", b"B=\xff\n$A", b"A=2", b"LC_ALL=C"]
    strings = [b"%b=%b" % (os.fsencode(n), os.fsencode(t)) for n, t in place.environment.items()]
    found = []
    for way in ways(place):
        line = [*way, "exec", "docker://bb", "env", "-0"]
        done = subprocess.run(
            [sys.executable, "-c", EXECUTE, repr(line), repr([*strings, *odd])],
            capture_output=True,
            check=True,
        )
        found.append(done.stdout.split(b"\0"))
    assert found[0] == found[1]
    assert {b"A=1", b"B=\xff\n$A"} <= {*found[0]}


EXECUTE = """
import ast, os, sys
from sundog.base.kernel.process import execve
line, strings = map(ast.literal_eval, sys.argv[1:])
line = [os.fsencode(word) for word in line]
sys.exit(execve(line[0], line, strings))
"""


def test_an_interruption_at_any_moment_ends_it_in_silence(place: Place, tmp_path: Path) -> None:
    options = ["-qq", "-e", "trace=openat", "-e", "signal=none", "-o", str(tmp_path / "log")]
    for number in (9, 25, 29, 33):
        inject = ["-e", f"inject=openat:signal=SIGINT:when={number}"]
        argv = ["strace", *options, *inject, *ways(place)[0], "exec", "docker://bb"]
        done = run_program([*argv, "sleep", "9"], check=False, env=place.environment)
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", ""), number


def test_path_names_are_those_of_the_standard_library() -> None:
    names = [
        "",
        "/",
        "//",
        "///",
        ".",
        "..",
        "a",
        "a/b",
        "a//b/",
        "/a/../..",
        "../a/..",
        "a/./b/..",
    ]
    for name in names:
        assert normalized(name) == os.path.normpath(name)
        for other in names:
            assert joined(name, other) == os.path.join(name, other)
            assert normalized(joined(name, other)) == os.path.normpath(joined(name, other))
