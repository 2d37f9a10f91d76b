"""``sundog buildx bake``: bake files in JSON and compose files, and the lines that they become."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import UsageError
from sundog.front.cli.bake_file import from_bake, from_compose
from sundog.front.cli.bake_targets import DEFAULT, KNOWN, Definition, line_of
from sundog.front.options import scan
from sundog.front.podman.image_lines import SUBCOMMANDS
from sundog.front.podman.image_options import BAKE as BAKE_OPTIONS
from sundog.runtime.cdi.yaml_text import parse_yaml_text
from tests.conftest import command

if TYPE_CHECKING:
    from pathlib import Path

BAKE = {
    "group": {"default": {"targets": ["app", "all"]}, "all": {"targets": ["tool"]}},
    "target": {
        "base": {"args": {"A": "1", "B": "2"}, "tags": ["base:1"], "secret": ["id=x,src=y"]},
        "app": {
            "inherits": ["base"],
            "context": "sub",
            "dockerfile": "D",
            "args": {"B": "3", "C": None},
            "tags": ["app:1", "app:2"],
            "target": "last",
            "contexts": {"files": "../files", "lib": "target:tool"},
            "no-cache": True,
            "platforms": ["linux/amd64", "linux/arm64"],
            "secret": ["id=z,env=Z"],
            "output": [{"type": "oci", "dest": "x.tar"}],
        },
        "tool": {"tags": ["tool"], "labels": {"a": "b"}, "description": "a tool"},
        "bare": {},
    },
}
COMPOSE = """
services:
  web:
    image: "web:${TAG:-1}"
    build:
      context: ./web
      dockerfile: Containerfile
      args:
        - A=$A
        - FROM_HOST
        - LATER=$${B}
      additional_contexts:
        lib: service:lib
      tags: ["x.org/web:$$"]
  lib:
    build: lib
    image: lib
  db:
    image: postgres
"""


def test_bake() -> None:
    """Groups, inherits, the order of targets that need each other, and each key's words."""
    definition = from_bake(json.loads(json.dumps(BAKE)), "f")
    assert definition.wanted([]) == ["tool", "app"]
    assert definition.wanted(["all", "bare"]) == ["tool", "bare"]
    assert line_of("app", definition, ["--push"], {"C": "c"}) == [
        "--output=type=oci,dest=x.tar",
        *("--secret=id=x,src=y", "--secret=id=z,env=Z", "--tag=app:1", "--tag=app:2"),
        *("--build-arg=A=1", "--build-arg=B=3", "--build-arg=C=c"),
        *("--build-context=files=../files", "--build-context=lib=docker-image://tool"),
        *(
            "--no-cache=true",
            "--target=last",
            "--platform=linux/amd64",
            "--platform=linux/arm64",
            "--file=sub/D",
        ),
        *("--push", "--", "sub"),
    ]
    assert line_of("tool", definition, [], {}) == ["--tag=tool", "--label=a=b", "--", "."]
    assert line_of("bare", definition, [], {}) == ["--output=type=cacheonly", "--", "."]


def test_compose() -> None:
    """Services with ``build`` are targets; variables are the environment's."""
    found = from_compose(parse_yaml_text(COMPOSE), "f", {"A": "5"})
    assert found.wanted([]) == ["lib", "web"]
    assert line_of("web", found, [], {}) == [
        *("--tag=web:1", "--tag=x.org/web:$"),
        *("--build-arg=A=5", "--build-arg=LATER=${B}"),
        *("--build-context=lib=docker-image://lib", "--file=./web/Containerfile", "--", "./web"),
    ]


def test_a_group_with_the_name_of_a_target() -> None:
    """A context names a target, and no group."""
    targets = {"a": {"tags": ["a"]}, "b": {}, "c": {"contexts": {"x": "target:a"}}}
    groups = {"a": {"targets": ["c", "b"]}}
    definition = from_bake({"target": targets, "group": groups}, "f")
    for name, order in (("a", ["a", "c", "b"]), ("c", ["a", "c"])):
        assert definition.wanted([name]) == order
        assert definition.waits_for(order)[:2] == [frozenset(), {0}]


def test_a_dockerfile_in_a_context_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "git@example.org:here").mkdir()
    for context, file in (
        ("https://example.org/r.git", "sub/D"),
        ("git@example.org:r", "sub/D"),
        ("git@example.org:here", "git@example.org:here/sub/D"),
    ):
        definition = from_bake({"target": {"a": {"context": context, "dockerfile": "sub/D"}}}, "f")
        assert line_of("a", definition, [], {})[-3:] == [f"--file={file}", "--", context]


def test_set() -> None:
    """A key is replaced in all targets of a pattern; more of a list are added."""
    definition = from_bake(json.loads(json.dumps(BAKE)), "f")
    seen: set[tuple[str, str]] = set()
    for text in ("t*.tags=a", "t*.tags=b", "tool.args.X=y=z", "*.no-cache=false", "tool.target=s"):
        definition.override(text, seen)
    assert definition.resolved("tool") == {
        "tags": ["a", "b"],
        "labels": {"a": "b"},
        "args": {"X": "y=z"},
        "no-cache": False,
        "target": "s",
    }
    assert definition.resolved("app")["no-cache"] is False


def test_options_are_for_all_targets() -> None:
    """They replace what a target says."""
    definition = from_bake({"target": {"a": {"no-cache": False, "pull": False}}}, "f")
    flags = scan(["--no-cache", "--pull"], BAKE_OPTIONS, command="bake").translated()
    build = SUBCOMMANDS["build"]
    line = scan(line_of("a", definition, flags, {}), build.options, command="build")
    words = ("build", "--output=type=cacheonly", "--pull=false", "--no-cache", "--pull=true")
    assert build.lines("build", line) == [[*words, "--", "."]]


def test_files_are_merged() -> None:
    definition = Definition()
    definition.add(from_bake({"target": {"a": {"args": {"x": "1"}, "tags": ["t"]}}}, "f"))
    definition.add(from_bake({"target": {"a": {"args": {"y": "2"}, "context": "c"}}}, "f"))
    assert definition.resolved("a") == {"args": {"x": "1", "y": "2"}, "tags": ["t"], "context": "c"}


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"variable": {}}, "f: variable: it belongs to HCL", "--set TARGET.KEY"),
        ({"targets": {}}, "f: unknown: targets", "target and group"),
        ({"target": {"a": {"tag": "x"}}}, "f: target a: tag: no such key", "did you mean tags?"),
        ({"target": {"a": {"matrix": {}}}}, "matrix: not possible here", "for each value"),
        ({"target": {"a": {"tags": ["${X}"]}}}, "tags: an expression", "give the value"),
        ({"target": {"a": {"args": "x"}}}, "args: expected an object", ""),
        ({"target": {"a": {"inherits": ["a"]}}}, "a → a: it inherits itself", "break it"),
        ({"target": {"b": {}}}, "bake: no such target: a", "there are: b"),
        ({"group": {"a": {"targets": ["a"]}}}, "a → a: a circle", "break it"),
        (
            {"target": {"a": {"contexts": {"x": "target:b"}}, "b": {}}},
            "takes files of b, which has no tags",
            "--set b.tags=NAME",
        ),
    ],
)
def test_mistakes(value: object, message: str, hint: str) -> None:
    def lines() -> None:
        definition = from_bake(value, "f")
        for name in definition.wanted(["a"]):
            line_of(name, definition, [], {})

    with pytest.raises(UsageError) as caught:
        lines()
    assert message in caught.value.message
    assert hint in caught.value.hint


def bake(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command("sundog"), "buildx", "bake", *words],
        cwd=place,
        env=os.environ | {"CH_IMAGE_STORAGE": str(place / "storage")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_command(tmp_path: Path) -> None:
    """It builds in order, from files of the working directory; --print builds nothing."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "one/Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    (tmp_path / "two/Dockerfile").write_text("FROM scratch\nCOPY --from=first file /\n")
    targets = {
        "two": {"context": "two", "contexts": {"first": "target:one"}, "output": ["out"]},
        "one": {"context": "one", "tags": ["one"]},
    }
    document = {"target": targets, "group": {"default": {"targets": ["two"]}}}
    (tmp_path / "docker-bake.json").write_text(json.dumps(document))
    done = bake(tmp_path, "--print")
    assert json.loads(done.stdout) == {
        "group": {"default": {"targets": ["one", "two"]}},
        "target": targets,
    }
    assert not (tmp_path / "storage").exists()
    done = bake(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/file").read_text() == "one"
    assert done.stderr.index("target: one") < done.stderr.index("target: two")
    failed = bake(tmp_path, "--set", "one.dockerfile=None")
    assert failed.returncode
    assert "target: two" not in failed.stderr
    (tmp_path / "docker-bake.hcl").touch()
    failed = bake(tmp_path)
    assert failed.returncode == 125
    assert "HCL is not read" in failed.stderr
    assert "docker buildx bake --print" in failed.stderr


def test_a_file_that_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.json")
    failed = bake(tmp_path, "-f", "f.json")
    assert failed.returncode == 125
    assert "f.json: it is not a regular file" in failed.stderr


_LEAVES = st.sampled_from(
    (None, True, 0, 1.5, "a", "b", "target:a", "service:b", "${x}", "$x", "x=y", "*")
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((*"abc", 1, None)), inner, max_size=3)
    ),
    max_leaves=6,
)
_NAMES = st.sampled_from((*"abc", DEFAULT, 1, None))
_TARGETS = st.dictionaries(st.sampled_from((*KNOWN, "image", "build")), _VALUES, max_size=4)
_MEMBERS = st.dictionaries(st.just("targets"), _VALUES)


def _some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(_NAMES, values | _VALUES, max_size=3) | _VALUES


@settings(max_examples=300)
@given(
    is_compose=st.booleans(),
    file=st.fixed_dictionaries({}, optional={"target": _some(_TARGETS), "group": _some(_MEMBERS)}),
    services=_some(st.dictionaries(st.just("build"), _TARGETS)),
    sets=st.lists(
        st.builds(
            "{}.{}={}".format, st.sampled_from("ab*"), st.sampled_from((*KNOWN, "args.x")), _LEAVES
        ),
        max_size=2,
    ),
)
def test_any_file_is_lines_or_one_mistake(
    is_compose: bool, file: object, services: object, sets: list[str]
) -> None:
    try:
        definition = (
            from_compose({"services": services}, "f", {}) if is_compose else from_bake(file, "f")
        )
        for text in sets:
            definition.override(text, set())
        names = definition.wanted([])
        for name in names:
            words = line_of(name, definition, [], {"x": "1"})
            assert all(isinstance(word, str) for word in words)
        assert len(definition.waits_for(names)) == len(names)
    except UsageError:
        return


def test_many_ways_to_one_target() -> None:
    """Each target is looked at once, although there are 2^60 ways to the last."""
    pairs = {f"{n}{side}": [f"{n + 1}a", f"{n + 1}b"] for n in range(60) for side in "ab"}
    targets = {name: {"inherits": below} for name, below in pairs.items()}
    last = {"60a": {"args": {"A": "1"}}, "60b": {}}
    definition = from_bake({"target": {**targets, **last}}, "f")
    assert definition.resolved("0a") == {"args": {"A": "1"}}
    groups = {name: {"targets": below} for name, below in pairs.items()}
    assert from_bake({"target": last, "group": groups}, "f").wanted(["0a"]) == ["60a", "60b"]


def test_too_many_levels() -> None:
    chain = {str(n): {"inherits": [str(n + 1)]} for n in range(5000)}
    with pytest.raises(UsageError, match="more than 100 levels"):
        from_bake({"target": chain}, "f").wanted(["0"])
