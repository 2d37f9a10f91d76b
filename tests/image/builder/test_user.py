"""``USER``: RUN as another user, which needs a supervisor."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.image.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

ACCOUNTS = r"""
RUN printf 'root:x:0:0:root:/root:/bin/sh\nada:x:1815:100::/home/ada:/bin/sh\n' >/etc/passwd \
    && printf 'root:x:0:\nusers:x:100:\nengine:x:12:ada\nstaff:x:50:\n' >/etc/group \
    && mkdir -p /home/ada && chown 1815:100 /home/ada
"""
BASE = f"FROM bb{ACCOUNTS}"


def notify(workshop: Workshop, dockerfile: str, *options: str, check: bool = True) -> str:
    """Build and return the whole output."""
    done = workshop.build(dockerfile, "--force=notify", *options, check=check)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("user", "who", "home"),
    [
        ("ada", "uid=1815(ada) gid=100(users) groups=12(engine),100(users)", "/home/ada"),
        ("1815", "uid=1815(ada) gid=100(users) groups=12(engine),100(users)", "/home/ada"),
        ("ada:staff", "uid=1815(ada) gid=50(staff) groups=50(staff)", "/home/ada"),
        ("ada:50", "uid=1815(ada) gid=50(staff) groups=50(staff)", "/home/ada"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)", "/"),
        ("4242:4343", "uid=4242 gid=4343 groups=4343", "/"),
        ("root", "uid=0(root) gid=0(root) groups=0(root)", "/root"),
        ("0:0", "uid=0(root) gid=0(root) groups=0(root)", "/root"),
    ],
)
def test_who_runs(any_workshop: Workshop, user: str, who: str, home: str) -> None:
    printed = notify(any_workshop, f"{BASE}USER {user}\nRUN id && echo home=$HOME\n")
    assert f"{who}\nhome={home}\n" in printed


def test_what_it_makes_is_its_own(workshop: Workshop) -> None:
    printed = notify(
        workshop,
        f"{BASE}USER ada\nRUN cd && echo mine >note && mkdir dir && stat -c '%U:%G %n' note dir\n"
        "USER root\nRUN stat -c '%U:%G %n' /home/ada/note /home/ada/dir; id -u\n",
    )
    assert printed.count("ada:users note\nada:users dir\n") == 1
    assert "ada:users /home/ada/note\nada:users /home/ada/dir\n0\n" in printed


def test_what_it_may_not(any_workshop: Workshop) -> None:
    printed = notify(
        any_workshop,
        f"{BASE}USER ada\n"
        "RUN ! chown 0 /home/ada && ! chmod 700 /etc/passwd && ! mknod /home/ada/n c 1 3"
        " && ! chroot / true && ! setpriv --reuid 0 true && chmod 700 /home/ada && id -u\n",
        check=False,
    )
    assert printed.count("Operation not permitted") >= 4, printed


def test_programs_choose_by_what_their_user_may(any_workshop: Workshop) -> None:
    """As pip does with its two directories; which(1) and find(1) ask access(2)."""
    look = "which tool; tool; find /a /b /c -executable; cd /c || cd && pwd"
    printed = notify(
        any_workshop,
        f"{BASE}RUN mkdir /a /b /c && echo echo ran | tee /a/tool >/b/tool\n"
        f"RUN chmod 700 /a/tool /c && chmod 755 /b/tool\nENV PATH=/a:/b:/bin\n"
        f"USER ada\nRUN {look}\nUSER root\nRUN {look}\n",
    )
    assert "/b/tool\nran\n/a\n/b\n/b/tool\n/home/ada\n" in printed
    assert "/a/tool\nran\n/a\n/a/tool\n/b\n/b/tool\n/c\n/c\n" in printed


def test_strict_controls_reading(workshop: Workshop) -> None:
    dockerfile = f"{BASE}RUN echo x >/secret && chmod 600 /secret\nUSER ada\nRUN cat /secret\n"
    assert notify(workshop, dockerfile).startswith("x\n")
    for force in ("--force=notify,strict", "--force=auto,strict"):
        done = workshop.build(dockerfile, force, check=False)
        assert done.returncode == 1
        assert "can't open '/secret': Permission denied" in done.stdout + done.stderr


def test_a_variable_beats_the_home(any_workshop: Workshop) -> None:
    printed = notify(any_workshop, f"{BASE}USER ada\nENV HOME=/elsewhere\nRUN echo home=$HOME\n")
    assert "home=/elsewhere\n" in printed


def test_the_base_images_user(any_workshop: Workshop) -> None:
    notify(any_workshop, f"{BASE}USER ada\n", "-t", "base")
    assert "home=/home/ada\n" in notify(any_workshop, "FROM base\nRUN echo home=$HOME\n")


@pytest.mark.parametrize(("user", "kind"), [("charles", "user"), ("ada:nobody", "group")])
def test_an_unknown_name(any_workshop: Workshop, user: str, kind: str) -> None:
    printed = notify(any_workshop, f"{BASE}USER {user}\nRUN true\n", check=False)
    name = user.rpartition(":")[2]
    assert f"no such {kind} in the image: {name}\n" in printed
    assert "hint: the image's /etc/" in printed
    assert "img" not in any_workshop.ch_image("list").stdout.split()


@pytest.mark.parametrize("mode", ["seccomp", "none"])
def test_without_a_supervisor_it_stays_root_and_says_so_once(
    any_workshop: Workshop, mode: str
) -> None:
    done = any_workshop.build(
        "FROM bb\nUSER 1815\nRUN echo id=$(id -u)\nUSER 1816\nRUN echo id=$(id -u)$HOME\n",
        f"--force={mode}",
    )
    assert done.stdout.endswith("id=0\nid=0/root\n")
    text = f"warning: RUN stays root after USER with --force={mode}; notify runs it as that user\n"
    assert done.stderr.count(text) == 2  # once, and at the end
    quiet = any_workshop.build("FROM bb\nUSER root\nRUN true\n", f"--force={mode}")
    assert "stays root" not in quiet.stderr


def test_the_user_is_part_of_the_key(any_workshop: Workshop) -> None:
    def statuses(user: str) -> str:
        return any_workshop.statuses(f"FROM bb\nUSER {user}\nRUN true\n", "--force=notify")

    assert statuses("1815") == "*.."
    assert statuses("1815") == "***"
    assert statuses("1816") == "*.."
    assert statuses("root") == "*.."
    # Root under another name is the same user.
    assert statuses("0") == "*.*"


def test_workdir_belongs_to_the_user_and_copies_to_root(workshop: Workshop) -> None:
    workshop.write({"file": "text\n"})
    printed = notify(
        workshop,
        f"{BASE}RUN ln -s /home /h\nUSER ada\nWORKDIR /h/new/inner\nCOPY file .\n"
        "RUN stat -c '%U:%G %n' /home /home/new /home/new/inner /home/new/inner/file\n",
    )
    assert (
        "root:root /home\nada:users /home/new\nada:users /home/new/inner\n"
        "root:root /home/new/inner/file\n" in printed
    )
    seccomp = workshop.build(
        "FROM bb\nUSER 5\nWORKDIR /w\nRUN stat -c %u:%g /w\n", "--force=seccomp"
    )
    assert "0:0\n" in seccomp.stdout


def top_layer(workshop: Workshop, tar: Path) -> dict[str, tuple[int, int]]:
    """Write the topmost layer to ``tar``; return the owners of its members."""
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    with Store.open(storage) as store:
        layers = store.images.get("img").layers
        store.layers.write_tar(layers[-1], bytes(tar))
    with tarfile.open(tar) as archive:
        return {member.name.strip("./"): (member.uid, member.gid) for member in archive}


def test_workdir_of_a_number_in_nothing(workshop: Workshop, tmp_path: Path) -> None:
    notify(workshop, "FROM scratch\nUSER 5:6\nWORKDIR /w/x\n")
    owners = top_layer(workshop, tmp_path / "layer.tar")
    assert owners == {"": (0, 0), "w": (5, 6), "w/x": (5, 6)}


def test_it_leaves_as_it_was_made(workshop: Workshop, tmp_path: Path) -> None:
    notify(workshop, f"{BASE}USER ada\nRUN echo >/home/ada/note\n")
    assert top_layer(workshop, tmp_path / "layer.tar")["home/ada/note"] == (1815, 100)


# ch-run --notify


def test_ch_run_sees_what_builds_recorded(workshop: Workshop) -> None:
    notify(
        workshop,
        f"{BASE}RUN echo >/shadow && chown 0:42 /shadow && mknod /null c 1 3\n"
        'USER ada\nRUN echo >/home/ada/note\nCMD ["id", "-un"]\n',
    )
    script = "stat -c '%u:%g %F %n' /shadow /null /home/ada /home/ada/note"
    for options in ((), ("-W",)):
        done = workshop.ch_run("--notify", *options, "img", "--", "sh", "-c", script)
        assert done.stdout == (
            "0:42 regular file /shadow\n0:0 character special file /null\n"
            "1815:100 directory /home/ada\n1815:100 regular file /home/ada/note\n"
        )
    assert workshop.ch_run("--notify", "img").stdout == "ada\n"
    assert workshop.ch_run("--notify", "-u0", "img").stdout == "root\n"
