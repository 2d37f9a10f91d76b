"""Signs that a RUN failed because ``seccomp`` forgets what it has answered.

The filter of ``seccomp`` tells nobody which calls it has answered: asking for that would cost each
build a notification for each of them.  So all there is to see is the USER, the commands of the RUN
and of the scripts that it names, and the end of what it printed.  A sign may be wrong, and it only
leads to a further try.
"""

from __future__ import annotations

import re

from sundog.image.builder.run.inject import commands
from sundog.image.builder.tree_step import absolute
from sundog.image.builder.user import is_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ARGUMENTS = 4  # of a command, that may name a script
_FILES = 64  # that may be scripts
# Scripts here are the distribution's: they say why they fail.
_SYSTEM = frozenset(["/bin", "/sbin", "/usr/bin", "/usr/sbin"])
_LONGEST = 4000  # characters of a path; the kernel has PATH_MAX
NOT_EXECUTED = (126, 127)  # exit statuses of a shell; sh(1p)
# Commands that ask who they are or whose a file is, become another user, or make a device.
_ASKERS = frozenset(
    [
        *("chpst", "doas", "getcap", "getfacl", "gosu", "groups", "id", "logname", "mknod"),
        *("newgrp", "ps", "runuser", "s6-setuidgid", "setfacl", "setpriv", "setuidgid", "sg"),
        *("start-stop-daemon", "stat", "su", "su-exec", "sudo", "whoami"),
    ]
)
# Commands that ask for owners or devices if they have such an argument.
_ASKING = {
    "find": re.compile("-(?:uid|gid|(?:no)?user|(?:no)?group|printf|ls)"),
    "ls": re.compile("-[a-zA-Z]*[gln].*"),
    "rpm": re.compile("--verify|-[a-zA-Z]*V.*"),
    "test": re.compile("-[GObc]"),
    "[": re.compile("-[GObc]"),
}
_ASKING_CODE = re.compile(r"\b(?:get|set)(?:e|re|res)?[ug]id\b|\bst_[ug]id\b|\bfileowner\b")
# The words of strerror(3) for EPERM, EACCES and EINVAL, and of programs that check who they are.
_COMPLAINT = re.compile(
    rb"operation not permitted|permission denied(?! ?\()|: invalid argument"
    rb"|\[errno (?:1|13|22)\]|\be(?:perm|acces|inval)\b|\(os error (?:1|13|22)\)"
    rb"|\b(?:are|as|be|by|is|not|using|with) (?:the )?\W?(?:root|super-?user)\b"
    rb"|\b(?:bad|chang\w+|dubious|improper|incorrect|insecure|invalid|preserve|set|unsafe|wrong)"
    rb" owner|\b(?:are|be|is|not) owned\b|\bowner(?:ship)? (?:is|must|or|should)\b"
    rb"|\bdrop\w* (?:\w+ )?privileges|\b(?:chang|switch)\w* (?:to )?(?:user|group|uid|gid)\b"
    rb"|\bset(?:e|re|res)?[ug]id\b|\b(?:init|set)groups\b",
    re.IGNORECASE,
)
_WARNING = re.compile(rb"\bwarn", re.IGNORECASE)


def sign_of(
    argv: Sequence[str], scripts: Sequence[str], user: str, status: int, output: bytes
) -> str:
    """Say what about a RUN that failed points to root emulation, "" if nothing does.

    ``argv`` is the command, ``scripts`` are the texts of files that it runs, ``user`` is that of
    USER, and ``output`` is the end of the output.  A negative ``status`` is a signal.
    """
    if status < 0:
        return ""
    if not is_root(user):
        return f"it comes after USER {user}"
    if status in NOT_EXECUTED:
        return ""
    for text in (argv, *(("sh", "-c", script) for script in scripts)):
        if found := next(filter(None, map(_asking, _commands(text))), ""):
            return f"it has {found}"
    for line in reversed(output.splitlines()):
        complaint = _COMPLAINT.search(line)
        if complaint and not _WARNING.search(line):
            return f"it printed “{complaint[0].strip(b': ').decode('ascii', 'replace')}”"
    return ""


def script_sign(scripts: Iterable[str]) -> str:
    """Say what in ``scripts``, which the RUN may have executed, is such a sign."""
    found = (_asking(words) for script in scripts for words in _commands(("sh", "-c", script)))
    word = next(filter(None, found), "")
    return f"its script has {word}" if word else ""


def named_files(argv: Sequence[str], working_dir: str, search_path: str) -> list[str]:
    """Return the first absolute paths that ``argv`` may name as scripts; they need not exist.

    Those in the system's directories are left out.
    """
    paths: dict[str, None] = {}
    for words in _commands(argv):
        name, *arguments = words[: 1 + _ARGUMENTS]
        if name == "cd" and arguments:
            working_dir = absolute(arguments[0], working_dir)
            continue
        places = [""] if "/" in name else search_path.split(":")
        paths |= dict.fromkeys(absolute(name, absolute(place, working_dir)) for place in places)
        paths |= dict.fromkeys(absolute(argument, working_dir) for argument in arguments)
    own = (path for path in paths if path.rpartition("/")[0] not in _SYSTEM)
    return [path for path in own if len(path) < _LONGEST and "\0" not in path][:_FILES]


def _commands(argv: Sequence[str]) -> list[Sequence[str]]:
    try:
        return list(commands(argv))
    except RecursionError:  # hundreds of nested substitutions
        return []


def _asking(words: Sequence[str]) -> str:
    """Return the word by which a command asks for users or owners, "" if it does not."""
    name = words[0].rpartition("/")[2]
    arguments = _ASKING.get(name)
    if name in _ASKERS or (arguments and any(map(arguments.fullmatch, words[1:]))):
        return name
    code = next(filter(None, map(_ASKING_CODE.search, words)), None)
    return code[0] if code else ""
