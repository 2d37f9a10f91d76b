"""A call that was done, and whose reply a signal has taken, is not done twice."""

from __future__ import annotations

from sundog.runtime.emulation.notify.state.unanswered import Unanswered


def test_a_message_that_was_received_is_told_of_once() -> None:
    calls = Unanswered()
    calls.note_message(7, 100, 3, 0x1000, 5)
    assert calls.take_message(100, 3, 0x1000) is None
    calls.lose(8)
    assert calls.take_message(100, 3, 0x1000) is None
    calls.lose(7)
    for thread, fd, header in ((101, 3, 0x1000), (100, 4, 0x1000), (100, 3, 0x2000)):
        assert calls.take_message(thread, fd, header) is None
    assert calls.take_message(100, 3, 0x1000) == 5
    assert calls.take_message(100, 3, 0x1000) is None
