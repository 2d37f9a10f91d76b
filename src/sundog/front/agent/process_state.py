"""The container process state, which a runtime sends with the listener.

Specification: runtime-spec, config-linux.md, "The Container Process State".
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.fields import Fields
from sundog.errors import RuntimeConfigError
from sundog.front.agent.metadata import Metadata

LISTENER = "seccompFd"  # the name of the listener among the descriptors
_ID_LIMIT = 1024
_WHAT = "the container process state"
_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT in linux/threads.h


@dataclass(frozen=True)
class ProcessState:
    """A container in which a runtime starts a process.

    container   the ID that the runtime gives to the container
    first       the process ID of the container's first process; 0 if the runtime does not tell it,
                because the process is another one (crun exec)
    listener    the place of the listener among the descriptors
    """

    container: str
    first: int
    listener: int
    metadata: Metadata

    @classmethod
    def parse(cls, text: bytes) -> ProcessState:
        """Return what a message of a runtime says.  Raises RuntimeConfigError."""
        fields = Fields.parse(text, _WHAT, RuntimeConfigError)
        names = fields.strings("fds") or ()
        if LISTENER not in names:
            raise RuntimeConfigError(f"{_WHAT}: fds: no {LISTENER}")
        state = fields.nested("state", required=True)
        container = state.required_string("id")
        if len(container) > _ID_LIMIT:
            raise RuntimeConfigError(f"{_WHAT}: state: id: longer than {_ID_LIMIT} characters")
        first = state.size("pid")
        if first > _PID_LIMIT:
            raise RuntimeConfigError(f"{_WHAT}: state: pid: {first} is not a process ID")
        metadata = Metadata.parse(fields.string("metadata"))
        return cls(container, first, names.index(LISTENER), metadata)
