"""``img/``: a link to each image, at the path that it has in Charliecloud's storage directory.

Callers look there: for Nextflow, an image is in storage if ``img/NAME`` exists, with ``%`` for
``/`` and ``+`` for ``:``.  Nextflow gives this path to ``ch-run``, and deletes it after a pull that
failed.

Each spelling of an image's name has a link, because a caller uses the one that its user wrote.  The
links follow from the names of the directories in ``images/`` alone.  So they need no lock and no
sync.  A command puts the links of each image right that it names, since a caller may have removed
them.  It looks at the links of all images only where it finds what a killed command left.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.record.names import (
    DEFAULT_REGISTRY,
    DEFAULT_TAG,
    OFFICIAL_PREFIX,
    canonical_name,
    looks_like_registry,
    name_to_directory,
)
from sundog.base.record.stored_entry import parted
from sundog.errors import ReferenceSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.store.storage import Storage

_OFFICIAL = name_to_directory(OFFICIAL_PREFIX)
_HUB = name_to_directory(f"{DEFAULT_REGISTRY}/")
_LATEST = name_to_directory(f":{DEFAULT_TAG}")


class ImgLinks:
    """The links of one storage directory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def follow(self, directory: str) -> None:
        """Make the links of ``images/directory`` if that is there, else remove them.

        Another command may make or delete the image at the same time: the last of the two to look
        sees what is true.  A link that can't be made is no error.  An image for another platform
        has none.
        """
        if parted(directory)[1]:
            return
        names = spellings(directory)
        with suppress(OSError):
            while True:
                is_there = self._is_there(directory)
                for name in names:
                    self._set(name, directory, is_there=is_there)
                if self._is_there(directory) == is_there:
                    return

    def heal(self) -> None:
        """Make the links that are missing, and remove those that lead nowhere.

        What is no link of ours stays.  Raises OSError.
        """
        here = os.listdir(self._storage.at(b"images"))
        try:
            links = set(map(os.fsdecode, os.listdir(self._storage.at(b"img"))))
        except FileNotFoundError:
            os.mkdir(self._storage.at(b"img"), 0o700)
            links = set()
        wanted = {
            name: image
            for image in map(os.fsdecode, here)
            if not parted(image)[1]
            for name in spellings(image)
        }
        changed = {wanted[name] for name in wanted.keys() - links}
        for name in links - wanted.keys():
            with suppress(ReferenceSyntaxError):
                changed.add(name_to_directory(canonical_name(name)))
        for directory in sorted(changed):
            self.follow(directory)

    def _is_there(self, directory: str) -> bool:
        return os.path.lexists(self._storage.at(b"images", os.fsencode(directory)))

    def _set(self, name: str, directory: str, *, is_there: bool) -> None:
        link = self._storage.at(b"img", os.fsencode(name))
        if is_there:
            if not os.path.lexists(link):
                with suppress(FileExistsError):
                    os.symlink(b"../images/%s/root" % os.fsencode(directory), link)
        elif os.path.islink(link):
            with suppress(FileNotFoundError):
                os.unlink(link)


def spellings(directory: str) -> list[str]:
    """Return all names in ``img/`` of the image in ``images/directory``.

    These are the names with a tag or digest, and the shortest without the tag ``latest``.
    """
    short = directory.removeprefix(_HUB)
    if looks_like_registry(short.partition("%")[0].replace("+", ":")) and "%" in short:
        short = directory  # without docker.io, it would be the name of an image elsewhere
    names = [short, directory]
    official = short.removeprefix(_OFFICIAL)
    if official != short and "%" not in official:
        names = [official, _HUB + official, *names]
    if names[0].endswith(_LATEST):
        names.append(names[0].removesuffix(_LATEST))
    return list(dict.fromkeys(names))
