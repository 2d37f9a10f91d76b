"""The image's scripts of variables: read without a shell, or left to one."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.quoting import between_quotes, literal
from sundog.front.apptainer.scripts import NeedsShell, Variables, expanded, run_script

HOST = {"HOST": "h", "PATH": "/bin"}
BASE = """#!/bin/sh
#
# The last script that Apptainer writes.

if [ -z "${LD_LIBRARY_PATH:-}" ]; then
    LD_LIBRARY_PATH="/.singularity.d/libs"
else
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/.singularity.d/libs"
fi
PS1="Apptainer> "
export LD_LIBRARY_PATH PS1
"""
APPS = """
if test -n "${SINGULARITY_APPNAME:-}"; then
    export SINGULARITY_APPNAME
    if test -d "/scif/apps/${SINGULARITY_APPNAME:-}/"; then
        PATH="/scif/apps/${SINGULARITY_APPNAME:-}:$PATH"
        if [ -f "/scif/apps/${SINGULARITY_APPNAME:-}/scif/env/01-base.sh" ]; then
            . "/scif/apps/${SINGULARITY_APPNAME:-}/scif/env/01-base.sh"
        fi
    else
        echo "Could not locate the container application: ${SINGULARITY_APPNAME}"
        exit 1
    fi
fi
"""


def after(text: str, host: dict[str, str] = HOST) -> dict[str, str]:
    """Return what a script changes of the variables that a command gets."""
    found = run_script(text, Variables(host)).passed()
    return {name: value for name, value in found.items() if host.get(name) != value}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", {}),
        ("# no\n\n  # more\n", {}),
        ("export A=1", {"A": "1"}),
        ("A=1", {}),
        ("A=1; export A", {"A": "1"}),
        ("A=1\nB=$A\nexport B", {"B": "1"}),
        ("export A=\"x y\" B='$z'", {"A": "x y", "B": "$z"}),
        ('export A="${A:-"v w"}"', {"A": "v w"}),
        ('export HOST="${HOST:-"v"}"', {}),
        ("export A=${HOST:+b}${NO:+c}${NO-d}", {"A": "bd"}),
        (r'export A="\$HOST \"q\" \x \\"', {"A": r'$HOST "q" \x ' + "\\"}),
        ("export A=a\\\nb", {"A": "ab"}),
        ("PATH=/opt:$PATH", {"PATH": "/opt:/bin"}),
        ("unset HOST", {}),
        ("export A=a#b", {"A": "a#b"}),
        ('if [ "$HOST" = h ]; then export A=1; else export A=2; fi', {"A": "1"}),
        ("if [ -z $HOST ]; then\nexport A=1\nelif test -n x; then export A=3\nfi", {"A": "3"}),
        (BASE, {"LD_LIBRARY_PATH": "/.singularity.d/libs", "PS1": "Apptainer> "}),
        (APPS, {}),
    ],
)
def test_forms(text: str, changed: dict[str, str]) -> None:
    assert after(text) == changed


@pytest.mark.parametrize(
    "text",
    [
        "export A=$(date)", "export A=`date`", ". /etc/profile", "source x", "A=1 command",
        "for a in b; do export A=$a; done", "[[ -n x ]] && export A=1", "export A=~", "f() { :; }",
        "if [ -d /x ]; then export A=1; fi", "export A=1 &", "export 'A", 'export "A', "fi", "else",
        "if [ -n x ]; then", "export A=${A%x}", "export A=${#A}", "export A=$1", "A=$'x'",
        "$HOST=1",
        "export A=${A:-`x`}", "export A=" + "${A:-" * 50 + "}" * 50, "echo x", "export -n A",
        "A=xxxxxxxx\n" + "A=$A$A\n" * 40, "export 1A=x", "export A=${A:=x}", "case x in x) ;; esac",
    ],
)  # fmt: skip
def test_left_to_a_shell(text: str) -> None:
    before = Variables(HOST)
    with pytest.raises(NeedsShell):
        run_script(text, before)
    assert before.passed() == HOST


@pytest.mark.parametrize(
    "text",
    [
        "A=" + "*" * 300_000,
        "A=" + "$B" * 150_000,
        "A=" + "x" * 1000 + "\n: " + '"$A"' * 100_000,
        "A=" + "x" * 1000 + "\nB=" + "${A:-}" * 100_000,
        'export A="' + "\\\\" * 150_000 + '"',
        "if [ -n x ]; then " * 50_000,
        ";" * 300_000,
    ],
    ids=["patterns", "empty", "word", "braces", "quoted", "nested", "statements"],
)
def test_the_work_is_bounded(text: str) -> None:
    """No text takes long, or much memory."""
    begin = process_time()
    with suppress(NeedsShell):
        run_script(text, Variables(HOST))
    assert process_time() - begin < 10


def of_shell(text: str) -> dict[str, str] | None:
    """Return what dash or bash, as sh, makes of a script; None if it fails."""
    program = f"{text}\nenv -0"
    argv = ["/bin/sh", "-c", program]
    env = HOST | {"PATH": "/bin:/usr/bin"}
    done = subprocess.run(argv, env=env, capture_output=True, check=False)
    if done.returncode or done.stderr:
        return None
    found = dict(item.split("=", 1) for item in done.stdout.decode().split("\0") if item)
    return {name: value for name, value in found.items() if name in ("A", "B", "C")}


PIECES = st.sampled_from([
    "A", "B", "C", "=", "export ", "\n", ";", " ", '"', "'", "$", "${", "}", ":-", "x", "\\", "#",
    "if [ -n ", " ]; then ", "\nfi\n", "else ", "unset ", "A=1", "B=$A", "${A:-", ":+",
])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=10).map("".join))
def test_what_is_read_is_what_a_shell_reads(text: str) -> None:
    """A text that no shell takes may end in either way, but with a named error."""
    try:
        found = run_script(text, Variables(HOST | {"PATH": "/bin:/usr/bin"})).passed()
    except NeedsShell:
        return
    expected = of_shell(text)
    if expected is not None:
        assert {name: value for name, value in found.items() if name in "ABC"} == expected


@given(st.text(alphabet='a$`"\\ {}', max_size=12))
def test_a_literal_text_stays(text: str) -> None:
    assert expanded(literal(text), Variables(HOST)) == text


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("$HOST", "h"), ("hello $NO!", "hello !"), ('"$HOST"', '"h"'), (r"\$HOST", "$HOST"),
        (r"a\"b", r"a\"b"), ("${HOST}:/foo", "h:/foo"), ("a\\", "a\\"), ("$", "$"),
    ],
)  # fmt: skip
def test_values_are_evaluated_between_quotes(value: str, result: str) -> None:
    text = between_quotes(value)
    assert expanded(text, Variables(HOST)) == result
    argv = ["/bin/sh", "-c", f'printf %s "{text}"']
    assert subprocess.run(argv, env=HOST, capture_output=True, check=True).stdout.decode() == result
