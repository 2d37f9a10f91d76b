"""The default path of the storage directory.

``$CH_IMAGE_STORAGE``, else what the configuration says, else ``/var/tmp/$USER.sundog``.  If
``$USER`` is unset, as in many containers and cron jobs, or not the user's, as after ``su -m``, the
account name of the effective uid takes its place.  If there is no such account, it is $USER, or
else that uid.

Of several places that the configuration names, the first counts that is there, else the first
that this user can make.
"""

from __future__ import annotations

import os

from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import STATE_PLACE, STORAGE_PLACES
from sundog.base.configuration.templates import place_for
from sundog.base.kernel.libc import printable
from sundog.base.record.location import (
    RUNTIME_NAME,
    RUNTIME_VARIABLE,
    STORAGE_PARENT,
    STORAGE_SUFFIX,
    STORAGE_VARIABLE,
    STORAGE_VERSION,
    USER_VARIABLE,
    is_own_or_linked,
)
from sundog.base.record.settings import user_records
from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.configuration.holding import Holding
    from sundog.base.record.location import Variables


def default_storage(environment: Variables, holding: Holding | None = None) -> bytes:
    """Return the path of the storage directory that ``environment`` implies.

    ``holding`` is the configuration, if the caller has read it.  Raises SundogError if the variable
    is relative: commands start in many directories; and for a mistake in the configuration.
    """
    named = environment.get(STORAGE_VARIABLE)
    if named:
        if not named.startswith(b"/"):
            raise SundogError(
                f"$CH_IMAGE_STORAGE: not absolute path: {printable(named)}",
                "--storage takes a relative one",
            )
        return named
    return usual_storage(environment, holding)


def usual_storage(environment: Variables, holding: Holding | None = None) -> bytes:
    """Return the path of the storage directory if no variable names one.

    Raises SundogError for a mistake in the configuration.
    """
    holding = read_configuration(environment) if holding is None else holding
    return configured_storage(environment, holding) or _unconfigured(environment)


def configured_storage(environment: Variables, holding: Holding) -> bytes:
    """Return the place of the configuration that counts, b"" if none does."""
    paths = [path for path in _configured(environment, holding) if path]
    for path in paths:
        if _is_there(path):
            return path
    for path in paths:
        if os.access(path.rpartition(b"/")[0] or b"/", os.W_OK | os.X_OK):
            return path
    return b""


def _configured(environment: Variables, holding: Holding) -> list[bytes]:
    """Return the paths that the configuration names; "" where one names none."""
    return [_place(template, environment) for template in holding.said(STORAGE_PLACES)]


def _unconfigured(environment: Variables) -> bytes:
    return _place(STORAGE_PARENT + b"%u" + STORAGE_SUFFIX, environment)


def _place(template: bytes, environment: Variables) -> bytes:
    """Return the path that a template stands for, b"" for none.

    A directory of this user at $USER's place, to which a link of root's may lead, or a line of
    /etc/passwd, needs no look at the accounts, which may be slow.
    """
    user = environment.get(USER_VARIABLE) or b""
    if user and b"/" not in user and b"%u" in template:
        path = place_for(template, environment, user)
        if is_own_or_linked(path):
            return path
    return place_for(template, environment)


def named_storages(environment: Variables, holding: Holding) -> list[bytes]:
    """Return the paths that the variable and the configuration name; "" where one names none."""
    return [environment.get(STORAGE_VARIABLE) or b"", *_configured(environment, holding)]


def configured_state(environment: Variables, holding: Holding) -> bytes:
    """Return the place of run-time state that the configuration names, b"" if it names none."""
    return b"".join([_place(template, environment) for template in holding.said(STATE_PLACE)])


def own_places(
    storage: bytes, environment: Variables, holding: Holding | None = None
) -> list[bytes]:
    """Return the paths of directories of Sundog's own.

    They are the ``storage`` directory in use, others that the user has, those in which there may be
    run-time state (``state.place``), and that of the configuration's record.  The configuration's
    place of state is made, so that no container can make it.
    """
    holding = read_configuration(environment) if holding is None else holding
    # The file that is in each such directory: see ``own_storage``.
    named = named_storages(environment, holding)
    marks = dict.fromkeys((storage, *named, _unconfigured(environment)), STORAGE_VERSION)
    for runtime in (environment.get(RUNTIME_VARIABLE) or b"", b"/run/user/%d" % os.geteuid()):
        marks[runtime and runtime + b"/" + RUNTIME_NAME] = b"."
    marks[user_records(environment)] = b"."
    state = configured_state(environment, holding)
    if state:
        try:  # noqa: SIM105 - contextlib takes as long as the rest of a start
            os.makedirs(state, 0o700)
        except OSError:
            pass  # it is there, or nobody can make it
        marks[state] = b"."
    return [
        path for path in marks if path.startswith(b"/") and _is_there(path + b"/" + marks[path])
    ]


def _is_there(path: bytes) -> bool:
    """Tell whether a file is there, and reached by this user."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True
