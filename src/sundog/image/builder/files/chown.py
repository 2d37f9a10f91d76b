"""``--chown``: the owner of copied files.

Specification: the Dockerfile reference, “COPY --chown”: the image's /etc/passwd or /etc/group
resolves a name; a number is the ID itself.  Without a group, a number is also the group's ID, and a
name has the group of its entry.  Without a user, the user is root [BuildKit].
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from sundog.base.kernel.mounts import RESOLVE_IN_ROOT, openat2
from sundog.base.record.identity import find_group, find_user, parsed_id
from sundog.errors import BuildError, KernelError, SundogError
from sundog.image.builder.tree_step import encoded

PASSWD, GROUP = b"/etc/passwd", b"/etc/group"
_LIMIT = 16 << 20  # bytes read of each file
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class OwnerText:
    """The value of ``--chown``: USER[:GROUP], each a name or a number."""

    user: str
    group: str

    @classmethod
    def parse(cls, text: str) -> OwnerText:
        """Split ``text``; raise BuildError if it has neither user nor group."""
        user, _, group = text.partition(":")
        if not user and not group:
            raise BuildError(f"--chown: neither user nor group: {text}", "--chown=USER[:GROUP]")
        return cls(user or "0", group)

    @property
    def is_numeric(self) -> bool:
        """Tell whether both parts are numbers, so that nobody need read the image's files."""
        return all(parsed_id(encoded(word)) >= 0 for word in (self.user, self.group) if word)

    def resolve(self, root: int) -> tuple[int, int]:
        """Return uid and gid in the image open as ``root``; raise BuildError for unknown names."""
        uid = gid = parsed_id(encoded(self.user))
        try:
            if uid < 0:
                _, uid, gid, _ = find_user(encoded(self.user), account_file(root, PASSWD))
            if self.group:
                gid = parsed_id(encoded(self.group))
                if gid < 0:
                    gid = find_group(encoded(self.group), account_file(root, GROUP))
        except SundogError as error:
            raise BuildError(f"--chown: {error.message}", error.hint) from error
        return uid, gid


def account_file(root: int, path: bytes, limit: int = _LIMIT) -> bytes:
    """Read a file of the image, b"" if there is none; the path can't lead out of the image.

    Returns at most the first ``limit`` bytes.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = openat2(root, path, flags, RESOLVE_IN_ROOT)
    except KernelError as error:
        if error.errno in _MISSING:
            return b""
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return b""
    with open(fd, "rb") as file:
        return file.read(limit)
