"""The scan of a line: options before the subcommand, variables in place of options, lists."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import UsageError
from sundog.front.apptainer.action_options import ACTION, GATHERED, SHELL, TABLES
from sundog.front.apptainer.line import listed, scan_action, scan_line, split_globals
from sundog.front.apptainer.refused import REFUSED as REFUSED_WORDS
from sundog.front.cli.sundog_apptainer import SUBCOMMANDS
from sundog.front.cli.sundog_help import described
from sundog.front.options import REFUSED, TAKEN, WARNED, Line, Option
from sundog.front.pflag_values import fields_of, pairs_of
from tests.front.apptainer.upstream import UPSTREAM, names_of

# Subcommands whose options have variables; the others have none.
WITH_VARIABLES = (
    *("", "exec", "run", "shell", "test", "build", "pull", "overlay create"),
    *(f"instance {name}" for name in ("start", "run", "list", "stop", "stats")),
)
SUBCOMMANDS_OF_APPTAINER = """
build cache capability checkpoint config delete exec inspect instance key keyserver oci overlay
plugin pull push registry remote run run-help search shell sif sign test verify version
"""


def complain(fault: str) -> UsageError:
    return UsageError(fault, "")


def test_all_subcommands_of_apptainer_are_known() -> None:
    assert set(SUBCOMMANDS_OF_APPTAINER.split()) <= {
        *TABLES,
        *SUBCOMMANDS,
        *REFUSED_WORDS,
        "version",
    }


def options_of(subcommand: str) -> tuple[Option, ...]:
    """Return the table of a subcommand; of one that is refused, none."""
    if subcommand.split(" ", maxsplit=1)[0] in REFUSED_WORDS:
        return ()
    return tuple(described(f"apptainer {subcommand}".rstrip())[3])


@pytest.mark.parametrize("subcommand", UPSTREAM)
def test_all_options_of_apptainer_are_known(subcommand: str) -> None:
    """Each is in the table, with its letter, and takes an argument or does not."""
    options = options_of(subcommand)
    names = {name: option for option in options for name in option.names}
    for name in names_of(subcommand) if options else []:
        option = names.get(f"--{name.name}")
        assert option is not None, name
        assert not name.letter or names.get(f"-{name.letter}") is option, name
        assert bool(option.argument) == name.has_argument, name
    for option in options:
        assert option.text, option.names
        assert option.hint or option.treatment != REFUSED, option.names
    shown = [each for option in options for each in option.names]
    assert len(set(shown)) == len(shown)


def scanned(subcommand: str, environment: dict[str, str]) -> Line:
    """Scan a line without options."""
    return scan_line(subcommand, [], options_of(subcommand), environment)


def test_the_other_subcommands_have_no_variables() -> None:
    assert not any(
        name.keys for other in {*UPSTREAM} - {*WITH_VARIABLES} for name in names_of(other)
    )


@pytest.mark.parametrize("subcommand", WITH_VARIABLES)
def test_all_variables_of_apptainer_are_read(subcommand: str) -> None:
    """Each does what the option does, under both prefixes; an option without one has none."""
    names = {name: option for option in options_of(subcommand) for name in option.names}
    for name in names_of(subcommand):
        option = names[f"--{name.name}"]
        value = "x" if name.has_argument else "true"
        for key in name.keys:
            for variable in (f"APPTAINER_{key}", f"SINGULARITY_{key}"):
                if option.treatment == REFUSED:
                    with pytest.raises(UsageError, match=f"^[$]{variable}"):
                        scanned(subcommand, {variable: value})
                    continue
                line = scanned(subcommand, {variable: value})
                assert line.all(option.name) == ([value] if option.treatment == TAKEN else [])
                warned = [text.split(" ")[0] for text in line.warnings]
                assert warned == ([f"${variable}"] if option.treatment == WARNED else [])
        key = name.name.upper().replace("-", "_")
        if not name.keys and not any(key in each.keys for each in names_of(subcommand)):
            line = scanned(subcommand, {f"APPTAINER_{key}": value})
            assert (line.found, line.warnings) == ([], []), name


def test_gathered_options_have_a_table() -> None:
    assert {option.name for option in SHELL} >= GATHERED


def test_globals() -> None:
    line, rest = split_globals(["--quiet", "-sd", "exec", "-q", "x"], {})
    assert [option.name for option, _ in line.found] == ["quiet", "silent", "debug"]
    assert rest == ["exec", "-q", "x"]


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ([], {"APPTAINER_NV": "1"}, {"nv": ["true"]}),
        ([], {"SINGULARITY_NV": "F"}, {"nv": ["false"]}),
        ([], {"SINGULARITY_NV": "true"}, {"nv": ["true"]}),
        ([], {"APPTAINER_PWD": "/a", "SINGULARITY_CWD": "/b"}, {"cwd": ["/b"]}),
        ([], {"APPTAINER_CONTAIN": "", "SINGULARITY_CONTAIN": "1"}, {"contain": ["true"]}),
        ([], {"APPTAINER_BIND": "/a", "SINGULARITY_BIND": "/b"}, {"bind": ["/a"]}),
        ([], {"SINGULARITY_BINDPATH": "/b"}, {"bind": ["/b"]}),
        (["-B", "/c"], {"APPTAINER_BINDPATH": "/a,/b"}, {"bind": ["/a,/b", "/c"]}),
        (["--home", "/h"], {"APPTAINER_HOME": "/a"}, {"home": ["/h"]}),
        (["--pwd", "/h"], {}, {"cwd": ["/h"]}),
        (["-c=false"], {"APPTAINER_CONTAIN": "1"}, {"contain": ["false"]}),
        ([], {"APPTAINER_NOENV": "A,B"}, {"no-env": ["A,B"]}),
    ],
)
def test_variables_in_place_of_options(
    words: list[str], environment: dict[str, str], expected: dict[str, list[str]]
) -> None:
    line = scan_action("exec", [*words, "img", "--nv"], environment)
    assert {option.name: line.all(option.name) for option, _ in line.found} == expected
    assert line.operands == ["img", "--nv"]


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--fusemount", "d"], {}, "--fusemount d: no FUSE program is started"),
        ([], {"APPTAINER_FUSESPEC": "d"}, "$APPTAINER_FUSESPEC d: no FUSE program is started"),
        ([], {"SINGULARITY_NV": "x"}, "$SINGULARITY_NV: neither true nor false: x"),
        (["--blind", "d"], {}, "unknown option: --blind"),
        (["--bind"], {}, "--bind needs an argument"),
    ],
)
def test_mistakes(words: list[str], environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        scan_action("exec", words, environment)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_warnings() -> None:
    line = scan_action("exec", ["--cpus", "2", "img"], {"APPTAINER_MEMORY": "1g"})
    assert [text.split(":")[0] for text in line.warnings] == [
        "--cpus 2 has no effect",
        "$APPTAINER_MEMORY 1g has no effect",
    ]
    for option in ACTION:
        if option.treatment == WARNED:
            words = [option.names[0], *(["x"] if option.argument else []), "img"]
            assert scan_action("exec", words, {}).warnings, option.names


def test_lists() -> None:
    line = scan_action("exec", ["-B", r"/a,/b\,c:/d", "-B", '"/e:/f"', "img"], {})
    assert listed(line, "bind", escapes=True) == ["/a", r"/b\,c:/d", "/e:/f"]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,", ["a", ""]),
        (",a", ["", "a"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('"a",', ["a", ""]),
    ],
)
def test_fields(text: str, fields: list[str]) -> None:
    assert fields_of(text, complain) == fields


@pytest.mark.parametrize("text", ['a"b', '"a', '"a"b', 'a,b"'])
def test_bad_quotes(text: str) -> None:
    with pytest.raises(UsageError):
        fields_of(text, complain)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("A=1", {"A": "1"}),
        ("A=1,2", {"A": "1,2"}),
        ("A=1,B=2", {"A": "1", "B": "2"}),
        ("A=x=y", {"A": "x=y"}),
        ('"A=1,2",B=3', {"A": "1,2", "B": "3"}),
        ("A=", {"A": ""}),
    ],
)
def test_pairs(text: str, pairs: dict[str, str]) -> None:
    assert pairs_of(text, complain) == pairs


WORDS = st.lists(
    st.sampled_from(sorted({name for option in SHELL for name in option.names}))
    | st.text(max_size=8)
    | st.builds("{}={}".format, st.sampled_from(["--bind", "-B", "--env", "-cC"]), st.text()),
    max_size=8,
)
NAMES = sorted({f"{start}_{option.name.upper().replace('-', '_')}" for option in SHELL
                for start in ("APPTAINER", "SINGULARITY")})  # fmt: skip


@given(WORDS, st.dictionaries(st.sampled_from(NAMES), st.text(max_size=8), max_size=4))
def test_any_words(words: list[str], environment: dict[str, str]) -> None:
    """Every line is scanned, or refused in words."""
    try:
        line = scan_action("shell", words, environment)
    except UsageError:
        return
    assert all(option.treatment == TAKEN for option, _ in line.found)
    for name in ("bind", "no-mount"):
        with suppress(UsageError):
            listed(line, name, escapes=True)
