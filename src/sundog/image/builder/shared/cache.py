"""Results that a build takes from shared caches, and gives to them.

A result that is found is a promise: its layer goes by its diff ID until a step that runs, or the
image, needs its files.  Then all promised layers below are fetched.  They are hashed and checked as
those of a pull.  A promise that is not kept makes the build begin again without that entry.

No failure of a cache fails a build: the step runs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sundog.errors import (
    ArchiveError,
    ContentMismatch,
    DocumentError,
    NotInRegistryError,
    ProtocolError,
    RegistryError,
    SundogError,
    UnreachableError,
)
from sundog.image.builder.keys import is_promised
from sundog.image.builder.platforms import platform_of
from sundog.image.builder.shared.directory_place import DirectoryPlace
from sundog.image.builder.shared.entry import Result
from sundog.image.builder.shared.place import Sharing
from sundog.image.builder.shared.registry_place import QuietReport
from sundog.image.oci.platform import Platform
from sundog.image.store.cache import CacheHit
from sundog.image.transfer.layers import Unpackers, pull_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from sundog.image.builder.bases import Bases, ImageName, LookUp, PromisedImage
    from sundog.image.builder.keys import Stack, StepKey
    from sundog.image.builder.report import Report
    from sundog.image.builder.shared.place import Found, Place, PlaceText
    from sundog.image.oci.config import ImageConfig
    from sundog.image.store.store import Store
    from sundog.image.transfer.layers import RemoteLayer

# Errors about one entry; others are about its place.
_OF_ENTRY = (ContentMismatch, DocumentError, ArchiveError, ProtocolError, NotInRegistryError)
_OF_LAYER = (*_OF_ENTRY, RegistryError)
ATTEMPTS = 2  # to reach a registry: a build goes on without its cache
_FAULTS = 3  # of entries, until their place is given up
_SHOWN = 12  # digits of a key in messages


def _no_place(text: PlaceText) -> Place:
    raise AssertionError(text)


_NONE = Sharing((), (), None, _no_place)


class PromiseBroken(Exception):
    """A layer that was promised can't be had: the build is to begin again without it."""


@dataclass
class _PlaceInUse:
    """A place in this command; ``distrusted`` are the keys of entries that were wrong."""

    option: str
    place: Place
    report: Report
    ignores_errors: bool = True
    is_given_up: bool = False
    distrusted: set[str] = field(default_factory=set)

    def distrust(self, key: str, error: SundogError) -> None:
        """Take the result under a key from here no more; after some of them, none."""
        self.distrusted.add(key)
        self.report.warning(f"{self.place.name}:{key[:_SHOWN]}: {error.message}: not used")
        if len(self.distrusted) >= _FAULTS:
            self.is_given_up = True

    def learn(self, distrusted: Sequence[str], is_given_up: bool) -> None:
        """Add what another process has found out."""
        self.distrusted.update(distrusted)
        self.is_given_up |= is_given_up

    def give_up(self, error: SundogError) -> None:
        """Use the place no more in this command."""
        self.is_given_up = True
        hint = f" ({error.hint})" if error.hint else ""
        self.report.warning(
            f"{self.option}: {error.message}{hint}: the build goes on without {self.place.name}"
        )


class SharedCaches:
    """The shared caches of one command."""

    def __init__(self, sharing: Sharing, report: Report, imported: Place | None = None) -> None:
        self.report = report
        self._longest = sharing.longest
        self._sources, self._destinations = (
            [
                _PlaceInUse(text.option, sharing.open_place(text), report, text.ignores_errors)
                for text in texts
            ]
            for texts in (sharing.sources, sharing.destinations)
        )
        if imported is not None:
            self._sources.insert(0, _PlaceInUse("--import", imported, report))
        self._expired: set[str] = set()
        self._failures: list[str] = []

    @classmethod
    def of(cls, store: Store, sharing: Sharing | None, report: Report) -> SharedCaches:
        """Return the shared caches of a build, with what was imported into the store."""
        imported = DirectoryPlace.imported(store, report.warning) if store.has_imported else None
        return cls(sharing or _NONE, report, imported)

    @property
    def has_sources(self) -> bool:
        """Tell whether results are taken from somewhere."""
        return any(not place.is_given_up for place in self._sources)

    @property
    def has_destinations(self) -> bool:
        """Tell whether results are written somewhere."""
        return any(not place.is_given_up for place in self._destinations)

    def find(self, key: str) -> tuple[_PlaceInUse, Found] | None:
        """Return the entry under a key from the first place that has it."""
        for source in self._sources:
            if source.is_given_up or key in source.distrusted:
                continue
            try:
                found = source.place.find(key)
            except _OF_ENTRY as error:
                source.distrust(key, error)
                continue
            except SundogError as error:
                source.give_up(error)
                continue
            if found is None:
                continue
            if self._longest is not None and found.entry.created < time.time() - self._longest:
                self.report.verbose(f"{source.place.name}:{key[:_SHOWN]}: too old")
                self._expired.add(key)
                continue
            self.report.verbose(f"found in {source.place.name}: {key}")
            return source, found
        return None

    def write(self, store: Store, result: Result, *, replaces: bool, origin: str = "") -> None:
        """Write an entry to all places but ``origin``, from which it comes."""
        replaces = replaces or result.key in self._expired
        for destination in self._destinations:
            if destination.is_given_up or destination.place.name == origin:
                continue
            try:
                destination.place.write(store, result, replaces=replaces)
            except SundogError as error:
                destination.give_up(error)
                if not destination.ignores_errors:
                    self._failures.append(f"{destination.option}: {error.message}")

    def facts(self) -> tuple[object, ...]:
        """Return as plain values what this process has learned of the places."""
        places = [
            (sorted(place.distrusted), place.is_given_up)
            for place in (*self._sources, *self._destinations)
        ]
        return places, sorted(self._expired), self._failures

    def learn(self, facts: object) -> None:
        """Add the facts of a process that was forked."""
        match facts:
            case (list(places), list(expired), list(failures)):
                for place, known in zip((*self._sources, *self._destinations), places, strict=True):
                    place.learn(*known)
                self._expired.update(expired)
                self._failures += [each for each in failures if each not in self._failures]

    def failures(self) -> Sequence[str]:
        """Return what could not be written to places whose errors count."""
        return self._failures


@dataclass(frozen=True, slots=True)
class _Promise:
    """A layer in a shared cache."""

    key: str
    source: _PlaceInUse
    layer: RemoteLayer


@dataclass(frozen=True, slots=True)
class _Taken:
    """A result that was found: the layers of the stage below it, and its own, None for none.

    The build cache of the store gets it under what ``name`` makes of its local key.
    """

    key: StepKey
    below: tuple[str, ...]
    layer: str | None
    name: Callable[[str], str] = str


class SharedBuild:
    """One build with shared caches."""

    def __init__(self, store: Store, caches: SharedCaches, report: Report) -> None:
        self._store = store
        self._caches = caches
        self._report = report
        self._promises: dict[str, _Promise] = {}
        self._here: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._taken: list[_Taken] = []
        self._origins: dict[str, str] = {}  # by key: the place that an entry came from
        self._made: set[str] = set()
        self._looked_up: dict[tuple[str, Platform | None], PromisedImage] = {}
        self._images: dict[tuple[str, ...], PromisedImage] = {}  # by their layers

    @property
    def has_destinations(self) -> bool:
        """Tell whether results are written somewhere."""
        return self._caches.has_destinations

    def promised(
        self,
        bases: Bases,
        name: ImageName,
        platform: Platform | None,
        look_up: LookUp | None,
    ) -> tuple[tuple[str, ...], ImageConfig] | None:
        """Return the layers of an image that is not here, by their diff IDs, and its configuration.

        None if it has to be fetched at once.  Raises as ``Bases.fetch``.
        """
        if look_up is None or not self._caches.has_sources or not isinstance(name, str):
            return None
        known = self._looked_up.get((name, platform))
        if known is None:
            known = bases.promised(name, platform, look_up)
            if known is None:
                return None
            self._looked_up[name, platform] = known
        self._images[known.config.diff_ids] = known
        return known.config.diff_ids, known.config

    def key_of(self, key: StepKey, config: ImageConfig) -> str:
        """Return the portable digest of a key.

        Where nothing is written, it is "" for one that has a layer which this build made: another
        store can hardly have made the same, and its digest is not computed to find that out.
        """
        if not self.has_destinations:
            made = {layer for stack in key.stacks() for layer in stack} & self._made
            if any(not self._store.layers.portable_id(layer, computes=False) for layer in made):
                return ""
        return key.portable(self._names, str(platform_of(config)))

    def find(self, key: StepKey, portable: str, below: tuple[str, ...]) -> CacheHit | None:
        """Return the result under a portable key; ``below`` are the layers of the stage."""
        found = self._caches.find(portable) if portable else None
        if found is None:
            return None
        source, (entry, layer) = found[0], (found[1].entry, found[1].layer)
        self._origins[portable] = source.place.name
        name = None
        if layer is not None:
            name = entry.diff_id
            self._promises.setdefault(name, _Promise(portable, source, layer))
        self._taken.append(_Taken(key, below, name))
        return CacheHit(name)

    def made(self, layer: str | None) -> None:
        """Take note that this build made a layer."""
        if layer is not None:
            self._made.add(layer)

    def write(
        self,
        portable: str,
        text: str,
        layer: str | None,
        below: tuple[str, ...],
        config: ImageConfig,
        *,
        replaces: bool,
    ) -> None:
        """Write a result to the places that get results, unless it came from there."""
        if not portable or not self.has_destinations:
            return
        if layer is not None:
            layer = self.here((*below, layer))[-1]
        result = Result(portable, layer, text, platform_of(config))
        origin = self._origins.get(portable, "")
        self._caches.write(self._store, result, replaces=replaces, origin=origin)

    def has_note(self, key: str) -> bool:
        """Tell whether there is an entry that says something by its key alone."""
        return self._caches.find(key) is not None

    def keep_note(self, key: StepKey, name: Callable[[str], str]) -> None:
        """Put a note about a step into the build cache of the store, when its layers are here.

        ``name`` makes its key there of the local key of the step.
        """
        self._taken.append(_Taken(key, key.layers, None, name))
        self._remember()

    def write_note(self, key: str, text: str) -> None:
        """Write an entry that says something by its key alone."""
        self._caches.write(self._store, Result(key, None, text, Platform.of_host()), replaces=False)

    def known(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the IDs of layers, as far as they are here by now."""
        count = next((n for n in range(len(layers), 0, -1) if layers[:n] in self._here), 0)
        return self._here.get(layers[:count], ()) + layers[count:]

    def has_promised(self, key: StepKey) -> bool:
        """Tell whether a key names a layer that is not here."""
        return any(is_promised(layer) for stack in key.stacks() for layer in stack)

    def facts(self) -> tuple[object, ...]:
        """Return as plain values what this process has learned."""
        return sorted(self._made), self._caches.facts()

    def learn(self, facts: object) -> None:
        """Add the facts of a process that was forked."""
        match facts:
            case (list(made), of_caches):
                self._made.update(made)
                self._caches.learn(of_caches)

    def is_broken_by(self, error: BaseException | None) -> bool:
        """Tell whether an exception says that a promise was not kept."""
        return isinstance(error, PromiseBroken)

    def fail(self) -> NoReturn:
        """Raise PromiseBroken, because another process has."""
        raise PromiseBroken

    def here(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the IDs of layers; fetch those that were promised.  Raises PromiseBroken."""
        if layers in self._here or not any(map(is_promised, layers)):
            return self._here.get(layers, layers)
        base = max((each for each in self._images if layers[: len(each)] == each), default=())
        done = self._here.get(base, ())
        if base and not done:
            done = self._images[base].fetch().layers
        names: list[str] = []
        for layer in layers[len(base) :]:
            if is_promised(layer):
                names.append(layer)
            else:
                done = (*self._fetched(done, names), layer)
                names = []
        done = self._fetched(done, names)
        for count in range(1, len(layers) + 1):
            self._here[layers[:count]] = done[:count]
        self._remember()
        return done

    def _fetched(self, below: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
        """Fetch layers on top of those ``below``; return all."""
        if not names:
            return below
        promises = [self._promises[name] for name in names]
        places = ", ".join(dict.fromkeys(promise.source.place.name for promise in promises))
        self._report.info(f"{places}: fetching {len(names)} layer{'s'[: len(names) > 1]}")
        try:
            return (*below, *self._pull(promises, below))
        except _OF_LAYER as error:
            # A server that does not answer is asked no more, if only one can be meant.
            is_slow = (
                isinstance(error, UnreachableError)
                and len({id(each.source) for each in promises}) == 1
            )
            if len(promises) == 1 or is_slow:
                raise self._broken(promises[0], error) from error
        for promise in promises:  # which one was it?
            try:
                below = (*below, *self._pull([promise], below))
            except _OF_LAYER as error:
                raise self._broken(promise, error) from error
        return below

    def _broken(self, promise: _Promise, error: SundogError) -> PromiseBroken:
        if isinstance(error, _OF_ENTRY):
            promise.source.distrust(promise.key, error)
        else:
            promise.source.give_up(error)
        return PromiseBroken()

    def _pull(self, promises: Sequence[_Promise], below: tuple[str, ...]) -> list[str]:
        layers = [promise.layer for promise in promises]
        with Unpackers() as unpackers:
            report = QuietReport(self._report)
            return pull_layers(
                self._store, layers, unpackers, report, below=below, goes_on=True, attempts=ATTEMPTS
            )

    def _remember(self) -> None:
        """Put the results that are here now into the build cache of the store."""
        left = []
        for taken in self._taken:
            above = taken.below if taken.layer is None else (*taken.below, taken.layer)
            stacks = [*taken.key.stacks(), taken.below, above]
            if any(self._is_away(tuple(stack)) for stack in stacks):
                left.append(taken)
                continue
            layer = None if taken.layer is None else self.here(above)[-1]
            local = taken.name(taken.key.named(lambda stack: self.here(tuple(stack))))
            self._store.cache.put(local, layer, self.here(taken.below))
        self._taken = left

    def _is_away(self, layers: tuple[str, ...]) -> bool:
        return layers not in self._here and any(map(is_promised, layers))

    def _names(self, stack: Stack) -> list[str]:
        return [
            layer if is_promised(layer) else self._store.layers.portable_id(layer)
            for layer in stack
        ]
