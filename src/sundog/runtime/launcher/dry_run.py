"""``ch-run --dry-run``: what ``ch-run`` would do, as text."""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.runtime.container.execute import quoted
from sundog.runtime.launcher.environment import (
    EnvironmentChange,
    SetFromImage,
    SetVariables,
    UnsetMatching,
)
from sundog.runtime.launcher.image_choice import execution

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.plan import Plan
    from sundog.runtime.launcher.image import Image
    from sundog.runtime.launcher.request import Request


def dry_run_text(request: Request, image: Image, plan: Plan) -> str:
    """Return the plan of mounts as -vv prints it, and what would follow; a line for each step."""
    line = request.line
    command, changes, directory = execution(line, image, statuses=request.statuses)
    name = line.operands[0]
    lines = [f"image: {printable(name)}"] if name != request.word else []
    # The process would look for its group first.
    if line.group.is_joined:
        lines.append("enter the container of the group; if there is none, make it:")
    if line.group.pid is None:
        lines += plan.describe()
    else:
        lines.append(f"enter the container of process {line.group.pid}")
    for change in changes:
        lines += _change_texts(change)
    if directory != b"/":
        lines.append(f"change to directory {printable(directory)}")
    lines.append(f"executing: {quoted(command)}")
    return "".join([text + "\n" for text in lines])


def _change_texts(change: EnvironmentChange) -> list[str]:
    """Return a line for each variable that ``change`` sets, or for the pattern that it unsets."""
    if isinstance(change, SetVariables):
        return [_setting(name, value) for name, value in change.variables]
    if isinstance(change, SetFromImage):
        return [f"environment: variables of {printable(change.path)}"]
    if isinstance(change, UnsetMatching):
        return [f"environment: unset {printable(change.pattern)}"]
    if change.value is None:
        return [f"environment: {printable(change.name)} of the host"]
    return [_setting(change.name, change.value)]


def _setting(name: bytes, value: bytes) -> str:
    """Return the line for a variable, before ``$`` is expanded."""
    return f"environment: {printable(name)}={printable(value)}"
