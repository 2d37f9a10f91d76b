"""The last steps of a process of a container: limits, capabilities, filters, and execve(2).

Everything works after the change of root, so nothing is imported late.
"""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

from sundog.base.cpython import (
    SIG_DFL,
    SIG_SETMASK,
    SIGINT,
    SIGPIPE,
    pthread_sigmask,
    signal,
)
from sundog.base.kernel.files import close_all_but, fail_with_efbig
from sundog.base.kernel.libc import printable
from sundog.base.kernel.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, openat2
from sundog.base.kernel.process import prctl, set_no_new_privs
from sundog.base.record.identity import find_user
from sundog.errors import KernelError, SundogError
from sundog.front.oci_runtime.capabilities import CAPABILITIES
from sundog.runtime.container.execute import execute, find_program
from sundog.runtime.container.mountpoint import MountPoint, make_mount_point
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.container.variables import Environment
from sundog.runtime.emulation.filter import install_fake_root
from sundog.runtime.emulation.terminal import forbid_typing
from sundog.runtime.launcher.file_server import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.oci_runtime.log import Log
    from sundog.front.oci_runtime.specification import ProcessSettings

PR_CAPBSET_DROP = 24
_STREAMS = (0, 1, 2)
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126
_UNLIMITED = (1 << 64) - 1

FORCES = ("none", "seccomp")


def apply_limits(settings: ProcessSettings, log: Log) -> None:
    """Set the limits of this process, and its score for the OOM killer.

    An ordinary user can't raise a hard limit or lower the score: that is a warning.  Raises
    SundogError for a limit that does not exist.
    """
    known = {name for name in dir(resource) if name.startswith("RLIMIT_")}
    seen = set()
    for limit in settings.limits:
        if limit.kind not in known or limit.kind in seen:
            fault = "there twice" if limit.kind in seen else "unknown"
            raise SundogError(f"process.rlimits: {fault}: {limit.kind}")
        seen.add(limit.kind)
        number = getattr(resource, limit.kind)
        soft, hard = (resource.RLIM_INFINITY if value == _UNLIMITED else value
                      for value in (limit.soft, limit.hard))  # fmt: skip
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError, OverflowError):
            _, most = resource.getrlimit(number)
            log.warn_once(f"rlimit {limit.kind}", f"process.rlimits: {limit.kind} stays at its hard"
                        f" limit of {most}: only privileges raise it")  # fmt: skip
            if soft == resource.RLIM_INFINITY or soft > most >= 0:
                soft = most
            resource.setrlimit(number, (soft, most))
    if settings.oom_score is not None:
        set_oom_score(settings.oom_score, log)


def set_oom_score(score: int, log: Log) -> None:
    """Set oom_score_adj of this process."""
    try:
        fd = os.open(b"/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        now = int(os.read(fd, 16))
        if now != score:
            os.write(fd, b"%d" % score)
        os.close(fd)
    except (OSError, ValueError):
        log.warn_once("oomScoreAdj", "process.oomScoreAdj left out: only privileges lower it")


def check_program(settings: ProcessSettings) -> None:
    """Raise SundogError unless the command of ``settings`` can be executed here."""
    name = settings.args[0]
    try:
        find_program(name, Environment(list(settings.env)))
    except OSError as failure:
        raise no_program(name, failure.errno or 0) from None


def no_program(name: bytes, problem: int) -> SundogError:
    """Return the error for a command that can't be executed, in the words that callers look for."""
    if problem == errno.ENOENT and b"/" not in name:
        return SundogError(f'exec: "{printable(name)}": executable file not found in $PATH')
    return SundogError(f'exec: "{printable(name)}": {os.strerror(problem).lower()}')


def enter_directory(path: bytes) -> None:
    """Change to the command's working directory; make it if it is missing.  Raises SundogError."""
    try:
        directory = open_or_make(path)
        os.fchdir(directory)
        os.close(directory)
    except (KernelError, OSError) as error:
        raise SundogError(
            f"process.cwd: {printable(path)}: {os.strerror(error.errno or 0)}",
            "it must be a directory in the container",
        ) from None


def open_or_make(path: bytes) -> int:
    """Return the directory ``path``, with O_PATH; make it if it is missing."""
    try:
        return openat2(AT_FDCWD, path, OPEN_DIRECTORY, RESOLVE_NO_MAGICLINKS)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    with suppress(SundogError):  # the next call says why there is none
        make_mount_point(MountPoint(path, is_directory=True), inside=RESOLVE_NO_MAGICLINKS)
    return openat2(AT_FDCWD, path, OPEN_DIRECTORY, RESOLVE_NO_MAGICLINKS)


def with_home(settings: ProcessSettings) -> list[bytes]:
    """Return the environment, with the user's home in the container if it has no HOME."""
    strings = list(settings.env)
    if any(string.startswith(b"HOME=") for string in strings):
        return strings
    home = b"/root" if settings.uid == 0 else b"/"
    try:
        root = os.open(b"/", OPEN_DIRECTORY)
        passwd = read_text(root, b"etc/passwd") or b""
        os.close(root)
        home = find_user(b"%d" % settings.uid, passwd)[3] if passwd else home
    except (SundogError, OSError):
        pass  # the image's file is damaged, or does not know the user
    return [*strings, b"HOME=" + home]


def drop_capabilities(settings: ProcessSettings) -> None:
    """Take from this process, for good, the capabilities that its bounding set leaves out."""
    if settings.capabilities is None:
        return
    for number, name in enumerate(CAPABILITIES):
        if name not in settings.capabilities:
            try:
                prctl(PR_CAPBSET_DROP, b"PR_CAPBSET_DROP", number)
            except KernelError:
                return  # an older kernel does not know the rest


def become(
    settings: ProcessSettings,
    environment: Sequence[bytes],
    kept: Sequence[int],
    *,
    force: str,
    typing: bool,
) -> SundogError:
    """Become the command of ``settings``; return the error if that fails.

    The descriptors ``kept`` stay open; those of Sundog among them close on exec.  ``force`` is one
    of FORCES.  ``typing`` says that the kernel lets programs type into terminals.
    """
    if settings.umask is not None:
        os.umask(settings.umask)
    drop_capabilities(settings)
    set_no_new_privs()
    if force == "seccomp":
        install_fake_root()
    if typing:
        with suppress(KernelError):  # a kernel without filters
            forbid_typing()
    for number in (SIGINT, SIGPIPE):
        signal(number, SIG_DFL)
    fail_with_efbig()
    close_all_but((*_STREAMS, *kept))
    pthread_sigmask(SIG_SETMASK, ())
    name = settings.args[0]

    def report(failure: OSError) -> bytes:
        text = f"exec: {printable(name)}: {failure.strerror}\n"
        return bytes([EXIT_NOT_EXECUTABLE]) + text.encode()

    failure = execute(list(settings.args), Environment(list(environment)), report)
    return no_program(name, failure.errno or 0)
