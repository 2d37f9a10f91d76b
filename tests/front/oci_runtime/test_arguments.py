"""``oci_runtime.arguments``: the words of callers of runc and crun."""

from __future__ import annotations

import pytest

from sundog.errors import UsageError
from sundog.front.oci_runtime.arguments import Arguments


def read(text: str) -> Arguments:
    arguments = Arguments(text.split())
    arguments.read_command()
    return arguments


def test_options_of_both_parts() -> None:
    arguments = read("--root /r -log=l --debug=false run -b /b --pid-file=p id -d")
    assert (arguments.command, arguments.operands) == ("run", ["id"])
    assert [arguments.value(name) for name in ("root", "log", "bundle", "pid-file")] == [
        *("/r", "l", "/b", "p")
    ]
    assert (arguments.has("debug"), arguments.has("detach")) == (False, True)


def test_the_words_after_the_id_of_exec_are_the_command() -> None:
    arguments = read("exec -e A=1 --tty --env B= -cap X id sh -c -- --env")
    assert arguments.operands == ["id", "sh", "-c", "--", "--env"]
    assert (arguments.values("env"), arguments.values("cap")) == (["A=1", "B="], ["X"])
    assert read("exec -- -id true").operands == ["-id", "true"]
    assert read("state -- -x").operands == ["-x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--bogus=1 list", "unknown option: --bogus=1"),
        ("exec -te id sh", "unknown option: -te"),
        ("create --b /b id", "unknown option: --b"),
        ("--root", "--root: the value is missing"),
        ("create -b", "--bundle: the value is missing"),
        ("kill -a=maybe id", "--all: neither true nor false: maybe"),
        ("kill id 9 10", "kill: 3 operands, expected 1 to 2"),
        ("pause id", "pause: not supported: it needs cgroups or CRIU, and so privileges"),
        ("bogus", "unknown command: bogus"),
    ],
)
def test_lines_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert caught.value.message == message
