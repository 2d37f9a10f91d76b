"""The targets and groups of bake files, and the line of ``sundog build`` that each becomes.

Specification: the reference of ``docker buildx bake``.  Pure values, but for a look whether
a context is a directory here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sundog.base.spelling import BOOLEANS, nearest
from sundog.errors import UsageError
from sundog.image.builder.files.named_context import is_elsewhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, NoReturn

    Keys = dict[str, Any]

DEFAULT = "default"
TARGET = "target:"
MAPS = ("args", "labels", "contexts")
LISTS = {
    "annotations": "annotation",
    "cache-from": "cache-from",
    "cache-to": "cache-to",
    "no-cache-filter": "no-cache-filter",
    "output": "output",
    "secret": "secret",
    "ssh": "ssh",
    "tags": "tag",
}
_APPENDED = ("annotations", "secret", "ssh")  # where a target inherits
BOOLEAN_KEYS = ("no-cache", "pull")
TEXTS = ("context", "dockerfile", "network", "target")
IGNORED = ("description", "entitlements")
KNOWN = (*MAPS, *LISTS, *BOOLEAN_KEYS, *TEXTS, *IGNORED, "inherits", "platforms")
_LEVELS = 100  # of targets and groups that name one another
# Keys of a target, and of compose's build, that are not possible, and what to do.
_REFUSED = {
    "attest": "no attestation is made: leave it out",
    "call": "sundog build --check checks a Dockerfile",
    "dockerfile-inline": "write it into a file, and name that in dockerfile",
    "dockerfile_inline": "write it into a file, and name that in dockerfile",
    "extra-hosts": "RUN has the host's /etc/hosts: leave it out",
    "extra_hosts": "RUN has the host's /etc/hosts: leave it out",
    "matrix": "write a target for each value",
    "privileged": "RUN can do only what you can do: leave it out",
    "secrets": "--set TARGET.secret=id=ID,src=FILE",
    "shm-size": "/dev/shm is as large as memory: leave it out",
    "shm_size": "/dev/shm is as large as memory: leave it out",
    "ulimits": "your own limits hold: leave it out",
}


@dataclass(frozen=True)
class Definition:
    """The targets and the groups of one or more files."""

    targets: dict[str, Keys] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Definition) -> None:
        """Add a further file, whose keys take precedence."""
        for name, keys in other.targets.items():
            self.targets[name] = merged(self.targets.get(name, {}), keys)
        self.groups.update(other.groups)

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Return the targets that ``names`` stand for, each after those that it needs.

        Raises UsageError.
        """
        found: dict[str, None] = {}
        walked: set[str] = set()
        for name in names or [DEFAULT]:
            for target in self._members(name, walked, ()):
                self._add(target, found, ())
        return list(found)

    def _members(self, name: str, walked: set[str], above: tuple[str, ...]) -> Iterator[str]:
        """Give the targets of a group, but for groups in it that were ``walked``; or the target."""
        if name not in self.groups:
            yield name
            return
        _check_circle(name, above, "a circle")
        if name not in walked:
            walked.add(name)
            for member in self.groups[name]:
                yield from self._members(member, walked, (*above, name))

    def _add(self, name: str, found: dict[str, None], above: tuple[str, ...]) -> None:
        """Add a target behind those that it needs, whatever groups have their names."""
        _check_circle(name, above, "a circle")
        if name not in found:
            for other in self._needs(name):
                self._add(other, found, (*above, name))
            found[name] = None

    def _needs(self, name: str) -> list[str]:
        sources = self.resolved(name).get("contexts", {}).values()
        return [each.removeprefix(TARGET) for each in sources if each.startswith(TARGET)]

    def waits_for(self, names: Sequence[str]) -> list[frozenset[int]]:
        """Return for each of ``names``, which ``wanted`` gave, the indices of those to build first.

        These are the targets that it needs, and of those that write to the same place the last:
        what is there in the end comes from the later target.
        """
        last: dict[str, int] = {}
        waits = []
        for index, name in enumerate(names):
            keys = self.resolved(name)
            needs = {names.index(other) for other in self._needs(name)}
            for place in (*keys.get("tags", []), *map(_field, keys.get("output", []))):
                needs |= {last[place]} if place in last else set()
                last[place] = index
            waits.append(frozenset(needs))
        return waits

    def resolved(self, name: str) -> Keys:
        """Return the keys of a target with those that it inherits; raise UsageError."""
        return self._resolved(name, {}, ())

    def _resolved(self, name: str, done: dict[str, Keys], above: tuple[str, ...]) -> Keys:
        _check_circle(name, above, "it inherits itself")
        if name in done:
            return done[name]
        if name not in self.targets:
            known = sorted({*self.targets, *self.groups})
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"there are: {', '.join(known)}"
            raise UsageError(f"bake: no such target: {name}", hint)
        keys: Keys = {}
        own = self.targets[name]
        for parent in own.get("inherits", []):
            keys = merged(keys, self._resolved(parent, done, (*above, name)))
        done[name] = {key: item for key, item in merged(keys, own).items() if key != "inherits"}
        return done[name]

    def override(self, text: str, seen: set[tuple[str, str]]) -> None:
        """Obey ``--set PATTERN.KEY[.NAME]=VALUE``; ``seen`` are the lists that were set before.

        Raises UsageError.
        """
        place, equals, value = text.partition("=")
        pattern, _, key = place.partition(".")
        key, _, name = key.partition(".")
        key = {"platform": "platforms", "secrets": "secret"}.get(key, key)
        targets = [target for target in self.targets if fnmatchcase(target, pattern)]
        if not equals or not key:
            raise UsageError(f"--set {text}: no value", "--set TARGET.KEY=VALUE")
        if not targets:
            close = nearest(pattern, self.targets)
            hint = f"did you mean {close}?" if close else f"there are: {', '.join(self.targets)}"
            raise UsageError(f"--set {text}: no such target: {pattern}", hint)
        check_key(f"--set {text}", key)
        if key == "inherits":
            raise UsageError(f"--set {text}: targets are related in files only", "set the keys")
        if (key in MAPS) != bool(name):
            example = f"{key}.NAME" if key in MAPS else key
            raise UsageError(f"--set {text}: {key}", f"write --set {pattern}.{example}=VALUE")
        for target in targets:
            own = self.targets[target]
            if key in MAPS:
                own[key] = {**own.get(key, {}), name: value}
            elif key in LISTS or key == "platforms":
                before = self.resolved(target).get(key, []) if (target, key) in seen else []
                own[key] = [*before, value]
                seen.add((target, key))
            else:
                own[key] = _boolean(f"--set {text}", value) if key in BOOLEAN_KEYS else value


def merged(below: Keys, above: Keys) -> Keys:
    """Return the keys of two targets, of which ``above`` takes precedence."""
    keys = {**below, **above}
    for key in MAPS:
        if key in below and key in above:
            keys[key] = {**below[key], **above[key]}
    for key in _APPENDED:
        if key in below and key in above:
            keys[key] = list(dict.fromkeys((*below[key], *above[key])))
    return keys


def line_of(
    name: str, definition: Definition, flags: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Return the words after ``sundog build`` that build a target; raise UsageError.

    ``flags`` are those of all targets.  An argument without a value has that of the environment, if
    it is there.
    """
    keys = definition.resolved(name)
    context = str(keys.get("context", "."))
    words: list[str] = []
    for key, option in LISTS.items():
        words += [f"--{option}={_field(item)}" for item in keys.get(key, [])]
    if not keys.get("tags") and not keys.get("output"):
        words.append("--output=type=cacheonly")
    for argument, item in keys.get("args", {}).items():
        if item is not None or argument in environment:
            value = environment[argument] if item is None else _text(item)
            words.append(f"--build-arg={argument}={value}")
    words += [f"--label={label}={_text(item)}" for label, item in keys.get("labels", {}).items()]
    for other, source in keys.get("contexts", {}).items():
        words.append(f"--build-context={other}={_source(name, source, definition)}")
    words += [f"--{key}={str(keys[key]).lower()}" for key in BOOLEAN_KEYS if key in keys]
    words += [f"--{key}={keys[key]}" for key in ("network", "target") if keys.get(key)]
    words += [f"--platform={platform}" for platform in keys.get("platforms", [])]
    dockerfile = keys.get("dockerfile")
    if dockerfile is not None:
        above = "" if is_elsewhere(context) else context  # a build looks in what it fetches
        words.append(f"--file={os.path.join(above, str(dockerfile))}")
    return [*words, *flags, "--", context]  # the command line comes before the file


def _source(name: str, source: str, definition: Definition) -> str:
    """Return the source of a named context; that of another target is its image."""
    if not source.startswith(TARGET):
        return source
    other = source.removeprefix(TARGET)
    tags = definition.resolved(other).get("tags", [])
    if not tags:
        raise UsageError(
            f"bake: {name} takes files of {other}, which has no tags", f"--set {other}.tags=NAME"
        )
    return f"docker-image://{tags[0]}"


def check_key(what: str, key: str) -> None:
    """Raise UsageError unless a target has this key."""
    if key not in KNOWN:
        refuse(what, key, KNOWN)


def refuse(what: str, key: str, known: Iterable[str]) -> NoReturn:
    """Raise the UsageError of a key that is not one of ``known``; YAML's may be no text."""
    if key in _REFUSED:
        raise UsageError(f"{what}: not possible here", _REFUSED[key])
    close = nearest(str(key), known)
    raise UsageError(
        f"{what}: no such key: {key}",
        f"did you mean {close}?" if close else f"there are: {', '.join(known)}",
    )


def _check_circle(name: str, above: tuple[str, ...], fault: str) -> None:
    if name in above:
        raise UsageError(f"bake: {' → '.join((*above, name))}: {fault}", "break it")
    if len(above) >= _LEVELS:
        raise UsageError(f"bake: {name}: more than {_LEVELS} levels", "name fewer in one another")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field(value: object) -> str:
    """Return an item of a list as one word; buildx has objects, too."""
    if isinstance(value, dict):
        return ",".join(f"{key}={_text(item)}" for key, item in value.items())
    return _text(value)


def _boolean(what: str, value: str) -> bool:
    if value not in BOOLEANS:
        raise UsageError(f"{what}: neither true nor false", "true or false")
    return BOOLEANS[value]
