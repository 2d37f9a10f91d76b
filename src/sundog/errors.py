"""The exception tree and the exit statuses.

    SundogError                 an error that a user reads: one line, and perhaps a hint
    ├── UsageError              the command line is wrong
    ├── MachineError            the machine fails, whatever it was asked to do
    │   ├── KernelError         the kernel refused a system call
    │   ├── PidNamespaceRefused no PID namespace, or no /proc in one
    │   ├── FuseRefused         no file system of FUSE
    │   └── StoreError          the storage directory cannot be used
    │       └── UnfitStorage    the directory or its file system is not fit to be one
    ├── NotInStorage            no such image
    ├── Distrusted              another account can change a file or a directory
    ├── PlatformUnavailable     no image for that platform
    ├── EmulatorMissing         nothing here runs that machine's programs
    ├── ArchiveError            a tar is damaged or hostile
    │   └── EndsEarly           it ends too soon
    ├── SquashfsError           a SquashFS file is damaged, hostile, or of another kind
    ├── ReferenceSyntaxError    an image reference does not follow the grammar
    ├── DigestSyntaxError       a digest does not follow the grammar
    ├── ContentMismatch         content is not what its descriptor says
    │   ├── DigestMismatch      it has another digest
    │   └── SizeMismatch        it has another size
    ├── DocumentError           a JSON document does not follow its specification
    │   ├── ManifestError       a manifest, an index or a descriptor
    │   ├── ImageConfigError    an image's configuration
    │   ├── DockerArchiveError  manifest.json of an archive of docker save
    │   ├── RuntimeConfigError  config.json of a bundle, or another document of runtime-spec
    │   └── CdiError            a CDI specification file, or a device that none has
    │       └── UnusableSpecification
    │                           a file is not a CDI specification
    ├── DockerfileError         a Dockerfile is wrong, at a known place
    ├── SubstitutionError       a word of a Dockerfile cannot be expanded
    ├── BuildError              an instruction failed
    │   └── CommandFailed       the command of a RUN did not exit with 0
    ├── RegistryError           a registry refuses, or cannot be used
    │   ├── UnreachableError    no answer: name, network, TLS, or cut in the middle
    │   │   └── AddressError    not the URL or the host of a server
    │   ├── UnauthorizedError   the registry wants other credentials, or any
    │   ├── NotInRegistryError  the registry does not have it, or hides it
    │   ├── RateLimitError      the registry wants fewer requests
    │   ├── ServerError         the registry fails, perhaps for the moment
    │   ├── ProtocolError       the answer does not follow the specification
    │   ├── ConfigurationError  registries.conf is wrong
    │   ├── CredentialsError    a file of logins is wrong, or a credential helper fails
    │   └── CertificateError    a file of certs.d is wrong
    ├── NotHere                 the machine lacks what a check is about, and Sundog does without it
    └── Cancelled               another part of the same pull or push has failed

A message is one line in lower case: what, which object, why.  The hint says what to do next.  Only
``cli/``, ``oci_runtime/`` and the launcher print them and choose the process's exit status.
"""

from __future__ import annotations

EXIT_ERROR = 1  # ch-image and the rest
EXIT_USAGE = 2  # ch-image and the rest, as argparse
EXIT_RUN = 31  # ch-run: ch-run itself failed before the command ran
EXIT_EXEC = 49  # ch-run: the command cannot be executed
EXIT_RUN_USAGE = 64  # ch-run: bad option

# Commands that check this machine for the cause of an error.
TRIES_ALL = "ch-checkns --all"
TRIES_REGISTRY = "ch-checkns --all --registry=HOST"


# Who can act on a hint.
ORDINARY_USER, ADMINISTRATOR = "user", "administrator"


class Hint(str):
    """The text that says what to do about an error, and the facts in it.

    who      who can do it: ORDINARY_USER or ADMINISTRATOR
    command  the command that does it, "" if the text has none
    advice   the text without the command
    """

    __slots__ = ("advice", "command", "who")

    advice: str
    command: str
    who: str

    def __new__(cls, advice: str, who: str = ORDINARY_USER, command: str = "") -> Hint:
        """Make the text of ``advice``, and who shall execute ``command``."""
        text = f"ask the administrator for: {command}" if who == ADMINISTRATOR else command
        joint = "; " if who == ADMINISTRATOR else ": "
        hint = super().__new__(cls, joint.join(filter(None, (advice, text if command else ""))))
        hint.advice, hint.who, hint.command = advice, who, command
        return hint


class SundogError(Exception):
    """An error that a user reads: ``message`` says what is wrong, ``hint`` what to do ("" if none).

    ``ATTRIBUTES`` names the attributes that cross from one process to another; each is text, a Hint
    or an integer.  ``TRIED_BY`` is the command that tries on this machine what has failed, "" if
    none does: ``kernel.advice`` tells the user.
    """

    ATTRIBUTES: tuple[str, ...] = ("message", "hint")
    TRIED_BY = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def hint(self) -> Hint:
        """The text that says what to do; a plain text becomes a Hint for the user."""
        return self._hint

    @hint.setter
    def hint(self, hint: str) -> None:
        self._hint = hint if isinstance(hint, Hint) else Hint(hint)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the lines to print: the message is one line, even if it has a newline in it."""
        return [self.message]


class UsageError(SundogError):
    """The command line asks for something impossible."""


class MachineError(SundogError):
    """This machine, or the storage directory, fails; the user's input is not to blame."""


class KernelError(MachineError):
    """The kernel refused ``call`` on ``subject`` with ``errno``.

    ``kernel.refusal`` fills in ``hint`` when it knows the cause.
    """

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "call", "subject", "errno")

    def __init__(self, call: str, subject: str, errno: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.call = call
        self.subject = subject
        self.errno = errno


class NotInStorage(SundogError):
    """The storage directory has no image of that name."""


class Distrusted(SundogError):
    """Another account than the trusted ones owns a file or a directory, or can change it."""


class StoreError(MachineError):
    """The storage directory cannot be used as it is."""


class UnfitStorage(StoreError):
    """The storage directory, or the file system that it is on, is not fit to be one."""

    TRIED_BY = TRIES_ALL


class ArchiveError(SundogError):
    """A tar archive is damaged, or a member of it would reach outside the tree."""


class SquashfsError(SundogError):
    """A SquashFS file is damaged, or is not of a kind that this machine can read."""


class ReferenceSyntaxError(SundogError):
    """An image reference does not follow the grammar."""


class DockerfileError(SundogError):
    """A Dockerfile is wrong at ``path``:``line``; ``excerpt`` marks the place."""

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


class CommandFailed(BuildError):
    """The command of a RUN exited with ``status``, or a signal, -``status``, killed it.

    ``sign`` says what points to root emulation as the cause, "" if nothing does.
    """

    def __init__(self, message: str, hint: str = "", *, status: int, sign: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.sign = sign


class DigestSyntaxError(SundogError):
    """The text is not a digest that can be verified."""


class ContentMismatch(SundogError):
    """Content is not what its descriptor says."""


class DigestMismatch(ContentMismatch):
    """Content does not have its digest."""


class SizeMismatch(ContentMismatch):
    """Content does not have its size."""


class DocumentError(SundogError):
    """A document does not follow its specification."""


class ImageConfigError(DocumentError):
    """An image configuration does not follow the specification."""


class ManifestError(DocumentError):
    """A manifest, an index or a descriptor does not follow the specification."""


class DockerArchiveError(DocumentError):
    """``manifest.json`` is not as Docker writes it."""


class RuntimeConfigError(DocumentError):
    """A document of OCI runtime-spec does not follow it, or asks for the impossible."""


class CdiError(DocumentError):
    """A CDI specification file can't be used, or no such file has a device."""


class UnusableSpecification(CdiError):
    """A file is not a specification; ``vendor`` is whose it is, or "" if that is unknown."""

    ATTRIBUTES = (*CdiError.ATTRIBUTES, "vendor")

    def __init__(self, message: str, hint: str = "", vendor: str = "") -> None:
        super().__init__(message, hint)
        self.vendor = vendor


class PlatformUnavailable(SundogError):
    """No image exists for a platform."""


class EmulatorMissing(SundogError):
    """This machine has no program that runs those of another one."""


class SubstitutionError(SundogError):
    """A word cannot be expanded: bad syntax, or a variable that ``${name:?word}`` demands."""


class PidNamespaceRefused(MachineError):
    """The site refuses a PID namespace, or to mount /proc in one."""

    TRIED_BY = TRIES_ALL


class FuseRefused(MachineError):
    """This machine does not let the user mount a file system of FUSE; ``errno`` says why."""

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "errno")
    TRIED_BY = TRIES_ALL

    def __init__(self, message: str, hint: str = "", *, errno: int = 0) -> None:
        super().__init__(message, hint)
        self.errno = errno


class EndsEarly(ArchiveError):
    """The stream ends before the bytes that were asked for."""

    def __init__(self) -> None:
        super().__init__("the archive ends early")


class RegistryError(SundogError):
    """A registry refused something, or cannot be used."""


class UnreachableError(RegistryError):
    """No answer came from a registry.

    ``permanent``: trying again cannot help; ``unconnected``: it hardly will; ``plaintext``: the
    server does not seem to speak TLS.
    """

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "permanent", "unconnected", "plaintext")
    TRIED_BY = TRIES_REGISTRY

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        permanent: bool = False,
        unconnected: bool = False,
        plaintext: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.permanent = permanent
        self.unconnected = unconnected
        self.plaintext = plaintext


class AddressError(UnreachableError):
    """``shown`` is not the address of an HTTP server."""

    def __init__(self, shown: str) -> None:
        super().__init__(
            f"{shown}: not an address",
            "write http:// or https://, then HOST[:PORT], the port at most 65535",
            permanent=True,
        )


class UnauthorizedError(RegistryError):
    """The registry does not let this user do what was asked."""

    TRIED_BY = TRIES_REGISTRY


class NotInRegistryError(RegistryError):
    """The registry does not have what was asked for."""


class RateLimitError(RegistryError):
    """The registry refuses more requests for ``pause`` seconds; 0: it does not say for how long."""

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "pause")

    def __init__(self, message: str, hint: str = "", *, pause: int = 0) -> None:
        super().__init__(message, hint)
        self.pause = pause


class ServerError(RegistryError):
    """The registry has failed, perhaps only for the moment."""


class ProtocolError(RegistryError):
    """A registry's answer does not follow the specification."""


class ConfigurationError(RegistryError):
    """``registries.conf``, or an environment variable in its place, cannot be used."""


class CredentialsError(RegistryError):
    """A file of credentials, or a credential helper, cannot be used."""


class CertificateError(RegistryError):
    """A file of ``certs.d`` cannot be used."""


class NotHere(SundogError):
    """The machine does not have what a check is about, and Sundog does without it."""


class Cancelled(SundogError):
    """Another part of the same work failed."""
