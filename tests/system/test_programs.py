"""The comparison of `make fidelity-programs` is not blind; its rules hide only what they say."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from scripts.programs import inside, normal
from scripts.programs.__main__ import earlier
from scripts.programs.compare import Kind, judge
from scripts.programs.inside import Result
from scripts.programs.rows import DEFAULTS, Row, all_rows, parse

if TYPE_CHECKING:
    from pathlib import Path

ROW = Row("family", "name", "true\n")
MADE = "/w/f - 4755 1000:44 links=1 user.a=31"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jan  1 12:30 f", "Nov 26 00:01 f"),
        ("2024-01-01 10:11:12.123 f", "2026-11-26 23:00:00.000 f"),
        ("(pid 12): ok", "(pid 4711): ok"),
        ("sshd[12]: ok", "sshd[4711]: ok"),
        ("/tmp/tmp.AbCdEfGhIj", "/tmp/tmp.0123456789"),
        ("Ran in 1.5 s", "Ran in 22.04 s"),
    ],
)
def test_what_changes_each_time_is_equal(one: str, other: str) -> None:
    assert judge(ROW, Result(one, 0), Result(other, 0)).kind is Kind.EQUAL


@pytest.mark.parametrize(
    "text",
    [
        "alice",
        "1000:1000",
        "0:44",
        "10:42 23:59",
        "5 s 755",
        "4755",
        "-rwsr-xr-x",
        "c 1:3",
        "uid=1000(alice) gid=44(video)",
        "0,5,6",
    ],
)
def test_no_rule_hides_an_owner_or_a_mode(text: str) -> None:
    assert normal.output(text) == [text]


@pytest.mark.parametrize(
    "other",
    [
        Result("out", 1, (MADE,)),
        Result("out", None, (MADE,)),
        Result("other", 0, (MADE,)),
        Result("out", 0),
        *(
            Result("out", 0, (MADE.replace(old, new),))
            for old, new in (
                ("f -", "f p"),
                ("4755", "0755"),
                ("1000", "0"),
                (":44", ":0"),
                ("links=1", "links=2"),
                ("=31", "=32"),
                ("/w/f", "/w/g"),
            )
        ),
    ],
)
def test_each_difference_is_seen(other: Result) -> None:
    real = Result("out", 0, (MADE,))
    assert judge(ROW, real, real).kind is Kind.EQUAL
    assert judge(ROW, real, other).kind is Kind.DIFFERS
    documented = replace(ROW, options={**DEFAULTS, "differs": "a reason"})
    assert judge(documented, real, other).kind is Kind.DOCUMENTED


def test_a_row_that_fails_on_both_sides_does_not_count() -> None:
    failed = Result("error", 1)
    assert judge(ROW, failed, failed).kind is Kind.ALIKE
    expected = replace(ROW, options={**DEFAULTS, "status": "1"})
    assert judge(expected, failed, failed).kind is Kind.EQUAL


def test_rows_are_read_with_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "family.sh"
    path.write_text("# rows\n\n## one\n## seconds: 9\nid\n\n## not a row\n## two\ntrue\n")
    one, two = parse(path)
    assert (one.family, one.name, one.options["seconds"]) == ("family", "one", "9")
    assert one.script == "id\n\n## not a row\n"
    assert two.script == "true\n"
    path.write_text("## one\n## colour: red\ntrue\n")
    with pytest.raises(ValueError, match="no such key: colour"):
        list(parse(path))


def test_all_rows_are_shell_and_have_names_of_their_own() -> None:
    rows = all_rows()
    assert len(rows) >= 200
    assert len({str(row) for row in rows}) == len(rows)
    script = "\n".join(f"f() {{\n{row.script}\n}}" for row in rows)
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_result_is_found_between_other_lines() -> None:
    text = f"warning\n{inside.BEGIN}\none\n\n{inside.END}3\n{MADE}\n{inside.LISTED}\nmore\n"
    assert inside.read(text) == Result("one", 3, (MADE,))
    assert inside.read("no image").status is None


def test_only_what_was_equal_is_taken_from_the_output_of_a_run() -> None:
    rows = [Row("f", name, "true\n") for name in ("equal", "known", "wrong", "alike", "new")]
    output = """\
      making an image
  1/4 f/equal                                  equal                  1.0 s
 10/4 f/known                                  differs, documented   22.5 s
          SUNDOG_FAST_PATH=no
  3/4 f/wrong                                  DIFFERS                1.0 s
      +  4/4 f/wrong                           equal                  1.0 seconds
  4/4 f/alike                                  fails alike            1.0 s
"""
    kinds = [(verdict.row.name, verdict.kind) for verdict in earlier(output, rows)]
    assert kinds == [("equal", Kind.EQUAL), ("known", Kind.DOCUMENTED)]
