"""--user, --userns and --force of ``sundog run``: who the command is, and who pretends that.

The container has one user and one group.  By default the command is root, or the image's USER, and
a supervisor makes that look real (``ch-run --notify``).  A command that is to run as the caller
needs no supervisor, and starts faster.

Specification: podman-run(1), --user and --userns.
"""

from __future__ import annotations

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.podman.options import Line

_MODES = ("notify", "seccomp", "none")
_KEPT = ("keep-id", "nomap")
_HINT = "--userns keep-id runs as yourself, --user as another user of the image"


class Who:
    """The user of a command: the options for ``ch-run``, and whether a supervisor is needed."""

    __slots__ = ("emulated", "options")

    def __init__(self, options: list[str], *, emulated: bool) -> None:
        self.options = options
        self.emulated = emulated


def who(line: Line, image_user: str, uid: int, gid: int) -> Who:
    """Return the command's user; ``uid`` and ``gid`` are the caller's.  Raises UsageError.

    ``image_user`` is the image's USER, perhaps empty.
    """
    mode = line.last("force") or "notify"
    if mode not in _MODES:
        raise UsageError(f"--force {mode}: no such mode", f"one of: {', '.join(_MODES)}")
    given = line.last("user")
    kept = _kept_ids(line.last("userns") or "", uid, gid)
    user, group = _split(given or "")
    if kept is not None and (not user or (user, group or kept[1]) == kept):
        return _plain(*kept)
    if user.isdigit() and int(user) == uid != 0 and group in ("", str(gid)):
        return _plain(user, group or str(gid))
    if mode == "notify":
        if not user:
            return Who(["--notify"], emulated=True)
        if user.isdigit() and (not group or group.isdigit()):
            groups = [f"--gid={group}"] if group else []
            return Who(["--notify", f"--uid={user}", *groups], emulated=True)
        return Who([f"--user={given}"], emulated=True)
    user, group = _split(given or image_user or "0")
    user, group = ("0" if user == "root" else user), ("0" if group in ("", "root") else group)
    if not (user.isdigit() and group.isdigit()):
        raise UsageError(
            f"--force {mode}: it knows no names of users: {given or image_user}",
            "give numbers with --user, or leave out --force",
        )
    seccomp = ["--seccomp"] if mode == "seccomp" else []
    return Who([*seccomp, f"--uid={user}", f"--gid={group}"], emulated=False)


def _plain(user: str, group: str) -> Who:
    return Who([f"--uid={user}", f"--gid={group}"], emulated=False)


def _split(text: str) -> tuple[str, str]:
    user, _, group = text.partition(":")
    return user, group


def _kept_ids(mode: str, uid: int, gid: int) -> tuple[str, str] | None:
    """Return the IDs of --userns keep-id; None for the modes in which the user is the image's."""
    name, _, details = mode.partition(":")
    if mode in ("", "host", "auto", "private"):
        return None
    if name not in _KEPT:
        raise UsageError(f"--userns {mode}: no such mode here", _HINT)
    ids = {"uid": str(uid), "gid": str(gid)}
    for detail in filter(None, details.split(",")):
        key, _, value = detail.partition("=")
        if key == "size":
            continue
        if key not in ids or not (value.isascii() and value.isdigit()):
            raise UsageError(f"--userns {mode}: not uid=NUMBER or gid=NUMBER: {detail}", _HINT)
        ids[key] = value
    return ids["uid"], ids["gid"]
