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

# Files that come from the builders, not from the Dockerfile.
BUILDERS_LABELS = ("io.buildah.version",)
# The day of a password's change: the builders may have worked on different days.
DAY_IN_SHADOW = re.compile(rb"^([^:\n]*:[^:\n]*):\d+:", re.MULTILINE)
CONFIG_KEYS = (
    "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell",
    "StopSignal", "User", "Volumes", "WorkingDir",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image: its entries by path, the digests of its files, and its configuration."""

    entries: Mapping[str, Entry]
    contents: Mapping[str, str]
    config: Mapping[str, Any]


def read_image(tars: Sequence[Path], config: Mapping[str, Any]) -> Image:
    """Read an image from its layers' tars, bottom first, and its OCI configuration."""
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
    """Return the digest of each file's content; later layers replace earlier ones."""
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
