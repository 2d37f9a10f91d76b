"""Images as values, read from their layers' tars."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.fidelity.entries import Entry, of_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

# What is not the Dockerfile's: the builders' own.
BUILDERS_LABELS = ("io.buildah.version",)
# The day on which a password was changed: the builders' images may be of different days.
DAY_IN_SHADOW = re.compile(rb"^([^:\n]*:[^:\n]*):\d+:", re.MULTILINE)
CONFIG_KEYS = (
    "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell",
    "StopSignal", "User", "Volumes", "WorkingDir",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """What is at each path, the digest of each file's content, and the configuration."""

    entries: Mapping[str, Entry]
    contents: Mapping[str, str]
    config: Mapping[str, Any]


def read_image(tars: Sequence[Path], config: Mapping[str, Any]) -> Image:
    """Read an image from the tars of its layers, bottom first, and OCI's configuration."""
    view, _ = of_layers(tars, everything=True)
    entries = {path: entry for path, entry in view.entries.items() if isinstance(entry, Entry)}
    digests = _digests(tars)
    contents = {path: digests[path] for path, entry in entries.items() if entry.type == "file"}
    known = {key: config["config"][key] for key in CONFIG_KEYS if config["config"].get(key)}
    labels = known.get("Labels", {})
    known["Labels"] = {key: labels[key] for key in labels if key not in BUILDERS_LABELS}
    known.setdefault("WorkingDir", "/")
    return Image(entries, contents, known | {"author": config.get("author", "")})


def _digests(tars: Iterable[Path]) -> dict[str, str]:
    """Return the digest of each file's content, that of a later layer in place of an earlier's."""
    digests: dict[str, str] = {}
    for archive in tars:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = os.path.normpath(member.name)
                if member.islnk():
                    digests[path] = digests[os.path.normpath(member.linkname)]
                elif member.isreg():
                    file = tar.extractfile(member)
                    assert file is not None
                    data = file.read()
                    if path in ("etc/shadow", "etc/shadow-"):
                        data = DAY_IN_SHADOW.sub(rb"\1::", data)
                    digests[path] = hashlib.sha256(data).hexdigest()
    return digests
