"""``builder.graph``: stages, the stages that they need, and the names that --from may use."""

from __future__ import annotations

import pytest

from sundog.errors import DockerfileError
from sundog.image.builder.graph import StageGraph, stage_graph
from sundog.image.builder.scope import GlobalScope
from sundog.image.dockerfile.parse import parse


def graph_of(text: str, given: dict[str, str] | None = None) -> StageGraph:
    return stage_graph(parse(text, path="Dockerfile"), GlobalScope(given or {}, {}, {}))


def bases(graph: StageGraph) -> list[object]:
    return [stage.base for stage in graph.stages]


def test_a_stage_is_named_without_regard_to_case() -> None:
    assert bases(graph_of("FROM a AS Base\nFROM BASE\nFROM other")) == ["a", 0, "other"]


def test_the_stage_itself_does_not_hide_an_image_of_its_name() -> None:
    assert bases(graph_of("FROM debian AS debian\nFROM debian")) == ["debian", 0]


def test_the_last_stage_of_a_name_is_meant() -> None:
    assert bases(graph_of("FROM a AS x\nFROM b AS x\nFROM x"))[2] == 1


def test_a_number_after_from_is_an_image() -> None:
    assert bases(graph_of("FROM a\nFROM 0")) == ["a", "0"]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("FROM a\nFROM b\nFROM c", [2]),
        ("FROM a AS x\nFROM b AS y\nFROM x", [0, 2]),
        ("FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=y /f /\nCOPY --from=img /g /", [1, 2]),
        ("FROM a AS x\nFROM x AS y\nFROM c\nCOPY --from=1 / /", [0, 1, 2]),
        ("FROM a\nCOPY --from=img / /\nFROM b\nCOPY --from=0 / /", [0, 1]),
    ],
)
def test_stages_that_are_not_needed_are_left_out(text: str, needed: list[int]) -> None:
    assert [stage.index for stage in graph_of(text).needed()] == needed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nCOPY --from=0 / /", "--from: stage 0 is the current stage"),
        ("FROM a\nCOPY --from=7 / /", "--from: stage 7 does not exist yet"),
        ("FROM a\nCOPY --from=-1 / /", "--from: a stage's number can't be negative: -1"),
        ("FROM a\nCOPY --from=-1 / /\nFROM b", "--from: a stage's number can't be negative: -1"),
        (
            "FROM a\nRUN --mount=from=-2,target=/x y",
            "--from: a stage's number can't be negative: -2",
        ),
        ("FROM a AS x\nCOPY --from=X / /", "--from: stage X is not complete at this point"),
        ("FROM a\nCOPY --from=y / /\nFROM b AS y", "--from: stage y is not complete at this point"),
    ],
)
def test_copy_from_what_is_not_there_yet(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        graph_of(text)
    assert caught.value.message == message
    assert caught.value.line == 2
    assert caught.value.excerpt


def test_global_args_are_substituted_in_from() -> None:
    text = "ARG NAME=debian\nARG TAG\nFROM ${NAME}:${TAG:-stable} AS x\nFROM $NAME$TAG"
    assert bases(graph_of(text)) == ["debian:stable", "debian"]
    assert bases(graph_of(text, {"TAG": "12"})) == ["debian:12", "debian12"]


def test_a_global_arg_sees_those_before_it() -> None:
    graph = graph_of("ARG A=1\nARG B=$A.2 C\nFROM x:$B")
    assert [(name, value) for _, name, value in graph.arguments] == [
        ("A", "1"),
        ("B", "1.2"),
        ("C", None),
    ]
    assert bases(graph) == ["x:1.2"]


def test_an_arg_of_a_stage_is_not_seen_by_from() -> None:
    assert bases(graph_of("FROM a\nARG X=1\nFROM b:v$X")) == ["a", "b:v"]


def test_nothing_left_of_from_is_an_error_at_its_place() -> None:
    with pytest.raises(DockerfileError, match="is empty after") as caught:
        graph_of("ARG X\n\nFROM $X")
    assert caught.value.line == 3


def test_every_declared_arg_counts_as_used() -> None:
    scope = GlobalScope({"A": "1", "B": "2", "C": "3"}, {}, {})
    stage_graph(parse("ARG A\nFROM x\nARG B=5\nFROM y", path="-"), scope)
    assert scope.unused() == ["C"]
