"""The instructions of a Dockerfile as values.

Specification: the Dockerfile reference.  Words are as written, with quotes and variables, unless a
field says otherwise.  ``expansion`` says which words substitution applies to.  Values only:
``grammar`` parses them, and ``builder/`` carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.image.dockerfile.heredocs import Heredoc

    Pairs = tuple[tuple[str, str], ...]
    Variables = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an instruction: first and last line, and its logical line."""

    line: int
    end_line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """The parts that all instructions have; two are equal at different places, too."""

    place: Place = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """The keyword in upper case."""
        return type(self).__name__.upper()

    @property
    def line(self) -> int:
        """The first physical line, from 1."""
        return self.place.line

    @property
    def text(self) -> str:
        """The logical line, without the bodies of heredocs."""
        return self.place.text


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """``FROM [--platform=P] [--arg=NAME=VALUE]… IMAGE [AS ALIAS]``.

    The alias is in lower case, "" if there is none.  ``variables`` are as those of an ARG.
    """

    image_text: str
    alias: str = ""
    platform: str = ""
    variables: Variables = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """``ARG NAME[=DEFAULT]…``; None if no default is given."""

    variables: Variables


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsInstruction(Instruction):
    """``NAME=VALUE…`` or ``NAME VALUE``."""

    pairs: Pairs


class Env(PairsInstruction):
    """``ENV``."""

    __slots__ = ()


class Label(PairsInstruction):
    """``LABEL``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInstruction(Instruction):
    """A command in exec form (its arguments) or in shell form (``args`` holds the one text)."""

    args: tuple[str, ...]
    is_exec: bool

    def argv(self, shell: Sequence[str]) -> list[str]:
        """Return the argument vector; in shell form, with ``shell`` (of SHELL) before the text."""
        return list(self.args) if self.is_exec else [*shell, *self.args]


class Cmd(CommandInstruction):
    """``CMD``; ``CMD []`` removes the base image's command."""

    __slots__ = ()


class Entrypoint(CommandInstruction):
    """``ENTRYPOINT``; ``ENTRYPOINT []`` removes the base image's entrypoint."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(CommandInstruction):
    """``RUN [--mount=…]… [--network=…] [--security=…] [--device=…]…``; in shell form, heredocs."""

    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesInstruction(Instruction):
    """COPY or ADD: ``sources`` from elsewhere, and ``heredocs`` from the file itself."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(FilesInstruction):
    """``COPY``; ``from_`` names a stage, an image or a named context; "" is the build context."""

    from_: str = ""
    parents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(FilesInstruction):
    """``ADD``; ``unpack`` is None if the flag is not given: then ADD unpacks local archives."""

    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rsync(Instruction):
    """``RSYNC [+PLUS] [OPTION]… SOURCE… DESTINATION``."""

    plus: str
    options: tuple[str, ...]
    sources: tuple[str, ...]
    destination: str


class Nsync(Rsync):
    """``NSYNC``, which is another word for ``RSYNC``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """``WORKDIR PATH``."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """``USER NAME[:GROUP]``."""

    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopsignal(Instruction):
    """``STOPSIGNAL SIGNAL``."""

    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """``MAINTAINER TEXT``."""

    maintainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """``SHELL ["PROGRAM", "OPTION"…]``."""

    shell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """``EXPOSE PORT[-PORT][/PROTOCOL]…``."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """``VOLUME PATH…``."""

    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """``HEALTHCHECK``; ``test`` has the form of the image configuration, times are nanoseconds.

    ``test`` is ``("NONE",)``, ``("CMD", *arguments)`` or ``("CMD-SHELL", text)``.  0 is the default
    of a time.
    """

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """``ONBUILD INSTRUCTION``; ``trigger_text`` is what the image configuration keeps."""

    trigger: Instruction
    trigger_text: str
