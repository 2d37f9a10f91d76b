"""The directories of ``images/`` that have the images of a name for each platform.

    images/NAME         the image for the machine on which it was put there
    images/NAME=KEY     an image of that name for another platform, see ``platform_names``
    platforms/NAME/KEY  a note that there may be such an image

No image's name has a "=".  A note is made before the image is put there, and outlives it.  So a
note says where to look, and no more.  Where ``images/NAME`` is enough, nothing else is looked at.

Sundog 1.0 knew one image for each name: ``images/NAME`` may be for any platform in its stores.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.kernel.libc import printable
from sundog.base.record.names import PLATFORMS, spelled_out
from sundog.base.record.platform_names import (
    host_platform,
    parse_platform,
    platform_key,
    platform_of_key,
    platform_text,
    runnable_platforms,
)
from sundog.errors import NotInStorage, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.platform_names import PlatformName

_MARK = "="
_METADATA = b"root/ch/metadata.json"  # its first line is the architecture
_METADATA_LIMIT = 200
_ARCHITECTURE = b'"arch": "'


def entry_beside(directory: str, key: str) -> str:
    """Return the directory of ``images/`` for an image beside ``images/directory``."""
    return f"{directory}{_MARK}{key}"


def parted(entry: str) -> tuple[str, str]:
    """Return the directory of an image's name and the key; the key is "" for ``images/NAME``."""
    directory, _, key = entry.partition(_MARK)
    return directory, key


class StoredEntries:
    """The directories of the images whose name has the directory ``directory`` in ``images/``.

    ``storage`` is the path of the storage directory.
    """

    __slots__ = ("_directory", "_storage")

    def __init__(self, storage: bytes, directory: str) -> None:
        self._storage = storage
        self._directory = directory

    def all(self) -> list[str]:
        """Return the directories that are there; ``images/NAME`` is the first one."""
        return [self._directory, *self._beside()] if self._is_there() else self._beside()

    def find(self, wanted: Sequence[PlatformName] = ()) -> str | None:
        """Return the directory of the image for the first of the platforms that there is.

        Without platforms: that of ``images/NAME``, else for this machine, else the only one.
        Return None if there is none.  Raises NotInStorage if there are several, and no choice.
        """
        if not wanted:
            return self._directory if self._is_there() else self._only()
        for platform in wanted:
            beside = entry_beside(self._directory, platform_key(platform))
            if self._has(beside):
                return beside
            if self.platform(self._directory) == platform:
                return self._directory
        return None

    def platform(self, entry: str) -> PlatformName | None:
        """Return the platform of an image; None if it is not there.

        An image that does not say it, or is damaged, counts as one for this machine.
        """
        _, key = parted(entry)
        if key:
            return platform_of_key(key)
        if not self._is_there():
            return None
        with suppress(OSError, UnicodeDecodeError, UsageError):
            with open(os.path.join(self._path(entry), _METADATA), "rb", buffering=0) as file:
                _, _, rest = file.read(_METADATA_LIMIT).partition(_ARCHITECTURE)
            if architecture := rest.partition(b'"')[0].decode():
                return parse_platform(architecture)
        return host_platform()

    def all_platforms(self) -> list[PlatformName]:
        """Return the platforms for which there are images."""
        return list(filter(None, map(self.platform, self.all())))

    def platforms(self) -> list[str]:
        """Return the platforms for which there are images, as people write them."""
        return list(map(platform_text, self.all_platforms()))

    def _only(self) -> str | None:
        beside = self._beside()
        own = entry_beside(self._directory, platform_key(host_platform()))
        if own in beside or len(beside) < 2:
            return own if own in beside else next(iter(beside), None)
        texts = self.platforms()
        raise NotInStorage(
            f"{spelled_out(self._directory)} is in storage for "
            f"{', '.join(texts)}, not for {platform_text(host_platform())}",
            f"choose one: --arch={texts[0].removeprefix('linux/')}",
        )

    def _beside(self) -> list[str]:
        try:
            notes = os.listdir(os.path.join(self._storage, PLATFORMS, self._directory.encode()))
        except (FileNotFoundError, NotADirectoryError):
            return []
        entries = [entry_beside(self._directory, os.fsdecode(note)) for note in sorted(notes)]
        return list(filter(self._has, entries))

    def _is_there(self) -> bool:
        return self._has(self._directory)

    def _has(self, entry: str) -> bool:
        return os.path.lexists(self._path(entry))

    def _path(self, entry: str) -> bytes:
        return os.path.join(self._storage, b"images", os.fsencode(entry))


def entry_for(storage: bytes, directory: str, arch: bytes) -> str:
    """Return the directory of an image, as ``stored_path.stored_place`` returns its path."""
    entries = StoredEntries(storage, directory)
    wanted = []
    if arch:
        try:
            wanted = runnable_platforms(parse_platform(arch.decode("ascii")))
        except UnicodeDecodeError:
            raise UsageError(f"no architecture: {printable(arch)}", "as in --arch=arm64") from None
    found = entries.find(wanted)
    if found is not None or not wanted or not (there := entries.platforms()):
        return found or directory
    name, platform = spelled_out(directory), platform_text(wanted[0])
    raise NotInStorage(
        f"{name} is in storage for {', '.join(there)}, not for {platform}",
        f"ch-image pull --arch={platform.removeprefix('linux/')} {name}",
    )
