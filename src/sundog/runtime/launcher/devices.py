"""``ch-run --device``: the devices of CDI, and device nodes.

``main`` imports this module only for such starts, while the process is still outside of all
namespaces.  In the wheel it is in a joined module of its own.
"""

from __future__ import annotations

import os

from sundog.base.configuration.keys import CDI_DIRECTORIES
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.cdi.directories import cdi_directories
from sundog.runtime.container.paths import OPEN_DIRECTORY
from sundog.runtime.devices.injection import injection
from sundog.runtime.devices.words import edits_of_words
from sundog.runtime.launcher.part import MountedContainer, Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.cdi.edits import Hook
    from sundog.runtime.container.operations import DetachedMount
    from sundog.runtime.launcher.messages import Messages
    from sundog.runtime.launcher.request import Request

# The hooks that are programs of the host, and those that are programs of the container.
_OUTSIDE_HOOKS = ("prestart", "createRuntime", "createContainer")
_INSIDE_HOOKS = ("startContainer",)
_HOOK_BUNDLE = b"bundle"
# A hook gets the bundle and the container's root as descriptors: it may not look at the process.
_HOOK_CONFIG = '{"ociVersion":"1.2.0","root":{"path":"/proc/self/fd/%d"}}\n'
_HOOK_STATE = (
    '{"ociVersion":"1.2.0","id":"ch-run-%d","status":"created","pid":%d,'
    '"bundle":"/proc/self/fd/%d"}\n'
)


class _Hooks(Part):
    """Devices whose specifications have hooks to run."""

    __slots__ = ("_bundle", "_hooks", "_host", "_messages", "_root", "_run")

    def __init__(self, mounts: list[DetachedMount], hooks: list[Hook], messages: Messages) -> None:
        super().__init__(mounts)
        self._hooks = hooks
        self._host = os.open(b"/", OPEN_DIRECTORY)
        self._run = _load_run_hook()
        self._messages = messages
        self._bundle = self._root = -1

    def mounted(self, container: MountedContainer) -> None:
        """Make the bundle, which the hooks outside of the container get."""
        self._root = container.directory
        scratch = container.plan.scratch
        os.mkdir(_HOOK_BUNDLE, dir_fd=scratch)
        self._bundle = os.open(_HOOK_BUNDLE, OPEN_DIRECTORY, dir_fd=scratch)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        config = os.open(b"config.json", flags, 0o644, dir_fd=self._bundle)
        os.write(config, (_HOOK_CONFIG % self._root).encode())
        os.close(config)

    def entered(self) -> None:
        """Run the hooks.  Raises SundogError for the first one that fails."""
        process = os.getpid()
        proc = os.open(b"proc", OPEN_DIRECTORY, dir_fd=self._host)
        state = (_HOOK_STATE % (process, process, self._bundle)).encode()
        for hook in self._hooks:
            if hook.hook_name in _OUTSIDE_HOOKS:
                kept = (self._bundle, self._root)
                problem = self._run(hook, state, root=self._host, kept=kept, proc=proc)
            else:  # a program of the image gets no descriptor from outside
                problem = self._run(hook, state, proc=proc)
            if problem:
                shown = printable(hook.path)
                raise SundogError(
                    f"{hook.hook_name} hook of CDI failed: {shown}: {problem}",
                    "leave out --cdi-hooks; hooks that write to the image need -W",
                )
            self._messages.verbose(f"{hook.hook_name} hook has run: {printable(hook.path)}")
        for fd in (self._bundle, self._host, proc):
            os.close(fd)


def _load_run_hook() -> Callable[..., str]:
    """Return the function that runs a hook.  Few starts load it, and none may after ``enter``."""
    from sundog.runtime.container.hooks import run_hook

    return run_hook


def devices_for(request: Request) -> Part:
    """Return the part of the devices of a start, and set their variables in its command line.

    Raises SundogError.
    """
    line, messages = request.line, request.messages
    devices = line.devices
    configured = request.holding.said(CDI_DIRECTORIES)
    directories = cdi_directories(devices.cdi_dirs, request.environment.get, configured)
    edits = edits_of_words(devices.words, directories, messages.warning, all_devices=devices.all)
    found = injection(
        edits, messages.warning, shares_dev=True, is_temporary=line.image.overlay_size is not None
    )
    if devices.variables is not None:
        devices.variables.variables += found.variables
    if line.group.pid is not None:
        messages.warning("--device sets variables only: the container of --join-pid exists already")
    hooks: list[Hook] = []
    left: list[Hook] = []
    for hook in found.hooks:
        is_possible = hook.hook_name in _OUTSIDE_HOOKS + _INSIDE_HOOKS
        (hooks if is_possible and devices.hooks else left).append(hook)
    if left:
        names = ", ".join(dict.fromkeys(_hook_text(hook) for hook in left))
        hint = "" if devices.hooks else "; --cdi-hooks runs them"
        messages.warning(f"hooks of CDI that do not run: {names}{hint}")
    return _Hooks(found.mounts, hooks, messages) if hooks else Part(found.mounts)


def _hook_text(hook: Hook) -> str:
    """Return the program of a hook, with the first of its arguments."""
    _, _, program = hook.path.rpartition(b"/")
    return printable(b" ".join([program, *hook.args[1:2]]))
