"""Bake files, and the ``build:`` of compose files, as targets; each target is a line of ``build``.

Specification: the reference of ``docker buildx bake``, "Bake file reference", and the Compose
specification, "Compose Build Specification".  Pure values: no I/O.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sundog.base.fields import Fields
from sundog.base.spelling import BOOLEANS, nearest, value_kind
from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Keys = dict[str, Any]

DEFAULT = "default"
_TARGET = "target:"
_MAPS = ("args", "labels", "contexts")
_LISTS = {
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
_BOOLEANS = ("no-cache", "pull")
_TEXTS = ("context", "dockerfile", "network", "target")
_IGNORED = ("description", "entitlements")
_KNOWN = (*_MAPS, *_LISTS, *_BOOLEANS, *_TEXTS, *_IGNORED, "inherits", "platforms")
_NO_HCL = "give the value itself, or set it: --set TARGET.KEY=VALUE"
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
# Keys of compose's build, and those of a target.
_COMPOSE = {
    **{key: key for key in ("args", "context", "dockerfile", "labels", "network", "platforms")},
    **{key: key for key in ("pull", "ssh", "tags", "target")},
    "additional_contexts": "contexts",
    "cache_from": "cache-from",
    "cache_to": "cache-to",
    "no_cache": "no-cache",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?-)([^{}$]*))?")


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
        for name in names or [DEFAULT]:
            self._walk(name, found, ())
        return list(found)

    def _walk(self, name: str, found: dict[str, None], above: tuple[str, ...]) -> None:
        if name in above:
            raise UsageError(f"bake: {' → '.join((*above, name))}: a circle", "break it")
        if name in self.groups:
            for member in self.groups[name]:
                self._walk(member, found, (*above, name))
            return
        for source in self.resolved(name).get("contexts", {}).values():
            if str(source).startswith(_TARGET):
                self._walk(str(source).removeprefix(_TARGET), found, (*above, name))
        found[name] = None

    def resolved(self, name: str, above: tuple[str, ...] = ()) -> Keys:
        """Return the keys of a target with those that it inherits; raise UsageError."""
        if name not in self.targets:
            known = sorted({*self.targets, *self.groups})
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"there are: {', '.join(known)}"
            raise UsageError(f"bake: no such target: {name}", hint)
        if name in above:
            raise UsageError(f"bake: {' → '.join((*above, name))}: it inherits itself", "break it")
        keys: Keys = {}
        own = self.targets[name]
        for parent in own.get("inherits", []):
            keys = merged(keys, self.resolved(parent, (*above, name)))
        return {key: value for key, value in merged(keys, own).items() if key != "inherits"}

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
        _check_key(f"--set {text}", key)
        if (key in _MAPS) != bool(name):
            example = f"{key}.NAME" if key in _MAPS else key
            raise UsageError(f"--set {text}: {key}", f"write --set {pattern}.{example}=VALUE")
        for target in targets:
            own = self.targets[target]
            if key in _MAPS:
                own[key] = {**own.get(key, {}), name: value}
            elif key in _LISTS or key == "platforms":
                before = self.resolved(target).get(key, []) if (target, key) in seen else []
                own[key] = [*before, value]
                seen.add((target, key))
            else:
                own[key] = _boolean(f"--set {text}", value) if key in _BOOLEANS else value


def merged(below: Keys, above: Keys) -> Keys:
    """Return the keys of two targets, of which ``above`` takes precedence."""
    keys = {**below, **above}
    for key in _MAPS:
        if key in below and key in above:
            keys[key] = {**below[key], **above[key]}
    for key in _APPENDED:
        if key in below and key in above:
            keys[key] = list(dict.fromkeys((*below[key], *above[key])))
    return keys


def from_bake(value: object, path: str) -> Definition:
    """Return what a bake file in JSON says; raise UsageError."""
    fields = Fields(value, path, UsageError)
    for word in ("variable", "function"):
        if word in fields.rest:
            raise UsageError(f"{path}: {word}: it belongs to HCL, which is not read", _NO_HCL)
    targets = {}
    for name, keys in fields.mapping("target").items():
        targets[name] = _target(Fields(keys, f"{path}: target {name}", UsageError), keys)
    groups = {}
    for name, members in fields.mapping("group").items():
        group = Fields(members, f"{path}: group {name}", UsageError)
        groups[name] = list(group.strings("targets") or ())
    if fields.rest:
        raise UsageError(f"{path}: unknown: {next(iter(fields.rest))}", "target and group")
    return Definition(targets, groups)


def from_compose(value: object, path: str, environment: Mapping[str, str]) -> Definition:
    """Return the services of a compose file that have ``build``; raise UsageError."""
    fields = Fields(_interpolated(value, environment, path), path, UsageError)
    targets = {}
    for name, keys in fields.mapping("services").items():
        service = Fields(keys, f"{path}: service {name}", UsageError)
        build, image = service.take("build"), service.string("image")
        if build is None:
            continue
        given = {"context": build} if isinstance(build, str) else build
        found = Fields(given, f"{path}: service {name}: build", UsageError)
        translated: Keys = {}
        for key, item in found.rest.items():
            if key not in _COMPOSE:
                _refuse(f"{path}: service {name}: build: {key}", key, _COMPOSE)
            translated[_COMPOSE[key]] = item
        contexts = _map(translated.pop("contexts", {}))
        if contexts:
            translated["contexts"] = {
                key: _TARGET + str(item).removeprefix("service:")
                if str(item).startswith("service:")
                else item
                for key, item in contexts.items()
            }
        if image:
            translated["tags"] = [image, *translated.get("tags", [])]
        targets[name] = _target(found, translated)
    return Definition(targets, {DEFAULT: list(targets)})


def line_of(
    name: str, definition: Definition, flags: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Return the words after ``sundog build`` that build a target; raise UsageError.

    An argument without a value has that of the environment, if it is there.
    """
    keys = definition.resolved(name)
    context = str(keys.get("context", "."))
    words = list(flags)
    for key, option in _LISTS.items():
        words += [f"--{option}={_field(item)}" for item in keys.get(key, [])]
    if not keys.get("tags") and not keys.get("output"):
        words.append("--output=type=cacheonly")
    for argument, item in keys.get("args", {}).items():
        if item is not None or argument in environment:
            value = environment[argument] if item is None else _text(item)
            words.append(f"--build-arg={argument}={value}")
    words += [f"--label={label}={_text(item)}" for label, item in keys.get("labels", {}).items()]
    for other, source in keys.get("contexts", {}).items():
        words.append(f"--build-context={other}={_source(name, str(source), definition)}")
    words += [f"--{key}={str(keys[key]).lower()}" for key in _BOOLEANS if key in keys]
    words += [f"--{key}={keys[key]}" for key in ("network", "target") if keys.get(key)]
    platforms = keys.get("platforms", [])
    if len(platforms) > 1:
        raise UsageError(
            f"bake: {name}: {len(platforms)} platforms at a time", f"--set {name}.platform=OS/ARCH"
        )
    words += [f"--platform={platform}" for platform in platforms]
    dockerfile = keys.get("dockerfile")
    if dockerfile is not None:
        words.append(f"--file={os.path.join(context, str(dockerfile))}")
    return [*words, "--", context]


def _source(name: str, source: str, definition: Definition) -> str:
    """Return the source of a named context; that of another target is its image."""
    if not source.startswith(_TARGET):
        return source
    other = source.removeprefix(_TARGET)
    tags = definition.resolved(other).get("tags", [])
    if not tags:
        raise UsageError(
            f"bake: {name} takes files of {other}, which has no tags", f"--set {other}.tags=NAME"
        )
    return f"docker-image://{tags[0]}"


def _target(fields: Fields, keys: Keys) -> Keys:
    """Return the keys of a target, each with a value of its kind; raise UsageError."""
    found: Keys = {}
    for key, item in keys.items():
        _check_key(f"{fields.what}: {key}", key)
        if item is None or key in _IGNORED:
            continue
        if key in _MAPS:
            found[key] = _map(item)
        elif key in _LISTS or key in ("inherits", "platforms"):
            found[key] = [item] if isinstance(item, str) else item
        else:
            found[key] = item
        kind = (
            dict if key in _MAPS else bool if key in _BOOLEANS else str if key in _TEXTS else list
        )
        if not isinstance(found[key], kind):
            raise fields.wrong(key, value_kind(kind()), item)
        if any("${" in text for text in _texts(found[key])):
            raise UsageError(f"{fields.what}: {key}: an expression: {item}", _NO_HCL)
    return found


def _check_key(what: str, key: str) -> None:
    if key not in _KNOWN:
        _refuse(what, key, _KNOWN)


def _refuse(what: str, key: str, known: Iterable[str]) -> None:
    if key in _REFUSED:
        raise UsageError(f"{what}: not possible here", _REFUSED[key])
    close = nearest(key, known)
    raise UsageError(
        f"{what}: no such key: {key}",
        f"did you mean {close}?" if close else f"there are: {', '.join(known)}",
    )


def _map(value: Any) -> Any:
    """Return a map, also of a list of NAME=VALUE; NAME alone has the environment's value."""
    if not isinstance(value, list):
        return value
    pairs = (str(item).partition("=") for item in value)
    return {name: item if equals else None for name, equals, item in pairs}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


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


def _interpolated(value: Any, environment: Mapping[str, str], path: str) -> Any:
    """Return a compose file's value with its variables; raise UsageError."""
    if isinstance(value, list):
        return [_interpolated(item, environment, path) for item in value]
    if isinstance(value, dict):
        return {key: _interpolated(item, environment, path) for key, item in value.items()}
    if not isinstance(value, str) or "$" not in value:
        return value
    text, rest = "", value
    while rest:
        before, dollar, rest = rest.partition("$")
        text += before
        if not dollar:
            break
        if rest.startswith("$"):
            text, rest = text + "$", rest[1:]
        elif found := _NAME.match(rest):
            text, rest = text + environment.get(found[0], ""), rest[found.end() :]
        else:
            inside, brace, rest = rest.removeprefix("{").partition("}")
            found = _BRACED.fullmatch(inside)
            if not brace or found is None:
                raise UsageError(f"{path}: not a variable that is read here: {value}", "${NAME:-x}")
            name, sign, default = found.groups()
            is_absent = name not in environment or (sign == ":-" and not environment[name])
            text += (default or "") if is_absent else environment[name]
    return text
