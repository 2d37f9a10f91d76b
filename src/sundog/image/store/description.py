"""An image in the words of ``inspect`` and ``history``: plain values, which JSON can express.

docs/reference/ch-image.md lists the keys.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.image.store.run_force import force_modes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store


def describe(store: Store, image: Image) -> dict[str, Any]:
    """Return an image's names, origin, layers (bottom first) and configuration.

    ``force`` has the emulations of root under which its RUN instructions ran.
    ``config`` is the whole configuration in the form of OCI image-spec, with the history.
    """
    return {
        "name": image.typed,
        "reference": image.reference,
        "id": image.id,
        "created": image.config.created,
        "origin": image.origin,
        "size": store.images.size(image),
        "force": force_modes(image.config),
        "layers": [_layer(store, layer) for layer in image.layers],
        "annotations": dict(image.annotations),
        "config": image.config.to_json(),
    }


def _layer(store: Store, layer: str) -> dict[str, Any]:
    if not store.layers.exists(layer):
        return {"layer": layer, "missing": True}
    info = store.layers.info(layer)
    return {
        "layer": layer,
        "size": store.layers.size(layer),
        "instruction": info.instruction,
        "source": info.source,
        "diff_id": info.diff_id,
        **_here(store, layer),
    }


def _here(store: Store, layer: str) -> dict[str, Any]:
    """Return how much is here of a layer that is not all here, or which layout has it."""
    absent = store.layers.absent(layer)
    if absent is None:
        return {}
    if absent.layout:
        return {"in_place": printable(absent.layout)}
    return {"here": absent.here, "blob_size": absent.size}


def history(store: Store, image: Image) -> list[dict[str, Any]]:
    """Return the entries of an image's history for JSON, the oldest first.

    ``layer`` and ``size`` are None for an entry without a layer.  They are None in all entries if
    the history has more or fewer layers than the image.
    """
    config = image.config
    made = [entry for entry in config.history if not entry.empty_layer]
    layers = iter(image.layers if len(made) == len(image.layers) else ())
    entries = []
    for entry in config.history:
        layer = None if entry.empty_layer else next(layers, None)
        entries.append(
            {
                "created": entry.created,
                "created_by": entry.created_by,
                "comment": entry.comment,
                "author": entry.author,
                "empty_layer": entry.empty_layer,
                "layer": layer,
                "size": None if layer is None else store.layers.size(layer),
            }
        )
    return entries
