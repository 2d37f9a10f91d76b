"""The tree of the layers in a store: parent, origin and images of each layer.

The parent of a layer in an image is the layer below it there.  The parent of a layer that only the
build cache has is the layer on which it was made first.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store


@dataclass(frozen=True, slots=True)
class LayerNode:
    """A layer; ``parent`` is "" at the bottom.

    ``origin`` is the instruction that made the layer, or says in words where it came from.
    ``images`` are the names, as typed, of the images whose topmost layer it is.  ``is_in_image``
    tells whether any image has it, or any container that is kept.  ``size`` is in bytes of file
    contents.
    """

    layer: LayerId
    parent: LayerId
    origin: str
    size: int
    images: tuple[str, ...]
    is_in_image: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """The counts of what is in a store.  Sizes are bytes of file contents.

    ``held_layers`` are deleted, and stay until containers that run end.
    """

    images: int
    entries: int
    layers: int
    size: int
    cache_only_layers: int
    cache_only_size: int
    held_layers: int
    held_size: int


def layer_nodes(store: Store) -> list[LayerNode]:
    """Return all layers, each after its parent, siblings in order of their origins."""
    store.hold()
    here = store.layers.sound()
    parents: dict[LayerId, LayerId] = {}
    origins: dict[LayerId, str] = {}
    tips: dict[LayerId, list[str]] = {}
    named = store.images.entries()
    for image in (*(image.entry for image in store.containers.images()), *named):
        layers = [layer for layer in image.layers if layer in here]
        parents.update(zip(layers, ["", *layers], strict=False))
        for layer in layers:
            origins.setdefault(layer, image.origin)
    for image in named:
        for layer in [layer for layer in image.layers if layer in here][-1:]:
            tips.setdefault(layer, []).append(image.typed)

    nodes: dict[LayerId, LayerNode] = {}
    for layer, info in here.items():
        parent = parents.get(layer, info.parent)
        nodes[layer] = LayerNode(
            layer,
            parent if parent in here else "",
            info.instruction or origins.get(layer, ""),
            store.layers.size(layer) if info.size is None else info.size,
            tuple(sorted(tips.get(layer, ()))),
            layer in parents,
        )
    return _parents_first(nodes)


def usage(store: Store, nodes: Sequence[LayerNode]) -> Usage:
    """Count what is in a store, whose ``layer_nodes`` are ``nodes``."""
    cached = [node for node in nodes if not node.is_in_image]
    held = store.held()
    return Usage(
        images=store.images.count(),
        entries=sum(1 for _ in store.cache.entries()),
        layers=len(nodes),
        size=sum(node.size for node in nodes),
        cache_only_layers=len(cached),
        cache_only_size=sum(node.size for node in cached),
        held_layers=len(held),
        held_size=sum(held),
    )


def _parents_first(nodes: dict[LayerId, LayerNode]) -> list[LayerNode]:
    children: dict[LayerId, list[LayerNode]] = {}
    for node in sorted(nodes.values(), key=lambda node: (node.origin, node.layer)):
        children.setdefault(node.parent, []).append(node)
    ordered: list[LayerNode] = []
    ahead = children.get("", [])[::-1]
    while ahead:
        node = ahead.pop()
        ordered.append(node)
        ahead += reversed(children.get(node.layer, ()))
    return ordered
