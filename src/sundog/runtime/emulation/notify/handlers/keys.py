"""keyctl(2): the owners of keys that a process has given away.

The kernel does not know the owner, so the supervisor remembers it and shows it.  The rules follow
security/keys/keyctl.c.  The kernel decides who possesses a key and what the key's permissions
allow.  No call tells the supervisor which key another process has made.  So a key that nobody has
given away shows root as its owner, and its owner may be any process that can name it.
"""

from __future__ import annotations

import errno

from sundog.base.kernel.libc import address, syscall
from sundog.runtime.emulation.notify.identity.capabilities import CAP_SYS_ADMIN
from sundog.runtime.emulation.notify.identity.credentials import UNCHANGED
from sundog.runtime.emulation.notify.seccomp.program import (
    KEYCTL_CHOWN,
    KEYCTL_DESCRIBE,
    KEYCTL_SETPERM,
)
from sundog.runtime.emulation.notify.tracee.call import CONTINUE, U32, Answer, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.emulation.notify.state.state import State
    from sundog.runtime.emulation.notify.tracee.call import Arguments, Handler

_KEY_USR_VIEW = 0x00010000  # linux/key.h
_DESCRIPTION_SIZE = 1 << 13  # a description has at most 4095 bytes
_FIRST_CLEARING = 1024  # a user may have 200 keys: kernel.keys.maxkeys


class KeyHandlers:
    """Change and show the owners of keys."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._owners: dict[int, tuple[int, int]] = {}
        self._clear_at = _FIRST_CLEARING
        self._buffer = bytearray(_DESCRIPTION_SIZE)
        self._address = address(self._buffer)

    def calls(self) -> dict[str, Handler]:
        """Return the handlers by name of call."""
        return {"keyctl": self.keyctl}

    def keyctl(self, thread: int, args: Arguments) -> Answer:
        """long keyctl(int operation, key_serial_t key, ...)."""
        operation, key = args[0] & U32, signed(args[1])
        if key <= 0:
            return CONTINUE  # a keyring of the caller's, whose number only the caller can find out
        if operation == KEYCTL_CHOWN:
            return self._chown(thread, key, args[2] & U32, args[3] & U32)
        if key not in self._owners:
            return CONTINUE
        if operation == KEYCTL_DESCRIBE:
            return self._describe(thread, key, args[2], args[3])
        if operation == KEYCTL_SETPERM:
            who = self._state.tags.credentials(thread)
            is_allowed = who.fsuid == self._owners[key][0] or who.can(CAP_SYS_ADMIN)
            return CONTINUE if is_allowed else -errno.EACCES
        return CONTINUE

    def _chown(self, thread: int, key: int, uid: int, gid: int) -> Answer:
        """KEYCTL_CHOWN, uid_t uid, gid_t gid."""
        if uid == gid == UNCHANGED:
            return CONTINUE
        found = self._description(key)
        if isinstance(found, int):
            return found
        who = self._state.tags.credentials(thread)
        is_admin = who.can(CAP_SYS_ADMIN)
        unknown = (0, 0) if is_admin else (who.fsuid, who.fsgid)
        owner, group = self._owners.get(key, unknown)
        new_owner, new_group = (
            owner if uid == UNCHANGED else uid,
            group if gid == UNCHANGED else gid,
        )
        is_own_group = new_group == group or who.is_member(new_group)
        if not is_admin and not (new_owner == owner and is_own_group):
            return -errno.EACCES
        self._owners[key] = new_owner, new_group
        if len(self._owners) > self._clear_at:
            self._clear()
        return 0

    def _describe(self, thread: int, key: int, pointer: int, size: int) -> Answer:
        """KEYCTL_DESCRIBE, char *buffer, size_t size."""
        found = self._description(key)
        if isinstance(found, int):
            return CONTINUE
        kind, _, _, *rest = found.split(b";", 3)
        text = b"%b;%d;%d;%b\0" % (kind, *self._owners[key], b";".join(rest))
        if pointer and size >= len(text) and self._state.memory.write(thread, pointer, text):
            return -errno.EFAULT
        return len(text)

    def _description(self, key: int) -> bytes | int:
        """Return what the kernel says of ``key``, or a negated errno.

        The supervisor may possess keys that the caller does not.  So the user must be allowed to
        view the key, too.
        """
        number = self._state.abi.numbers["keyctl"]
        length = syscall(number, KEYCTL_DESCRIBE, key, self._address, _DESCRIPTION_SIZE)
        if length <= 0:
            return length
        text = bytes(self._buffer[: length - 1])
        permissions = int(text.split(b";", 4)[3], 16)
        return text if permissions & _KEY_USR_VIEW else -errno.EACCES

    def _clear(self) -> None:
        """Forget keys that are gone."""
        for key in list(self._owners):
            if self._description(key) == -errno.ENOKEY:
                del self._owners[key]
        self._clear_at = max(_FIRST_CLEARING, 2 * len(self._owners))
