"""Things leave a store so that it stays in bounds: the least recently used first.

A layer's bytes are free when the last item that keeps it has gone.  So a layer that several images
share counts once.  These never go: what a container that is kept needs, an image that a container
has mounted, a cache mount in use; and images at all, unless the caller lets them.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from dataclasses import dataclass, replace

from sundog.image.store.mounted import mounted_names
from sundog.image.store.scratch import image_marks
from sundog.image.store.space import CACHE_MOUNT, IMAGE, IMPORTED, RESULT, measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sundog.image.store.space import Item, Space
    from sundog.image.store.store import Store

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a store.

    What was used last before ``oldest``, in seconds since 1970, leaves.  Others leave until no more
    than ``limit`` bytes are left.  What was used since ``youngest`` stays.
    """

    oldest: float = -math.inf
    limit: float = math.inf
    youngest: float = math.inf

    @classmethod
    def of(cls, days: int | None, limit: int | None) -> Bounds:
        """Return the bounds of so many days and bytes; None is no bound.  0 days: all leaves."""
        oldest = -math.inf
        if days is not None:
            oldest = time.time() - days * _DAY if days else math.inf
        return cls(oldest, math.inf if limit is None else limit)


EVERYTHING = Bounds(oldest=math.inf)


@dataclass(frozen=True, slots=True)
class Leaving:
    """An item that leaves, and the bytes that are free then."""

    item: Item
    freed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The things that leave a store, in this order.

    ``total`` are the bytes of the store before, ``left`` those afterwards.  ``is_busy``: another
    command uses layers, so images stay.
    """

    leaving: Sequence[Leaving]
    total: int
    left: int
    is_busy: bool = False

    def count(self, kind: str) -> int:
        """Return how many things of a kind leave; results of one layer count one by one."""
        found = [each.item for each in self.leaving if each.item.kind == kind]
        return sum(len(item.names) for item in found)


def plan(space: Space, bounds: Bounds, may_go: Callable[[Item], bool]) -> Plan:
    """Return what leaves ``space``; of images, only what ``may_go``.

    A result whose layer is in an image or a container stays: no byte would be free.
    """
    needed = Counter(space.kept)  # what results would free nothing of
    users = Counter(space.kept)
    for item in space.items:
        users.update(set(item.layers))
        if item.kind == IMAGE:
            needed.update(set(item.layers))
    leaving, left = [], space.total
    for item in sorted(space.items, key=lambda item: (item.last_use, -item.rank)):
        if item.last_use >= bounds.youngest:
            break
        if not (item.last_use < bounds.oldest or left > bounds.limit):
            continue
        if item.kind == IMAGE:
            if not may_go(item):
                continue
            needed.subtract(set(item.layers))
        elif any(needed[layer] > 0 for layer in item.layers):
            continue
        users.subtract(set(item.layers))
        freed = sum(space.sizes.get(layer, 0) for layer in item.layers if users[layer] <= 0)
        leaving.append(Leaving(item, freed + item.size))
        left -= freed + item.size
    return Plan(leaving, space.total, left)


def plan_for(
    store: Store,
    bounds: Bounds,
    may_go: Callable[[Item], bool] = lambda _: False,
    until: float = math.inf,
) -> Plan:
    """Return what leaves ``store``; of images, only those that no container uses and ``may_go``.

    While another command uses layers, no image leaves.  Raises TimeoutError as ``measure``.
    """
    space = measure(store, until)
    chosen = {item.names for item in space.images if may_go(item)}
    is_busy = bool(chosen) and not store.is_idle()
    if is_busy:
        chosen.clear()
    if chosen:
        chosen -= _in_containers(store, space)
    return replace(plan(space, bounds, lambda item: item.names in chosen), is_busy=is_busy)


def carry_out(
    store: Store, leaving: Sequence[Leaving], seconds: float = math.inf
) -> Sequence[Leaving]:
    """Let things leave, one after the other for so many seconds; return those that are gone.

    Without a bound of time, closing the store frees the space.
    """
    is_bounded = seconds < math.inf
    until = time.monotonic() + seconds
    if not is_bounded:
        store.expect_garbage()
    for count, each in enumerate(leaving):
        if time.monotonic() > until:
            return leaving[:count]
        _LEAVE[each.item.kind](store, each.item)
        if is_bounded and not store.collect_expected():
            return leaving[: count + 1]
    return leaving


def clear_out(
    store: Store, bounds: Bounds, may_go: Callable[[Item], bool] = lambda _: False
) -> Plan:
    """Plan for ``store``, carry it out, and return the plan."""
    found = plan_for(store, bounds, may_go)
    carry_out(store, found.leaving)
    if bounds.oldest == math.inf:
        store.deleted.clear()
    return found


def _in_containers(store: Store, space: Space) -> set[tuple[str, ...]]:
    """Return the names of the images that containers have mounted, here or on another node.

    So are those whose topmost layer a container needs that is kept.
    """
    paths = {
        image.names: store.at(b"images", os.fsencode(image.names[0])) for image in space.images
    }
    marks = {names: image_marks(path) for names, path in paths.items()}
    mounted = mounted_names(set().union(*marks.values()), store.path)
    used = {names for names, found in marks.items() if not mounted.isdisjoint(found)}
    tops = {image.names: image.entry.layers[-1:] for image in space.images if image.entry}
    return used | {names for names, top in tops.items() if not space.kept.isdisjoint(top)}


def _leave_image(store: Store, item: Item) -> None:
    (directory,) = item.names
    # Another command may have used it meanwhile, or put another one there.
    if store.images.last_use(directory) <= item.last_use:
        store.images.remove_directory(directory)


def _leave_result(store: Store, item: Item) -> None:
    store.cache.forget_layer(item.layers[0], item.names)


def _leave_cache_mount(store: Store, item: Item) -> None:
    store.cache_mounts.remove(*map(os.fsencode, item.names))


def _leave_imported(store: Store, _: Item) -> None:
    store.clear_imported()


_LEAVE: dict[str, Callable[[Store, Item], None]] = {
    IMAGE: _leave_image,
    RESULT: _leave_result,
    CACHE_MOUNT: _leave_cache_mount,
    IMPORTED: _leave_imported,
}
