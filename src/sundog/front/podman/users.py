"""--user, --userns and --force of ``sundog run``: the command's user, and how it is emulated.

The container has one user and one group.  By default the command is root, or the image's USER, and
a supervisor makes that look real (``ch-run --notify``).  A command that is to run as the caller
needs no supervisor, and starts faster.

Specification: podman-run(1), --user and --userns.
"""

from __future__ import annotations

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.options import Line

MODES = NOTIFY, SECCOMP_ONLY, NONE = ("notify", "seccomp", "none")
_KEPT = ("keep-id", "nomap")
_USERNS_HINT = "--userns keep-id runs as yourself, --user as another user of the image"


class Who:
    """The user of a command: USER[:GROUP], and one of MODES, which says who emulates it.

    Without NOTIFY, both are numbers.  With it, "" stands for the image's USER, or root.
    """

    __slots__ = ("mode", "words")

    def __init__(self, mode: str, words: str = "") -> None:
        self.mode = mode
        self.words = words

    @property
    def emulated(self) -> bool:
        """Tell whether a supervisor is needed."""
        return self.mode == NOTIFY

    @property
    def options(self) -> list[str]:
        """The options for ``ch-run``."""
        user, group = _split(self.words)
        ids = [f"--uid={user}"] if user else []
        ids += [f"--gid={group}"] if group else []
        if not self.emulated:
            return [*(["--seccomp"] if self.mode == SECCOMP_ONLY else []), *ids]
        is_number = all(word.isascii() and word.isdigit() for word in (user or "0", group or "0"))
        return ["--notify", *ids] if is_number else [f"--user={self.words}"]


def who(line: Line, image_user: str, uid: int, gid: int) -> Who:
    """Return the command's user; ``uid`` and ``gid`` are the caller's.  Raises UsageError.

    ``image_user`` is the image's USER, perhaps empty.
    """
    mode = line.last("force") or NOTIFY
    if mode not in MODES:
        raise UsageError(f"--force {mode}: no such mode", f"one of: {', '.join(MODES)}")
    given = line.last("user")
    kept = _kept_ids(line.last("userns") or "", uid, gid)
    user, group = _split(given or "")
    if kept is not None and (not user or (user, group or kept[1]) == kept):
        return Who(NONE, ":".join(kept))
    if user.isdigit() and int(user) == uid != 0 and group in ("", str(gid)):
        return Who(NONE, f"{user}:{group or gid}")
    if mode == NOTIFY:
        return Who(NOTIFY, given or "" if user else "")
    user, group = _split(given or image_user or "0")
    user, group = ("0" if user == "root" else user), ("0" if group in ("", "root") else group)
    if not (user.isdigit() and group.isdigit()):
        raise UsageError(
            f"--force {mode}: it knows no names of users: {given or image_user}",
            "give numbers with --user, or leave out --force",
        )
    return Who(mode, f"{user}:{group}")


def _split(text: str) -> tuple[str, str]:
    user, _, group = text.partition(":")
    return user, group


def _kept_ids(mode: str, uid: int, gid: int) -> tuple[str, str] | None:
    """Return the IDs of --userns keep-id; None for the modes in which the user is the image's."""
    name, _, details = mode.partition(":")
    if mode in ("", "host", "auto", "private"):
        return None
    if name not in _KEPT:
        raise UsageError(f"--userns {mode}: no such mode here", _USERNS_HINT)
    ids = {"uid": str(uid), "gid": str(gid)}
    for detail in filter(None, details.split(",")):
        key, _, value = detail.partition("=")
        if key == "size":
            continue
        if key not in ids or not (value.isascii() and value.isdigit()):
            raise UsageError(
                f"--userns {mode}: not uid=NUMBER or gid=NUMBER: {detail}", _USERNS_HINT
            )
        ids[key] = value
    return ids["uid"], ids["gid"]
