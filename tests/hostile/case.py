"""The description of a case of the hostile registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sundog.image.oci import media_types
from tests.hostile.web import Answer, Asked, Reply, World
from tests.image.pull.images import Shelf, digest

Json = dict[str, Any]
Fault = Callable[[World, Asked, Reply], Answer]

USER, PASSWORD, TOKEN = "u", "s3cret-Pa55", "t0ken-of-the-server"
PULL = ("pull", "{registry}/a:1")


def honest(world: World, asked: Asked, right: Reply) -> Answer:
    """Do nothing hostile."""
    return right


def image(
    manifest: Callable[[Json], object] | bytes | None = None,
    config: Callable[[Json], object] | bytes | None = None,
    media_type: str = media_types.OCI_MANIFEST,
) -> Callable[[Shelf], None]:
    """Return a function that puts ``a:1`` on a shelf, an image of one layer.

    Functions change the object of a document; bytes are the document.
    """

    def put(shelf: Shelf) -> None:
        layer = shelf.base()
        configuration: Json = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created_by": "layer"}],
        }
        document: Json = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": shelf.blob(_made(config, configuration), media_types.OCI_CONFIG),
            "layers": [layer.descriptor],
        }
        content = _made(manifest, document)
        shelf.types[digest(content)] = media_type
        shelf.blob(content, media_type)
        shelf.tags["a:1"] = digest(content)

    return put


def _made(change: Callable[[Json], object] | bytes | None, document: Json) -> bytes:
    if isinstance(change, bytes):
        return change
    if change is not None:
        change(document)
    return json.dumps(document).encode()


@dataclass(frozen=True)
class Case:
    """One way to be hostile.

    says            a part of the one error; "" if the command works all the same
    shelf           the contents of the registry
    fault           the misbehaviour of the registry
    argv            the command; ``{registry}`` and the like are fields of ``World``
    most            the maximum number of requests
    floods          the maximum number of bytes that the registry may send
    login           whether the user has a password there, and gives it
    entitled        the servers that may see the password or the token, as beginnings of URLs
    seconds         the timeout for a silent server, 0 for the default
    chunk           the number of bytes in a push's chunk, 0 for the default
    settings        ``registries.conf``
    """

    name: str
    says: str = ""
    shelf: Callable[[Shelf], None] = field(default_factory=image)
    fault: Fault = honest
    argv: tuple[str, ...] = PULL
    most: int = 12
    floods: int = 1 << 20
    login: bool = False
    entitled: tuple[str, ...] = ("http://{registry}",)
    seconds: float = 0
    chunk: int = 0
    settings: str = ""
    identity: bool = False


def on_manifest(answer: Callable[[Reply], Answer]) -> Fault:
    """Return a fault in the answers about manifests."""
    return lambda _world, asked, right: answer(right) if asked.is_manifest else right


def on_blob(answer: Callable[[Reply], Answer]) -> Fault:
    """Return a fault in the answers about blobs."""
    return lambda _world, asked, right: answer(right) if asked.is_blob else right
