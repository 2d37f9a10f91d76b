"""``ch-image build-cache --dot``: the tree of layers in the language of Graphviz."""

from __future__ import annotations

import subprocess
from shutil import which

from sundog.errors import SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sundog.front.cli.report import Report
    from sundog.image.store.layer_tree import LayerNode

_DOT = "dot"
_WIDTH = 60  # characters of an instruction in the drawing


def has_dot() -> bool:
    """Tell whether Graphviz is here, which makes the PDF."""
    return which(_DOT) is not None


def write_drawing(nodes: Sequence[LayerNode], base: str, report: Report) -> None:
    """Write the tree to ``base``.gv, and to ``base``.pdf if Graphviz is here; raise SundogError."""
    source, target = f"{base}.gv", f"{base}.pdf"
    try:
        with open(source, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(_lines(nodes))
    except OSError as error:
        raise SundogError(f"--dot: can't write {source}: {error.strerror}") from error
    report.info(f"wrote {source}")
    if not has_dot():
        report.warning(f"--dot: no {target}, because dot(1) of Graphviz is not installed here")
        return
    done = subprocess.run(
        [_DOT, "-Tpdf", "-o", target, "--", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"])[0]
        raise SundogError(f"--dot: dot(1) can't write {target}: {reason}")
    report.info(f"wrote {target}")


def _lines(nodes: Sequence[LayerNode]) -> Iterator[str]:
    yield 'digraph "build cache" {\n  node [shape=box, fontname="monospace"];\n'
    for node in nodes:
        origin = " ".join(node.origin.split()) or "?"
        text = origin if len(origin) <= _WIDTH else f"{origin[:_WIDTH]}…"
        label = "\n".join((*node.images, text))
        style = "" if node.is_in_image else ", style=dashed"
        yield f"  {_quoted(node.layer)} [label={_quoted(label)}{style}];\n"
        if node.parent:
            yield f"  {_quoted(node.parent)} -> {_quoted(node.layer)};\n"
    yield "}\n"


def _quoted(text: str) -> str:
    """Return text as a string of the language: only a backslash and a quote are special."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
