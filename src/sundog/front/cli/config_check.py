"""``sundog config --check``: what commands would find wrong in the configuration, key by key.

The reader of the files knows the types.  Here each value is read as the command that needs it does.
"""

from __future__ import annotations

import os
import ssl

from sundog.base.configuration.keys import (
    HOST_MPI_PROFILE,
    IMAGE_STORES,
    IN_MEMORY,
    LOG_PLACE,
    RUN_OPTIONS,
    STORAGE_PLACES,
    TEMPORARY_PLACE,
    TRUSTED_OWNERS,
)
from sundog.base.configuration.log import try_log
from sundog.base.configuration.storage import configured_state, configured_storage, default_storage
from sundog.base.configuration.stores import account_id, is_verified, open_store, owner_ids
from sundog.base.configuration.templates import place_for
from sundog.base.kernel.libc import printable
from sundog.base.record.own_storage import check_owner
from sundog.errors import StoreError, SundogError
from sundog.front.cli.build_defaults import default_force
from sundog.front.cli.run_defaults import run_defaults
from sundog.front.cli.sundog_run import own_caller, pull_policy
from sundog.front.podman.run_line import command_user, run_line
from sundog.front.podman.stopping import check_stopping
from sundog.front.stored import ImageDefaults
from sundog.image.registry.config import Registries
from sundog.image.registry.configured import configured_authorities, trust_authorities
from sundog.runtime.container.tmpfs_option import configured_mount
from sundog.runtime.container.variables import Environment
from sundog.runtime.host_mpi.profile import find_profile
from sundog.runtime.state.place import configured_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sundog.base.configuration.holding import Holding
    from sundog.base.configuration.keys import Key

    _Check = Callable[[Holding], Iterable[SundogError] | None]


def problems(holding: Holding) -> Iterator[SundogError]:
    """Give what is wrong beyond the files' types, and what will have no effect on this machine."""
    for text in holding.warnings:
        yield SundogError(text)
    for check in _CHECKS:
        try:
            yield from check(holding) or ()
        except SundogError as error:
            yield error


def _placed(holding: Holding, key: Key, message: str, hint: str = "") -> SundogError:
    return SundogError(f"{holding.place(key)}: {message}", hint)


def _storage(holding: Holding) -> None:
    default_storage(os.environb, holding)  # the variable
    if not holding.said(STORAGE_PLACES):
        return
    path = configured_storage(os.environb, holding)
    if not path:
        raise _placed(holding, STORAGE_PLACES, "no place is there, and none can be made")
    if os.path.lexists(path):
        try:
            check_owner(path)
        except StoreError as error:
            raise _placed(holding, STORAGE_PLACES, error.message, error.hint) from None


def _stores(holding: Holding) -> Iterator[SundogError]:
    owners = owner_ids(holding.values(TRUSTED_OWNERS))
    for path in holding.values(IMAGE_STORES):
        try:
            open_store(path, owners).close()
        except StoreError as error:
            yield error


def _owners(holding: Holding) -> Iterator[SundogError]:
    for account in holding.values(TRUSTED_OWNERS):
        if account_id(account) is None:
            yield _placed(holding, TRUSTED_OWNERS, f"no such account: {printable(account)}")


def _verify(holding: Holding) -> None:
    is_verified(holding)


def _in_memory(holding: Holding) -> Iterator[SundogError]:
    for value in holding.values(IN_MEMORY):
        try:
            configured_mount(value, holding.place(IN_MEMORY))
        except SundogError as error:
            yield error


def _temporary(holding: Holding) -> None:
    for value in holding.said(TEMPORARY_PLACE):
        path = place_for(value, os.environb)
        if path and not os.path.isdir(path):
            message = f"not a directory: {printable(path)}; containers show /tmp"
            raise _placed(holding, TEMPORARY_PLACE, message)


def _state(holding: Holding) -> None:
    path = configured_state(os.environb, holding)
    if path:
        configured_place(path, holding, make=False)


def _host_mpi(holding: Holding) -> None:
    for value in holding.values(HOST_MPI_PROFILE):
        try:
            find_profile(value, Environment.of(os.environb), -1)
        except SundogError as error:
            raise _placed(holding, HOST_MPI_PROFILE, error.message, error.hint) from None


def _force(holding: Holding) -> None:
    default_force(os.environ, holding=holding)


def _authorities(holding: Holding) -> None:
    path, source = configured_authorities(os.environ, holding)
    if path:
        trust_authorities(ssl.create_default_context(), path, source)


def _registries(holding: Holding) -> None:
    Registries.load(os.environ, holding)


def _run_options(holding: Holding) -> None:
    """Read the options as the line of a start of some image."""
    line = run_defaults(holding)
    if not line.found:
        return
    line.operands[:] = ["image", "command"]
    caller, image = own_caller(), ImageDefaults()
    try:
        pull_policy(line)
        check_stopping(line)
        run_line(line, image, caller, user=command_user(line, image, caller))
    except SundogError as error:
        raise _placed(holding, RUN_OPTIONS, error.message, error.hint) from None


def _log(holding: Holding) -> None:
    for place in holding.values(LOG_PLACE):
        try:
            try_log(place)
        except OSError as error:
            message = f"no line can be written to {printable(place)}: {error.strerror}"
            raise _placed(holding, LOG_PLACE, message) from None


_CHECKS: tuple[_Check, ...] = (
    *(_storage, _owners, _stores, _verify),
    *(_in_memory, _temporary, _state, _host_mpi),
    *(_force, _authorities, _registries),
    *(_run_options, _log),
)
