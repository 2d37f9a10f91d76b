"""``build --explain-cache``: the difference to the last build, for the first miss of a stage."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from sundog.image.builder.explanation import LastBuild, StageRecord, StepRecord, pack_stages
from sundog.image.builder.keys import step_key
from sundog.image.store.last_builds import LIMIT
from sundog.image.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

DOCKERFILE = """\
FROM bb AS tools
COPY d /d
FROM bb
ARG A=1
ENV B=2
WORKDIR /w
RUN echo one >/one
RUN --mount=source=d,target=/mnt echo $A $B
COPY --from=tools /d /e
RUN --device=vendor/class=one,required=false echo end
"""
SINCE = "since the last build of img: "


def said(workshop: Workshop, dockerfile: str = DOCKERFILE, *options: str) -> list[str]:
    """Return the explanations of a dry run."""
    done = workshop.build(dockerfile, "-n", "--explain-cache", *options)
    return [line.strip() for line in done.stderr.splitlines() if line.startswith("     ")]


@pytest.fixture
def built(any_workshop: Workshop) -> Workshop:
    """Return a workshop in which DOCKERFILE was built."""
    any_workshop.write({"d/file": "1", "d/other": "2", "tool": "x"})
    any_workshop.build(DOCKERFILE)
    return any_workshop


CHANGED: dict[str, tuple[Callable[[str], str], list[str]]] = {
    "nothing": (str, []),
    "instruction": (
        lambda text: text.replace("echo one", "echo two"),
        ["in its place was: RUN.S echo one >/one"],
    ),
    "a new one": (
        lambda text: text.replace("RUN echo one", "RUN true\nRUN echo one"),
        ["in its place was: RUN.S echo one >/one"],
    ),
    "one is gone": (
        lambda text: text.replace("RUN echo one >/one\n", ""),
        ["this is gone: RUN.S echo one >/one"],
    ),
    "one at the end": (lambda text: text + "RUN true\n", ["the instruction is new"]),
    "another WORKDIR": (
        lambda text: text.replace("WORKDIR /w", "WORKDIR /v"),
        ["in its place was: WORKDIR /w"],
    ),
    "argument": (
        lambda text: text.replace("A=1", "A=2"),
        ["the argument or variable A has changed"],
    ),
    "variable": (
        lambda text: text.replace("RUN echo one", "ENV C=3\nRUN echo one"),
        ["the argument or variable C is new"],
    ),
    "mount": (
        lambda text: text.replace("/mnt ", "/mnt,rw "),
        ["the mount at /mnt has changed"],
    ),
    "no mount": (
        lambda text: text.replace("--mount=source=d,target=/mnt", ""),
        ["the mount at /mnt is gone"],
    ),
    "device": (lambda text: text.replace("class=one", "class=two"), ["its devices differ"]),
    "flag": (
        lambda text: text.replace("COPY --from=tools", "COPY --parents --from=tools"),
        ["something differs that its line does not show, as a flag or a text"],
    ),
    "user": (
        lambda text: text.replace("RUN echo one", "USER 7\nRUN echo one"),
        [],  # under seccomp, it stays root
    ),
}


def test_each_kind_of_difference(built: Workshop) -> None:
    for name, (change, expected) in CHANGED.items():
        found = said(built, change(DOCKERFILE))
        assert found == [SINCE + text for text in expected], name


def test_files(built: Workshop) -> None:
    """The first one, also of a mount; the second stage knows of it by the first's layers."""
    (built.context / "d/other").write_text("3")
    (built.context / "d/new").write_text("3")
    assert said(built) == [
        SINCE + "d/new is new",
        SINCE + "in the mount at /mnt: d/new is new",
    ]
    (built.context / "d/new").unlink()
    assert said(built)[0] == SINCE + "d/other has changed"
    (built.context / "d/other").unlink()
    assert said(built)[0] == SINCE + "d/other is gone"
    (built.context / "d/file").chmod(0o600)
    assert said(built, "FROM bb AS tools\nCOPY d/file /d\n") == [
        SINCE + "in its place was: COPY ['d'] -> '/d'"
    ]


def test_what_is_below(built: Workshop) -> None:
    other = "FROM bb\nRUN echo other >/other\n"
    built.build(other, tag="other")
    changed = DOCKERFILE.replace("FROM bb AS", "FROM other AS")
    assert said(built, changed)[0] == SINCE + "the stage began FROM bb AS tools"
    built.build(DOCKERFILE.replace("/w\nRUN", "/w\nRUN true\nRUN"), tag="bb2")
    text = DOCKERFILE.replace("/w\n", "/w\nRUN true\n").replace("echo one", "echo three")
    assert said(built, text) == [SINCE + "line 7 was: RUN.S echo one >/one"]
    built.ch_image("tag", "other", "bb")
    assert said(built)[0] == SINCE + "FROM bb AS tools has other layers"


def test_what_is_not_known(built: Workshop) -> None:
    def first(tag: str, *options: str, dockerfile: str = "FROM bb\nRUN new\n") -> str:
        done = built.build(dockerfile, "-n", "--explain-cache", *options, tag=tag)
        return next(line.strip() for line in done.stderr.splitlines() if line.startswith("     "))

    assert first("none") == "never built under this name: none"
    assert first("bb").startswith("never built under this name: bb; it is from: ")
    assert first("img", "--no-cache") == "nothing is looked up, as the command line says"
    named = "FROM bb AS x\nRUN new\n"
    assert first("img", dockerfile=named) == "the last build of img had no stage x"
    built.ch_image("build-cache", "--reset")
    assert said(built) == [SINCE + "nothing differs; its result is not in the cache any more"] * 2
    # What another program wrote there is no fault.
    record = next((built.context.parent / "storage/images").glob("*img+latest/build.json"))
    for content in (
        b"",
        b"[" * 5000,
        b'{"stages": [{"name": 1}]}',
        b'{"stages": [{"name": "0", "steps": [[1]]}]}',
    ):
        record.write_bytes(content)
        assert first("img") == "nothing is known of the last build of img"


def test_a_build_without_the_cache_leaves_what_was_known(built: Workshop) -> None:
    built.build(DOCKERFILE, "--no-cache")
    assert said(built, DOCKERFILE.replace("A=1", "A=2")) == [
        SINCE + "the argument or variable A has changed"
    ]
    built.ch_image("delete", "img")
    assert said(built, DOCKERFILE + "RUN new") == ["never built under this name: img"]


def test_secrets_are_not_kept(any_workshop: Workshop) -> None:
    (any_workshop.context / "secret").write_text("hidden-word")
    any_workshop.build(
        "FROM bb\nARG TOKEN\nRUN --mount=type=secret,id=s cat /run/secrets/s >/dev/null\n",
        f"--secret=id=s,src={any_workshop.context}/secret",
        "--build-arg=TOKEN=other-word",
    )
    record = next((any_workshop.context.parent / "storage/images").glob("*img+latest/build.json"))
    assert b"TOKEN" in record.read_bytes()
    assert b"-word" not in record.read_bytes()


def test_json(built: Workshop) -> None:
    """The message belongs to the vertex of the instruction."""
    (built.context / "d/file").write_text("3")
    done = built.build(DOCKERFILE, "-n", "--explain-cache", "--progress=rawjson")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    names = {each["digest"]: each["name"] for line in lines for each in line.get("vertexes", ())}
    found = [
        names[log["vertex"]]
        for line in lines
        for log in line.get("logs", ())
        if b"d/file has changed" in b64decode(log["data"])
    ]
    assert found[0] == "[tools 2/2] COPY ['d'] -> '/d'"


def test_a_record_has_a_bound(tmp_path: Path) -> None:
    def stage(count: int) -> StageRecord:
        steps = [
            StepRecord.of(1, "RUN", step_key("run", (), {str(each): "1" for each in range(2)}))
        ] * count
        return StageRecord("0", layers=("a",), steps=steps)

    assert pack_stages([stage(1)] * (LIMIT // 10)) == b"{}"
    with Store.open(str(tmp_path / "storage")) as store:
        assert LastBuild.of(store, ["x"]).stages is None
