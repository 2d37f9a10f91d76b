"""The processes of a container, as podman-top(1) shows them.

A container has no PID namespace.  Its processes are the descendants of its first process, and those
that share a mount namespace with one of these.  The processes of Sundog itself let nobody look at
their namespaces, so they are not among them.

Specification: podman-top(1), proc_pid_stat(5).
"""

from __future__ import annotations

import os

from sundog.errors import UsageError
from sundog.front.podman.times import SECOND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ARGUMENTS_LIMIT = 1 << 16  # bytes
_TTY_MAJORS = {4: "tty", 136: "pts/", 137: "pts/", 138: "pts/", 139: "pts/"}
DEFAULT_COLUMNS = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")


class Facts:
    """The facts about a process, from /proc.

    stat     the fields of proc_pid_stat(5), from the third on
    comm     its name
    args     its command line; of a process without one, its name in brackets
    owner    the user that it belongs to
    age      nanoseconds since its start
    """

    __slots__ = ("age", "args", "comm", "owner", "pid", "stat")

    def __init__(self, pid: int, uptime: int) -> None:
        """Read the facts.  Raises OSError if the process has ended."""
        self.pid = pid
        text = _contents(f"/proc/{pid}/stat")
        head, _, rest = text.rpartition(")")
        self.comm = head.partition("(")[2]
        self.stat = rest.split()
        words = _contents(f"/proc/{pid}/cmdline").split("\0")
        self.args = " ".join(words).strip() or f"[{self.comm}]"
        self.owner = os.stat(f"/proc/{pid}").st_uid
        self.age = max(uptime - self.ticks(22), 1)

    def number(self, field: int) -> int:
        """Return a field of proc_pid_stat(5), which counts them from 1."""
        return int(self.stat[field - 3])

    def ticks(self, *fields: int) -> int:
        """Return the nanoseconds that fields count in clock ticks."""
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(self.number(field) for field in fields) * SECOND // ticks

    @property
    def tty(self) -> str:
        """The controlling terminal."""
        device = self.number(7)
        major, minor = os.major(device), os.minor(device)
        return f"{_TTY_MAJORS[major]}{minor}" if device and major in _TTY_MAJORS else "?"


def _user(facts: Facts) -> str:
    import pwd  # for this word alone

    try:
        return pwd.getpwuid(facts.owner).pw_name
    except KeyError:
        return str(facts.owner)


# Word of podman-top(1): heading, and what stands below.
COLUMNS: dict[str, tuple[str, Callable[[Facts], str]]] = {
    "args": ("COMMAND", lambda facts: facts.args),
    "comm": ("COMMAND", lambda facts: facts.comm),
    "etime": ("ELAPSED", lambda facts: duration(facts.age)),
    "hpid": ("HPID", lambda facts: str(facts.pid)),
    "huser": ("HUSER", _user),
    "nice": ("NI", lambda facts: str(facts.number(19))),
    "pcpu": ("%CPU", lambda facts: f"{100 * facts.ticks(14, 15) / facts.age:.3f}"),
    "pgid": ("PGID", lambda facts: str(facts.number(5))),
    "pid": ("PID", lambda facts: str(facts.pid)),
    "ppid": ("PPID", lambda facts: str(facts.number(4))),
    "state": ("STATE", lambda facts: facts.stat[0]),
    "time": ("TIME", lambda facts: duration(facts.ticks(14, 15) // SECOND * SECOND)),
    "tty": ("TTY", lambda facts: facts.tty),
    "user": ("USER", _user),
    "vsz": ("VSZ", lambda facts: str(facts.number(23) // 1024)),
}


def columns(words: Sequence[str]) -> list[str]:
    """Return the columns that the words of a command line ask for.  Raises UsageError."""
    chosen = [column for word in words for column in word.split(",") if column]
    for word in chosen:
        if word not in COLUMNS:
            raise UsageError(f"top: no such column: {word}", f"there are {', '.join(COLUMNS)}")
    return chosen or list(DEFAULT_COLUMNS)


def rows(first: int, chosen: Sequence[str]) -> list[list[str]]:
    """Return the headings, and a row for each process of the container of process ``first``."""
    uptime = int(_contents("/proc/uptime").split()[0].replace(".", "")) * (SECOND // 100)
    found = [[COLUMNS[column][0] for column in chosen]]
    for pid in members(first):
        try:
            facts = Facts(pid, uptime)
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        found.append([COLUMNS[column][1](facts) for column in chosen])
    return found


def members(first: int) -> list[int]:
    """Return the processes of the container of process ``first``, in order of their numbers."""
    parents, namespaces = {}, {}
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            parents[pid] = int(_contents(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
            namespaces[pid] = os.readlink(f"/proc/{pid}/ns/mnt")
        except (OSError, ValueError, IndexError):
            continue  # it has ended, or is not this user's
    inside = {first}
    while more := {pid for pid, parent in parents.items() if parent in inside} - inside:
        inside |= more
    own = os.readlink("/proc/self/ns/mnt")
    shared = {namespaces[pid] for pid in inside if pid in namespaces} - {own}
    return sorted(pid for pid, namespace in namespaces.items() if namespace in shared)


def duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it, such as ``1h2m3.5s``."""
    if 0 < nanoseconds < SECOND:
        return f"{_decimal(nanoseconds, SECOND // 1000)}ms"
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, SECOND)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def _contents(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(_ARGUMENTS_LIMIT).decode("utf-8", "surrogateescape")
