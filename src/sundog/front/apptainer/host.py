"""The facts of this process and of this machine that a plan needs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sundog.front.apptainer.site import Site


class Host:
    """The facts of this process and of this machine.

    directory    the working directory
    home         the home directory
    exists       tells whether a path of the host exists
    has_devices  tells whether there are devices of a kind, by a CDI specification
    read_script  returns the text of a script of variables; None if a shell must read it
    site         the settings of the site
    configured   names of variables that the configuration of ``ch-run`` names
    """

    __slots__ = (
        *("directory", "environment", "exists", "has_devices", "home"),
        *("configured", "read_file", "read_script", "site"),
    )

    def __init__(
        self,
        environment: Mapping[str, str],
        directory: str,
        home: str,
        *,
        exists: Callable[[str], bool],
        has_devices: Callable[[str], bool],
        read_file: Callable[[str], str],
        read_script: Callable[[str], str | None],
        site: Site,
        configured: Collection[str] = (),
    ) -> None:
        self.configured = configured
        self.environment = environment
        self.site = site
        self.directory = directory
        self.home = home
        self.exists = exists
        self.has_devices = has_devices
        self.read_file = read_file
        self.read_script = read_script
