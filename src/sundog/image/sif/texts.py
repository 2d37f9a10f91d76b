"""The scripts below /.singularity.d.

Specification: Apptainer's user guide, "Environment and Metadata".  ``exec`` and the others below
``actions`` serve programs that start a SIF by them; Apptainer itself brings its own.
"""

from __future__ import annotations

from sundog.base.quoting import between_quotes, is_name, literal, single_quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHEBANG = "#!/bin/sh\n"
_PATH = "PATH"

ENVIRONMENT = f"{_SHEBANG}# The variables of this image, which its definition file sets.\n"
_BASE = f"{_SHEBANG}# The first script of variables.  It sets none.\n"
_LAST = """\
#!/bin/sh
# The last script of variables.  The host's libraries are in that directory.
if [ -z "$LD_LIBRARY_PATH" ]; then
    LD_LIBRARY_PATH="/.singularity.d/libs"
else
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/.singularity.d/libs"
fi
PS1="Apptainer> "
export LD_LIBRARY_PATH PS1
"""
VARIABLES = {"01-base.sh": _BASE, "99-base.sh": _LAST}

_PREPARED = """\
#!/bin/sh
for script in /.singularity.d/env/*.sh; do
    if [ -f "$script" ]; then
        . "$script"
    fi
done
"""
_OTHERWISE = """\
if [ -x /.singularity.d/{name} ]; then
    exec /.singularity.d/{name} "$@"
fi
"""
ACTIONS = {
    "exec": _PREPARED + 'exec "$@"\n',
    "run": _PREPARED + _OTHERWISE.format(name="runscript") + 'exec /bin/sh "$@"\n',
    "shell": _PREPARED
    + 'if [ -x /bin/bash ]; then\n    exec /bin/bash --norc "$@"\nfi\nexec /bin/sh "$@"\n',
    "start": _PREPARED + _OTHERWISE.format(name="startscript"),
    "test": _PREPARED + _OTHERWISE.format(name="test"),
}

_RUNSCRIPT = """\
#!/bin/sh
# ENTRYPOINT and CMD of the image.  Arguments take the place of CMD.  A shell evaluates all words
# once more, as Apptainer does; with $APPTAINER_NO_EVAL, none does.
if [ -n "$APPTAINER_NO_EVAL$SINGULARITY_NO_EVAL" ]; then
    if [ $# -eq 0 ]; then
        set -- {command}
    fi
    exec {entrypoint} "$@"
fi
words={evaluated_command}
if [ $# -gt 0 ]; then
    words=""
    for word in "$@"; do
        words="$words \\"$word\\""
    done
fi
eval "set -- "{evaluated_entrypoint}" $words"
exec "$@"
"""


def variables_script(variables: Mapping[str, str]) -> str:
    """Return the script that sets ENV of an image: the host's values come first, but for PATH.

    A variable whose name no shell takes is left out.
    """
    lines = [_SHEBANG]
    for name, value in variables.items():
        if not is_name(name):
            continue
        text = literal(value)
        lines.append(f'export {name}="{text}"\n' if name == _PATH else _default(name, text))
    return "".join(lines)


def _default(name: str, text: str) -> str:
    return f'export {name}="${{{name}:-"{text}"}}"\n'


def runscript(entrypoint: Sequence[str], command: Sequence[str]) -> str:
    """Return the runscript of an image of a registry; without ENTRYPOINT and CMD, of a shell."""
    if not entrypoint and not command:
        command = ["/bin/sh"]

    def evaluated(words: Sequence[str]) -> str:
        return single_quoted(" ".join(f'"{between_quotes(word)}"' for word in words))

    def quoted(words: Sequence[str]) -> str:
        return " ".join(map(single_quoted, words))

    return _RUNSCRIPT.format(
        command=quoted(command),
        entrypoint=quoted(entrypoint),
        evaluated_command=evaluated(command),
        evaluated_entrypoint=evaluated(entrypoint),
    )
