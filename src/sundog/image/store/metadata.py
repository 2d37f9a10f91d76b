"""The files below ``/ch`` in an image, as Charliecloud's users know them.

``/ch/environment`` holds the image's variables for ``ch-run --set-env``, one ``NAME=VALUE`` a line.
``/ch/metadata.json`` holds the rest of its configuration; an imported image may bring this file.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sundog.base.fields import Fields
from sundog.base.record.stack import unpack_command
from sundog.errors import DocumentError, StoreError, SundogError
from sundog.image.oci.config import HistoryEntry, ImageConfig
from sundog.image.oci.platform import Platform

_DEFAULT_SHELL = ("/bin/sh", "-c")
_SHOWN = "metadata.json"
OWN_METADATA = b"ch/metadata.json"


def metadata_files(config: ImageConfig) -> dict[bytes, bytes]:
    """Return the files that tell a container about its image, by path."""
    return {
        b"/ch/environment": environment_file(config),
        b"/ch/metadata.json": metadata_file(config),
    }


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


def imported_config(
    metadata: bytes | None, created: str, platform: Platform, command: bytes | None = None
) -> ImageConfig:
    """Return the configuration of an image that was imported at the time ``created``.

    ``metadata`` is the image's own ``/ch/metadata.json``, and ``command`` its ``/ch/stack``; None
    if it has none.  ``platform`` is that of the image if ``metadata`` does not say it.  Raises
    StoreError when Charliecloud, or Sundog, would not write them like this.
    """
    config = _imported_config(metadata, created, platform)
    if command is None:
        return config
    own = unpack_command(command)
    entrypoint, cmd = (
        tuple(word.decode("utf-8", "surrogateescape") for word in words) or None
        for words in (own.entrypoint, own.command)
    )
    user, workdir = (text.decode("utf-8", "surrogateescape") for text in (own.user, own.workdir))
    return replace(
        config,
        entrypoint=entrypoint,
        cmd=cmd,
        user=user,
        working_dir=workdir or config.working_dir,
    )


def _imported_config(metadata: bytes | None, created: str, platform: Platform) -> ImageConfig:
    imported = HistoryEntry(created=created, created_by="ch-image import")
    config = ImageConfig(
        architecture=platform.architecture,
        variant=platform.variant,
        os=platform.os,
        created=created,
        history=(imported,),
    )
    if metadata is None:
        return config
    try:
        known = Fields.parse(metadata, _SHOWN, DocumentError)
        arch = known.string("arch")
        own = Platform.parse(arch) if arch else platform
        # One layer holds all files, so no entry from before the import has a layer of its own.
        history = tuple(
            replace(HistoryEntry.from_json(entry), empty_layer=True)
            for entry in known.array("history") or ()
        )
        return replace(
            config,
            architecture=own.architecture,
            variant=own.variant,
            env=tuple(f"{name}={value}" for name, value in known.mapping("env").items()),
            working_dir=known.string("cwd"),
            labels={name: str(value) for name, value in known.mapping("labels").items()},
            shell=known.strings("shell") or None,
            volumes=known.strings("volumes") or (),
            history=(*history, imported),
        )
    except SundogError as error:
        raise StoreError(
            f"the image's own /ch/metadata.json cannot be used: {error.message}"
        ) from error
