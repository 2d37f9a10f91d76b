"""RSYNC, with the machine's own rsync."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.image.builder.layers import entries

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

pytestmark = pytest.mark.slow

OLD = 1_000_000_000


@pytest.fixture
def shop(any_workshop: Workshop) -> Workshop:
    """Return a workshop whose context has files, links and modes."""
    context = any_workshop.context
    any_workshop.write({"a": "a", "b.o": "b", "d/x": "x", "d/deep/y": "y", "d/z.o": "z"})
    (context / "d" / "x").chmod(0o4750)
    (context / "d" / "deep").chmod(0o2711)
    os.link(context / "a", context / "d" / "hard")
    os.link(context / "a", context / "hard")
    (context / "d" / "relative").symlink_to("x")
    (context / "d" / "up").symlink_to("../a")
    (context / "d" / "absolute").symlink_to("/etc/passwd")
    for path in (context / "a", context / "d" / "x", context / "d"):
        os.utime(path, (OLD, OLD))
    return any_workshop


def listing(workshop: Workshop, place: str = "/t") -> list[str]:
    """Return the paths below a directory, symlinks with their target."""
    script = f"cd {place} && find . -mindepth 1 | sort"
    found = []
    for line in workshop.run(script).splitlines():
        target = workshop.run(f"readlink {place}/{line}; true").strip()
        found.append(line.removeprefix("./") + (f" -> {target}" if target else ""))
    return found


ALL = ["deep", "deep/y", "hard", "x", "z.o"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("d/ /t", [*ALL, "relative -> x"]),
        ("+l d/ /t", [*ALL, "relative -> x"]),
        ("+m d/ /t", ALL),
        ("+z -r d/ /t", ALL),
        ("+z -rl d/ /t", [*ALL, "absolute -> /etc/passwd", "relative -> x", "up -> ../a"]),
        ("d /t", ["d", *(f"d/{name}" for name in [*ALL, "relative -> x", "up -> ../a"])]),
        ("+m --exclude=*.o d/ /t/", ["deep", "deep/y", "hard", "x"]),
        ("+m '--filter=- *.o' --filter='- x' d/ /t", ["deep", "deep/y", "hard"]),
        ("+m --include=*/ --include=*.o --exclude=* -m d/ /t", ["z.o"]),
        ('["+m", "--filter=- deep/", "d/", "/t"]', ["hard", "x", "z.o"]),
        ("+m a b.o /t", ["a", "b.o"]),
        ("+m *.o [a] /t/", ["a", "b.o"]),
        ("+m --relative d/deep/y /t/", ["d", "d/deep", "d/deep/y"]),
        ("+m --max-size=0 d/ /t", ["deep"]),
    ],
)
def test_what_arrives(shop: Workshop, arguments: str, expected: list[str]) -> None:
    shop.build(f"FROM bb\nRUN mkdir /t\nRSYNC {arguments}\n")
    assert sorted(listing(shop)) == sorted(expected)


def test_links_out_of_the_copied_tree(shop: Workshop) -> None:
    """+u makes files of them, as long as they stay in the context."""
    (shop.context / "d" / "absolute").unlink()
    shop.build("FROM bb\nRSYNC +u d/ /t\n")
    assert listing(shop) == ["deep", "deep/y", "hard", "relative -> x", "up", "x", "z.o"]
    assert shop.run("cat /t/up") == "a"


def test_modes_times_and_hard_links(shop: Workshop) -> None:
    shop.build("FROM bb\nRSYNC +l -t d/ a hard /t\n")
    found = entries(shop)
    assert str(found["t/x"]) == "f 0:0 4750"
    assert str(found["t/deep"]) == "d 0:0 2711"
    printed = shop.run("stat -c '%Y %h' /t/x /t/a /t/hard; cd /t; [ a -ef hard ] && echo same")
    assert printed.split() == [str(OLD), "1", str(OLD), "2", str(OLD), "2", "same"]


def test_without_t_times_are_new(shop: Workshop) -> None:
    shop.build("FROM bb\nRSYNC a /t/\n")
    assert int(shop.run("stat -c %Y /t/a")) > OLD


def test_extended_attributes(shop: Workshop) -> None:
    os.setxattr(shop.context / "a", "user.x", b"1")
    assert shop.statuses("FROM bb\nRSYNC a /t/\n") == "*."
    storage = shop.ch_image("gestalt", "storage-path").stdout.strip()
    copies = Path(storage, "layers").glob("*/tree/t/a")
    assert [os.getxattr(copy, "user.x") for copy in copies] == [b"1"]
    os.setxattr(shop.context / "a", "user.x", b"2")
    assert shop.statuses("FROM bb\nRSYNC a /t/\n") == "*."
    assert shop.statuses("FROM bb\nRSYNC a /t/\n") == "**"


def test_archive_mode_keeps_times_and_not_owners(shop: Workshop) -> None:
    shop.build("FROM bb\nRUN mkdir /t && echo old >/t/x\nRSYNC +z -a d/ /t\n")
    assert str(entries(shop)["t/x"]) == "f 0:0 4750"
    assert shop.run("cat /t/x; stat -c %Y /t/x").split() == [f"x{OLD}"]


def test_on_each_driver(workshop: Workshop) -> None:
    """The upper of an overlay, or a flat copy, gets changes, links and deletions."""
    workshop.write({"d/x": "x", "d/y": "y"})
    os.link(workshop.context / "d" / "x", workshop.context / "d" / "z")
    workshop.build(
        "FROM bb\nRUN mkdir /t && echo old >/t/x && touch /t/gone && chmod 700 /t\n"
        "RSYNC --delete d/ /t\nRUN [ $(stat -c %h /t/x) = 2 ]\n"
    )
    assert workshop.run("cat /t/x; ls /t; stat -c %a /t").split() == ["xx", "y", "z", "755"]


def test_rsync_and_its_libraries_may_be_anywhere(shop: Workshop, tmp_path: Path) -> None:
    program = shutil.which("rsync", path="/usr/bin:/bin")
    assert program is not None
    for name in ("bin", "lib"):
        (tmp_path / name).mkdir()
    shutil.copy(program, tmp_path / "bin")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for name, library in re.findall(r"(lib(?:popt|xxhash)\S*) => (\S+)", listed):
        shutil.copy(library, tmp_path / "lib" / name)
    assert list((tmp_path / "lib").iterdir())
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": f"{tmp_path}/lib",
    }
    shop.build("FROM bb\nRSYNC +m d/ /t\n", env=environment)
    assert listing(shop) == ALL


def test_delete(shop: Workshop) -> None:
    shop.build(
        "FROM bb\nRUN mkdir -p /t/old/er && touch /t/gone /t/keep.o\n"
        "RSYNC +m --delete --exclude=*.o d/ /t\n"
    )
    assert listing(shop) == ["deep", "deep/y", "hard", "keep.o", "x"]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ("a /t", "/t"),
        ("a /t/", "/t/a"),
        ("a t/new/name", "/w/t/new/name"),
        ("a .", "/w/a"),
        ("a /dir", "/dir/a"),
        ("a /link", "/dir/a"),
        ("a /link/x/", "/dir/x/a"),
        ("a /dangling/", "/nowhere/a"),
        ("a /up/", "/a"),
    ],
)
def test_destinations(shop: Workshop, arguments: str, path: str) -> None:
    shop.build(
        "FROM bb\nWORKDIR /w\nRUN mkdir /dir && ln -s /dir /link && ln -s /nowhere /dangling"
        f" && ln -s ../../../.. /up\nRSYNC {arguments}\n"
    )
    assert shop.run(f"cat {path}") == "a"


def test_variables_and_onbuild(shop: Workshop) -> None:
    shop.build('FROM bb\nENV D=d P="*.o"\nONBUILD RSYNC +m --exclude=$P ${D}/ /$D\n', tag="base")
    shop.build("FROM base\n")
    assert listing(shop, "/d") == ["deep", "deep/y", "hard", "x"]


def test_nsync_and_text(shop: Workshop) -> None:
    done = shop.build("FROM bb\nnsync -t -v --delete a /t/\n")
    assert "  2. NSYNC +l -tv --delete a /t/" in done.stderr


def test_files_of_names_to_leave_out(shop: Workshop) -> None:
    shop.write({"lists/out": "x\n", "lists/which": "d/x\nhard\n"})
    shop.build(
        "FROM bb\nRUN echo deep >/list\n"
        "RSYNC +m --exclude-from=lists/out --exclude-from=/list d/ /t\n"
        "RSYNC +m --files-from=lists/which ./ /u\n"
    )
    assert listing(shop) == ["hard", "z.o"]
    assert listing(shop, "/u") == ["d", "d/x", "hard"]


def test_ignored_files_do_not_exist(shop: Workshop) -> None:
    shop.write({".dockerignore": "**/*.o\n.dockerignore\n"})
    shop.build("FROM bb\nRSYNC +m -t ./ /t\n")
    assert listing(shop) == ["a", "d", "d/deep", "d/deep/y", "d/hard", "d/x", "hard"]
    assert int(shop.run("stat -c %Y /t/a")) == OLD
    assert "source not found: b.o" in shop.build("FROM bb\nRSYNC b.o /\n", check=False).stderr


# The cache


def test_what_would_be_transferred_is_the_key(shop: Workshop) -> None:
    dockerfile = "FROM bb\nRSYNC +m --exclude=*.o ./ /t\n"
    assert shop.statuses(dockerfile) == "*."
    os.utime(shop.context / "a")
    (shop.context / "b.o").write_text("other")
    (shop.context / "d" / "new.o").write_text("")
    assert shop.statuses(dockerfile) == "**"
    for change in (
        lambda: (shop.context / "a").write_text("A"),
        lambda: (shop.context / "d" / "x").chmod(0o700),
        (shop.context / "empty").mkdir,
        lambda: os.rename(shop.context / "a", shop.context / "renamed"),
    ):
        change()
        assert shop.statuses(dockerfile) == "*."
        assert shop.statuses(dockerfile) == "**"


def test_times_count_where_they_are_copied(shop: Workshop) -> None:
    dockerfile = "FROM bb\nRSYNC +m -t d/ /t\n"
    assert shop.statuses(dockerfile) == "*."
    os.utime(shop.context / "d" / "x")
    assert shop.statuses(dockerfile) == "*."


def test_targets_of_links_count(shop: Workshop) -> None:
    dockerfile = "FROM bb\nRSYNC d/ /t\n"
    assert shop.statuses(dockerfile) == "*."
    (shop.context / "d" / "relative").unlink()
    (shop.context / "d" / "relative").symlink_to("z.o")
    assert shop.statuses(dockerfile) == "*."


def test_existing_files_only(shop: Workshop) -> None:
    """The listing for the key is to an empty directory, where --existing would leave out all."""
    dockerfile = "FROM bb\nRUN mkdir /t && echo >/t/x\nRSYNC +m --existing d/ /t\n"
    assert shop.statuses(dockerfile) == "*.."
    assert listing(shop) == ["x"]
    (shop.context / "d" / "x").write_text("changed")
    assert shop.statuses(dockerfile) == "**."
    assert shop.run("cat /t/x") == "changed"


def test_names_of_any_bytes(shop: Workshop) -> None:
    names = ["new\nline", "\\#101", "-n", "é", "a b", " "]
    place = shop.context / "odd"
    place.mkdir()
    for name in names:
        (place / name).write_text(name)
    (place / os.fsdecode(b"\xff")).write_text("ff")
    dockerfile = "FROM bb\nRSYNC odd/ odd/-* /t/\n"
    assert shop.statuses(dockerfile) == "*."
    assert shop.run("ls /t | wc -l; cat /t/-n /t/new*line").split() == ["7", "-nnew", "line"]
    (place / "new\nline").write_text("other")
    assert shop.statuses(dockerfile) == "*."


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("+y a /", "invalid plus option: y"),
        ("+ a /", "invalid plus option: "),
        ("--daemon a /", "disallowed option: --daemon"),
        ("-avn a /", "disallowed option: -n"),
        ("--dry-run a /", "disallowed option: --dry-run"),
        ("--remove-source-files a /", "disallowed option: --remove-source-files"),
        ("--rsh=sh a /", "disallowed option: --rsh"),
        ("-e=sh a /", "disallowed option: -e"),
        ("--log-file=/x a /", "disallowed option: --log-file"),
        ("--chown=1:1 a /", "disallowed option: --chown"),
        ("--exclude x a /", "option needs an argument with =: --exclude"),
        ("--files-from=- a /", "--*-from: can't use standard input"),
        ("--files-from=host:x a /", "--*-from: can't use remote hosts (colon in path)"),
        ("host:a /", "SSH and rsync transports not supported: host:a"),
        ("rsync://host/a /", "SSH and rsync transports not supported: rsync://host/a"),
        ("--what a /", "rsync failed with status 1: rsync: --what: unknown option"),
        ("nope /", "source not found: nope"),
        ("a /bin/busybox/x", "bin/busybox"),
        ("+z a /nowhere/", ""),
    ],
)
def test_mistakes(shop: Workshop, arguments: str, message: str) -> None:
    done = shop.build(f"FROM bb\nRSYNC {arguments}\n", check=not message)
    assert "Traceback" not in done.stderr
    if message:
        assert done.returncode == 1
        assert f"Dockerfile:2: {message}" in done.stderr or message in done.stderr


@pytest.mark.parametrize("arguments", ["", "a", "+l a", "-a --delete /"])
def test_operands_are_missing(shop: Workshop, arguments: str) -> None:
    done = shop.build(f"FROM bb\nRSYNC {arguments}\n", check=False)
    assert "RSYNC needs a source and a destination" in done.stderr


def test_without_rsync(shop: Workshop, tmp_path: Path) -> None:
    done = shop.build("FROM bb\nRSYNC a /\n", check=False, env={"PATH": str(tmp_path)})
    assert "Dockerfile:2: RSYNC needs rsync, which is not installed here" in done.stderr
    assert "hint: install rsync" in done.stderr


def test_without_a_context(shop: Workshop) -> None:
    dockerfile = shop.context / "Dockerfile"
    dockerfile.write_text("FROM bb\nRSYNC a /\n")
    done = shop.ch_image("build", "-t", "x", "-f", dockerfile, "-", check=False)
    assert "no context" in done.stderr


# What hostile contexts and images try


@pytest.mark.parametrize("plus", ["+u", "+z -rL", "+m --copy-links"])
@pytest.mark.parametrize(
    "target", ["{secret}", "../{up}{secret}", "/etc/passwd", "/proc/self/environ"]
)
def test_links_out_of_the_context_give_nothing(
    shop: Workshop, tmp_path: Path, plus: str, target: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    up = "../" * len(shop.context.parts)
    place = shop.context / "evil"
    place.mkdir()
    (place / "link").symlink_to(target.format(secret=secret, up=up).replace("//", "/"))
    done = shop.build(f"FROM bb\nRSYNC {plus} evil/ /t\n", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_name_with_a_tab_is_refused(shop: Workshop) -> None:
    """rsync prints it as it is, so no line of its list could be trusted."""
    (shop.context / "odd").mkdir()
    (shop.context / "odd" / "a\tb").symlink_to("/usr/bin/env")
    done = shop.build("FROM bb\nRSYNC +u odd/ /t/\n", check=False)
    assert done.returncode == 1
    assert "RSYNC can't copy a name with a tab: a?b" in done.stderr


def test_files_of_the_system_stay_out(shop: Workshop) -> None:
    """rsync can see its libraries, and a link may lead to them; the key notices."""
    (shop.context / "lib").symlink_to("/usr/bin/env")
    done = shop.build("FROM bb\nRSYNC +z -L lib /t\n", check=False)
    assert "can't copy from outside the context: lib" in done.stderr


def test_links_of_the_image_lead_nowhere(shop: Workshop, tmp_path: Path) -> None:
    """Neither a destination nor a directory below it leaves the image."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("victim")
    shop.build(
        f"FROM bb\nRUN mkdir /t && ln -s {outside} /out && ln -s {outside} /t/deep && "
        f"ln -s {outside}/victim /t/x && ln -s {outside}/victim /f\n"
        "RSYNC +m --inplace -K d/ /t\nRSYNC +m d/ /out/\n",
        check=False,
    )
    shop.build(
        f"FROM bb\nRUN mkdir /t && ln -s {outside} /out && ln -s {outside}/victim /t/x && "
        f"ln -s {outside}/victim /f\nRSYNC +m --delete d/ /t\nRSYNC +m --delete d/ /out/\n"
        "RSYNC a /f\n",
    )
    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert (outside / "victim").read_text() == "victim"
    place = str(outside).lstrip("/")
    assert {f"{place}/{name}" for name in ("deep", "hard", "x", "z.o")} <= entries(shop).keys()
    assert str(entries(shop)["t/x"]) == "f 0:0 4750"


def test_user_configuration_is_not_read(shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / ".popt").write_text("rsync alias -t --exclude=x\n")
    shop.build("FROM bb\nRSYNC +m -t d/ /t\n", env={"HOME": str(tmp_path)})
    assert "x" in listing(shop)


def test_host_is_read_only_to_rsync(shop: Workshop, tmp_path: Path) -> None:
    """A program in rsync's place sees the context, the image and the system, and can write one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "rsync"
    script.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        f"touch /context/new /usr/new /new {tmp_path}/new {programs}/new 2>&1\n"
        'case $last in /image*) { ls / | tr "\\n" " "; ls -A /context; } >/image/seen;; esac\n'
        "exit 0\n"
    )
    script.chmod(0o755)
    shop.build("FROM bb\nRSYNC a /\n", env={"PATH": f"{programs}:/usr/bin:/bin"})
    seen = shop.run("cat /seen").split()
    assert {"context", "image", "usr"} <= set(seen)
    assert not {"home", "root", "proc", "sys", "work", "new"} & set(seen)
    assert not list(tmp_path.rglob("new"))


def test_pipes_and_sockets(shop: Workshop) -> None:
    os.mkfifo(shop.context / "d" / "fifo")
    shop.build("FROM bb\nRSYNC +m --specials d/fifo a /t/\n")
    assert shop.run("[ -p /t/fifo ] && echo yes") == "yes\n"
