"""Causes for which the kernel or the site refuses a call, and remedies: the hint of a KernelError.

A table leads from a call and an errno to causes.  A cause looks at the state of the system, and
returns "" if it does not apply.  It reads that state from proc(5), for which a test can give a
directory of fixtures, and only when an error is about to be printed.
"""

from __future__ import annotations

import errno
import os

from sundog.base.kernel.libc import kernel_error, printable
from sundog.base.kernel.namespaces import NAMESPACE_NAMES
from sundog.errors import ADMINISTRATOR, Hint, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # The calls that it explains (none: all), the errnos, and the function that returns the hint.
    _Cause = tuple[tuple[str, ...], tuple[int, ...], Callable[[KernelError, bytes], str]]
    # ID, mount point, type of file system, options of the file system.
    _Mount = tuple[str, bytes, str, str]

LINUX_NEEDED = (5, 12)
_MOUNTINFO_ESCAPES = (
    (b"\\011", b"\t"),
    (b"\\012", b"\n"),
    (b"\\040", b" "),
    (b"\\043", b"#"),
    (b"\\134", b"\\"),  # last: a backslash can begin what looks like another escape
)
# The process's wish, for an OSError that has nothing but its errno.
WANTED = {
    errno.EAGAIN: "can't start another process: ",
    errno.EFBIG: "can't write a file: ",
    errno.EMFILE: "can't open another file or pipe: ",
    errno.ENFILE: "can't open another file or pipe: ",
    errno.ENOMEM: "can't get more memory: ",
}
# What happened on the file system.
FILE_SYSTEM_FAULTS = {
    errno.ENOSPC: "no space left on",
    errno.EDQUOT: "disk quota exceeded on",
    errno.EROFS: "nothing can be written: read-only is",
    errno.EIO: "input/output error on",
}
# Makes AppArmor allow user namespaces to Sundog's commands.
LOADS_PROFILE = (
    "ch-checkns --apparmor-profile >/etc/apparmor.d/sundog && "
    "apparmor_parser -r /etc/apparmor.d/sundog"
)
_ELSEWHERE = "use a directory on another file system (storage: --storage or $CH_IMAGE_STORAGE)"


def explain(call: str, number: int, subject: bytes = b"", proc: bytes = b"/proc") -> str:
    """Return the hint on ``call``, which the kernel refused with the errno ``number``.

    The hint has the cause, if one is found, and what to do; else it is "".  ``subject`` is a path
    or another name.  ``proc`` is where proc(5) is mounted.  A cause does not apply if its state
    cannot be read.
    """
    error = kernel_error(call, subject, number)
    for calls, errnos, cause in _CAUSES:
        if error.errno in errnos and (not calls or error.call in calls):
            hint = cause(error, proc)
            if hint:
                return hint
    return ""


def _old_kernel(error: KernelError, proc: bytes) -> str:
    """Tell a kernel that is too old from one that hides the call."""
    release = read_state(proc, b"sys/kernel/osrelease")
    version = tuple(int(part) for part in release.split("-")[0].split(".") if part.isdigit())
    if version and version < LINUX_NEEDED:
        return f"Linux {LINUX_NEEDED[0]}.{LINUX_NEEDED[1]} or newer is needed; this is {release}"
    return f"a seccomp profile hides {error.call}, or the kernel was built without it"


def _namespace_limit(error: KernelError, proc: bytes) -> str:
    """Find the limit of namespaces(7) that is zero; without one, say that a limit is reached."""
    kinds = error.subject.split(" ")[0].split("+")
    for _, kind in NAMESPACE_NAMES:
        name = "max_mnt_namespaces" if kind == "mount" else f"max_{kind}_namespaces"
        if kind in kinds and read_state(proc, f"sys/user/{name}".encode()) == "0":
            cause = f"{kind} namespaces are switched off here: user.{name} is 0"
            return Hint(cause, ADMINISTRATOR, f"sysctl -w user.{name}=10000")
    return (
        "a limit of namespaces is reached, here or around this container (sysctl user.max_*); "
        "end the processes that hold them, or nest less deeply"
    )


def _reserved_to_root(_: KernelError, proc: bytes) -> str:
    """Find Debian's switch that reserves user namespaces to root."""
    name = "unprivileged_userns_clone"
    if read_state(proc, f"sys/kernel/{name}".encode()) != "0":
        return ""
    cause = f"user namespaces are reserved to root here: kernel.{name} is 0"
    return Hint(cause, ADMINISTRATOR, f"sysctl -w kernel.{name}=1")


def _inside_chroot(_: KernelError, proc: bytes) -> str:
    """Find out whether this process is in a chroot, where user_namespaces(7) are forbidden.

    After chroot(2) into a plain directory no mount is at "/".  After chroot(2) into a mount, that
    mount is at "/" for this process, and elsewhere for a process that stayed outside.
    """
    mounts = _read_mounts(proc, b"self")
    roots = [mount_id for mount_id, point, *_ in mounts if point == b"/"]
    if not mounts or (roots and not _is_elsewhere(roots[-1], proc)):
        return ""
    return (
        "this is inside a chroot, where Linux allows no user namespaces; start outside of it, or "
        "enter its tree with pivot_root(2) instead, as bwrap does"
    )


def _is_elsewhere(root: str, proc: bytes) -> bool:
    """Tell whether some process finds the mount with the ID ``root`` elsewhere than at "/"."""
    return any(
        mount_id == root and point != b"/"
        for process in os.listdir(proc)
        if process.isdigit()
        for mount_id, point, *_ in _read_mounts(proc, process)
    )


def _seccomp_profile(error: KernelError, proc: bytes) -> str:
    """Find a seccomp filter on this process: mode 2 in proc_pid_status(5)."""
    if "Seccomp:\t2" not in read_state(proc, b"self/status").split("\n"):
        return ""
    return (
        f"a seccomp profile is in force here and seems to forbid {error.call}; if this runs in a "
        "container: start that container with --security-opt seccomp=unconfined"
    )


def _apparmor_switch(_: KernelError, proc: bytes) -> str:
    """Find Ubuntu's switch that leaves new user namespaces without capabilities."""
    name = "apparmor_restrict_unprivileged_userns"
    if read_state(proc, f"sys/kernel/{name}".encode()) != "1":
        return ""
    cause = "AppArmor restricts user namespaces here, and has no profile that allows them to Sundog"
    return Hint(f"{cause}: kernel.{name} is 1", ADMINISTRATOR, LOADS_PROFILE)


def _apparmor_profile(error: KernelError, proc: bytes) -> str:
    """Find an AppArmor profile on this process."""
    profile, _, mode = read_state(proc, b"self/attr/current").rpartition(" ")
    if mode != "(enforce)":
        return ""
    return (
        f"the AppArmor profile {profile} is in force here and seems to forbid {error.call}; if "
        "this runs in a container: start that container with --security-opt apparmor=unconfined"
    )


def _threads_or_configuration(_: KernelError, proc: bytes) -> str:
    """Say why unshare(2) does not take these flags."""
    if "Threads:\t1" not in read_state(proc, b"self/status").split("\n"):
        return "a process with threads cannot enter a user namespace; please report this bug"
    return "the kernel was built without one of these kinds of namespaces"


def _forbidden(_: KernelError, _proc: bytes) -> str:
    """Name the causes that remain if no other was found."""
    return Hint(
        "a security module, a container around this one or a chroot forbids it; "
        "ask the administrator whether users may have user namespaces",
        ADMINISTRATOR,
    )


def _no_proc(error: KernelError, _: bytes) -> str:
    """Say that the file is missing because proc(5) is."""
    return "/proc is not mounted here" if error.subject.startswith("/proc/") else ""


def _unknown_file_system(_: KernelError, _proc: bytes) -> str:
    """Say that the kernel does not know the type of file system."""
    return Hint(
        "the kernel lacks this file system; ask the administrator to load its module", ADMINISTRATOR
    )


def _mount_limit(_: KernelError, proc: bytes) -> str:
    """Say that ENOSPC of a mount is not about disk space."""
    limit = read_state(proc, b"sys/fs/mount-max") or "unknown"
    return f"this is not about disk space: the limit of mounts is reached (fs.mount-max is {limit})"


def _root_is_initramfs(_: KernelError, proc: bytes) -> str:
    """Find the one root that pivot_root(2) cannot leave."""
    roots = [fstype for _, point, fstype, _ in _read_mounts(proc, b"self") if point == b"/"]
    if roots != ["rootfs"]:
        return ""
    return Hint(
        "this node runs from its initial ramfs, which pivot_root(2) cannot leave; "
        "ask the administrator to let its boot do switch_root to a tmpfs",
        ADMINISTRATOR,
    )


def _no_seccomp_filters(_: KernelError, _proc: bytes) -> str:
    """Say why the kernel takes no filter."""
    return (
        "the kernel was built without CONFIG_SECCOMP_FILTER; do without: "
        "ch-run without --seccomp, ch-image build --force=none"
    )


def _mounted_noexec(error: KernelError, proc: bytes) -> str:
    """Find a mount from which no program runs."""
    try:
        if not os.statvfs(_existing_part(error)).f_flag & os.ST_NOEXEC:
            return ""
    except OSError:
        return ""
    name = file_system_of(_existing_part(error), proc)
    return f"{name} is mounted noexec: no program runs from there; {_ELSEWHERE}"


def _closed_directory(error: KernelError, _: bytes) -> str:
    """Find the first directory on the way that this process may not search."""
    steps = os.path.abspath(os.fsencode(error.subject)).split(b"/")
    for end in range(1, len(steps)):
        directory = b"/".join(steps[:end]) or b"/"
        if not os.access(directory, os.X_OK, effective_ids=True):
            return _closed(directory)
    return _closed(os.fsencode(error.subject))


def _closed(path: bytes) -> str:
    """Name owner and mode of a file or directory that this process can't use."""
    try:
        state = os.stat(path)
    except OSError:
        return ""
    owner = "yours" if state.st_uid == os.geteuid() else "another user's"
    return f"{printable(path)} is {owner} and has mode {state.st_mode & 0o7777:04o}"


def _missing_part(error: KernelError, _: bytes) -> str:
    """Find the first missing part of the path, from the root directory on."""
    steps = os.path.abspath(os.fsencode(error.subject)).split(b"/")
    for end in range(2, len(steps) + 1):
        path = b"/".join(steps[:end])
        if not os.path.lexists(path):
            return f"there is no {printable(path)}"
    return ""


def _mounted_read_only(error: KernelError, proc: bytes) -> str:
    """Name the file system that is read-only."""
    return f"{file_system_of(_existing_part(error), proc)} is mounted read-only; {_ELSEWHERE}"


def _full(error: KernelError, proc: bytes) -> str:
    """Name the file system that is full, and tell space from inodes."""
    try:
        state = os.statvfs(_existing_part(error))
    except OSError:
        return ""
    lack = "inode" if state.f_bavail and state.f_files and not state.f_favail else "space"
    size = state.f_blocks * state.f_frsize >> 20
    return (
        f"no {lack} is left on {file_system_of(_existing_part(error), proc)}, {size} MiB in all; "
        f"make room there, or {_ELSEWHERE}"
    )


def _over_quota(error: KernelError, proc: bytes) -> str:
    """Name the file system where the user's quota is used up."""
    name = file_system_of(_existing_part(error), proc)
    return f"your quota on {name} is used up (quota -s shows it); {_ELSEWHERE}"


def _process_limit(_: KernelError, _proc: bytes) -> str:
    """Tell how many processes the user may have: RLIMIT_NPROC in getrlimit(2)."""
    limit = os.sysconf("SC_CHILD_MAX")
    return (
        f"you may have {limit if limit >= 0 else 'any number of'} processes and threads here, all "
        "commands together (ulimit -u); a batch job or a container may allow less (pids.max, "
        "cgroups(7)): end some, or get more"
    )


def _file_size_limit(_: KernelError, _proc: bytes) -> str:
    """Name the limit of a file's size: RLIMIT_FSIZE in getrlimit(2), or that of a file system."""
    return "files may not grow so large here (ulimit -f); raise that: ulimit -f unlimited"


def _open_file_limit(_: KernelError, _proc: bytes) -> str:
    """Tell how many files a process may have open: RLIMIT_NOFILE in getrlimit(2).

    Asks the C library, since no process at the limit can open a file of proc(5).
    """
    limit = os.sysconf("SC_OPEN_MAX")
    return f"a process may have {limit} files open here (ulimit -n); raise that: ulimit -n NUMBER"


def _open_file_table(_: KernelError, proc: bytes) -> str:
    """Tell how many files the machine may have open."""
    limit = read_state(proc, b"sys/fs/file-max") or "unknown"
    return Hint(
        "all processes of this machine together have too many files open "
        f"(fs.file-max is {limit}); try later, or ask the administrator",
        ADMINISTRATOR,
    )


def _across_file_systems(_: KernelError, _proc: bytes) -> str:
    """Say what rename(2) and link(2) mean by EXDEV."""
    return "the two are on different file systems, or in different subvolumes or projects of one"


_MOUNT_CALLS = ("mount", "open_tree", "move_mount")
_NAMESPACE_CALLS = ("unshare", "write", *_MOUNT_CALLS, "pivot_root")  # write: of the ID maps
_OPEN_CALLS = ("open", "stat")
REFUSED = (errno.EPERM, errno.EACCES)

# The first that applies is the hint.
_CAUSES: tuple[_Cause, ...] = (
    ((), (errno.ENOSYS,), _old_kernel),
    (("unshare",), (errno.ENOSPC, errno.EUSERS), _namespace_limit),
    (("unshare",), (errno.EPERM,), _reserved_to_root),
    (("unshare",), (errno.EPERM,), _inside_chroot),
    (("unshare",), (errno.EINVAL,), _threads_or_configuration),
    (_NAMESPACE_CALLS, REFUSED, _seccomp_profile),
    (_NAMESPACE_CALLS, REFUSED, _apparmor_switch),
    (_NAMESPACE_CALLS, REFUSED, _apparmor_profile),
    (("unshare",), REFUSED, _forbidden),
    (("prctl",), (errno.EINVAL,), _no_seccomp_filters),
    ((), (errno.ENOENT,), _no_proc),
    (("mount",), (errno.ENODEV,), _unknown_file_system),
    (_MOUNT_CALLS, (errno.ENOSPC,), _mount_limit),
    (("pivot_root",), (errno.EINVAL,), _root_is_initramfs),
    (("execve",), (errno.EACCES,), _mounted_noexec),
    (_OPEN_CALLS, (errno.EACCES,), _closed_directory),
    (_OPEN_CALLS, (errno.ENOENT,), _missing_part),
    ((), (errno.EROFS,), _mounted_read_only),
    ((), (errno.ENOSPC,), _full),
    ((), (errno.EDQUOT,), _over_quota),
    (("fork",), (errno.EAGAIN,), _process_limit),
    ((), (errno.EFBIG,), _file_size_limit),
    ((), (errno.EMFILE,), _open_file_limit),
    ((), (errno.ENFILE,), _open_file_table),
    ((), (errno.EXDEV,), _across_file_systems),
)


def read_state(proc: bytes, name: bytes) -> str:
    """Return the text of a file of proc(5), each byte a character, or "" if it cannot be read.

    Works in a container, too, where Python can import no codec.
    """
    try:
        with open(os.path.join(proc, name), "rb") as file:
            return file.read().rstrip(b"\n").decode("latin-1")
    except OSError:
        return ""


def _read_mounts(proc: bytes, process: bytes) -> list[_Mount]:
    """Return the mounts that ``process`` can reach, as proc_pid_mountinfo(5) lists them."""
    mounts = []
    # Not splitlines(): a name may contain the other characters at which it splits.
    for line in filter(None, read_state(proc, process + b"/mountinfo").split("\n")):
        fields = line.split(" ")
        point = fields[4].encode("latin-1")
        for escape, character in _MOUNTINFO_ESCAPES:
            point = point.replace(escape, character)
        fstype, _, options = fields[fields.index("-") + 1 :][:3]
        mounts.append((fields[0], point, fstype, options))
    return mounts


def reason(number: int, path: bytes) -> str:
    """Say in lower case why ``path`` cannot be used; name its file system, if that is the cause.

    ``number`` is the errno.
    """
    if number not in FILE_SYSTEM_FAULTS:
        return os.strerror(number).lower()
    return f"{FILE_SYSTEM_FAULTS[number]} {file_system_of(path)}"


def _existing_part(error: KernelError) -> bytes:
    """Return the path that ``error`` is about, or the nearest directory above it that exists."""
    path = os.fsencode(error.subject)
    while path and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path or b"."


def mount_at(path: bytes, proc: bytes = b"/proc") -> _Mount | None:
    """Return the mount that shows at ``path``, the topmost one; None if /proc does not tell."""
    path = os.path.realpath(path)
    found: _Mount | None = None
    for mount in _read_mounts(proc, b"self"):
        point = mount[1]
        covers = path == point or path.startswith(point.rstrip(b"/") + b"/")
        if covers and (found is None or len(point) >= len(found[1])):
            found = mount
    return found


def file_system_of(path: bytes, proc: bytes = b"/proc") -> str:
    """Name the file system that shows at ``path``, as in "tmpfs at /tmp": the topmost mount."""
    mount = mount_at(path, proc)
    if mount is None:
        return f"the file system of {printable(os.path.realpath(path))}"
    return f"{mount[2]} at {printable(mount[1])}"
