"""COPY as users see it: owners, modes, times, exclusions, parents, heredocs, on both drivers."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.container.search_path import ENGINE_PATH
from tests.image.builder.conftest import announced
from tests.image.builder.layers import entries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

TIME = 1_000_000_000
MODES = ("none", "seccomp", "notify")


def shown(workshop: Workshop, *paths: str) -> list[str]:
    found = entries(workshop)
    return [f"{found[path]} {path}" for path in paths]


# Owners


@pytest.mark.parametrize("force", MODES)
def test_owners_are_kept_in_every_mode(workshop: Workshop, force: str) -> None:
    workshop.write({"f": "f", "d/x": "x", "d/sub/y": "y"})
    os.symlink("x", workshop.context / "d" / "link")
    workshop.build(
        """\
FROM bb
RUN echo 'app:x:7:8::/:/bin/sh' >/etc/passwd && echo 'grp:x:9:' >/etc/group
COPY --chown=5:6 f /new/dir/numbers
COPY --chown=5 f /number
COPY --chown=app f /name
COPY --chown=app:grp d /both/
COPY --chown=1:grp f /mixed
COPY --chown=:grp f /group
COPY --chown=:4 f /gid
COPY f /plain
RUN touch /touched
""",
        f"--force={force}",
    )
    assert shown(
        workshop,
        *("new", "new/dir", "new/dir/numbers", "number", "name", "mixed", "group", "gid"),
        *("plain", "touched"),
        *("both", "both/x", "both/link", "both/sub", "both/sub/y"),
    ) == [
        "d 5:6 755 new",
        "d 5:6 755 new/dir",
        "f 5:6 644 new/dir/numbers",
        "f 5:5 644 number",
        "f 7:8 644 name",
        "f 1:9 644 mixed",
        "f 0:9 644 group",
        "f 0:4 644 gid",
        "f 0:0 644 plain",
        "f 0:0 644 touched",
        "d 7:9 755 both",
        "f 7:9 644 both/x",
        "l 7:9 777 both/link",
        "d 7:9 755 both/sub",
        "f 7:9 644 both/sub/y",
    ]


def test_runs_under_notify_see_the_owners_of_copied_files(workshop: Workshop) -> None:
    workshop.write({"f": "f"})
    done = workshop.build(
        "FROM bb\nCOPY --chown=5:6 f /f\nRUN stat -c 'owner %u:%g' /f\n", "--force=notify"
    )
    assert "owner 5:6\n" in done.stdout


def test_what_is_copied_over_is_roots(workshop: Workshop) -> None:
    """A replaced file loses its owner; a directory above keeps its owner."""
    workshop.write({"f": "f", "d/sub/x": "x"})
    workshop.build(
        """\
FROM bb
COPY --chown=5:6 f /d/f
COPY --chown=5:6 d /d/
COPY f /d/f
COPY d /d/
"""
    )
    assert shown(workshop, "d", "d/f", "d/sub", "d/sub/x") == [
        "d 5:6 755 d",
        "f 0:0 644 d/f",
        "d 0:0 755 d/sub",
        "f 0:0 644 d/sub/x",
    ]


def test_only_the_owner_changes(workshop: Workshop) -> None:
    workshop.write({"d/f": "f"})
    (workshop.context / "d" / "empty").mkdir()
    for path in ("d/f", "d/empty", "d"):
        os.utime(workshop.context / path, (TIME, TIME))
    workshop.build("FROM bb\nCOPY --chown=5:6 d /d/\nCOPY --chown=7:8 d /d/\n")
    assert shown(workshop, "d", "d/f", "d/empty") == [
        "d 5:6 755 d",
        "f 7:8 644 d/f",
        "d 7:8 755 d/empty",
    ]


def test_copy_from_keeps_owners_devices_and_attributes(workshop: Workshop) -> None:
    workshop.build(
        """\
FROM bb AS one
RUN mkdir /d && echo a >/d/a && chown 5:6 /d/a && mknod /d/null c 1 3 && ln -s a /d/l \\
 && chown -h 7:8 /d/l && ln /d/a /d/hard && chown 9:10 /d && mkdir /d/s && chown 11:12 /d/s
FROM bb
COPY --from=one /d /kept/
COPY --from=one --chown=1:2 /d /given/
COPY --from=one /d/a /file
""",
        "--force=notify",
    )
    names = ("", "/a", "/null", "/l", "/hard", "/s")
    assert shown(workshop, *(f"kept{name}" for name in names), "file") == [
        "d 0:0 755 kept",
        "f 5:6 644 kept/a",
        "c 0:0 644 kept/null",
        "l 7:8 777 kept/l",
        "h 5:6 644 kept/hard",
        "d 11:12 755 kept/s",
        "f 5:6 644 file",
    ]
    assert {entry.split()[1] for entry in shown(workshop, *(f"given{name}" for name in names))} == {
        "1:2"
    }


@pytest.mark.parametrize(
    ("instruction", "message", "hint"),
    [
        ("COPY --chown=nobody f /x", "--chown: no such user in the image: nobody", "/etc/passwd"),
        ("COPY --chown=0:none f /x", "--chown: no such group in the image: none", "/etc/group"),
        ("COPY --chown=: f /x", "--chown: neither user nor group: :", "USER"),
        ("COPY --chown=app --link f /x", "--link does not read the image", "numbers"),
        ("COPY --chmod=79 f /x", "--chmod: not a mode: 79", "octal"),
        ("COPY --chmod=17777 f /x", "--chmod: not a mode: 17777", "octal"),
        ("COPY --chmod=u+q f /x", "--chmod: not a mode: u+q", "octal"),
        ("COPY --exclude=[ f /x", "malformed pattern: [", "backslash"),
        ("COPY --parents nothing/f /x", "source not found: nothing/f", "context"),
        ("COPY --parents f/./x /x", "not a directory: f", "/./"),
        ("COPY http://localhost/f /x", "COPY takes no source that is a URL", "ADD"),
        ("COPY git@localhost:f /x", "COPY takes no source that is a git repository", "ADD"),
        ("COPY socket /x", "can't copy: unknown file type: socket", "files, directories"),
        ("COPY f /f/", "not a directory in the image: /f", "destination"),
        ("COPY f /f/x", "not a directory in the image: /f", "destination"),
        ("COPY bin /", "can't copy: a directory is in the way: /bin", "remove"),
        ("COPY <<a <<b /x\n1\na\n2\nb", "several files match, and the destination", "/"),
    ],
)
def test_errors(any_workshop: Workshop, instruction: str, message: str, hint: str) -> None:
    any_workshop.write({"f": "f", "bin": "a file"})
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(".", os.O_PATH)
        os.chdir(any_workshop.context)  # the path is too long for an address
        listener.bind("socket")
        os.fchdir(here)
        os.close(here)
    dockerfile = f"FROM bb\nCOPY f /f\nRUN echo app:x:1:1::/: >/etc/passwd\n{instruction}\n"
    done = any_workshop.build(dockerfile, check=False)
    assert done.returncode == 1
    place = any_workshop.context.parent / "Dockerfile"
    assert f"error: {place}:4: {message}" in done.stderr
    assert f"   4 | {instruction.splitlines()[0]}\n" in done.stderr
    assert hint in done.stderr.split("hint: ")[1]
    assert "Traceback" not in done.stderr
    assert "img" not in any_workshop.ch_image("list").stdout.split()


# Modes and times


def test_modes_and_times_are_those_of_the_source(workshop: Workshop) -> None:
    workshop.write({"f": "f", "d/x": "x", "d/s/y": "y"})
    for path, mode in (("f", 0o6751), ("d/x", 0o400), ("d/s", 0o2711), ("d", 0o700)):
        (workshop.context / path).chmod(mode)
        os.utime(workshop.context / path, (TIME, TIME))
    workshop.build("FROM bb\nCOPY f d /new/\nCOPY f /g\n")
    found = entries(workshop)
    assert {path: f"{entry.mode:o}" for path, entry in found.items() if path} == {
        "new": "755",
        "new/f": "6751",
        "new/x": "400",
        "new/s": "2711",
        "new/s/y": "644",
        "g": "6751",
    } | {path: "755" for path in found if path == "."}
    assert {found[path].mtime for path in ("new/f", "new/x", "new/s", "g")} == {TIME}


@pytest.mark.parametrize(
    ("flag", "modes"),
    [
        ("700", ["700", "700", "700", "700"]),
        ("0755", ["755", "755", "755", "755"]),
        ("4755", ["4755", "4755", "4755", "4755"]),
        ("u=rwX,go=rX", ["644", "755", "755", "755"]),
        ("+x", ["755", "755", "755", "711"]),
        ("go-rwx", ["600", "700", "700", "700"]),
        ("g=u", ["664", "775", "775", "770"]),
        ("a=,u+rx", ["500", "500", "500", "500"]),
    ],
)
def test_chmod(any_workshop: Workshop, flag: str, modes: list[str]) -> None:
    any_workshop.write({"d/f": "f", "d/x": "x", "d/s/y": "y", "d/t/z": "z"})
    (any_workshop.context / "d/x").chmod(0o755)
    (any_workshop.context / "d/t").chmod(0o700)
    any_workshop.build(f"FROM bb\nARG m={flag}\nCOPY --chmod=$m d /new/\n")
    found = entries(any_workshop)
    assert f"{found['new'].mode:o}" == "755"
    names = ("new/f", "new/x", "new/s", "new/t")
    assert [f"{found[path].mode:o}" for path in names] == modes


# What is copied


FILES = {
    "a.txt": "a",
    "b.md": "b",
    "x/a.txt": "xa",
    "x/y/a.txt": "xya",
    "x/y/b.md": "xyb",
    "src/a.c": "",
    "src/m/b.c": "",
    "src/m/n/c.h": "",
}


def files(workshop: Workshop, top: str) -> list[str]:
    printed = workshop.run(f"cd {top} && find . ! -type d | sort")
    return [line.removeprefix("./") for line in printed.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--parents x/a.txt x/y/b.md", ["x/a.txt", "x/y/b.md"]),
        ("--parents ./x/a.txt", ["x/a.txt"]),
        ("--parents ./x/./y/*.txt", ["y/a.txt"]),
        ("--parents x/y", ["x/y/a.txt", "x/y/b.md"]),
        ("--parents x/y/.", ["x/y/a.txt", "x/y/b.md"]),
        ("--parents */a.txt", ["x/a.txt"]),
        ("--parents ./src/**/*.c", ["src/a.c", "src/m/b.c"]),
        ("--parents src/./**/n", ["m/n/c.h"]),
        ("--parents s*/./m", ["m/b.c", "m/n/c.h"]),
        ("--parents /x/./y/./a.txt", ["y/a.txt"]),
        ("--parents nothing*/x", []),
        ("--exclude=*.txt .", sorted(set(FILES) - {"a.txt"})),
        ("--exclude=**/*.txt .", sorted(path for path in FILES if not path.endswith(".txt"))),
        ("--exclude=x --exclude=src/m .", ["a.txt", "b.md", "src/a.c"]),
        ("--exclude=*.txt a* b*", ["b.md"]),
        ("--exclude=*.txt x/a*", []),
        ("--exclude=* x", []),
        ("--exclude=*.txt x", ["y/a.txt", "y/b.md"]),
        ("--exclude=y/*.txt x s*", ["a.c", "a.txt", "m/b.c", "m/n/c.h", "y/b.md"]),
        ("--exclude=** --exclude=!m/n src", ["m/n/c.h"]),
        ("--exclude=**/*.md --parents x/y", ["x/y/a.txt"]),
    ],
)
def test_parents_and_exclude(any_workshop: Workshop, arguments: str, expected: list[str]) -> None:
    any_workshop.write(FILES)
    stage = arguments.replace("--", "--from=c --", 1)
    any_workshop.build(
        f"FROM scratch AS c\nCOPY . /\nFROM bb\nRUN mkdir /1 /2\n"
        f"COPY {arguments} /1/\nCOPY {stage} /2/\n"
    )
    assert files(any_workshop, "/1") == expected
    assert files(any_workshop, "/2") == expected


def test_parents_keep_the_directories_modes(workshop: Workshop) -> None:
    workshop.write({"x/y/a": "a", "tmp/t": "t"})
    (workshop.context / "x").chmod(0o711)
    (workshop.context / "x/y").chmod(0o750)
    (workshop.context / "tmp").chmod(0o700)
    workshop.build("FROM bb\nRUN chmod 1777 /tmp\nCOPY --parents --chown=5:6 x/y/a tmp/t /\n")
    assert shown(workshop, "x", "x/y", "x/y/a", "tmp", "tmp/t") == [
        "d 5:6 711 x",
        "d 5:6 750 x/y",
        "f 5:6 644 x/y/a",
        "d 0:0 1777 tmp",
        "f 5:6 644 tmp/t",
    ]


def test_wildcards_may_match_nothing(any_workshop: Workshop) -> None:
    any_workshop.write({"a": "a"})
    done = any_workshop.build("FROM bb\nCOPY nothing* /new/\nCOPY a nothing* /d/\n")
    assert (
        done.stderr.count("warning: nothing to copy: no file matches nothing*") == 2
    )  # again at the end
    assert any_workshop.run("ls -d /new /d/* 2>/dev/null || true") == "/d/a\n"


def test_names_that_look_like_something_else(workshop: Workshop) -> None:
    workshop.write({"arr[0].txt": "a", "#c/!d": "c", "-x": "x", "a b": "s", "n/@x/y": "y"})
    workshop.build(
        'FROM bb\nCOPY arr[[]0].txt /1/\nCOPY --parents #c/!d /2/\nCOPY ["-x", "a b", "/3/"]\n'
        "COPY n/@x /4/\n"
    )
    assert workshop.run("find /1 /2 /3 /4 -type f | sort") == (
        "/1/arr[0].txt\n/2/#c/!d\n/3/-x\n/3/a b\n/4/y\n"
    )


# Heredocs


def test_heredocs(workshop: Workshop) -> None:
    workshop.write({"f": "f"})
    workshop.build(
        """\
FROM bb
ARG name=World
COPY <<EOF /one
Hello $name "\\$name"
EOF
COPY --chown=5:6 --chmod=755 <<'QUOTED' /quoted
Hello $name
QUOTED
COPY f <<a.txt <<-"b.txt" /several/
first
a.txt
	second $name
	b.txt
WORKDIR /work
ADD <<EOF relative
$name
EOF
COPY <<EOF /bin
in a directory
EOF
"""
    )
    script = "cat /one /quoted /several/a.txt /several/b.txt /work/relative /bin/EOF"
    assert workshop.run(script) == (
        'Hello World "$name"\nHello $name\nfirst\nsecond $name\nWorld\nin a directory\n'
    )
    assert shown(workshop, "one", "quoted", "several/f", "several/b.txt") == [
        "f 0:0 644 one",
        "f 5:6 755 quoted",
        "f 0:0 644 several/f",
        "f 0:0 644 several/b.txt",
    ]


# --link


def test_link_does_not_look_at_the_image(workshop: Workshop) -> None:
    workshop.write({"f": "new", "d/x": "x"})
    workshop.build(
        """\
FROM bb
RUN mkdir /real /dir && ln -s /real /link && echo old >/file && echo kept >/real/kept
COPY --link --chown=5:6 f /link/f
COPY --link d /dir
COPY --link f /file/sub
RUN cat /link/f /dir/x /file/sub; ls -A /real; test -d /link && test ! -L /link
"""
    )
    assert shown(workshop, "link", "link/f", "dir/x") == [
        "d 5:6 755 link",
        "f 5:6 644 link/f",
        "f 0:0 644 dir/x",
    ]
    assert workshop.run("cat /link/f /dir/x /file/sub; ls -A /real") == "newxnewkept\n"


def test_link_is_cached_whatever_is_below(any_workshop: Workshop) -> None:
    any_workshop.write({"f": "f"})
    assert any_workshop.statuses("FROM bb\nRUN echo 1\nCOPY --link f /f\n") == "*.."
    assert any_workshop.statuses("FROM bb\nRUN echo 2\nCOPY --link f /f\n") == "*.*"
    assert any_workshop.run("cat /f") == "f"


# Destinations through the image's symlinks never lead out


def test_hostile_symlinks_of_the_image(workshop: Workshop, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    workshop.write({"f": "f", "d/x": "x"})
    workshop.build(
        f"""\
FROM bb
RUN ln -s {outside} /abs && ln -s ../../../../../../../..{outside} /up && ln -s /loop /loop \\
 && ln -s {outside}/file /file && mkdir /d && ln -s {outside} /d/x
COPY f /abs/
COPY f /up/sub/
COPY f /file
COPY d /d/
"""
    )
    assert list(outside.iterdir()) == []
    inside = str(outside).lstrip("/")
    assert shown(workshop, f"{inside}/f", f"{inside}/file", f"{inside}/sub/f", "d/x") == [
        f"f 0:0 644 {inside}/f",
        f"f 0:0 644 {inside}/file",
        f"f 0:0 644 {inside}/sub/f",
        "f 0:0 644 d/x",
    ]
    done = workshop.build("FROM img\nCOPY f /loop/x\n", tag="loop", check=False)
    assert "Dockerfile:2: too many symlinks in the image: /loop/x\n" in done.stderr
    assert list(outside.iterdir()) == []


# The cache


def test_flags_are_part_of_the_key(any_workshop: Workshop) -> None:
    any_workshop.write({"d/f": "f", "d/g": "g"})
    variants = ["", "--chown=1:2", "--chown=1", "--chmod=700", "--chmod=u=rwx", "--exclude=f"]
    for variant in variants:
        assert any_workshop.statuses(f"FROM bb\nCOPY {variant} d /d/\n") == "*."
        assert any_workshop.statuses(f"FROM bb\nCOPY {variant} d /d/\n") == "**"
    assert any_workshop.statuses("FROM bb\nCOPY <<f d /d/\n1\nf\n") == "*."
    assert any_workshop.statuses("FROM bb\nCOPY <<f d /d/\n2\nf\n") == "*."
    assert any_workshop.statuses("FROM bb\nCOPY <<f d /d/\n2\nf\n") == "**"


def test_excluded_files_are_not_part_of_the_key(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nCOPY --exclude=*.log . /d/\n"
    any_workshop.write({"f": "f", "a.log": "1"})
    any_workshop.build(dockerfile)
    any_workshop.write({"a.log": "2"})
    assert announced(any_workshop.build(dockerfile))[1][1] == "*"


def test_set_id_bits_of_unknown_owners_do_not_become_roots(workshop: Workshop) -> None:
    """Under seccomp, nobody knows the owner of the file; a copy has no known owner either."""
    workshop.write({"f": "f"})
    (workshop.context / "f").chmod(0o4755)
    workshop.build(
        """\
FROM bb AS one
RUN cp /bin/busybox /made && chown 5:6 /made && chmod 6755 /made
COPY f /copied
FROM bb
COPY --from=one /made /copied /
COPY --from=one --chown=7:8 /made /given
""",
        "--force=seccomp",
    )
    assert shown(workshop, "made", "copied", "given") == [
        "f 0:0 755 made",
        "f 0:0 4755 copied",
        "f 7:8 6755 given",
    ]


def test_directories_that_are_mount_points_elsewhere_are_copied(workshop: Workshop) -> None:
    """An image without these directories has them only during a RUN."""
    workshop.build(
        "FROM bb AS a\nRUN mkdir -p /tree/proc /tree/tmp && chmod 1777 /tree/tmp\n"
        "FROM scratch\nCOPY --from=a /tree /\nWORKDIR /etc\nCOPY --from=a /bin/busybox /etc/hosts\n"
    )
    found = {path: str(entry) for path, entry in entries(workshop, above="").items()}
    assert found["tmp"] == "d 0:0 1777"
    assert sorted(found.keys() - {"", "."}) == ["etc", "etc/hosts", "proc", "tmp"]
    assert workshop.config()["config"]["Env"] == [f"PATH={ENGINE_PATH}"]
