"""The layers that are joined so that overlayfs can stack an image, and the image with them.

Pure values: ``layers`` does the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sundog.base.record.stack import ID_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sundog.image.oci.config import HistoryEntry, ImageConfig
    from sundog.image.store.image_files import Image
    from sundog.image.store.layer_ids import LayerId


@dataclass(frozen=True, slots=True)
class Piece:
    """A layer of a stack; if it has ``parts``, these are joined, on top of the pieces ``below``.

    ``members`` are the layers of the image that it stands for.
    """

    layer: LayerId
    members: tuple[LayerId, ...]
    parts: tuple[Piece, ...] = ()
    below: tuple[Piece, ...] = ()


def join_of(parts: Sequence[Piece], below: Sequence[Piece]) -> Piece:
    """Return the piece that has ``parts`` joined on top of ``below``, bottom first.

    Its name is always the same: a later build finds the layer, and a layer never serves two bases.
    """
    import hashlib  # not needed to look at a store

    names = "\0".join(
        ["joined", *(piece.layer for piece in below), "", *(piece.layer for piece in parts)]
    )
    layer = hashlib.sha256(names.encode()).hexdigest()[:ID_LENGTH]
    members = tuple(member for piece in parts for member in piece.members)
    return Piece(layer, members, tuple(parts), tuple(below))


def stacked(
    layers: Sequence[LayerId], most: int, size: Callable[[LayerId], int]
) -> Sequence[Piece]:
    """Return ``layers``, bottom first, as at most ``most`` pieces.

    Whenever there is one layer too many, half of them are joined: those neighbours that have the
    fewest bytes.  So a stack that grows by one layer at a time, as in a build, is seldom joined,
    and keeps what is joined already.
    """
    pieces: list[Piece] = []
    sizes: list[int] = []
    count = most // 2 + 1
    for layer in layers:
        pieces.append(Piece(layer, (layer,)))
        sizes.append(-1)
        if len(pieces) > most:
            sizes = [
                size(piece.layer) if known < 0 else known
                for piece, known in zip(pieces, sizes, strict=True)
            ]
            sums = [sum(sizes[start : start + count]) for start in range(len(pieces) - count + 1)]
            start = sums.index(min(sums))
            run = slice(start, start + count)
            pieces[run] = [join_of(pieces[run], pieces[:start])]
            sizes[run] = [sums[start]]
    return pieces


def with_pieces(image: Image, pieces: Sequence[Piece], comment: str) -> Image:
    """Return ``image`` with the layers ``pieces``, which show the same.

    The history keeps all instructions, and says with ``comment`` which of them share a layer.
    """
    config = image.config
    lasts = {}  # the place of each piece's topmost member
    for piece in pieces:
        lasts[_last(image.layers, piece.members[-1])] = piece
    history = tuple(_history(config, lasts, len(image.layers), comment))
    diff_ids = tuple(
        config.diff_ids[place]
        if len(config.diff_ids) == len(image.layers) and not piece.parts
        else ""
        for place, piece in sorted(lasts.items())
    )
    return replace(
        image,
        layers=tuple(piece.layer for piece in pieces),
        config=config.replace(history=history, diff_ids=diff_ids),
    )


def _last(layers: Sequence[LayerId], layer: LayerId) -> int:
    return len(layers) - 1 - layers[::-1].index(layer)


def _history(
    config: ImageConfig, lasts: dict[int, Piece], count: int, comment: str
) -> Iterator[HistoryEntry]:
    if sum(not entry.empty_layer for entry in config.history) != count:
        yield from config.history  # it says nothing of the layers
        return
    place = -1
    for entry in config.history:
        place += not entry.empty_layer
        piece = None if entry.empty_layer else lasts.get(place)
        if piece is None:
            yield replace(entry, empty_layer=True)
        elif piece.parts:
            told = comment.format(len(piece.members))
            yield replace(entry, comment=f"{entry.comment}; {told}" if entry.comment else told)
        else:
            yield entry
