"""Messages of stages that are built side by side come in the order of the stages, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sundog.image.builder.jobs import held_output
from sundog.image.builder.jobs.held_output import OUTPUT, HeldOutput

if TYPE_CHECKING:
    import pytest

    from sundog.image.builder.report import Message


def test_order() -> None:
    shown: list[Message] = []
    output = HeldOutput((0, 2, 5), shown.append)
    output.add(5, ("five",))
    output.add(0, ("zero",))
    output.add(2, ("two",))
    assert shown == [("zero",)]
    output.finish(5)
    output.finish(0)
    output.add(2, ("two again",))
    assert shown[1:] == [("two",), ("two again",)]
    output.finish(2)
    assert shown[3:] == [("five",)]


def test_a_stage_that_begins_again() -> None:
    shown: list[Message] = []
    output = HeldOutput((0, 1), shown.append)
    output.add(1, ("first try",))
    output.finish(1)
    output.restart(1)
    output.add(1, ("second try",))
    output.finish(0)
    output.finish(1)
    assert shown == [("second try",)]


def test_the_last_is_the_one_that_failed() -> None:
    shown: list[Message] = []
    output = HeldOutput((0, 1, 2), shown.append)
    for stage in (2, 1):
        output.add(stage, (stage,))
    output.end(1)
    assert shown == [(2,), (1,)]


def test_of_much_output_the_beginning_and_the_end_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_output, "KEPT", 1000)
    shown: list[Message] = []
    output = HeldOutput((0, 1), shown.append)
    for number in range(1000):
        output.add(1, (OUTPUT, 1, b"%d" % number))
        if number == 500:
            output.add(1, ("begin", "in the middle"))
    output.finish(0)
    pieces = [bytes(message[2]) for message in shown if message[0] == OUTPUT]  # type: ignore[call-overload]
    (left_out,) = [piece for piece in pieces if b"left out" in piece]
    pieces.remove(left_out)
    assert pieces[:10] == [b"%d" % number for number in range(10)]
    assert pieces[-10:] == [b"%d" % number for number in range(990, 1000)]
    lost = 2890 - sum(map(len, pieces))
    assert left_out == b"\n[%d bytes of output are left out]\n" % lost
    assert 2000 < lost < 2800
    assert ("begin", "in the middle") in shown
