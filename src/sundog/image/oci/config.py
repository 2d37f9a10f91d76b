"""The image configuration: what an image is apart from its layers.

Specification: OCI image-spec v1.1, config.md, and the fields that Docker adds to it
(``Healthcheck``, ``OnBuild``, ``Shell``).  A pure value: no I/O, no clock.

Reading is tolerant, because many tools write configurations: null means absent, and fields that
this module does not know are kept and written back.  A known field of the wrong type is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sundog.base.fields import Fields, parse_json
from sundog.errors import ImageConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from sundog.base.fields import JsonObject

_Strings = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """The origin of one layer or, with ``empty_layer``, of a change of the configuration alone."""

    created: str = ""
    created_by: str = ""
    empty_layer: bool = False
    comment: str = ""
    author: str = ""

    @classmethod
    def from_json(cls, value: object) -> HistoryEntry:
        """Read one entry of ``history``; raise ImageConfigError."""
        fields = Fields(value, "history entry", ImageConfigError)
        return cls(
            created=fields.string("created"),
            created_by=fields.string("created_by"),
            empty_layer=fields.boolean("empty_layer"),
            comment=fields.string("comment"),
            author=fields.string("author"),
        )

    def to_json(self) -> JsonObject:
        """Return the entry as the specification writes it, empty fields left out."""
        return _without_empty(
            created=self.created,
            created_by=self.created_by,
            empty_layer=self.empty_layer,
            comment=self.comment,
            author=self.author,
        )


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image's configuration.

    ``cmd``, ``entrypoint`` and ``shell`` are None where the image does not set them.  ``env`` holds
    the entries unchanged, usually ``NAME=VALUE``.  ``diff_ids`` holds "" for a layer whose diff_id
    is not known yet.  ``unknown`` and ``unknown_config`` keep the fields of the object and of its
    ``config`` that this module does not know.  ``has_each_once`` says that it is known of ``env``
    that no name has two entries.
    """

    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    created: str = ""
    author: str = ""

    env: _Strings = ()
    cmd: _Strings | None = None
    entrypoint: _Strings | None = None
    user: str = ""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    exposed_ports: _Strings = ()
    volumes: _Strings = ()
    stop_signal: str = ""
    shell: _Strings | None = None
    healthcheck: JsonObject | None = field(default=None, hash=False)
    on_build: _Strings = ()

    diff_ids: _Strings = ()
    history: tuple[HistoryEntry, ...] = ()

    unknown: JsonObject = field(default_factory=dict, hash=False, repr=False)
    unknown_config: JsonObject = field(default_factory=dict, hash=False, repr=False)
    has_each_once: bool = field(default=False, compare=False, repr=False)

    @classmethod
    def from_json(cls, source: bytes | str | Mapping[str, object]) -> ImageConfig:
        """Read a configuration from JSON text or the object in it; raise ImageConfigError."""
        what, error = "image configuration", ImageConfigError
        value = parse_json(source, what, error) if isinstance(source, bytes | str) else source
        top = Fields(value, what, error)
        config = top.nested("config")
        rootfs = top.nested("rootfs")
        return cls(
            architecture=top.string("architecture"),
            os=top.string("os") or "linux",
            variant=top.string("variant"),
            created=top.string("created"),
            author=top.string("author"),
            env=config.strings("Env") or (),
            cmd=config.strings("Cmd"),
            entrypoint=config.strings("Entrypoint"),
            user=config.string("User"),
            working_dir=config.string("WorkingDir"),
            labels=config.string_map("Labels"),
            exposed_ports=tuple(config.mapping("ExposedPorts")),
            volumes=tuple(config.mapping("Volumes")),
            stop_signal=config.string("StopSignal"),
            shell=config.strings("Shell"),
            healthcheck=config.mapping("Healthcheck") or None,
            on_build=config.strings("OnBuild") or (),
            diff_ids=rootfs.strings("diff_ids") or (),
            history=tuple(HistoryEntry.from_json(entry) for entry in top.array("history") or ()),
            unknown=top.rest,
            unknown_config=config.rest,
        )

    def to_json(self) -> JsonObject:
        """Return the object that the specification describes, in its order of keys."""
        config = _without_empty(
            User=self.user,
            ExposedPorts={port: {} for port in self.exposed_ports},
            Env=list(self.env),
            WorkingDir=self.working_dir,
            Labels=dict(self.labels),
            Volumes={volume: {} for volume in self.volumes},
            StopSignal=self.stop_signal,
            Healthcheck=self.healthcheck,
            OnBuild=list(self.on_build),
        )
        # An empty list differs from an absent one: it resets what a base image sets.
        for key, words in (
            ("Entrypoint", self.entrypoint),
            ("Cmd", self.cmd),
            ("Shell", self.shell),
        ):
            if words is not None:
                config[key] = list(words)
        identity = _without_empty(
            created=self.created,
            author=self.author,
            architecture=self.architecture,
            variant=self.variant,
            os=self.os,
        )
        return {
            **identity,
            "config": {**config, **self.unknown_config},
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
            "history": [entry.to_json() for entry in self.history],
            **self.unknown,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The variables of ``env`` by name; the last entry of a name wins; "" if it lacks "="."""
        pairs = (entry.partition("=") for entry in self.env)
        return {name: value for name, _, value in pairs if name}

    def with_env(self, name: str, value: str) -> Self:
        """Return a copy in which the variable has this value, in its old place if it had one."""
        # A Dockerfile may have thousands of them: look for the name at once.
        if (
            self.has_each_once
            and name not in self.env
            and f"\0{name}=" not in "\0".join(("", *self.env))
        ):
            return replace(self, env=(*self.env, f"{name}={value}"))
        entries = {entry.partition("=")[0]: entry for entry in self.env}
        entries[name] = f"{name}={value}"
        return replace(self, env=tuple(entries.values()), has_each_once=True)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with these fields changed."""
        if "env" in changes:
            changes["has_each_once"] = False
        return replace(self, **changes)


def _without_empty(**fields: Any) -> JsonObject:
    return {key: value for key, value in fields.items() if value}
