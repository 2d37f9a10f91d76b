"""Sundog's wheel, and virtual environments that hold it, as a user would get them from pip.

They are kept, and made anew only when their sources change. An ordinary user may execute all that
root installed here, even the interpreter.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.place import CHECKOUT, WorkshopError, digest, own

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# python3-pip installs into any venv, so that no venv needs a pip of its own.
NEEDS = ("python3", "python3-pip", "python3-venv")
SYSTEM_PYTHON = Path("/usr/bin/python3")
PIP = (str(SYSTEM_PYTHON), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
OLDEST = (3, 11)
DAY = 86400


def version(python: Path) -> tuple[int, int]:
    """Return an interpreter's version, (0, 0) if it does not run."""
    script = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", script], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return 0, 0
    major, minor = map(int, done.stdout.split())
    return major, minor


def source_files() -> list[Path]:
    """Return the files of the checkout on which the wheel depends."""
    top = [CHECKOUT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    top += CHECKOUT.glob("docs/reference/*.md")  # the manual pages
    scripts = CHECKOUT.glob("*.py")
    directories = [CHECKOUT / name for name in ("src", "packaging", "native")]
    parts = (path for directory in directories for path in directory.rglob("*"))
    package = (path for path in parts if "__pycache__" not in path.parts)
    return [path for path in [*top, *scripts, *package] if path.is_file()]


@functools.cache
def wheel() -> Path:
    """Return the checkout's wheel, built by pip in an isolated environment."""

    def build(out: Path) -> None:
        pip("wheel", "--no-deps", "--wheel-dir", str(out), str(CHECKOUT))

    return kept_wheel(build)


def kept_wheel(build: Callable[[Path], None], *kind: str) -> Path:
    """Return the checkout's wheel of a kind; unless it is there, build it into a directory."""
    names = (str(path.relative_to(CHECKOUT)) for path in sorted(source_files()))
    directory = own("wheels") / digest(source_files(), *names, *kind)
    found = list(directory.glob("*.whl"))
    if not found:
        part = directory.with_name(f".{directory.name}.{os.getpid()}")
        build(part)
        _replace(part, directory)
        found = list(directory.glob("*.whl"))
    return found[0]


def environment(name: str, python: Path, *, groups: Sequence[str] = (), extra: str = "") -> Path:
    """Return the bin directory of a venv that holds the wheel and dependency groups."""
    built = wheel()
    pyproject = CHECKOUT / "pyproject.toml"
    needs = digest([pyproject, *source_files()], str(python), *groups, extra)
    venv = own("venvs") / f"{name}-{needs}"
    programs = venv / "bin"
    if (venv / "complete").exists():
        return programs
    for old in venv.parent.glob(f"{name}-????????????"):
        # Another run may be using a younger one.
        if time.time() - old.stat().st_mtime > DAY:
            shutil.rmtree(old, ignore_errors=True)
    run([str(python), "-m", "venv", "--without-pip", str(venv)])
    wanted = [
        f"{built}{extra}",
        *(word for group in groups for word in ("--group", f"{pyproject}:{group}")),
    ]
    pip("--python", str(programs / "python"), "install", *wanted)
    (venv / "complete").touch()
    _open(venv)
    return programs


def is_reachable(python: Path) -> bool:
    """Tell whether every user may execute an interpreter; in a pyenv below /root, only root may."""
    resolved = python.resolve()
    return all(path.stat().st_mode & 0o001 for path in (resolved, *resolved.parents))


def pythons() -> dict[tuple[int, int], Path]:
    """Return an interpreter of each version that Sundog supports, newest first.

    Debian's interpreters come before others in PATH. Root leaves out those that only root can
    execute.
    """
    found: dict[tuple[int, int], Path] = {}
    directories = ["/usr/bin", *os.environ.get("PATH", "").split(":")]
    for minor in range(OLDEST[1], OLDEST[1] + 10):
        for directory in directories:
            python = Path(directory) / f"python3.{minor}"
            if not python.exists() or (os.geteuid() == 0 and not is_reachable(python)):
                continue
            if version(python) == (3, minor):
                found[3, minor] = python
                break
    return dict(sorted(found.items(), reverse=True))


def pip(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    """Run pip with more variables; raise WorkshopError if it fails."""
    run([*PIP, *arguments], environment)


def run(command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
    """Run a command with more variables; raise WorkshopError with its last lines if it fails."""
    # Python must write bytecode: without it, each start of ch-run compiles anew.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd="/",
        env=environment | {"PIP_ROOT_USER_ACTION": "ignore"} | dict(more or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise WorkshopError(f"{' '.join(command)}: exit status {done.returncode}\n{tail}")


def _replace(part: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def _open(tree: Path) -> None:
    """Make a tree readable to all, whatever root's umask is."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
