"""The facts of IMAGE that the plan of a line of Apptainer needs; it is pulled if need be."""

from __future__ import annotations

import os
import sys

from sundog.errors import NotInStorage, UsageError
from sundog.front.apptainer.image import (
    ADDRESSES,
    LAYOUTS,
    STORED,
    facts_of_name,
    facts_of_path,
    stored_name,
)
from sundog.front.apptainer.messages import FATAL, INFO, VERBOSE, Messages
from sundog.front.cli.sundog_context import image_line
from sundog.front.cli.sundog_start import execute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.cli.sundog_context import Context
    from sundog.front.options import Line

EXIT_FAILED = 255


def image_of(line: Line, context: Context, messages: Messages) -> ImageFacts | int:
    """Return the facts of IMAGE; pull it if need be.  Returns the status of a pull that fails."""
    image, app = line.operands[0], line.last("app") or ""
    if image.startswith((*LAYOUTS, *ADDRESSES)):
        from sundog.front.cli.apptainer_fetched import resolved  # most images are there

        image = resolved(image, context, messages)
    name = stored_name(image)
    if name is None:
        return facts_of_path(image, app)
    if app:
        raise no_app(app, name)
    found = facts_of_name(name, context.storage)
    if found is not None:
        return found
    environment = dict(os.environ)
    status = _pull(name, line, context, messages)
    if status:
        return status if status < 0 else EXIT_FAILED
    # A pull may leave threads, with which this process can't enter namespaces.
    from sundog.base.installation import own_command

    return execute([*own_command("sundog"), *sys.argv[1:]], environment)


def no_app(app: str, name: str) -> UsageError:
    """Return the error for an app of an image whose files are in many layers."""
    return UsageError(
        f"--app {app}: apps are found in files and directories only",
        f"ch-convert {name} DIR, and give DIR as IMAGE",
    )


def _pull(name: str, line: Line, context: Context, messages: Messages) -> int:
    """Pull an image, unless another process does so meanwhile; return the exit status."""
    from hashlib import sha256

    from sundog.image.registry.credentials import PASSWORD_VARIABLE, USERNAME_VARIABLE
    from sundog.image.store.store import Store

    turn = f"apptainer-{sha256(os.fsencode(name)).hexdigest()[:32]}"
    with (
        Store.open(context.storage) as store,
        store.turn(turn).held(lambda: messages.say(VERBOSE, f"Waiting for a pull of {name}")),
    ):
        if facts_of_name(name, context.storage) is not None:
            return 0
        messages.say(INFO, f"Pulling {STORED}{name} into storage")
        options = ["--quiet"] if messages.level < INFO else []
        user, password = line.last("docker-username"), line.last("docker-password")
        if user and password:
            options.append("--auth")
            os.environ |= {USERNAME_VARIABLE: user, PASSWORD_VARIABLE: password}
        status = image_line(["pull", *options, "--", name], context)
    if status > 0:
        messages.say(FATAL, f"can't pull {name}")
    elif facts_of_name(name, context.storage) is None:
        raise NotInStorage(f"no image in storage: {name}", f"ch-image pull {name}")
    return status
