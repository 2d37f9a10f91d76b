"""Install ``ch-run`` as pip does.

An installation has the stub, or the compiled start with the stub in share/sundog.  It also has the
joined modules and an interpreter.
"""

import functools
import importlib.util
import os
import pwd
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

from scripts.place import CHECKOUT

import sundog
from sundog.runtime.launcher.accounts import STORAGE_MARK, find_accounts, remember_accounts
from sundog.runtime.launcher.messages import Messages

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
JOINED = Path("sundog/runtime/launcher/ch_run.py")
NOTIFY, JOIN = "ch_run_notify", "ch_run_join"  # in the same directory
STUB = Path("share", "sundog", "ch-run")  # below the prefix, if the start is compiled

# The calls of the stub's child, which copies the environment: a shell, then cat.
CHILD_CALLS, CHILD_OPENS = 16, 8


@functools.cache
def load_packaging(name: str) -> types.ModuleType:
    """Load a module of ``packaging/``, which makes a file of the wheel."""
    path = CHECKOUT / "packaging" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def joined_text(name: str = JOINED.stem) -> str:
    """Join a module of ``ch-run`` as the wheel's build does; all of them take seconds."""
    text: str = load_packaging("join_launcher").join(CHECKOUT / "src", name)
    return text


def joined_module(name: str) -> str:
    """Return the text of a joined module: that of the wheel under test, if there is one."""
    built = Path(sundog.__file__).parents[1] / JOINED.with_stem(name)
    return built.read_text() if built.exists() else joined_text(name)


def built_start() -> bytes:
    """Return the compiled ``ch-run``: that of the wheel under test, if it has one."""
    installed = Path(sys.executable).with_name("ch-run")
    built = installed.read_bytes() if installed.exists() else b""
    return built if built.startswith(b"\x7fELF") else compiled_start()


@functools.cache
def compiled_start() -> bytes:
    """Compile ``ch-run`` for this machine as the wheel's build does; it takes seconds."""
    environ = {name: value for name, value in os.environ.items() if name != "SUNDOG_COMPILE"}
    with tempfile.TemporaryDirectory() as directory:
        make = load_packaging("compile_start").compile_start
        program: Path = make(CHECKOUT, Path(directory), environ)[0]
        return program.read_bytes()


def interpreter() -> Path:
    """Return the interpreter outside of the virtual environment of these tests."""
    return Path(sys._base_executable)  # type: ignore[attr-defined]


def install(
    prefix: Path, *, native: bool = False, bytecode: bool = True, site: str = "site-packages"
) -> Path:
    """Install under ``prefix`` like into a virtual environment; return the command.

    With ``native`` the command is the compiled start.
    """
    packages = prefix / "lib" / VERSION / site
    module = packages / JOINED
    package = packages / "sundog"
    shutil.copytree(
        CHECKOUT / "src" / "sundog", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in load_packaging("join_launcher").MODULES:
        module.with_stem(name).write_text(joined_module(name))
    if bytecode:
        py_compile.compile(str(module), doraise=True)
    command = prefix / "bin" / "ch-run"
    stub = prefix / STUB if native else command
    command.parent.mkdir()
    stub.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "packaging" / "ch-run", stub)
    (prefix / "pyvenv.cfg").touch()
    if native:
        command.write_bytes(built_start())
    command.chmod(0o755)
    for name in (VERSION, "python3"):  # as venv makes them
        (command.parent / name).symlink_to(interpreter())
    return command


def stub_of(command: Path) -> list[str]:
    """Return the words by which the compiled ``command`` starts the stub."""
    return ["/bin/sh", f"{command.parent}/../{STUB}"]


def make_storage(path: Path) -> Path:
    """Make a private storage directory with this user's accounts, for the compiled start."""
    path.mkdir(mode=0o700)
    (path / os.fsdecode(STORAGE_MARK)).touch()
    uid, gid = os.geteuid(), os.getegid()
    directory = os.open(path, os.O_RDONLY)
    remember_accounts(directory, uid, gid, find_accounts(uid, gid, Messages()))
    os.close(directory)
    return path


def trace(log: Path, *command: str | Path) -> tuple[int, int]:
    """Count the system calls that name a file, and the successful opens among them.

    The counts include child processes.  If the command executes another program, they end at its
    last execve(2).  ``log`` is the prefix of the scratch files.
    """
    for path in log.parent.glob(f"{log.name}.*"):
        path.unlink()
    subprocess.run(
        ["strace", "-ff", "-qq", "-e", "trace=%file", "-e", "signal=none", "-o", log, *command],
        env={"USER": pwd.getpwuid(os.getuid()).pw_name, "PATH": "/bin", "LANG": "C.UTF-8"},
        check=True,
        capture_output=True,
    )
    calls = []
    for path in log.parent.glob(f"{log.name}.*"):
        made = path.read_text().splitlines()
        executed = [at for at, call in enumerate(made) if re.match(r"execve\(.*\) = 0$", call)]
        calls += made[: executed[-1]] if len(executed) > 1 else made
    calls = [call for call in calls if not re.match(r'\w+\(\d+, "",', call)]  # an open file
    opens = [call for call in calls if re.match(r"open(at2?)?\(.*\) = \d+$", call)]
    return len(calls), len(opens)
