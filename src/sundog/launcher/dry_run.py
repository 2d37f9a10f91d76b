"""``ch-run --dry-run``: what ``ch-run`` would do, as text.

Floor 0.
"""

from sundog.container.execute import quoted
from sundog.container.plan import Plan
from sundog.kernel.libc import printable
from sundog.launcher.environment import (
    IMAGE_ENVIRONMENT,
    EnvironmentChange,
    SetFromImage,
    SetVariables,
    UnsetMatching,
)


def dry_run_text(
    plan: Plan,
    changes: list[EnvironmentChange],
    directory: bytes,
    command: list[bytes],
    *,
    joins: bool,
    stored: bytes,
) -> str:
    """Return the plan of mounts as -vv prints it, and what would follow; a line for each step.

    ``joins`` tells whether the process would look for its group first.  ``stored`` is the name in
    storage of an image that the user gave as a layout, or empty.
    """
    lines = [f"image: {printable(stored)}"] if stored else []
    lines += ["enter the container of the group; if there is none, make it:"] if joins else []
    lines += plan.describe()
    for change in changes:
        lines += change_texts(change)
    if directory != b"/":
        lines.append(f"change to directory {printable(directory)}")
    lines.append(f"executing: {quoted(command)}")
    return "".join([line + "\n" for line in lines])


def change_texts(change: EnvironmentChange) -> list[str]:
    """Return a line for each variable that ``change`` sets, or for the pattern that it unsets."""
    if isinstance(change, SetVariables):
        return [setting(name, value) for name, value in change.variables]
    if isinstance(change, SetFromImage):
        return [f"environment: variables of {printable(IMAGE_ENVIRONMENT)}"]
    if isinstance(change, UnsetMatching):
        return [f"environment: unset {printable(change.pattern)}"]
    if change.value is None:
        return [f"environment: {printable(change.name)} of the host"]
    return [setting(change.name, change.value)]


def setting(name: bytes, value: bytes) -> str:
    """Return the line for a variable, before ``$`` is expanded."""
    return f"environment: {printable(name)}={printable(value)}"
