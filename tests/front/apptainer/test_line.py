"""The scan of a line: options before the subcommand, variables in place of options, lists."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import UsageError
from sundog.front.apptainer.action_options import ACTION, GATHERED, GLOBAL, SHELL, TABLES, VARIABLES
from sundog.front.apptainer.line import listed, scan_action, split_globals
from sundog.front.apptainer.refused import REFUSED as REFUSED_SUBCOMMANDS
from sundog.front.cli.sundog_apptainer import SUBCOMMANDS
from sundog.front.options import REFUSED, TAKEN, WARNED
from sundog.front.pflag_values import fields_of, pairs_of

# The names in ``apptainer exec --help`` and ``shell --help`` of Apptainer 1.4.
OPTIONS_OF_EXEC = """
add-caps allow-setuid app apply-cgroups authfile bind blkio-weight blkio-weight-device cdi-dirs
cleanenv compat contain containall cpu-shares cpus cpuset-cpus cpuset-mems cwd device disable-cache
dns docker-host docker-login drop-caps env env-file fakeroot fusemount help home hostname ipc
keep-privs memory memory-reservation memory-swap mount net netns-path network network-args no-eval
no-home no-https no-init no-mount no-pid no-privs no-umask nv nvccli oom-kill-disable overlay
passphrase pem-path pid pids-limit rocm scratch security sharens underlay unsquash userns uts
workdir writable writable-tmpfs pwd intel-hpu no-tmp-sandbox tmp-sandbox dmtcp-launch dmtcp-restart
"""
SHORT = {"B": "bind", "e": "cleanenv", "c": "contain", "C": "containall", "f": "fakeroot"}
SHORT |= {"h": "help", "H": "home", "i": "ipc", "o": "overlay", "p": "pid", "S": "scratch"}
SHORT |= {"u": "userns", "W": "workdir", "w": "writable"}
SUBCOMMANDS_OF_APPTAINER = """
build cache capability checkpoint config delete exec inspect instance key keyserver oci overlay
plugin pull push registry remote run run-help search shell sif sign test verify version
"""


def complain(fault: str) -> UsageError:
    return UsageError(fault, "")


def test_all_options_of_apptainer_are_known() -> None:
    names = {name.lstrip("-"): option for option in ACTION for name in option.names}
    assert set(OPTIONS_OF_EXEC.split()) <= set(names)
    assert {letter: names[letter].name for letter in SHORT} == SHORT
    assert {name.lstrip("-") for option in SHELL for name in option.names} - set(names) == {
        "shell",
        "s",
    }
    known = {*TABLES, *SUBCOMMANDS, *REFUSED_SUBCOMMANDS, "version"}
    assert set(SUBCOMMANDS_OF_APPTAINER.split()) <= known


@pytest.mark.parametrize("table", [SHELL, GLOBAL], ids=["shell", "global"])
def test_table(table: tuple[object, ...]) -> None:
    """No two options have a name in common, and each that is not taken says why."""
    options = SHELL if table is SHELL else GLOBAL
    names = [each for option in options for each in option.names]
    assert len(set(names)) == len(names)
    for option in options:
        assert option.text, option.names
        assert option.hint or option.treatment != REFUSED, option.names
    assert {option.name for option in SHELL} >= GATHERED | set(VARIABLES) - {"pwd"}


def test_globals() -> None:
    line, rest = split_globals(["--quiet", "-sd", "exec", "-q", "x"])
    assert [option.name for option, _ in line.found] == ["quiet", "silent", "debug"]
    assert rest == ["exec", "-q", "x"]


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ([], {"APPTAINER_NV": "1"}, {"nv": ["1"]}),
        ([], {"SINGULARITY_NV": "true"}, {"nv": ["true"]}),
        ([], {"APPTAINER_PWD": "/a", "SINGULARITY_CWD": "/b"}, {"cwd": ["/b"]}),
        ([], {"APPTAINER_CONTAIN": "", "SINGULARITY_CONTAIN": "1"}, {"contain": ["1"]}),
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
        ([], {"APPTAINER_FUSEMOUNT": "d"}, "$APPTAINER_FUSEMOUNT d: no FUSE program is started"),
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
