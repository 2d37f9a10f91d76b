"""The files below ``/ch`` in an image, as Charliecloud's users know them.

``/ch/environment`` holds the image's variables for ``ch-run --set-env``, one ``NAME=VALUE`` a line.
``/ch/metadata.json`` holds the rest of its configuration; an imported image may bring this file.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sundog.errors import StoreError, SundogError
from sundog.oci.config import HistoryEntry, ImageConfig
from sundog.oci.platform import Platform

_DEFAULT_SHELL = ("/bin/sh", "-c")


def environment_file(config: ImageConfig) -> bytes:
    """Return the contents of ``/ch/environment``, sorted.

    A variable whose value has a newline is left out: the format cannot express it.
    """
    lines = [f"{name}={value}\n" for name, value in sorted(config.environment.items())]
    kept = (line for line in lines if line.count("\n") == 1)
    return encoded("".join(kept))


def metadata_file(config: ImageConfig) -> bytes:
    """Return the contents of ``/ch/metadata.json``."""
    architecture = config.architecture
    metadata = {
        "arch": f"{architecture}/{config.variant}" if config.variant else architecture,
        "arg": {},
        "cwd": config.working_dir or "/",
        "env": config.environment,
        "history": [entry.to_json() for entry in config.history],
        "labels": dict(config.labels),
        "shell": list(config.shell or _DEFAULT_SHELL),
        "volumes": list(config.volumes),
    }
    return (json.dumps(metadata, indent=2, sort_keys=True) + "\n").encode()


def encoded(text: str) -> bytes:
    """Return the bytes of a string from an image's configuration.  Raises StoreError."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise StoreError(f"not text in the image's configuration: {text!r}") from error


def imported_config(metadata: bytes | None, created: str) -> ImageConfig:
    """Return the configuration of an image that was imported at the time ``created``.

    ``metadata`` is the image's own ``/ch/metadata.json``, None if it has none.  Raises StoreError
    when Charliecloud would not write it like this.
    """
    host = Platform.of_host()
    imported = HistoryEntry(created=created, created_by="ch-image import")
    config = ImageConfig(
        architecture=host.architecture,
        variant=host.variant,
        os=host.os,
        created=created,
        history=(imported,),
    )
    if metadata is None:
        return config
    try:
        known = _Metadata(json.loads(metadata))
        platform = Platform.parse(known.text("arch")) if known.text("arch") else host
        # One layer holds all files, so no entry from before the import has a layer of its own.
        history = tuple(
            replace(HistoryEntry.from_json(entry), empty_layer=True)
            for entry in known.items("history")
        )
        return replace(
            config,
            architecture=platform.architecture,
            variant=platform.variant,
            env=tuple(f"{name}={value}" for name, value in known.pairs("env").items()),
            working_dir=known.text("cwd"),
            labels=known.pairs("labels"),
            shell=tuple(map(str, known.items("shell"))) or None,
            volumes=tuple(map(str, known.items("volumes"))),
            history=(*history, imported),
        )
    except (ValueError, SundogError) as error:
        raise StoreError(f"the image's own /ch/metadata.json cannot be used: {error}") from error


class _Metadata:
    """The top object of metadata.json; a field of the wrong type is a ValueError."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise ValueError("not an object")
        self._fields = value

    def text(self, key: str) -> str:
        value = self._fields.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ValueError(f"{key}: not a string")
        return value

    def items(self, key: str) -> list[object]:
        value = self._fields.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise ValueError(f"{key}: not a list")
        return value

    def pairs(self, key: str) -> dict[str, str]:
        value = self._fields.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError(f"{key}: not an object")
        return {name: str(item) for name, item in value.items()}
