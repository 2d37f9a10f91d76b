"""``oci-layout://DIRECTORY[:TAG][@DIGEST]``: an image in a layout, used like one in storage.

Specification: the reference of ``docker buildx build``, ``--build-context``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from sundog.errors import ArchiveError, UsageError
from sundog.image.convert.archived import load_layers
from sundog.image.convert.load import FAULTS
from sundog.image.convert.members import DirectoryMembers
from sundog.image.convert.oci_layout import LAYOUT, read_one
from sundog.image.oci.platform import Platform
from sundog.image.store.image_files import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.store.store import Store
    from sundog.image.transfer.report import Report

SCHEME = "oci-layout://"
_FORM = re.compile(r"(.*?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?")


@dataclass
class LayoutImage:
    """An image in the layout ``directory``; ``load`` brings its layers into the store."""

    directory: str
    tag: str
    digest: str
    store: Store
    report: Report
    _loaded: dict[Platform, Image] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def parse(cls, text: str, store: Store, report: Report) -> LayoutImage:
        """Read the value of ``--build-context NAME=``; raise UsageError."""
        found = _FORM.fullmatch(text.removeprefix(SCHEME))
        directory, tag, digest = found.groups("") if found else ("", "", "")
        if not os.path.isdir(directory):
            raise UsageError(f"no such directory: {directory}", f"write {SCHEME}DIRECTORY[:TAG]")
        if not os.path.exists(os.path.join(directory, LAYOUT)):
            raise UsageError(f"no OCI layout: {directory}", f"it has no file {LAYOUT}")
        return cls(directory, tag, digest, store, report)

    def load(self, platform: Platform | None) -> Image:
        """Return the image, for this machine unless a platform is given; raise ArchiveError.

        It gets no name in the store, and stays there as long as the store is open.
        """
        wanted = platform or Platform.of_host()
        if wanted not in self._loaded:
            self._loaded[wanted] = self._load(wanted)
        return self._loaded[wanted]

    def _load(self, platform: Platform) -> Image:
        self.store.hold()
        members = DirectoryMembers(self.directory, os.path.abspath(os.fsencode(self.directory)))
        try:
            image = read_one(members, platform, self.tag, self.digest)
            layers = load_layers(self.store, members, image.layers, self.report)
        except FAULTS as error:
            raise ArchiveError(
                f"can't read {SCHEME}{self.directory}: {error.message}", error.hint
            ) from error
        return Image("", "", image.config, tuple(layers))
