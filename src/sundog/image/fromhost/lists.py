"""Lists of the host's files to inject, as the options of ``ch-fromhost`` name them.

A list is text with one path a line, in a file or from a command.  Empty lines do not count.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from dataclasses import dataclass

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NVIDIA = ("nvidia-container-cli", "list", "--binaries", "--libraries")
_LIST_LIMIT = 16 << 20  # bytes

# Places of the Cray's own files: option → variable.
_CRAY_VARIABLES = {"--cray-cxi": "CH_FROMHOST_OFI_CXI", "--cray-gni": "CH_FROMHOST_OFI_GNI"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of the host, and the image's directory for it; b"" if that must be inferred."""

    path: bytes
    destination: bytes = b""

    @property
    def name(self) -> bytes:
        """Return the file's name in the image."""
        return os.path.basename(self.path)


def listed(option: str, value: str, environment: Mapping[str, str]) -> list[bytes]:
    """Return the paths that an option of ``ch-fromhost`` stands for.  Raises SundogError.

    Starts the program of --cmd or --nvidia and waits for it.
    """
    return _LISTS[option](option, value, environment)


def check_source(wanted: Wanted) -> None:
    """Raise SundogError unless ``wanted`` is a file that can be read.  Follows symlinks."""
    shown = printable(wanted.path)
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with Closing(os.open(wanted.path, flags)) as fd:
            status = os.fstat(fd)
    except OSError as error:
        raise SundogError(f"cannot read file: {shown}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SundogError(f"cannot inject: {shown}: not a regular file", "name files one by one")


def _path(_option: str, value: str, _environment: Mapping[str, str]) -> list[bytes]:
    return [os.fsencode(value)]


def _file(_option: str, value: str, _environment: Mapping[str, str]) -> list[bytes]:
    try:
        with open(value, "rb") as file:
            text = file.read(_LIST_LIMIT + 1)
    except OSError as error:
        raise SundogError(f"cannot read file: {value}: {error.strerror}") from error
    return _lines(text, value)


def _command(_option: str, value: str, _environment: Mapping[str, str]) -> list[bytes]:
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise SundogError(f"command failed: {value}: {error}") from None
    return _lines(_output_of(words, f"command failed: {value}"), value)


def _nvidia(_option: str, _value: str, _environment: Mapping[str, str]) -> list[bytes]:
    text = _output_of(
        _NVIDIA,
        "nvidia-container-cli failed; does this host have GPUs?",
        "--nvidia needs that program, of libnvidia-container; --file takes a list of your own",
    )
    return _lines(text, _NVIDIA[0])


def _cray(option: str, _value: str, environment: Mapping[str, str]) -> list[bytes]:
    name = _CRAY_VARIABLES[option]
    if not environment.get(name):
        raise SundogError(f"{option}: ${name} is not set", "it is the path of the host's file")
    return [os.fsencode(environment[name])]


def _output_of(words: Sequence[str], failure: str, hint: str = "") -> bytes:
    """Return the standard output of a program; raise SundogError if it fails."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    except (OSError, ValueError, IndexError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SundogError(f"{failure}: {reason}", hint) from None
    if done.returncode:
        raise SundogError(f"{failure}: exit status {done.returncode}", hint)
    return done.stdout


def _lines(text: bytes, name: str) -> list[bytes]:
    if len(text) > _LIST_LIMIT:
        raise SundogError(f"the list of files is longer than {_LIST_LIMIT} bytes: {name}")
    return [line for line in text.split(b"\n") if line]


_LISTS: dict[str, Callable[[str, str, Mapping[str, str]], list[bytes]]] = {
    "--cmd": _command,
    "--cray-cxi": _cray,
    "--cray-gni": _cray,
    "--file": _file,
    "--nvidia": _nvidia,
    "--path": _path,
}
