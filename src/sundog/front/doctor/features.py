"""Checks of features beyond the minimum: overlays, FUSE, supervision, PID namespaces."""

from __future__ import annotations

import errno

from sundog.errors import ADMINISTRATOR, FuseRefused, Hint, KernelError, NotHere, SundogError
from sundog.front.doctor.outcome import Check
from sundog.runtime.container.binfmt import own_binfmt_misc, refusal
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.container.features import try_overlay, try_squash, try_tmpfs_xattrs
from sundog.runtime.emulation.notify.seccomp.trial import (
    NO_ATTACH,
    PTRACE_SCOPE,
    obstacle,
    read_line,
)
from sundog.runtime.steps.step import pid_namespace_obstacle

_LIMITS = ("user", "mnt", "pid")
_NO_FUSE = (
    "run directories, or images by name; in a container: start that container with --device "
    "/dev/fuse"
)
_LOADS_FUSE = Hint(_NO_FUSE, ADMINISTRATOR, "modprobe fuse")
_FUSE_REMEDIES = {
    errno.ENOENT: _LOADS_FUSE,
    errno.ENODEV: _LOADS_FUSE,
    errno.ENXIO: _LOADS_FUSE,
    errno.EACCES: Hint(_NO_FUSE, ADMINISTRATOR, "chmod 0666 /dev/fuse"),
}
_ALLOWS_ATTACH = "echo kernel.yama.ptrace_scope=1 >/etc/sysctl.d/90-sundog.conf && systemctl reboot"


def _overlay() -> str:
    try:
        try_overlay()
    except KernelError as error:
        if error.errno == errno.ENODEV:
            error.hint = Hint(
                "the kernel has no overlayfs: ch-run -W copies the image",
                ADMINISTRATOR,
                "modprobe overlay",
            )
        raise
    return "ch-run -W works"


def _overlay_attributes() -> str:
    try:
        try_tmpfs_xattrs()
    except OSError as error:
        raise NotHere(
            f"a tmpfs has no user.* attributes: {error.strerror}",
            "under ch-run -W programs can't replace directories; Linux 6.6 and newer have them",
        ) from error
    return ""


def _fuse() -> str:
    try:
        try_squash()
    except FuseRefused as error:
        error.message = error.message.partition(": ")[2]
        error.hint = _FUSE_REMEDIES.get(error.errno, _NO_FUSE)
        raise
    return "ch-run runs SquashFS and SIF files"


def _notify() -> str:
    reason = obstacle()
    if not reason:
        return ""
    hint = "--force=notify and ch-run --notify use --force=seccomp instead"
    if read_line(PTRACE_SCOPE) == NO_ATTACH:
        hint = Hint(hint, ADMINISTRATOR, _ALLOWS_ATTACH)  # only a start of the machine lowers it
    raise SundogError(f"root emulation that remembers is not possible: {reason}", hint)


def _pid_namespace() -> str:
    reason = pid_namespace_obstacle()
    if reason:
        raise SundogError(
            reason,
            "RUN works without one, but sees the processes of the host; in a container: start that "
            "container with --security-opt unmask=ALL",
        )
    return ""


def _binfmt() -> str:
    enter_namespaces(0, 0)
    try:
        own_binfmt_misc()
    except KernelError as error:
        known = refusal(error.errno)
        raise NotHere(known.message, known.hint) from None
    return "ch-run and RUN can run programs of other machines"


def _limits() -> str:
    values = []
    for kind in _LIMITS:
        with open(f"/proc/sys/user/max_{kind}_namespaces", encoding="ascii") as file:
            values.append(f"{kind} {file.read().strip()}")
    return f"namespaces that a user may have: {', '.join(values)}"


FEATURES = (
    Check("limits", _limits),
    Check("overlay in memory (-W)", _overlay),
    Check("attributes in memory (-W)", _overlay_attributes),
    Check("FUSE (SquashFS)", _fuse),
    Check("supervision (--force=notify)", _notify),
    Check("PID namespace with /proc", _pid_namespace),
    Check("binfmt_misc", _binfmt),
)
