"""Images that a build starts from or copies from: from storage, from a layout, or pulled.

A build takes an image in storage as it is, even if it is old, unless the user wants it otherwise.
So a build does not depend on what a registry has at that hour.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

from sundog.errors import NotInStorage, SundogError
from sundog.image.builder.platforms import suits
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.platform import Platform
from sundog.image.store.images import directory_hint
from sundog.runtime.container.search_path import ENGINE_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store

    # Bring an image into storage, for the platform if one is given, else for this machine's.
    Pull = Callable[[Store, str, Platform | None], Image]
    # Find out about that image, and bring nothing.
    LookUp = Callable[[Store, str, Platform | None], "PromisedImage"]

    # Bring an image of a shared store into storage, without a name; None if there is none.
    Share = Callable[[Store, str], Image | None]

    class PromisedImage(Protocol):
        """An image of a registry, such as a ``RemoteImage``."""

        @property
        def config(self) -> ImageConfig: ...  # noqa: D102
        @property
        def fetch(self) -> Callable[[], Image]: ...  # noqa: D102

    class Loadable(Protocol):
        """An image that is elsewhere, such as a ``LayoutImage``."""

        def load(self, platform: Platform | None) -> Image:
            """Bring it into storage, without a name, and return it; raise SundogError."""

    # The name of an image.
    ImageName = str | Loadable


SCRATCH = "scratch"
_STORED_HINT = "--pull=newer takes it from storage then"


def scratch_config(platform: Platform) -> ImageConfig:
    """Return the configuration of the image without files."""
    return ImageConfig(
        architecture=platform.architecture,
        variant=platform.variant,
        os=platform.os,
        env=(f"PATH={ENGINE_PATH}",),
        working_dir="/",
    )


@dataclass(frozen=True, slots=True)
class Bases:
    """Find images; with ``is_dry`` (a dry run), fetch none.

    With ``refreshes``, an image of a registry is not found, so that ``pull`` asks for it.
    ``share`` brings an image of a shared store into storage, if it is given.
    """

    store: Store
    pull: Pull | None
    is_dry: bool
    refreshes: bool = False
    share: Share | None = None

    def find(self, name: ImageName, platform: Platform | None) -> Image | None:
        """Return the image if storage has it, and if it is for ``platform`` (if one is given)."""
        if not isinstance(name, str):
            return None if self.is_dry else name.load(platform)
        if self.refreshes and not self.is_dry:
            return None
        for wanted in dict.fromkeys((platform, None)):  # an image without a variant may do
            try:
                image = self.store.images.get(name, wanted)
            except NotInStorage:
                continue
            return image if platform is None or suits(image.config, platform) else None
        found = None if self.share is None or self.is_dry else self.share(self.store, name)
        return found if found and (platform is None or suits(found.config, platform)) else None

    def fetch(self, name: ImageName, platform: Platform | None) -> Image | None:
        """Fetch an image that was not found, and return it; None if a dry run does not have it.

        Raises NotInStorage, or the error of ``pull``; the message says that storage lacks the
        image.
        """
        if not isinstance(name, str):
            return None
        if self.pull is None:
            return self.store.images.get(name)
        if self.is_dry:
            return None
        with self._absent(name, platform):
            return self.pull(self.store, name, platform)

    def promised(
        self, name: ImageName, platform: Platform | None, look_up: LookUp
    ) -> PromisedImage | None:
        """Return what a registry has under a name; None for an image that is elsewhere."""
        if not isinstance(name, str) or self.is_dry:
            return None
        with self._absent(name, platform):
            return look_up(self.store, name, platform)

    @contextmanager
    def _absent(self, name: str, platform: Platform | None) -> Iterator[None]:
        try:
            yield
        except SundogError as error:
            if self.refreshes and Bases(self.store, None, is_dry=False).find(name, platform):
                error.message = f"{name} is in storage, but pulling it failed: {error.message}"
                error.hint = "; ".join(filter(None, (error.hint, _STORED_HINT)))
                raise
            absence = _absence(self.store, name, platform)
            error.message = f"{absence}; and pulling it failed: {error.message}"
            error.hint = directory_hint(name) or error.hint
            raise


def _absence(store: Store, text: str, platform: Platform | None) -> str:
    """Say why no image in storage will do."""
    try:
        config = store.images.get(text).config
    except NotInStorage:
        return f"not in storage: {text}"
    found = Platform.of(config.os, config.architecture, config.variant)
    return f"{text} is for {found}, not for {platform}"
