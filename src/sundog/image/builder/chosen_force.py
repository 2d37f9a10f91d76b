"""The emulation of root that the user asked for, or what takes its place on this machine."""

from __future__ import annotations

from sundog.base.kernel.advice import referring
from sundog.errors import SundogError
from sundog.image.builder.force import Force, is_auto, preferred

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.builder.report import Report
    from sundog.image.builder.run.inject import Hook


def chosen_force(mode: str, hooks: Sequence[Hook] = (), *, fallback: bool, report: Report) -> Force:
    """Return the emulation for ``--force=MODE`` and ``--force-cmd``, or its substitute.

    ``auto`` is ``notify`` where that is possible, else ``seccomp``, with a line that says why.
    Raises UsageError, and SundogError if ``notify`` is not possible and ``fallback`` does not allow
    a substitute.
    """
    if is_auto(mode) and hooks:
        report.info("--force=auto: using seccomp, because --force-cmd belongs to it")
        return Force.choose("seccomp", hooks)
    force = Force.choose(preferred(mode), hooks)
    reason = notify_obstacle() if force.notify else ""
    if not reason:
        return force
    if is_auto(mode):
        report.info(f"--force=auto: using seccomp, because notify is not possible: {reason}")
    elif fallback:
        report.warning(f"--force=notify is not possible here, using seccomp: {reason}")
    else:
        raise SundogError(
            f"--force=notify is not possible here: {reason}", referring("use --force=seccomp")
        )
    return Force.choose("seccomp")


def notify_obstacle() -> str:
    """Return why a supervisor can't emulate root here, "" if it can."""
    from sundog.runtime.emulation.notify.seccomp.trial import obstacle

    return obstacle()
