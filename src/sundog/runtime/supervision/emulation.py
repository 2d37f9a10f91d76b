"""The emulation of a container, and the open files with which its supervisor starts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.base.record.layer_path import LayerPath
    from sundog.base.record.owners import OwnersManifest
    from sundog.runtime.container.mounted_tree import MountedTree
    from sundog.runtime.emulation.notify.state.guesses import GuessedLayer
    from sundog.runtime.emulation.notify.state.lower import LowerRecords
    from sundog.runtime.emulation.notify.state.records import Records
    from sundog.runtime.emulation.notify.state.unrecorded_owners import AllIsReal
    from sundog.runtime.emulation.notify.state.volumes import VolumePlace


class Emulation:
    """The initial data of a supervised container: a plain value.

    layers      topmost first, as they are mounted
    changes     the directory that gets the container's changes; None: they are discarded
    is_stable   the container sees the same inodes as the layers have, and they are never freed
    mounted     the mounts in it
    strict      whether opening files obeys all permissions of the emulated identity
    is_lost     whether the image has lost which of its files have guessed owners
    volumes     see ``state.volumes``
    has_ports   whether the container has ports below 1024 of its own
    """

    __slots__ = (
        *("changes", "has_ports", "is_lost", "is_stable", "layers", "mounted", "strict"),
        "volumes",
    )

    def __init__(
        self,
        layers: Sequence[LayerPath] = (),
        changes: bytes | None = None,
        *,
        is_stable: bool = False,
        mounted: Sequence[MountedTree] = (),
        strict: bool = False,
        is_lost: bool = False,
        volumes: Sequence[VolumePlace] = (),
        has_ports: bool = False,
    ) -> None:
        self.layers = layers
        self.changes = changes
        self.is_stable = is_stable
        self.mounted = mounted
        self.strict = strict
        self.is_lost = is_lost
        self.volumes = volumes
        self.has_ports = has_ports


class OpenFiles:
    """The open descriptors of a supervisor, and what it knows of the files of its container.

    See the parameters of ``Supervision``.
    """

    __slots__ = (
        *("changes", "guessed", "lower", "mounted", "proc", "records", "unrecorded_owners"),
        "upper",
    )

    def __init__(
        self,
        proc: int,
        lower: LowerRecords,
        *,
        changes: int,
        upper: int,
        mounted: Sequence[tuple[bytes, OwnersManifest, int]],
        guessed: Sequence[GuessedLayer],
        records: Records | None,
        unrecorded_owners: AllIsReal | None,
    ) -> None:
        self.proc = proc
        self.lower = lower
        self.changes = changes
        self.upper = upper
        self.mounted = mounted
        self.guessed = guessed
        self.records = records
        self.unrecorded_owners = unrecorded_owners

    def descriptors(self) -> list[int]:
        """Return the descriptors; -1 is none."""
        return [
            *(self.proc, self.changes, self.upper),
            *(tree for _, _, tree in self.mounted),
            *(fd for layer in self.guessed for fd in (layer.tree, layer.list_fd)),
        ]
