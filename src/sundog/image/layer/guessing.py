"""The files of a whole image whose owners nobody saw: the list that ``record.guesses`` describes.

The topmost layer that holds a file decides about it.  About a directory, which a layer also holds
when only something in it changed, the lowest one decides.
"""

from __future__ import annotations

from sundog.base.record.guesses import LOST_GUESSES, pack_guesses
from sundog.image.layer.below import Below
from sundog.image.layer.names import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.layer.below import LayerTree


def guesses_of_image(layers: Sequence[LayerTree]) -> bytes | None:
    """Return the list for ``layers``, the topmost first; None if no layer has marks.

    Raises OSError.
    """
    known = [layer.guesses for layer in layers if layer.guesses is not None]
    if not known:
        return None
    if any(guesses.is_lost for guesses in known):
        return LOST_GUESSES
    marks: dict[bytes, bool] = {}
    with Below(layers) as view:
        ahead = [(b"", view.is_unseen(b""))] if view.lookup(b"") else []
        if ahead and ahead[0][1]:
            marks[b""] = True
        while ahead:
            directory, inherited = ahead.pop()
            for name, found in view.entries(directory):
                path = joined(directory, name)
                mark = view.is_unseen(path)
                if mark != inherited:
                    marks[path] = mark
                if found.is_directory:
                    ahead.append((path, mark))
    return pack_guesses(marks)
