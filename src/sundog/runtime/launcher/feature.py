"""``ch-run --feature``: try whether a feature works on this machine.

The process exits after a trial.  Few starts need this module: it is a joined module of its own.
"""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import EXIT_ERROR, EXIT_RUN, SundogError
from sundog.runtime.container.features import try_overlay, try_seccomp, try_squash, try_tmpfs_xattrs
from sundog.runtime.launcher.environment import has_extglob


def feature_status(name: bytes) -> int:
    """Return the exit status of --feature ``name``: 0 if it works here.

    Raises SundogError for an unknown name.
    """
    if name not in _FEATURES:
        known = b", ".join(_FEATURES).decode()
        raise SundogError(f"unknown feature: {printable(name)}", f"the features are: {known}")
    attempt, absent = _FEATURES[name]
    try:
        attempt()
    except (SundogError, OSError):
        return absent
    return 0


def _try_extglob() -> None:
    """Find out whether the C library knows extended patterns."""
    if not has_extglob():
        raise SundogError("the C library knows no extended patterns")


# name → the trial, and the exit status if the feature is absent
_FEATURES = {
    b"extglob": (_try_extglob, EXIT_RUN),
    b"overlayfs": (try_overlay, EXIT_ERROR),
    b"seccomp": (try_seccomp, EXIT_RUN),
    b"squash": (try_squash, EXIT_RUN),
    b"tmpfs-xattrs": (try_tmpfs_xattrs, EXIT_ERROR),
}
