"""The reason why a result was not in the build cache, found in the last build under its name.

Each build that ends well leaves a record with its image: of each step its line, its layer, and
checksums of what its key is made of.  It has no contents, and none of secrets, as no key has them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.libc import printable
from sundog.errors import DocumentError, NotInStorage, StoreError
from sundog.image.builder.keys import (
    ARGUMENT,
    DEVICE,
    FILES,
    IMAGE,
    MOUNT,
    NOTED,
    OTHER,
    Contents,
    Part,
    Stack,
    StepKey,
    digest_of,
    is_promised,
)
from sundog.image.builder.tree_step import encoded
from sundog.image.store.last_builds import LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sundog.base.fields import JsonObject
    from sundog.image.builder.keys import Field
    from sundog.image.store.store import Store

    # The kind of a part, the mount that it is in, and its name.
    PartName = tuple[str, str, str]

_WORDS = {
    OTHER: "{} differs",
    ARGUMENT: "the argument or variable {} {}",
    FILES: "{} {}",
    IMAGE: "the image or stage that it takes files from has other layers",
    MOUNT: "the mount at {} {}",
    DEVICE: "its devices differ",
}
_REST = f"the files beyond the first {NOTED} differ; which one is not known"
_TEXT = 300  # characters of an instruction that are kept
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of a stage: ``whole`` is a checksum of its key without the layers below.

    ``template`` and ``stacks`` are the rest of its key: ``stacks`` has the layers of other images,
    and ``is_above`` tells whether those of the stage come before them.  ``tried`` is the template
    of the key under which the step failed, if it was tried again.
    """

    line: int
    text: str
    layer: str
    whole: str
    parts: Mapping[PartName, str]
    template: str
    stacks: tuple[tuple[str, ...], ...]
    is_above: bool
    tried: str = ""

    @classmethod
    def of(cls, line: int, text: str, key: StepKey, layer: str | None = None) -> StepRecord:
        """Return the record of a step; ``layer`` is None if it changed nothing."""
        whole, below, *stacks = _checksum((key.kind, key.fields)), *map(tuple, key.stacks())
        parts = dict(_parts(key.fields))
        return cls(
            line,
            text[:_TEXT],
            layer or "",
            whole,
            parts,
            key.template,
            tuple(stacks),
            bool(below),
        )

    def to_json(self) -> list[object]:
        """Return the record as a list."""
        parts = [[*name, checksum] for name, checksum in self.parts.items()]
        key = [self.template, self.stacks, self.is_above, self.tried]
        return [self.line, self.text, self.layer, self.whole, parts, *key]

    @classmethod
    def from_json(cls, value: object) -> StepRecord:
        """Return the record of a list; raise DocumentError."""
        match value:
            case [int(line), str(text), str(layer), str(whole), list(parts), *key]:
                of_key = _key_from(key)
                return cls(line, text, layer, whole, dict(map(_part_from, parts)), *of_key)
        raise DocumentError("not the record of a step")

    @property
    def words(self) -> str:
        """The text without its keyword, which also tells the mode of emulation."""
        return self.text.partition(" ")[2]


@dataclass(slots=True)
class StageRecord:
    """A stage: its name, its FROM, the image and the layers of that, its platform; its steps.

    ``image`` is "" if it is another stage, or nothing.
    """

    name: str
    base: str = ""
    image: str = ""
    platform: str = ""
    layers: tuple[str, ...] = ()
    steps: list[StepRecord] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """Return the record as an object."""
        return {
            "name": self.name,
            "base": self.base,
            "image": self.image,
            "platform": self.platform,
            "layers": self.layers,
            "steps": [step.to_json() for step in self.steps],
        }

    def renamed(self, name: Callable[[tuple[str, ...]], tuple[str, ...]]) -> StageRecord:
        """Return the record with other names of the layers, as ``name`` returns them."""
        made = tuple(step.layer for step in self.steps if step.layer)
        layers = name(self.layers + made)
        own = iter(layers[len(self.layers) :])
        steps = [
            replace(
                step,
                layer=next(own) if step.layer else "",
                stacks=tuple(map(name, step.stacks)),
            )
            for step in self.steps
        ]
        return replace(self, layers=layers[: len(self.layers)], steps=steps)

    @classmethod
    def from_json(cls, value: object) -> StageRecord:
        """Return the record of an object; raise DocumentError."""
        fields = Fields(value, "stage", DocumentError)
        return cls(
            fields.required_string("name"),
            fields.string("base"),
            fields.string("image"),
            fields.string("platform"),
            fields.strings("layers") or (),
            [StepRecord.from_json(step) for step in fields.array("steps") or ()],
        )


def pack_stages(stages: Sequence[StageRecord]) -> bytes:
    """Return the record of a build; of one that is too large, only that it is."""
    packed = json.dumps({"stages": [stage.to_json() for stage in stages]}).encode()
    return packed if len(packed) < LIMIT else b"{}"


@dataclass(frozen=True, slots=True)
class LastBuild:
    """The last build under ``name``; ``stages`` is None if nothing is known of it."""

    store: Store
    name: str
    stages: Mapping[str, StageRecord] | None

    @classmethod
    def of(cls, store: Store, names: Sequence[str]) -> LastBuild:
        """Return the last build under the first of ``names``."""
        if not names:
            return cls(store, "", None)
        try:
            value = parse_json(store.last_builds.get(names[0]) or b"{}", "record", DocumentError)
            found = Fields(value, "record", DocumentError).array("stages")
            stages = None if found is None else [StageRecord.from_json(each) for each in found]
        except DocumentError:  # a power cut, or a program that wrote there
            stages = None
        return cls(
            store, names[0], None if stages is None else {each.name: each for each in stages}
        )

    def reason(self, stage: StageRecord, step: StepRecord, *, is_independent: bool) -> str:
        """Say why the result of a step, which comes after those of ``stage``, was not there."""
        if not self.name:
            return "the result gets no name, so no earlier build is known"
        if self.stages is None:
            return self._unknown()
        last = self.stages.get(stage.name)
        if last is None:
            return f"the last build of {self.name} had no stage {stage.name}"
        below = "" if is_independent else self._below(stage, last)
        return f"since the last build of {self.name}: {below or _own(stage, step, last)}"

    def _unknown(self) -> str:
        try:
            origin = self.store.images.get(self.name).origin
        except (NotInStorage, StoreError):
            return f"never built under this name: {self.name}"
        if origin.startswith("ch-image build"):
            return f"nothing is known of the last build of {self.name}"
        return f"never built under this name: {self.name}; it is from: {origin}"

    def _below(self, stage: StageRecord, last: StageRecord) -> str:
        """Say what differs in the layers below; "" for nothing."""
        if stage.base != last.base:
            return f"the stage began {last.base}"
        unknown = "the layers below may be others, which can't be known before they are fetched"
        if not self._same(stage.layers, last.layers):
            return unknown if _is_away(stage.layers) else f"{stage.base} has other layers"
        for step, known in zip(stage.steps, last.steps, strict=False):
            if step.words != known.words:
                return f"line {step.line} was: {known.text}"
            if not self._same([step.layer], [known.layer]):
                another = f"line {step.line} has another result"
                return unknown if _is_away([step.layer]) else another
        return ""

    def _same(self, layers: Sequence[str], known: Sequence[str]) -> bool:
        return len(layers) == len(known) and all(
            one == other or not self._ids(one).isdisjoint(self._ids(other))
            for one, other in zip(layers, known, strict=True)
        )

    def _ids(self, layer: str) -> set[str]:
        """Return the names of a layer: its ID here, and its diff ID if that is known."""
        if not layer or is_promised(layer) or not self.store.layers.exists(layer):
            return {layer}
        return {layer, self.store.layers.portable_id(layer, computes=False)} - {""}


def _own(stage: StageRecord, step: StepRecord, last: StageRecord) -> str:
    """Say what differs in a step itself."""
    number = len(stage.steps)
    known = last.steps[number] if number < len(last.steps) else None
    if known is None:
        return "the instruction is new"
    if step.words != known.words:
        is_gone = step.words in (each.words for each in last.steps[number + 1 :])
        return f"{'this is gone' if is_gone else 'in its place was'}: {known.text}"
    names = sorted(dict.fromkeys((*step.parts, *known.parts)), key=lambda name: not name[2])
    for kind in _WORDS:
        for name in names:
            if name[0] == kind and step.parts.get(name) != known.parts.get(name):
                return _difference(name, step.parts, known.parts)
    if step.whole != known.whole:
        return "something differs that its line does not show, as a flag or a text"
    return "nothing differs; its result is not in the cache any more"


def _difference(part: PartName, now: Mapping[PartName, str], known: Mapping[PartName, str]) -> str:
    kind, mount, name = part
    whole = MOUNT, "", mount
    if mount and (whole in now) != (whole in known):
        return _difference(whole, now, known)
    change = "has changed" if part in now and part in known else "is new"
    change = change if part in now else "is gone"
    if kind == FILES and not name:
        said = _REST
    else:
        said = _WORDS[kind].format(printable(encoded(name)), change)
    return f"in the mount at {mount}: {said}" if mount else said


def _parts(field: Field, mount: str = "") -> Iterator[tuple[PartName, str]]:
    """Yield the parts of a field that have a name, with checksums; inner ones come first."""
    match field:
        case Part(kind, _, dict() as pairs):
            for name, value in sorted(pairs.items()):
                yield (kind, mount, name), _checksum(value)
        case Part(kind, _, Contents() as contents):
            for path, checksum in contents.files.items():
                yield (kind, mount, path.decode("utf-8", "surrogateescape") or "."), f"{checksum:x}"
            yield (kind, mount, ""), contents.digest[:_DIGITS]
        case Part(kind, name, value):
            yield from _parts(value, name if kind == MOUNT else mount)
            yield (kind, mount, name), _checksum(value)
        case Stack() | StepKey():
            pass
        case tuple() | list():
            for each in field:
                yield from _parts(each, mount)


def _part_from(value: object) -> tuple[PartName, str]:
    match value:
        case [str(kind), str(mount), str(name), str(checksum)] if kind in _WORDS:
            return (kind, mount, name), checksum
    raise DocumentError("not the record of a part")


def _key_from(value: list[object]) -> tuple[str, tuple[tuple[str, ...], ...], bool, str]:
    match value:
        case [str(template), list(stacks), bool(is_above), str(tried)]:
            return template, tuple(map(_stack_from, stacks)), is_above, tried
    raise DocumentError("not the record of a key")


def _stack_from(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(layer, str) for layer in value):
        return tuple(value)
    raise DocumentError("not the record of layers")


def _checksum(value: Field) -> str:
    return digest_of(value)[:_DIGITS]


def _is_away(layers: Sequence[str]) -> bool:
    return any(map(is_promised, layers))
