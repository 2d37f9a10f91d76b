"""``cli.report``: levels, colours, warnings once and again."""

from __future__ import annotations

import io

import pytest

from sundog.errors import DockerfileError, SundogError
from sundog.front.cli.report import Report


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def say_everything(report: Report) -> None:
    report.debug("debug")
    report.verbose("verbose")
    report.info("info")
    report.warning("careful")
    report.warning("careful")
    report.finish()
    report.error(SundogError("failed", "try again"))


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        (2, ["debug", "verbose", "info", "W", "R", "W", "E", "H"]),
        (1, ["verbose", "info", "W", "R", "W", "E", "H"]),
        (0, ["info", "W", "R", "W", "E", "H"]),
        (-1, ["W", "R", "W", "E", "H"]),
        (-2, ["E", "H"]),
        (-9, ["E", "H"]),
    ],
)
def test_levels(level: int, lines: list[str]) -> None:
    stream = io.StringIO()
    say_everything(Report(level, stream))
    texts = {
        "W": "warning: careful",
        "R": "warning: reprinting 1 warning(s)",
        "E": "error: failed",
        "H": "hint: try again",
    }
    assert stream.getvalue().splitlines() == [texts.get(line, line) for line in lines]


def test_nothing_to_reprint() -> None:
    stream = io.StringIO()
    Report(0, stream).finish()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("level", "stdout", "stderr"),
    [(0, False, False), (-1, False, False), (-2, True, False), (-3, True, True), (-5, True, True)],
)
def test_what_run_may_print(level: int, *, stdout: bool, stderr: bool) -> None:
    report = Report(level)
    assert (report.hides_stdout, report.hides_stderr) == (stdout, stderr)


def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    Report(0, stream).warning("x")
    assert stream.getvalue() == "\033[31mwarning: x\033[0m\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", ""), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    stream = Terminal()
    Report(0, stream).warning("x")
    assert stream.getvalue() == "warning: x\n"


def test_place_of_a_dockerfile_error() -> None:
    stream = io.StringIO()
    Report(0, stream).error(
        DockerfileError("bad", path="Dockerfile", line=3, excerpt="   3 | X", hint="h")
    )
    assert stream.getvalue() == "error: Dockerfile:3: bad\n   3 | X\nhint: h\n"


def test_text_that_the_terminal_cannot_show() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Report(0, stream).info("ü \udcff")
    assert raw.getvalue() == b"\\xfc \\xff\n"


def test_what_is_drawn_is_escaped_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    report = Report(0, stream)
    transfer = report.transfer("[red]a[/red] :smile: [link=b]c[/link]\x1b[35m\b\r", "moved", 9)
    report.info("[bold]d[/bold] :smile: \x1b]8;;e\x1b\\f\x9b")
    transfer.advance(9)
    transfer.end()
    drawn = stream.getvalue()
    assert "[red]a[/red] :smile: [link=b]c[/link]\\x1b[35m\\x08\\r: moved" in drawn
    assert "[bold]d[/bold] :smile: \\x1b]8;;e\\x1b\\f\\x9b\n" in drawn
    assert "\x1b[35m" not in drawn
    assert "\x1b]8" not in drawn


def test_a_message_is_one_line_and_an_excerpt_keeps_its_tabs() -> None:
    stream = io.StringIO()
    report = Report(0, stream)
    report.info("a\nb\tc")
    report.error(
        DockerfileError(
            "d\ne", path="f\ng", line=3, excerpt="   3 |\tX\x1b\n     |\t^", hint="h\ni"
        )
    )
    assert stream.getvalue() == (
        "a\\nb\\tc\nerror: f\\ng:3: d\\ne\n   3 |\tX\\x1b\n     |\t^\nhint: h\\ni\n"
    )
