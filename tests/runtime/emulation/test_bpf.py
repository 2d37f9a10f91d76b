"""The assembler: its programs do what their sources say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.runtime.emulation.bpf import (
    COMPARE,
    DATA_NR,
    JUMP,
    LOAD,
    RETURN,
    Line,
    assemble,
    bitwise_and,
    compare,
    disassemble,
    jump,
    label,
    load,
    verdict,
)

from .bpf_interpreter import InvalidProgram, Program, SeccompData


def run(source: list[Line], nr: int) -> int:
    return Program(assemble(source)).run(SeccompData(nr, 0)).verdict


@settings(database=None)
@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), max_size=60))
def test_a_program_of_compares_is_a_table(table: dict[int, int]) -> None:
    source = [load(DATA_NR), *(compare(key, str(key)) for key in table), verdict(7)]
    for key, action in table.items():
        source += [label(str(key)), verdict(action)]
    for key in [*table, 0, 1, 2**32 - 1]:
        assert run(source, key) == table.get(key, 7)


def test_both_ways_of_a_compare() -> None:
    source = [
        load(DATA_NR),
        bitwise_and(0xF0),
        compare(0x20, "equal", "unequal"),
        label("unequal"),
        verdict(1),
        label("equal"),
        verdict(2),
    ]
    assert run(source, 0x12F) == 2
    assert run(source, 0x130) == 1


def test_a_jump_reaches_further_than_a_compare() -> None:
    far = [verdict(1)] * 300
    assert run([jump("end"), *far, label("end"), verdict(2)], 0) == 2
    with pytest.raises(ValueError, match="instruction 0 can't reach label 'end'"):
        assemble([compare(0, "end"), *far, label("end"), verdict(2)])
    with pytest.raises(ValueError, match="instruction 0 can't reach label 'end'"):
        assemble([compare(0, "", "end"), *far, label("end"), verdict(2)])


@pytest.mark.parametrize("distance", [255, 256])
def test_a_compare_reaches_255_ahead(distance: int) -> None:
    source = [compare(0, "end"), *[verdict(1)] * distance, label("end"), verdict(2)]
    if distance > 255:
        with pytest.raises(ValueError, match="can't reach"):
            assemble(source)
    else:
        assert run(source, 0) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([jump("nowhere"), verdict(0)], "instruction 0 can't reach label 'nowhere'"),
        ([label("back"), load(0), jump("back")], "instruction 1 can't reach label 'back'"),
        ([label("a"), load(0), label("a"), verdict(0)], "label a is there twice"),
        ([verdict(0)] * 4097, "4097 instructions are more than 4096"),
    ],
)
def test_what_cannot_be_assembled(source: list[Line], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assemble(source)


def test_disassemble_is_the_inverse() -> None:
    source = [
        load(4),
        compare(0xC000003E, "", "end"),
        jump("end"),
        load(0),
        label("end"),
        verdict(0x7FFF0000),
    ]
    assert disassemble(assemble(source)) == [
        (LOAD, 0, 0, 4),
        (COMPARE, 0, 2, 0xC000003E),
        (JUMP, 0, 0, 1),
        (LOAD, 0, 0, 0),
        (RETURN, 0, 0, 0x7FFF0000),
    ]


@pytest.mark.parametrize(
    "source",
    [
        [],
        [load(0)],
        [load(2), verdict(0)],
        [load(64), verdict(0)],
        [verdict(0), jump("end"), label("end")],
    ],
    ids=["empty", "no return", "unaligned", "beyond the data", "jump to the end"],
)
def test_the_interpreter_refuses_what_the_kernel_refuses(source: list[Line]) -> None:
    with pytest.raises(InvalidProgram):
        Program(assemble(source))
