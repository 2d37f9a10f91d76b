"""The reader of untyped tables: a value has its type, or an error names the value's place."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.fields import Fields, Table, parse_json
from sundog.errors import ConfigurationError, DocumentError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)
)

READERS: dict[str, Callable[[Fields], object]] = {
    "str": lambda fields: fields.string("k"),
    "bool": lambda fields: fields.boolean("k"),
    "list": lambda fields: fields.array("k"),
    "tuple": lambda fields: fields.strings("k"),
    "dict": lambda fields: fields.string_map("k"),
    "int": lambda fields: fields.size("k"),
}


@given(VALUES, st.sampled_from(sorted(READERS)), st.booleans())
def test_a_value_is_of_its_type_or_its_place_is_told(value: object, kind: str, toml: bool) -> None:
    fields = (Table if toml else Fields)({"k": value}, "place", DocumentError)
    message = "place: k: "
    found = None
    try:
        found = READERS[kind](fields)
    except DocumentError as error:
        message = error.message
    assert message.startswith("place: k: ")
    assert found is None or type(found).__name__ == kind
    assert "k" not in fields.rest


@given(st.text() | st.binary())
def test_text_that_is_no_json_is_one_error(text: str | bytes) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        with pytest.raises(DocumentError, match=r"^place: not JSON"):
            parse_json(text, "place", DocumentError)
    else:
        assert repr(parse_json(text, "place", DocumentError)) == repr(value)


def test_what_is_nested_too_deeply_is_one_error() -> None:
    with pytest.raises(DocumentError, match=r"^place: .*nested too deeply"):
        parse_json("[" * 1_000_000, "place", DocumentError)


def test_inner_objects_know_their_place() -> None:
    fields = Table({"mirror": [{}, {"location": 1}]}, "file", ConfigurationError)
    with pytest.raises(
        ConfigurationError, match=r"^file: mirror 2: location: expected a string, found a number$"
    ):
        [inner.string("location") for inner in fields.objects("mirror")]
    with pytest.raises(ConfigurationError, match=r"^file: a 1: expected a table, found a list$"):
        Table({"a": [[]]}, "file", ConfigurationError).objects("a")


def test_a_string_that_has_to_be_there() -> None:
    assert Fields({"k": ""}, "place", DocumentError).required_string("k") == ""
    for value in ({}, {"k": None}, {"k": 1}):
        with pytest.raises(DocumentError, match=r"^place: k: expected a string, found "):
            Fields(value, "place", DocumentError).required_string("k")


def test_a_nested_object_has_its_place() -> None:
    fields = Fields.parse('{"a": {"b": {"c": 1}}, "d": null}', "place", DocumentError)
    inner = fields.nested("a").nested("b", required=True)
    with pytest.raises(DocumentError, match=r"^place: a: b: c: expected a string, found a number$"):
        inner.string("c")
    assert Table(fields.rest, "place", DocumentError).nested("d").rest == {}
    with pytest.raises(DocumentError, match=r"^place: d: expected an object, found null$"):
        fields.nested("d", required=True)
