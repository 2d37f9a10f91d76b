"""The place of run-time state: of containers, and of the agent's socket.

PLACE/BOOT, where PLACE is the configuration's and BOOT the ID of this boot; without such a place,
``$XDG_RUNTIME_DIR/sundog``, else STORAGE/run/BOOT, where STORAGE is the usual storage directory.
Nodes that share a directory have different boots, so that none reads the process IDs of another
one.  State is never in a directory that every container sees, as /tmp: a program of an image is the
same user as Sundog, and could write there.

The directories of boots in which no container was made for a month are removed: by ``ch-image``
in a storage directory, and otherwise by who makes the directory of a new boot.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import STATE_PLACE
from sundog.base.configuration.storage import configured_state, default_storage
from sundog.base.kernel.libc import printable
from sundog.base.kernel.living_process import boot_id
from sundog.base.record.location import (
    RUN_DIRECTORY,
    RUNTIME_NAME,
    RUNTIME_VARIABLE,
    is_others_link,
)
from sundog.base.record.own_storage import claim_storage
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.holding import Holding
    from sundog.base.record.location import Variables

CONTAINERS, INSTANCES, OCI = b"containers", b"instances", b"oci"
AGENT_SOCKET = b"agent.sock"

_PLACE_HINT = "let $XDG_RUNTIME_DIR, or $CH_IMAGE_STORAGE, be a directory of yours alone"
OTHERS_WRITE = 0o022
_OTHERS = 0o077
_SEEN_BY_ALL = (b"/tmp", b"/dev")  # see ``launcher.run_plan``
_MONTH = 30 * 86400
_PARTS_OF_BOOT = [8, 4, 4, 4, 12]  # characters of its ID, with "-" between them


def state_place(environment: Variables, name: bytes, *, make: bool) -> bytes:
    """Return the path of ``name``, a constant above or JOIN, in the place of run-time state.

    Make the place if ``make``, with mode 0700; ``name`` itself is not made.  Raises SundogError if
    no private directory can be had.
    """
    holding = read_configuration(environment)
    configured = configured_state(environment, holding)
    if configured:
        return os.path.join(configured_place(configured, holding, make=make), name)
    given = environment.get(RUNTIME_VARIABLE) or b""
    if _is_private(given):
        place = os.path.join(given, RUNTIME_NAME)
        if make:
            make_private(place)
        return os.path.join(place, name)
    storage = os.path.abspath(default_storage(environment, holding))
    boots = os.path.join(storage, RUN_DIRECTORY)
    if make:
        claim_storage(storage)
        make_private(boots)
    return os.path.join(_place_of_boot(boots, make=make), name)


def configured_place(path: bytes, holding: Holding, *, make: bool) -> bytes:
    """Return the place of this boot in ``path``, which the configuration names; or as above."""
    try:
        if _is_seen(os.path.realpath(path)):
            raise SundogError(f"every container sees {printable(path)}")
        boots = given_place(path, make=make)
        is_new = make and not os.path.lexists(_place_of_boot(boots, make=False))
        place = _place_of_boot(boots, make=make)
    except SundogError as error:
        hint = "name a directory of the user's alone, and not below /tmp or /dev"
        raise SundogError(f"{holding.place(STATE_PLACE)}: {error.message}", hint) from None
    if is_new:
        import shutil  # noqa: PLC0415 - once in a boot

        for forgotten in forgotten_boots(boots):
            shutil.rmtree(forgotten, ignore_errors=True)
    return place


def _place_of_boot(boots: bytes, *, make: bool) -> bytes:
    place = os.path.join(boots, boot_id().encode() or b"boot")
    if make:
        make_private(place)
        with suppress(OSError):
            os.utime(place)  # see ``forgotten_boots``
    return place


def _is_private(path: bytes) -> bool:
    """Tell whether ``path`` is a directory of this user alone, which not every container sees."""
    try:
        real = os.path.realpath(path, strict=True)
        status = os.stat(real)
    except (OSError, ValueError):
        return False
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return path.startswith(b"/") and is_own and not status.st_mode & _OTHERS and not _is_seen(real)


def _is_seen(real: bytes) -> bool:
    return any((real + b"/").startswith(at + b"/") for at in _SEEN_BY_ALL)


def make_private(path: bytes) -> None:
    """Make the directory ``path`` for this user alone, unless it is there.

    Raises SundogError if it can't be made, or if others can write to the one that is there.
    """
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
    except OSError as error:
        raise SundogError(f"can't make {printable(path)}: {error.strerror}", _PLACE_HINT) from None
    if not is_own_directory(status):
        raise SundogError(f"{printable(path)}: not a directory that is yours alone", _PLACE_HINT)


def is_own_directory(status: os.stat_result) -> bool:
    """Tell whether a file is a directory of this user to which nobody else can write."""
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return is_own and not status.st_mode & OTHERS_WRITE


def given_place(path: bytes, *, make: bool) -> bytes:
    """Return the absolute path of a directory that the user has named; make it if ``make``.

    It need not exist otherwise.  Raises SundogError if others may write to it.
    """
    path = os.path.abspath(path)
    shown = printable(path)
    try:
        if make:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        is_own = not is_others_link(path) and is_own_directory(os.stat(path))
    except FileNotFoundError:
        return path
    except OSError as error:
        raise SundogError(f"cannot use the state directory {shown}: {error.strerror}") from None
    if not is_own:
        raise SundogError(
            f"cannot use the state directory {shown}: it must be a directory of yours to which"
            " nobody else can write",
            "name another one: --root DIR",
        )
    return path


def forgotten_boots(boots: bytes) -> list[bytes]:
    """Return the places of other boots in which no container was made for a month.

    What has not the name of a boot is somebody's own: the configuration may name any directory.
    """
    found = []
    with suppress(OSError):
        for name in os.listdir(boots):
            path = os.path.join(boots, name)
            is_old = os.lstat(path).st_mtime < time.time() - _MONTH
            if is_old and _is_boot(name) and name != boot_id().encode():
                found.append(path)
    return found


def _is_boot(name: bytes) -> bool:
    """Tell whether ``name`` has the form of the ID of a boot: random(4)."""
    is_hexadecimal = not name.strip(b"-0123456789abcdef")
    return is_hexadecimal and [len(part) for part in name.split(b"-")] == _PARTS_OF_BOOT
