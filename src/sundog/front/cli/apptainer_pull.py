"""A pull of an image into storage, for ``sundog apptainer``."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager, suppress

from sundog.errors import NotInStorage, StoreError
from sundog.image.oci.platform import Platform
from sundog.image.registry.credentials import PASSWORD_VARIABLE, USERNAME_VARIABLE
from sundog.image.registry.options import PullOptions
from sundog.image.registry.pull import pull
from sundog.image.registry.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

_OURS = {
    USERNAME_VARIABLE: ("APPTAINER_DOCKER_USERNAME", "SINGULARITY_DOCKER_USERNAME"),
    PASSWORD_VARIABLE: ("APPTAINER_DOCKER_PASSWORD", "SINGULARITY_DOCKER_PASSWORD"),
}
_PULLED = "pull "  # the origin of an image that came from a registry


def new_session(environment: Mapping[str, str], report: Report) -> Session:
    """Return a session with registries, which has the login of Apptainer's variables, if any."""
    from sundog.front.cli.registries import ask_credentials

    login = {
        ours: environment[name]
        for ours, names in _OURS.items()
        for name in reversed(names)
        if environment.get(name)
    }
    return Session(
        {**environment, **login},
        report,
        authenticated=len(login) == len(_OURS),
        prompt=ask_credentials,
    )


@contextmanager
def pulled(
    store: Store, name: str, platform: Platform | None, report: Report, *, is_kept: bool
) -> Iterator[str]:
    """Give the name in storage of the present image ``name`` of a registry.

    An image of that name that did not come from a registry is taken as it is.  An image for another
    ``platform``, and one that is not ``is_kept``, has a name of its own, and goes at the end.
    Raises what a pull raises.
    """
    if is_kept and platform in (None, Platform.of_host()):
        turn = f"apptainer-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
        with store.turn(turn).held(lambda: report.verbose(f"waiting for another pull of {name}")):
            if _is_own(store, name):
                report.info(f"using the image in storage: {name}")
            else:
                _pull(store, name, name, None, report)
        yield name
        return
    once = f"apptainer-pull/{secrets.token_hex(8)}"
    try:
        store.expect_garbage()
        _pull(store, name, once, platform, report)
        yield once
    finally:
        with suppress(NotInStorage):
            store.images.delete(once)


def _is_own(store: Store, name: str) -> bool:
    try:
        return not store.images.get(name).origin.startswith(_PULLED)
    except (NotInStorage, StoreError):
        return False


def _pull(store: Store, name: str, target: str, platform: Platform | None, report: Report) -> None:
    report.info(f"pulling docker://{name}")
    session = new_session(os.environ, report)
    pull(store, session, name, target, options=PullOptions(platform), report=report)
