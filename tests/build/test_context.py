"""Build contexts: what an ignore file leaves out, which one counts, archives, named contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.build.conftest import announced

if TYPE_CHECKING:
    from tests.build.conftest import Workshop

FILES = {
    "a": "",
    "b.log": "",
    "d/x": "",
    "d/y.log": "",
    "d/deep/z": "",
    "e/only.log": "",
}


def copied(workshop: Workshop, instruction: str) -> list[str]:
    workshop.build(f"FROM bb\nRUN mkdir /c\nWORKDIR /c\n{instruction}\n")
    printed = workshop.run("cd /c && find . -mindepth 1 | sort")
    return [line.removeprefix("./") for line in printed.splitlines()]


@pytest.mark.parametrize(
    ("ignore", "instruction", "expected"),
    [
        ("**/*.log\n.dockerignore\n", "COPY . .", ["a", "d", "d/deep", "d/deep/z", "d/x", "e"]),
        ("*\n!d/deep\n", "COPY . .", ["d", "d/deep", "d/deep/z"]),
        ("*\n!d/deep\n", "COPY d .", ["deep", "deep/z"]),
        ("*\n!d/deep\n", "COPY * .", ["deep", "deep/z"]),
        ("d\n!d/x\n", "COPY d/* .", ["x"]),
        ("d\n!d/x\n", "COPY --parents d .", ["d", "d/x"]),
        ("d/*\n!d/*.log\n", "COPY --exclude=y* d a .", ["a"]),
        ("# all\n", "COPY a d/x .", ["a", "x"]),
    ],
)
def test_ignore_file(
    any_workshop: Workshop, ignore: str, instruction: str, expected: list[str]
) -> None:
    any_workshop.write({**FILES, ".dockerignore": ignore})
    assert copied(any_workshop, instruction) == expected


@pytest.mark.parametrize("source", ["b.log", "e/only.log", "d/y.log", "alias"])
def test_ignored_files_are_not_there(any_workshop: Workshop, source: str) -> None:
    any_workshop.write({**FILES, ".dockerignore": "**/*.log\n"})
    (any_workshop.context / "alias").symlink_to("b.log")
    done = any_workshop.build(f"FROM bb\nCOPY {source} /\n", check=False)
    assert f":2: source not found: {source}\n" in done.stderr
    if source != "alias":
        assert "hint: the ignore file excludes it" in done.stderr


def test_unreadable_files_that_are_ignored_do_not_matter(any_workshop: Workshop) -> None:
    any_workshop.write({**FILES, ".dockerignore": "d\ne\n*.log\n"})
    (any_workshop.context / "d").chmod(0)
    (any_workshop.context / "b.log").chmod(0)
    assert copied(any_workshop, "COPY . .") == [".dockerignore", "a"]
    (any_workshop.context / "d").chmod(0o755)


def test_the_dockerfiles_own_ignore_file_goes_first(any_workshop: Workshop) -> None:
    any_workshop.write({**FILES, ".dockerignore": "a\n"})
    own = any_workshop.context.parent / "Dockerfile.dockerignore"
    own.write_text("*\n!a\n")
    assert copied(any_workshop, "COPY . .") == ["a"]
    own.unlink()
    assert "a" not in copied(any_workshop, "COPY . .")


def test_ignored_files_are_not_part_of_the_key(any_workshop: Workshop) -> None:
    any_workshop.write({**FILES, ".dockerignore": "*.log\n"})
    dockerfile = "FROM bb\nCOPY . /c/\n"
    any_workshop.build(dockerfile)
    any_workshop.write({"b.log": "changed"})
    assert announced(any_workshop.build(dockerfile))[1][1] == "*"
    any_workshop.write({".dockerignore": "*.log\n\n"})  # which is itself copied
    assert announced(any_workshop.build(dockerfile))[1][1] == "."


@pytest.mark.parametrize("pattern", ["[a", "!"])
def test_malformed_ignore_file(any_workshop: Workshop, pattern: str) -> None:
    any_workshop.write({"a": "", ".dockerignore": pattern})
    done = any_workshop.build("FROM bb\nCOPY a /\n", check=False)
    assert done.returncode == 1
    assert f"{any_workshop.context}/.dockerignore: " in done.stderr
    assert "Traceback" not in done.stderr
