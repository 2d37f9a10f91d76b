"""``--force=notify``: owners follow a RUN's changes to files of lower layers, on both drivers."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import read_owners
from tests.conftest import KILLS, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import RootHelper
    from tests.image.builder.conftest import Workshop

# (name, type, owner, group, mode, data or link)
MEMBERS = (
    ("d", tarfile.DIRTYPE, 7, 8, 0o750, ""),
    ("d/file", tarfile.REGTYPE, 5, 6, 0o640, "data"),
    ("d/other", tarfile.REGTYPE, 5, 6, 0o640, "data"),
    ("set-id", tarfile.REGTYPE, 0, 14, 0o6755, "data"),
    ("hers", tarfile.REGTYPE, 15, 16, 0o4711, "data"),
    ("one", tarfile.REGTYPE, 3, 4, 0o600, "linked"),
    ("two", tarfile.LNKTYPE, 3, 4, 0o600, "one"),
    ("link", tarfile.SYMTYPE, 9, 10, 0o777, "d/file"),
    ("null", tarfile.CHRTYPE, 0, 11, 0o666, ""),
    ("fifo", tarfile.FIFOTYPE, 12, 13, 0o622, ""),
)


@pytest.fixture
def imported(workshop: Workshop, busybox_tar: Path, tmp_path: Path) -> Workshop:
    """Return a workshop with an image ``foreign``: busybox and MEMBERS."""
    path = tmp_path / "foreign.tar"
    path.write_bytes(busybox_tar.read_bytes())
    with tarfile.open(path, "a") as tar:
        for name, kind, uid, gid, mode, data in MEMBERS:
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.gid, member.mode = kind, uid, gid, mode
            member.devmajor, member.devminor = 1, 3
            if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
                member.linkname = data
            content = data.encode() if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    workshop.ch_image("import", path, "foreign")
    return workshop


LOOK = "stat -c '%u:%g %a %F %n'"


def output(workshop: Workshop, dockerfile: str) -> str:
    """Build under notify and return the output of the RUNs."""
    return workshop.build(dockerfile, "--force=notify").stdout


def looks(workshop: Workshop, script: str, paths: str) -> list[str]:
    """Return stat's output for paths at the end of a RUN; the next RUN must print the same."""
    look = f"echo looks:; {LOOK} {paths}"
    printed = output(workshop, f"FROM foreign\nRUN {script}; {look}\nRUN {look}\n")
    _, at_once, later = printed.split("looks:\n")
    seen = [
        [line for line in part.splitlines() if line.rpartition(" ")[2] in paths.split()]
        for part in (at_once, later)
    ]
    assert seen[0] == seen[1]
    return seen[0]


def test_imported_images_start_from_their_manifest(imported: Workshop) -> None:
    assert looks(imported, "true", "/d /d/file /one /two /link /null /fifo") == [
        "7:8 750 directory /d",
        "5:6 640 regular file /d/file",
        "3:4 600 regular file /one",
        "3:4 600 regular file /two",
        "9:10 777 symbolic link /link",
        "0:11 666 character special file /null",
        "12:13 622 fifo /fifo",
    ]


def test_changes_in_place_keep_owners(imported: Workshop) -> None:
    script = (
        "echo more >>/d/file; chmod 4755 /d/other; touch /fifo /d; chmod 600 /null;"
        " touch -h /link || true"
    )
    assert looks(imported, script, "/d /d/file /d/other /link /null /fifo") == [
        "7:8 750 directory /d",
        "5:6 640 regular file /d/file",
        "5:6 4755 regular file /d/other",
        "9:10 777 symbolic link /link",
        "0:11 600 character special file /null",
        "12:13 622 fifo /fifo",
    ]


def test_set_id_bits_outlive_what_root_writes(imported: Workshop) -> None:
    script = (
        "cp /d/file /set-id; echo more >>/hers; cp /bin/busybox /own; chmod 4755 /own;"
        " echo >>/own; cp /own /lost; chmod 2755 /lost; echo >/lost; chmod 755 /lost"
    )
    assert looks(imported, script, "/set-id /hers /own /lost") == [
        "0:14 6755 regular file /set-id",
        "15:16 4711 regular file /hers",
        "0:0 4755 regular file /own",
        "0:0 755 regular file /lost",
    ]
    script = "echo 'she:x:15:16::/:/bin/sh' >>/etc/passwd; su she -c 'echo >>/hers'"
    assert looks(imported, script, "/hers") == ["15:16 711 regular file /hers"]


def test_deleted_and_made_again_is_roots(imported: Workshop) -> None:
    script = (
        "cd /; for f in d/file d/other link null fifo one two; do rm $f; echo new >$f; done;"
        " rm -r d; mkdir d; echo new >d/file"
    )
    assert looks(imported, script, "/d /d/file /link /null /fifo /one /two") == [
        "0:0 755 directory /d",
        *(
            f"0:0 644 regular file /{name}"
            for name in ("d/file", "link", "null", "fifo", "one", "two")
        ),
    ]


def test_renamed_keeps_owners_and_takes_the_place_of_others(imported: Workshop) -> None:
    script = (
        "cd /; mv d/file moved; echo new >d/file; mv d/other one; mv link l; mv null n;"
        " mv fifo d/fifo; mv d e; mkdir d"
    )
    assert looks(imported, script, "/moved /e /e/file /e/fifo /d /one /two /l /n") == [
        "5:6 640 regular file /moved",
        "7:8 750 directory /e",
        "0:0 644 regular file /e/file",
        "12:13 622 fifo /e/fifo",
        "0:0 755 directory /d",
        "5:6 640 regular file /one",
        "3:4 600 regular file /two",
        "9:10 777 symbolic link /l",
        "0:11 666 character special file /n",
    ]


def test_replaced_by_rename_as_editors_do(imported: Workshop) -> None:
    script = (
        "cd /d; cp -p file new; chmod 600 new; mv new file;"
        " cp other new; mv new other; sed -i s/linked/edited/ /one"
    )
    assert looks(imported, script, "/d/file /d/other /one /two") == [
        "5:6 600 regular file /d/file",
        "0:0 640 regular file /d/other",
        "3:4 600 regular file /one",  # BusyBox chowns it again
        "3:4 600 regular file /two",
    ]


@pytest.mark.parametrize("change", ["echo more >>/one", "chmod 640 /one", "touch /one"])
def test_changed_name_of_a_lower_file_keeps_its_owner(imported: Workshop, change: str) -> None:
    """On overlay the names separate, as in Docker; in either case, no owner may get lost."""
    seen = looks(imported, change, "/one /two")
    assert [line.split()[0] for line in seen] == ["3:4", "3:4"]


def test_chowned_name_of_a_lower_file_parts_on_overlay(imported: Workshop, driver: str) -> None:
    seen = looks(imported, "chown 20:21 /one", "/one /two")
    other = {"overlay": "3:4", "copy": "20:21"}[driver]
    assert [line.split()[0] for line in seen] == ["20:21", other]


def test_new_name_of_a_lower_file(imported: Workshop) -> None:
    """Overlayfs shows a different inode number for the new name, but both names are one file."""
    script = (
        "ln /d/file /d/again; chown 30:31 /d/again; ln /two /three; chmod 644 /three;"
        " ln /d/other /d/more; chown 32 /d/other; ln /bin/busybox /bin/bb; chown 33:33 /bin/bb"
    )
    paths = "/d/file /d/again /d/other /d/more /three /bin/busybox /bin/bb"
    assert [line.split()[0] for line in looks(imported, script, paths)] == [
        *("30:31", "30:31", "32:6", "32:6", "3:4", "33:33", "33:33")
    ]


def test_inode_numbers_of_the_dead_are_free(imported: Workshop) -> None:
    """A file system reuses the number of a removed file; the new file must not get its owner."""
    script = (
        "cd /srv; for i in $(seq 300); do echo a >a; chown 40:41 a; rm a; echo b >b$i; done;"
        " for i in $(seq 300); do mkdir c; chown 42:43 c; rmdir c; mkdir d$i; done;"
        " find . ! -user 0 -o ! -group 0; echo found; stat -c %u:%g b* d* | sort | uniq -c"
    )
    printed = output(imported, f"FROM foreign\nRUN {script}\nRUN cd /srv; find . ! -user 0\n")
    assert printed == "found\n    600 0:0\n"


def test_inode_numbers_of_the_layers_below_are_free_in_copies(imported: Workshop) -> None:
    """In a copy, another file may reuse a removed file's inode in the same RUN."""
    script = "cd /; rm d/file d/other one two; for i in $(seq 200); do echo >srv/$i; done"
    look = "find /srv ! -user 0; echo looked"
    printed = output(imported, f"FROM foreign\nRUN {script}; {look}\nRUN {look}\n")
    assert printed == "looked\nlooked\n"


def layers(workshop: Workshop) -> set[str]:
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    return set(os.listdir(os.path.join(storage, "layers")))


def start(
    workshop: Workshop, dockerfile: str, *options: str, within: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a build under notify, in a process group of its own.

    ``within`` is the command that runs it, as its first words.
    """
    path = workshop.context.parent / "Dockerfile"
    path.write_text(dockerfile)
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    return subprocess.Popen(
        [
            *within,
            *command("ch-image"),
            "build",
            "--force=notify",
            *options,
            "-t",
            "img",
            "-f",
            path,
            workshop.context,
        ],
        env=os.environ | {"CH_IMAGE_STORAGE": storage},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


MANY = "for i in $(seq 200); do echo >/srv/$i; chown $i:$i /srv/$i; done"


def test_run_killed_half_way_commits_nothing(workshop: Workshop) -> None:
    before = layers(workshop)
    with start(workshop, f"FROM bb\nRUN {MANY}; echo half-way; sleep 1000\n") as build:
        assert build.stdout is not None
        assert build.stdout.readline() == "half-way\n"
        build.kill()
        # The pipe closes when the last process of the container, including the supervisor, is gone.
        assert build.stdout.read() == ""
    assert workshop.ch_image("list").stdout == "bb\n"
    assert layers(workshop) == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_build_killed_at_any_moment_has_the_whole_layer_or_none(workshop: Workshop) -> None:
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    look = "stat -c '%u:%g %n' /srv/*"
    started = time.monotonic()
    expected = output(workshop, f"FROM bb\nRUN {MANY}\nRUN {look}\n")
    assert len(expected.splitlines()) == 200
    took = time.monotonic() - started
    kills = KILLS // 2  # on each driver
    for number in range(kills):
        dockerfile = f"FROM bb\nRUN : {number}; {MANY}\n"
        with start(workshop, dockerfile) as build:
            assert build.stdout is not None
            time.sleep(took * number / kills)
            build.kill()
            build.stdout.read()
        for layer in layers(workshop):
            manifest = read_owners(os.fsencode(f"{storage}/layers/{layer}/owners"))
            assert len([path for path in manifest if path.startswith(b"srv/")]) in (0, 200)
        assert output(workshop, f"{dockerfile}RUN {look}\n") == expected


def seen_without_caches(
    workshop: Workshop, root_helper: RootHelper, dockerfile: str, *, within: Sequence[str] = ()
) -> list[str]:
    """Build, and return the output of the RUNs behind the line "ready".

    The one that prints it executes $WAIT then, during which the kernel loses its caches.
    ``within`` is as for ``start``.
    """
    shared = workshop.context.parent / "shared"
    shared.mkdir()
    wait = "echo ready; while [ ! -e /shared/go ]; do sleep 0.1; done"
    words = (dockerfile.replace("$WAIT", wait), f"-b{shared}:/shared")
    with start(workshop, *words, within=within) as build:
        assert build.stdout is not None
        assert build.stdout.readline() == "ready\n"
        root_helper.drop_caches()
        (shared / "go").touch()
        return build.stdout.read().splitlines()


@pytest.mark.needs_root
def test_owners_outlive_the_kernels_caches(imported: Workshop, root_helper: RootHelper) -> None:
    """Once overlayfs forgets an inode, it shows another number for a copied-up file."""
    change = (
        "echo more >>/d/file; echo more >>/bin/busybox2; chown 50:51 /bin/busybox2;"
        " chown 52 /d/other; echo more >>/two; chown -h 53 /link; mv /null /n; touch /d"
    )
    make = "cp /bin/busybox /bin/busybox2"
    look = "stat -c '%u:%g %n' /d /d/file /d/other /one /two /link /n /bin/busybox2 /fifo"
    dockerfile = f"FROM foreign\nRUN {make}\nRUN {change}; $WAIT; {look}\nRUN {look}\n"
    seen = seen_without_caches(imported, root_helper, dockerfile)
    assert seen[:9] == [
        *("7:8 /d", "5:6 /d/file", "52:6 /d/other", "3:4 /one"),
        *("3:4 /two", "53:10 /link", "0:11 /n", "50:51 /bin/busybox2", "12:13 /fifo"),
    ]
    assert seen[9:] == seen[:9]


@pytest.mark.needs_root
def test_owners_of_many_files_outlive_the_kernels_caches(
    workshop: Workshop, root_helper: RootHelper
) -> None:
    """The supervisor does not hold them all open, so it must meet each one that changes."""
    make = "mkdir /m; cd /m; seq 2100 | xargs touch; ln -s 1 link; chown -h 5:6 *"
    change = "cd /m; touch 1 2; touch -h link; chmod 600 3; echo more >>4; truncate -s 9 5; mv 6 x"
    look = "stat -c %u:%g%n /m/[1-57x] /m/link"
    dockerfile = f"FROM bb\nRUN {make}\nRUN {change}; $WAIT; {look}\nRUN {look}\n"
    seen = seen_without_caches(workshop, root_helper, dockerfile)
    assert seen == [f"5:6/m/{name}" for name in (*range(1, 6), 7, "x", "link")] * 2


@pytest.mark.needs_root
def test_owners_of_more_files_than_can_be_open_outlive_the_kernels_caches(
    workshop: Workshop, root_helper: RootHelper
) -> None:
    make = "mkdir /m; cd /m; seq 300 | xargs touch; chown 7:8 [1-9]"
    change = "cd /m; chown 5:6 *; chown 7:8 300; rm 299; echo >299"
    look = "stat -c %u:%g /m/* | sort | uniq -c"
    dockerfile = f"FROM bb\nRUN {make}\nRUN {change}; $WAIT; {look}\nRUN {look}\n"
    limit = ("prlimit", "--nofile=620:620")  # the supervisor holds some 100 files
    seen = seen_without_caches(workshop, root_helper, dockerfile, within=limit)
    assert [line.split() for line in seen] == [["1", "0:0"], ["298", "5:6"], ["1", "7:8"]] * 2
