"""Words that help: stages that do not exist, and commands that look like the exec form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

NOT_JSON = "because this is not a JSON array of strings in double quotes: "


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ENTRYPOINT [bash]", "[bash]"),
        ("CMD ['a', 'b']", "['a', 'b']"),
        ("CMD [ \"a\", 'b' ]", "[ \"a\", 'b' ]"),
        ("HEALTHCHECK CMD ['x']", "['x']"),
        ("RUN [\"true\",'y'] || :", "[\"true\",'y'] || :"),
    ],
)
def test_almost_the_exec_form(any_workshop: Workshop, line: str, text: str) -> None:
    """It is told at once, before an instruction runs."""
    done = any_workshop.build(f"FROM bb\n{line}\n")
    warning, *_ = done.stderr.splitlines()
    name = line.partition(" ")[0]
    assert warning.startswith("warning: ")
    assert warning.endswith(f"Dockerfile:2: {name} is in shell form, {NOT_JSON}{text}")


@pytest.mark.parametrize(
    "line",
    [
        "RUN [ -e /bin ]",
        'RUN [ "a" = "a" ] && [ "b" != "c" ]',
        'RUN [ "a,b" = "a,b" ]',
        "RUN [[ a == a ]] || true",
        'CMD ["a", "b"]',
        "CMD []",
    ],
)
def test_brackets_of_the_shell(any_workshop: Workshop, line: str) -> None:
    assert "warning" not in any_workshop.build(f"FROM bb\n{line}\n").stderr


def test_a_trigger_of_the_base_image(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nONBUILD CMD [x]\n", tag="parent")
    assert f"CMD is in shell form, {NOT_JSON}[x]" in any_workshop.build("FROM parent\n").stderr


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("nope", "the stages are: builder 1 last"),
        ("bilder", "did you mean builder? the stages are: builder 1 last"),
        ("7", "the stages are: builder 1 last"),
    ],
)
def test_a_target_that_does_not_exist(any_workshop: Workshop, target: str, hint: str) -> None:
    dockerfile = "FROM bb AS builder\nFROM bb\nFROM bb AS last\n"
    done = any_workshop.build(dockerfile, f"--target={target}", check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: --target: no such stage: {target}",
        f"hint: {hint}",
    ]


@pytest.mark.parametrize(
    "use", ["COPY --from=bulider /x /y", "RUN --mount=from=bulider,target=/x true", "FROM bulider"]
)
def test_a_stage_with_a_typing_error(any_workshop: Workshop, use: str) -> None:
    last = "" if use.startswith("FROM") else "FROM bb\n"
    done = any_workshop.build(f"FROM bb AS builder\n{last}{use}\n", check=False)
    assert done.returncode == 1
    assert "\nhint: did you mean stage builder? " in done.stderr
    if last:
        told = "neither a stage nor in storage: bulider: did you mean stage builder?"
        assert done.stderr.index(told) < done.stderr.index("pulling image: ")


def test_an_image_whose_name_is_like_a_stage(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nCOPY <<E /x\nE\n", tag="debian")
    done = any_workshop.build("FROM bb AS debian-base\nFROM bb\nCOPY --from=debian /x /y\n")
    assert "did you mean" not in done.stderr


def test_a_later_stage_is_not_meant(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nCOPY --from=bulider /x /y\nFROM bb AS builder\nCOPY --from=0 /y /z\n"
    done = any_workshop.build(dockerfile, check=False)
    assert "did you mean" not in done.stderr
