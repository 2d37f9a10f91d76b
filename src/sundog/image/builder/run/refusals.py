"""The hint of a failed RUN about calls that only real root may make, such as chattr(1)'s.

Under ``notify`` the supervisor has seen them.  Under the other emulations nobody sees a call, so
the names of such programs in the command have to do.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ADVICE = "only real root may do that, whatever --force says; leave it out, or let it fail: || true"
_SHOWN = 3
# By program: the call for which it takes a privilege over the machine.
_CALLS = {
    "chattr": "ioctl(FS_IOC_SETFLAGS)",
    "chrt": "sched_setscheduler(2)",
    "insmod": "finit_module(2)",
    "ionice": "ioprio_set(2)",
    "modprobe": "finit_module(2)",
    "mount": "mount(2)",
    "renice": "setpriority(2)",
    "swapoff": "swapoff(2)",
    "swapon": "swapon(2)",
}
# A program's name where a shell expects a command.
_COMMAND = re.compile(
    rf"(?:^|[;&|({{!`\n]|\b(?:do|else|exec|sudo|then)\s)\s*(?:/\S*/)?({'|'.join(_CALLS)})(?=\s|$)"
)


def seen_refusals(refusals: Sequence[str]) -> str:
    """Return the hint about calls that the kernel refused, the last one last; "" without any."""
    last = refusals[-_SHOWN:]
    return f"the kernel refused {' and '.join(last)}: {_ADVICE}" if last else ""


def likely_refusals(scripts: Iterable[str]) -> str:
    """Return the hint about programs that ``scripts`` run; "" if there are none."""
    found = dict.fromkeys(name for script in scripts for name in _COMMAND.findall(script))
    if not found:
        return ""
    calls = ", ".join(f"{_CALLS[name]} by {name}" for name in found)
    return f"if {calls} failed: {_ADVICE}"
