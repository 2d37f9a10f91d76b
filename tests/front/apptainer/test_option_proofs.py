"""Each option of ``sundog apptainer`` has a proof: a line whose plan it changes, or a test.

An option that is held, warned of or refused is scanned, and its words are those of the table.  A
new option without a proof fails here.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.action_options import TABLES
from sundog.front.apptainer.image import ImageFacts
from sundog.front.apptainer.line import scan_line
from sundog.front.apptainer.option_variables import variable_of
from sundog.front.cli.sundog_help import described, names, subcommand_help
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Option
from tests.front.apptainer.test_plan import planned

HERE = Path(__file__).parent
IMAGE = ImageFacts("/d/x", "/d/x", is_directory=True, test=True)
START = "apptainer"
NAMES = [name for name in names() if name == START or name.startswith(f"{START} ")]

# What an option of an action is given, and what must stand before it; others take no value.
VALUES = {
    "bind": "/a:/b",
    "cdi-dirs": "/a",
    "cwd": "/opt",
    "device": "a/b=c",
    "env": "A=1",
    "env-file": "a.env",
    "home": "/a:/b",
    "hostname": "n",
    "mount": "type=bind,src=/a,dst=/b",
    "network": "none",
    "no-env": "HOST",
    "no-mount": "home",
    "overlay": "/a",
    "runscript-timeout": "5m",
    "scratch": "/s",
    "security": "uid:5",
    "shell": "/bin/x",
    "workdir": "/w",
}
BEFORE = {
    "net": ["--network", "none"],
    "network": ["--net"],
    "no-eval": ["--env", "A=$HOST$(x)"],
    "no-init": ["--pid"],
    "no-nv": ["--nv"],
    "no-pid": ["--containall"],
    "no-rocm": ["--rocm"],
    "runscript-timeout": ["--env", "A=$(x)"],
    "workdir": ["--contain"],
}
# Tests of options that change no plan, by the subcommand: a file of tests, and one of its tests; ""
# stands for a table of the file.
_CLI, _FILES, _BUILD = "test_sundog_apptainer", "test_apptainer_files", "test_apptainer_build"
_LOGIN = (_FILES, "test_a_login_of_apptainers_variables")
_SEVERAL = ("test_apptainer_options", "test_options_of_files")
_LOOKS = ("test_apptainer_instance", "test_the_end_of_a_startscript")
_STOPS = ("test_apptainer_instance", "test_stop_sends_what_is_asked")
_ARCH = ("test_apptainer_images", "test_a_pull_for_another_architecture")
_TEXT, _JSON = ("test_apptainer_inspect", ""), ("test_apptainer_inspect", "test_json")
_USER = dict.fromkeys(("docker-username", "docker-password"), _LOGIN)
_ACTION = {"app": (_CLI, "test_apps"), **_USER}
_INSTANCE = {
    **_ACTION,
    "app": ("test_apptainer_instance", "test_an_app"),
    "pid-file": ("test_apptainer_instance", "test_a_startscript"),
}
_OF_FILES = {
    **dict.fromkeys(("docker-username", "docker-password"), _LOGIN),
    **dict.fromkeys(("arch", "arch-variant"), _ARCH),
    "tmpdir": _SEVERAL,
}
PROOFS: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        **dict.fromkeys(("quiet", "silent", "verbose"), (_CLI, "test_statuses_and_messages")),
        **dict.fromkeys(("config", "debug"), ("test_apptainer_options", "test_options_before")),
        "version": (_CLI, "test_version"),
    },
    **dict.fromkeys(("exec", "run", "shell", "test"), _ACTION),
    **dict.fromkeys(("instance start", "instance run"), _INSTANCE),
    "build": {
        **_OF_FILES,
        **dict.fromkeys(
            ("bind", "build-arg", "build-arg-file", "warn-unused-build-args", "force"),
            (_BUILD, "test_targets_and_values"),
        ),
        "disable-cache": (_BUILD, "test_the_cache"),
        "mount": _SEVERAL,
        "notest": (_BUILD, "test_test"),
        "sandbox": (_BUILD, "test_targets_and_values"),
        **dict.fromkeys(("section", "update"), (_BUILD, "test_sections_and_update")),
    },
    "pull": {
        **_OF_FILES,
        **dict.fromkeys(("dir", "name", "sandbox"), (_FILES, "test_pull")),
        "disable-cache": (_FILES, "test_a_pull_that_keeps_nothing"),
        "force": ("../apptainer/test_cases", "test_cases_9_to_14_pull"),
    },
    "inspect": {
        **dict.fromkeys(("deffile", "environment", "helpfile", "runscript", "test"), _TEXT),
        **dict.fromkeys(("all", "app", "json", "labels", "list-apps"), _JSON),
        "startscript": _TEXT,
    },
    "run-help": {"app": ("test_apptainer_inspect", "test_run_help")},
    "instance list": {
        "json": ("../apptainer/test_cases", "test_cases_41_to_45_instances"),
        "logs": ("test_apptainer_instance", "test_a_startscript"),
        "user": _LOOKS,
    },
    "instance stop": {
        **dict.fromkeys(("all", "force", "signal", "timeout"), _STOPS),
        "user": _LOOKS,
    },
    "instance stats": dict.fromkeys(("json", "no-stream", "user"), _LOOKS),
    "cache list": {
        **dict.fromkeys(("all", "summary"), ("test_apptainer_options", "test_options_of_cache")),
        **dict.fromkeys(("type", "verbose"), (_CLI, "test_cache")),
    },
    "cache clean": dict.fromkeys(("dry-run", "force", "type"), (_CLI, "test_cache")),
    "overlay create": {"create-dir": (_CLI, "test_overlays")},
}  # fmt: skip


def options_of(treatments: tuple[str, ...]) -> list[tuple[str, Option]]:
    """Return the options with one of the treatments, with the words of their subcommand."""
    return [
        (name.removeprefix(START).strip(), option)
        for name in NAMES
        for option in described(name)[3]
        if option.treatment in treatments and option.name != "help"
    ]


def parametrized(*treatments: str) -> pytest.MarkDecorator:
    rows = options_of(treatments)
    return pytest.mark.parametrize(
        ("subcommand", "option"), rows, ids=[f"{name} {option.name}" for name, option in rows]
    )


@cache
def plan(action: str, *words: str) -> tuple[object, ...]:
    """Return all that a plan says, or the error in its place."""
    try:
        found = planned(*words, "x", "true", image=IMAGE, action=action, has_devices=True)
    except SundogError as error:
        return (error.message, error.hint)
    return tuple(repr(getattr(found, name)) for name in found.__slots__)


@cache
def source(file: str, test: str) -> str:
    """Return the source of a test, or of a whole file."""
    text = (HERE.parent / "cli" / f"{file}.py").read_text()
    if not test:
        return text
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == test:
            return ast.get_source_segment(text, node) or ""
    raise AssertionError(f"no test {test} in {file}")


@parametrized(TAKEN)
def test_an_option_has_an_effect(subcommand: str, option: Option) -> None:
    """A plan differs, or the test that proves the effect names the option."""
    proof = PROOFS.get(subcommand, {}).get(option.name)
    if proof is None and (subcommand in TABLES or subcommand.startswith("instance ")):
        action = subcommand if subcommand in TABLES else "run"
        before = BEFORE.get(option.name, [])
        value = [VALUES[option.name]] if option.argument else []
        assert plan(action, *before) != plan(action, *before, option.names[0], *value)
        return
    assert proof is not None, "a new option needs a proof"
    keys = [each.upper().replace("-", "_").lstrip("_") for each in option.names]
    written = "|".join(re.escape(each) for each in (*option.names, *keys))
    assert re.search(rf"(?<![\w-])(?:\w+_)?(?:{written})(?![\w-])", source(*proof))


def test_proofs_are_of_options() -> None:
    """None is of an option that has gone."""
    known = {(name, option.name) for name, option in options_of((TAKEN,))}
    assert {(name, option) for name, found in PROOFS.items() for option in found} <= known


@parametrized(HELD, WARNED, REFUSED)
def test_the_words_of_an_option_without_effect(subcommand: str, option: Option) -> None:
    """It is silent, one WARNING, or one error with a hint; and the help lists it with its words."""
    options = described(f"{START} {subcommand}".strip())[3]
    value = ["x"] if option.argument else []
    shown = " ".join([option.names[0], *value])
    for given, environment, name in (
        ([option.names[0], *value], {}, shown),
        *variables_for(subcommand, option, value),
    ):
        if option.treatment == REFUSED:
            with pytest.raises(UsageError) as caught:
                scan_line(subcommand, given, options, environment)
            assert caught.value.message == f"{name}: {option.text}"
            assert caught.value.hint == option.hint
            continue
        line = scan_line(subcommand, given, options, environment)
        warned = [f"{name} has no effect: {option.text}"] if option.treatment == WARNED else []
        assert (line.found, line.operands, line.warnings) == ([], [], warned)
    text = " ".join(" ".join(subcommand_help(f"{START} {subcommand}".strip())).split())
    assert " ".join(option.text.split()) in text
    assert option.names[0] in text


def variables_for(
    subcommand: str, option: Option, value: list[str]
) -> list[tuple[list[str], dict[str, str], str]]:
    """Return the line, the environment and the name of the variable that gives the option."""
    keys = [name.lstrip("-").upper().replace("-", "_") for name in option.names]
    for key in keys:
        environment = {f"APPTAINER_{key}": value[0] if value else "true"}
        name, _ = variable_of(subcommand, option, environment)
        if name:
            return [([], environment, " ".join([f"${name}", *value]))]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_option(name: str) -> None:
    """It is one error, and the hint names the option that was meant."""
    options = described(name)[3]
    subcommand = name.removeprefix(START).strip()
    long = {each for option in options for each in option.names if len(each) > 6}
    for word in long:
        meant = f"{word[:-2]}{word[-1]}"
        if meant in long:
            continue
        with pytest.raises(UsageError) as caught:
            scan_line(subcommand, [meant], options, {})
        assert caught.value.message == f"unknown option: {meant}"
        assert "did you mean --" in caught.value.hint
    for option in options:
        word = option.names[0]
        wrong = word if option.argument else f"{word}=perhaps"
        with pytest.raises(UsageError) as caught:
            scan_line(subcommand, [wrong], options, {})
        assert word in caught.value.message
        assert caught.value.hint


# Values that an option of an action does not take.
BAD = {
    "app": ["a/b", "..", ""],
    "bind": [":/x", "/a:/b:maybe", '"/a'],
    "cwd": ["x"],
    "env": ["A", "=1", "1=2"],
    "env-file": ["bad.env"],
    "home": ["a:b", ":", "/a:/"],
    "mount": ["type=tmpfs,dst=/a", "type=bind,src=/a", "type=bind,src=/a,dst=/b,x"],
    "network": ["bridge"],
    "runscript-timeout": ["soon", "0s", "-1s", "1", "9" * 70 + "s"],
    "scratch": ["x", "/"],
    "security": ["uid:x", "gid:-1"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_a_bad_value(name: str, value: str) -> None:
    """It is one error with a hint, which names the option."""
    if name == "app":
        from sundog.front.apptainer.apps import check_app_name

        with pytest.raises(UsageError, match="--app") as wrong:
            check_app_name(value)
        assert wrong.value.hint
        return
    words = [*BEFORE.get(name, []), f"--{name}={value}"]
    with pytest.raises(SundogError) as caught:
        planned(*words, "x", "true", image=IMAGE, action="run")
    assert name in caught.value.message or name == "network"
    assert caught.value.hint
