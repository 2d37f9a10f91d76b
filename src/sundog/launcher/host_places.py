"""Directories of the host that the container shows at their own paths: the home, and $TMPDIR.

Floor 0.
"""

from sundog.container.mountpoint import components
from sundog.container.operations import CREATED, DESIRED, OPTIONAL, Bind
from sundog.container.variables import Environment
from sundog.errors import SundogError
from sundog.kernel.libc import printable

HOMES = b"home"  # the directory of Charliecloud's homes: /home/$USER


def home_places(environment: Environment) -> list[Bind]:
    """Return the binds of --home: $HOME at its own path, and at /home/$USER, where scripts look.

    Raises SundogError if $HOME is not set, or if nothing can be bound there.
    """
    home = environment.get(b"HOME")
    if not home:
        raise SundogError("--home failed: $HOME not set", "set HOME, or use -b SRC:DST")
    names = components(home)
    if not home.startswith(b"/") or not names:
        raise SundogError(
            f"--home failed: $HOME is {printable(home)}",
            "it must be an absolute path, and not the root directory",
        )
    user = environment.get(b"USER") or b""
    places = [Bind(home, home, CREATED)]
    if components(user) == [user] and user != b".." and names != [HOMES, user]:
        places.append(Bind(home, b"/%b/%b" % (HOMES, user), DESIRED))
    return places


def tmp_places(environment: Environment, host_tmp: bytes | None, *, writable: bool) -> list[Bind]:
    """Return the bind of ``host_tmp``, which is $TMPDIR, at its own path if it is in use there.

    A launcher of MPI ranks makes its session directory below $TMPDIR, and tells the ranks by a
    variable (PMIX_SERVER_TMPDIR).  So a variable that names a file below is the reason.  The mount
    point is not made in a ``writable`` image, where it would stay.
    """
    if host_tmp is None or components(host_tmp) in ([], [b"tmp"]):
        return []
    below = host_tmp.rstrip(b"/") + b"/"
    for string in environment.strings():
        name, _, value = string.partition(b"=")
        if name != b"TMPDIR" and value.startswith(below) and value != below:
            return [Bind(host_tmp, host_tmp, OPTIONAL if writable else DESIRED)]
    return []
