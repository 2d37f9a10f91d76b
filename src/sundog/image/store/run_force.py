"""The emulations of root under which the RUN instructions of an image ran, from its history.

Each such entry begins with RUN and the tag of ``--force``: RUN.S for ``seccomp``.  The tags are
Charliecloud's.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.oci.config import ImageConfig

FORCE_TAGS = {"seccomp": "S", "notify": "C", "fakeroot": "F", "none": "N"}
_MODES = {tag: mode for mode, tag in FORCE_TAGS.items()}
_TAGGED = re.compile(rf"RUN\.([{''.join(_MODES)}]) ")


def force_modes(config: ImageConfig) -> list[str]:
    """Return the modes of ``--force`` in the history of an image, each once, the oldest first."""
    tagged = (_TAGGED.match(entry.created_by) for entry in config.history)
    return list(dict.fromkeys(_MODES[found[1]] for found in tagged if found))


def was_unrecorded(config: ImageConfig) -> bool:
    """Tell whether a RUN of the image recorded no owners."""
    return any(mode != "notify" for mode in force_modes(config))
