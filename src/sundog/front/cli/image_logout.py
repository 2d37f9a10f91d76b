"""``ch-image logout``: forget the login to a registry."""

from __future__ import annotations

from sundog.errors import RegistryError
from sundog.front.cli.image_login import registry_name
from sundog.front.cli.registries import open_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import LogoutArguments
    from sundog.front.cli.report import Report


def run(arguments: LogoutArguments, report: Report) -> int:
    """Log out; return the exit status."""
    registry = registry_name(arguments.registry)
    places = open_session(arguments, report).files.erase(registry)
    if not places:
        raise RegistryError(f"not logged in to {registry}")
    for place in places:
        report.info(f"removed login to {registry} from {place}")
    return 0
