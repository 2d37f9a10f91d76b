"""ARG, ENV and substitution in whole builds: the tables of the Dockerfile reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

# name: (Dockerfile, options, output of RUN)
TABLE: dict[str, tuple[str, list[str], str]] = {
    "global ARG is not seen in a stage": ("ARG X=g\nFROM bb\nRUN echo [$X]", [], "[]"),
    "global ARG redeclared": ("ARG X=g\nFROM bb\nARG X\nRUN echo [$X]", [], "[g]"),
    "default of the stage": ("ARG X=g\nFROM bb\nARG X=s\nRUN echo [$X]", [], "[s]"),
    "build-arg over both": (
        "ARG X=g\nFROM bb\nARG X=s\nRUN echo [$X]",
        ["--build-arg", "X=b"],
        "[b]",
    ),
    "argument of FROM": ("FROM --arg=X=1 bb\nRUN echo [$X]", [], "[1]"),
    "argument of FROM without a value": ("ARG X=g\nFROM --arg=X bb\nRUN echo [$X]", [], "[g]"),
    "argument of FROM by build-arg": (
        "FROM --arg=X=1 --arg=Y=2 bb\nRUN echo [$X$Y]",
        ["--build-arg", "X=b"],
        "[b2]",
    ),
    "argument of FROM from a global ARG": (
        "ARG G=g\nFROM --arg=X=$G.1 bb\nRUN echo [$X] [$G]",
        [],
        "[g.1] []",
    ),
    "argument of FROM in a child": ("FROM --arg=X=1 bb AS a\nFROM a\nRUN echo [$X]", [], "[1]"),
    "global ARG in later ones, in every FROM": (
        "ARG A=b\nARG B=${A}b\nFROM $B AS x\nFROM $B\nRUN echo [$A$B]",
        [],
        "[]",
    ),
    "only after its declaration": ("FROM bb\nRUN echo [$X]\nARG X=1\nRUN echo [$X]", [], "[]\n[1]"),
    "value with an equals sign": (
        "FROM bb\nARG X\nRUN echo [$X]",
        ["--build-arg", "X=a=b=c"],
        "[a=b=c]",
    ),
    "empty build-arg": ("FROM bb\nARG X=d\nRUN echo [${X-unset}]", ["--build-arg", "X="], "[]"),
    "no value at all": ("FROM bb\nARG X\nRUN echo [${X-unset}]", [], "[unset]"),
    "ENV over ARG": ("FROM bb\nARG X=a\nENV X=e\nRUN echo [$X]", [], "[e]"),
    "ENV over a later ARG": (
        "FROM bb\nENV X=e\nARG X=a\nRUN echo [$X]",
        ["--build-arg", "X=b"],
        "[e]",
    ),
    "ENV keeps an ARG": ("FROM bb\nARG X=a\nENV Y=${X:-d}\nRUN echo [$Y]", [], "[a]"),
    "one instruction, one state": (
        "FROM bb\nENV a=hello\nENV a=bye b=$a\nENV c=$a\nRUN echo [$a $b $c]",
        [],
        "[bye hello bye]",
    ),
    "ARG of ARG": ("FROM bb\nARG A=1\nARG B=${A}2\nRUN echo [$B]", [], "[12]"),
    "RUN is left to the shell": ("FROM bb\nARG A=1\nRUN A=2; echo [$A] '$A'", [], "[2] $A"),
    "exec form is left alone": ('FROM bb\nENV A=1\nRUN ["echo", "$A"]', [], "$A"),
    "PATH can be extended": (
        "FROM bb\nENV PATH=/mine:$PATH\nRUN echo $PATH",
        [],
        "/mine:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    "modifiers": (
        """\
FROM bb
ENV A=one.tar.gz E=
ENV R="${A%.*} ${A%%.*} ${A#*.} ${A##*.} ${A/./-} ${A//./-} ${E:-d} ${E-x} ${U+y}${A:+z}"
RUN echo [$R]
""",
        [],
        "[one.tar one tar.gz gz one-tar.gz one-tar-gz d z]",
    ),
    "quotes and escapes": (
        """\
FROM bb
ENV A="a b" B='$A' C=\\$A D=x\\ y E="\\"q\\""
ENV F the rest "of" it
RUN echo "[$A][$B][$C][$D][$E][$F]"
""",
        [],
        '[a b][$A][$A][x y]["q"][the rest of it]',
    ),
    "in WORKDIR and COPY": (
        "FROM bb\nARG D=dir\nWORKDIR /$D/x\nCOPY $D/file to-${D}\nRUN pwd; cat to-dir",
        [],
        "/dir/x\ncontent",
    ),
    "escape directive": (
        "# escape=`\nFROM bb\nENV A=a`\n  B=c:\\x\nRUN echo [$A][$B]",
        [],
        "[a][c:\\x]",
    ),
    "platform ARGs": (
        "FROM bb\nARG TARGETOS\nRUN echo [$TARGETOS][$TARGETARCH]",
        [],
        "[linux][]",
    ),
    "proxy without declaration": (
        "FROM bb\nRUN echo [$HTTPS_PROXY]",
        ["--build-arg", "HTTPS_PROXY=p"],
        "[p]",
    ),
    "continuation and comments": (
        "FROM bb\nRUN echo a \\\n# a comment\n\n   b \\ \n  && echo c",
        [],
        "a b\nc",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_variables(any_workshop: Workshop, name: str) -> None:
    dockerfile, options, expected = TABLE[name]
    any_workshop.write({"dir/file": "content\n"})
    assert any_workshop.build(dockerfile, *options).stdout.strip("\n") == expected


def test_args_leave_no_trace_in_the_image(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nARG X=1\nENV Y=2\nRUN true\n", "--build-arg", "http_proxy=p")
    assert any_workshop.config()["config"]["Env"] == ["Y=2"]


def test_build_arg_from_the_environment(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nARG X\nRUN echo [$X]\n"
    done = any_workshop.build(dockerfile, "--build-arg", "X", env={"X": "env"})
    assert done.stdout == "[env]\n"
    done = any_workshop.build(dockerfile, "--build-arg", "X", check=False)
    assert done.returncode == 2
    assert "error: --build-arg: X: no value and not in environment" in done.stderr


def test_the_argument_of_from_is_shown_but_no_password(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM --arg=A=1 --arg=B --arg=http_proxy=http://u:secret@h bb AS x\n")
    assert done.stderr.splitlines()[0] == "  1* FROM --arg=A=1 --arg=B --arg=http_proxy bb AS x"


def test_build_arg_that_nothing_declares(any_workshop: Workshop) -> None:
    done = any_workshop.build(
        "FROM bb\nARG X\n", "--build-arg", "Y=1", "--build-arg", "X=1", "--build-arg", "Z=1"
    )
    warning = "warning: --build-arg: not consumed: Y Z: no ARG declares it"
    assert done.stderr.splitlines()[-4:] == [
        "grown in 2 instructions: img",
        warning,
        "warning: reprinting 1 warning(s)",
        warning,
    ]
    assert any_workshop.ch_image("list").stdout == "bb\nimg\n"


def test_demanded_variable_that_is_not_set(any_workshop: Workshop) -> None:
    done = any_workshop.build('FROM bb\nENV A="${X:?give one}"\n', check=False)
    assert done.returncode == 1
    assert "Dockerfile:2: X: give one" in done.stderr
    assert any_workshop.ch_image("list").stdout == "bb\n"
