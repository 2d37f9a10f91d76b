"""Lay out ``ch-run`` as pip does: the stub, or the compiled start with the stub in share/sundog,
the joined modules, and an interpreter beside them.
"""

import functools
import importlib.util
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

from sundog.launcher.accounts import STORAGE_MARK, find_accounts, remember_accounts
from sundog.launcher.messages import Messages

CHECKOUT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
JOINED = Path("sundog", "launcher", "ch_run.py")
NOTIFY = "ch_run_notify"  # beside it
STUB = Path("share", "sundog", "ch-run")  # below the prefix, where the start is compiled

# What ``trace`` may count of the child that writes down the environment: a shell, then cat.
CHILD_CALLS, CHILD_OPENS = 16, 8


def load_packaging(name: str) -> types.ModuleType:
    """Load what makes a file of the wheel while that is built."""
    path = CHECKOUT / "packaging" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def joined_text(name: str = JOINED.stem) -> str:
    text: str = load_packaging("join_launcher").join(CHECKOUT / "src", name)
    return text


@functools.cache
def compiled_start() -> bytes:
    """The compiled ``ch-run`` for this machine: made as the wheel's build makes it."""
    environ = {name: value for name, value in os.environ.items() if name != "SUNDOG_COMPILE"}
    with tempfile.TemporaryDirectory() as directory:
        make = load_packaging("compile_start").compile_start
        program: Path = make(CHECKOUT, Path(directory), environ)[0]
        return program.read_bytes()


def interpreter() -> Path:
    """The interpreter of these tests outside of its virtual environment."""
    return Path(sys._base_executable)  # type: ignore[attr-defined]


def install(
    prefix: Path, *, native: bool = False, bytecode: bool = True, site: str = "site-packages"
) -> Path:
    """Install under ``prefix`` as into a virtual environment; return the command.

    With ``native`` that is the compiled start.
    """
    module = prefix / "lib" / VERSION / site / JOINED
    package = module.parents[1]
    shutil.copytree(CHECKOUT / "src" / "sundog", package, ignore=shutil.ignore_patterns("*.pyc"))
    module.write_text(joined_text())
    module.with_stem(NOTIFY).write_text(joined_text(NOTIFY))
    if bytecode:
        py_compile.compile(str(module), doraise=True)
    command = prefix / "bin" / "ch-run"
    stub = prefix / STUB if native else command
    command.parent.mkdir()
    stub.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "packaging" / "ch-run", stub)
    if native:
        command.write_bytes(compiled_start())
    command.chmod(0o755)
    (command.parent / VERSION).symlink_to(interpreter())
    return command


def stub_of(command: Path) -> list[str]:
    """Return how the compiled ``command`` starts the stub."""
    return ["/bin/sh", f"{command.parent}/../{STUB}"]


def make_storage(path: Path) -> Path:
    """Make a private storage directory, in which the compiled start finds this user's accounts."""
    path.mkdir(mode=0o700)
    (path / os.fsdecode(STORAGE_MARK)).touch()
    uid, gid = os.geteuid(), os.getegid()
    directory = os.open(path, os.O_RDONLY)
    remember_accounts(directory, uid, gid, find_accounts(uid, gid, Messages()))
    os.close(directory)
    return path


def trace(log: Path, *command: str | Path) -> tuple[int, int]:
    """Count the system calls that name a file, and the successful opens among them.

    Up to the last program that is executed, or all of the only one, and those of child processes.
    ``log`` is the beginning of the names of scratch files.
    """
    for path in log.parent.glob(f"{log.name}.*"):
        path.unlink()
    subprocess.run(
        ["strace", "-ff", "-qq", "-e", "trace=%file", "-e", "signal=none", "-o", log, *command],
        env={"USER": "ada", "PATH": "/bin", "LANG": "C.UTF-8"},
        check=True,
        capture_output=True,
    )
    calls = []
    for path in log.parent.glob(f"{log.name}.*"):
        made = path.read_text().splitlines()
        executed = [at for at, call in enumerate(made) if re.match(r"execve\(.*\) = 0$", call)]
        calls += made[: executed[-1]] if len(executed) > 1 else made
    opens = [call for call in calls if re.match(r"open(at2?)?\(.*\) = \d+$", call)]
    return len(calls), len(opens)
