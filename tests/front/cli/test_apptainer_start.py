"""The three starts of ``sundog apptainer exec`` make exactly the same container.

They are the compiled one (native/apptainer.c), the common one (front/cli/apptainer_exec), which
``SUNDOG_START=python`` asks for, and the usual one, which an option before ``apptainer`` asks for.
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
from scripts.place import CHECKOUT

from sundog.base.pathnames import joined, normalized
from tests.conftest import command, run_program
from tests.image.convert.formats import make_sif
from tests.runtime.fuse.conftest import make_squashfs
from tests.runtime.launcher.test_native_equal import PROBE, inherit

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV = "/usr/bin/env"
PYTHON, COMPILED = "SUNDOG_START=python", "SUNDOG_START=compiled"
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
        odd = path / "odd"
        subprocess.run(["cp", "-a", tree, odd], check=True)
        self.make_odd(odd)
        run_program([*command("ch-image"), "import", odd, "odd"], env=self.environment)
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
        # It leaves the accounts.
        run_program([*ways(self)[2], "exec", "docker://bb", "true"], env=self.environment)

    def make_odd(self, tree: Path) -> None:
        """Make an image whose files are in the way, or are missing."""
        user = f"me:x:{os.geteuid()}:7:::\n"
        (tree / "etc/passwd").write_text(f"\nodd\n{user}a:b\n::::\nroot:x:0:0:::\n{user}last:x:5")
        (tree / "etc/group").unlink()
        (tree / "etc/localtime").unlink(missing_ok=True)
        (tree / "etc/localtime").symlink_to("/no/such")
        (tree / "etc").chmod(0o2751)
        (tree / "srv").mkdir(0o700, exist_ok=True)
        os.utime(tree / "srv", (1, 2))
        variables = (
            "PATH=/a:/sbin\nLD_LIBRARY_PATH=/l\n\nno\n=x\nTMPDIR='/t'\nPS1=mine\nX='\nY=''\n"
        )
        (tree / "ch/environment").write_text(variables)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("start"), busybox_tar)


def ways(place: Place) -> tuple[list[str], list[str], list[str]]:
    """Return the words before a line for each of the three starts."""
    program = command("sundog")[0]
    if not Path(program).read_bytes().startswith(b"\x7fELF"):
        pytest.fail("sundog is not compiled")
    first = [program, "apptainer"]
    return first, [ENV, PYTHON, *first], [program, f"--storage={place.storage}", "apptainer"]


def prepare() -> None:
    """Let the command inherit what is unusual; no start in Python knows of an ignored SIGPIPE."""
    inherit()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def shown(
    place: Place, way: list[str], words: list[str], variables: Mapping[str, str], *, cwd: str
) -> tuple[int, list[str], str]:
    """Return status and output of a line, without what differs from start to start."""
    environment = place.environment | dict(variables)

    def placed(text: str) -> str:
        return text.replace("PLACE", str(place.path)).replace("CHECKOUT", str(CHECKOUT))

    done = subprocess.run(
        [*way, *(placed(word) for word in words)],
        env={name: placed(text) for name, text in environment.items()},
        cwd=placed(cwd),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        restore_signals=False,
        preexec_fn=prepare,
        timeout=60,
        check=False,
    )
    text = done.stdout.decode("utf-8", "backslashreplace")
    text = re.sub(r"^\d+ \d+ \d+:\d+ (?=/)", "", text, flags=re.M)  # mountinfo
    others = rf"^/\S* (?!{place.home} )/(dev|proc|sys|tmp|var/tmp)/\S* .* - .*\n"
    text = re.sub(others, "", text, flags=re.M)  # mounts of others, below binds
    text = re.sub(r"(?<=/proc/self/fd/)\d+", "N", text)
    text = re.sub(r"(?<=/proc/)\d+(?=/fd)|(?<=pipe:\[)\d+", "N", text)
    text = re.sub(r"^(?=.* (proc|sys|dev|tmp|mnt|\.\.?)$).*\n", "", text, flags=re.M)  # ls: links
    text = re.sub(r" [A-Z][a-z]{2} [ \d]\d [ \d:]{5} ", " TIME ", text)  # ls: each start's own
    text = re.sub(r"^(/(?:tmp|dev) \d+ \d+ \d+) .*", r"\1", text, flags=re.M)  # others use them
    errors = re.sub(r"\[\d+\]", "[N]", done.stderr.decode())
    return done.returncode, text.splitlines(), re.sub(r".* unset SUNDOG_START\n", "", errors)


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
    "root's directory": (["exec", "docker://bb", *SH], {}, "/"),
    "a system's directory": (["exec", "docker://bb", *SH], {}, "/usr"),
    "below /dev": (["exec", "docker://bb", *SH], {}, "/dev/shm"),
    "a directory to bind": (["exec", "docker://bb", *SH], {"TMPDIR": "/tmp"}, "CHECKOUT/src"),
    "a home to bind": (["exec", "docker://odd", *SH], {"HOME": "CHECKOUT"}, "CHECKOUT/src"),
    "an odd image": (["exec", "docker://odd", *SH], {"TMPDIR": "/x", "LD_A": "1"}, "PLACE/home"),
    "variables of the image": (
        ["exec", "docker://odd", "env", "-0"],
        {"TMPDIR": "PLACE/data", "PS1": "theirs", "X": "theirs", "CH_RUNNING": "x", "LC_A": "y",
         "SLURM_JOB_ID": "7", "http_proxy": "p", "SHLVL": "9", "OLDPWD": "/"},
        "PLACE/data",
    ),
    # These are rare, and these are wrong.
    "a home below a link": (["exec", "docker://bb", "id"], {"HOME": "PLACE/link/x"}, "/"),
    "a home that is not plain": (["exec", "docker://bb", "id"], {"HOME": "PLACE/home/"}, "/"),
    "a home that is not there": (["exec", "docker://bb", "id"], {"HOME": "PLACE/no"}, "/"),
    "an empty path": (["exec", "docker://bb", "env", "-0"], {"PATH": ""}, "/"),
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


# The lines that the compiled start serves.
SERVED = {
    *("an image", "root's directory", "a system's directory", "below /dev"),
    *("a directory to bind", "a home to bind", "an odd image", "variables of the image"),
    *("variables", "a status", "an empty path"),
}


@pytest.mark.parametrize("case", LINES)
def test_all_starts_make_the_same(place: Place, case: str) -> None:
    words, variables, cwd = LINES[case]
    first, *others = (shown(place, way, words, variables, cwd=cwd) for way in ways(place))
    for other in others:
        assert [*difflib.unified_diff(first[1], other[1], lineterm="")] == []
        assert first[0] == other[0]
        assert [*difflib.unified_diff(first[2].splitlines(), other[2].splitlines())] == []
    assert "Traceback" not in first[2]
    if words[-1] == PROBE:
        assert (first[0], "== mountinfo" in first[1]) == (0, True), first[2]


@pytest.mark.parametrize("case", LINES)
def test_what_the_compiled_start_serves(place: Place, case: str) -> None:
    words, variables, cwd = LINES[case]
    compiled = [ENV, COMPILED, *ways(place)[0]]
    if words[:1] != ["exec"] or not words[1:2] or not words[1].startswith("docker://"):
        return  # it does not try
    *_, errors = shown(place, compiled, words, variables, cwd=cwd)
    assert ("declined: " in errors) == (case not in SERVED), errors


def test_odd_strings(place: Place) -> None:
    """Neither a shell nor a dictionary can hold these environments."""
    odd = [b"no equals sign", b"", b"A=1", b"B=\xff\n$A", b"A=2", b"LC_ALL=C", b"PATH", b"USER"]
    strings = [b"%b=%b" % (os.fsencode(n), os.fsencode(t)) for n, t in place.environment.items()]
    found = []
    for way in ways(place):
        start = [way.pop(0), way.pop(0)][1:] if way[0] == ENV else []
        line = [*way, "exec", "docker://bb", "env", "-0"]
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                EXECUTE,
                repr(line),
                repr([*strings, *odd, *map(str.encode, start)]),
            ],
            capture_output=True,
            check=True,
        )
        found.append(done.stdout.split(b"\0"))
    assert found[0] == found[1] == found[2]
    assert {b"A=1", b"B=\xff\n$A"} <= {*found[0]}


def test_a_site_and_old_accounts_are_left_to_python(place: Place) -> None:
    """So are an image that is replaced by one of another kind, and damaged accounts."""
    compiled = [ENV, COMPILED, *ways(place)[0], "exec", "docker://bb", "true"]
    (accounts,) = Path(place.storage, "accounts").iterdir()
    text = accounts.read_bytes()
    for damage in (text[:-1], b"", text.replace(b":/bin/sh", b":/bin/no"), text + b"x\0"):
        accounts.write_bytes(damage)
        done = run_program(compiled, check=False, env=place.environment)
        assert "declined: " in done.stderr, damage
    accounts.write_bytes(text)
    os.utime(accounts, (1, 1))
    assert run_program(compiled, check=False, env=place.environment).returncode == 255
    run_program([*ways(place)[0], "exec", "docker://bb", "true"], env=place.environment)
    run_program(compiled, env=place.environment)
    done = run_program([*compiled[:-2], "docker://none", "x"], check=False, env=place.environment)
    assert "declined: " in done.stderr


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
        argv = ["strace", *options, *inject, *ways(place)[1], "exec", "docker://bb"]
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
