"""Build contexts from a git repository, and from the file at a URL."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.builder.git_server import git, serving_git
from tests.image.builder.layers import entries
from tests.image.builder.web import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.builder.conftest import Workshop
    from tests.image.builder.web import Web

pytestmark = pytest.mark.slow

DOCKERFILE = "FROM bb\nWORKDIR /c\nCOPY . .\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve ``r.git``; return the server's address and the working tree."""
    place = tmp_path_factory.mktemp("git")
    work = place / "work"
    (work / "app").mkdir(parents=True)
    git(work, "init", "-q", "-b", "trunk")
    (work / "Dockerfile").write_text(DOCKERFILE)
    (work / ".dockerignore").write_text("f\n")
    (work / "f").write_text("one")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "first")
    git(work, "tag", "v1")
    (work / "f").write_text("two")
    (work / "app" / "Dockerfile").write_text(DOCKERFILE)
    (work / "app" / "Other").write_text("FROM bb\nCOPY x /x\nRUN echo other >/o\n")
    (work / "app" / "x").write_text("x")
    (work / "out").symlink_to("/etc")
    (work / "alias").symlink_to("app")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "second")
    git(place, "clone", "-q", "--bare", "work", "served/r.git")
    with serving_git(place / "served") as url:
        yield url, work


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def build(workshop: Workshop, *arguments: str, stdin: bytes = b"") -> Completed:
    """Build ``img``, with this standard input."""
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    done = subprocess.run(
        [*command("ch-image"), "build", "-t", "img", *arguments],
        env=os.environ | {"CH_IMAGE_STORAGE": storage},
        cwd=workshop.context,
        input=stdin,
        capture_output=True,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        ("", [".dockerignore", "Dockerfile", "alias", "app", "f", "out"]),
        ("#trunk", [".dockerignore", "Dockerfile", "alias", "app", "f", "out"]),
        ("#v1", [".dockerignore", "Dockerfile", "f"]),
        ("#trunk:app", ["Dockerfile", "Other", "x"]),
        ("#:app/", ["Dockerfile", "Other", "x"]),
        ("#:alias", ["Dockerfile", "Other", "x"]),
        ("?ref=v1", [".dockerignore", "Dockerfile", "f"]),
        ("?branch=trunk&subdir=app", ["Dockerfile", "Other", "x"]),
    ],
)
def test_git(
    any_workshop: Workshop, served: tuple[str, Path], suffix: str, names: list[str]
) -> None:
    done = build(any_workshop, f"{served[0]}/r.git{suffix}")
    assert done.returncode == 0, done.stderr
    assert any_workshop.run("ls -A /c").split() == names


def test_git_dockerfiles(any_workshop: Workshop, served: tuple[str, Path]) -> None:
    source = f"{served[0]}/r.git#:app"
    assert build(any_workshop, "-f", "Other", source).returncode == 0
    assert any_workshop.run("cat /x /o") == "xother\n"
    done = build(any_workshop, "-f", "-", source, stdin=b"FROM bb\nCOPY x /y\n")
    assert done.returncode == 0, done.stderr
    assert any_workshop.run("cat /y") == "x"
    done = build(any_workshop, "-f", "../f", source)
    assert "error: can't copy from outside the context: ../f" in done.stderr
    done = build(any_workshop, f"{served[0]}/r.git#:app/x")
    assert "error: git: not a directory: app/x" in done.stderr


def test_cache_and_owners(any_workshop: Workshop, served: tuple[str, Path]) -> None:
    """The contents of the context decide, wherever it came from."""
    source = f"{served[0]}/r.git#:app"
    assert "3. COPY" in build(any_workshop, source).stderr
    assert "3* COPY" in build(any_workshop, source).stderr
    copy = any_workshop.context / "copy"
    subprocess.run(["cp", "-r", served[1] / "app", copy], check=True)
    for path in copy.iterdir():
        path.chmod(0o644)
    assert "3* COPY" in build(any_workshop, "copy").stderr
    assert str(entries(any_workshop)["c/x"]) == "f 0:0 644"


def test_git_directory_stays_out_unless_it_is_wanted(
    any_workshop: Workshop, served: tuple[str, Path]
) -> None:
    source = f"{served[0]}/r.git#v1"
    build(any_workshop, source)
    assert ".git" not in any_workshop.run("ls -A /c").split()
    build(any_workshop, "--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", source)
    assert ".git" in any_workshop.run("ls -A /c").split()
    text = b"FROM bb\nRUN --mount=type=bind,target=/m ls -A /m >/list\n"
    build(any_workshop, "-f", "-", source, stdin=text)
    assert any_workshop.run("cat /list").split() == [".dockerignore", "Dockerfile", "f"]


def test_name_comes_from_the_address(any_workshop: Workshop, served: tuple[str, Path]) -> None:
    for suffix, name in (("", "r"), ("#:app", "app"), ("#trunk:alias/", "alias")):
        done = any_workshop.ch_image("build", f"{served[0]}/r.git{suffix}")
        assert f"inferred image name: {name}\n" in done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("GIT/r.git#none", "git: no such branch, tag or commit: none"),
        ("GIT/none.git", "git ls-remote failed: "),
        ("GIT/r.git#:out", "can't copy from outside the context: out"),
        ("GIT/r.git#:none", "git: not a directory: none"),
        ("GIT/r.git#--upload-pack=x", "git: not a name: '--upload-pack=x'"),
        ("git@127.0.0.1:nothing/x", "git ls-remote failed: "),
        ("file:///etc/.git", "context: not a URL for a context: file:///etc/.git"),
        ("ext::sh -c id", "context must be a directory: ext::sh -c id"),
        ("http://127.0.0.1:1/x.tar", "can't fetch http://127.0.0.1:1/x.tar: "),
    ],
)
def test_git_errors(
    any_workshop: Workshop, served: tuple[str, Path], source: str, message: str
) -> None:
    done = build(any_workshop, source.replace("GIT", served[0]))
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert "Traceback" not in done.stderr


def test_named_context(any_workshop: Workshop, served: tuple[str, Path], web: Web) -> None:
    web.files["/t.tar"] = archive({"y": b"y"})
    web.files["/text"] = b"text"
    any_workshop.build(
        "FROM bb\nCOPY --from=repo x /x\nCOPY --from=tar y /y\n",
        f"--build-context=repo={served[0]}/r.git#:app",
        f"--build-context=tar={web.url}/t.tar",
    )
    assert any_workshop.run("cat /x /y") == "xy"
    text = f"--build-context=x={web.url}/text"
    done = any_workshop.build("FROM bb\n", text, check=False)
    assert f"--build-context x: not a tar archive: {web.url}/text" in done.stderr


# Hostile repositories


def test_nothing_of_a_repository_is_executed(any_workshop: Workshop, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "trunk")
    (work / "Dockerfile").write_text("FROM bb\n")
    (work / ".gitattributes").write_text("* filter=x\n")
    hook = work / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    with serving_git(tmp_path) as url:
        git(tmp_path, "clone", "-q", "--bare", "work", "inner.git")
        (work / ".gitmodules").write_text(
            f'[submodule "s"]\n path = s\n url = {url}/work/.git\n update = !touch {mark}\n'
        )
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "first")
        head = git(work, "rev-parse", "HEAD")
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{head},s")
        git(work, "commit", "-q", "-m", "second")
        done = build(any_workshop, f"{url}/work/.git")
        assert done.returncode == 1
        assert "git submodule failed: " in done.stderr
        assert build(any_workshop, f"{url}/work/.git?submodules=0").returncode == 0
    assert not mark.exists()


FEW = (
    "from sundog.image.layer.limits import Limits, set_limits\nset_limits(Limits(entries=20_000))\n"
)


def test_trees_that_stand_for_a_billion_files(any_workshop: Workshop, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "trunk")
    (work / "f").write_text("f")
    blob = git(work, "hash-object", "-w", "f")
    entry = f"100644 blob {blob}\t%d\n"
    tree = ""
    for _ in range(9):
        lines = "".join(entry % number for number in range(10))
        made = subprocess.run(
            ["git", "mktree"], cwd=work, input=lines, capture_output=True, text=True, check=True
        )
        tree = made.stdout.strip()
        entry = f"040000 tree {tree}\t%d\n"
    commit = git(work, "commit-tree", "-m", "bomb", tree)
    git(work, "update-ref", "refs/heads/trunk", commit)
    with serving_git(tmp_path) as url:
        done = any_workshop.prepared(FEW, "build", "-t", "x", f"{url}/work/.git")
    assert done.returncode == 1
    assert "more than 20,000 entries" in done.stderr
    assert "hint: if you trust it, --no-limits takes it as it is" in done.stderr


SMALL = (
    "from sundog.image.layer.limits import Limits, set_limits\nset_limits(Limits(free=100_000))\n"
)


def test_pack_without_an_end(any_workshop: Workshop, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "trunk")
    (work / "Dockerfile").write_text("FROM bb\n")
    (work / "f").write_bytes(os.urandom(300_000))
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "large")
    with serving_git(tmp_path) as url:
        done = any_workshop.prepared(SMALL, "build", "-t", "x", f"{url}/work/.git")
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "error: git: a file of the repository has more than 100,000 bytes",
            "hint: if you trust it, --no-limits takes it as it is",
        ]
        done = any_workshop.prepared(SMALL, "build", "--no-limits", "-t", "x", f"{url}/work/.git")
        assert done.returncode == 0, done.stderr


def test_list_of_references_without_an_end(any_workshop: Workshop, web: Web) -> None:
    lines = (f"{number:040x}\trefs/heads/{number}/HEAD\n" for number in range(5000))
    web.files["/x.git/info/refs?service=git-upload-pack"] = "".join(lines).encode()
    done = any_workshop.prepared(SMALL, "build", "-t", "x", f"{web.url}/x.git")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: git: a file of the repository has more than 100,000 bytes",
        "hint: if you trust it, --no-limits takes it as it is",
    ]


def test_file_without_an_end(any_workshop: Workshop, web: Web) -> None:
    web.files["/t.tar"] = archive({"Dockerfile": b"FROM bb\n", "f": os.urandom(2_000_000)})
    done = any_workshop.prepared(SMALL, "build", "-t", "x", f"{web.url}/t.tar")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {web.url}/t.tar has more than 100,000 bytes\n")


# Files at a URL


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def compressed(program: str, data: bytes) -> bytes:
    return subprocess.run([program, "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("program", ["cat", "gzip", "bzip2", "xz", "zstd"])
def test_archive(any_workshop: Workshop, web: Web, program: str) -> None:
    data = archive({"Dockerfile": DOCKERFILE.encode(), "x": b"x", ".dockerignore": b"x\n"})
    web.files["/a/ctx.tar.any?v=1"] = data if program == "cat" else compressed(program, data)
    done = any_workshop.ch_image("build", f"{web.url}/a/ctx.tar.any?v=1")
    assert "inferred image name: ctx\n" in done.stderr
    assert any_workshop.run("ls -A /c", "ctx").split() == [".dockerignore", "Dockerfile", "x"]


def test_dockerfile_at_a_url(any_workshop: Workshop, web: Web) -> None:
    web.files["/some/df"] = b"FROM bb\nRUN echo 1 >/1\n"
    assert build(any_workshop, f"{web.url}/some/df").returncode == 0
    assert any_workshop.run("cat /1") == "1\n"
    done = build(any_workshop, "-f", "x", f"{web.url}/some/df")
    assert done.stderr.startswith("error: -f needs a context")
    web.files["/some/df"] = b"FROM bb\nCOPY x /\n"
    assert 'no context, because CONTEXT is "-"' in build(any_workshop, f"{web.url}/some/df").stderr


def test_archive_with_a_dockerfile_on_standard_input(any_workshop: Workshop, web: Web) -> None:
    web.files["/t.tar"] = archive({"x": b"x"})
    done = build(any_workshop, "-f", "-", f"{web.url}/t.tar", stdin=b"FROM bb\nCOPY x /x\n")
    assert done.returncode == 0, done.stderr
    assert "can't read Dockerfile in the context" in build(any_workshop, f"{web.url}/t.tar").stderr


def test_server_that_wants_a_token(any_workshop: Workshop, web: Web) -> None:
    web.files["/t.tar"] = archive({"Dockerfile": b"FROM bb\n"})
    web.guarded["/t.tar"] = "Bearer abc"
    assert " 401 " in build(any_workshop, f"{web.url}/t.tar").stderr
    secret = f"--secret=id=HTTP_AUTH_TOKEN_127.0.0.1,src={any_workshop.context}/token"
    any_workshop.write({"token": "abc"})
    done = build(any_workshop, secret, f"{web.url}/t.tar")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "data",
    [
        archive({"../../out": b"", "Dockerfile": b"FROM bb\n"}),
        archive({"Dockerfile": b"FROM bb\n"})[:700],
        compressed("gzip", b"\0" * 100_000),
    ],
)
def test_hostile_files(any_workshop: Workshop, web: Web, data: bytes) -> None:
    web.files["/t.tar"] = data
    done = build(any_workshop, f"{web.url}/t.tar")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (any_workshop.context.parent / "out").exists()


def test_directory_named_like_an_address(any_workshop: Workshop) -> None:
    place = any_workshop.context / "git@host:x"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM bb\n")
    assert build(any_workshop, "git@host:x").returncode == 0
