"""The words that run in a container of ``sundog apptainer``.

What a shell must evaluate is evaluated by one of the image: its bash, else its sh.
"""

from __future__ import annotations

from sundog.base.quoting import between_quotes, single_quoted
from sundog.errors import UsageError
from sundog.front.apptainer.image import STORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.apptainer.variables import Environment
    from sundog.front.options import Line

_SH = "/bin/sh"
_METADATA = "/.singularity.d"
_SPECIAL = frozenset('"$`\\')
_SHELL = 'if [ -x /bin/bash ]; then exec /bin/bash --norc "$@"; fi; exec /bin/sh "$@"'
_EVALUATE = 'eval "set -- $1"; exec "$@"'
# It begins with its own text as $1, and the command follows.
_BASH = """if [ -z "${BASH_VERSION-}" ] && [ -x /bin/bash ]; then
exec /bin/bash -c "$1" bash "$@"
fi"""
_LOOK = """case $1 in
*/*) ;;
*) command -v "$1" >/dev/null 2>&1 || {
printf 'FATAL:   "%s": executable file not found in $PATH\\n' "$1" >&2
exit 255; } ;;
esac
exec "$@\""""
# While there is a limit for the scripts: see ``cli.apptainer_limit``.
_BEGIN = "trap 'exit 255' ALRM"
_END = """trap - ALRM
if [ -n "${SUNDOG_LIMIT-}" ]; then
( eval "printf . >&$SUNDOG_LIMIT" ) 2>/dev/null
eval "exec $SUNDOG_LIMIT>&-"; unset SUNDOG_LIMIT
fi"""
TEXT_VARIABLE = "SUNDOG_TEXT_{}"
LIMIT_VARIABLE = "SUNDOG_LIMIT"


class NothingToRun(Exception):
    """The image has no script of the kind.  The text says so; it is no error."""


def command_of(
    action: str, line: Line, image: ImageFacts, notes: list[str], *, is_evaluated: bool
) -> list[str]:
    """Return the command of an action; add lines of INFO to ``notes``.

    Raises UsageError and NothingToRun.
    """
    words = line.operands[1:]
    if action == "exec":
        if not words:
            raise UsageError("exec: no command", "apptainer exec IMAGE COMMAND [ARG…]")
        return words
    if action == "start" and image.app is not None:
        has_script = image.app.has_script("startscript")
        return [image.app.script("startscript"), *words] if has_script else []
    if action == "start":
        return [f"{_METADATA}/startscript", *words] if image.startscript else []
    if action == "shell":
        shell = line.last("shell")
        return [shell, *words] if shell else [_SH, "-c", _SHELL, "sh", *words]
    if image.app is not None:
        return [image.app.script("test" if action == "test" else "runscript"), *words]
    if action == "test":
        if not image.test:
            raise NothingToRun("No test script found in container, exiting")
        return [f"{_METADATA}/test", *words]
    if image.runscript:
        return [f"{_METADATA}/runscript", *words]
    is_of_registry = image.container.startswith(STORED)  # words take the place of CMD
    if not (image.entrypoint or image.command or (is_of_registry and words)):
        notes.append("No runscript found in container, executing /bin/sh into")
        return [_SH, *words]
    # As the runscript does that Apptainer would write.
    own = [*image.entrypoint, *([] if words else image.command)]
    if not is_evaluated or not any(_SPECIAL & set(word) for word in (*own, *words)):
        return [*own, *words]
    texts = [f'"{text}"' for text in (*map(between_quotes, own), *words)]
    return [_SH, "-c", _EVALUATE, "sh", " ".join(texts)]


def after_scripts(command: Sequence[str], environment: Environment) -> list[str]:
    """Return the words that obey the rest of ``environment`` first.

    $SUNDOG_TEXT_N, with N from 0 on, has the text of a variable.
    """
    if not environment.scripts and not environment.texts:
        return list(command)
    lines = [_BASH, "shift", _BEGIN]
    for name in environment.scripts:
        path = single_quoted(name if name.startswith("/") else f"{_METADATA}/env/{name}")
        lines.append(f"if [ -f {path} ]; then . {path}; fi")
    for number, (name, _) in enumerate(environment.texts):
        text = TEXT_VARIABLE.format(number)
        lines.append(f'eval "export {name}=\\"${text}\\""; unset {text}')
    program = "\n".join([*lines, _END, _LOOK])
    return [_SH, "-c", program, "sh", program, *command]
