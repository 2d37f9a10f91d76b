"""Images that a build starts from, or copies from: in storage, else pulled.

What is in storage is taken as it is, however old: a build does not depend on what a registry has at
that hour.  ``pull`` has the last word on that.
"""

from __future__ import annotations

from sundog.build.platforms import suits
from sundog.errors import NotInStorage, SundogError
from sundog.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.store.images import Image
    from sundog.store.store import Store

    # Have an image in storage, for a platform if one is given; None: for this machine's.
    Pull = Callable[[Store, str, Platform | None], Image]


def stored_base(store: Store, text: str, platform: Platform | None) -> Image | None:
    """Return the image ``text`` if it is in storage, and for ``platform`` if one is given."""
    try:
        image = store.images.get(text)
    except NotInStorage:
        return None
    return image if platform is None or suits(image.config, platform) else None


def pulled_base(store: Store, text: str, platform: Platform | None, pull: Pull | None) -> Image:
    """Pull the image ``text``; without ``pull``, return what is in storage.

    Raises NotInStorage, or what ``pull`` raises, in words that say so.
    """
    if pull is None:
        return store.images.get(text)
    try:
        return pull(store, text, platform)
    except SundogError as error:
        error.message = f"{_absence(store, text, platform)}; and pulling it failed: {error.message}"
        raise


def _absence(store: Store, text: str, platform: Platform | None) -> str:
    """Say why storage does not do."""
    try:
        config = store.images.get(text).config
    except NotInStorage:
        return f"not in storage: {text}"
    found = Platform.of(config.os, config.architecture, config.variant)
    return f"{text} is for {found}, not for {platform}"
