"""Whether this machine can emulate root as it was asked to, and what takes its place."""

from __future__ import annotations

from sundog.builder.force import Force
from sundog.errors import SundogError
from sundog.kernel.advice import referring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.builder.report import Report


def possible_force(force: Force, *, fallback: bool, report: Report) -> Force:
    """Return ``force``, or, with a warning, its substitute.

    Raises SundogError if ``force`` is not possible and ``fallback`` does not allow a substitute.
    """
    if not force.notify:
        return force
    from sundog.container.step import supervision_obstacle  # noqa: PLC0415
    from sundog.emulation.notify.seccomp.trial import obstacle  # noqa: PLC0415 - seldom needed

    reason = obstacle() or supervision_obstacle()
    if not reason:
        return force
    if not fallback:
        raise SundogError(
            f"--force=notify is not possible here: {reason}", referring("use --force=seccomp")
        )
    report.warning(f"--force=notify is not possible here, using seccomp: {reason}")
    return Force.choose("seccomp")
