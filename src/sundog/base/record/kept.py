"""``containers/ID/``: a container that keeps its changes, in the storage directory.

    container.json  its name and options
    image/          its image: what ``images/NAME/`` has
    upper/ work/    the changes of its last run, on top of the image: the directories of an overlay
    owners          the records of owners of that run, which a supervisor leaves: ``record.owners``
    exit            the exit status of that run, in decimal; empty while it runs
    log             the output of a run in the background

The next start makes a layer of the changes, which the image then has on top.
"""

from __future__ import annotations

CONTAINERS_DIRECTORY = b"containers"
CONTAINER_IMAGE = b"image"
CONTAINER_UPPER = b"upper"
CONTAINER_WORK = b"work"
CONTAINER_OWNERS = b"owners"
CONTAINER_OWNERS_DRAFT = b"owners.draft"
CONTAINER_EXIT = b"exit"
CONTAINER_ID_LENGTH = 64
_CONTAINER_ID_DIGITS = b"0123456789abcdef"


def is_container_id(word: bytes) -> bool:
    """Tell whether ``word`` can be the ID of a container."""
    return len(word) == CONTAINER_ID_LENGTH and not word.strip(_CONTAINER_ID_DIGITS)


def container_place(identity: bytes) -> bytes:
    """Return the place of the container ``identity`` in the storage directory."""
    return CONTAINERS_DIRECTORY + b"/" + identity
