"""Values and outcomes between Sundog's processes arrive unchanged, or not at all."""

from __future__ import annotations

import contextlib
import importlib
import math
import pkgutil
import resource
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sundog
from sundog.base.wire.outcomes import pack_exception, pack_result, unpack_outcome
from sundog.base.wire.values import NESTING_LIMIT, pack_value, unpack_value
from sundog.errors import SundogError
from tests.runtime.launcher.installation import load_packaging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import SearchStrategy

TEXT = st.text(st.characters(exclude_categories=()))  # with lone surrogates
KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.binary(), TEXT)
PLAIN: SearchStrategy[object] = st.recursive(
    st.one_of(KEYS, st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=20,
)
OBJECTS = (b"o" + pack_value("name") + pack_value(()), b"t\0\0\0\1o" + pack_value("x"))


def kinds() -> Iterator[type[SundogError]]:
    """Return all classes of errors that Sundog has."""
    joiner = load_packaging("join_launcher")
    joined = (
        *joiner.MODULES,
        *(name.rpartition(".")[2] for name in (*joiner.FRONTS, joiner.START)),
    )
    for module in pkgutil.walk_packages(sundog.__path__, "sundog."):
        # Those begin to work when they are imported; the joined ones are of copies of the others.
        if module.name.rpartition(".")[2] not in ("__main__", *joined):
            importlib.import_module(module.name)
    found = [SundogError]
    for kind in found:
        found += kind.__subclasses__()
    yield from (kind for kind in dict.fromkeys(found) if kind.__module__.startswith("sundog."))


def same(one: object, other: object) -> bool:
    """Tell whether two values and all their items have the same types and are equal."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return same(list(one.items()), list(other.items()))
    return type(one) is type(other) and one == other


@given(PLAIN)
def test_values_come_back(value: object) -> None:
    assert same(unpack_value(pack_value(value)), value)
    assert same(unpack_outcome(pack_result(value)), value)


def test_numbers_that_are_none_and_endless() -> None:
    packed = pack_value((math.nan, math.inf, -math.inf, -0.0))
    found = unpack_value(packed)
    assert isinstance(found, tuple)
    assert math.isnan(found[0])
    assert found[1:3] == (math.inf, -math.inf)
    assert math.copysign(1, found[3]) == -1


@pytest.mark.parametrize("value", [object(), {1, 2}, bytearray(b"x"), len, SundogError("x")])
def test_what_is_not_plain_is_not_sent(value: object) -> None:
    with pytest.raises(TypeError):
        pack_value(value)


@pytest.mark.parametrize("kind", [*kinds()], ids=lambda kind: kind.__name__)
def test_errors_come_back(kind: type[SundogError]) -> None:
    error = kind.__new__(kind)
    for at, name in enumerate(kind.ATTRIBUTES):
        setattr(error, name, at if name in {"line", "errno"} else f"{name}\udcff")
    error.args = (error.message,)
    with pytest.raises(SundogError) as caught:
        unpack_outcome(pack_exception(error))
    assert type(caught.value) is kind
    for name in kind.ATTRIBUTES:
        assert getattr(caught.value, name) == getattr(error, name)
    assert str(caught.value) == str(error)


@given(st.integers(1, 133), TEXT, st.one_of(st.none(), TEXT, st.binary()))
def test_refusals_come_back(number: int, text: str, path: str | bytes | None) -> None:
    error = OSError(number, text) if path is None else OSError(number, text, path)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - any number
        unpack_outcome(pack_exception(error))
    assert type(caught.value) is type(error)
    assert caught.value.args == error.args
    assert caught.value.filename == error.filename


def test_interruptions_and_bugs_come_back() -> None:
    with pytest.raises(KeyboardInterrupt):
        unpack_outcome(pack_exception(KeyboardInterrupt()))
    packed = b""
    try:
        dict[str, int]()["missing"]
    except KeyError as error:
        packed = pack_exception(error)
    with pytest.raises(RuntimeError, match="KeyError: 'missing'") as caught:
        unpack_outcome(packed)
    assert "test_interruptions_and_bugs_come_back" in caught.value.__notes__[0]
    # Send the error on, as a process does that got it from another.
    with pytest.raises(RuntimeError, match="KeyError: 'missing'") as again:
        unpack_outcome(pack_exception(caught.value))
    assert "test_interruptions_and_bugs_come_back" in again.value.__notes__[0]


def read(data: bytes) -> None:
    """Read hostile bytes; anything but a value, an outcome or a ValueError fails."""
    with contextlib.suppress(ValueError):
        unpack_value(data)
    expected = (ValueError, SundogError, OSError, KeyboardInterrupt)
    try:
        with contextlib.suppress(*expected):
            unpack_outcome(data)
    except RuntimeError as error:  # the message has a bug of another process, not of the reader
        if isinstance(error, RecursionError):
            raise


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    read(data)


@given(
    st.one_of(
        PLAIN.map(pack_result),
        st.sampled_from([OSError(2, "x", b"y"), SundogError("x", "y"), KeyError(1)]).map(
            pack_exception
        ),
    ),
    st.data(),
)
def test_mutated_bytes(packed: bytes, data: st.DataObject) -> None:
    changed = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(changed))


@given(PLAIN, st.data())
def test_cut_and_continued_bytes(value: object, data: st.DataObject) -> None:
    packed = pack_value(value)
    for wrong in (packed[: data.draw(st.integers(0, len(packed) - 1))], packed + b"N"):
        with pytest.raises(ValueError):  # noqa: PT011 - any message
            unpack_value(wrong)


@pytest.mark.parametrize("tag", [b"t", b"l", b"d", b"o"])
def test_nesting_is_bounded(tag: bytes) -> None:
    one = {b"d": b"d\0\0\0\1N", b"o": b"o" + pack_value("x")}.get(tag, tag + b"\0\0\0\1")
    with pytest.raises(ValueError, match="nested too deeply"):
        unpack_value(one * 100_000 + b"N", lambda _name, _parts: None)
    if tag in b"tl":
        unpack_value(one * (NESTING_LIMIT - 1) + b"N")


@pytest.mark.parametrize("data", OBJECTS)
def test_no_object_is_made_unasked(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"object|cut"):
        unpack_value(data)


@pytest.mark.parametrize(
    "outcome",
    [
        ("failed", ("SystemExit", {})),
        ("failed", ("SundogError", {"message": "x", "hint": "", "__class__": "y"})),
        ("failed", ("SundogError", {"message": b"x", "hint": ""})),
        ("failed", ("SundogError", {})),
        ("failed", ("os.system", {"message": "x", "hint": ""})),
        ("refused", (1, "x", (), None)),
        ("refused", (1, "x", None)),
        ("^C", 1),
        ("unheard-of", 1),
        ("returned",),
        None,
    ],
)
def test_wrong_outcomes(outcome: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any message
        unpack_outcome(pack_value(outcome))


@pytest.mark.parametrize("tag", [b"i", b"f", b"b", b"s", b"t", b"l", b"d"])
def test_huge_counts_take_no_memory(tag: bytes) -> None:
    """The reader runs in a process that may take only 64 MiB more memory."""
    script = textwrap.dedent("""
        import resource, sys
        from sundog.base.wire.values import unpack_value
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + (64 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        tag = bytes.fromhex(sys.argv[1])
        for count in b"\\xff\\xff\\xff\\xff", b"\\x7f\\xff\\xff\\xff", b"\\0\\x10\\0\\0":
            for rest in b"", b"N" * 1000, (tag + count) * 1000:
                try:
                    unpack_value(tag + count + rest)
                except ValueError:
                    continue
                sys.exit("read")
    """)
    assert resource.getpagesize()
    subprocess.run([sys.executable, "-c", script, tag.hex()], check=True)
