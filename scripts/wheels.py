"""`make wheels`: the wheels of a release, in dist/.

One for each machine that the compiled ch-run knows, made by the compiler that ziglang on PyPI is,
in a virtual environment of its own; and a pure one. Two runs on the same commit make the same
bytes, as long as hatchling's version is the same: times are the commit's. The program for aarch64
is tried under Debian's qemu-user, which cannot make it a container.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from scripts import install, packages
from scripts.place import CHECKOUT, WorkshopError, digest, own

NEEDS = ("python3", "python3-pip", "python3-venv", "qemu-user")
ZIG = "ziglang==0.17.1"
# Zig's names for the machines of packaging/compile_start.py.
TARGETS = {
    "x86_64": "x86_64",
    "aarch64": "aarch64",
    "ppc64le": "powerpc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
TRIED = "aarch64"
EMULATOR = f"qemu-{TRIED}"


def zig() -> Path:
    """Return the interpreter of a venv that holds ziglang."""
    venv = own("venvs") / f"zig-{digest([], ZIG)}"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        shutil.rmtree(venv, ignore_errors=True)
        install.run([str(install.SYSTEM_PYTHON), "-m", "venv", "--without-pip", str(venv)])
        install.pip("--python", str(python), "install", ZIG)
        (venv / "complete").touch()
    return python


def commit_time() -> str:
    """Return when the checkout's commit was made, in seconds; hatchling's own time outside git."""
    command = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def build(out: Path, machine: str, cache: str) -> None:
    """Make the wheel for a machine in ``out``; for "no" machine, the pure one."""
    fixed = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    if time := commit_time():
        fixed["SOURCE_DATE_EPOCH"] = time
    command = []
    if machine != "no":
        command = [str(zig()), "-m", "ziglang", "cc", "-target", f"{TARGETS[machine]}-linux-musl"]
        # Zig would add checks that want a library of their own.
        command.append("-fno-sanitize=all")
    choice = {"SUNDOG_COMPILE": machine, "CC": shlex.join(command)}
    wheel = ["wheel", "--no-deps", "--wheel-dir", str(out), str(CHECKOUT)]
    install.pip(*wheel, environment=fixed | choice)


def attempt(wheel: Path, directory: Path) -> None:
    """Try what the wheel for aarch64 holds: it parses, declines, and hands over.

    Raises WorkshopError where it does not. The launcher that it hands over to is this machine's
    own Python, started by this machine's /bin/sh.
    """
    pythons = f"python{'.'.join(map(str, install.version(install.SYSTEM_PYTHON)))}"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    (data,) = directory.glob("*.data")
    program = directory / "bin" / "ch-run"
    program.parent.mkdir()
    (data / "scripts" / "ch-run").rename(program)
    program.chmod(0o755)
    (data / "data" / "share").rename(directory / "share")
    site = directory / "lib" / pythons / "site-packages"
    site.mkdir(parents=True)
    (directory / "sundog").rename(site / "sundog")
    (program.parent / pythons).symlink_to(install.SYSTEM_PYTHON)
    version = (site / "sundog" / "__init__.py").read_text(encoding="utf-8").split('"')[-2]
    own_start = {"SUNDOG_START": "compiled"}
    for words, environ, status, said in (
        ([], own_start, 31, "declined: "),
        (["--no-such-option"], own_start, 31, "declined: an option that is abbreviated, or wrong"),
        (["-b", "/x:relative", "x"], own_start, 31, "declined: a bind that can't be"),
        (["-u", "4294967296", "x"], own_start, 31, "declined: not a number that can be"),
        (["--version"], {}, 0, version),
    ):
        emulated = [shutil.which(EMULATOR) or EMULATOR, str(program), *words]
        done = subprocess.run(
            emulated,
            env={"PATH": os.defpath, "USER": "ada", **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != status or said not in done.stderr:
            raise WorkshopError(
                f"{shlex.join(emulated)}: exit status {done.returncode}, not {status}; it says: "
                f"{done.stderr.strip()}"
            )


def is_pure(wheel: Path) -> bool:
    """Tell whether a wheel fits every machine."""
    return wheel.stem.endswith("-any")


def main() -> int:
    """Make the wheels and put them into dist/; an exit status."""
    try:
        packages.require(NEEDS)
        with tempfile.TemporaryDirectory(prefix="sundog-wheels.", dir="/var/tmp") as temporary:
            out = Path(temporary, "out")
            for machine in (*TARGETS, "no"):
                build(out, machine, f"{temporary}/zig")
            made = sorted(out.glob("*.whl"), key=lambda path: (is_pure(path), path.name))
            (tried,) = [path for path in made if f"_{TRIED}." in path.name]
            attempt(tried, Path(temporary, TRIED))
            (CHECKOUT / "dist").mkdir(exist_ok=True)
            for path in made:
                print(shutil.copy(path, CHECKOUT / "dist"))
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
