"""The stages of a definition file, and the report of each fault."""

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import DockerfileError, UsageError
from sundog.image.builder.definition.plan import Wanted, plan_of
from sundog.image.definition.parse import SIZE_LIMIT, parse_definition, read_labels, refuse_unused
from sundog.image.definition.template import read_values
from sundog.image.definition.values import SECTIONS, Definition

WHOLE = r"""# before
bootSTRAP: docker # behind
From: \
  debian:{{ VERSION }}
StaGe: build

%arguments
    VERSION=trixie

%setup
    touch $APPTAINER_ROOTFS/a
# a comment
%files
    "with blank" /to
    file   # a comment
    # a comment
%post -c /bin/bash extra #comment
    echo {{VERSION}} # {{ NOT_THIS }}
    docker inspect -f '{{.Id}}'

%post
    echo again
%files
    other /opt/
Bootstrap: scratch
%files from build
    /a /b
%labels
    Author me and   you
    Empty
%appinstall foo
    make
%apprun bar # named
    exec bar
%appenv foo
    A=1
%HELP
words
"""


def parsed(text: str | bytes, **given: str) -> Definition:
    definition, unused = parse_definition(text, path="x.def", given=given)
    assert not unused
    return definition


def fault_of(text: str | bytes, **values: str) -> DockerfileError | None:
    try:
        parse_definition(text, path="x.def", given=values)
    except DockerfileError as error:
        return error
    return None


def fault_of_plan(definition: Definition) -> DockerfileError | None:
    """Plan the build; no other error may come."""
    try:
        plan_of(definition, Wanted(), "x86_64")
    except DockerfileError as error:
        return error
    return None


def test_whole() -> None:
    definition = parsed(WHOLE)
    build, last = definition.stages
    assert {name: value.text for name, value in build.headers.items()} == {
        "bootstrap": "docker",
        "from": "debian:trixie",
        "stage": "build",
    }
    assert build.headers["from"].line == 3
    assert sorted(build.sections) == ["arguments", "post", "setup"]
    post = build.section("post")
    assert post is not None
    assert (post.words, post.line, post.end_line) == ("-c /bin/bash extra #comment", 17, 22)
    assert post.text == (
        "    echo trixie # {{ NOT_THIS }}\n    docker inspect -f '{{.Id}}'\n\n    echo again\n"
    )
    (files,) = build.files
    assert files.stage == ""
    assert [(pair.source, pair.destination) for pair in files.pairs] == [
        ("with blank", "/to"),
        ("file", ""),
        ("other", "/opt/"),
    ]
    assert [pair.line for pair in files.pairs] == [14, 15, 24]
    assert [(each.stage, len(each.pairs)) for each in last.files] == [("build", 1)]
    assert last.apps == ("foo", "bar")
    assert last.section("apprun", "bar") is not None
    assert last.section("help") is not None
    labels = last.section("labels")
    assert labels is not None
    assert read_labels(labels.lines) == {"Author": "me and   you", "Empty": ""}
    assert definition.text == WHOLE


FAULTS = {
    "": (1, "empty"),
    "# nothing\n\n": (3, "empty"),
    "From: x\nBootstrap: docker\n": (1, "from before Bootstrap"),
    "%post\ntrue\n": (1, "no Bootstrap"),
    "Bootstrap: docker\nFrm: x\n": (2, "no such keyword: frm"),
    "Bootstrap: docker\nFrom\n": (2, "neither KEYWORD: VALUE"),
    "Bootstrap: docker\n%pots\n": (2, "no such section: %pots"),
    "Bootstrap: docker\n  %post\n": (2, "blanks are before it"),
    "Bootstrap: docker\n%post\n  cat <<EOF\n  %{name}\nEOF\n": (4, "blanks are before it"),
    "Bootstrap: docker\n%\n": (2, "no such section"),
    "Bootstrap: docker\n%apprun\n": (2, "needs the name of an app"),
    "Bootstrap: docker\n%apprun ../x\n": (2, "needs the name of an app"),
    "Bootstrap: docker\n%apprun a b\n": (2, "needs the name of an app"),
    "Bootstrap: docker\n%files\na b c\n": (3, "neither SOURCE nor"),
    "Bootstrap: docker\n%files\n\n'a b\n": (4, "quote without end"),
    'Bootstrap: docker\n%files\n"" b\n': (3, "neither SOURCE nor"),
    "Bootstrap: docker\n%files to x\n": (2, "%files takes no to x"),
    "Bootstrap: docker\n%files from x\n": (2, "no earlier stage: x"),
    "Bootstrap: docker\nStage: x\n%files from x\n": (3, "no earlier stage: x"),
    "Bootstrap: a\nStage: x\nBootstrap: a\nStage: x\n": (4, "two stages"),
    "Bootstrap: docker\n%arguments\nA\n": (3, "%arguments: not NAME=VALUE"),
    "Bootstrap: docker\n%post\necho {{ A }}\n": (3, "no value for {{ A }}"),
    "Bootstrap: docker\n%post\n\0": (3, "a NUL character"),
    '{"a": "Bootstrap: docker"}': (1, "no such keyword"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults(text: str) -> None:
    line, message = FAULTS[text]
    with pytest.raises(DockerfileError) as caught:
        parse_definition(text, path="x.def")
    assert caught.value.lines()[0].startswith(f"x.def:{line}: ")
    assert message in caught.value.message


TEMPLATES = {
    "a{{ A }}b": "a1b",
    "{{A}}{{  B  }}": "12",
    "{{\nA\n}} x": "1 x",
    "#!/bin/{{ A }}": "#!/bin/1",
    "x # {{ C }}": "x # {{ C }}",
    "#{{ A }}": "#1",
    "{{ A }} # {{ C }} {{ C }}\n{{ B }}": "1 # {{ C }} {{ C }}\n2",
    "{{ A": "{{ A",
    "{{ a.b }} {{}} }}": "{{ a.b }} {{}} }}",
    "{{ BOTH }}": "1-2",
    "{{ DEEP }}": "{{ A }}-{{ B }}",
    "{{ LINES }}": "x\ny",
}


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates(text: str) -> None:
    defaults = "A=0\nB=2\nBOTH={{ A }}-{{ B }}\nDEEP={{ BOTH }}"
    definition, _ = parse_definition(
        f"Bootstrap: scratch\n%arguments\n{defaults}\n%post\n{text}\n%test\nlast\n",
        path="x.def",
        given={"A": "1", "LINES": "x\ny"},
    )
    (stage,) = definition.stages
    post, test = stage.section("post"), stage.section("test")
    assert post is not None
    assert post.text == f"{TEMPLATES[text]}\n"
    assert test is not None
    assert test.line == 8 + text.count("\n") + 1


def test_values() -> None:
    text = "Bootstrap: scratch\n%post\n{{ A }}\nBootstrap: scratch\n%post\n{{ B }}\n"
    _, unused = parse_definition(text, path="x", given={"A": "1", "B": "2", "C": "3"})
    assert unused == ["C"]
    with pytest.raises(UsageError, match="not used: C"):
        refuse_unused(unused)
    assert read_values([" A = b c ", "B="], "--build-arg") == {"A": "b c", "B": ""}
    with pytest.raises(UsageError, match="--build-arg: not NAME=VALUE: x"):
        read_values(["x"], "--build-arg")


def test_without_header() -> None:
    definition, _ = parse_definition("%post\ntrue\n", path="x", needs_header=False)
    assert definition.stages[0].section("post") is not None


@pytest.mark.parametrize(
    "text",
    [
        "%post\n" + "x" * (10 << 20),
        "%post\n" + "{{" * (5 << 20),
        "%post\n{{ " + " " * (10 << 20),
        "%post\n" + "{{a" * (3 << 20),
        "%post\n" + "{{ A }}" * (1 << 20),
        "%post\n" + "{{ A }}\n" * (1 << 18),
        "%files\n" + "'a'" * (3 << 20),
        "%files\n" + "a\n" * (1 << 17),
        "%post\ntrue\n" * (1 << 17),
        "%labels\n" + "a b\n" * (1 << 18),
        "A" * (10 << 20) + ": b\n",
    ],
    ids=range(11),
)
def test_large(text: str) -> None:
    start = time.process_time()
    fault = fault_of(f"Bootstrap: docker\n{text}", A="x")
    if fault is not None:
        assert len("\n".join(fault.lines())) < 2000
    # In proportion to the size: a square would take hours.
    assert time.process_time() - start < 20


def test_too_large() -> None:
    with pytest.raises(DockerfileError, match="more than 16 MiB"):
        parse_definition(b"#" * (SIZE_LIMIT + 1), path="x.def")
    with pytest.raises(DockerfileError, match="more than 1000 stages"):
        parse_definition("Bootstrap: scratch\n" * 1001, path="x.def")


def test_values_that_name_each_other() -> None:
    """What they add to a file has a bound before it is made, over all stages and values."""
    arguments = "Bootstrap: scratch\n%arguments\nB=" + "x" * 20_000 + "\n"
    doubled = arguments + "A=" + "{{B}}" * 20_000 + "\n%help\n" + "{{A}}\n" * 20
    for text in (doubled, (arguments + "%help\n" + "{{B}}" * 100 + "\n") * 20):
        tracemalloc.start()
        fault = fault_of(text)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert fault is not None
        assert fault.message == "the values of {{ }} add more than 16 MiB to the file"
        assert fault.hint == "name them less often, or make them shorter"
        assert peak < 128 << 20
    often = f"Bootstrap: scratch\n%arguments\nA={'{{B}}' * 20_000}\nB=\n%help\n"
    start = time.process_time()
    assert fault_of(often + "{{A}}" * 20_000) is None
    assert time.process_time() - start < 20  # a square would take minutes


LINES = st.sampled_from(
    [
        *("Bootstrap: docker", "From: x", "Stage: a", "  \\", "x: y", "#", "", "\r", "%", "%%post"),
        *("%files from a", "a b", "'a b' c", '"', "{{ A }}", "{{", "# {{ A }}", "A=1", "%appenv x"),
        *(f"%{name}" for name in SECTIONS),
    ]
) | st.text(max_size=20)


@given(st.lists(LINES, max_size=20), st.dictionaries(st.sampled_from("AB"), st.text(max_size=5)))
@settings(max_examples=300, deadline=None)
def test_anything(lines: list[str], values: dict[str, str]) -> None:
    text = "\n".join(lines)
    fault = fault_of(text, **values)
    if fault is not None:
        assert 1 <= fault.line <= text.count("\n") + 2
        return
    definition, _ = parse_definition(text, path="x.def", given=values)
    for stage in definition.stages:
        numbers = [line.number for each in stage.sections.values() for line in each.lines]
        assert all(stage.line <= number <= text.count("\n") + 1 for number in numbers)
    fault_of_plan(definition)
    again = parse_definition(text.encode("utf-8", "surrogatepass"), path="x.def", given=values)
    assert again[0].stages == definition.stages


@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    fault_of(data)
    fault_of(b"Bootstrap: scratch\n" + data)
