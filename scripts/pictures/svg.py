"""Drawings as SVG: boxes with text, arrows between them.

A picture has a light ground of its own, so that it can be read on a dark page, too.  Fonts are the
generic ones.  Text is as wide as the widest usual font makes it, so no box is too small for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH = 760  # pixels, of every picture
LINE = 17  # pixels from one line of text to the next
PAD = 7  # pixels between a box and its text
INK, GROUND, ACCENT = "#24292f", "#fbfaf7", "#8a5a00"
FILLS = {"plain": "#ffffff", "kernel": "#e8eef7", "sundog": "#fbeed2", "quiet": "#f1f0ec"}
# The widths of characters in units of the font's size; others have that of "a".
_NARROW, _WIDE = "fijlrtI.,:;|!'()[]/ ", "mwMW@%—→…"


def width_of(text: str, size: int, *, mono: bool = False) -> float:
    """Return the pixels that a line of text may take."""
    if mono:
        return 0.62 * size * len(text)
    units = (0.4 if c in _NARROW else 0.98 if c in _WIDE or c.isupper() else 0.63 for c in text)
    return size * sum(units)


def wrap(text: str, width: float, size: int = 12) -> list[str]:
    """Break a text into lines that are no wider than ``width``."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@dataclass(frozen=True)
class Box:
    """A place in a drawing."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The horizontal middle."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height

    def overlaps(self, other: Box) -> bool:
        """Tell whether the two share more than an edge."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.bottom
            and other.y < self.bottom
        )


class Drawing:
    """A picture that grows element by element."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self.boxes: list[Box] = []
        self.texts: list[Box] = []
        self._frames: list[Box] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int = 12,
        *,
        style: str = "",
        anchor: str = "start",
    ) -> None:
        """Write a line whose lower edge is at ``y``; styles are ``bold``, ``mono``, ``accent``."""
        width = width_of(text, size, mono="mono" in style)
        left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
        self.texts.append(Box(left, y - size, width, size))
        family = "monospace" if "mono" in style else "sans-serif"
        weight = ' font-weight="bold"' if "bold" in style else ""
        fill = ACCENT if "accent" in style else INK
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-family="{family}" font-size="{size}"{weight}'
            f' fill="{fill}" text-anchor="{anchor}">{escape(text, quote=False)}</text>'
        )

    def frame(self, box: Box) -> None:
        """Draw a frame around what is drawn into it."""
        self._parts.append(
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
            f' rx="6" fill="{FILLS["quiet"]}" stroke="{INK}" stroke-width="0.8"/>'
        )
        self._frames.append(box)

    def box(self, box: Box, lines: list[str], *, fill: str = "plain", title: str = "") -> None:
        """Draw a box with a title in monospace and lines of text."""
        self.boxes.append(box)
        self._parts.append(
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
            f' rx="4" fill="{FILLS[fill]}" stroke="{INK}" stroke-width="0.8"/>'
        )
        y = box.y + PAD - 4
        if title:
            y += LINE
            self.text(box.x + PAD, y, title, style="mono bold")
        for line in lines:
            y += LINE
            self.text(box.x + PAD, y, line)

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a line through the points, with a head at the last one."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self._parts.append(
            f'<path d="M{path}" fill="none" stroke="{INK}" marker-end="url(#head)"/>'
        )

    def render(self) -> str:
        """Return the picture; its height is that of what it has."""
        height = max(box.bottom for box in [*self.boxes, *self.texts, *self._frames]) + 12
        parts = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}"'
            f' viewBox="0 0 {WIDTH} {height:g}" role="img">\n'
            f"<title>{escape(self._title, quote=False)}</title>\n"
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4"'
            f' orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="{INK}"/></marker></defs>\n'
            f'<rect width="{WIDTH}" height="{height:g}" rx="6" fill="{GROUND}"/>\n'
            f"{parts}\n</svg>\n"
        )


def height_of(lines: list[str], *, title: bool = False) -> float:
    """Return the height of a box for these lines."""
    return 2 * PAD + LINE * (len(lines) + title)
