"""``build --check``: each rule finds its own faults, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sundog.image.builder.check.lint import EXPERIMENTAL, RULES, CheckDirective, check
from sundog.image.builder.check.subject import Facts
from sundog.image.dockerfile.ignore import PathPatterns
from sundog.image.dockerfile.parse import parse

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

BASE = {"PATH": "/bin", "HOME_OF_BASE": "/base"}
FACTS = Facts(
    {"GIVEN": "x"},
    {"base": BASE, "scratch": {}}.get,
    PathPatterns(["*/tmp/*", "build", "!build/kept", "secret.*"]),
    ".dockerignore",
)

# (rule, the lines of its findings, the Dockerfile).  Most have a bad and a good half.
CASES = [
    ("ConsistentInstructionCasing", [2, 4], "FROM base\nrun x\nENV A=b\nCopy a b\nUSER x\n"),
    ("ConsistentInstructionCasing", [3], "from base\nrun x\nENV A=b\nuser x\n"),
    ("ConsistentInstructionCasing", [], "FROM base\nRUN x\nENV A=b\n"),
    ("ConsistentInstructionCasing", [], "from base\nrun x\nenv A=b\n"),
    ("CopyIgnoredFile", [2], "FROM scratch\nCOPY ./a/tmp/file /x\n"),
    (
        "CopyIgnoredFile",
        [3, 4],
        "FROM base\nCOPY a b /x/\nCOPY a secret.txt /x/\nADD /secret.x /\n",
    ),
    ("CopyIgnoredFile", [], "FROM scratch\nCOPY ./forever/file /x\nCOPY . /\n"),
    ("CopyIgnoredFile", [], "FROM scratch\nCOPY build /x\nADD https://x/secret.x /\n"),
    ("CopyIgnoredFile", [], "FROM base AS a\nFROM scratch\nCOPY --from=a /secret.x /\n"),
    ("CopyIgnoredFile", [], "FROM scratch\nCOPY <<secret.x /\nsecret.x\n"),
    ("DuplicateStageName", [2], "FROM base AS x\nFROM base AS X\nFROM base AS y\n"),
    ("DuplicateStageName", [], "FROM base AS x\nFROM base\nFROM base\n"),
    ("ExposeInvalidFormat", [2, 3], "FROM base\nEXPOSE 127.0.0.1:80:80\nEXPOSE 1 80:80/tcp 2\n"),
    ("ExposeInvalidFormat", [], "FROM base\nEXPOSE 80 81/tcp 82-83 ${A:-84}\n"),
    ("ExposeProtoCasing", [2], "FROM base\nEXPOSE 80/TCP\nEXPOSE 80/tcp 81\n"),
    ("ExposeProtoCasing", [], "FROM base\nENV P=tcp\nEXPOSE 80/udp 81/$P\n"),
    ("FromAsCasing", [1, 2], "FROM base as x\nfrom base AS y\n"),
    ("FromAsCasing", [3], "FROM base AS x\nfrom base as y\nFROM base aS z\n"),
    ("FromAsCasing", [], "FROM base AS x\nfrom base as y\nFROM base\n"),
    ("FromPlatformFlagConstDisallowed", [1], "FROM --platform=linux/amd64 base AS x\n"),
    (
        "FromPlatformFlagConstDisallowed",
        [],
        "FROM --platform=linux/amd64 base AS x-amd64\nFROM --platform=$BUILDPLATFORM base AS y\n",
    ),
    ("InvalidDefaultArgInFrom", [2], "ARG TAG\nFROM base:${TAG}\n"),
    ("InvalidDefaultArgInFrom", [2], "ARG GIVEN\nFROM $GIVEN\n"),
    ("InvalidDefaultArgInFrom", [], "ARG TAG=1\nFROM base:${TAG}\nFROM base:${TAG:-x}\n"),
    ("InvalidDefaultArgInFrom", [], "ARG TAG\nFROM base:${TAG:-x}\nFROM base:$UNDECLARED\n"),
    (
        "InvalidDefinitionDescription",
        [2, 5],
        "# check=experimental=all\n# about\nFROM scratch AS a\n\n# more\nARG VERSION=1\n",
    ),
    (
        "InvalidDefinitionDescription",
        [],
        (
            "# check=experimental=all\n# a is it\nFROM scratch AS a\n# V of it\nARG V=1\n"
            "# about\n\nARG X\n# y\n#\nARG Y\n# z\nRUN z\n# q\nFROM a\n"
        ),
    ),
    ("InvalidDefinitionDescription", [], "# about\nFROM scratch AS a\n"),
    ("JSONArgsRecommended", [2, 3], "FROM base\nCMD x y\nENTRYPOINT x\n"),
    ("JSONArgsRecommended", [], 'FROM base\nCMD ["x", "y"]\nENTRYPOINT ["x"]\nRUN x\n'),
    ("JSONArgsRecommended", [], 'FROM base AS a\nSHELL ["/b"]\nCMD x\nFROM a\nCMD y\n'),
    ("JSONArgsRecommended", [4], 'FROM base AS a\nSHELL ["/b"]\nFROM base\nCMD y\n'),
    ("LegacyKeyValueFormat", [2, 3], "FROM base\nENV A b c\nLABEL A b\nENV A=b\n"),
    ("LegacyKeyValueFormat", [], 'FROM base\nENV A=b\nLABEL A="b c" "d e"=f\nRUN a b\n'),
    ("MaintainerDeprecated", [2], "FROM base\nMAINTAINER me\nUSER me\n"),
    ("MaintainerDeprecated", [], "FROM base\nLABEL org.opencontainers.image.authors=me\n"),
    (
        "MultipleInstructionsDisallowed",
        [2, 3, 5],
        "FROM base\nCMD a\nCMD b\nENTRYPOINT a\nHEALTHCHECK NONE\nCMD c\nHEALTHCHECK CMD x\n",
    ),
    ("MultipleInstructionsDisallowed", [], "FROM base\nCMD a\nFROM base\nCMD b\nRUN a\nRUN b\n"),
    (
        "NoEmptyContinuation",
        [3, 8],
        "FROM base\nRUN a \\\n\n  b \\\n  c\nENV A=b \\\n  # c\n  \n  B=c\n",
    ),
    ("NoEmptyContinuation", [], "FROM base\nRUN a \\\n  # comment\n  b\n\n\nRUN c\n"),
    ("NoEmptyContinuation", [], "FROM base\nRUN <<E\na\n\nb\nE\n\nUSER x\n"),
    ("NoEmptyContinuation", [3], "FROM base\nRUN a \\\n\n <<E\na\n\nb\nE\n"),
    ("RedundantTargetPlatform", [1], "FROM --platform=$TARGETPLATFORM base\n"),
    ("RedundantTargetPlatform", [1], "FROM --platform=${TARGETPLATFORM} base\n"),
    ("RedundantTargetPlatform", [], "FROM --platform=$BUILDPLATFORM base\nFROM base\n"),
    ("ReservedStageName", [1, 2], "FROM base AS scratch\nFROM base AS Context\n"),
    ("ReservedStageName", [], "FROM scratch AS x\nFROM base\n"),
    (
        "SecretsUsedInArgOrEnv",
        [1, 3, 4],
        "ARG TOKEN\nFROM base\nENV DB_PASSWORD=x\nARG A github_token=y\nENV keyboard=us MONKEY=1\n",
    ),
    ("SecretsUsedInArgOrEnv", [], "FROM base\nENV PUBLIC_KEY=x AUTHOR=me\nRUN TOKEN=x y\n"),
    ("StageNameCasing", [1], "FROM base AS Build\nFROM base AS run\n"),
    ("StageNameCasing", [], "FROM base AS build\nFROM base\n"),
    ("UndefinedArgInFrom", [2, 3], "ARG TAG=1\nFROM base:$TGA\nFROM --platform=$P base\n"),
    (
        "UndefinedArgInFrom",
        [],
        "ARG TAG=1\nFROM base:$TAG\nFROM --platform=$BUILDPLATFORM ${X:-base}\n",
    ),
    ("UndefinedVar", [2], "FROM base\nCOPY $foo .\nCOPY ${foo:-x} ${foo:+y} .\n"),
    ("UndefinedVar", [3], "ARG G=1\nFROM base\nCOPY $G .\nARG G\nCOPY $G .\n"),
    (
        "UndefinedVar",
        [],
        "FROM base\nARG A\nARG B=$A\nENV C=$A$B\nCOPY $A$B$C$HOME_OF_BASE$PATH .\n",
    ),
    ("UndefinedVar", [], "FROM base\nRUN $x\nCMD $x\nENV A='$x' B=\\$x C=$HTTP_PROXY\n"),
    ("UndefinedVar", [3], "FROM base AS a\nENV A=b\nUSER $A$B\nFROM a\nUSER $A\n"),
    ("UndefinedVar", [2], "FROM --arg=A=b --arg=G base\nUSER $A$G$H\n"),
    ("UndefinedVar", [2], "FROM scratch\nLABEL x=$HOME_OF_BASE y=$PATH\n"),
    ("UndefinedVar", [], "FROM unknown AS a\nUSER $X\nFROM a\nUSER $X\n"),
    ("UndefinedVar", [2], "FROM base\nCOPY <<E /x\n$foo\nE\n"),
    ("WorkdirRelativePath", [2, 3], "FROM base\nWORKDIR a\nWORKDIR b\nWORKDIR /c\nWORKDIR d\n"),
    ("WorkdirRelativePath", [], 'FROM base AS a\nWORKDIR "/a"\nFROM a\nWORKDIR b\nWORKDIR $X\n'),
    ("WorkdirRelativePath", [4], "FROM base AS a\nWORKDIR /a\nFROM base\nWORKDIR b\n"),
]


@pytest.mark.parametrize(("rule", "lines", "text"), CASES)
def test_rule(rule: str, lines: list[int], text: str) -> None:
    findings = check(parse(text, path="Dockerfile"), FACTS)
    assert [finding.line for finding in findings if finding.rule == rule] == lines


def test_every_rule_has_a_case_that_it_finds_and_one_that_it_does_not() -> None:
    assert {rule for rule, lines, _ in CASES if lines} == RULES.keys()
    assert {rule for rule, lines, _ in CASES if not lines} == RULES.keys()


def test_rules_are_those_of_the_reference() -> None:
    assert len(RULES) == 21
    assert RULES.keys() >= EXPERIMENTAL


def test_finding_shows_its_place() -> None:
    (finding,) = check(parse("FROM base\nRUN a \\\n  b\nEXPOSE 1 80/Tcp\n", path="D"), FACTS)
    assert finding.text == (
        "D:4: ExposeProtoCasing: protocol 'Tcp' is not in lower case\n"
        "   4 | EXPOSE 1 80/Tcp\n"
        "     |          ~~~~~^"
    )


def test_finding_on_a_continued_line() -> None:
    text = "FROM base\nENV A=b \\\n    B=$foo\n"
    (finding,) = check(parse(text, path="D"), FACTS)
    assert finding.line == 3
    assert finding.text.splitlines()[1:] == ["   3 |     B=$foo", "     |       ~~~^"]


def test_suggestion_for_a_misspelt_variable() -> None:
    (finding,) = check(parse("FROM base\nENV PATH=$PAHT:/app\n", path="D"), FACTS)
    assert "$PAHT is not defined: did you mean $PATH?" in finding.text


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ("error=true", CheckDirective(is_error=True)),
        (
            "skip=StageNameCasing, FromAsCasing",
            CheckDirective(frozenset({"StageNameCasing", "FromAsCasing"})),
        ),
        ("skip=all;error=false", CheckDirective(frozenset(RULES))),
        (
            "experimental=all; error=true",
            CheckDirective(experimental=frozenset(RULES), is_error=True),
        ),
        ("skip=Bogus", CheckDirective(frozenset({"Bogus"}), unknown=("Bogus",))),
        ("error=yes;what", CheckDirective(unknown=("error=yes", "what"))),
    ],
)
def test_directive(text: str, directive: CheckDirective) -> None:
    assert CheckDirective.parse(text) == directive


def test_skipped_rules() -> None:
    body = "FROM base as X\nMAINTAINER me\n"
    assert [f.rule for f in check(parse(body, path="D"), FACTS)] == [
        "FromAsCasing",
        "StageNameCasing",
        "MaintainerDeprecated",
    ]
    text = f"# check=skip=StageNameCasing,FromAsCasing\n{body}"
    assert [f.rule for f in check(parse(text, path="D"), FACTS)] == ["MaintainerDeprecated"]
    assert check(parse(f"# check=skip=all\n{body}", path="D"), FACTS) == []


def test_command(any_workshop: Workshop) -> None:
    workshop = any_workshop
    workshop.write({".dockerignore": "secret\n"})
    done = workshop.build("FROM bb as x\nCOPY secret /\nUSER $U\n", "--check", check=False)
    assert done.returncode == 1
    rules = re.findall(r"^.*/Dockerfile:(\d+): (\w+): ", done.stdout, re.MULTILINE)
    assert rules == [("1", "FromAsCasing"), ("2", "CopyIgnoredFile"), ("3", "UndefinedVar")]
    assert "error: check: 3 found in " in done.stderr
    assert workshop.ch_image("list").stdout == "bb\n"
    done = workshop.build("FROM bb AS x\nCOPY public /\n", "--check")
    assert (done.stdout, workshop.ch_image("list").stdout) == ("", "bb\n")
    assert "check complete, nothing found: " in done.stderr
    done = workshop.build("# check=skip=Nonsense\nFROM bb\n", "--check")
    assert "warning: parser directive 'check': unknown: Nonsense" in done.stderr
    done = workshop.build("FROM bb\nENV A=${B:?}\n", "--check", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/Dockerfile:2: B: " in done.stderr


def test_build_that_is_to_fail_on_findings(any_workshop: Workshop) -> None:
    workshop = any_workshop
    done = workshop.build("# check=error=true\nFROM bb as x\nRUN true\n", check=False)
    assert done.returncode == 1
    assert "FromAsCasing" in done.stdout
    assert "RUN" not in done.stderr
    done = workshop.build("# check=error=true\nFROM bb AS x\nRUN true\n")
    assert "grown in 2 instructions: img" in done.stderr
    done = workshop.build("# check=skip=StageNameCasing\nFROM bb as x\nRUN true\n")
    assert done.stdout == ""
