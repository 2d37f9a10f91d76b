"""Directories of the host that the container shows at their own paths: the home, and $TMPDIR."""

from __future__ import annotations

from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.runtime.container.mountpoint import components
from sundog.runtime.container.operations import (
    CREATED,
    DESIRED,
    OPTIONAL,
    REQUIRED,
    Bind,
    TmpfsMount,
)
from sundog.runtime.container.paths import absolute, exists
from sundog.runtime.launcher.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.runtime.container.operations import Operation
    from sundog.runtime.container.variables import Environment
    from sundog.runtime.launcher.option_values import MountOptions
    from sundog.runtime.launcher.options import CommandLine

TMP = b"/tmp"
_HOMES = b"home"  # the directory of Charliecloud's homes: /home/$USER


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
    if components(user) == [user] and user != b".." and names != [_HOMES, user]:
        places.append(Bind(home, b"/%b/%b" % (_HOMES, user), DESIRED))
    return places


def home_of(mounts: MountOptions, environment: Environment) -> Part:
    """Return the part of --home.  Raises SundogError if there is no home."""
    if not mounts.home:
        return Part()
    places = home_places(environment)
    return Part(places, [(b"HOME", places[0].source)])


class TemporaryDirectory(Part):
    """The container's /tmp: $TMPDIR or /tmp of the host, or a private tmpfs.

    ``shown`` is the host's directory to show there; None stands for a private one.  ``places`` are
    the binds that show $TMPDIR at its own path, too.  ``variable`` is the command's $TMPDIR; empty
    if it is to be unset.

    A launcher of MPI ranks makes its session directory below $TMPDIR, and tells the ranks by a
    variable (PMIX_SERVER_TMPDIR).  So $TMPDIR is needed at its own path if a variable names a file
    below it.  If it lies below /tmp, the container cannot show it at both places without a new
    directory in it.  Then /tmp is the host's /tmp.
    """

    __slots__ = ("_need", "places", "shown", "variable")

    def __init__(
        self,
        line: CommandLine,
        environment: Environment,
        need: str = REQUIRED,
        usual: bytes = TMP,
    ) -> None:
        """``usual`` is the host's directory if there is no $TMPDIR."""
        super().__init__()
        self._need = need
        self.shown: bytes | None = None
        self.places: list[Bind] = []
        self.variable = b""
        if line.mounts.private_tmp:
            return
        wanted = absolute(environment.get(b"TMPDIR") or usual)
        if not exists(wanted + b"/."):  # of another machine, perhaps: a login has /tmp then
            wanted = TMP
        self.shown = wanted
        names = components(wanted)
        if names in ([], [b"tmp"]) or not _is_named(environment, wanted):
            return
        if names[0] == b"tmp":
            self.shown, self.variable = TMP, wanted
        else:
            # The mount point is not made in a writable image, where it would stay.
            self.places.append(Bind(wanted, wanted, OPTIONAL if line.image.write else DESIRED))

    def plan(self) -> list[Operation]:
        """See ``Part``."""
        if self.shown is None:
            return [TmpfsMount(TMP, self._need)]
        return [Bind(self.shown, TMP, self._need), *self.places]

    def variables(self) -> list[tuple[bytes, bytes]]:
        """See ``Part``."""
        return [(b"TMPDIR", self.variable)] if self.variable else []


def _is_named(environment: Environment, directory: bytes) -> bool:
    """Tell whether a variable other than $TMPDIR names a file below ``directory``."""
    below = directory.rstrip(b"/") + b"/"
    for string in environment.strings():
        name, _, value = string.partition(b"=")
        if name != b"TMPDIR" and value.startswith(below) and value != below:
            return True
    return False
