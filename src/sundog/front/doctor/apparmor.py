"""AppArmor, which may reserve user namespaces to programs with a profile: Ubuntu 24.04 and later.

Specification: apparmor.d(5).  AppArmor attaches a profile by the path of the file that execve(2)
gets, with all symbolic links resolved: for a script this is the script, not its interpreter.  A
process that executes a program without a profile keeps the one it has, because that is unconfined.
"""

from __future__ import annotations

import os
import shlex

from sundog.base.installation import COMMANDS, installed
from sundog.base.kernel.refusal import LOADS_PROFILE, read_state
from sundog.errors import ADMINISTRATOR, Hint, KernelError, SundogError
from sundog.front.doctor.outcome import Check
from sundog.runtime.container.enter import enter_namespaces

_SWITCH = b"sys/kernel/apparmor_restrict_unprivileged_userns"
_LABEL = b"self/attr/current"
_CHECK = "ch-checkns"
# Characters of a path that apparmor.d(5) would take for patterns, variables or quotes.
_SPECIAL = frozenset('*?[]{}^,"\\@')

_PROFILE = """\
# AppArmor's profile for Sundog: its commands, and what they start, may make user namespaces.
# It restricts nothing else.  Made by: ch-checkns --apparmor-profile
abi <abi/4.0>,
include <tunables/global>

@{{sundog_commands}} = {commands}

profile sundog @{{sundog_commands}} flags=(unconfined) {{
  userns,

  include if exists <local/sundog>
}}
"""


def profile() -> str:
    """Return the profile for the commands of this installation.

    Raises SundogError if they are not installed, or if a path can't be in a profile.
    """
    found = filter(None, map(installed, COMMANDS))
    paths = dict.fromkeys(map(os.path.realpath, found))
    if not paths:
        raise SundogError(
            "the commands of Sundog are not installed, so AppArmor can't know them",
            "install Sundog: pip install .",
        )
    return _PROFILE.format(commands=" ".join(map(quoted, paths)))


def quoted(path: str) -> str:
    """Return a path as a profile has it; raise SundogError if a profile can't have it."""
    if not path.isprintable():
        raise SundogError(f"AppArmor can't have this path in a profile: {path!r}")
    escaped = "".join(f"\\{one}" if one in _SPECIAL else one for one in path)
    return f'"{escaped}"'


def apparmor_check(proc: bytes = b"/proc") -> Check:
    """Return the check; ``proc`` is where proc(5) is mounted."""

    def act() -> str:
        if read_state(proc, _SWITCH) != "1":
            return "it does not restrict user namespaces"
        label = read_state(proc, _LABEL)
        try:
            enter_namespaces(os.geteuid(), os.getegid())
        except KernelError as error:
            raise KernelError(
                error.call,
                error.subject,
                error.errno,
                f"it allows no user namespaces to Sundog's commands: this process is {label}",
                Hint("", ADMINISTRATOR, _load_command()),
            ) from None
        return f"it restricts user namespaces, but not those of Sundog: this process is {label}"

    return Check("AppArmor", act)


def _load_command() -> str:
    """Return the command with the whole path of ch-checkns, which root's $PATH may lack."""
    path = installed(_CHECK)
    return LOADS_PROFILE if path is None else LOADS_PROFILE.replace(_CHECK, shlex.quote(path), 1)
