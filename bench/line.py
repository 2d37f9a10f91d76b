"""The cost of one work at several sizes, and the exponent of its growth.

The exponent is the slope of the cost over the size, both as logarithms: 0 is a constant cost, 1 a
cost in proportion, and 2 a quadratic one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.report import Row, figure

if TYPE_CHECKING:
    from bench.measure import Cost

MEGABYTE = 1e6


@dataclass
class Line:
    """One work: what it cost at each size."""

    what: str
    sizes: list[int] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def add(self, size: int, cost: Cost) -> None:
        """Enter the cost at one size."""
        self.sizes.append(size)
        self.costs.append(cost)

    @property
    def exponent(self) -> float:
        """The slope of the least squares; NaN if a size failed, or if there is only one."""
        points = [
            (math.log(size), math.log(max(cost.cpu, 1e-3)))
            for size, cost in zip(self.sizes, self.costs, strict=True)
        ]
        if len(set(self.sizes)) == 1:
            return math.nan
        middle = [sum(values) / len(points) for values in zip(*points, strict=True)]
        above = sum((x - middle[0]) * (y - middle[1]) for x, y in points)
        return float(above / sum((x - middle[0]) ** 2 for x, _ in points))

    @property
    def last(self) -> Cost:
        """The cost at the largest size."""
        return self.costs[-1]

    @property
    def row(self) -> Row:
        """The line as a row."""
        remark = self.last.remark
        sizes = ", ".join(f"{size:,}" for size in self.sizes)
        costs = ", ".join(figure(cost.cpu, ".2f") for cost in self.costs)
        peak, exponent = self.last.resident / MEGABYTE, self.exponent
        shown = [
            "" if math.isnan(value) else f"{value:.{digits}f}"
            for value, digits in ((exponent, 2), (peak, 0))
        ]
        return Row((f"{self.what}{remark}", sizes, costs, *shown))
