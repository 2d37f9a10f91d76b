"""YAML: the reader of blocks against PyYAML, and what the library's events become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import CdiError
from sundog.runtime.cdi.specification import load_specification
from sundog.runtime.cdi.yaml_blocks import NotBlocks, parse_blocks
from sundog.runtime.cdi.yaml_faults import YamlFault
from sundog.runtime.cdi.yaml_scalar import plain_scalar
from sundog.runtime.cdi.yaml_text import YAML_VALUES_LIMIT, parse_by_library, parse_yaml_text

SPECIFICATIONS = Path(__file__).parent / "specifications"

SCALARS = (
    st.text("ab01.:-/ '\"#", max_size=5)
    | st.integers(-20, 2**33)
    | st.booleans()
    | st.none()
    | st.sampled_from(["0660", "0x1f", "1:0", "yes", "null", "~", "...", "---", "--a", "=", "<<"])
)
KEYS = st.sampled_from(["a", "b", "cdiVersion", "0", "a.b/c"])
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
PIECES = [
    "- ", "-", "a:", "b: ", "c", "d:e", "'f'", '"g"', "{}", "[]", ":", " #h", "#i", "0", "010", "~",
    "--j", "...", "---", " ", "!!str", "&k", "*k", "|", ">", "?", "a", "'", '"', ",", "@", "%", "=",
    "null", "true", "-1", "0x1f", "1.5", "<<", "\t", "é", "\\", "]", "`",
]  # fmt: skip
LINES = st.builds(
    lambda indent, pieces: " " * indent + "".join(pieces),
    st.sampled_from([0, 0, 1, 2, 2, 4]),
    st.lists(st.sampled_from(PIECES), max_size=4),
)


def assert_same(text: str) -> None:
    """The reader of blocks gives up, or gives what the library gives."""
    try:
        value = parse_blocks(text)
    except NotBlocks:
        return
    assert json.dumps(value) == json.dumps(parse_by_library(text))


@given(
    st.lists(DOCUMENTS, min_size=1, max_size=3) | st.dictionaries(KEYS, DOCUMENTS, min_size=1),
    st.sampled_from([None, "'", '"']),
    st.integers(2, 5),
)
@settings(max_examples=300, deadline=None)
def test_dumped_values(value: Any, style: str | None, indent: int) -> None:
    text = yaml.safe_dump(
        value, default_style=style, indent=indent, default_flow_style=False, width=10**6
    )
    assert_same(text)


@given(st.lists(LINES, max_size=6))
@settings(max_examples=800, deadline=None)
def test_any_lines(lines: list[str]) -> None:
    assert_same("\n".join(lines))


@pytest.mark.parametrize("path", sorted(SPECIFICATIONS.glob("*.yaml")), ids=lambda path: path.name)
def test_files_of_generators_need_no_library(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert parse_blocks(text) == parse_by_library(text)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("TRUE", True),
        ("false", False),
        ("yes", "yes"),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("0660", 0o660),
        ("0o17", 0o17),
        ("0x1F", 0x1F),
        ("0b11", 3),
        ("08", "08"),
        ("1_000", "1_000"),
        ("1.5", "1.5"),
        ("0.5.0", "0.5.0"),
        ("1:30", "1:30"),
        ("0x", "0x"),
        ("-", "-"),
        ("--a", "--a"),
        ("1" * 65, "1" * 65),
        ("\u0663", "\u0663"),
    ],
)
def test_plain_scalars(word: str, value: object) -> None:
    found = plain_scalar(word)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: [1, two, '3', {b: c}]", {"a": [1, "two", "3", {"b": "c"}]}),
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: >-\n  one\n  two\n", {"a": "one two"}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("{1: 2}", {"1": 2}),
        ("? a\n: b", {"a": "b"}),
        ('a: "\\u00e9"', {"a": "é"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: b c  # d", {"a": "b c"}),
        ("", None),
    ],
)
def test_what_only_the_library_reads(text: str, value: object) -> None:
    with pytest.raises(NotBlocks):
        parse_blocks(text)
    assert parse_yaml_text(text) == value


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 20)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, f": more than {YAML_VALUES_LIMIT} values"),
        ("[" * 1000 + "]" * 1000, "line 1, column 33: nested too deeply"),
        ("a: &a [*a]", "line 1, column 8: the alias a has no value yet"),
        ("a: *b", "line 1, column 4: the alias b has no value yet"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: an object has two fields 'a'"),
        ("{a: 1, a: 2}", "line 1, column 8: an object has two fields 'a'"),
        ("[a]: 1", "line 1, column 3: a name is not text"),
        ("a: !!python/name:os.system x", "line 1, column 4: the tag"),
        ("a: !!set {x}", "line 1, column 4: the tag tag:yaml.org,2002:set is not supported"),
        ("---\na: 1\n---\nb: 2", "line 3, column 1: a second document begins"),
        ("a: [1", "did not find expected ',' or ']'"),
        ('a: "\\q"', "line 1, column"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed"),
        ("\ta: 1", "line 1, column 1:"),
        ("a: \x01", ""),
        ("a\n b: c: d\n", "line"),
    ],
)
def test_refused_text(text: str, reason: str) -> None:
    with pytest.raises(YamlFault) as caught:
        parse_yaml_text(text)
    assert reason in str(caught.value)


def test_a_file_that_needs_the_library_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cdiVersion: [0.3.0]\n")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(CdiError) as caught:
        load_specification(bytes(path))
    assert caught.value.message.endswith("takes PyYAML, which is not installed")
    assert "--format=json" in caught.value.hint
