"""Lay out ``ch-run`` as pip does: the stub, the joined modules, an interpreter beside them."""

import importlib.util
import py_compile
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
JOINED = Path("sundog", "launcher", "ch_run.py")
NOTIFY = "ch_run_notify"  # beside it

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


def interpreter() -> Path:
    """The interpreter of these tests outside of its virtual environment."""
    return Path(sys._base_executable)  # type: ignore[attr-defined]


def install(prefix: Path, *, compiled: bool = True, site: str = "site-packages") -> Path:
    """Install under ``prefix`` as into a virtual environment; return the command."""
    module = prefix / "lib" / VERSION / site / JOINED
    package = module.parents[1]
    shutil.copytree(CHECKOUT / "src" / "sundog", package, ignore=shutil.ignore_patterns("*.pyc"))
    module.write_text(joined_text())
    module.with_stem(NOTIFY).write_text(joined_text(NOTIFY))
    if compiled:
        py_compile.compile(str(module), doraise=True)
    command = prefix / "bin" / "ch-run"
    command.parent.mkdir()
    shutil.copy(CHECKOUT / "packaging" / "ch-run", command)
    command.chmod(0o755)
    (command.parent / VERSION).symlink_to(interpreter())
    return command


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
