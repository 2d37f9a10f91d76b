"""An app of the Scientific Filesystem in an image: /scif/apps/NAME.

    bin/ lib/           its programs and libraries
    scif/runscript, scif/startscript, scif/test
                        its scripts
    scif/env/*.sh       its variables

Images that Apptainer builds have a script of variables that chooses an app, 95-apps.sh.  For others
this module says what that script does.  A script 94-appsbase.sh beside it chooses none: it names
the places of all apps.  Specification: Apptainer's user guide, "Apps"; scif(7).
"""

from __future__ import annotations

from sundog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

APPS = "/scif/apps"
LIBRARIES = "/.singularity.d/libs"  # the default of LD_LIBRARY_PATH
_OWN_SCRIPT = "95-apps.sh"


class App:
    """An app: its name, and what is in its directory and in scif/.

    ``scripts`` are the paths and texts of its variables, as in ``image.ImageFacts``.
    """

    __slots__ = ("_names", "name", "scripts")

    def __init__(
        self, name: str, names: Sequence[str], scripts: Sequence[tuple[str, str | None]]
    ) -> None:
        self.name = name
        self.scripts = scripts
        self._names = names

    @property
    def directory(self) -> str:
        """The directory of the app in the container."""
        return f"{APPS}/{self.name}"

    def has_script(self, kind: str) -> bool:
        """Tell whether it has a ``runscript``, ``startscript`` or ``test``."""
        return f"scif/{kind}" in self._names

    def script(self, kind: str) -> str:
        """Return the path of its ``runscript`` or ``test``.  Raises UsageError without one."""
        if not self.has_script(kind):
            raise UsageError(
                f"the app {self.name} has no {kind}", f"apptainer exec --app {self.name} IMAGE …"
            )
        return f"{self.directory}/scif/{kind}"

    def variables(self) -> dict[str, str]:
        """Return the variables by which its scripts know it."""
        return {
            "APPTAINER_APPNAME": self.name,
            "SINGULARITY_APPNAME": self.name,
            "SCIF_APPS": APPS,
            "SCIF_APPNAME": self.name,
            "SCIF_APPROOT": self.directory,
        }

    def places(self, scripts: Sequence[tuple[str, str | None]]) -> list[tuple[str, str]]:
        """Return names and texts of the lists of directories that it adds to.

        There are none if one of the image's ``scripts`` does it.
        """
        if any(name == _OWN_SCRIPT for name, _ in scripts):
            return []
        places = [self.directory]
        if "bin" in self._names:
            places.insert(0, f"{self.directory}/bin")
        found = [("PATH", f"{':'.join(places)}:$PATH")]
        if "lib" in self._names:
            library = f"{self.directory}/lib"
            found.append(("LD_LIBRARY_PATH", f"{library}:${{LD_LIBRARY_PATH:-{LIBRARIES}}}"))
        return found

    def own_scripts(
        self, scripts: Sequence[tuple[str, str | None]]
    ) -> Sequence[tuple[str, str | None]]:
        """Return its scripts of variables, unless one of the image's ``scripts`` reads them."""
        return () if any(name == _OWN_SCRIPT for name, _ in scripts) else self.scripts


def check_app_name(name: str) -> None:
    """Raise UsageError if no app can have the name."""
    if not name or "/" in name or name in (".", ".."):
        raise UsageError(f"--app {name}: not the name of an app", "apptainer inspect --list-apps")
