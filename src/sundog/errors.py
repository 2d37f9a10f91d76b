"""The exception tree and the exit statuses.

    SundogError                 what the user is told: one line, and perhaps a hint
    ├── UsageError              the command line is wrong
    ├── KernelError             the kernel refused a system call
    ├── PidNamespaceRefused     no PID namespace, or no /proc in one
    ├── NotInStorage            no such image
    ├── PlatformUnavailable     an image is not there for a platform
    ├── StoreError              the storage directory cannot be used
    ├── ArchiveError            a tar is damaged or hostile
    │   └── EndsEarly           it ends too soon
    ├── ReferenceSyntaxError    an image reference does not follow the grammar
    ├── DigestSyntaxError       a digest does not
    ├── DigestMismatch          content is not what its digest says
    ├── DocumentError           a JSON document is not what it should be
    │   ├── ManifestError       a manifest, an index or a descriptor
    │   ├── ImageConfigError    an image's configuration
    │   └── DockerArchiveError  what is in an archive of docker save
    ├── DockerfileError         a Dockerfile is wrong, at a known place
    ├── SubstitutionError       a word of it cannot be expanded
    ├── BuildError              an instruction failed
    ├── RegistryError           something about a registry
    │   ├── UnreachableError    no answer: name, network, TLS, or cut in the middle
    │   │   └── AddressError    a URL, or a host, that can't be asked at all
    │   ├── BadAnswer           what came is not HTTP, or ends too early
    │   ├── UnauthorizedError   the registry wants other credentials, or any
    │   ├── NotInRegistryError  the registry does not have it, or does not say so
    │   ├── RateLimitError      the registry wants fewer requests
    │   ├── ServerError         the registry fails, perhaps for the moment
    │   ├── ProtocolError       the answer is not what the specification says
    │   ├── ConfigurationError  registries.conf
    │   ├── CredentialsError    the file of logins
    │   └── CertificateError    certs.d
    ├── UploadCancelled         another part of the same push has failed
    └── Cancelled               another part of the same pull has

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


class DigestSyntaxError(SundogError):
    """The text is not a digest that can be verified."""


class DigestMismatch(SundogError):
    """Content is not what its digest says."""


class DocumentError(SundogError):
    """A document is not what its specification says."""


class ImageConfigError(DocumentError):
    """An image configuration is not what the specification says."""


class ManifestError(DocumentError):
    """A manifest, an index or a descriptor is not what the specification says."""


class DockerArchiveError(DocumentError):
    """``manifest.json`` is not as Docker writes it."""


class PlatformUnavailable(SundogError):
    """An image does not exist for a platform."""


class SubstitutionError(SundogError):
    """A word cannot be expanded: bad syntax, or a variable that ``${name:?word}`` demands."""


class PidNamespaceRefused(SundogError):
    """The site refuses a PID namespace, or to mount /proc in one."""


class EndsEarly(ArchiveError):
    """The stream has less than it was asked for."""

    def __init__(self) -> None:
        super().__init__("the archive ends early")


class RegistryError(SundogError):
    """A registry refused something, or cannot be used."""


class UnreachableError(RegistryError):
    """No answer came from a registry.

    ``permanent`` if trying again cannot help; ``unconnected`` if it hardly will; ``plaintext`` if
    what is there does not seem to speak TLS.
    """

    ATTRIBUTES = (*SundogError.ATTRIBUTES, "permanent", "unconnected", "plaintext")

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


class BadAnswer(RegistryError):
    """What a server sent is not HTTP, or ends too early; told as an UnreachableError."""


class AddressError(UnreachableError):
    """``shown`` is no address of a server that is asked by HTTP."""

    def __init__(self, shown: str) -> None:
        super().__init__(
            f"{shown}: not an address",
            "http:// or https://, HOST[:PORT], the port at most 65535",
            permanent=True,
        )


class UnauthorizedError(RegistryError):
    """The registry does not let this user do that."""


class NotInRegistryError(RegistryError):
    """The registry does not have it."""


class RateLimitError(RegistryError):
    """The registry has answered often enough for now."""


class ServerError(RegistryError):
    """The registry has failed, perhaps only for the moment."""


class ProtocolError(RegistryError):
    """A registry's answer makes no sense."""


class ConfigurationError(RegistryError):
    """``registries.conf``, or a variable that says the like, cannot be used."""


class CredentialsError(RegistryError):
    """A file of credentials, or a credential helper, cannot be used."""


class CertificateError(RegistryError):
    """A file of ``certs.d`` cannot be used."""


class UploadCancelled(SundogError):
    """Another part of the same push has failed."""


class Cancelled(SundogError):
    """Another part of the same work failed."""
