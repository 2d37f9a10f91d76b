"""The container's /etc/passwd and /etc/group: its user and group, and the entries all systems have.

``ch-run`` makes them on the host, before it enters the namespaces, because the host's name service
may ask a daemon.  The compiled ``ch-run`` cannot ask the name service, so this module leaves both
texts for it in the storage directory.

The module calls the C library directly.  In many builds of Python the module ``grp`` is a
separate file.  ``grp`` and ``pwd`` decode names, but callers here need bytes.
"""

from __future__ import annotations

import os

from sundog.base.cpython import dlsym, sizeof
from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import LIBC_HANDLE, CharPointer, Long, SyscallFunction
from sundog.runtime.container.operations import DESIRED, FileMount
from sundog.runtime.container.paths import lexists
from sundog.runtime.container.root_files import read_inside
from sundog.runtime.launcher.part import Part
from sundog.runtime.launcher.statuses import APPTAINER_STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.request import Request
    from sundog.runtime.launcher.storage import Storage

_ACCOUNTS_LIMIT = 1 << 20  # bytes of an image's file
NOBODY = 65534  # the kernel shows unmapped IDs as this: user_namespaces(7)

# This directory of the storage has a file UID.GID for each user and group: /etc/passwd, NUL,
# /etc/group, NUL.
ACCOUNTS_DIRECTORY = b"accounts"
ACCOUNTS_FRESH = 86400  # seconds; the compiled ch-run ignores older files
STORAGE_MARK = b"version"  # every storage directory has this file
ACCOUNTS_RENEWED = ACCOUNTS_FRESH // 2  # ch-run writes older files again

# Lines of passwd(5) and group(5) that every container has, and the end of the user's line.
PASSWD_ROOT = b"root:x:0:0:root:/root:/bin/sh\n"
PASSWD_NOBODY = b"nobody:x:65534:65534:nobody:/:/bin/false\n"
PASSWD_SHELL = b":/bin/sh\n"
PASSWD_END = b":/" + PASSWD_SHELL
GROUP_ROOT = b"root:x:0:\n"
GROUP_NOBODY = b"nogroup:x:65534:\n"

# struct passwd begins: char *pw_name, *pw_passwd; uid_t pw_uid; gid_t pw_gid; char *pw_gecos.
# struct group begins: char *gr_name.
_GECOS_OFFSET = 2 * sizeof(CharPointer) + 8


class Accounts:
    """The texts of /etc/passwd and /etc/group.

    ``is_lasting`` says that later starts may have the same texts.
    """

    __slots__ = ("group", "is_lasting", "passwd")

    def __init__(self, passwd: bytes, group: bytes, *, is_lasting: bool) -> None:
        self.passwd = passwd
        self.group = group
        self.is_lasting = is_lasting


class _AddedAccount(FileMount):
    """The image's passwd(5) or group(5), with the last line of the text ``usual``.

    An image without the file, or with one that is too large, gets that text.
    """

    __slots__ = ()

    def __init__(self, usual: bytes, destination: bytes) -> None:
        super().__init__(usual, destination, DESIRED)

    def what(self) -> str:
        """See ``DetachedMount``."""
        return "bind a copy with an entry for you"

    def generate(self, scratch: int) -> None:
        """See ``DetachedMount``: the image is not known yet."""

    def covers_directory(self) -> bool:
        """See ``DetachedMount``."""
        return False

    def inspect(self, root: int, scratch: int) -> None:
        """Add the line to the image's file, and make the result."""
        data = read_inside(root, self.destination, _ACCOUNTS_LIMIT)
        if data is not None:
            self.contents = with_account(data, self.contents.splitlines(keepends=True)[-1])
        super().generate(scratch)


def with_account(data: bytes, line: bytes) -> bytes:
    """Return passwd(5) or group(5) in which ``line`` is the only entry with its ID."""
    identity = line.split(b":")[2]
    others = [each for each in data.split(b"\n") if each and each.split(b":")[2:3] != [identity]]
    return b"".join([each + b"\n" for each in others]) + line


def accounts_of(request: Request, storage: Storage) -> Part:
    """Return the part that shows the accounts; --no-passwd and --notify show the image's own.

    They are left in ``storage`` if it is private.
    """
    line = request.line
    if not line.mounts.passwd or line.emulation.notify:
        return Part()
    found = find_accounts(request.uid, request.gid, request.messages)
    if storage.is_private and found.is_lasting and not line.dry:
        remember_accounts(storage.directory, request.uid, request.gid, found)
    if request.statuses is APPTAINER_STATUSES:
        passwd, home = found.passwd, request.environment.get(b"HOME") or b"/"
        if b":" not in home and b"\n" not in home:
            passwd = passwd.removesuffix(PASSWD_END) + b":" + home + PASSWD_SHELL
        return Part(
            [
                _AddedAccount(passwd, b"/etc/passwd"),
                _AddedAccount(found.group, b"/etc/group"),
            ]
        )
    return Part(
        [
            FileMount(found.passwd, b"/etc/passwd", request.need),
            FileMount(found.group, b"/etc/group", request.need),
        ]
    )


def find_accounts(uid: int, gid: int, messages: Messages) -> Accounts:
    """Return the accounts of a container whose user is ``uid`` and whose group is ``gid``."""
    user = _user_names(uid)
    if user is None:
        messages.verbose(f"UID {uid} not found; using dummy info")
    group = _group_name(gid)
    if group is None:
        messages.verbose(f"GID {gid} not found; using dummy info")
    # A name service that is down for a moment knows nobody, and the user's own name matters.
    is_lasting = user is not None or uid != os.geteuid()
    passwd = _passwd_text(uid, gid, *(user or (b"charlie", b"Charlie")))
    return Accounts(passwd, _group_text(gid, group or b"charliegroup"), is_lasting=is_lasting)


def remember_accounts(storage: int, uid: int, gid: int, accounts: Accounts) -> None:
    """Write ``accounts`` to the open ``storage`` directory for the compiled ``ch-run``.

    The directory must be private to this user.  The file appears as a whole or not at all.  If it
    cannot be written, nothing is lost: later starts ask the name service again.
    """
    name = ACCOUNTS_DIRECTORY + b"/%d.%d" % (uid, gid)
    text = accounts.passwd + b"\0" + accounts.group + b"\0"
    draft = name + b".%d" % os.getpid()
    try:
        if _is_remembered(storage, name, text) or not lexists(STORAGE_MARK, storage):
            return
        if not lexists(ACCOUNTS_DIRECTORY, storage):
            os.mkdir(ACCOUNTS_DIRECTORY, 0o700, dir_fd=storage)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(draft, flags, 0o600, dir_fd=storage)
    except OSError:
        return  # the storage is read-only or full, or another start is faster
    try:
        with Closing(fd):
            is_whole = os.write(fd, text) == len(text)
        if is_whole:
            os.rename(draft, name, src_dir_fd=storage, dst_dir_fd=storage)
            return
    except OSError:
        pass  # the storage is full
    try:  # noqa: SIM105 - contextlib takes as long as the rest of the start
        os.unlink(draft, dir_fd=storage)
    except OSError:
        pass  # the storage has become read-only


def _is_remembered(storage: int, name: bytes, text: bytes) -> bool:
    """Tell whether the file ``name`` below ``storage`` has the content ``text`` and is fresh."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=storage)
    except FileNotFoundError:
        return False
    found, status = os.read(fd, len(text) + 1), os.fstat(fd)
    os.close(fd)
    from time import time

    return found == text and 0 <= time() - status.st_mtime < ACCOUNTS_RENEWED


def _passwd_text(uid: int, gid: int, name: bytes, comment: bytes) -> bytes:
    """Return the /etc/passwd of a container whose user is ``uid`` and whose group is ``gid``."""
    lines = [b"%s:x:%d:%d:%s" % (name, uid, gid, comment) + PASSWD_END]
    if uid != NOBODY:
        lines.insert(0, PASSWD_NOBODY)
    if uid != 0:
        lines.insert(0, PASSWD_ROOT)
    return b"".join(lines)


def _group_text(gid: int, name: bytes) -> bytes:
    """Return the /etc/group of a container whose group is ``gid``."""
    lines = [b"%s:x:%d:\n" % (name, gid)]
    if gid != NOBODY:
        lines.insert(0, GROUP_NOBODY)
    if gid != 0:
        lines.insert(0, GROUP_ROOT)
    return b"".join(lines)


def _user_names(uid: int) -> tuple[bytes, bytes] | None:
    """Return the host's login name and comment of ``uid``, or None if the host has no entry."""
    entry = name_service("getpwuid", uid)
    if not entry:
        return None
    return _string_at(entry), _string_at(entry + _GECOS_OFFSET)


def _group_name(gid: int) -> bytes | None:
    """Return the host's name of ``gid``, or None if the host has no entry."""
    entry = name_service("getgrgid", gid)
    return _string_at(entry) if entry else None


def name_service(function: str, number: int) -> int:
    """Return the address of the C library's record of an ID, or 0 if there is no record."""
    # This type of function returns a long, which is as wide as a pointer.
    address: int = SyscallFunction(dlsym(LIBC_HANDLE, function))(Long(number))
    return address


def _string_at(address: int) -> bytes:
    """Return the string to which the pointer at ``address`` points."""
    return CharPointer.from_address(address).value or b""
