"""Choice between the host's CUDA libraries and an image's, which work with older drivers.

An image may have a libcuda.so of a newer version that works with some older drivers of the host
("forward compatibility").  The library says so in an ELF note, a JSON object.

Source: the hook enable-cuda-compat of nvidia-cdi-hook.
"""

from __future__ import annotations

from sundog.base.kernel.files import Closing
from sundog.runtime.cdi.json_text import JsonFault, parse_json_text
from sundog.runtime.container.root_files import names_inside, open_inside
from sundog.runtime.linker.elf import ElfError, ElfFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.devices.hooks import CompatRequest

_COMPAT_NOTE = b".note.cuda.fwd_compatibility"
_COMPAT_OWNER = b"NVIDIA Corporation"
_CUDA_VERSION, _DRIVERS = "CUDA Version", "Driver"
_CUDA_LIBRARY = b"libcuda.so."
_NUMBER_LIMIT = 10  # digits


def compat_directory(root: int, request: CompatRequest) -> bytes:
    """Return the directory of the image ``root`` whose libraries come first; b"" for none."""
    names = [
        name
        for name in names_inside(root, request.directory)
        if name.startswith(_CUDA_LIBRARY) and b"." in name[len(_CUDA_LIBRARY) :]
    ]
    if len(names) != 1:
        return b""
    fd = open_inside(root, request.directory + b"/" + names[0])
    if fd < 0:
        return b""
    with Closing(fd):
        try:
            note = ElfFile(fd).note(_COMPAT_NOTE, _COMPAT_OWNER)
        except (ElfError, OSError):
            note = None
    version = names[0][len(_CUDA_LIBRARY) :]
    return request.directory if _is_preferred(version, note, request) else b""


def _is_preferred(version: bytes, note: bytes | None, request: CompatRequest) -> bool:
    """Tell whether the image's libraries of ``version`` replace those of the host.

    ``note`` is the library's own word about it, or None.
    """
    ours, hosts = _numbers(version), _numbers(request.driver)
    if note is None:
        return bool(hosts) and ours[:1] > hosts[:1]
    try:
        facts = parse_json_text(note.rstrip(b"\0").decode())
    except (JsonFault, UnicodeDecodeError, RecursionError):
        return False
    if not isinstance(facts, dict):
        return False
    if hosts:
        drivers = facts.get(_DRIVERS)
        majors = drivers if isinstance(drivers, list) else [drivers]
        return str(hosts[0]) in [str(major) for major in majors] and ours > hosts
    cuda = facts.get(_CUDA_VERSION)
    wanted, known = _numbers(str(cuda).encode("ascii", "replace")), _numbers(request.cuda)
    return bool(wanted and known) and wanted > known


def _numbers(version: bytes) -> list[int]:
    """Return the numbers of a version: ``b"550.54.15"`` is [550, 54, 15]; [] for other text."""
    parts = version.split(b".")
    is_version = all(part.isdigit() and len(part) < _NUMBER_LIMIT for part in parts)
    return [int(part) for part in parts] if is_version else []
