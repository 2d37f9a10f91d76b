"""The start of a command: find its module, and be it.

The interpreter runs as ``python -I -S``. ``sys.path`` has the standard library, and the directory
in which this installation is. So neither $PYTHONPATH nor the user's site directory changes a
command, and a start reads no ``.pth`` file. The interpreter's own site directories come last, and
only when an import needs them: dependencies may be there.
"""

from __future__ import annotations

import gc
import os
import sys
from _frozen_importlib_external import PathFinder
from _thread import RLock

from sundog.joined import joined_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any, NoReturn

MODULES = {
    "ch-checkns": "sundog.front.cli.checkns",
    "ch-convert": "sundog.front.cli.convert",
    "ch-fromhost": "sundog.front.cli.fromhost",
    "ch-image": "sundog.front.cli.image",
    "ch-run-oci": "sundog.front.oci_runtime.command",
    "ch-test": "sundog.front.cli.selftest",
    "sundog": "sundog.front.cli.sundog",
    "sundog-pyxis-importer": "sundog.front.cli.pyxis_importer",
}
# These commands give the caller's very environment to what they execute.  The wheel has all modules
# of the second one joined into one, which starts faster.
_RUN, _FAKEROOT, _JOINED = "ch-run", "sundog-fakeroot", "sundog.runtime.launcher.sundog_fakeroot"

# The wheel has the modules of ``sundog run`` joined into one, too, which stands for them; those of
# ``sundog apptainer`` into another one.
_FRONT, _JOINED_FRONT = "sundog", "sundog.front.cli.sundog_joined"
_APPTAINER, _JOINED_APPTAINER = "apptainer", "sundog.front.cli.apptainer_joined"


class _LateSite:
    """The last finder of modules: when one is missing, it adds the interpreter's directories."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._is_added = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, *_target: object
    ) -> ModuleSpec | None:
        """Find a module in the site directories."""
        with self._lock:
            if not self._is_added:
                self._is_added = True
                import site  # noqa: PLC0415 - most starts do without

                site.main()
        return PathFinder.find_spec(name, path)


def start(program: str, told: str, *words: str) -> NoReturn:
    """Be the command whose path is ``program``, with the arguments ``words``.

    ``told`` is the stub's message about its caller: see ``kernel.stub``.
    """
    name = os.path.basename(program)
    find_dependencies()
    _show(name)
    if name == _RUN:
        _module("sundog.runtime.launcher.main").start([*words])
    if name == _FAKEROOT:
        sys.argv = [told, *words]
        if joined_module(_JOINED) is None:
            _module("sundog.runtime.fakeroot.command").start_from_stub()
    _restore_environment(told)
    sys.argv = [program, *words]
    if name == _FRONT:
        _stand_in(_JOINED_APPTAINER if _APPTAINER in words[:1] else _JOINED_FRONT)
    sys.exit(_module(MODULES[name]).main())


def find_dependencies() -> None:
    """Let imports find what other packages have, if this installation lacks it."""
    sys.meta_path.append(_LateSite())


def _module(name: str) -> Any:
    return __import__(name, fromlist=["main"])  # importlib takes a millisecond


def _stand_in(name: str) -> None:
    """Let imports find modules in the joined one that stands for them, if there is one."""
    gc.disable()  # an import makes no garbage
    joined = joined_module(name)
    gc.enable()
    if joined is not None:
        sys.modules.update(dict.fromkeys(joined.STANDS_FOR, joined))


def _show(name: str) -> None:
    """Give this process the name of its command, as the kernel does for scripts: ps(1) shows it."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(name.encode())
    except OSError:
        pass  # no /proc


def _restore_environment(told: str) -> None:
    """Give this process the variables of its caller: the stub's shell, or Python, has changed some.

    In the C locale, Python sets LC_CTYPE (PEP 538).  The kernel still has the first variables.
    """
    is_changed = b"LC_CTYPE" in os.environb
    if not told and not is_changed:
        return
    from sundog.base.kernel.stub import split_strings, strings_of_caller  # noqa: PLC0415 - as above

    strings = strings_of_caller(told)
    if strings is None and is_changed:
        try:
            with open("/proc/self/environ", "rb") as file:
                strings = split_strings(file.read())
        except OSError:
            pass  # no /proc
    if strings is None:
        return
    wanted: dict[bytes, bytes] = {}
    for string in strings:
        key, sign, value = string.partition(b"=")
        if key and sign:
            wanted.setdefault(key, value)
    for key in os.environb.keys() - wanted.keys():
        del os.environb[key]
    for key, value in wanted.items():
        if os.environb.get(key) != value:
            os.environb[key] = value
