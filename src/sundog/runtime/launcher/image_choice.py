"""Choices that the command line and the image make together: the image, the command, its start."""

from __future__ import annotations

import os

from sundog.base.kernel.files import STDOUT_FILENO
from sundog.base.kernel.libc import printable
from sundog.base.record.stored_path import path_in_storage, stored_place
from sundog.errors import NotInStorage, SundogError
from sundog.runtime.container.paths import exists
from sundog.runtime.container.search_path import ENGINE_PATH
from sundog.runtime.launcher.environment import (
    IMAGE_ENVIRONMENT,
    EnvironmentChange,
    SetFromImage,
    SetVariables,
)
from sundog.runtime.launcher.help import USAGE
from sundog.runtime.launcher.image import (
    Image,
    find_container,
    find_image,
    image_name,
)
from sundog.runtime.launcher.run_plan import REQUIRED_BINDS
from sundog.runtime.launcher.statuses import APPTAINER_STATUSES
from sundog.runtime.launcher.storage import Storage, find_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.launcher.options import CommandLine
    from sundog.runtime.launcher.statuses import Statuses


def command_missing() -> SundogError:
    """Print the usage, as Charliecloud's ``ch-run`` does, and return the error."""
    os.write(STDOUT_FILENO, f"usage: {USAGE}\n".encode())
    return SundogError(
        "IMAGE and/or COMMAND not specified",
        "ch-run IMAGE -- COMMAND; without COMMAND, IMAGE must have an ENTRYPOINT or a CMD",
    )


def choose_storage(line: CommandLine, path: bytes, usual: bytes) -> Storage:
    """Return the storage directory of the image: that of the image's path, or else ``path``.

    A name in storage beats a path.  The name of the image replaces its path in the command line.
    ``usual`` is the path that applies by default.  Raises SundogError if ``ch-run`` must not run
    the image.
    """
    name = image_name(line.operands[0])
    place = path_in_storage(line.operands[0])
    if place is not None and (name is None or not exists(stored_place(path, name))):
        path, name = place
        line.operands[0] = name.encode()
        line.messages.verbose(f"storage of the image: {printable(path)}")
    return find_storage(path, name, is_usual=path == usual, arch=line.image.arch)


def choose_image(line: CommandLine, storage: Storage, given: Image | None = None) -> Image:
    """Return the image of the command line, which is ``given`` if it is one file.

    Raises SundogError if the options do not fit it.
    """
    if line.image.container:
        image = find_container(line.image.container, storage)
    else:
        options = line.image
        image = given or find_image(
            line.operands[0], storage, arch=options.arch, unsafe=options.unsafe
        )
    if line.image.arch and (line.image.container or given is not None):
        raise SundogError(
            "--arch is for images in storage", "leave it out: this image has only one architecture"
        )
    if given is None and not image.named:
        _refuse_other_directory(line, storage)
    if line.image.container and line.image.overlay_size is not None:
        raise SundogError(
            "--write-fake incompatible with --container", "a container keeps its changes"
        )
    if line.image.overlays:
        _check_overlays(line)
    if line.image.write and (image.named or given is not None):
        raise SundogError(
            f"--write invalid when running {'by name' if image.named else 'from a file'}",
            "the layers of an image never change; -W lets COMMAND write to a copy",
        )
    if len(line.operands) == 1 and not image.command:
        raise command_missing()
    return image


def _check_overlays(line: CommandLine) -> None:
    """Raise SundogError if --overlay does not fit the other options."""
    others = {
        "--container": bool(line.image.container),
        "--write": line.image.write,
        "--write-fake": line.image.is_overlaid and line.image.overlay_size is not None,
    }
    for name, is_given in others.items():
        if is_given:
            raise SundogError(f"{name} incompatible with --overlay", "changes go to one place")
    if sum(is_writable for _, is_writable in line.image.overlays) > 1:
        raise SundogError("--overlay: only one can be writable", "give the others as DIR:ro")


def execution(
    line: CommandLine, image: Image | None, *, statuses: Statuses
) -> tuple[list[bytes], list[EnvironmentChange], bytes]:
    """Return the command, the changes of its environment, and the directory in which it starts.

    ``image`` may be None if the command line has a command.  ``sundog apptainer``, whose
    ``statuses`` tell, has read the image's scripts of variables.
    """
    given = line.environment.directory
    command, changes, workdir = line.operands[1:], line.environment.changes, b"/"
    if image is not None:
        if not command:
            command, workdir = [*image.command], image.workdir
            own = [SetFromImage(b"\n")] if image.own_variables else []
            # The path of RUN, where the image has none.
            path = SetVariables([(b"PATH", ENGINE_PATH.encode())], verbatim=True)
            changes = [path, *own, *changes]
        elif statuses is not APPTAINER_STATUSES:
            command = [*image.prefix, *command]
        changes = [*image.variables, *changes]
    return command, changes, workdir if given is None else given


def unused_settings(line: CommandLine, image: Image | None) -> str:
    """Return a hint about what the image says of its own command only, and how to use that; or "".

    Call it in the container.
    """
    if image is None or not image.named or len(line.operands) == 1:
        return ""
    unused, options = [], []
    has_variables = any(isinstance(change, SetFromImage) for change in line.environment.changes)
    if not has_variables and exists(IMAGE_ENVIRONMENT) and os.stat(IMAGE_ENVIRONMENT).st_size:
        unused.append("ENV")
        options.append("--set-env")
    if line.environment.directory is None and image.workdir != b"/":
        unused.append("WORKDIR")
        options.append(f"-c {printable(image.workdir)}")
    if not unused:
        return ""
    names, words = " and ".join(unused), " ".join(options)
    return f"a given command does not use the image's {names}: ch-run {words} uses them"


def _refuse_other_directory(line: CommandLine, storage: Storage) -> None:
    """Raise an error if a directory is no root file system, NotInStorage if IMAGE is a name.

    The function recognizes a root file system by its /dev, which a container cannot do without.
    ``./NAME`` always means the directory.
    """
    word = line.operands[0]
    if line.image.write or line.image.overlay_size is not None or exists(word + b"/dev"):
        return
    shown = printable(word)
    if b"/" in word or image_name(word) is None:
        if any(exists(word + path) for path in REQUIRED_BINDS):
            return
        raise SundogError(
            f"no root file system: {shown}: it has none of dev, proc and sys",
            "IMAGE is a name in storage, or a directory that holds a whole image; "
            "-W makes what a container needs",
        )
    raise NotInStorage(
        f"image not found: {shown}: no such name in storage, and ./{shown} is no root file system",
        f"the storage is {printable(storage.path)}; see: ch-image list",
    )
