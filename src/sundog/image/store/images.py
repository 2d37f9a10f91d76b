"""``images/NAME/``: images.  NAME is the canonical name, with ``%`` for ``/`` and ``+`` for ``:``.

One name may have an image for each of several platforms: ``record.stored_entry``.

    image.json   the name, how the user typed it, the layers, the origin
    config.json  the image's configuration, in the form of OCI image-spec
    stack        what ``ch-run`` reads, see ``record.stack``
    root/ch/     ``environment`` and ``metadata.json``: the topmost layer of a container

One renameat2(2) replaces the whole directory.  So a reader, which takes no lock, finds the old
image or the new one.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase

from sundog.base.kernel.files import RENAME_EXCHANGE, Closing, renameat2
from sundog.base.kernel.libc import printable
from sundog.base.kernel.locks import is_at
from sundog.base.kernel.mounts import AT_FDCWD
from sundog.base.record.names import canonical_name, name_to_directory, spelled_out
from sundog.base.record.platform_names import platform_of_key
from sundog.base.record.stack import STACK_FILE, note_use
from sundog.base.record.stored_entry import StoredEntries, parted
from sundog.errors import (
    DocumentError,
    KernelError,
    NotInStorage,
    ReferenceSyntaxError,
    StoreError,
)
from sundog.image.oci.config import ImageConfig
from sundog.image.oci.platform import Platform
from sundog.image.store.garbage import Gone
from sundog.image.store.image_draft import write_image
from sundog.image.store.image_files import (
    Image,
    ImageEntry,
    described,
    read_entry,
    read_image,
    read_listed,
    tree_of,
)
from sundog.image.store.img_links import ImgLinks
from sundog.image.store.platform_notes import PlatformNotes
from sundog.image.store.users import add_user
from sundog.image.store.volumes import volume_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sundog.image.store.drivers import Driver
    from sundog.image.store.layer_ids import LayerId
    from sundog.image.store.layers import Layers
    from sundog.image.store.storage import Storage

_GLOB = frozenset("*?[")
_USER = b"images/"  # begins an image's name as a user of layers
# Comments of the history, for a layer that stands for several.
_JOINED = "{} layers, joined because overlayfs stacks no more"
_SQUASHED = "{} layers, squashed"
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Images:
    """The images of one store.

    ``choose_driver`` is called only to write an image, since the choice may take a trial.
    """

    def __init__(
        self, storage: Storage, layers: Layers, choose_driver: Callable[[], Driver]
    ) -> None:
        self._storage = storage
        self._layers = layers
        self._choose_driver = choose_driver
        self._links = ImgLinks(storage)
        self._notes = PlatformNotes(storage)

    def get(self, text: str, platform: Platform | None = None) -> Image:
        """Return the image that ``text`` names.  Its layers stay as long as the store is open.

        This is a use of the image.  It is the one for ``platform``; without that, the one for this
        machine, else the only one.
        Raises NotInStorage, ReferenceSyntaxError, or StoreError when a layer is missing.
        """
        directory = name_to_directory(canonical_name(text))
        self._storage.hold()
        self._links.follow(directory)
        entry = self._chosen(directory, platform)
        image = None if entry is None else self._read(entry)
        if entry is None or image is None:
            raise self._not_in_storage(text, platform)
        stack = self._storage.at(b"images", os.fsencode(entry), STACK_FILE)
        with suppress(FileNotFoundError):
            note_use(stack, os.lstat(stack))
        for layer in image.layers:
            if not self._layers.exists(layer):
                raise StoreError(
                    f"image in storage is damaged: {text}: layer {layer} is missing",
                    "import or build it again; a program that cleans /var/tmp may have deleted it",
                )
        return image

    def has(self, text: str, platform: Platform | None = None) -> bool:
        """Tell whether there is an image of that name, for any platform or for just this one."""
        entries = self._entries(name_to_directory(canonical_name(text)))
        return bool(entries.all() if platform is None else entries.find([platform.parts]))

    def of_name(self, text: str) -> Sequence[Image]:
        """Return the images of a name for all platforms; their layers stay as after ``get``.

        Raises NotInStorage, ReferenceSyntaxError or StoreError.
        """
        entries = self._entries(name_to_directory(canonical_name(text)))
        found = [self.get(text, Platform(*found)) for found in entries.all_platforms()]
        if not found:
            raise self._not_in_storage(text)
        return found

    def entries(self) -> Sequence[ImageEntry]:
        """Return all images as ``list`` does, without their configurations, which are not read."""
        found = (entry for _, entry in self._all_entries(read_entry))
        return sorted(found, key=lambda entry: entry.typed)

    def listed(self) -> Sequence[ImageEntry]:
        """Return all images as ``list`` does, and of each only what lists show."""
        host = str(Platform.of_host())
        return sorted(
            (entry for _, entry in self._all_entries(read_listed)),
            key=lambda entry: (entry.typed, entry.platform != host, entry.platform),
        )

    def by_directory(self) -> Sequence[tuple[str, ImageEntry]]:
        """Return all images as ``listed`` does, each with its directory."""
        return sorted(
            self._all_entries(read_listed), key=lambda each: (each[1].typed, each[1].platform)
        )

    def last_use(self, directory: str) -> float:
        """Return when the image in a directory was used last, in seconds since 1970; or 0."""
        with suppress(OSError):
            return os.lstat(
                self._storage.at(b"images", os.fsencode(directory), STACK_FILE)
            ).st_mtime
        return 0

    def _all_entries(self, read: Callable[[bytes], ImageEntry]) -> Iterator[tuple[str, ImageEntry]]:
        for directory in map(os.fsdecode, os.listdir(self._storage.at(b"images"))):
            path = self._storage.at(b"images", os.fsencode(directory))
            try:
                yield directory, read(path)
            except (FileNotFoundError, DocumentError):
                image = self._or_told(self._read, directory)
                if image is not None:
                    yield directory, image.entry

    def list(self) -> Sequence[Image]:
        """Return all images, in order of their typed names.  Takes no lock.

        A damaged image has only its name, and in ``origin`` what is wrong.
        """
        images = []
        for directory in map(os.fsdecode, os.listdir(self._storage.at(b"images"))):
            image = self._or_told(self._read, directory)
            if image is not None:
                images.append((image.typed, parted(directory)[1], image))
        return [image for *_, image in sorted(images, key=lambda each: each[:2])]

    def count(self) -> int:
        """Return the number of images."""
        return len(os.listdir(self._storage.at(b"images")))

    def size(self, image: Image | ImageEntry) -> int:
        """Return the bytes in all files of an image's layers, hidden ones included."""
        return sum(map(self._layers.size_if_here, image.layers))

    def absent(self, image: Image | ImageEntry) -> tuple[int | None, str | None]:
        """Return how many per cent of the layer files that are not all here are; None: all are.

        For an image in place, return the path of its OCI layout, too.
        """
        parts = [part for part in map(self._layers.absent, image.layers) if part is not None]
        for part in parts:
            if part.layout:
                return None, printable(part.layout)
        if not parts:
            return None, None
        return 100 * sum(part.here for part in parts) // max(
            1, sum(part.size for part in parts)
        ), None

    def matching(
        self, *patterns: str, platform: Platform | None = None
    ) -> dict[str, Sequence[Image]]:
        """Return for each pattern the images whose typed or canonical name it matches.

        A pattern is a glob of fnmatch(3), or a name; it may have either spelling of
        ``spelled_out``.  For a name, no other image is read; for a glob, only names are.  A name
        has an image for each of its platforms; with ``platform``, those for others are left out.
        """
        entries = self.entries() if any(map(is_glob, patterns)) else ()
        wanted = None if platform is None else platform.runnable()
        found: dict[str, Sequence[Image]] = {}
        for pattern in patterns:
            names = [pattern]
            if is_glob(pattern):
                spelled = spelled_out(pattern)
                names = [
                    entry.reference
                    for entry in entries
                    if fnmatchcase(entry.typed, spelled) or fnmatchcase(entry.reference, spelled)
                ]
            images = [image for name in dict.fromkeys(names) for image in self._named(name)]
            found[pattern] = [each for each in images if wanted is None or each.platform in wanted]
        return found

    def put(self, *images: Image) -> Sequence[Image]:
        """Write images under their references, in place of those for the same platforms.

        Each is replaced in one step, and keeps the spelling of its name in lists.  Each is as
        ``stackable`` returns it.  All are on the device when this returns.  Raises StoreError for
        an image that ``ch-run`` could not mount.
        """
        storage = self._storage
        storage.hold()
        with storage.faults:
            images = tuple(map(self.stackable, images))
            places = self._places(images)
            drafts = [self.draft(image) for _, image in places]
            for entry, image in places:
                add_user(map(self._layers.directory, image.layers), user_of(entry), storage.device)
                self._notes.add(entry)
            storage.device.sync_drafts(*drafts)
            for (entry, image), draft in zip(places, drafts, strict=True):
                target = storage.at(b"images", os.fsencode(entry))
                new = self._gone(entry, draft)
                self._expect_end(entry, target, kept=new)
                storage.locks.confirm()
                self.replace(draft, target)
                # Another command may have put its own image there before.
                self._expect_end(entry, draft, kept=new)
                storage.device.changed(storage.at(b"images"))
                self._links.follow(entry)
                self._refer(image)
            storage.device.settle()
            storage.scratch.dispose(*drafts)
            for entry, image in places:
                self._leave_old_place(entry, image)
        return tuple(image for _, image in places[len(places) - len(images) :])

    def stackable(self, image: Image) -> Image:
        """Return ``image`` with no more layers than overlayfs stacks: some of them are joined."""
        if len(image.layers) < self._layers.most_stacked:
            return image
        pieces = self._layers.pieces(image.layers)
        if not any(piece.parts for piece in pieces):
            return image
        members = tuple(member for piece in pieces if piece.parts for member in piece.members)
        self._storage.garbage.expect_of(Gone("", members))
        from sundog.image.store.joining import with_pieces

        return with_pieces(image, pieces, _JOINED)

    def squashed(self, image: Image, base: int) -> Image:
        """Return ``image`` with one layer in place of those above the lowest ``base`` ones."""
        if len(image.layers) - base < 2:
            return image
        from sundog.image.store.joining import with_pieces

        piece = self._layers.joined(image.layers[base:], image.layers[:base])
        return with_pieces(image, [*piece.below, piece], _SQUASHED)

    def _places(self, images: Sequence[Image]) -> Sequence[tuple[str, Image]]:
        """Return where each image is to be; first, those that have to make room for others.

        The images get the spelling of their names that lists show already.
        """
        wanted, displaced = [], {}
        for image in images:
            entry = image.entry_name
            directory, key = parted(entry)
            old = self._or_none(entry)
            listed = old or (self._or_none(directory) if key else None)
            if old is not None and not key and old.platform != image.platform:
                displaced[old.entry_name] = old
            wanted.append((entry, replace(image, typed=listed.typed) if listed else image))
        for entry, _ in wanted:
            displaced.pop(entry, None)
        return [*displaced.items(), *wanted]

    def _leave_old_place(self, entry: str, image: Image) -> None:
        """Remove an older image for the same platform from where Sundog 1.0 put it."""
        directory, key = parted(entry)
        if not key or self._entries(directory).platform(directory) != image.platform.parts:
            return
        path = self._storage.at(b"images", os.fsencode(directory))
        self._expect_end(directory, path)
        with suppress(FileNotFoundError):
            place = self._storage.scratch.aside(path)
            with Closing(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
                moved = read_image(fd)
            if moved.platform != image.platform:  # another command has just put that there
                with suppress(FileExistsError, OSError):
                    os.rename(place, path)
                    return
            self._storage.scratch.dispose(place)
        self._links.follow(directory)

    def _or_none(self, entry: str) -> Image | None:
        """Read an image; None if it is not there, or damaged."""
        try:
            return self._read(entry)
        except StoreError:
            return None

    def draft(self, image: Image) -> bytes:
        """Write an image to a new directory in ``tmp/``; return the directory."""
        draft = self._storage.scratch.new()
        write_image(draft, image, described(image), self._layers, self._choose_driver())
        return draft

    def _refer(self, image: Image) -> None:
        """Note that an image, which is in place now, refers to its layers, blobs and tree."""
        storage = self._storage
        volumes = volume_paths(image.config.volumes)
        tree = self._choose_driver().tree_of_image(image.layers, volumes)
        blobs = (digest.encode().split(b":", 1) for digest in image.blobs)
        storage.unreferenced.refer(
            *map(self._layers.directory, image.layers),
            *(storage.at(b"blobs", *words) for words in blobs),
            storage.at(b"trees", tree),
        )

    def delete(self, *texts: str) -> None:
        """Remove the images that ``texts`` name, those that ``get`` returns.

        ``close`` removes layers that only they used.  Running containers go on.  Raises
        ReferenceSyntaxError before it removes anything, and NotInStorage after it has removed the
        images that are there.
        """
        directories = {text: name_to_directory(canonical_name(text)) for text in texts}
        self._end(
            {
                text: self._chosen(directory, None) or directory
                for text, directory in directories.items()
            }
        )

    def remove(self, *images: Image) -> None:
        """Remove these images, as ``delete``; those for other platforms stay.  One may be gone."""
        ended = {}
        for image in images:
            entries = self._entries(name_to_directory(image.reference))
            if (entry := entries.find([image.platform.parts])) is not None:
                ended[f"{image.reference} {image.platform}"] = entry
        with suppress(NotInStorage):
            self._end(ended)

    def remove_directory(self, directory: str) -> None:
        """Remove the image in ``images/directory``, as ``remove``."""
        with suppress(NotInStorage):
            self._end({spelled_out(parted(directory)[0]): directory})

    def _end(self, ended: Mapping[str, str]) -> None:
        """Remove the directories of images, each by the name in messages."""
        storage = self._storage
        storage.hold()
        places, missing = [], []
        with storage.faults:
            for text, entry in ended.items():
                path = storage.at(b"images", os.fsencode(entry))
                self._expect_end(entry, path)
                try:
                    places.append(storage.scratch.aside(path))
                    # Another command may have replaced the image before.
                    self._expect_end(entry, places[-1])
                except FileNotFoundError:
                    missing.append(text)
                self._links.follow(entry)
            if places:
                storage.device.changed(storage.at(b"images"))
                storage.device.settle()
            storage.scratch.dispose(*places)
        if missing:
            raise self._not_in_storage(missing[0])

    def heal_links(self, directories: Iterable[str] | None = None) -> None:
        """Make the links in ``img/`` agree with these images, by default all; raise OSError."""
        if directories is None:
            self._links.heal()
        for directory in directories or ():
            self._links.follow(directory)

    def _chosen(self, directory: str, platform: Platform | None) -> str | None:
        """Return the directory of the image that ``get`` returns; None if there is none."""
        wanted = () if platform is None else [each.parts for each in platform.runnable()]
        return self._entries(directory).find(wanted)

    def _entries(self, directory: str) -> StoredEntries:
        return StoredEntries(self._storage.path, directory)

    def _named(self, text: str) -> Sequence[Image]:
        """Return the images that ``text`` names, one for each platform."""
        try:
            directory = name_to_directory(canonical_name(text))
        except ReferenceSyntaxError:
            return ()
        self._links.follow(directory)
        found = [self._or_told(self._read, entry) for entry in self._entries(directory).all()]
        return [image for image in found if image is not None]

    def _not_in_storage(self, text: str, platform: Platform | None = None) -> NotInStorage:
        there = self._entries(name_to_directory(canonical_name(text))).platforms()
        if platform is not None and there:
            return NotInStorage(
                f"not in storage for {platform}: {text}; it is for {', '.join(there)}",
                f"ch-image pull --arch={str(platform).removeprefix('linux/')} {text}",
            )
        return NotInStorage(
            f"not in storage: {text}",
            directory_hint(text) or f"ch-image pull {text}; or ch-image import PATH {text}",
        )

    def _or_told(self, read: Callable[[str], Image | None], directory: str) -> Image | None:
        """Read an image; for a damaged one, return its name, with the error as the origin."""
        try:
            return read(directory)
        except StoreError as error:
            plain, key = parted(directory)
            name = spelled_out(plain)
            config = ImageConfig()
            if key:
                os_name, architecture, variant = platform_of_key(key)
                config = config.replace(os=os_name, architecture=architecture, variant=variant)
            return Image(name, name, config, (), error.message)

    def _expect_end(self, directory: str, path: bytes, kept: Gone | None = None) -> None:
        """Expect garbage of the image at ``path``, if it refers to anything but ``kept``."""
        try:
            gone = self._gone(directory, path)
        except FileNotFoundError:
            if os.path.lexists(path):  # it is damaged
                self._storage.expect_garbage()
        except DocumentError:
            self._storage.expect_garbage()
        else:
            if gone != kept:
                self._storage.garbage.expect_of(gone)

    def _gone(self, directory: str, path: bytes) -> Gone:
        """Return what the image at ``path`` refers to; raise as ``read_entry``."""
        entry = read_entry(path)
        return Gone(directory, entry.layers, os.fsdecode(tree_of(path)), entry.blobs)

    def uses(self, user: bytes, layer: LayerId) -> Gone | None:
        """Return what a user of a layer refers to, if it is an image and refers to that layer.

        ``user`` is as in ``users``.
        """
        if not user.startswith(_USER):
            return None
        directory = user.removeprefix(_USER)
        with suppress(FileNotFoundError, DocumentError):
            gone = self._gone(os.fsdecode(directory), self._storage.at(b"images", directory))
            return gone if layer in gone.layers else None
        return None

    def replace(self, draft: bytes, target: bytes) -> None:
        """Rename ``draft`` to ``target``; an old image there gets the path ``draft``."""
        while True:
            try:
                renameat2(AT_FDCWD, draft, AT_FDCWD, target, RENAME_EXCHANGE)
                return
            except KernelError as error:
                if error.errno in _NO_EXCHANGE:
                    self._storage.scratch.replace(draft, target)
                    return
                if error.errno != errno.ENOENT:
                    raise
            try:
                os.rename(draft, target)
                return
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise  # else another process has put an image there: exchange with that

    def _read(self, directory: str) -> Image | None:
        """Read an image; None when there is none.  Raises StoreError for a damaged one."""
        path = self._storage.at(b"images", os.fsencode(directory))
        while True:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with Closing(fd):
                try:
                    return read_image(fd)
                except (FileNotFoundError, DocumentError) as error:
                    if is_at(path, fd):
                        name = spelled_out(parted(directory)[0])
                        raise StoreError(
                            f"damaged image in storage: {name}: {error}", f"ch-image delete {name}"
                        ) from error
                    # Another command has replaced or deleted the image meanwhile: look again.


def user_of(directory: str) -> bytes:
    """Return the name of the image in ``images/directory`` as a user of layers."""
    return _USER + os.fsencode(directory)


def is_glob(pattern: str) -> bool:
    """Tell whether ``pattern`` is a glob, not a name."""
    return not _GLOB.isdisjoint(pattern)


def directory_hint(text: str) -> str:
    """Return the hint for a name that storage lacks if a directory has that name, or ""."""
    if text.startswith(("/", "./", "../")) or not os.path.isdir(text):
        return ""
    return f"the directory ./{text} is here: ch-image import ./{text} {text}"
