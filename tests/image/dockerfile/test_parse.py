"""The value of each instruction, and the report of each fault."""

import os
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import DockerfileError
from sundog.image.dockerfile.grammar import GRAMMAR
from sundog.image.dockerfile.heredocs import Heredoc
from sundog.image.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Nsync,
    Onbuild,
    Place,
    Rsync,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from sundog.image.dockerfile.lines import Directive
from sundog.image.dockerfile.parse import Dockerfile, parse

SECOND = 1_000_000_000
NOWHERE = Place(0, 0, "")  # instructions are equal at all places


def parsed(text: str) -> Dockerfile:
    return parse(text, path="Dockerfile")


def instruction(text: str) -> Instruction:
    """Parse one instruction after a FROM."""
    return parsed(f"FROM base\n{text}").instructions[1]


INSTRUCTIONS: dict[str, Instruction] = {
    "FROM a:1": From(place=NOWHERE, image_text="a:1"),
    "from --platform=$P a@sha256:0 as Stage-1": From(
        place=NOWHERE, image_text="a@sha256:0", alias="stage-1", platform="$P"
    ),
    "FROM --arg=A=$B --arg=C a": From(
        place=NOWHERE, image_text="a", variables=(("A", "$B"), ("C", None))
    ),
    "ARG a": Arg(place=NOWHERE, variables=(("a", None),)),
    'ARG a= b="c d" e': Arg(place=NOWHERE, variables=(("a", ""), ("b", '"c d"'), ("e", None))),
    "ENV a=b c='d e'": Env(place=NOWHERE, pairs=(("a", "b"), ("c", "'d e'"))),
    "ENV a b  c=d ": Env(place=NOWHERE, pairs=(("a", "b  c=d"),)),
    'LABEL "a b"=c': Label(place=NOWHERE, pairs=(('"a b"', "c"),)),
    "RUN echo  'a' $b ": Run(place=NOWHERE, args=("echo  'a' $b",), is_exec=False),
    'RUN ["a", "$b"]': Run(place=NOWHERE, args=("a", "$b"), is_exec=True),
    "RUN --mount=type=cache,target=/x --network=none --mount=type=ssh --security=insecure a": Run(
        place=NOWHERE,
        args=("a",),
        is_exec=False,
        mounts=("type=cache,target=/x", "type=ssh"),
        network="none",
        security="insecure",
    ),
    "RUN --device=a --device=b -- --c": Run(
        place=NOWHERE, args=("--c",), is_exec=False, devices=("a", "b")
    ),
    "RUN <<A sed 1d - <<-'B'\na\nA\n\tb\n\tB": Run(
        place=NOWHERE,
        args=("<<A sed 1d - <<-'B'",),
        is_exec=False,
        heredocs=(
            Heredoc(name="A", content="a\n"),
            Heredoc(name="B", content="\tb\n", expand=False, strip_tabs=True),
        ),
    ),
    "CMD a b": Cmd(place=NOWHERE, args=("a b",), is_exec=False),
    "CMD []": Cmd(place=NOWHERE, args=(), is_exec=True),
    'ENTRYPOINT ["a", "b c"]': Entrypoint(place=NOWHERE, args=("a", "b c"), is_exec=True),
    "COPY a b c/": Copy(place=NOWHERE, sources=("a", "b"), destination="c/"),
    'COPY ["a b", "c d"]': Copy(place=NOWHERE, sources=("a b",), destination="c d"),
    "COPY --from=x --chown=1:2 --chmod=755 --link --parents=true --exclude=o --exclude=y a b": Copy(
        place=NOWHERE,
        sources=("a",),
        destination="b",
        from_="x",
        chown="1:2",
        chmod="755",
        link=True,
        parents=True,
        excludes=("o", "y"),
    ),
    'COPY --link=false <<A b <<"C" /d/\n$a\nA\nc\nC': Copy(
        place=NOWHERE,
        sources=("b",),
        destination="/d/",
        heredocs=(
            Heredoc(name="A", content="$a\n"),
            Heredoc(name="C", content="c\n", expand=False),
        ),
    ),
    "ADD --checksum=sha256:0 --keep-git-dir --unpack=FALSE https://a/b /c": Add(
        place=NOWHERE,
        sources=("https://a/b",),
        destination="/c",
        checksum="sha256:0",
        keep_git_dir=True,
        unpack=False,
    ),
    "ADD a b": Add(place=NOWHERE, sources=("a",), destination="b"),
    "RSYNC +m --exclude='a b' -t a b": Rsync(
        place=NOWHERE,
        plus="m",
        options=("--exclude='a b'", "-t"),
        sources=("a",),
        destination="b",
    ),
    'NSYNC ["--filter=- x", "a", "b"]': Nsync(
        place=NOWHERE, plus="l", options=("--filter=- x",), sources=("a",), destination="b"
    ),
    "WORKDIR /a b": Workdir(place=NOWHERE, path="/a b"),
    "USER a:b": User(place=NOWHERE, user="a:b"),
    "STOPSIGNAL SIGKILL": Stopsignal(place=NOWHERE, signal="SIGKILL"),
    "MAINTAINER A B <c@d>": Maintainer(place=NOWHERE, maintainer="A B <c@d>"),
    'SHELL ["/bin/bash", "-c"]': Shell(place=NOWHERE, shell=("/bin/bash", "-c")),
    "EXPOSE 80 53/udp": Expose(place=NOWHERE, ports=("80", "53/udp")),
    "VOLUME /a /b": Volume(place=NOWHERE, volumes=("/a", "/b")),
    'VOLUME [" /a b "]': Volume(place=NOWHERE, volumes=("/a b",)),
    "HEALTHCHECK none": Healthcheck(place=NOWHERE, test=("NONE",)),
    "HEALTHCHECK --interval=1m30s  --timeout=1.5s --retries=3 --start-period=0 CMD a": Healthcheck(
        place=NOWHERE,
        test=("CMD-SHELL", "a"),
        interval=90 * SECOND,
        timeout=SECOND * 3 // 2,
        retries=3,
    ),
    'HEALTHCHECK --start-interval=+500ms --start-period=1h CMD  ["a"]': Healthcheck(
        place=NOWHERE, test=("CMD", "a"), start_interval=SECOND // 2, start_period=3600 * SECOND
    ),
    "ONBUILD COPY --link a b": Onbuild(
        place=NOWHERE,
        trigger=Copy(place=NOWHERE, sources=("a",), destination="b", link=True),
        trigger_text="COPY --link a b",
    ),
    "ONBUILD  RUN cat <<E\nx\nE": Onbuild(
        place=NOWHERE,
        trigger=Run(
            place=NOWHERE, args=("cat <<E",), is_exec=False, heredocs=(Heredoc("E", "x\n"),)
        ),
        trigger_text="RUN cat <<E\nx\nE",
    ),
}


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_instruction_becomes_its_value(text: str) -> None:
    assert instruction(text) == INSTRUCTIONS[text]


def test_every_instruction_of_the_language_is_tested() -> None:
    assert {each.name for each in INSTRUCTIONS.values()} == set(GRAMMAR)


def test_places_are_physical_lines() -> None:
    text = "# syntax=x\n\nFROM a \\\n  # c\n  AS b\n\nRUN <<E\nx\nE\nUSER c\n"
    places = [each.place for each in parsed(text).instructions]
    assert places == [Place(3, 5, "FROM a   AS b"), Place(7, 9, "RUN <<E"), Place(10, 10, "USER c")]


def test_directives_are_kept() -> None:
    dockerfile = parsed("# syntax=docker/dockerfile:1\n#ESCAPE = `\n# check=skip=all\nFROM a `\n\n")
    assert dockerfile.directives == (
        Directive("syntax", "docker/dockerfile:1", 1),
        Directive("escape", "`", 2),
        Directive("check", "skip=all", 3),
    )
    assert dockerfile.escape == "`"
    assert dockerfile.directive("syntax") == "docker/dockerfile:1"
    assert parsed("FROM a").escape == "\\"


def test_args_may_stand_before_from() -> None:
    names = [each.name for each in parsed("ARG a=1\nARG b\nFROM $a\nARG c").instructions]
    assert names == ["ARG", "ARG", "FROM", "ARG"]


def test_bytes_that_are_not_utf8_pass_through() -> None:
    dockerfile = parse(b"\xef\xbb\xbfFROM a\nCOPY caf\xe9 caf\xc3\xa9\n", path="Dockerfile")
    copy = dockerfile.instructions[1]
    assert isinstance(copy, Copy)
    assert [os.fsencode(word) for word in (*copy.sources, copy.destination)] == [
        b"caf\xe9",
        b"caf\xc3\xa9",
    ]


def test_bytes_that_are_not_utf8_pass_through_json() -> None:
    run = parse(b'FROM a\nRUN ["caf\xe9", "\\ud800"]\n', path="Dockerfile").instructions[1]
    assert isinstance(run, Run)
    assert [os.fsencode(arg) for arg in run.args] == [
        b"caf\xe9",
        "\N{REPLACEMENT CHARACTER}".encode(),
    ]


def test_argv_has_the_shell_in_shell_form_only() -> None:
    shell = ("/bin/sh", "-c")
    run = instruction("RUN a b")
    assert isinstance(run, Run)
    assert run.argv(shell) == ["/bin/sh", "-c", "a b"]
    run = instruction('RUN ["a", "b"]')
    assert isinstance(run, Run)
    assert run.argv(shell) == ["a", "b"]


# Dockerfile, line of the fault, message, the marked text ("" if something is missing), hint.
FAULTS = [
    ("FROM a\nRNU b", 2, "unknown instruction: RNU", "RNU", "did you mean RUN?"),
    ("FROM a\nRUN b\n  && c", 3, "unknown instruction: &&", "&&", "the line above"),
    ("FROM a\n\\\n", 2, "no instruction follows", "", ""),
    ("", 1, "no instructions found", None, ""),
    ("# a\n\n", 3, "no instructions found", None, ""),
    ("ARG a", 1, "no FROM instruction", "ARG a", ""),
    ("ARG a\n  RUN b\nFROM c", 2, "RUN before the first FROM", "RUN b", "only ARG"),
    ("# escape=/\nFROM a", 1, "'/' is not an escape", "# escape=/", r"\\ or `"),
    (
        "# syntax=a\n# SYNTAX=b\nFROM a",
        2,
        "'syntax' is given twice, first in line 1",
        "# SYNTAX=b",
        "",
    ),
    ("FROM", 1, "FROM needs an image", "", "FROM .*IMAGE"),
    ("FROM a b", 1, "FROM needs an image", "a b", ""),
    ("FROM a # b", 1, "FROM needs an image", "a # b", "comment needs a line of its own"),
    ("FROM a AS 1b", 1, "not a name for a stage: '1b'", "1b", "a letter"),
    ("FROM --plattform=x a", 1, "no flag --plattform", "--plattform=x", "did you mean --platform?"),
    ("FROM --arg==1 a", 1, "FROM --arg: no name before '='", "=1", ""),
    ("FROM --arg a", 1, "--arg needs a value", "--arg", "--arg=VALUE"),
    ("FROM --platform x", 1, "--platform needs a value", "--platform", "--platform=VALUE"),
    ("FROM a\nRUN", 2, "RUN needs an argument", "", ""),
    ("FROM a\nRUN []", 2, "RUN needs a command", "[]", ""),
    ("FROM a\nRUN [1]", 2, "must hold only strings", "[1]", r'\["/bin/ls", "-l"\]'),
    ("FROM a\nRUN --network=bridge b", 2, "takes default or none or host", "--network=bridge", ""),
    ("FROM a\nRUN <<E\nb", 2, "heredoc <<E is not terminated", "<<E", "has only E"),
    (
        "FROM a\nRUN b \\\n <<-'E F'\nE F ",
        3,
        "heredoc <<-'E F' is not",
        "<<-'E F'",
        "has only E F",
    ),
    ("FROM a\nRUN <<${b:-c d}", 2, "heredoc: ", "<<${b:-c d}", ""),
    ("FROM a\nENV", 2, "ENV needs an argument", "", "ENV NAME=VALUE"),
    ("FROM a\nENV b", 2, "ENV needs a value for b", "b", "ENV b=VALUE"),
    ("FROM a\nENV b=c \\\n# x\n  d", 4, "no '=' in 'd'", "d", "quotes"),
    ("FROM a\nENV b=c # d", 2, "no '=' in '#'", "#", "comment needs a line of its own"),
    ("FROM a\nLABEL =b", 2, "LABEL: no name before '='", "=b", ""),
    ("FROM a\nARG =b", 2, "ARG: no name before '='", "=b", ""),
    ("FROM a\nARG", 2, "ARG needs a name", "", ""),
    ("FROM a\nENV --b c=d", 2, "ENV has no flag --b", "--b", "has no flags"),
    ("FROM a\nCOPY b", 2, "COPY needs a source and a destination", "b", ""),
    ("FROM a\nCOPY --link", 2, "COPY needs a source and a destination", "", ""),
    ("FROM a\nADD []", 2, "ADD needs a source and a destination", "[]", ""),
    ("FROM a\nCOPY b <<E\nE", 2, "a heredoc can't be the destination", "<<E", ""),
    ("FROM a\nCOPY --link=yes b c", 2, "--link takes true or false, not 'yes'", "--link=yes", ""),
    ("FROM a\nCOPY --chown=1 --chown=2 b c", 2, "--chown is given twice", "--chown=2", ""),
    ("FROM a\nCOPY --xyzzy b c", 2, "COPY has no flag --xyzzy", "--xyzzy", "its flags are --chown"),
    ("FROM a\nSHELL b", 2, "SHELL needs a JSON array", "b", ""),
    ("FROM a\nSHELL []", 2, "SHELL needs a JSON array", "[]", ""),
    ("FROM a\nVOLUME", 2, "VOLUME needs a path", "", ""),
    ('FROM a\nVOLUME [""]', 2, "VOLUME needs a path", '[""]', ""),
    ("FROM a\nEXPOSE", 2, "EXPOSE needs an argument", "", ""),
    ("FROM a\nWORKDIR \\\n", 2, "WORKDIR needs an argument", "", ""),
    ("FROM a\nHEALTHCHECK", 2, "HEALTHCHECK needs an argument", "", ""),
    ("FROM a\nHEALTHCHECK curl b", 2, "takes CMD or NONE, not curl", "curl", ""),
    ("FROM a\nHEALTHCHECK CMD", 2, "needs a command", "CMD", ""),
    ("FROM a\nHEALTHCHECK NONE b", 2, "NONE takes no arguments", "b", ""),
    ("FROM a\nHEALTHCHECK --timeout=5 CMD b", 2, "not a time: '5'", "--timeout=5", "1m30s"),
    ("FROM a\nHEALTHCHECK --timeout=5us CMD b", 2, "5us is less than 1ms", "--timeout=5us", ""),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD b", 2, "not a number: '-1'", "--retries=-1", ""),
    ("FROM a\nONBUILD", 2, "ONBUILD needs an argument", "", ""),
    ("FROM a\nONBUILD FROM b", 2, "FROM can't be an ONBUILD trigger", "FROM", ""),
    ("FROM a\nONBUILD onbuild RUN b", 2, "ONBUILD can't be", "onbuild", ""),
    ("FROM a\nONBUILD RUM b", 2, "unknown instruction: RUM", "RUM", "did you mean RUN?"),
    ("FROM a\nONBUILD COPY --frm=x a b", 2, "no flag --frm", "--frm=x", "did you mean --from?"),
]


@pytest.mark.parametrize(("text", "line", "message", "marked", "hint"), FAULTS)
def test_fault_is_reported_at_its_place(
    text: str, line: int, message: str, marked: str | None, hint: str
) -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed(text)
    error = caught.value
    assert (error.path, error.line) == ("Dockerfile", line)
    assert message in error.message
    assert "\n" not in error.message
    assert re.search(hint, error.hint)
    if marked is None:
        assert error.excerpt == ""
    else:
        assert marked_text(error.excerpt) == (text.split("\n")[line - 1].rstrip(), marked)


def marked_text(excerpt: str) -> tuple[str, str]:
    """Return the source line that an excerpt shows, and the part of it that is marked."""
    shown, marker = (line.partition("| ")[2] for line in excerpt.split("\n"))
    start = len(marker) - len(marker.lstrip())
    assert re.fullmatch(r"~*\^", marker[start:])
    return shown, shown[start : len(marker)].strip(" \\")


def test_error_reads_well() -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed("FROM a\nRUN b\nCPOY c d\n")
    assert str(caught.value) == (
        "Dockerfile:3: unknown instruction: CPOY\n   3 | CPOY c d\n     | ~~~^"
    )
    assert caught.value.hint == "did you mean COPY?"


def test_excerpt_keeps_tabs_in_line() -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed("FROM\ta\tb\n")
    assert caught.value.excerpt == "   1 | FROM\ta\tb\n     |     \t~~^"


def test_excerpt_of_a_long_line_is_cut() -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed(f"FROM a\nENV {'b=c ' * 100}oops {'d=e ' * 100}\n")
    shown, marker = caught.value.excerpt.split("\n")
    assert len(shown) < 120
    assert shown[marker.index("~") : len(marker)] == "oops"


def test_excerpt_has_nothing_that_a_terminal_obeys() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM a\nFOO \x1b[2J\xff\n", path="Dockerfile")
    assert "\x1b" not in str(caught.value)
    str(caught.value).encode()


def test_error_of_the_build_marks_what_it_is_about() -> None:
    dockerfile = parsed("FROM a\nCOPY b \\\n  nonesuch /c\n")
    error = dockerfile.error(dockerfile.instructions[1], "no such file", near="nonesuch", hint="x")
    assert (error.line, error.hint) == (3, "x")
    assert marked_text(error.excerpt) == ("  nonesuch /c", "nonesuch")
    error = dockerfile.error(dockerfile.instructions[1], "what", near="not there")
    assert marked_text(error.excerpt) == ("COPY b \\", "COPY b")


@pytest.mark.parametrize(
    "text",
    [
        f"HEALTHCHECK --timeout={'9' * 400}h CMD b",
        f"HEALTHCHECK --retries={'9' * 5000} CMD b",
        f"RUN [{'[' * 100_000}",
        f"RUN {'9' * 5000}<<E",
        f"RUN {'${a:-' * 10_000} <<E",
        f"ENV a={'${a:-' * 10_000}",
        f"COPY {'<' * 10_000} b",
        f"RUN [{'9' * 5000}]",
    ],
    ids=lambda text: text[:20],
)
def test_excess_is_no_crash(text: str) -> None:
    error = fault_of(f"FROM a\n{text}\n")
    if error is not None:
        assert len(error.excerpt) < 300


def fault_of(text: str) -> DockerfileError | None:
    """Parse and expand; any other exception is a bug."""
    try:
        dockerfile = parsed(text)
        for each in dockerfile.instructions:
            dockerfile.expand(each, {"a": "b"})
    except DockerfileError as error:
        return error
    return None


@given(st.lists(st.sampled_from([*GRAMMAR, *"\n\n\n \\`$\"'[]{}<-=#,:/a1\t\r\xff", "<<E", "--"])))
def test_any_text_is_parsed_or_refused(pieces: list[str]) -> None:
    text = "FROM a\n" + "".join(pieces)
    error = fault_of(text)
    if error is not None:
        assert 1 <= error.line <= text.count("\n") + 1
        assert "\n" not in error.message


def test_parsing_is_fast() -> None:
    text = "FROM a\n" + 50 * (
        "RUN apt-get install \\\n  # why\n  x y \\\n  && true\n"
        "ENV A=b C='d e'\nCOPY --from=a b c /d/\n# comment\n\n"
    )
    assert text.count("\n") > 400

    def measured() -> float:
        start = time.process_time()
        parsed(text)
        return time.process_time() - start

    assert min(measured() for _ in range(5)) < 0.015  # 2 ms where this was written


def test_import_stays_light() -> None:
    code = "import sundog.image.dockerfile.parse, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"argparse", "difflib", "logging", "pathlib", "subprocess", "typing"}
