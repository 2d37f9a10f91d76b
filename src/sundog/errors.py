"""The exception tree and the exit statuses.  Imports nothing: every floor stands on it.

    SundogError                 what the user is told: one line, and perhaps a hint
    ├── UsageError              the command line is wrong
    ├── KernelError             the kernel refused a system call
    ├── NotInStorage            no such image
    ├── StoreError              the storage directory cannot be used
    ├── ArchiveError            a tar is damaged or hostile
    ├── ReferenceSyntaxError    an image reference does not follow the grammar
    ├── DockerfileError         a Dockerfile is wrong, at a known place
    └── BuildError              an instruction failed

A message is one line in lower case: what, which object, why.  The hint says what to do next.  Only
``cli/`` and the launcher print them and choose the process's exit status.
"""

EXIT_ERROR = 1  # ch-image and the rest
EXIT_USAGE = 2  # ch-image and the rest, as argparse
EXIT_RUN = 31  # ch-run: it failed before the command ran
EXIT_EXEC = 49  # ch-run: the command cannot be executed
EXIT_RUN_USAGE = 64  # ch-run: bad option


class SundogError(Exception):
    """Say what went wrong in one line, and what to do about it in ``hint`` (may be empty).

    ``ATTRIBUTES`` names what an error says of itself, all text or integers: so much of it crosses
    from one process to another.
    """

    ATTRIBUTES: tuple[str, ...] = ("message", "hint")

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return what is printed: the message is one line, whatever is in it."""
        return [self.message]


class UsageError(SundogError):
    """The command line asks for something that cannot be."""


class KernelError(SundogError):
    """The kernel refused ``call`` on ``subject`` with ``errno``.

    ``hint`` is filled in by ``kernel.refusal`` when it knows the cause.
    """

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "call", "subject", "errno")

    def __init__(self, call: str, subject: str, errno: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.call = call
        self.subject = subject
        self.errno = errno


class NotInStorage(SundogError):
    """No image of that name is in the storage directory."""


class StoreError(SundogError):
    """The storage directory cannot be used as it is."""


class ArchiveError(SundogError):
    """A tar archive is damaged, or a member of it would reach outside the tree."""


class ReferenceSyntaxError(SundogError):
    """An image reference does not follow the grammar."""


class DockerfileError(SundogError):
    """A Dockerfile is wrong at ``path``:``line``; ``excerpt`` shows the place with a marker."""

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "path", "line", "excerpt")

    def __init__(
        self, message: str, *, path: str, line: int, excerpt: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.path = path
        self.line = line
        self.excerpt = excerpt

    def lines(self) -> list[str]:
        """Return the place with the message, then the excerpt line by line."""
        place = f"{self.path}:{self.line}: {self.message}"
        return [place, *self.excerpt.split("\n")] if self.excerpt else [place]


class BuildError(SundogError):
    """An instruction of a build failed."""
