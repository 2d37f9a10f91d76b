"""``ch-image login``: check a user's name and password at a registry, and keep them.

The password comes from the terminal or from standard input, never from the command line, which
every user of the machine can see.
"""

from __future__ import annotations

import os
import sys

from sundog.base.record.names import split_reference
from sundog.errors import UsageError
from sundog.front.cli.registries import ask_credentials, open_session
from sundog.image.registry.credentials import Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.image_subcommands import LoginArguments
    from sundog.front.cli.report import Report


def run(arguments: LoginArguments, report: Report) -> int:
    """Log in; return the exit status."""
    registry = registry_name(arguments.registry)
    if arguments.password_stdin:
        if not arguments.username:
            raise UsageError("--password-stdin without a user name", "give it with --username")
        password = os.fsdecode(sys.stdin.buffer.read()).rstrip("\r\n")
        if not password:
            raise UsageError(
                "no password on standard input",
                "is the file empty, or has the command before it failed?",
            )
        credentials = Credentials(arguments.username, password)
    else:
        credentials = ask_credentials(registry, arguments.username)
    if ":" in credentials.username:
        raise UsageError(f"not a user name: {credentials.username}", "it can't have a colon in it")
    session = open_session(arguments, report)
    session.login(registry, credentials)
    place = session.files.store(registry, credentials)
    report.info(f"logged in to {registry} as {credentials.username}; kept in {place}")
    return 0


def registry_name(text: str) -> str:
    """Return the registry that ``text`` names, as references have it; raise UsageError."""
    host = text.removeprefix("https://").rstrip("/")
    if "/" in host or not host:
        raise UsageError(f"not a registry: {text}", "give HOST or HOST:PORT")
    if "." not in host and ":" not in host and host != "localhost":
        raise UsageError(f"not a registry: {text}", "as in references, a host has a dot or a port")
    return split_reference(f"{host}/image")[0]
