"""A CDI specification file to the values in it, within bounds."""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFMT, S_IFREG
from sundog.errors import CdiError
from sundog.runtime.cdi.json_text import JsonFault, parse_json_text
from sundog.runtime.cdi.yaml_faults import NoYamlLibrary, YamlFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SPECIFICATION_SUFFIXES = (b".json", b".yaml")
# A node of 16 GPUs with seven partitions each needs a fifth of it.
SPECIFICATION_LIMIT = 2 << 20
GENERATOR_HINT = "correct it, or make it again with the vendor's generator"


def load_values(path: bytes) -> object:
    """Return the value of a JSON or YAML file.

    Raises CdiError if the file can't be read, is too large, or is malformed.
    """
    data = _read_specification_bytes(path)
    shown = printable(path)
    try:
        text = data.decode("utf-8")
        return (parse_json_text if path.endswith(b".json") else _yaml_parser())(text)
    except UnicodeDecodeError as fault:
        reason = f"byte {fault.start} is not UTF-8"
    except JsonFault as fault:
        reason = f"not JSON: {fault}"
    except YamlFault as fault:
        reason = f"not YAML: {fault}"
    except NoYamlLibrary:
        raise CdiError(
            f"{shown}: reading this file takes PyYAML, which is not installed",
            "pip install pyyaml; or write the file as JSON: nvidia-ctk cdi generate --format=json",
        ) from None
    raise CdiError(f"{shown}: {reason}", GENERATOR_HINT)


def _yaml_parser() -> Callable[[str], object]:
    """Return the reader of YAML.  Starts with files of JSON only need not load it."""
    from sundog.runtime.cdi.yaml_text import parse_yaml_text  # noqa: PLC0415

    return parse_yaml_text


def _read_specification_bytes(path: bytes) -> bytes:
    """Return the bytes of a file.  Raises CdiError; a FIFO or a device is not waited for."""
    shown = printable(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if status.st_mode & S_IFMT != S_IFREG:
                raise CdiError(f"{shown}: not a regular file")
            if status.st_size > SPECIFICATION_LIMIT:
                raise CdiError(f"{shown}: larger than {SPECIFICATION_LIMIT >> 20} MiB")
            return file.read(status.st_size)
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        hint = "ask the owner of the file to make it readable" if refused else ""
        raise CdiError(f"{shown}: {os.strerror(error.errno or 0)}", hint) from None
