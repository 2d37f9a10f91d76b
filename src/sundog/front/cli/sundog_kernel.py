"""``sundog kernel install``: a kernel of an image, for the host's Jupyter."""

from __future__ import annotations

import os
import subprocess

from sundog.base.installation import own_command
from sundog.base.kernel.drafts import replace_file
from sundog.errors import SundogError, UsageError
from sundog.front.cli.output import print_line
from sundog.front.cli.sundog_context import run_safely
from sundog.front.cli.sundog_scan import scanned, warn
from sundog.front.kernelspec import (
    LISTING,
    LISTING_LIMIT,
    choose,
    chosen_name,
    is_own,
    kernelspec,
    parse_listing,
)
from sundog.front.podman.jupyter_options import KERNEL_INSTALL
from sundog.front.stored import image_facts, storage_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.cli.sundog_context import Context
    from sundog.front.kernelspec import Kernel
    from sundog.front.options import Line

_LIMIT = 1 << 20  # bytes of a kernel.json


def install(words: Sequence[str], context: Context) -> int:
    """Write the kernelspec, and print its path; return the exit status."""
    line = scanned("kernel install", words, KERNEL_INSTALL)
    if line is None:
        return 0
    if not line.operands:
        raise UsageError("kernel install: no image", "sundog kernel install IMAGE")
    warn(line)
    return run_safely(lambda: _install(line, context))


def _install(line: Line, context: Context) -> int:
    image, *options = line.operands
    start = _start(image, options, context)
    kernel = choose(_kernels(start, image), line.last("kernel") or "", image)
    name = chosen_name(line.last("name") or "", image, kernel)
    text = kernelspec(kernel, image, start, line.last("display-name") or "")
    path = os.path.join(_data_directory(line.last("prefix")), "kernels", name, "kernel.json")
    if not _may_write(path):
        raise SundogError(f"{path} is not a kernelspec of Sundog's", "--name gives another name")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(os.fsencode(path), text, mode=0o644)
    except OSError as error:
        raise SundogError(f"can't write {path}: {error.strerror}") from error
    print_line(path)
    return 0


def _start(image: str, options: Sequence[str], context: Context) -> list[str]:
    """Return the words that start a command in an image, from any directory; raise SundogError."""
    storage: list[str] = []
    if "://" in image:
        place = image
    elif os.path.exists(image):
        place = os.path.abspath(image)
    elif image_facts(image, context.storage) is None:
        raise SundogError(f"no image and no file: {image}", f"ch-image pull {image}")
    else:
        place = f"docker://{image}"
        storage = [f"--storage={storage_directory(context.storage)}"]
    sundog = list(map(os.path.abspath, own_command("sundog")[:1]))
    return [*sundog, *storage, "apptainer", "exec", *options, place]


def _kernels(start: Sequence[str], image: str) -> dict[str, Kernel]:
    """Return the kernelspecs of an image, by their names; raise SundogError."""
    argv = [*start, "sh", "-c", LISTING]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        data = process.stdout.read(LISTING_LIMIT + 1)
        if len(data) > LISTING_LIMIT:
            process.kill()
    if process.returncode > 0:
        raise SundogError(f"can't look into {image}: a shell in it gave {process.returncode}")
    return parse_listing(data)


def _data_directory(prefix: str | None) -> str:
    """Return Jupyter's directory of data: jupyter_core, "Common Directories and File Locations"."""
    if prefix:
        return os.path.join(os.path.abspath(prefix), "share/jupyter")
    if named := os.environ.get("JUPYTER_DATA_DIR"):
        return os.path.abspath(named)
    shared = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(os.path.abspath(shared), "jupyter")


def _may_write(path: str) -> bool:
    """Tell whether nothing is there, or a kernelspec that was made here."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    with open(fd, "rb") as file:
        return is_own(file.read(_LIMIT))
