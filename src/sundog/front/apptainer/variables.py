"""The environment of a command of ``sundog apptainer``.

Its parts, the weakest first: the host's variables; the image's; those of $SINGULARITYENV_X and
$APPTAINERENV_X; --env-file; --env.  The user's values are evaluated between double quotes, after
the image's scripts, unless --no-eval is given.  What only a shell can evaluate is left to the
shell of the image: ``Environment.scripts`` and ``texts`` say what.

Specification: Apptainer's user guide, "Environment and Metadata".
"""

from __future__ import annotations

from sundog.base.quoting import between_quotes, is_name, literal
from sundog.errors import UsageError
from sundog.front.apptainer.apps import LIBRARIES
from sundog.front.apptainer.line import listed
from sundog.front.apptainer.scripts import NeedsShell, Variables, expanded, run_script
from sundog.front.pflag_values import pairs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sundog.front.apptainer.image import ImageFacts
    from sundog.front.options import Line

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROMPT = "Apptainer> "
INJECTING = ("SINGULARITYENV_", "APPTAINERENV_")  # the later one wins
OWN_STARTS = ("APPTAINER_", "SINGULARITY_", *INJECTING, "BASH_FUNC_", "SUNDOG_")
# Variables that describe the host's files, or that are set anew.
HOSTS_OWN = frozenset(("HOME", "PATH", "LD_LIBRARY_PATH", "PWD", "OLDPWD", "SHLVL", "_"))
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
_KEPT = frozenset(("TERM", *_PROXIES, *map(str.upper, _PROXIES)))  # by --cleanenv
LIBRARY_PATH = "LD_LIBRARY_PATH"
_FIXED = "HOME"
# The scripts before this name see no variable of the host: theirs are ENV of an OCI image.
_HOST_COMES = "11"


class Environment:
    """The environment of a command.

    variables  those that are known
    scripts    names of the image's scripts that its shell must read then, in their order; those
               of an app are paths
    texts      then, name and text of each variable; a shell evaluates it between double quotes
    notes      lines of INFO
    warnings   lines of WARNING
    """

    __slots__ = ("notes", "scripts", "texts", "variables", "warnings")

    def __init__(
        self,
        variables: dict[str, str],
        scripts: Sequence[str],
        texts: Sequence[tuple[str, str]],
        notes: Sequence[str],
        warnings: Sequence[str],
    ) -> None:
        self.variables = variables
        self.scripts = scripts
        self.texts = texts
        self.notes = notes
        self.warnings = warnings


class _Given:
    """The variables that the user gives, by their names, as texts between double quotes."""

    def __init__(self, *, is_evaluated: bool) -> None:
        self.texts: dict[str, str] = {}
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._is_evaluated = is_evaluated

    def take(self, pairs: Mapping[str, str], source: str) -> None:
        for name, value in pairs.items():
            if name == _FIXED:
                shown = f"{source}{name}" if source.endswith("_") else source
                self.warnings.append(
                    f"Overriding HOME environment variable with {shown} is not permitted"
                )
            elif not is_name(name) or "\0" in value:
                raise UsageError(f"{source}: not a variable: {name}", "write NAME=VALUE")
            else:
                self.texts[name] = (between_quotes if self._is_evaluated else literal)(value)


def environment_of(
    line: Line,
    image: ImageFacts,
    host: Mapping[str, str],
    read_file: Callable[[str], str],
    own: Mapping[str, str],
    *,
    is_clean: bool,
    is_evaluated: bool,
) -> Environment:
    """Return the environment of a command.

    ``own`` are variables of the container itself.  Raises UsageError, and what ``read_file``
    raises.
    """
    given = _given(line, host, read_file, is_evaluated=is_evaluated)
    dropped = {name for text in line.all("no-env") for name in text.split(",")}
    passed = _host_variables(host, dropped, is_clean=is_clean) | dict(own)
    app = image.app
    if app is not None:
        passed |= app.variables()
    variables, scripts = _image_variables(image, passed)
    texts = [*(app.places(image.scripts) if app else []), *_in_order(given.texts)]
    if not scripts:
        try:
            evaluated = _with_libraries(variables)
            for name, text in texts:
                evaluated.export(name, expanded(text, evaluated))
            variables, texts = evaluated, []
        except NeedsShell:
            pass
    return Environment(variables.passed(), scripts, texts, given.notes, given.warnings)


def _given(
    line: Line, host: Mapping[str, str], read_file: Callable[[str], str], *, is_evaluated: bool
) -> _Given:
    """Return what the user gives: the later sources win."""

    def complain(fault: str) -> UsageError:
        return UsageError(f"--env: {fault}", "write --env NAME=VALUE")

    given = _Given(is_evaluated=is_evaluated)
    older, newer = (
        {name.removeprefix(start): value for name, value in host.items() if name.startswith(start)}
        for start in INJECTING
    )
    for name, value in older.items():
        if name not in newer:
            given.notes.append(
                f"Environment variable SINGULARITYENV_{name} is set, "
                f"but APPTAINERENV_{name} is preferred"
            )
        elif newer[name] != value:
            given.warnings.append(
                f"Environment variables SINGULARITYENV_{name} and APPTAINERENV_{name} "
                "have different values, using the latter"
            )
    given.take(older | newer, INJECTING[1])
    for path in listed(line, "env-file"):
        given.take(_file_variables(read_file(path), path), f"--env-file {path}")
    for text in line.all("env"):
        given.take(pairs_of(text, complain), "--env")
    return given


def _file_variables(text: str, path: str) -> dict[str, str]:
    """Return the variables that the assignments in a file set."""
    try:
        return dict(run_script(text, Variables({})).values)
    except NeedsShell:
        raise UsageError(
            f"--env-file {path}: it has more than assignments", "write one NAME=VALUE a line"
        ) from None


def _host_variables(
    host: Mapping[str, str], dropped: Iterable[str], *, is_clean: bool
) -> dict[str, str]:
    kept = {
        name: value
        for name, value in host.items()
        if name not in dropped
        and name not in HOSTS_OWN
        and not name.startswith(OWN_STARTS)
        and (not is_clean or name in _KEPT)
    }
    return kept | ({"LANG": "C"} if is_clean else {})


def _image_variables(image: ImageFacts, host: Mapping[str, str]) -> tuple[Variables, list[str]]:
    """Return the variables after those of the image; and the scripts that are left for a shell."""
    variables = Variables({"PATH": DEFAULT_PATH, **dict(image.environment)})
    is_alone = True  # the host's variables have not come yet
    all_scripts = [*image.scripts, *(image.app.own_scripts(image.scripts) if image.app else ())]
    for number, (name, text) in enumerate(all_scripts):
        if is_alone and (name >= _HOST_COMES or name.startswith("/")):
            variables, is_alone = _with_host(variables, host), False
        try:
            if text is None:
                raise NeedsShell
            variables = run_script(text, variables)
        except NeedsShell:
            left = [name for name, _ in all_scripts[number:]]
            return _with_host(variables, host) if is_alone else variables, left
    return _with_host(variables, host) if is_alone else variables, []


def _with_host(variables: Variables, host: Mapping[str, str]) -> Variables:
    """Return the variables with those of the host that are not set, and with the whole $PATH."""
    changed = variables.copy()
    path = changed.values.get("PATH") or DEFAULT_PATH
    there = path.split(":")
    missing = [place for place in DEFAULT_PATH.split(":") if place not in there]
    changed.export("PATH", ":".join([path, *missing]))
    for name, value in host.items():
        if name not in changed.values:
            changed.export(name, value)
    return changed


def _with_libraries(variables: Variables) -> Variables:
    """Return the variables with the directory of libraries that Apptainer gives each image."""
    changed = variables.copy()
    there = changed.values.get(LIBRARY_PATH, "")
    if there and LIBRARIES not in there.split(":"):
        changed.export(LIBRARY_PATH, f"{there}:{LIBRARIES}")
    return changed


def _in_order(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the texts of the user, then what is to be done with lists of directories."""
    found = dict(texts)
    given = found.pop(LIBRARY_PATH, "")
    libraries = f"{given}:{LIBRARIES}" if given else f"${{{LIBRARY_PATH}:-{LIBRARIES}}}"
    ordered = [(LIBRARY_PATH, libraries)]
    for name in ("PATH", LIBRARY_PATH):
        before, after = (found.pop(f"{word}_{name}", "") for word in ("PREPEND", "APPEND"))
        if before:
            ordered.append((name, f"{before}${{{name}:+:${name}}}"))
        if after:
            ordered.append((name, f"${{{name}:+${name}:}}{after}"))
    return [*found.items(), *ordered]
