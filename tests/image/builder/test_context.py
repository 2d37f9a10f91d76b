"""Build contexts: the effect of ignore files, their precedence, archives, named contexts."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.builder.conftest import announced
from tests.image.builder.layers import entries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

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


@pytest.mark.parametrize("pattern", ["*", "**", "**/*"])
def test_all_files_ignored(any_workshop: Workshop, pattern: str) -> None:
    """COPY . makes the directory all the same; a name that is ignored is not found."""
    any_workshop.write({"a": "", "d/e": "", ".dockerignore": f"{pattern}\n"})
    any_workshop.build("FROM bb\nCOPY . /x\nCOPY . /y/\nCOPY * /z\n")
    assert any_workshop.run("ls -dA /x /y /x/* /y/* 2>/dev/null; true") == "/x\n/y\n"
    done = any_workshop.build("FROM bb\nCOPY d /x\n", check=False)
    assert "source not found: d" in done.stderr


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
    any_workshop.write({".dockerignore": "*.log\n\n"})  # the ignore file itself is copied
    assert announced(any_workshop.build(dockerfile))[1][1] == "."


@pytest.mark.parametrize("pattern", ["[a", "!"])
def test_malformed_ignore_file(any_workshop: Workshop, pattern: str) -> None:
    any_workshop.write({"a": "", ".dockerignore": pattern})
    done = any_workshop.build("FROM bb\nCOPY a /\n", check=False)
    assert done.returncode == 1
    assert f"{any_workshop.context}/.dockerignore: " in done.stderr
    assert "Traceback" not in done.stderr


# Archives on standard input


def feed(workshop: Workshop, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Build with ``data`` on standard input, through a pipe."""
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    return subprocess.run(
        [*command("ch-image"), "build", "-t", "img", *arguments, "-"],
        env=os.environ | {"CH_IMAGE_STORAGE": storage},
        input=data,
        capture_output=True,
        check=False,
    )


def packed(workshop: Workshop, *options: str) -> bytes:
    tar = ["tar", "-C", str(workshop.context), "--owner=1234", "--group=5678", "-c", *options, "."]
    return subprocess.run(tar, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("option", ["--", "--gzip", "--xz", "--zstd", "--bzip2"])
def test_archive_on_standard_input(any_workshop: Workshop, option: str) -> None:
    any_workshop.write(
        {
            "Dockerfile": "FROM bb\nCOPY d /d/\nCOPY .dockerignore /\n",
            "other/File": "FROM bb\nCOPY d/x /other\n",
            "d/x": "x",
            ".dockerignore": "d",  # only the program that makes an archive reads it
        }
    )
    data = packed(any_workshop, *([] if option == "--" else [option]))
    done = feed(any_workshop, data)
    assert done.returncode == 0, done.stderr
    assert any_workshop.run("cat /d/x") == "x"
    assert str(entries(any_workshop)["d/x"]) == "f 0:0 644"
    if option != "--":  # what comes now reads the archive in the same way
        return
    assert feed(any_workshop, data, "-f", "other/File").returncode == 0
    assert any_workshop.run("cat /other") == "x"
    assert announced_bytes(feed(any_workshop, data, "-f", "other/File"))[1][1] == "*"
    again = feed(any_workshop, data, "-f", "none")
    assert again.stderr == b"error: can't read none in the archive: No such file or directory\n"


def announced_bytes(done: subprocess.CompletedProcess[bytes]) -> list[tuple[int, str, str]]:
    text = subprocess.CompletedProcess(done.args, 0, "", done.stderr.decode())
    return announced(text)


def test_dockerfile_on_standard_input(any_workshop: Workshop) -> None:
    done = feed(any_workshop, b"FROM bb\nRUN echo made >/made\n" + b"#" * 2000)
    assert done.returncode == 0, done.stderr
    assert any_workshop.run("cat /made") == "made\n"
    done = feed(any_workshop, b"FROM bb\nCOPY x /\n")
    assert b'standard input:2: no context, because CONTEXT is "-"' in done.stderr


def test_damaged_context_on_standard_input(any_workshop: Workshop) -> None:
    any_workshop.write({"Dockerfile": "FROM bb\n", "big": "x" * 100000})
    for data in (packed(any_workshop)[:20000], packed(any_workshop, "--gzip")[:60]):
        done = feed(any_workshop, data)
        assert done.returncode == 1
        assert b"error: can't unpack the context on standard input: " in done.stderr
        assert b"Traceback" not in done.stderr


def test_context_of_awkward_modes(any_workshop: Workshop) -> None:
    any_workshop.write({"Dockerfile": "FROM bb\nCOPY d /d/\n", "d/x": "x"})
    (any_workshop.context / "d" / "x").chmod(0o400)
    (any_workshop.context / "d").chmod(0o500)
    data = packed(any_workshop)
    (any_workshop.context / "d").chmod(0o755)
    assert feed(any_workshop, data).returncode == 0
    assert str(entries(any_workshop)["d/x"]) == "f 0:0 400"


# Named contexts


def test_named_contexts(any_workshop: Workshop, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    (other / "sub" / "f").write_text("from a directory")
    (other / "ignored").write_text("")
    (other / ".dockerignore").write_text("ignored\n")
    tar = tmp_path / "other.tar.gz"
    subprocess.run(["tar", "-C", other, "-czf", tar, "sub"], check=True)
    any_workshop.build("FROM bb\nRUN echo from an image >/f\n", tag="other:1")
    any_workshop.write({"f": "mine"})
    any_workshop.build(
        """\
FROM scratch AS stage
COPY nothing /
FROM anything:latest
COPY --from=dir . /dir/
COPY --from=tar sub/f /tar
COPY --from=image /f /image
COPY --from=stage /f /stage
COPY f /f
RUN --mount=from=dir,target=/m,source=sub cp /m/f /mounted
""",
        f"--build-context=dir={other}",
        f"--build-context=tar={tar}",
        "--build-context=image=docker-image://other:1",
        "--build-context=stage=docker-image://other:1",
        "--build-context=Anything=docker-image://bb",
    )
    assert any_workshop.run("cat /dir/sub/f /tar /mounted; cat /image /stage /f; ls /dir") == (
        "from a directory" * 3 + "from an image\nfrom an image\nminesub\n"
    )


@pytest.mark.parametrize(
    ("context", "dockerfile", "message"),
    [
        ("x", "FROM bb", "--build-context: x: no name or no source"),
        ("x=/nowhere", "FROM bb", "--build-context x: can't read /nowhere: No such file"),
        ("x=/dev/null", "FROM bb", "--build-context x must be a directory: /dev/null"),
        ("x=ssh://user@:/x.git", "FROM bb", "error: not a URL: ssh://:/x.git"),
        ("x=/etc", "FROM x", "Dockerfile:1: FROM needs an image, and the context x is not one"),
        ("x=/etc/passwd", "FROM bb", "can't unpack --build-context x: "),
        ("x=docker-image://none", "FROM x", "none"),
        ("x=oci-layout:///nowhere:1", "FROM x", "--build-context x: no such directory: /nowhere"),
        ("x=oci-layout:///etc", "FROM x", "--build-context x: no OCI layout: /etc"),
    ],
)
def test_contexts_that_are_none(
    any_workshop: Workshop, context: str, dockerfile: str, message: str
) -> None:
    done = any_workshop.build(dockerfile + "\n", f"--build-context={context}", check=False)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def layout(workshop: Workshop, path: Path) -> str:
    """Save two images to a layout; return the digest of the manifest of the first."""
    for tag in ("one:1", "two:2"):
        workshop.build(f"FROM bb\nENV NAME={tag}\nRUN echo {tag} >/name\n", tag=tag)
    workshop.ch_image("save", "--format=oci-dir", "-o", path, "one:1", "two:2")
    workshop.ch_image("delete", "one:1", "two:2")
    workshop.ch_image("build-cache", "--reset")
    digest: str = json.loads((path / "index.json").read_text())["manifests"][0]["digest"]
    return digest


def test_images_of_a_layout(any_workshop: Workshop, tmp_path: Path) -> None:
    place = tmp_path / "lay:out"
    digest = layout(any_workshop, place)
    dockerfile = """\
FROM base
COPY --from=other /name /copied
RUN --mount=from=other,target=/m cat /m/name >/mounted
RUN echo $NAME >/base
"""
    options = (
        f"--build-context=base=oci-layout://{place}:2",
        f"--build-context=other=oci-layout://{place}:ignored@{digest}",
    )
    any_workshop.build(dockerfile, *options)
    assert any_workshop.run("cat /name /base /copied /mounted") == "two:2\ntwo:2\none:1\none:1\n"
    assert any_workshop.ch_image("list").stdout == "bb\nimg\n"
    assert any_workshop.statuses(dockerfile, *options) == "****"
    any_workshop.ch_image("build-cache", "--gc")  # this removes the stage that was only copied from
    assert any_workshop.statuses(dockerfile, *options) == "****"

    done = any_workshop.build(f"{dockerfile}RUN false\n", *options, check=False)
    assert "ch-run -W --set-env img:latest_failed" in done.stderr
    dry = any_workshop.build(dockerfile, *options, "--dry-run")
    assert [status for _, status, _ in announced(dry)] == ["."] * 4


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("", "no image latest"),
        (":3", "no image 3"),
        ("@sha256:" + "0" * 64, "no image with digest sha256:0000"),
    ],
)
def test_images_that_a_layout_has_not(
    any_workshop: Workshop, tmp_path: Path, which: str, message: str
) -> None:
    place = tmp_path / "layout"
    layout(any_workshop, place)
    context = f"--build-context=x=oci-layout://{place}{which}"
    done = any_workshop.build("FROM x\n", context, check=False)
    assert done.returncode == 1
    assert f"Dockerfile:1: can't read oci-layout://{place}: {message}" in done.stderr
    assert ("sha256" in which) != ("hint: tags in it: 1, 2\n" in done.stderr)


def test_only_image_of_a_layout_and_a_damaged_one(any_workshop: Workshop, tmp_path: Path) -> None:
    place = tmp_path / "layout"
    any_workshop.build("FROM bb\nRUN echo only >/name\n", tag="only:7")
    any_workshop.ch_image("save", "--format=oci-dir", "-o", place, "only:7")
    any_workshop.ch_image("reset")
    context = f"--build-context=x=oci-layout://{place}"
    any_workshop.build("FROM x\n", context)
    assert any_workshop.run("cat /name") == "only\n"
    any_workshop.ch_image("reset")
    for blob in (place / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-20] + b"x" * 20)
    done = any_workshop.build("FROM x\n", context, check=False)
    assert done.returncode == 1
    assert f"Dockerfile:1: can't read oci-layout://{place}: " in done.stderr
    assert any_workshop.ch_image("list").stdout == ""
