"""Words by which a user asks for a device: a CDI name, a file of such names, a device node."""

from __future__ import annotations

import os

from sundog.base.kernel.libc import printable
from sundog.base.kernel.modes import S_IFDIR, S_IFMT, S_IFREG
from sundog.errors import UsageError
from sundog.runtime.cdi.edits import ContainerEdits, DeviceNode
from sundog.runtime.cdi.registry import edits_for, edits_for_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.cdi.registry import Warn

_NODE_LETTERS = b"rwm"


def edits_of_words(
    words: Sequence[bytes], directories: Sequence[bytes], warn: Warn, *, all_devices: bool
) -> ContainerEdits:
    """Return the edits of all that ``words`` ask for; with ``all_devices``, of all there is.

    ``directories`` have the specifications.  Raises SundogError.
    """
    nodes, names = [], []
    for word in words:
        if _is_node_word(word):
            nodes.append(_node_of_word(word))
        elif not all_devices or word.startswith((b"/", b".")):
            names.append(word)
    edits = edits_for(names, directories, warn)
    if all_devices:
        edits = edits_for_all(directories, warn)
    if not nodes:
        return edits
    return ContainerEdits(
        env=edits.env,
        device_nodes=(*edits.device_nodes, *nodes),
        mounts=edits.mounts,
        hooks=edits.hooks,
        additional_gids=edits.additional_gids,
        intel_rdt=edits.intel_rdt,
        net_devices=edits.net_devices,
    )


def _is_node_word(word: bytes) -> bool:
    """Tell whether ``word`` is the path of a device node, and not of a file for CDI."""
    if not word.startswith(b"/"):
        return False
    try:
        return os.stat(word).st_mode & S_IFMT not in (S_IFREG, S_IFDIR)
    except OSError:
        return True


def _node_of_word(word: bytes) -> DeviceNode:
    """Return the device node of ``SRC[:DST[:LETTERS]]``.  Raises UsageError."""
    source, _, rest = word.partition(b":")
    target, _, letters = rest.partition(b":")
    if target and not target.startswith(b"/") and not letters:
        target, letters = b"", target
    if set(letters) - set(_NODE_LETTERS) or (target and not target.startswith(b"/")):
        raise UsageError(
            f"--device {printable(word)}: not a device", "write VENDOR/CLASS=NAME, or /dev/NAME"
        )
    return DeviceNode(target or source, source, permissions=letters.decode())
