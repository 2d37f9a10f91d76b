"""The devices of a RUN: ``RUN --device`` for one, ``build --device`` for all.

RUN gets what ``ch-run --device`` gives, and its layer keeps nothing of it.  The cache key has the
names in the Dockerfile: as with Docker, a new driver is no reason to run a command again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sundog.errors import BuildError, CdiError, SundogError
from sundog.image.builder.keys import DEVICE, Part
from sundog.runtime.cdi.registry import device_names
from sundog.runtime.devices.injection import injection
from sundog.runtime.devices.words import edits_of_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.builder.keys import Field
    from sundog.image.builder.options import RunOptions
    from sundog.image.builder.report import Report
    from sundog.image.dockerfile.devices import RunDevice
    from sundog.runtime.devices.injection import Injection

_ALL = "*"


@dataclass(frozen=True, slots=True)
class RunDevices:
    """The ``devices`` of the Dockerfile, beside those of the command line."""

    devices: tuple[RunDevice, ...]
    options: RunOptions
    report: Report

    def key(self) -> list[Field]:
        """Return the devices' part of the key: none without devices in the Dockerfile."""
        if not self.devices:
            return []
        return [["devices", Part(DEVICE, "", [device.name for device in self.devices])]]

    def injection(self) -> Injection | None:
        """Return what RUN gets, None for nothing.  Raises BuildError for a missing device."""
        words = [*self.options.devices]
        for device in self.devices:
            words += self._found(device)
        if not words:
            return None
        warn = self.report.warning
        try:
            edits = edits_of_words(
                list(dict.fromkeys(words)), self.options.cdi_directories, warn, all_devices=False
            )
            found = injection(edits, warn, shares_dev=False)
        except SundogError as error:
            raise BuildError(error.message, error.hint) from error
        for hook in found.hooks:
            warn(f"a hook of CDI does not run in builds: {os.fsdecode(hook.path)}")
        return found

    def _found(self, device: RunDevice) -> list[bytes]:
        """Return the device as words for ``edits_of_words``; [] if it is missing and may be so."""
        try:
            return self._words(device.name)
        except CdiError as error:
            if device.required:
                raise BuildError(error.message, error.hint) from error
            self.report.warning(f"RUN --device: {error.message}; RUN goes without it")
            return []

    def _words(self, name: str) -> list[bytes]:
        """Return the names that ``name`` stands for; raise CdiError.

        A path is no name: a file that came with the Dockerfile could mount all that its user has.
        """
        if name.startswith(("/", ".")):
            raise CdiError(f"not the name of a CDI device: {name}", "build --device takes paths")
        word = os.fsencode(name)
        kind, equals, device = name.partition("=")
        if not equals or device == _ALL:
            of_kind = [
                each
                for each in device_names(self.options.cdi_directories, lambda _: None)
                if each.startswith(f"{kind}=")
            ]
            if of_kind:
                return list(map(os.fsencode, of_kind if device == _ALL else of_kind[:1]))
            word = os.fsencode(kind)
        edits_of_words([word], self.options.cdi_directories, lambda _: None, all_devices=False)
        return [word]
