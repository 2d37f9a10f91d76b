"""Install the compiled ``ch-run`` as pip does, and tell which starts it hands over."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.place import CHECKOUT

from sundog.errors import SundogError
from sundog.runtime.launcher.accounts import ACCOUNTS_DIRECTORY, find_accounts
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.option_scan import scan
from sundog.runtime.launcher.options import CommandLine, Finished
from tests.runtime.launcher.installation import install, load_packaging

NATIVE = CHECKOUT / "native"
FREESTANDING = (
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffreestanding"),
    *("-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--build-id=none"),
)

# The compiled program serves these options.  It hands over a start with any other option.
LISTED = {
    *(
        "bind",
        "cd",
        "env-no-expand",
        "gid",
        "no-passwd",
        "no-site-binds",
        "operand",
        "private-tmp",
        "seccomp",
    ),
    *("image-store", "set-env", "set-env0", "storage", "uid", "unset-env", "write"),
    "write-fake",
}

Completed = subprocess.CompletedProcess[bytes]
Argument = str | bytes | Path


def write_header(directory: Path) -> Path:
    """Write the header that the C takes from the Python; return ``directory``, for -I."""
    text = load_packaging("native_header").header(CHECKOUT / "src")
    (directory / "generated.h").write_text(text)
    return directory


def compile_freestanding(directory: Path) -> Path:
    """Compile the program into ``directory``."""
    program = directory / "ch-run"
    include = write_header(directory)
    source = NATIVE / "main.c"
    subprocess.run(["gcc", *FREESTANDING, "-I", include, source, "-o", program], check=True)
    return program


def python_start(installed: Path) -> Path:
    """Return the stub of an installation, with or without the compiled program."""
    stub = installed.parent / ".." / "share" / "sundog" / "ch-run"
    return stub if stub.exists() else installed


def install_compiled(prefix: Path, log: Path | None = None) -> Path:
    """Install under ``prefix``; return the compiled program.

    Each hand-over appends a line to ``log``.
    """
    command = install(prefix)
    stub = prefix / "share" / "sundog" / "ch-run"
    stub.parent.mkdir(parents=True)
    text = command.read_text()
    if log is not None:
        text = text.replace("\n", f"\n{{ echo $$ >>'{log}'; }} 2>/dev/null\n", 1)
    stub.write_text(text)
    stub.chmod(0o755)
    command.unlink()
    shutil.move(compile_freestanding(prefix), command)
    return command


class Compiled:
    """An installation of the compiled program that tells whether it handed over."""

    def __init__(self, prefix: Path) -> None:
        self._log = prefix / "handed-over"
        self.command = install_compiled(prefix, self._log)
        self.stub = python_start(self.command)

    def handed_over(self) -> bool:
        """Tell whether the program handed over a start since the last call."""
        found = self._log.exists()
        self._log.unlink(missing_ok=True)
        return found

    def reason(self, arguments: Sequence[Argument], env: Mapping[str, str], cwd: Path) -> str:
        """Return the reason why the program declines a start; "" if it serves the start."""
        done = subprocess.run(
            [self.command, *arguments],
            env=dict(env) | {"SUNDOG_START": "compiled"},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        _, declined, why = done.stderr.decode(errors="replace").partition("]: error: declined: ")
        return why.rstrip("\n") if declined else ""


def read_line(arguments: Sequence[Argument], cwd: Path) -> tuple[CommandLine, set[str]] | None:
    """Return the parsed command line and the names of its options; None if it is invalid."""
    words = [os.fsencode(word) for word in arguments]
    before = os.getcwd()
    os.chdir(cwd)
    try:
        options = {name for name, _ in scan(words)}
        return CommandLine(words if options <= LISTED else [], Messages()), options
    except (SundogError, Finished, OSError):
        return None
    finally:
        os.chdir(before)


@contextmanager
def remembered_accounts(
    line: CommandLine | None, env: Mapping[str, str], *, cwd: Path
) -> Iterator[None]:
    """Leave accounts for a start like an earlier start; make the storage if it is missing."""
    path = cwd / env.get("CH_IMAGE_STORAGE", "nowhere")
    if line is None or line.image.storage is not None:
        path = (
            cwd / os.fsdecode(line.image.storage)
            if line is not None and line.image.storage
            else path
        )
    uid = os.geteuid() if line is None or line.identity.uid is None else line.identity.uid
    gid = os.getegid() if line is None or line.identity.gid is None else line.identity.gid
    is_ours = line is not None and line.image.storage is None and not os.path.lexists(path)
    if is_ours:
        path.mkdir(mode=0o700)
    if path.is_dir() and os.access(path, os.W_OK):
        leave_accounts(path, uid, gid)
    yield
    if is_ours:
        shutil.rmtree(path)


def leave_accounts(storage: Path, uid: int, gid: int) -> Path:
    """Write the host's answer about an account into ``storage``, even if it is the dummy."""
    found = find_accounts(uid, gid, Messages())
    directory = storage / os.fsdecode(ACCOUNTS_DIRECTORY)
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{uid}.{gid}"
    path.write_bytes(found.passwd + b"\0" + found.group + b"\0")
    path.chmod(0o600)
    return path
