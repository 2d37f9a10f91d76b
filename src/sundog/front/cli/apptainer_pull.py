"""A pull of an image into storage, for ``sundog apptainer``."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager, suppress

from sundog.base.spelling import nearest
from sundog.errors import NotInStorage, StoreError, UsageError
from sundog.front.apptainer.image import STORED
from sundog.image.oci.platform import Platform
from sundog.image.registry.credentials import PASSWORD_VARIABLE, USERNAME_VARIABLE
from sundog.image.registry.options import PullOptions
from sundog.image.registry.pull import pull
from sundog.image.registry.session import Session
from sundog.image.sif.writer import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sundog.front.options import Line
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

_LOGIN = {USERNAME_VARIABLE: "docker-username", PASSWORD_VARIABLE: "docker-password"}
_PULLED = "pull "  # the origin of an image that came from a registry


def new_session(line: Line | None, report: Report) -> Session:
    """Return a session with registries, with the login that ``line`` gives, if any."""
    from sundog.front.cli.registries import ask_credentials

    given = {name: line.last(option) for name, option in _LOGIN.items()} if line else {}
    login = {name: value for name, value in given.items() if value}
    return Session(
        {**os.environ, **login},
        report,
        authenticated=len(login) == len(_LOGIN),
        prompt=ask_credentials,
    )


def chosen_platform(line: Line) -> Platform | None:
    """Return the platform of --arch and --arch-variant; None for this machine's.

    Raises UsageError.
    """
    arch, variant = line.last("arch") or "", line.last("arch-variant") or ""
    if not arch and not variant:
        return None
    words = filter(None, (arch or Platform.of_host().architecture, variant))
    try:
        found = Platform.parse("/".join(words))
    except UsageError:
        found = None
    if found is None or found.os != "linux" or found.architecture not in ARCHITECTURES:
        close = nearest(arch, ARCHITECTURES)
        hint = f"did you mean {close}?" if close else f"one of: {' '.join(ARCHITECTURES)}"
        raise UsageError(f"--arch {arch or variant}: no such architecture", hint)
    return found


@contextmanager
def pulled(
    store: Store, name: str, platform: Platform | None, line: Line, report: Report
) -> Iterator[str]:
    """Give the name in storage of the present image ``name`` of a registry.

    An image of that name that did not come from a registry is taken as it is.  An image for another
    ``platform``, and any with --disable-cache, has a name of its own, and goes at the end.  Raises
    what a pull raises.
    """
    session = new_session(line, report)
    if not line.is_set("disable-cache") and platform in (None, Platform.of_host()):
        turn = f"apptainer-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
        with store.turn(turn).held(lambda: report.verbose(f"waiting for another pull of {name}")):
            if _is_own(store, name):
                report.info(f"using the image in storage: {name}")
            else:
                report.info(f"pulling {STORED}{name}")
                pull(store, session, name, name, options=PullOptions(None), report=report)
        yield name
        return
    once = f"apptainer-pull/{secrets.token_hex(8)}"
    try:
        store.expect_garbage()
        report.info(f"pulling {STORED}{name}")
        pull(store, session, name, once, options=PullOptions(platform), report=report)
        yield once
    finally:
        with suppress(NotInStorage):
            store.images.delete(once)


def _is_own(store: Store, name: str) -> bool:
    try:
        return not store.images.get(name).origin.startswith(_PULLED)
    except (NotInStorage, StoreError):
        return False
