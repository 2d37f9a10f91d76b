"""Bake files, and the ``build:`` of compose files, read as targets.

Specification: the reference of ``docker buildx bake``, "Bake file reference", and the Compose
specification, "Compose Build Specification".  Pure values: no I/O.
"""

from __future__ import annotations

import re

from sundog.base.fields import Fields
from sundog.base.spelling import value_kind
from sundog.errors import UsageError
from sundog.front.cli.bake_targets import (
    BOOLEAN_KEYS,
    DEFAULT,
    IGNORED,
    MAPS,
    TARGET,
    TEXTS,
    Definition,
    check_key,
    refuse,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from sundog.front.cli.bake_targets import Keys

_OBJECTS = ("cache-from", "cache-to", "output", "secret", "ssh")  # buildx has objects, too
_SCALARS = (str, bool, int, float)
_NO_HCL = "give the value itself, or set it: --set TARGET.KEY=VALUE"
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


def from_bake(value: object, path: str) -> Definition:
    """Return what a bake file in JSON says; raise UsageError."""
    fields = Fields(value, path, UsageError)
    for word in ("variable", "function"):
        if word in fields.rest:
            raise UsageError(f"{path}: {word}: it belongs to HCL, which is not read", _NO_HCL)
    targets = {}
    for name, keys in _named(fields, "target"):
        what = f"{path}: target {name}"
        targets[name] = _target(Fields(keys, what, UsageError), keys)
        for key, item in targets[name].items():
            if any("${" in text for text in _texts(item)):
                raise UsageError(f"{what}: {key}: an expression: {item}", _NO_HCL)
    groups = {}
    for name, members in _named(fields, "group"):
        group = Fields(members, f"{path}: group {name}", UsageError)
        groups[name] = list(group.strings("targets") or ())
    if fields.rest:
        raise UsageError(f"{path}: unknown: {next(iter(fields.rest))}", "target and group")
    return Definition(targets, groups)


def from_compose(value: object, path: str, environment: Mapping[str, str]) -> Definition:
    """Return the services of a compose file that have ``build``; raise UsageError."""
    fields = Fields(_interpolated(value, environment, path), path, UsageError)
    targets = {}
    for name, keys in _named(fields, "services"):
        service = Fields(keys, f"{path}: service {name}", UsageError)
        build, image = service.take("build"), service.string("image")
        if build is None:
            continue
        given = {"context": build} if isinstance(build, str) else build
        found = Fields(given, f"{path}: service {name}: build", UsageError)
        translated: Keys = {}
        for key, item in found.rest.items():
            if key not in _COMPOSE:
                refuse(f"{path}: service {name}: build: {key}", key, _COMPOSE)
            translated[_COMPOSE[key]] = item
        target = _target(found, translated)
        for key, source in target.get("contexts", {}).items():
            if source.startswith("service:"):
                target["contexts"][key] = TARGET + source.removeprefix("service:")
        if image:
            target["tags"] = [image, *target.get("tags", [])]
        targets[name] = target
    return Definition(targets, {DEFAULT: list(targets)})


def _target(fields: Fields, keys: Keys) -> Keys:
    """Return the keys of a target, each with a value of its kind; raise UsageError."""
    found: Keys = {}
    for key, item in keys.items():
        check_key(f"{fields.what}: {key}", key)
        if item is None or key in IGNORED:
            continue
        if key in MAPS:
            found[key] = _map(fields, key, item)
        elif key in TEXTS or key in BOOLEAN_KEYS:
            kind = str if key in TEXTS else bool
            if not isinstance(item, kind):
                raise fields.wrong(key, value_kind(kind()), item)
            found[key] = item
        else:
            found[key] = _list(fields, key, item)
    return found


def _named(fields: Fields, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the pairs of a map; raise UsageError for a name that YAML does not read as text."""
    for name, value in fields.mapping(key).items():
        if not isinstance(name, str):
            raise fields.wrong(f"{key}: {name}", "a name in quotes", name)
        yield name, value


def _map(fields: Fields, key: str, value: object) -> Keys:
    """Return a map, also of a list of NAME=VALUE; an argument alone has the environment's value.

    Raises UsageError.
    """
    if isinstance(value, list):
        pairs = (item.partition("=") for item in _list(fields, key, value))
        value = {name: item if equals else None for name, equals, item in pairs}
    found = dict(_named(Fields({key: value}, fields.what, UsageError), key))
    for name, item in found.items():
        if item is None and key != "args":
            found[name] = ""
        elif item is not None and not isinstance(item, str if key == "contexts" else _SCALARS):
            raise fields.wrong(f"{key}: {name}", "a string", item)
    return found


def _list(fields: Fields, key: str, value: object) -> list[Any]:
    """Return a list of strings and, of keys that are options, of objects; raise UsageError."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise fields.wrong(key, value_kind([]), value)
    for item in items:
        is_object = isinstance(item, dict) and key in _OBJECTS
        if is_object and all(isinstance(part, _SCALARS) for part in (*item, *item.values())):
            continue
        if not isinstance(item, str):
            raise fields.wrong(key, "strings", item)
    return items


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


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
