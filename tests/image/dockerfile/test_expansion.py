"""The words of each instruction that are expanded."""

import dataclasses

import pytest

from sundog.errors import DockerfileError
from sundog.image.dockerfile.expansion import EXPANDED, SPLIT
from sundog.image.dockerfile.grammar import GRAMMAR
from sundog.image.dockerfile.instructions import Copy
from sundog.image.dockerfile.parse import parse

VARIABLES = {"a": "A", "two": "x y"}

# An instruction, and the same with its variables replaced by hand: exactly those words that the
# reference lists.
EXPANSIONS = {
    "FROM --platform=$a $a AS a": "FROM --platform=A A AS a",
    'ARG $a="$a $a" b': "ARG 'A'='A A' b",
    "ENV $a=$a b='$a' c=$two": "ENV A=A b=\\$a c='x y'",
    "ENV b $a $two": "ENV b A x y",
    'LABEL "$a"=$a': "LABEL A=A",
    "COPY --from=$a --chown=$a --chmod=$a $a $two /$a/": (
        'COPY --from=$a --chown=A --chmod=A ["A", "x y", "/A/"]'
    ),
    "COPY <<E <<'F' $a/\n\"$a\" \\$a\nE\n$a\nF": "COPY <<E <<'F' A/\n\"A\" \\$a\nE\n$a\nF",
    "COPY <<-E /\n\t$a\n\tE": "COPY <<-E /\n\tA\n\tE",
    "ADD --checksum=$a --exclude=$a $a b": "ADD --checksum=A --exclude=$a A b",
    "RSYNC +l --exclude=$a '-f=- x' $a $two /$a": (
        'RSYNC ["+l", "--exclude=A", "-f=- x", "A", "x y", "/A"]'
    ),
    "NSYNC $a /$a": "NSYNC A /A",
    "WORKDIR /$a/${b:-c}": "WORKDIR /A/c",
    "USER $a:$b": "USER A:",
    "STOPSIGNAL ${a:+SIG}$a": "STOPSIGNAL SIGA",
    "VOLUME $a $two": 'VOLUME ["A", "x y"]',
    "EXPOSE $a $two $b": "EXPOSE A x y",
    "RUN --mount=type=$a $a": "RUN --mount=type=$a $a",
    'RUN ["$a"]': 'RUN ["$a"]',
    "RUN <<E\n$a\nE": "RUN <<E\n$a\nE",
    "CMD $a": "CMD $a",
    "ENTRYPOINT $a": "ENTRYPOINT $a",
    'SHELL ["$a"]': 'SHELL ["$a"]',
    "HEALTHCHECK CMD $a": "HEALTHCHECK CMD $a",
    "ONBUILD ENV b=$a": "ONBUILD ENV b=$a",
    "MAINTAINER $a": "MAINTAINER $a",
}


@pytest.mark.parametrize("text", EXPANSIONS)
def test_instruction_is_expanded(text: str) -> None:
    dockerfile = parse(f"FROM a\n{text}\n", path="Dockerfile")
    expanded = dockerfile.expand(dockerfile.instructions[1], VARIABLES)
    by_hand = parse(f"FROM a\n{EXPANSIONS[text]}\n", path="Dockerfile")
    assert expanded == by_hand.expand(by_hand.instructions[1], {})
    assert expanded.place == dockerfile.instructions[1].place


def test_tabs_of_a_value_stay_in_a_heredoc_without_tabs() -> None:
    dockerfile = parse("FROM a\nCOPY <<-E /\n\t\tx\n\t$tab\n\tE\n", path="Dockerfile")
    copy = dockerfile.instructions[1]
    assert isinstance(copy, Copy)
    assert copy.heredocs[0].body == "x\n$tab\n"
    assert dockerfile.expand(copy, {"tab": "\ty"}).heredocs[0].body == "x\n\ty\n"


def test_every_instruction_is_covered() -> None:
    assert {text.split()[0] for text in EXPANSIONS} == set(GRAMMAR)


def test_tables_name_fields_that_exist() -> None:
    for table in (EXPANDED, SPLIT):
        for kind, fields in table.items():
            assert set(fields) <= {field.name for field in dataclasses.fields(kind)}


def test_pairs_of_one_instruction_see_the_same_values() -> None:
    dockerfile = parse("FROM a\nENV a=B c=$a\n", path="Dockerfile")
    env = dockerfile.expand(dockerfile.instructions[1], VARIABLES)
    assert "('c', 'A')" in repr(env)


def test_escape_directive_rules_expansion() -> None:
    dockerfile = parse("# escape=`\nFROM a\nWORKDIR c:\\$a`$a\n", path="Dockerfile")
    assert "c:\\\\A$a" in repr(dockerfile.expand(dockerfile.instructions[1], VARIABLES))


def test_substitution_that_fails_is_reported_with_its_place() -> None:
    dockerfile = parse("FROM a\n\nUSER ${who:?set who}\n", path="Dockerfile")
    with pytest.raises(DockerfileError) as caught:
        dockerfile.expand(dockerfile.instructions[1], {})
    assert caught.value.line == 3
    assert caught.value.message == "who: set who"
    assert "USER ${who:?set who}" in caught.value.excerpt
