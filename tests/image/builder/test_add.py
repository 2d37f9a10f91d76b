"""ADD: archives, URLs from a real server, and real git repositories."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.image.builder.layers import entries
from tests.image.builder.web import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.image.builder.conftest import Workshop
    from tests.image.builder.web import Web

TIME = 1_000_000_000
DATE = "Sun, 09 Sep 2001 01:46:40 GMT"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def archive(*members: tuple[str, bytes, dict[str, object]]) -> bytes:
    """Return a tar; each member is a name, its type, and further attributes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, attributes in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.mtime = TIME
            data = name.encode() if kind == tarfile.REGTYPE else b""
            member.size = len(data)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


FILE, DIRECTORY, SYMLINK, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
SMALL = archive(
    ("top", DIRECTORY, {"mode": 0o2750, "uid": 5, "gid": 6}),
    ("top/file", FILE, {"mode": 0o4711, "uid": 7, "gid": 8}),
    ("top/hard", LINK, {"linkname": "top/file"}),
    ("top/link", SYMLINK, {"linkname": "/etc/passwd", "uid": 9, "gid": 9}),
    ("null", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3, "mode": 0o666}),
)
PROGRAMS = {
    "": ["cat"],
    "gz": ["gzip", "-n"],
    "bz2": ["bzip2"],
    "xz": ["xz"],
    "zst": ["zstd", "-q"],
}


# Archives


@pytest.mark.parametrize("compression", PROGRAMS)
def test_archives_are_unpacked(any_workshop: Workshop, compression: str) -> None:
    packed = subprocess.run(
        PROGRAMS[compression], input=SMALL, stdout=subprocess.PIPE, check=True
    ).stdout
    (any_workshop.context / "no-tar-in-the-name").write_bytes(packed)
    any_workshop.build(
        "FROM bb\nADD no-tar-in-the-name /a/b\nADD --unpack=false no-tar-in-the-name /whole/\n"
        "ADD --chown=1:2 --chmod=u=rwX,go= no-tar-in-the-name /given/\n"
    )
    found = entries(any_workshop)
    paths = ("a", "a/b/top", "a/b/top/file", "a/b/top/hard", "a/b/top/link", "a/b/null")
    assert [str(found[path]) for path in paths] == [
        "d 0:0 755",
        "d 5:6 2750",
        "f 7:8 4711",
        "h 7:8 4711",
        "l 9:9 777",
        "c 0:0 666",
    ]
    assert found["a/b/top/file"].mtime == TIME
    assert found["a/b/top/link"].link == "/etc/passwd"
    assert (found["whole/no-tar-in-the-name"].kind, found["whole/no-tar-in-the-name"].size) == (
        "f",
        len(packed),
    )
    assert str(found["given/top"]) == "d 1:2 700"
    assert str(found["given/top/file"]) == "f 1:2 700"


@pytest.mark.parametrize(
    "content", [b"", b"text", bytes(10240), b"\x1f\x8b\x08\0 not gzip", SMALL[:300]]
)
def test_what_is_no_archive_is_copied(any_workshop: Workshop, content: bytes) -> None:
    (any_workshop.context / "x.tar.gz").write_bytes(content)
    any_workshop.build("FROM bb\nADD x.tar.gz /\n")
    assert entries(any_workshop)["x.tar.gz"].size == len(content)


def test_archives_replace_what_is_in_the_way(workshop: Workshop) -> None:
    """As tar -x: files replace directories and vice versa; members replace symlinks."""
    (workshop.context / "x.tar").write_bytes(
        archive(
            ("d", DIRECTORY, {}),
            ("d/file", FILE, {}),
            ("file", FILE, {}),
            ("link", DIRECTORY, {}),
            ("link/inside", FILE, {}),
            ("kept", DIRECTORY, {"mode": 0o700}),
        )
    )
    workshop.build(
        """\
FROM bb
RUN mkdir -p /x/file/sub /x/kept /x/d /real && touch /x/kept/old /x/d/old && ln -s /real /x/link \\
 && ln -s /real /way
ADD x.tar /way/../x/
ADD x.tar /way
RUN cd /x; find . /real | sort; test ! -L link; stat -c %a kept
"""
    )
    found = entries(workshop)
    assert (found["x/file"].kind, found["x/link"].kind) == ("f", "d")
    assert found["x/kept"].mode == 0o700
    assert "real/inside" not in found
    assert "real/link/inside" in found
    assert workshop.run("ls /x/kept /x/d") == "/x/d:\nfile\nold\n\n/x/kept:\nold\n"


@pytest.mark.parametrize(
    "members",
    [
        [("../escaped", FILE, {})],
        [("x", SYMLINK, {"linkname": "OUT"}), ("x/escaped", FILE, {})],
        [("x", LINK, {"linkname": "../../escaped"})],
    ],
)
def test_hostile_archives(
    any_workshop: Workshop, tmp_path: Path, members: list[tuple[str, bytes, dict[str, object]]]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for _, _, attributes in members:
        if attributes.get("linkname") == "OUT":
            attributes["linkname"] = str(outside)
    (any_workshop.context / "x.tar").write_bytes(archive(*members))
    done = any_workshop.build("FROM bb\nADD x.tar /d/\n", check=False)
    assert list(outside.iterdir()) == []
    if done.returncode:
        assert "Dockerfile:2: can't unpack x.tar: " in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_archive(any_workshop: Workshop) -> None:
    (any_workshop.context / "x.tar").write_bytes(SMALL[:700])
    done = any_workshop.build("FROM bb\nADD x.tar /d/\n", check=False)
    assert done.returncode == 1
    assert "Dockerfile:2: can't unpack x.tar: " in done.stderr
    assert "img" not in any_workshop.ch_image("list").stdout.split()


def test_contents_are_the_key(any_workshop: Workshop) -> None:
    tar = any_workshop.context / "x.tar"
    tar.write_bytes(SMALL)
    dockerfile = "FROM bb\nADD x.tar /d/\n"
    assert any_workshop.statuses(dockerfile) == "*."
    os.utime(tar, (TIME, TIME))
    assert any_workshop.statuses(dockerfile) == "**"
    assert any_workshop.statuses("FROM bb\nADD --unpack=false x.tar /d/\n") == "*."


# URLs


def test_files_from_the_web(workshop: Workshop, web: Web) -> None:
    web.files = {"/p/f%20g?q=1": b"body", "/x.tar": SMALL}
    web.headers["/p/f%20g?q=1"] = {"Last-Modified": DATE}
    workshop.build(
        f"""\
FROM bb
ARG url={web.url}
ADD $url/p/f%20g?q=1 /new/dir/
ADD $url/p/f%20g?q=1 /file
ADD --chmod=755 --chown=1:2 $url/x.tar /a/
ADD --unpack $url/x.tar /u/
"""
    )
    found = entries(workshop)
    paths = ("new/dir", "new/dir/f g", "file", "a", "a/x.tar", "u/top/file")
    assert [str(found[path]) for path in paths] == [
        "d 0:0 755",
        "f 0:0 600",
        "f 0:0 600",
        "d 1:2 755",
        "f 1:2 755",
        "f 7:8 4711",
    ]
    assert found["file"].mtime == TIME
    assert found["a/x.tar"].mtime == 0
    assert web.log[0][1]["user-agent"].startswith("sundog/")


def test_what_has_not_changed_is_not_fetched_again(any_workshop: Workshop, web: Web) -> None:
    dockerfile = f"FROM bb\nADD {web.url}/f /\n"
    web.files["/f"] = b"1"
    web.headers["/f"] = {"ETag": '"one"', "Last-Modified": DATE}
    assert any_workshop.statuses(dockerfile) == "*."
    assert any_workshop.statuses(dockerfile) == "**"
    assert "if-none-match" not in web.log[0][1]
    assert web.log[1][1]["if-none-match"] == '"one"'
    assert web.log[1][1]["if-modified-since"] == DATE
    web.headers["/f"] = {"Last-Modified": "Sun, 09 Sep 2001 01:46:41 GMT"}
    assert any_workshop.statuses(dockerfile) == "**"  # the contents count
    web.files["/f"] = b"2"
    assert any_workshop.statuses(dockerfile) == "*."
    assert any_workshop.run("cat /f") == "2"
    web.headers["/f"] = {"ETag": '"two"'}
    any_workshop.build(dockerfile)
    assert any_workshop.statuses(dockerfile, "--no-cache") == "*."  # 304, so it is fetched again
    assert any_workshop.run("cat /f") == "2"


def test_checksum(any_workshop: Workshop, web: Web) -> None:
    web.files["/f"] = b"body"
    good = f"sha256:{hashlib.sha256(b'body').hexdigest()}"
    dockerfile = f"FROM bb\nARG sum={good}\nADD --checksum=$sum {web.url}/f /\n"
    assert any_workshop.statuses(dockerfile) == "*.."
    asked = len(web.log)
    assert any_workshop.statuses(dockerfile) == "***"
    assert len(web.log) == asked  # the network is not needed
    bad = good[:-1] + ("0" if good[-1] != "0" else "1")
    done = any_workshop.build(dockerfile.replace(good, bad), tag="bad", check=False)
    assert done.returncode == 1
    assert f"Dockerfile:3: checksum of {web.url}/f is {good}, not {bad}\n" in done.stderr
    assert "bad" not in any_workshop.ch_image("list").stdout.split()


def test_a_body_that_is_cut_is_fetched_again(any_workshop: Workshop, web: Web) -> None:
    web.files["/f"] = b"body" * 1000
    web.cuts["/f"] = 1
    web.statuses["/f"] = [503]
    any_workshop.build(f"FROM bb\nADD {web.url}/f /\n")
    assert any_workshop.run("wc -c </f").strip() == "4000"


def test_redirects(any_workshop: Workshop, web: Web) -> None:
    web.files |= {"/a": b"", "/b/other": b"body"}
    web.statuses["/a"] = [302]
    web.headers["/a"] = {"Location": f"{web.url}/b/other"}
    any_workshop.build(f"FROM bb\nADD {web.url}/a /d/\n")
    assert any_workshop.run("cat /d/a") == "body"
    web.statuses["/loop"] = [302] * 20
    web.headers["/loop"] = {"Location": f"{web.url}/loop"}
    done = any_workshop.build(f"FROM bb\nADD {web.url}/loop /d/\n", check=False)
    assert "redirects" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("WEB/none /x", "can't fetch WEB/none: 404 Not Found"),
        ("WEB/always-cut /x", "can't fetch WEB/always-cut: "),
        ("http://127.0.0.1:1/f /x", "can't fetch http://127.0.0.1:1/f: can't reach 127.0.0.1:1"),
        ("http://user:secret@127.0.0.1:1/f /x", "can't fetch http://127.0.0.1:1/f: "),
        ("http:///f /x", "not a URL: http:///f"),
        ("WEB /d/", "no file name in the URL: WEB"),
        ("--checksum=md5:1 WEB/f /x", "--checksum: not a digest: md5:1"),
        (f"--checksum=sha256:{'0' * 64} WEB/f WEB/g /x/", "--checksum takes only one source"),
        (f"--checksum=sha256:{'0' * 64} f /x", "--checksum is for a URL or a git repository"),
        ("WEB/f /bin", "can't copy: a directory is in the way: /bin/f"),
    ],
)
def test_errors(any_workshop: Workshop, web: Web, arguments: str, message: str) -> None:
    any_workshop.write({"f": "f"})
    web.files |= {"/f": b"f", "/always-cut": b"1234", "/": b""}
    web.cuts["/always-cut"] = 99
    arguments = arguments.replace("WEB", web.url)
    done = any_workshop.build(f"FROM bb\nRUN mkdir /bin/f\nADD {arguments}\n", check=False)
    assert done.returncode == 1
    assert f"Dockerfile:3: {message.replace('WEB', web.url)}" in done.stderr
    own = f"   3 | ADD {arguments}"
    assert "user:secret" not in done.stderr.replace(own, "")
    assert "Traceback" not in done.stderr
    assert "img" not in any_workshop.ch_image("list").stdout.split()


@pytest.mark.parametrize(
    ("secret", "value", "header"),
    [
        ("HTTP_AUTH_TOKEN_127.0.0.1", "abc", "Bearer abc"),
        ("HTTP_AUTH_TOKEN_HOST", "abc\n", "Bearer abc"),
        ("HTTP_AUTH_HEADER_127.0.0.1", "Token é", "Token é"),
    ],
)
def test_tokens(any_workshop: Workshop, web: Web, secret: str, value: str, header: str) -> None:
    host = web.url.removeprefix("http://")
    web.files |= {"/f": b"body", "/elsewhere": b""}
    web.guarded["/f"] = header.encode().decode("latin-1")
    dockerfile = f"FROM bb\nADD {web.url}/f /\n"
    refused = any_workshop.build(dockerfile, check=False)
    assert refused.returncode == 1
    assert f"Dockerfile:2: can't fetch {web.url}/f: 401 Unauthorized\n" in refused.stderr
    assert "hint: give a token: --secret id=HTTP_AUTH_TOKEN_127.0.0.1,env=NAME" in refused.stderr
    options = (f"--secret=id={secret.replace('HOST', host)},env=HIDDEN", "-v")
    done = any_workshop.build(dockerfile, *options, env={"HIDDEN": value})
    assert value.strip() not in done.stderr
    assert any_workshop.run("cat /f") == "body"
    # The token is only for that host, and does not belong to the key.
    web.statuses["/f"] = [302]
    web.headers["/f"] = {"Location": f"{web.url.replace('127.0.0.1', 'localhost')}/elsewhere"}
    web.guarded.clear()
    any_workshop.build(dockerfile, *options, env={"HIDDEN": value})
    assert [path for path, headers in web.log if "authorization" in headers] == ["/f", "/f"]
    assert web.log[-1][0] == "/elsewhere"


def test_token_that_is_none(any_workshop: Workshop, web: Web) -> None:
    secret = "--secret=id=HTTP_AUTH_HEADER_127.0.0.1,env=HIDDEN"
    dockerfile = f"FROM bb\nADD {web.url}/f /\n"
    done = any_workshop.build(dockerfile, secret, env={"HIDDEN": "a\nX: y"}, check=False)
    assert "Dockerfile:2: secret HTTP_AUTH_HEADER_127.0.0.1: not a line of text\n" in done.stderr
    assert web.log == []


def test_nobody_answers(any_workshop: Workshop) -> None:
    """A listener that closes each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.close()
        done = any_workshop.build(f"FROM bb\nADD http://127.0.0.1:{port}/f /\n", check=False)
    assert f"can't reach 127.0.0.1:{port}" in done.stderr


# git


@pytest.fixture
def repository(tmp_path: Path, web: Web) -> Path:
    """Make a repository that the web server serves as ``/r.git``."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "trunk")
    commit(work, {"f": "one", "d/x": "x", "d/run": "#!"}, executable="d/run")
    git(work, "tag", "-a", "-m", "first", "v1")
    git(work, "branch", "old")
    (work / "link").symlink_to("f")
    commit(work, {"f": "two"})
    publish(work, tmp_path / "served" / "r.git")
    web.directory = tmp_path / "served"
    return work


def git(work: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=work, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(work: Path, files: dict[str, str], executable: str = "") -> None:
    for name, text in files.items():
        path = work / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    if executable:
        (work / executable).chmod(0o700)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "change")


def publish(work: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    subprocess.run(["rm", "-rf", place], check=True)
    git(work, "clone", "-q", "--bare", ".", str(place))
    git(place, "update-server-info")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("r.git", {"f": "two", "d/x": "x", "d/run": "#!", "link": "two"}),
        ("r.git#trunk", {"f": "two", "d/x": "x", "d/run": "#!", "link": "two"}),
        ("r.git#v1", {"f": "one", "d/x": "x", "d/run": "#!"}),
        ("r.git#old:d", {"x": "x", "run": "#!"}),
        ("r.git#refs/heads/old:/d/", {"x": "x", "run": "#!"}),
        ("r.git#:d", {"x": "x", "run": "#!"}),
        ("r.git?ref=v1&subdir=d", {"x": "x", "run": "#!"}),
        ("r.git?branch=old", {"f": "one", "d/x": "x", "d/run": "#!"}),
        ("r.git?tag=v1", {"f": "one", "d/x": "x", "d/run": "#!"}),
        ("r.git#COMMIT", {"f": "one", "d/x": "x", "d/run": "#!"}),
        ("r.git#SHORT", {"f": "one", "d/x": "x", "d/run": "#!"}),
        ("r.git?commit=SHORT", {"f": "one", "d/x": "x", "d/run": "#!"}),
    ],
)
def test_git(
    any_workshop: Workshop, web: Web, repository: Path, source: str, expected: dict[str, str]
) -> None:
    old = git(repository, "rev-parse", "old")
    source = source.replace("COMMIT", old).replace("SHORT", old[:9])
    any_workshop.build(f"FROM bb\nADD {web.url}/{source} /g\n")
    printed = any_workshop.run(
        "cd /g && for f in $(find . ! -type d | sort); do echo $f $(cat $f); done"
    )
    lines = (line.removeprefix("./").split(" ", 1) for line in printed.splitlines())
    assert dict(lines) == expected


def test_modes_owners_and_git_directory(workshop: Workshop, web: Web, repository: Path) -> None:
    workshop.build(
        f"FROM bb\nADD {web.url}/r.git /a/\nADD --keep-git-dir {web.url}/r.git#v1 /b\n"
        f"ADD --chown=5:6 {web.url}/r.git?keep-git-dir=1 /c\n"
    )
    found = entries(workshop)
    assert str(found["a/d"]) == "d 0:0 755"
    assert str(found["a/d/x"]) == "f 0:0 644"
    assert str(found["a/d/run"]) == "f 0:0 755"
    assert str(found["c/d/x"]) == "f 5:6 644"
    assert "a/.git" not in found
    assert {"b/.git/HEAD", "c/.git/HEAD"} <= found.keys()


def test_the_commit_is_the_key(any_workshop: Workshop, web: Web, repository: Path) -> None:
    dockerfile = f"FROM bb\nADD {web.url}/r.git /g\n"
    assert any_workshop.statuses(dockerfile) == "*."
    assert any_workshop.statuses(dockerfile) == "**"
    commit(repository, {"f": "three"})
    publish(repository, web.directory / "r.git" if web.directory else repository)
    assert any_workshop.statuses(dockerfile) == "*."
    assert any_workshop.run("cat /g/f") == "three"
    full = git(repository, "rev-parse", "v1^{commit}")
    fixed = f"FROM bb\nADD {web.url}/r.git#{full} /g\n"
    any_workshop.build(fixed)
    asked = len(web.log)
    assert any_workshop.statuses(fixed) == "**"
    assert len(web.log) == asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("WEB/r.git#none /g", "git: no such branch, tag or commit: none"),
        ("WEB/r.git#:nothing /g", "source not found: nothing"),
        ("WEB/r.git#:f /g", "git: not a directory: f"),
        ("WEB/nothing.git /g", "git ls-remote failed: "),
        ("WEB/r.git#--upload-pack=x /g", "git: not a name: '--upload-pack=x'"),
        ("WEB/r.git?what=1 /g", "git: unknown query what"),
        ("WEB/r.git?ref=v1#old /g", "git: ref is given twice: old and v1"),
        ("WEB/r.git?keep-git-dir=maybe /g", "git: query keep-git-dir is not true or false"),
        ("--checksum=0123456 WEB/r.git#v1 /g", "git: v1 is commit "),
        ("git@127.0.0.1:nothing/x /g", "git ls-remote failed: "),
    ],
)
def test_git_errors(
    any_workshop: Workshop, web: Web, repository: Path, arguments: str, message: str
) -> None:
    text = f"FROM bb\nADD {arguments.replace('WEB', web.url)}\n"
    done = any_workshop.build(text, check=False)
    assert done.returncode == 1
    assert f"Dockerfile:2: {message}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["", ".127.0.0.1"])
def test_git_with_a_token(
    any_workshop: Workshop, web: Web, repository: Path, tmp_path: Path, where: str
) -> None:
    publish(repository, tmp_path / "served" / "secret.git")
    web.guarded["/secret.git"] = "Basic eC1hY2Nlc3MtdG9rZW46YWJj"  # x-access-token:abc
    dockerfile = f"FROM bb\nADD --keep-git-dir {web.url}/secret.git /g\n"
    assert any_workshop.build(dockerfile, check=False).returncode == 1
    options = (f"--secret=id=GIT_AUTH_TOKEN{where},env=HIDDEN", "-v")
    done = any_workshop.build(dockerfile, *options, env={"HIDDEN": "abc"})
    assert "eC1h" not in done.stderr
    assert any_workshop.run("cat /g/f; grep -r eC1h /g; true") == "two"
    other = "--secret=id=GIT_AUTH_TOKEN.example.com,env=HIDDEN"
    done = any_workshop.build(
        dockerfile.replace("/g", "/h"), other, env={"HIDDEN": "abc"}, check=False
    )
    assert done.returncode == 1
    header = "--secret=id=GIT_AUTH_HEADER,env=HIDDEN"
    env = {"HIDDEN": "Basic eC1hY2Nlc3MtdG9rZW46YWJj"}
    any_workshop.build(dockerfile.replace("/g", "/h"), header, env=env)


def test_a_token_follows_no_redirect(any_workshop: Workshop, web: Web) -> None:
    asked = "/secret.git/info/refs?service=git-upload-pack"
    with serving() as other:
        web.statuses[asked] = [302]
        web.headers[asked] = {"Location": other.url + asked}
        done = any_workshop.build(
            f"FROM bb\nADD {web.url}/secret.git /g\n",
            "--secret=id=GIT_AUTH_TOKEN,env=HIDDEN",
            env={"HIDDEN": "abc"},
            check=False,
        )
        assert done.returncode == 1
        assert "git ls-remote failed: " in done.stderr
        assert [headers.get("authorization") for _, headers in web.log] == [
            "Basic eC1hY2Nlc3MtdG9rZW46YWJj"  # x-access-token:abc
        ]
        assert other.log == []


def test_git_obeys_nobody_else(
    any_workshop: Workshop, web: Web, repository: Path, tmp_path: Path
) -> None:
    """Neither the user's configuration nor the repository's makes git run or read anything."""
    home = tmp_path / "home"
    home.mkdir()
    mark = tmp_path / "mark"
    (home / ".gitconfig").write_text(
        f'[filter "x"]\n smudge = touch {mark}\n[core]\n fsmonitor = touch {mark}\n'
    )
    commit(repository, {".gitattributes": "* filter=x\n"})
    git(
        repository,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "-q",
        "add",
        f"file://{repository}",
        "sub",
    )
    git(repository, "commit", "-q", "-m", "with a submodule of this machine")
    publish(repository, web.directory / "r.git" if web.directory else repository)
    dockerfile = f"FROM bb\nADD {web.url}/r.git?submodules=false /g\n"
    any_workshop.build(dockerfile, env={"HOME": str(home)})
    assert not mark.exists()
    done = any_workshop.build(dockerfile.replace("?submodules=false", ""), check=False)
    assert "git submodule failed: " in done.stderr
    assert "transport 'file' not allowed" in done.stderr


def test_submodules(any_workshop: Workshop, web: Web, repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "-q", "add", f"{web.url}/r.git", "sub")
    git(outer, "commit", "-q", "-m", "outer")
    publish(outer, tmp_path / "served" / "outer.git")
    any_workshop.build(f"FROM bb\nADD {web.url}/outer.git /g\n")
    assert any_workshop.run("cat /g/sub/f; ls -A /g/sub") == "twod\nf\nlink\n"
