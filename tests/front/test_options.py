"""The scan of a command line, as podman and docker read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import UsageError
from sundog.front.options import HELD, REFUSED, TAKEN, WARNED, Line, Option, scan
from sundog.front.podman import container_options, image_options
from sundog.front.podman.image_lines import SUBCOMMANDS
from sundog.front.podman.run_options import EXEC, RUN

OPTIONS = (
    Option("--interactive -i", "", TAKEN, "in"),
    Option("--tty -t", "", TAKEN, "terminal"),
    Option("--volume -v", "SRC:DST", TAKEN, "bind"),
    Option("--pull", "[POLICY]", TAKEN, "pull"),
    Option("--rm", "", HELD, "so it is"),
    Option("--memory -m", "SIZE", WARNED, "the job decides", harmless=lambda value: value == "0"),
    Option("--publish -p", "PORT", REFUSED, "no ports", "listen on it"),
    Option("--chatty", "", WARNED, "it is quiet"),
)
TABLES = {
    "run": RUN,
    "exec": EXEC,
    "images": image_options.IMAGES,
    "ps": container_options.PS,
    "stop": container_options.STOP,
    "kill": container_options.KILL,
    "rm": container_options.RM,
    "logs": container_options.LOGS,
} | {name: subcommand.options for name, subcommand in SUBCOMMANDS.items()}


def scanned(*words: str, permute: bool = False) -> Line:
    return scan(words, OPTIONS, command="test", permute=permute)


def found(line: Line) -> list[tuple[str, str]]:
    return [(option.name, value) for option, value in line.found]


@pytest.mark.parametrize(
    ("words", "options", "operands"),
    [
        (["a", "-i"], [], ["a", "-i"]),
        (["-it", "a"], [("interactive", "true"), ("tty", "true")], ["a"]),
        (["-ti=false", "a"], [("tty", "true"), ("interactive", "false")], ["a"]),
        (["--tty=0", "a"], [("tty", "false")], ["a"]),
        (["-v", "/a:/b", "a"], [("volume", "/a:/b")], ["a"]),
        (["-v/a:/b", "a"], [("volume", "/a:/b")], ["a"]),
        (["-v=/a:/b", "a"], [("volume", "/a:/b")], ["a"]),
        (["-tv", "-x", "a"], [("tty", "true"), ("volume", "-x")], ["a"]),
        (["--volume=/a:/b", "--", "-i"], [("volume", "/a:/b")], ["-i"]),
        (["--volume", "--", "a"], [("volume", "--")], ["a"]),
        (["--pull", "a"], [("pull", "true")], ["a"]),
        (["--pull=never", "a"], [("pull", "never")], ["a"]),
        (["--rm", "-m", "0", "-", "--rm"], [], ["-", "--rm"]),
    ],
)
def test_words(words: list[str], options: list[tuple[str, str]], operands: list[str]) -> None:
    line = scanned(*words)
    assert found(line) == options
    assert line.operands == operands
    assert line.warnings == []


def test_options_after_operands() -> None:
    line = scanned("a", "-t", "b", "--", "-i", permute=True)
    assert found(line) == [("tty", "true")]
    assert line.operands == ["a", "b", "-i"]


def test_warnings() -> None:
    line = scanned("-m", "1g", "--chatty", "--chatty=false", "a")
    assert line.warnings == [
        "-m 1g has no effect: the job decides",
        "--chatty has no effect: it is quiet",
    ]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["-p", "80"], "-p 80: no ports", "listen on it"),
        (["--publish=80"], "--publish 80: no ports", "listen on it"),
        (["--valume"], "unknown option: --valume", "did you mean --volume?  see: sundog test"),
        (["-x"], "unknown option: -x", "see: sundog test --help"),
        (["-tx"], "unknown option: -x in -tx", "see: sundog test --help"),
        (["-v"], "-v needs an argument", "sundog test --help"),
        (["--tty=perhaps"], "--tty: neither true nor false: perhaps", "sundog test --help"),
    ],
)
def test_mistakes(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        scanned(*words)
    assert caught.value.message == message
    assert hint in caught.value.hint


WORDS = st.lists(
    st.sampled_from(sorted({name for option in RUN for name in option.names}))
    | st.text(max_size=8)
    | st.builds("{}={}".format, st.sampled_from(["--volume", "-v", "-it", "--rm"]), st.text()),
    max_size=8,
)


@given(WORDS)
def test_any_words(words: list[str]) -> None:
    """Every word is an option, an argument or an operand; else the line is refused."""
    try:
        line = scan(words, RUN, command="run", permute=False)
    except UsageError:
        return
    if line.operands:
        assert words[-len(line.operands) :] == line.operands


@pytest.mark.parametrize("name", TABLES)
def test_table(name: str) -> None:
    """No two options have a name in common, and each that is not taken says why."""
    names = [each for option in TABLES[name] for each in option.names]
    assert len(set(names)) == len(names)
    for option in TABLES[name]:
        assert option.names[0].startswith("--"), option.names
        assert option.text, option.names
        assert option.hint or option.treatment != REFUSED, option.names
        assert option.to is None or option.treatment == TAKEN, option.names
        assert option.harmless is None or option.treatment in (WARNED, REFUSED), option.names
