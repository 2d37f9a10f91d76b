"""References agree with the grammar of the distribution project, which this module repeats."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.names import canonical_name
from sundog.errors import ReferenceSyntaxError
from sundog.image.oci.digest import Digest
from sundog.image.oci.reference import Reference

HEX = "0123456789abcdef" * 4

CANONICAL = {
    "alpine": "docker.io/library/alpine:latest",
    "alpine:3.20": "docker.io/library/alpine:3.20",
    "docker.io/alpine": "docker.io/library/alpine:latest",
    "index.docker.io/library/alpine": "docker.io/library/alpine:latest",
    "a/b": "docker.io/a/b:latest",
    "localhost/a": "localhost/a:latest",
    "localhost:5000/a/b:c": "localhost:5000/a/b:c",
    "a.b/c": "a.b/c:latest",
    "A/b": "A/b:latest",
    "[::1]:80/a": "[::1]:80/a:latest",
    f"a@sha256:{HEX}": f"docker.io/library/a@sha256:{HEX}",
    f"a:b@sha256:{HEX}": f"docker.io/library/a:b@sha256:{HEX}",
    "a__b/c-_".rstrip("-_") + "--d.e": "docker.io/a__b/c--d.e:latest",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_reference_has_one_canonical_form(text: str) -> None:
    reference = Reference.parse(text)
    assert reference.canonical == str(reference) == CANONICAL[text] == canonical_name(text)
    assert Reference.parse(reference.canonical) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":a",
        "/a",
        "a/",
        "a//b",
        "Alpine",
        "a:",
        "a:b:c",
        "a@b",
        "a@sha256:00",
        "a b",
        HEX,
        "a_",
        "a:-b",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ReferenceSyntaxError) as caught:
        Reference.parse(text)
    assert caught.value.hint


def test_parts() -> None:
    reference = Reference.parse(f"r.example:5000/a/b:c@sha256:{HEX}")
    assert reference == Reference("r.example:5000", "a/b", "c", Digest("sha256", HEX))
    assert reference.name == "r.example:5000/a/b"


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/a", "a:latest"),
        ("docker.io/a/b:c", "a/b:c"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("r.example/a", "r.example/a:latest"),
        ("r.example/docker.io/a", "r.example/docker.io/a:latest"),
    ],
)
def test_familiar_form_is_the_short_one(text: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert reference.familiar == familiar
    assert Reference.parse(familiar) == reference


HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN = rf"(?:{HOST}(?:\.{HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
GRAMMAR = re.compile(
    rf"(?P<name>{DOMAIN}/{COMPONENT}(?:/{COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def canonical_by_grammar(text: str) -> str | None:
    """Normalize as Docker does, then match the grammar's regular expression."""
    first, slash, rest = text.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost" or first != first.lower()):
        first, rest = "docker.io", text
    first = "docker.io" if first == "index.docker.io" else first
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    found = GRAMMAR.fullmatch(f"{first}/{rest}")
    if not found or re.fullmatch("[a-f0-9]{64}", text):
        return None
    tag, digest = found["tag"], found["digest"]
    if tag is None and digest is None:
        tag = "latest"
    return found["name"] + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


PIECES = st.sampled_from(
    [
        *("a", "B", "0", "a-b", "a__b", "a.b", "-", "_", ".", "__", "localhost", "docker.io", "é"),
        *("index.docker.io", "library", "/", "/", ":", ":", "@", f"@sha256:{HEX}", "[::1]", "5000"),
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_parsing_agrees_with_the_grammar(text: str) -> None:
    expected = canonical_by_grammar(text)
    if expected is None:
        with pytest.raises(ReferenceSyntaxError):
            Reference.parse(text)
        with pytest.raises(ReferenceSyntaxError):
            canonical_name(text)
    else:
        assert Reference.parse(text).canonical == canonical_name(text) == expected
