"""Complete the layers of images that are not all here."""

from __future__ import annotations

from queue import SimpleQueue

from sundog.base.record.lazy_layer import check_refused, is_incomplete
from sundog.errors import StoreError
from sundog.image.layer.threads import taken
from sundog.image.registry.filling import Filling
from sundog.image.registry.lazy_layer import LazyLayer
from sundog.image.transfer.backoff import ATTEMPTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.registry.session import Session
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report, Transfer


def incomplete_layers(store: Store, layers: Sequence[LayerId]) -> list[LayerId]:
    """Return those of ``layers`` that are not all here."""
    return [
        layer for layer in dict.fromkeys(layers) if is_incomplete(store.layers.directory(layer))
    ]


def complete_layers(
    store: Store, session: Session, layers: Sequence[LayerId], report: Report
) -> None:
    """Fetch what is not here of ``layers``, and check them.

    Raises RegistryError, ContentMismatch, StoreError and OSError.  What came is kept.  If a layer
    is not what it should be, the others are checked all the same: the error is the lowest one's.
    """
    found = incomplete_layers(store, layers)
    for directory in map(store.layers.directory, found):
        check_refused(directory)
    places = map(store.layers.directory, found)
    opened = [layer for place in places if (layer := _opened(place, session)) is not None]
    store.layers.forget(found)
    if not opened:
        return
    left = sum(layer.here.size - layer.here.bytes_here() for layer in opened)
    transfer = report.transfer("the rest of the image", "downloading", left)
    listener = _Listener(transfer, report)
    filling = Filling(listener, fills=True, attempts=ATTEMPTS)
    errors: dict[int, Exception] = {}
    try:
        for number, layer in enumerate(opened):
            filling.add(number, layer)
        for _ in opened:
            number, error = taken(listener.ends)
            if error is not None:
                errors[number] = error
            if not isinstance(error, StoreError | None):  # nothing more may come
                errors = {number: error}
                break
    except BaseException:  # an interruption: threads may wait for a silent registry
        filling.stop(waits=False)
        raise
    finally:
        transfer.end()
    filling.stop()
    for layer in opened:
        layer.close()
    if errors:
        raise errors[min(errors)]


def _opened(directory: bytes, session: Session) -> LazyLayer | None:
    """Open the layer in ``directory``; return None if another process has completed it by now."""
    try:
        return LazyLayer(directory, session)
    except FileNotFoundError:
        if is_incomplete(directory):
            raise
        return None


class _Listener:
    """Shows what comes; ``ends`` gets the number of each layer that ends, and its error or None."""

    def __init__(self, transfer: Transfer, report: Report) -> None:
        self.ends: SimpleQueue[tuple[int, Exception | None]] = SimpleQueue()
        self._transfer = transfer
        self._report = report

    def arrived(self, layer: int, blocks: range, kept: bytes | None) -> None:
        """See ``Listener``: no reader waits."""

    def lost(self, layer: int, block: int) -> None:
        """See ``Listener``: no reader waits."""

    def tell(self, text: str) -> None:
        """See ``Listener``."""
        self._report.warning(text)

    def advance(self, size: int) -> None:
        """See ``Listener``."""
        self._transfer.advance(size)

    def ended(self, layer: int, error: Exception | None) -> None:
        """See ``Listener``."""
        self.ends.put((layer, error))
