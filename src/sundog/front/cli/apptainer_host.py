"""The facts of this process and of this machine that the plan of a line of Apptainer needs."""

from __future__ import annotations

import os

from sundog.base.configuration.holding import named_variables, read_configuration
from sundog.base.kernel.libc import decode_text, encode_text
from sundog.base.pathnames import normalized
from sundog.errors import SundogError
from sundog.front.apptainer.host import Host
from sundog.front.apptainer.scripts import SCRIPT_LIMIT
from sundog.front.apptainer.site import SITE_VARIABLE, read_site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sundog.front.options import Line

_FILE_LIMIT = 1 << 20


def host_of(line: Line, variables: Mapping[str, str]) -> Host:
    """Return the facts of this process, whose environment is ``variables``, and of this machine."""
    home = variables.get("HOME", "")
    if not home.startswith("/") or not home.strip("/"):
        from pwd import getpwuid

        try:
            home = getpwuid(os.geteuid()).pw_dir
        except KeyError:
            home = "/"
    directories = line.all("cdi-dirs")
    return Host(
        variables,
        os.getcwd(),
        normalized(home),
        exists=_exists,
        has_devices=lambda kind: _has_devices(kind, directories),
        read_file=_read_file,
        read_script=_read_script,
        site=read_site(variables.get(SITE_VARIABLE) or None),
        configured=named_variables(os.environb),
    )


def _exists(path: str) -> bool:
    try:
        os.lstat(path)
    except (OSError, ValueError):  # a NUL
        return False
    return True


def _has_devices(kind: str, directories: Sequence[str]) -> bool:
    """Tell whether a CDI specification of this machine has devices of a kind."""
    from sundog.base.configuration.keys import CDI_DIRECTORIES
    from sundog.runtime.cdi.directories import cdi_directories
    from sundog.runtime.cdi.registry import device_names

    option = encode_text(":".join(directories).replace(",", ":")) if directories else None
    said = read_configuration(os.environb).said(CDI_DIRECTORIES)
    places = cdi_directories(option, os.environb.get, said)
    return any(name.startswith(f"{kind}=") for name in device_names(places, lambda _: None))


def _read_file(path: str) -> str:
    """Return the text of an --env-file.  Raises SundogError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise SundogError(f"--env-file {path}: {error.strerror}", "it must be a file") from error
    if len(data) > _FILE_LIMIT:
        raise SundogError(f"--env-file {path}: larger than {_FILE_LIMIT} bytes", "is it that file?")
    return decode_text(data)


def _read_script(path: str) -> str | None:
    """Return the text of a script that is bound into the image; None if a shell must read it."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = file.read(SCRIPT_LIMIT + 1)
    except OSError:
        return None
    return None if len(data) > SCRIPT_LIMIT or b"\0" in data else decode_text(data)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # it may be a FIFO
