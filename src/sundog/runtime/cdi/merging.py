"""Container edits of several devices to those of a container.

Specification: Container Device Interface 1.1.  Where it is silent, the last one wins, as with the
programs that read CDI files today.
"""

from __future__ import annotations

from sundog.runtime.cdi.edits import ContainerEdits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from typing import TypeVar

    _Item = TypeVar("_Item")


def merged_edits(edits: Sequence[ContainerEdits]) -> ContainerEdits:
    """Return all ``edits`` as one.

    An environment variable stays where it was first, with its last value.  Of the nodes with one
    path, the mounts with one destination and the network devices with one interface, the last one
    stays.  Mounts are sorted by the depth of their destinations, so that none covers another one.
    """
    env: dict[bytes, bytes] = {}
    for one in edits:
        for string in one.env:
            env[string.partition(b"=")[0]] = string
    groups = [one.intel_rdt for one in edits if one.intel_rdt is not None]
    mounts = _last_of_each(
        [mount for one in edits for mount in one.mounts],
        lambda mount: path_components(mount.container_path),
    )
    gids = dict.fromkeys(gid for one in edits for gid in one.additional_gids if gid)
    return ContainerEdits(
        env=tuple(env.values()),
        device_nodes=_last_of_each(
            [node for one in edits for node in one.device_nodes],
            lambda node: path_components(node.path),
        ),
        mounts=tuple(sorted(mounts, key=lambda mount: len(path_components(mount.container_path)))),
        hooks=tuple([hook for one in edits for hook in one.hooks]),
        additional_gids=tuple(gids),
        intel_rdt=groups[-1] if groups else None,
        net_devices=_last_of_each(
            [device for one in edits for device in one.net_devices],
            lambda device: device.host_interface_name,
        ),
    )


def _last_of_each(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> tuple[_Item, ...]:
    """Return the last item for each key, in the order in which these are."""
    last: dict[Hashable, _Item] = {}
    for item in items:
        of_item = key(item)
        last.pop(of_item, None)
        last[of_item] = item
    return tuple(last.values())


def path_components(path: bytes) -> tuple[bytes, ...]:
    """Return the components of an absolute path, after "." and ".." are resolved by their text."""
    components: list[bytes] = []
    for component in path.split(b"/"):
        if component == b"..":
            del components[-1:]
        elif component not in (b"", b"."):
            components.append(component)
    return tuple(components)
