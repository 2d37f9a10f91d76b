"""Options for a look inside: ``--dot``, ``--profile``, ``--break`` and ``--dependencies``.

``--dot`` draws the tree of layers in the language of Graphviz.
"""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from shutil import which

from sundog.errors import EXIT_ERROR, SundogError, UsageError
from sundog.front.cli.output import print_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from sundog.front.cli.report import Report
    from sundog.image.store.layer_tree import LayerNode

    T = TypeVar("T")

_DOT = "dot"
_WIDTH = 60  # characters of an instruction in the drawing
_PROFILE = "profile"
_PACKAGE = "sundog"
# Programs that some features need, and these features.
_PROGRAMS = {
    "git": "ADD of a git repository, and a repository as context",
    "rsync": "RSYNC",
    "ssh-agent": "build --ssh with a key",
}


def print_missing() -> int:
    """Print the programs that are missing here; return 0 if there are none."""
    missing = {name: use for name, use in _PROGRAMS.items() if which(name) is None}
    for name, use in missing.items():
        print_line(f"missing dependency: {name}: {use}")
    return EXIT_ERROR if missing else 0


def observed(
    action: Callable[[], T], break_at: tuple[str, int] | None, *, profiles: bool
) -> Callable[[], T]:
    """Return ``action`` under the debugger and with a profile; raise UsageError."""
    if break_at is not None:
        action = _stopping(action, *break_at)
    return _profiled(action) if profiles else action


def _profiled(action: Callable[[], T]) -> Callable[[], T]:
    """Return ``action`` with a profile of this process, which is written even if it fails."""

    def run() -> T:
        import cProfile  # for developers
        import pstats

        profile = cProfile.Profile()
        try:
            return profile.runcall(action)
        finally:
            profile.dump_stats(f"{_PROFILE}.p")
            with open(f"{_PROFILE}.txt", "w", encoding="utf-8") as file:
                pstats.Stats(profile, stream=file).sort_stats("cumulative").print_stats()

    return run


def _stopping(action: Callable[[], T], module: str, line: int) -> Callable[[], T]:
    """Return ``action`` under the debugger, which stops before a line; raise UsageError.

    The name of the module may leave out ``sundog.``.
    """
    path = _source(module)
    import pdb  # for developers

    debugger = pdb.Pdb(nosigint=True, readrc=False)
    if fault := debugger.set_break(path, line):
        raise UsageError(f"--break: {os.path.basename(path)}:{line}: {fault}")
    debugger.rcLines = ["continue"]  # not in the first line that runs

    def run() -> T:
        result: T = debugger.runcall(action)  # type: ignore[assignment]
        return result

    return run


def _source(module: str) -> str:
    for name in (f"{_PACKAGE}.{module}", module):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is not None and spec.origin is not None and spec.has_location:
            return spec.origin
    raise UsageError(f"--break: no such module: {module}", "as in --break image.builder.stage:100")


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
