"""The diagonal of a matrix: few cases, and in them each value of each parameter; the order."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripts.check import parsed_options

from tests.selection import diagonal, put_longest_first


@pytest.mark.parametrize(
    ("sizes", "least"), [((3, 4), 4), ((5, 2), 5), ((3, 3, 3), 3), ((1, 6), 6), ((4, 4, 2), 4)]
)
def test_each_value_is_there_and_no_case_is_too_many(sizes: tuple[int, ...], least: int) -> None:
    cases = [
        {f"parameter{number}": str(value) for number, value in enumerate(values)}
        for values in product(*map(range, sizes))
    ]
    kept = [cases[number] for number in diagonal(cases)]
    for name in cases[0]:
        assert {case[name] for case in kept} == {case[name] for case in cases}
    assert len(kept) == least


def test_values_are_taken_equally_often() -> None:
    cases = [{"a": str(a), "b": str(b)} for a in range(6) for b in range(2)]
    taken = [cases[number]["b"] for number in diagonal(cases)]
    assert sorted(taken) == ["0"] * 3 + ["1"] * 3


def test_parameters_that_belong_together_stay_so() -> None:
    cases = [{"word": word, "length": str(len(word)), "c": c} for word in ("a", "bb") for c in "xy"]
    assert diagonal(cases) == {0, 3}


@pytest.mark.parametrize(
    ("words", "told"), [([], "0"), (["--matrices=0"], "0"), (["--matrices=1"], "1")]
)
def test_matrices_are_whole_by_1_alone(
    monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.setattr("sys.argv", ["check", *words])
    assert parsed_options().matrices == told


def test_matrices_by_another_word_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["check", "--matrices=typo"])
    with pytest.raises(SystemExit):
        parsed_options()
    assert "argument --matrices: invalid choice: 'typo'" in capsys.readouterr().err


@pytest.mark.parametrize("processes", [1, 2, 6])
def test_each_process_begins_with_some_of_the_longest(processes: int) -> None:
    places = [f"image/{number}/test_a.py" for number in range(50)]
    places += [f"system/test_{number}.py" for number in range(6)]
    places += ["cluster/test_a.py", "cluster/test_b.py", "hostile/test_fuzz.py"]
    items: list[Any] = [SimpleNamespace(path=Path("tests", place)) for place in places]
    left = list(items)
    put_longest_first(left, processes)
    assert sorted(map(id, left)) == sorted(map(id, items))
    order = [item.path.parent.name for item in left]
    begins = {order[len(order) * number // processes] for number in range(processes)}
    assert begins.isdisjoint(map(str, range(50)))
    assert order[order.index("cluster") + 1] == "cluster"
    others = [name for name in order if name.isdigit()]
    assert others == sorted(others, key=int)
