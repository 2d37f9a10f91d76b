"""The common start of ``sundog apptainer exec``, ``run``, ``shell`` and ``test``.

The wheel has its modules joined, for the namespace of the launcher: ``packaging/start`` runs it, so
that such a start needs two files and no ``os``.  ``start`` returns before anything has changed if a
line is rare or wrong.  Then ``sundog_apptainer`` does all of it, and says what is wrong.
"""

from __future__ import annotations

import os

from sundog.base.configuration.storage import default_storage
from sundog.base.kernel.files import close_as_execve
from sundog.base.kernel.libc import decode_text, encode_text
from sundog.front.apptainer.action_options import TABLES
from sundog.front.apptainer.image import (
    ADDRESSES,
    INSTANCE,
    LAYOUTS,
    facts_of_name,
    facts_of_path,
    stored_name,
)
from sundog.front.apptainer.line import scan_action, split_globals
from sundog.front.apptainer.messages import INFO, WARNING, Messages
from sundog.front.apptainer.plan import plan_of
from sundog.front.cli.apptainer_host import host_of
from sundog.front.cli.hidden_values import hide_values
from sundog.runtime.launcher.caller import inherited_environment
from sundog.runtime.launcher.main import start_with
from sundog.runtime.launcher.statuses import APPTAINER_WORD, STATUSES_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.plan import Plan
    from sundog.front.options import Line
    from sundog.runtime.container.variables import Environment

# Options before the subcommand with which a start stays common.
_GLOBAL = frozenset(("debug", "verbose", "silent", "quiet"))
_ELSEWHERE = (INSTANCE, *LAYOUTS, *ADDRESSES)


class _Start:
    """A start that is common: the plan of its container, and the messages that are due."""

    __slots__ = ("line", "messages", "plan")

    def __init__(self, line: Line, messages: Messages, plan: Plan) -> None:
        self.line = line
        self.messages = messages
        self.plan = plan


def start(words: list[str]) -> None:
    """Become the command of a line that is common; else return, and nothing has changed."""
    try:
        found = _planned(words, inherited_environment(None))
    except Exception:  # the other way says what is wrong
        return
    if found is None:
        return
    messages, plan = found.messages, found.plan
    arguments = [encode_text(word) for word in (*messages.told, *plan.arguments)]
    variables = {encode_text(name): encode_text(value) for name, value in plan.environment.items()}
    variables[STATUSES_VARIABLE] = b"%b:%d" % (APPTAINER_WORD, messages.level)
    if any(b"\0" in text for text in (*arguments, *variables.values())):
        return
    messages.say_all(INFO, plan.notes)
    messages.say_all(WARNING, plan.warnings)
    hide_values(found.line)
    if plan.umask is not None:
        os.umask(plan.umask)
    close_as_execve()
    start_with(arguments, variables)


def _planned(words: list[str], environment: Environment) -> _Start | None:
    """Return the start that a line asks for; None if it is rare.  Raises what errors raise."""
    found = [(name, environment.get(name)) for name in environment.names()]
    variables = {
        decode_text(name): decode_text(value) for name, value in found if value is not None
    }
    options, rest = split_globals(words, variables)
    is_usual = all(option.name in _GLOBAL for option, _ in options.found)
    if not (rest and rest[0] in TABLES and is_usual) or options.warnings or "" in variables:
        return None
    action, *rest = rest
    line = scan_action(action, rest, variables)
    if line.is_set("help") or not line.operands or line.operands[0].startswith(_ELSEWHERE):
        return None
    name, app = stored_name(line.operands[0]), line.last("app") or ""
    if name is None:
        image: ImageFacts | None = facts_of_path(line.operands[0], app)
    else:
        image = None if app else facts_of_name(name, decode_text(default_storage(environment)))
    if image is None:
        return None
    plan = plan_of(action, line, image, host_of(line, variables))
    if plan.seconds or plan.directories or plan.namespaces:
        return None
    return _Start(line, Messages.of(options), plan)
