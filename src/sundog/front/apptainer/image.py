"""The facts of an image that a run needs: its variables, its scripts, and its default command.

An image in storage, and a file or directory that ``ch-convert`` made, have what ``ch-run`` reads.
A SIF, and the directory that Apptainer made of one, have /.singularity.d.  Whoever made the image
is a stranger: no link in it leads out of it, and all that is read has a bound.
"""

from __future__ import annotations

import os

from sundog.base.kernel.files import Closing
from sundog.base.kernel.libc import decode_text, encode_text
from sundog.base.kernel.modes import S_IFDIR, S_IFMT, S_IFREG
from sundog.base.pathnames import joined, normalized
from sundog.base.record.directory import OWN_COMMAND, OWN_VARIABLES
from sundog.base.record.magic import IMAGE_HEAD, image_kind
from sundog.base.record.stack import ImageStack, unpack_command
from sundog.errors import NotInStorage, SundogError, UsageError
from sundog.front.apptainer.apps import App, check_app_name
from sundog.front.apptainer.scripts import SCRIPT_LIMIT
from sundog.front.stored import image_directory, image_facts
from sundog.runtime.container.image_files import FILE_LIMIT, DirectoryFiles
from sundog.runtime.container.root_files import read_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.container.image_files import ImageFiles

STORED = "docker://"
INSTANCE = "instance://"
# Images that come into storage first.
LAYOUTS = ("docker-archive:", "oci-archive:", "oci:")
ADDRESSES = ("http://", "https://", "oras://")
_SUFFIXES = (".sif", ".simg", ".img", ".sqfs", ".def")  # of files, not of names of images
_METADATA = b".singularity.d"
_APPS = b"scif/apps"
_SCRIPTS = _METADATA + b"/env"
_CONVERT = "ch-convert FILE DIR makes a directory of it, where that is possible"
# What an image can't be: (why, hint).
_TRANSPORTS = {
    "docker-daemon:": ("no daemon is asked", "docker save -o FILE NAME, and ch-image load FILE"),
    INSTANCE: ("an instance is no image", "give it to exec, run, shell or test"),
    "ipfs://": ("there is no such client", "download the file first"),
    "library://": ("Sundog knows no library", "use an image of a registry: docker://NAME"),
    "shub://": ("that service has ended", "use an image of a registry: docker://NAME"),
}


class ImageFacts:
    """The facts of an image.

    word          IMAGE as ``ch-run`` takes it
    container     what $APPTAINER_CONTAINER says
    is_directory  whether it is a directory, to which a command may write
    environment   ENV, which no shell evaluates
    scripts       name and text of each script of variables, in their order; None if a shell must
                  read it
    entrypoint, command
                  ENTRYPOINT and CMD, which a runscript replaces
    app           the app that the user has chosen
    runscript, startscript, test
                  whether the image has these scripts
    """

    __slots__ = (
        "app",
        "command",
        "container",
        "entrypoint",
        "environment",
        "is_directory",
        "runscript",
        "scripts",
        "startscript",
        "test",
        "word",
    )

    def __init__(
        self,
        word: str,
        container: str = "",
        *,
        is_directory: bool = False,
        environment: Sequence[tuple[str, str]] = (),
        scripts: Sequence[tuple[str, str | None]] = (),
        entrypoint: Sequence[str] = (),
        command: Sequence[str] = (),
        runscript: bool = False,
        startscript: bool = False,
        test: bool = False,
        app: App | None = None,
    ) -> None:
        self.app = app
        self.word = word
        self.container = container
        self.is_directory = is_directory
        self.environment = environment
        self.scripts = scripts
        self.entrypoint = entrypoint
        self.command = command
        self.runscript = runscript
        self.startscript = startscript
        self.test = test

    def with_scripts(self, scripts: Sequence[tuple[str, str | None]]) -> ImageFacts:
        """Return these facts with other scripts of variables."""
        return ImageFacts(
            self.word,
            self.container,
            is_directory=self.is_directory,
            environment=self.environment,
            scripts=scripts,
            entrypoint=self.entrypoint,
            command=self.command,
            runscript=self.runscript,
            startscript=self.startscript,
            test=self.test,
            app=self.app,
        )


def stored_name(image: str) -> str | None:
    """Return the name in storage of IMAGE; None if IMAGE is a path.

    Raises UsageError for an IMAGE of a kind that Sundog does not run.
    """
    if image.startswith(STORED):
        return image.removeprefix(STORED)
    for start, (why, hint) in _TRANSPORTS.items():
        if image.startswith(start):
            raise SundogError(f"{image}: {why}", hint)
    return None


def split_layout(image: str) -> tuple[str, str]:
    """Return path and tag of ``oci:PATH[:TAG]``; a path that exists as it is has no tag."""
    place = image.partition(":")[2]
    place = place.removeprefix("//")
    path, _, tag = place.partition(":")
    return (place, "") if os.path.lexists(place) else (path, tag)


def facts_of_name(name: str, storage: str | None) -> ImageFacts | None:
    """Return the facts of an image in storage, None if it is not there.  Raises SundogError."""
    found = image_facts(name, storage)
    if found is None:
        return None
    directory = image_directory(name, storage)
    with Closing(os.open(f"{directory}/root", os.O_PATH | os.O_DIRECTORY)) as root:
        variables = read_inside(root, OWN_VARIABLES, FILE_LIMIT)
    return ImageFacts(
        name,
        f"{STORED}{name}",
        environment=_variables(variables or b""),
        entrypoint=found.entrypoint,
        command=found.command,
    )


def facts_of_path(image: str, app: str = "") -> ImageFacts:
    """Return the facts of a file or a directory, with those of an ``app``.  Raises SundogError."""
    path = normalized(joined(os.getcwd(), image))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotInStorage(
            f"could not open image {path}: no such file or directory", registry_hint(image)
        ) from None
    except OSError as error:
        raise SundogError(f"could not open image {path}: {error.strerror}") from None
    with Closing(fd):
        kind = os.fstat(fd).st_mode & S_IFMT
        if kind == S_IFDIR:
            return _facts(DirectoryFiles(fd), path, app, is_directory=True)
        if kind == S_IFREG and image_kind(os.pread(fd, IMAGE_HEAD, 0)):
            from sundog.runtime.container.squashfs_files import opened_files  # few starts load it

            return _facts(opened_files(fd, encode_text(path)), path, app, is_directory=False)
    raise SundogError(
        f"could not open image {path}: it is neither SIF, nor SquashFS, nor a directory", _CONVERT
    )


def registry_hint(image: str) -> str:
    """Return the hint for an IMAGE that is not there and may be meant as a name; "" for none."""
    is_name = "/" not in image and not image.endswith(_SUFFIXES)
    return f"an image of a registry or of storage is {STORED}{image}" if is_name else ""


def _facts(tree: ImageFiles, path: str, app: str, *, is_directory: bool) -> ImageFacts:
    """Return the facts of the image whose files are in ``tree``.  Raises SundogError."""
    packed = tree.read(OWN_COMMAND)
    own = ImageStack([]) if packed is None else unpack_command(packed)
    present = tree.names(_METADATA)
    names = sorted(name for name in tree.names(_SCRIPTS) if name.endswith(b".sh"))
    return ImageFacts(
        path,
        path,
        is_directory=is_directory,
        environment=_variables(tree.read(OWN_VARIABLES) or b""),
        scripts=_scripts(tree, _SCRIPTS, names),
        app=_app(tree, app) if app else None,
        entrypoint=tuple(map(decode_text, own.entrypoint)),
        command=tuple(map(decode_text, own.command)),
        runscript=b"runscript" in present,
        startscript=b"startscript" in present,
        test=b"test" in present,
    )


def _app(tree: ImageFiles, name: str) -> App:
    """Return the app ``name``.  Raises UsageError if the image has none of that name."""
    check_app_name(name)
    if encode_text(name) not in tree.names(_APPS):
        raise UsageError(f"no app {name} in the image", "apptainer inspect --list-apps IMAGE")
    place = _APPS + b"/" + encode_text(name)
    inside = [*tree.names(place), *(b"scif/" + each for each in tree.names(place + b"/scif"))]
    directory = place + b"/scif/env"
    names = sorted(each for each in tree.names(directory) if each.endswith(b".sh"))
    scripts = [
        (f"/{decode_text(directory)}/{each}", text)
        for each, text in _scripts(tree, directory, names)
    ]
    return App(name, [*map(decode_text, inside)], scripts)


def _scripts(
    tree: ImageFiles, directory: bytes, names: Sequence[bytes]
) -> list[tuple[str, str | None]]:
    """Return names and texts of the scripts in a directory, up to a total size."""
    found: list[tuple[str, str | None]] = []
    size = 0
    for name in names:
        text = None if size > SCRIPT_LIMIT else _text(tree.read(directory + b"/" + name))
        size += len(text or "")
        found.append((decode_text(name), text))
    return found


def _text(data: bytes | None) -> str | None:
    return None if data is None or b"\0" in data else decode_text(data)


def _variables(data: bytes) -> list[tuple[str, str]]:
    """Return the variables in an image's file of them: see ``launcher.environment``."""
    found = []
    for record in decode_text(data).split("\n"):
        name, equals, value = record.partition("=")
        if equals and name and "\0" not in record:
            if len(value) >= 2 and value.startswith("'") and value.endswith("'"):
                value = value[1:-1]
            found.append((name, value))
    return found
