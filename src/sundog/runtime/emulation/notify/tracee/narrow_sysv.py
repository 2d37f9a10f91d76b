"""Structures of System V IPC for programs of i386, from those of x86-64.

Specification: ``struct ipc64_perm``, ``shmid64_ds``, ``semid64_ds`` and ``msqid64_ds`` in
``arch/x86/include/uapi/asm`` and ``include/uapi/asm-generic``; ``arch/x86/include/asm/compat.h``.
Both have the same fields.  Times are 64 bits in both, in two halves on i386.
"""

from __future__ import annotations

from sundog.base.cpython import Struct

# Key, owner, group, creator, creator's group, mode, sequence number.
_WIDE_PERMISSION = "=iIIIIIH22x"
_NARROW_PERMISSION = "=iIIIIH2xH10x"
_TIMES = 3 * "II"
_QUEUE_SIZE_FIELD = 15


class _SysvForm:
    """One structure in both forms; the same fields are packed in both."""

    __slots__ = ("narrow", "wide")

    def __init__(self, wide: str, narrow: str) -> None:
        self.wide = Struct(_WIDE_PERMISSION + wide)
        self.narrow = Struct(_NARROW_PERMISSION + narrow)

    def narrowed(self, structure: bytes) -> bytes:
        """Return i386's structure that says what x86-64's says."""
        return self.narrow.pack(*self.wide.unpack(structure))

    def wanted(self, structure: bytes) -> tuple[int, int, int, int]:
        """Return owner, group, mode, and the size of a queue or 0, in i386's structure."""
        fields = self.narrow.unpack(structure)
        is_queue = self is SYSV_FORMS["msg"]
        return fields[1], fields[2], fields[5], fields[_QUEUE_SIZE_FIELD] if is_queue else 0


SYSV_FORMS = {
    # Size; times; creator and last user; attachments.
    "shm": _SysvForm(f"I4x{_TIMES}iiI20x", f"I{_TIMES}iiI8x"),
    # The two times, number of semaphores.
    "sem": _SysvForm("II8xII8xI20x", "IIIII8x"),
    # Times; bytes, messages, largest number of bytes; last sender and receiver.
    "msg": _SysvForm(f"{_TIMES}I4xI4xI4xii16x", f"{_TIMES}IIIii8x"),
}
