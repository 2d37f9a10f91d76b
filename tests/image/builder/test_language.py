"""The Dockerfile reference's rules on stages, ARG, ENV, ONBUILD, platforms and names."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from sundog.image.oci.platform import Platform
from tests.image.builder.conftest import announced

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

HOST = str(Platform.of_host())
OTHER = "linux/s390x" if HOST != "linux/s390x" else "linux/amd64"


def last_lines(text: str, count: int) -> list[str]:
    return text.splitlines()[-count:]


@pytest.mark.parametrize(
    ("dockerfile", "options", "printed"),
    [
        # “Scope”: from its line on; a stage passes it to its children.
        ("FROM bb\nRUN echo [$A]\nARG A=1\nRUN echo [$A]", (), "[]\n[1]\n"),
        ("FROM bb AS x\nARG A=1\nFROM x\nRUN echo [$A]", (), "[1]\n"),
        ("FROM bb AS x\nARG A=1\nFROM bb\nRUN echo [$A]", (), "[]\n"),
        ("FROM bb AS x\nARG A=1\nFROM x\nARG A=2\nRUN echo [$A]", (), "[2]\n"),
        ("ARG A=1\nFROM bb\nRUN echo [$A]\nARG A\nRUN echo [$A]", (), "[]\n[1]\n"),
        ("ARG A=1\nFROM bb\nARG A=2\nRUN echo [$A]", ("--build-arg=A=3",), "[3]\n"),
        ("ARG A=1\nARG B=$A$A\nFROM bb\nARG B\nRUN echo [$B$A]", (), "[11]\n"),
        ("FROM bb\nARG A\nRUN echo [${A-unset}]", (), "[unset]\n"),
        ("FROM bb\nARG A\nRUN echo [${A-unset}]", ("--build-arg=A=",), "[]\n"),
        ("FROM bb\nARG A\nRUN echo [$A]", ("--build-arg=A=b=c",), "[b=c]\n"),
        ("FROM bb\nARG A=x\nARG B=${A}y\nRUN echo $B", (), "xy\n"),
        # “Using ARG variables”: ENV overrides ARG.
        ("FROM bb\nARG A=1\nENV A=2\nRUN echo $A", ("--build-arg=A=3",), "2\n"),
        ("FROM bb\nARG A=1\nENV A=${A:-2}\nRUN echo $A", ("--build-arg=A=3",), "3\n"),
        ("FROM bb AS x\nENV A=1\nFROM x\nARG A=2\nRUN echo $A", (), "1\n"),
        # “Environment replacement”: an instruction sees one set of values.
        (
            "FROM bb\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nRUN echo $def$ghi",
            (),
            "hellobye\n",
        ),
        ("FROM bb\nENV A=b\nRUN echo '\\$A' \\$A", (), "\\$A $A\n"),
        # “Automatic platform ARGs”: only after their declaration.
        (
            "FROM bb\nRUN echo [$TARGETPLATFORM]\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM",
            (),
            f"[]\n{HOST}\n",
        ),
        (
            "FROM bb\nARG BUILDPLATFORM TARGETOS\nRUN echo $BUILDPLATFORM $TARGETOS",
            (),
            f"{HOST} linux\n",
        ),
        ("FROM --platform=$BUILDPLATFORM bb\nRUN echo ok", (), "ok\n"),
    ],
)
def test_variables(
    any_workshop: Workshop, dockerfile: str, options: tuple[str, ...], printed: str
) -> None:
    assert any_workshop.build(dockerfile + "\n", *options).stdout == printed


def test_escape_directive(any_workshop: Workshop) -> None:
    done = any_workshop.build("# escape=`\nFROM bb\nRUN echo a `\n  b 'C:\\d'\n")
    assert done.stdout == "a b C:\\d\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("docker/dockerfile:1", "syntax directive: docker/dockerfile:1: not needed, because this"),
        ("docker.io/docker/dockerfile:1.7", "syntax directive: docker.io/docker/dockerfile:1.7: n"),
        ("example.com/own:2", "warning: syntax directive ignored: example.com/own:2: the file"),
    ],
)
def test_syntax_directive_is_noted(any_workshop: Workshop, value: str, message: str) -> None:
    done = any_workshop.build(f"# syntax={value}\nFROM bb\nLABEL a=b\n")
    assert message in done.stderr


TRIGGERS = """\
FROM bb AS base
WORKDIR /w
ONBUILD ARG A=default
ONBUILD COPY f /f
ONBUILD RUN echo "$A $(cat /f)" >>log && \\
    echo $PWD >>log
"""


def test_triggers_run_in_the_next_build(workshop: Workshop) -> None:
    workshop.write({"f": "file"})
    workshop.build(TRIGGERS, tag="base")
    assert workshop.config("base")["config"]["OnBuild"] == [
        "ARG A=default",
        "COPY f /f",
        'RUN echo "$A $(cat /f)" >>log &&     echo $PWD >>log',
    ]
    done = workshop.build("FROM base\nRUN echo after >>log\n", "--build-arg=A=given")
    assert "ONBUILD: base triggers 3\n" in done.stderr
    assert [line for line, _, _ in announced(done)] == [1, 1, 1, 1, 2]
    assert workshop.run("cat /w/log") == "given file\n/w\nafter\n"
    # The triggers have run: a child of the child has none.
    assert "OnBuild" not in workshop.config()["config"]
    workshop.build("FROM img\nRUN cat log\n", tag="third")
    assert workshop.statuses("FROM base\nRUN echo after >>log\n", "--build-arg=A=given") == "*****"


def test_triggers_of_a_stage_and_stages_named_by_triggers(any_workshop: Workshop) -> None:
    any_workshop.build(
        "FROM bb\nONBUILD COPY --from=tools /t /t\nONBUILD COPY --from=other /o /o\n", tag="base"
    )
    any_workshop.build("FROM bb\nRUN echo image >/o\n", tag="other")
    any_workshop.build(
        "FROM bb AS unneeded\nRUN exit 1\nFROM bb AS tools\nRUN echo stage >/t\nFROM base\n"
    )
    assert any_workshop.run("cat /t /o") == "stage\nimage\n"
    done = any_workshop.build(
        "FROM bb AS a\nONBUILD RUN echo [$0]\nRUN echo first\nFROM a\nRUN echo last\n"
    )
    assert done.stdout == "first\n[/bin/sh]\nlast\n"


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("FROM x", "FROM can't be a trigger"),
        ("ONBUILD RUN x", "ONBUILD can't be a trigger"),
        ("NOTHING x", "unknown instruction: NOTHING"),
        ("RUN --mount=type=x y", "--mount: no such type: x"),
    ],
)
def test_a_bad_trigger_of_an_image(any_workshop: Workshop, trigger: str, message: str) -> None:
    """Another program built such an image."""
    any_workshop.build("FROM bb\nONBUILD RUN true\n", tag="base")
    storage = any_workshop.ch_image("gestalt", "storage-path").stdout.strip()
    path = os.path.join(storage, "images/docker.io%library%base+latest/config.json")
    with open(path, encoding="utf-8") as file:
        config = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(config.replace('"RUN true"', f'"{trigger}"'))
    done = any_workshop.build("ARG X\nFROM base AS y\n", check=False)
    assert done.returncode == 1
    error = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert error[0].endswith(f"Dockerfile:2: ONBUILD trigger of base: {trigger}: {message}")
    assert error[1] == "   2 | FROM base AS y"


def test_platform_of_the_base(any_workshop: Workshop) -> None:
    any_workshop.build(f"FROM --platform={OTHER} scratch\nLABEL a=b\n", tag="other")
    assert any_workshop.config("other")["architecture"] == OTHER.partition("/")[2]
    done = any_workshop.build(f"FROM --platform={OTHER} other AS x\nFROM x\n")
    assert announced(done)[0] == (1, "*", f"FROM --platform={OTHER} other AS x")
    done = any_workshop.build(f"FROM --platform={HOST} other\n", check=False)
    assert (
        f"Dockerfile:1: other is for {OTHER}, not for {HOST}; and pulling it failed: "
        in done.stderr
    )
    done = any_workshop.build("FROM --platform=a/b/c/d bb\n", check=False)
    assert "Dockerfile:1: platform 'a/b/c/d': expected OS/ARCHITECTURE[/VARIANT]\n" in done.stderr


@pytest.mark.parametrize("target", ["mid", "MID", "1"])
def test_target(any_workshop: Workshop, target: str) -> None:
    dockerfile = """\
FROM bb AS first
RUN echo 1
FROM first AS mid
ARG TARGETSTAGE
RUN echo $TARGETSTAGE
FROM mid
RUN exit 1
"""
    assert any_workshop.build(dockerfile, f"--target={target}").stdout == f"1\n{target}\n"


def test_unknown_target(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb AS middle\nFROM bb\n", "--target=midle", check=False)
    assert done.returncode == 2
    assert last_lines(done.stderr, 2) == [
        "error: --target: no such stage: midle",
        "hint: did you mean middle? the stages are: middle 1",
    ]


def test_several_names_and_labels(any_workshop: Workshop) -> None:
    options = ("-t", "second:1", "--label", "a=given", "--label=empty", "--label", "c=d=e")
    done = any_workshop.build("FROM bb\nLABEL a=file b=file\nRUN echo x >/x\n", *options)
    assert done.stderr.endswith("grown in 4 instructions: img second:1\n")
    assert any_workshop.ch_image("list").stdout == "bb\nimg\nsecond:1\n"
    labels = {"a": "given", "b": "file", "c": "d=e", "empty": ""}
    assert any_workshop.config()["config"]["Labels"] == labels
    assert any_workshop.run("cat /x", "second:1") == "x\n"


def test_files_for_other_programs(any_workshop: Workshop, tmp_path: Path) -> None:
    options = (f"--iidfile={tmp_path}/id", f"--metadata-file={tmp_path}/metadata")
    dockerfile = "FROM bb\nRUN echo x >/x\n"
    any_workshop.build(dockerfile, *options, "-t", "other:1")
    identity = (tmp_path / "id").read_text()
    assert re.fullmatch("sha256:[0-9a-f]{64}", identity)
    any_workshop.ch_image("save", "--format=oci-dir", "-o", tmp_path / "layout", "img")
    (entry,) = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    del entry["annotations"]
    assert json.loads((tmp_path / "metadata").read_text()) == {
        "containerimage.config.digest": identity,
        "containerimage.descriptor": entry,
        "containerimage.digest": entry["digest"],
        "image.name": "docker.io/library/img:latest,docker.io/library/other:1",
    }
    manifest = tmp_path / "layout/blobs" / entry["digest"].replace(":", "/")
    assert json.loads(manifest.read_text())["config"]["digest"] == identity
    (tmp_path / "id").unlink()
    any_workshop.build(dockerfile, options[0])
    assert (tmp_path / "id").read_text() == identity
    any_workshop.build(dockerfile, *options, env={"SOURCE_DATE_EPOCH": "1000"})
    assert (tmp_path / "id").read_text() != identity
    done = any_workshop.build(dockerfile, "--iidfile=/nowhere/id", check=False)
    assert "error: can't write /nowhere/id: No such file or directory\n" in done.stderr
    (tmp_path / "taken/id").mkdir(parents=True)
    done = any_workshop.build(dockerfile, f"--iidfile={tmp_path}/taken/id", check=False)
    assert f"error: can't write {tmp_path}/taken/id: Is a directory\n" in done.stderr
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["id"]  # nothing half made


@pytest.mark.parametrize("name", ["SIGTERM", "term", "9", "SIGRTMIN+3", "USR1"])
def test_stop_signal(any_workshop: Workshop, name: str) -> None:
    any_workshop.build(f"FROM bb\nSTOPSIGNAL {name}\n")
    assert any_workshop.config()["config"]["StopSignal"] == name


@pytest.mark.parametrize("name", ["SIGNOTHING", "0", "99", "TERM KILL", "-9"])
def test_what_is_no_signal(any_workshop: Workshop, name: str) -> None:
    done = any_workshop.build(f"FROM bb\nSTOPSIGNAL {name}\n", check=False)
    assert done.returncode == 1
    assert f"Dockerfile:2: not a signal: {name}\n" in done.stderr


def test_volume_keeps_what_comes_later(workshop: Workshop) -> None:
    """As in BuildKit, and not as in the builder before it."""
    workshop.build("FROM bb\nRUN mkdir /v\nVOLUME /v\nRUN echo kept >/v/f\n")
    assert workshop.run("cat /v/f") == "kept\n"
    assert workshop.config()["config"]["Volumes"] == {"/v": {}}


def test_shell_and_what_it_applies_to(any_workshop: Workshop) -> None:
    done = any_workshop.build(
        'FROM bb\nSHELL ["/bin/sh", "-euc"]\nRUN echo $-\nENTRYPOINT ["x"]\nCMD run it\n'
        "HEALTHCHECK CMD check it\n"
    )
    assert "u" in done.stdout
    config = any_workshop.config()["config"]
    assert config["Cmd"] == ["/bin/sh", "-euc", "run it"]
    assert config["Shell"] == ["/bin/sh", "-euc"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "check it"]}


def test_epoch_is_when_the_image_was_made(any_workshop: Workshop, tmp_path: Path) -> None:
    dockerfile = "FROM bb\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >x\nENV a=b\n"

    def made() -> tuple[str, list[str]]:
        config = any_workshop.config()
        return config["created"], [entry["created"] for entry in config["history"][-2:]]

    any_workshop.build(dockerfile)
    now = made()
    assert now[0] > "2026"
    for seconds, text in (("0", "1970-01-01T00:00:00Z"), ("86400", "1970-01-02T00:00:00Z")):
        any_workshop.build(dockerfile, f"--build-arg=SOURCE_DATE_EPOCH={seconds}")
        assert made() == (text, [text, text])
    # Another time makes another image.  Without a requested time, the present image will do.
    given = "--build-arg=SOURCE_DATE_EPOCH=1"
    any_workshop.build(dockerfile, given, env={"SOURCE_DATE_EPOCH": "2"})
    assert made()[0] == "1970-01-01T00:00:01Z"
    any_workshop.build(dockerfile, env={"SOURCE_DATE_EPOCH": "3"})
    assert any_workshop.run("cat /x") == "3\n"
    identity = tmp_path / "id"
    options = (f"--iidfile={identity}", f"--metadata-file={tmp_path}/metadata")
    any_workshop.build("FROM bb\nENV a=c\n", *options, env={"SOURCE_DATE_EPOCH": "2"})
    both = identity.read_text()
    any_workshop.build("FROM bb\nENV a=c\n", options[0], env={"SOURCE_DATE_EPOCH": "2"})
    assert identity.read_text() == both
    assert made()[0] == "1970-01-01T00:00:02Z"
    any_workshop.build("FROM bb\nENV a=c\n")
    assert made()[0] == "1970-01-01T00:00:02Z"


@pytest.mark.parametrize("value", ["soon", "-1", "999999999999", "1.5"])
def test_epoch_that_is_none(any_workshop: Workshop, value: str) -> None:
    done = any_workshop.build("FROM bb\n", f"--build-arg=SOURCE_DATE_EPOCH={value}", check=False)
    assert done.returncode == 2
    assert f"--build-arg: SOURCE_DATE_EPOCH: not a number of seconds: {value}\n" in done.stderr
    done = any_workshop.build("FROM bb\n", env={"SOURCE_DATE_EPOCH": value}, check=False)
    assert f"error: $SOURCE_DATE_EPOCH: not a number of seconds: {value}\n" in done.stderr
