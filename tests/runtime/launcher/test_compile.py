"""The source of the compiled ``ch-run``, its header, and the wheels that contain it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from scripts.place import CHECKOUT

from sundog.base.installation import COMMANDS
from tests.base.kernel import libseccomp
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.installation import STUB, compiled_start, load_packaging

NATIVE = CHECKOUT / "native"
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
MACHINE = os.uname().machine
FOREIGN = "s390x" if MACHINE != "s390x" else "x86_64"


# The source


def test_it_is_small() -> None:
    texts = [path.read_text(encoding="ascii").splitlines() for path in NATIVE.rglob("*.[ch]")]
    assert sum(map(len, texts)) <= 3_200
    assert max(map(len, texts)) <= 400
    assert max(len(line) for text in texts for line in text) <= 100


@pytest.mark.parametrize("compiler", [name for name in ("gcc", "clang") if shutil.which(name)])
def test_no_compiler_warns(compiler: str, tmp_path: Path) -> None:
    header = load_packaging("native_header").header(CHECKOUT / "src")
    (tmp_path / "generated.h").write_text(header)
    options = ("-std=c11", "-O2", "-ffreestanding", *WARNINGS, f"-I{tmp_path}", "-c")
    done = subprocess.run(
        [compiler, *options, "-o", tmp_path / "main.o", NATIVE / "main.c"],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


# libseccomp takes these calls for parts of socketcall(2), which these kernels also have:
# arch/powerpc and arch/s390, kernel/syscalls/syscall.tbl.
SOCKET_CALLS = (*("socket", "bind", "connect", "socketpair", "getsockopt", "sendmsg", "recvmsg"),)
DIRECT = {
    "ppc64le": dict(zip(SOCKET_CALLS, (326, 327, 328, 333, 340, 341, 342), strict=True)),
    "s390x": dict(zip(SOCKET_CALLS, (359, 361, 362, 360, 365, 370, 372), strict=True)),
}


def test_system_call_numbers() -> None:
    header = load_packaging("native_header")
    assert {*header.COLUMNS} == {*header.MACROS} == {*load_packaging("compile_start").MACHINES}
    for machine, column in header.COLUMNS.items():
        for call, numbers in header.NUMBERS.items():
            expected = libseccomp.number(call, machine)
            if expected is None:
                expected = DIRECT[machine][call]
            assert expected == numbers[column], (machine, call)


# The wheels


def build(directory: Path, *, status: int = 0, **environ: str) -> tuple[Path, str]:
    """Build a wheel of the checkout without pip; return the wheel and the output."""
    out = directory / "wheels"
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return next(iter(out.glob("*.whl")), out), done.stdout + done.stderr


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Build a wheel where neither a compiler nor anything else is in PATH."""
    return build(tmp_path_factory.mktemp("pure"), PATH="/nonexistent")


def starts_in(wheel: Path) -> dict[str, bytes]:
    """Return the files of the wheel that start its commands."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.split(".data/")[1]: archive.read(name)
            for name in archive.namelist()
            if ".data/scripts/" in name or ".data/data/share/sundog/" in name
        }


SCRIPT = (CHECKOUT / "packaging" / "ch-run").read_bytes()
BOTH = {
    "scripts/sundog-python": (CHECKOUT / "packaging" / "sundog-python").read_bytes(),
    **{
        f"data/share/sundog/{name}": (CHECKOUT / "packaging" / name).read_bytes()
        for name in ("start", "modulefile.lua", "modulefile.tcl")
    },
}
SCRIPTS = {f"scripts/{name}": SCRIPT for name in COMMANDS}


def entries(wheel: Path) -> list[tuple[object, ...]]:
    """Return the wheel's entries but those that its platforms change, with their contents."""
    with zipfile.ZipFile(wheel) as archive:
        return [
            (info.filename, info.date_time, info.external_attr, info.extra, archive.read(info))
            for info in archive.infolist()
            if not info.filename.endswith((".dist-info/WHEEL", ".dist-info/RECORD"))
            and ".data/scripts/" not in info.filename
        ]


def test_a_wheel_where_a_compiler_is(tmp_path: Path) -> None:
    """Another build makes the same; that of a release is linked for more platforms."""
    wheel, said = build(tmp_path)
    assert wheel.name.endswith(f"-py3-none-linux_{MACHINE}.whl")
    assert f"ch-run: compiled (py3-none-linux_{MACHINE})" in said.splitlines()
    programs = dict.fromkeys(SCRIPTS, compiled_start())
    stubs = {f"data/{STUB.parent}/{name}": SCRIPT for name in COMMANDS}
    assert starts_in(wheel) == BOTH | programs | stubs
    made = entries(wheel)
    release, _ = build(tmp_path, SUNDOG_COMPILE=MACHINE)
    platforms = load_packaging("compile_start").RELEASE_PLATFORMS[MACHINE]
    assert release.stem.split("-")[-1] == ".".join(f"{name}_{MACHINE}" for name in platforms)
    assert entries(release) == made


# A compiler that writes another file: the word after -o is its last.
FAKE = '#!/bin/sh\nfor out; do :; done\n{ %s; } >"$out" && chmod +x "$out"\n'


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"SUNDOG_COMPILE": "no"}, "SUNDOG_COMPILE=no"),
        ({"SUNDOG_COMPILE": "vax"}, "not known on vax, linux"),
        ({"PATH": "/nonexistent"}, "no C compiler"),
        ({"CC": "/nonexistent/cc"}, "[Errno 2] No such file or directory: '/nonexistent/cc'"),
        ({"CC": "false"}, "false: exit status 1"),
        ({"CC": "sh -c 'echo 1; echo such is life >&2; exit 2' -"}, "sh: such is life"),
        ({"FAKE": ":"}, f"what it makes is no program for {MACHINE}"),
        ({"FAKE": "cat /bin/true"}, "it does not work: exit status 0"),
        ({"FAKE": "head -c 64 /bin/true"}, "it does not run: "),
    ],
)
def test_why_nothing_is_compiled(tmp_path: Path, environ: dict[str, str], reason: str) -> None:
    if script := environ.get("FAKE"):
        (tmp_path / "cc").write_text(FAKE % script)
        (tmp_path / "cc").chmod(0o755)
        environ = {"CC": str(tmp_path / "cc")}
    compiler = load_packaging("compile_start")
    with pytest.raises(compiler.NotCompiledError, match=re.escape(reason)):
        compiler.compile_start(CHECKOUT, tmp_path, environ)


def test_a_wheel_where_none_is(pure: tuple[Path, str]) -> None:
    wheel, said = pure
    assert wheel.name.endswith("-py3-none-any.whl")
    (line,) = [line for line in said.splitlines() if line.startswith("ch-run: ")]
    assert line == "ch-run: a script, which starts slower (no C compiler)"
    assert starts_in(wheel) == BOTH | SCRIPTS


def test_a_release_that_cannot_be_compiled_fails(tmp_path: Path) -> None:
    _, said = build(tmp_path, SUNDOG_COMPILE=FOREIGN, CC="gcc", status=1)
    assert f"gcc: what it makes is no program for {FOREIGN}" in said


def test_what_a_pure_wheel_installs_works(
    pure: tuple[Path, str], tmp_path: Path, image: Path
) -> None:
    wheel, _ = pure
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline"]
    target = tmp_path / "target"
    options = ["--no-cache", "--no-deps", "--python", sys.executable, "--target", str(target)]
    subprocess.run([*uv, *options, str(wheel)], check=True)
    done = subprocess.run(
        [target / "bin" / "ch-run", image, "--", "sh", "-c", "echo inside; exit 7"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"inside\n", b"")


@pytest.mark.parametrize("member", ["../x", "a/../../x", "/x", "a.data/data/../../../x"])
def test_a_member_of_a_wheel_that_leads_out(member: str, tmp_path: Path) -> None:
    """The program that lays wheels out for the packages of distributions refuses it."""
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr(member, "text")
    program = CHECKOUT / "packaging" / "lay_out.py"
    done = subprocess.run(
        [sys.executable, program, tmp_path / "one/two/root", tmp_path / "a.whl"],
        capture_output=True,
        check=False,
    )
    assert done.returncode
    assert b"leads out" in done.stderr
    assert [*tmp_path.rglob("x")] == []


def test_the_source_distribution_holds_the_source(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        held = {name.partition("/")[2] for name in file.getnames()}
    for directory in ("native", "packaging"):
        files = (path for path in (CHECKOUT / directory).iterdir() if path.is_file())
        assert {f"{directory}/{path.name}" for path in files} <= held
