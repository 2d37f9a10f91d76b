"""The compiled ``ch-run`` reads programs; no number in a program makes it read outside the data."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.native.server import Server

NUMBERS = st.sampled_from(
    [0, 1, 8, 16, 56, 64, 120, 4095, 4096, 1 << 31, (1 << 63) - 8, (1 << 64) - 56]
)


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """Draw the beginning of an ELF program, with arbitrary offsets and sizes: elf(5)."""
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHI", draw(st.sampled_from([2, 3])), 62, 1)
    header += struct.pack("<QQQI", 0, draw(NUMBERS | st.just(64)), 0, 0)
    size, count = draw(st.sampled_from([56, 56, 56, 32])), draw(st.integers(0, 70) | st.just(65535))
    header += struct.pack("<HHHHHH", 64, size, count, 0, 0, 0)
    for _ in range(draw(st.integers(0, 3))):
        kind, offset, length = draw(st.sampled_from([1, 3])), draw(NUMBERS), draw(NUMBERS)
        header += struct.pack("<IIQQQQQQ", kind, 0, offset, 0, 0, length, 0, 0)
    data = header + draw(st.binary(max_size=40))
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@given(data=programs() | st.binary(max_size=200))
@settings(max_examples=1000, deadline=None)
def test_programs(server: Server, data: bytes) -> None:
    answer = server.ask("l", data)
    if answer is not None:
        assert answer[0][0] == "loader"


@given(line=st.text(alphabet="/a \t\n\0", max_size=260))
@settings(max_examples=300, deadline=None)
def test_first_lines_of_scripts(server: Server, line: str) -> None:
    """The C finds the same interpreter as executable.py, or "" if the line has no end."""
    data = line.encode()[:253]
    answer = server.ask("i", data)
    assert answer is not None
    found = bytes.fromhex(answer[0][1])
    first = data.partition(b"\n")[0].partition(b"\0")[0].strip(b" \t")
    expected = first.replace(b"\t", b" ").partition(b" ")[0]
    assert found in (expected, b"")
