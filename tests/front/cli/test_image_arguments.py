"""``cli.image_arguments``: the command line of ch-image."""

from __future__ import annotations

from typing import Any

import pytest

from sundog.errors import UsageError
from sundog.front.cli.image_arguments import (
    _parser,
    _subcommands,
    parse_arguments,
)
from tests.conftest import podman_options


def parsed(text: str) -> Any:
    return parse_arguments(text.split())


@pytest.mark.parametrize(
    ("text", "verbose", "storage"),
    [
        ("list", 0, None),
        ("-v list", 1, None),
        ("list -v", 1, None),
        ("-vv list -v", 1, None),
        ("-v list -vv", 2, None),
        ("-s /a list", 0, "/a"),
        ("list -s /b", 0, "/b"),
        ("-s /a list --storage /b", 0, "/b"),
        ("--verb list", 1, None),
    ],
)
def test_common_options_stand_anywhere_and_later_ones_win(
    text: str, verbose: int, storage: str | None
) -> None:
    arguments = parsed(text)
    assert (arguments.verbose, arguments.storage) == (verbose, storage)


@pytest.mark.parametrize(
    ("text", "cache"),
    [
        ("build .", None),
        ("--no-cache build .", "disabled"),
        ("build --rebuild .", "rebuild"),
        ("--rebuild build --cache .", "enabled"),
    ],
)
def test_cache_mode(text: str, cache: str | None) -> None:
    assert parsed(text).cache == cache


def test_storage_path_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")
    assert parsed("-s lib list").storage_path() == "/usr/lib"
    assert parsed("list").storage_path() is None


def test_build_defaults() -> None:
    arguments = parsed("build ctx")
    assert (arguments.context, arguments.force, arguments.tag) == ("ctx", None, [])
    assert (arguments.dry_run, arguments.parse_only, arguments.real_sync) == (False,) * 3
    assert list(arguments.bind) == list(arguments.build_arg) == list(arguments.force_cmd) == []


def test_build_options() -> None:
    arguments = parsed(
        "build -t x -f D --build-arg A=1 --build-arg B -b /s -b /t:/u "
        "--force=none --force-cmd d,e -n ."
    )
    assert (arguments.tag, arguments.file, arguments.force, arguments.dry_run) == (
        ["x"],
        "D",
        "none",
        True,
    )
    assert arguments.build_arg == ["A=1", "B"]
    assert arguments.bind == ["/s", "/t:/u"]
    assert arguments.force_cmd == ["d,e"]


def test_the_context_is_the_working_directory() -> None:
    assert parsed("build").context == parsed("build -t x").context == "."


def test_force_without_a_mode_is_seccomp() -> None:
    assert parsed("build --force -t x .").force == "seccomp"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-v", "CMD not specified"),
        ("bogus", "invalid choice: 'bogus'"),
        ("list --bogus", "unrecognized arguments: --bogus"),
        ("--cache --no-cache list", "argument --no-cache: only one of its kind"),
        ("build --rebuild --no-cache .", "argument --no-cache: only one of its kind"),
        ("--version=3", "argument --version: it takes no value"),
        ("build --parse-only=yes .", "argument --parse-only: it takes no value"),
        ("-v list -q", '"--quiet" incompatible with "--verbose"'),
        ("gestalt x", "invalid choice"),
        ("delete", "the following arguments are required: GLOB"),
    ],
)
def test_usage_errors(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert message in caught.value.message
    assert caught.value.hint


def test_the_hint_names_those_of_the_kind() -> None:
    with pytest.raises(UsageError) as caught:
        parsed("--cache --no-cache list")
    assert caught.value.hint == "write one of: --cache, --no-cache, --rebuild"


@pytest.mark.parametrize("text", ["build --provenance c .", "build --provenance=c --bogus ."])
def test_an_unknown_option_is_named_alone(text: str) -> None:
    """Nobody knows whether the next word is its argument."""
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert caught.value.message == "unrecognized arguments: --provenance"


@pytest.mark.parametrize(
    ("text", "subcommand", "setting"),
    [
        ("ls", "list", ("long", False)),
        ("-v ls -l x", "list", ("long", True)),
        ("images", "list", ("long", True)),
        ("rm x", "delete", ("globs", ["x"])),
        ("prune", "build-cache", ("collect", True)),
        ("build-cache", "build-cache", ("collect", False)),
    ],
)
def test_further_names(text: str, subcommand: str, setting: tuple[str, object]) -> None:
    arguments = parsed(text)
    assert arguments.subcommand == subcommand
    assert getattr(arguments, setting[0]) == setting[1]


@pytest.mark.parametrize(
    ("text", "suggested"),
    [
        ("biuld .", "build"),
        ("tga x y", "tag"),
        ("lst", "list"),
        ("rmi x", "rm"),
        ("list --lnog", "--long"),
        ("build --no-cahce .", "--no-cache"),
        ("build --forec=none .", "--force"),
        ("save --format=oci-archve x", "oci-archive"),
    ],
)
def test_a_suggestion_for_a_misspelled_word(text: str, suggested: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert caught.value.hint.startswith(f"did you mean {suggested}? See ch-image ")


@pytest.mark.parametrize("text", ["frobnicate", "list --frobnicate", "x" * 10000])
def test_no_suggestion_for_a_word_like_no_other(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert "did you mean" not in caught.value.hint


# The subcommands of podman and ours.
PODMAN = {name: name for name in ("build", "pull", "push", "tag", "login", "logout", "save")}
PODMAN |= {name: name for name in ("load", "import", "inspect", "history", "images")}
PODMAN |= {"rmi": "rm"}


@pytest.mark.parametrize(("podman", "ours"), PODMAN.items())
def test_no_option_of_podman_abbreviates_another_one(podman: str, ours: str) -> None:
    """An option of podman is an option of ours by the same name, or it is refused."""
    parser = _subcommands(_parser())[ours]
    known = {name: action for action in parser._actions for name in action.option_strings}
    for option in podman_options(podman):
        found = [name for name in known if name.startswith(option)]
        assert option in known or not found, (option, found)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("login --password x h", "--password-stdin"),
        ("login --password=x h", "--password-stdin"),
        ("push --compress x", "--compression"),
        ("save --compress x", "--compression"),
    ],
)
def test_an_option_of_podman_that_looks_like_an_abbreviation(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert "has no option --" in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("subcommand", ["build", "delete", "gestalt", "import", "list", "reset"])
def test_help_of_subcommands_leaves_out_common_options(
    subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(f"{subcommand} --help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "--storage" not in text
    assert "common options" not in text
