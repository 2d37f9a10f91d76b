"""A system call of a tracee: its arguments, and the answer that it gets."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # The six arguments of a call, 64 bits each, unsigned.
    Arguments = tuple[int, ...]
    # Called with the caller's thread ID.
    Handler = Callable[[int, Arguments], "Answer"]

U32 = 0xFFFFFFFF  # the half of an argument that is C's ``unsigned int``

# The answer of a handler: a result, a negated errno, None for "let the kernel answer", or ANSWERED
# when the reply has been sent with a descriptor.
Answer = int | None
CONTINUE = None
ANSWERED = -(1 << 62)


class KernelAnswers(Exception):
    """Leave the call to the kernel: what it says by itself is right."""


class Refused(Exception):
    """Refuse the call, as the kernel would if the caller were its emulated identity.

    answer      the kernel's errno, negated
    """

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.answer = -error


def signed(register: int) -> int:
    """Return the C ``int`` in the low half of ``register``."""
    value = register & U32
    return value - (1 << 32) if value >> 31 else value
