"""Ask a child process for an image: it brings one into storage, and answers with the name.

The child is a module of this installation: no variable and no option can lead to another program.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.stub import await_child, discard_child_signal, read_all
from sundog.errors import SundogError
from sundog.runtime.process.sibling import spawn_sibling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.container.variables import Environment

_LOADING_MILLISECONDS = 150  # in which a child loads its modules: two processors are busy then


def ask_for_image(
    module: bytes,
    words: list[bytes],
    environment: Environment,
    shown: str,
    *,
    meanwhile: Callable[[], object] | None = None,
) -> tuple[bytes, bool]:
    """Run ``module`` with ``words``; return the name of the image, and whether it is in storage.

    ``shown`` is the image in messages.  ``meanwhile`` is called if it takes a while.  Raises
    OSError, and SundogError for an error that is the answer.
    """
    values = [(name, environment.get(name)) for name in environment.names()]
    variables = {name: value for name, value in values if value is not None}
    ours, theirs = os.pipe()
    with Closing(ours):
        with Closing(theirs):
            child = spawn_sibling(module, words, variables, [(theirs, 1)])
        if meanwhile is not None and not _is_readable(ours, _LOADING_MILLISECONDS):
            meanwhile()
        answer = read_all(ours)
    await_child(child)
    discard_child_signal()
    return read_answer(shown, answer)


def _is_readable(fd: int, milliseconds: int) -> bool:
    """Wait so long for ``fd``; tell whether there is something to read, or its end."""
    from select import POLLIN, poll  # few starts wait

    events = poll()
    events.register(fd, POLLIN)
    return bool(events.poll(milliseconds))


def read_answer(shown: str, answer: bytes) -> tuple[bytes, bool]:
    """Return the name of the image of ``shown``, and whether it is in storage.

    Raises SundogError, also for an error that is the answer.
    """
    fields = answer.split(b"\0")
    if len(fields) != 3:
        raise SundogError(
            f"can't load {shown}: the process that loads it has died",
            "start again; see also: dmesg",
        )
    kind, text, more = fields
    if kind == b"error":
        message, hint = [field.decode("utf-8", "backslashreplace") for field in (text, more)]
        raise SundogError(f"can't run {shown}: {message}", hint)
    return text, more == b"there"
