"""A failed build: its place in the Dockerfile, the last lines of output, and the state before it.

The state before the failing instruction becomes an image, so that ``ch-run`` can open it.  The next
successful build under the same name removes that image.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sundog.base.record.names import canonical_name, spelled_out
from sundog.errors import DockerfileError, MachineError, NotInStorage, SundogError, UsageError
from sundog.image.store.image_files import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.builder.state import BuildState, Remains
    from sundog.image.dockerfile.instructions import Instruction
    from sundog.image.store.store import Store

_SUFFIX = "_failed"
_ORIGIN = "ch-image build, which failed"
_LAST_LINES = 10
_READ_SIZE = 1 << 16


def is_fault(error: SundogError) -> bool:
    """Tell whether an instruction is to blame for ``error``, so that its place is shown.

    Otherwise the machine is, or the command line.
    """
    return not isinstance(error, MachineError | UsageError)


def located(
    state: BuildState, instruction: Instruction, error: SundogError, *, near: str = ""
) -> DockerfileError:
    """Return ``error`` as an error that shows the instruction."""
    if isinstance(error, DockerfileError):
        return error
    return state.dockerfile.error(instruction, error.message, near=near, hint=error.hint)


def explained(state: BuildState, instruction: Instruction, error: SundogError) -> DockerfileError:
    """Return ``error`` with its place and the last lines of output."""
    failure = located(state, instruction, error)
    if printed := last_lines(state.options.run.captured):
        failure.excerpt += "\nits last lines:\n" + "\n".join(f"   {line}" for line in printed)
    return failure


def name_remains(state: BuildState, error: SundogError) -> None:
    """Give the state before the instruction that failed a name; the error's hint has it."""
    if state.remains is None:
        return
    name = _keep(state, state.remains)
    if name:
        look = f"look at the state before it: ch-run -W --set-env {name} -- /bin/sh"
        error.hint = f"{error.hint}; {look}" if error.hint else look


def last_lines(fd: int) -> list[str]:
    """Return the last lines that were written to the file ``fd``; none for -1."""
    if fd < 0:
        return []
    size = os.fstat(fd).st_size
    data = os.pread(fd, _READ_SIZE, max(0, size - _READ_SIZE))
    lines = data.decode("utf-8", "backslashreplace").splitlines()
    return lines[-_LAST_LINES:]


def forget_failure(store: Store, tag: str) -> None:
    """Remove the image that a failed build left under a name, because a build has succeeded."""
    with suppress(NotInStorage):
        store.images.delete(_name(tag))


def _keep(state: BuildState, remains: Remains) -> str:
    """Give the state a name and return it; "" if that is impossible, or if there is no state."""
    layers = remains.layers
    if not layers or not state.options.tags or state.options.is_modification:
        return ""
    store = state.store
    for image in remains.bases:  # the build made nothing yet, so the state has a name
        with suppress(SundogError):
            if store.images.get(image).layers == layers:
                return image
    name = _name(state.options.tags[0])
    try:
        store.images.put(Image(canonical_name(name), name, remains.config, layers, _ORIGIN))
    except (SundogError, OSError):  # report only the first error
        return ""
    return name


def _name(tag: str) -> str:
    name = spelled_out(tag).partition("@")[0]
    has_tag = ":" in name.rpartition("/")[2]
    return f"{name}{_SUFFIX}" if has_tag else f"{name}:latest{_SUFFIX}"
