"""Look-up of ``USER name`` in an image's /etc/passwd and /etc/group: passwd(5), group(5).

Specification: the Dockerfile reference, USER, and what Docker makes of it.  A word selects the
entry with that name or that number.  A number without an entry stands for itself, with root's
group.  The supplementary groups are those that list the user; an explicit group has none beside it.
"""

from __future__ import annotations

from sundog.errors import SundogError

ID_LIMIT = (1 << 32) - 2  # the last one means "no change": chown(2)
_HOME_OF_NOBODY = b"/"


class Identity:
    """A user in an image; ``groups`` are the supplementary groups, and include the primary one."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...], home: bytes) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home

    def __repr__(self) -> str:
        return f"Identity({self.uid}, {self.gid}, {self.groups}, {self.home!r})"


def find_identity(words: bytes, passwd: bytes, group: bytes) -> Identity:
    """Return the user that ``words``, USER[:GROUP], name in an image with these two files.

    Raises SundogError for a name without an entry.
    """
    user, colon, named_group = words.partition(b":")
    name, uid, gid, home = find_user(user or b"0", passwd)
    if colon and named_group:
        gid = find_group(named_group, group)
        return Identity(uid, gid, (gid,), home)
    groups = {gid}
    if name:
        for _, number, members in _group_entries(group):
            if name in members:
                groups.add(number)
    return Identity(uid, gid, tuple(sorted(groups)), home)


def find_user(word: bytes, passwd: bytes) -> tuple[bytes, int, int, bytes]:
    """Return (name, uid, gid, home) of the user ``word``."""
    number = parsed_id(word)
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) < 6:
            continue
        name, _, uid, gid, _, home = fields[:6]
        ids = parsed_id(uid), parsed_id(gid)
        if -1 not in ids and (name == word or number == ids[0]):
            return name, *ids, home or _HOME_OF_NOBODY
    if number < 0:
        raise _unknown("user", word, "/etc/passwd")
    return b"", number, 0, _HOME_OF_NOBODY


def find_group(word: bytes, group: bytes) -> int:
    """Return the number of the group ``word``."""
    number = parsed_id(word)
    for name, gid, _ in _group_entries(group):
        if name == word or gid == number:
            return gid
    if number < 0:
        raise _unknown("group", word, "/etc/group")
    return number


def _group_entries(group: bytes) -> list[tuple[bytes, int, list[bytes]]]:
    """Return (name, gid, members) of each valid entry."""
    entries = []
    for line in group.split(b"\n"):
        fields = line.split(b":")
        gid = parsed_id(fields[2]) if len(fields) >= 3 else -1
        if gid >= 0:
            entries.append((fields[0], gid, fields[3].split(b",") if len(fields) > 3 else []))
    return entries


def parsed_id(word: bytes) -> int:
    """Return the ID that ``word`` gives in digits, or -1 if ``word`` is something else."""
    if not word.isdigit() or len(word) > 10 or int(word) > ID_LIMIT:
        return -1
    return int(word)


def _unknown(kind: str, word: bytes, file: str) -> SundogError:
    """Return the error about a name that an image does not know."""
    shown = word.decode("utf-8", "backslashreplace")
    return SundogError(
        f"no such {kind} in the image: {shown}",
        f"the image's {file} has no entry for it; add one, or give a number",
    )
