"""Find the context and the Dockerfile that the command line of ``ch-image build`` names."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass

from sundog.errors import KernelError, SundogError, UsageError
from sundog.image.builder.document import read_document, read_open_document
from sundog.image.builder.files.archive import is_header
from sundog.image.builder.files.context import BuildContext, unpacked_context
from sundog.image.builder.files.named_context import is_elsewhere
from sundog.image.dockerfile.parse import SIZE_LIMIT
from sundog.image.layer.compression import is_compressed, rejoined
from sundog.image.layer.header import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from sundog.front.cli.build_arguments import BuildArguments
    from sundog.image.builder.files.remote_context import RemoteContexts
    from sundog.image.store.store import Store

_STDIN = "-"
_SHOWN_STDIN = "standard input"
_DOCKERFILE = "Dockerfile"
_NAME_IT = "name the Dockerfile with -f"


@dataclass(frozen=True, slots=True)
class GivenContext:
    """The context, the Dockerfile's text, its path, and how messages show the path.

    ``name`` is what the image's name may be inferred from: a path, or the last part of a URL.
    """

    context: BuildContext
    text: bytes
    path: str
    shown: str
    name: str


def find_context(
    arguments: BuildArguments,
    opened_store: Callable[[], Store],
    remotes: Callable[[], RemoteContexts],
) -> GivenContext:
    """Read the Dockerfile and make the context; raise SundogError.

    Both functions are called only for what needs them.
    """
    _check_ignorefile(arguments)
    if is_elsewhere(arguments.context):
        return _remote(arguments, remotes())
    archive, text = _standard_input(arguments)
    if archive is not None:
        context = unpacked_context(opened_store(), archive, "the context on standard input")
        return _inside(arguments, context, _STDIN, "the archive")
    path = _dockerfile_path(arguments)
    directory = None if arguments.context == _STDIN else arguments.context
    context = BuildContext(
        directory, "" if path == _STDIN else path, ignore_file=arguments.ignorefile
    )
    text = _read(path, arguments) if text is None else text
    return GivenContext(context, text, path, _shown(path), arguments.context)


def _check_ignorefile(arguments: BuildArguments) -> None:
    """Raise UsageError for an ignore file that is not there, or without a directory to apply to."""
    if arguments.ignorefile is None:
        return
    if not os.path.isdir(arguments.context):
        raise UsageError(
            "--ignorefile: the context is no directory", "an archive has only what it is to have"
        )
    if not os.path.isfile(arguments.ignorefile):
        raise UsageError(f"--ignorefile: no such file: {arguments.ignorefile}", "check the path")


def _remote(arguments: BuildArguments, remotes: RemoteContexts) -> GivenContext:
    found = remotes.fetch(arguments.context, "context")
    if found.context is not None:
        return _inside(arguments, found.context, found.name, "the context")
    if arguments.file is not None:
        raise UsageError(
            "-f needs a context, and the file at this URL is not an archive", "leave out -f"
        )
    return GivenContext(BuildContext(None), found.text, _DOCKERFILE, _DOCKERFILE, found.name)


def _inside(
    arguments: BuildArguments, context: BuildContext, name: str, where: str
) -> GivenContext:
    """Take the Dockerfile out of a context that was fetched, unless it is standard input."""
    if arguments.file == _STDIN:
        return GivenContext(context, _read_stdin(), _STDIN, _SHOWN_STDIN, name)
    path = os.path.relpath(arguments.file or _DOCKERFILE)
    text = _read_in(context, path, where, "" if arguments.file else _NAME_IT)
    return GivenContext(context, text, path, path, name)


def _shown(path: str) -> str:
    return _SHOWN_STDIN if path == _STDIN else path


def _standard_input(arguments: BuildArguments) -> tuple[BinaryIO | None, bytes | None]:
    """Return the context from standard input if that is an archive, else the Dockerfile.

    With ``-f -``, standard input is always the Dockerfile.  With another ``-f`` and the context
    ``-``, it is always an archive.
    """
    if arguments.context != _STDIN or arguments.file == _STDIN:
        return None, None
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if arguments.file is not None and not (stat.S_ISFIFO(kind) or stat.S_ISREG(kind)):
        return None, None
    head = sys.stdin.buffer.read(BLOCK)
    if is_compressed(head) or is_header(head):
        return rejoined(head, sys.stdin.buffer), None
    return None, None if arguments.file is not None else head + sys.stdin.buffer.read(SIZE_LIMIT)


def _read_in(context: BuildContext, path: str, where: str, hint: str) -> bytes:
    """Read the Dockerfile in a context; the error for a missing one has ``hint``."""
    try:
        fd = context.tree().open(os.fsencode(path))
        return read_open_document(fd, f"{path} in {where}", SIZE_LIMIT)
    except (KernelError, OSError) as error:
        raise SundogError(
            f"can't read {path} in {where}: {os.strerror(error.errno or 0)}", hint
        ) from error


def _dockerfile_path(arguments: BuildArguments) -> str:
    if arguments.file is not None:
        return arguments.file
    if arguments.context == _STDIN:
        return _STDIN
    return os.path.join(arguments.context, _DOCKERFILE)


def _read(path: str, arguments: BuildArguments) -> bytes:
    if path == _STDIN:
        return _read_stdin()
    try:
        return read_document(path, SIZE_LIMIT)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = _whereabouts(path, arguments)
        elif isinstance(error, IsADirectoryError):
            hint = _NAME_IT
        raise SundogError(f"can't read {path}: {error.strerror}", hint) from error


def _whereabouts(path: str, arguments: BuildArguments) -> str:
    """Return the hint for a missing Dockerfile."""
    if arguments.file is None:
        return _NAME_IT
    in_context = os.path.join(arguments.context, path)
    if os.path.exists(in_context):
        return f"-f is relative to the working directory: -f {in_context}"
    return ""


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(SIZE_LIMIT + 1)
