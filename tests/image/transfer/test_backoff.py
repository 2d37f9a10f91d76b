"""Attempts after failures: their number, their pauses, and progress that begins the count again."""

from sundog.image.transfer.backoff import Backoff


def test_pauses_double_and_progress_begins_again() -> None:
    """Each pause is up to twice the one before; an attempt that comes far enough counts anew."""
    pauses: list[float] = []
    backoff = Backoff(3, pauses.append, progress=10, start=100)
    ends = []
    for position in (100, 109, 110, 119, 119, 120):
        ends.append(backoff.fail(position))
        backoff.wait()
    assert ends == [False, False, False, False, True, False]
    bounds = [0.5, 1.0, 0.5, 1.0, 2.0, 0.5]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
