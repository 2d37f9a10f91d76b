"""Values without the module dataclasses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sundog
from sundog.image.oci.value_class import replaced, value_class


@value_class(frozen=True, slots=True)
class Pair:
    """Two parts."""

    first: int
    second: str = "b"

    def both(self) -> str:
        return f"{self.first}{self.second}"


def test_it_is_as_a_dataclass_is() -> None:
    pair = Pair(1)
    assert (pair.first, pair.second, pair.both()) == (1, "b", "1b")
    assert pair == Pair(first=1, second="b") != Pair(2)
    assert len({pair, Pair(1)}) == 1
    assert replaced(pair, first=3) == Pair(3)
    assert Pair.__doc__ == "Two parts."
    with pytest.raises(AttributeError):
        pair.first = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        pair.third = 2  # type: ignore[attr-defined]
    for words in ({}, {"first": 1, "third": 2}):
        with pytest.raises(TypeError, match="Pair has the fields first, second"):
            Pair(**words)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Pair(1, "b", 3)  # type: ignore[call-arg]


def test_ch_run_oci_imports_no_dataclasses() -> None:
    code = "import sys, sundog.front.oci_runtime.run;"
    code += "print(*{'dataclasses', 'inspect'} & {*sys.modules})"
    place = str(Path(sundog.__file__).parents[1])
    words = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({place!r}); {code}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
