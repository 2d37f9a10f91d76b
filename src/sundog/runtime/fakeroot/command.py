"""``sundog-fakeroot``: from a command line to the command's exit status.

``sundog root`` starts this program, too, and says so by $SUNDOG_STATUSES.  Then the exit statuses
are those of ``sundog``, and the command's environment stays as it is.

    caller ── sundog-fakeroot, the stand-in for the command ─┬─ the supervisor
                                                             └─ the command
"""

from __future__ import annotations

import os
import sys

from sundog import __version__
from sundog.base.kernel.advice import explained, referring
from sundog.base.kernel.files import STDOUT_FILENO
from sundog.base.kernel.libc import encode_text, printable
from sundog.base.kernel.process import set_no_new_privs
from sundog.errors import SundogError, UsageError
from sundog.runtime.container.enter import enter_namespaces, rootless
from sundog.runtime.container.execute import execute, failure_hint
from sundog.runtime.emulation.notify.seccomp.trial import HAS_SUPERVISOR, obstacle
from sundog.runtime.emulation.notify.state.persistent_records import PersistentRecords
from sundog.runtime.emulation.notify.state.unrecorded_owners import AllIsReal
from sundog.runtime.fakeroot.options import FakerootLine, fakeroot_help
from sundog.runtime.fakeroot.real_owners import RealOwners
from sundog.runtime.fakeroot.state_file import StateFile, load_state
from sundog.runtime.launcher.caller import inherited_environment, restore_signals
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.notify import PreparedAttendant, StartUser
from sundog.runtime.launcher.statuses import (
    PODMAN_STATUSES,
    PODMAN_WORD,
    STATUSES_VARIABLE,
    Statuses,
)
from sundog.runtime.supervision.emulation import Emulation
from sundog.runtime.supervision.fuse_mounts import HostMounts
from sundog.runtime.supervision.supervision import Supervision, listener_channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.runtime.container.variables import Environment

_FAKEROOT_STATUSES = Statuses(1, 1, 126, 127)
_NESTED_VARIABLE = b"FAKEROOTKEY"  # fakeroot(1) sets it, and programs look for it
_DEFAULT_SHELL = b"/bin/sh"


def start(words: list[str], told: str | None = None) -> None:
    """Be ``sundog-fakeroot`` with the arguments ``words``.  Never returns.

    ``told`` is the stub's message about its caller: see ``kernel.stub``.
    """
    restore_signals(told or "")
    environment = inherited_environment(told)
    os._exit(run(list(map(encode_text, words)), environment))


def start_from_stub() -> None:
    """Be ``sundog-fakeroot`` with the arguments that the stub passes on."""
    told, *words = sys.argv
    start(words, told or None)


def run(arguments: list[bytes], environment: Environment) -> int:
    """Run the command; return the exit status, in each of the three processes."""
    messages, statuses = Messages("sundog-fakeroot"), _FAKEROOT_STATUSES
    if environment.get(STATUSES_VARIABLE) == PODMAN_WORD:
        messages, statuses = Messages("sundog"), PODMAN_STATUSES
    try:
        return _run_line(FakerootLine(arguments), environment, messages, statuses)
    except (SundogError, OSError) as error:
        shown = explained(error, "can't start mock root: ")
        messages.error(shown.message, shown.hint)
        return statuses.usage if isinstance(error, UsageError) else statuses.failed


def _run_line(
    line: FakerootLine, environment: Environment, messages: Messages, statuses: Statuses
) -> int:
    """Do what ``line`` asks for; return the exit status.  Raises SundogError and OSError."""
    if line.help or line.version:
        text = fakeroot_help() if line.help else f"sundog-fakeroot version {__version__}\n"
        os.write(STDOUT_FILENO, text.encode())
        return 0
    if statuses is _FAKEROOT_STATUSES:
        _refuse_nested(environment)
        environment.set(_NESTED_VARIABLE, b"%d" % os.getpid())
    else:
        environment.unset(STATUSES_VARIABLE)
    _refuse_obstacle(obstacle())
    persistent = None
    if line.load is not None or line.save is not None:
        entries = {} if line.load is None else load_state(line.load, messages)
        persistent = PersistentRecords(entries, all_is_roots=not line.real)
    state_file = None
    if persistent is not None and line.save is not None:
        state_file = StateFile(line.save, persistent.entries)
    real_owners = RealOwners() if line.real else None
    uid, gid = os.geteuid(), os.getegid()
    host = HostMounts()
    enter_namespaces(0, 0)
    unrecorded = None if real_owners is None else AllIsReal(uid, gid, real_owners.ask)
    supervision = Supervision(
        rootless(b"/proc"),
        Emulation(),
        channel=listener_channel(),
        kept=() if real_owners is None else (real_owners.channel,),
        records=persistent,
        unrecorded_owners=unrecorded,
    )
    command = line.command or [environment.get(b"SHELL") or _DEFAULT_SHELL]

    def told(failure: OSError) -> tuple[str, str]:
        hint = failure_hint(failure, command[0], environment)
        text = f"can't execute {printable(command[0])}: {failure.strerror}"
        return text, hint.replace("the container's $PATH", "$PATH")

    def report(failure: OSError) -> bytes:
        return bytes([statuses.of_execve(failure.errno or 0)]) + messages.error_lines(
            *told(failure)
        )

    def become(install: Callable[[], None] | None) -> int:
        set_no_new_privs()
        if install is not None:
            install()
        failure = execute(command, environment, report)
        messages.error(*told(failure))
        return statuses.of_execve(failure.errno or 0)

    root = StartUser(b"", messages, None)
    return PreparedAttendant(supervision, state_file, root, messages, host).attend(None, become)


def _refuse_nested(environment: Environment) -> None:
    """Raise SundogError if the environment says that fakeroot(1), or this program, is around."""
    key = environment.get(_NESTED_VARIABLE)
    if key:
        raise SundogError(
            f"this is inside fakeroot or sundog-fakeroot: $FAKEROOTKEY is {printable(key)}",
            "run COMMAND itself: it is mock root already",
        )


def _refuse_obstacle(reason: str) -> None:
    """Raise SundogError if ``reason`` says why no supervisor can work here."""
    if not reason:
        return
    hint = referring("fakeroot(1) needs no supervisor")
    if reason == HAS_SUPERVISOR:
        hint = "run COMMAND itself: it is mock root already"
    raise SundogError(f"mock root is not possible here: {reason}", hint)


if __name__ == "__main__":
    start(sys.argv[1:])
