"""Images that are one file: how they look, what may be written, what they run."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from sundog.base.record.stack import pack_command
from tests.conftest import RootHelper
from tests.front.doctor.causes import no_overlay
from tests.runtime.fuse.conftest import Containers, make_squashfs, servers
from tests.runtime.launcher.compiled import leave_accounts
from tests.runtime.launcher.conftest import messages


def look(containers: Containers, image: Path) -> str:
    script = "cd /; ls -1 bin etc mnt; stat -c '%n %F %a' bin etc mnt bin/ls; ls -l bin/busybox"
    return containers.output("--no-passwd", image, "--", "sh", "-c", script)


@pytest.mark.parametrize("compressor", ["gzip", "xz", "zstd", "lz4"])
def test_it_looks_like_the_directory(
    containers: Containers, image: Path, tmp_path: Path, compressor: str
) -> None:
    file = make_squashfs(image, tmp_path / "file", "-comp", compressor)
    assert look(containers, file) == look(containers, image)
    done = subprocess.run(
        [containers.command, file, "--", "cat", "/bin/busybox"],
        env=containers.environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == Path("/usr/bin/busybox").read_bytes()


def test_a_directory_of_more_names_than_writev_takes_buffers(
    containers: Containers, image: Path, tmp_path: Path
) -> None:
    (image / "many").mkdir()
    for number in range(6000):
        (image / f"many/f{number}").touch()
    file = make_squashfs(image, tmp_path / "file", "-comp", "gzip")
    process = containers.begin(file, "--", "sh", "-c", "echo ready; read line")
    # busybox asks for few names at once; this process asks for as many as fit into a block.
    assert len(os.listdir(f"/proc/{process.pid}/root/many")) == 6000
    process.communicate(b"\n")


@pytest.mark.parametrize("ids", [(), ("-u0", "-g0"), ("-u", "1234", "-g", "99")])
def test_the_user_owns_everything(
    containers: Containers, image: Path, tmp_path: Path, ids: tuple[str, ...]
) -> None:
    file = make_squashfs(image, tmp_path / "file", "-force-uid", "7", "-force-gid", "8")
    script = "stat -c '%u %g' / /bin /bin/busybox; id -u; id -g"
    root, directory, program, uid, gid = containers.output(
        *ids, file, "--", "sh", "-c", script
    ).splitlines()
    assert root == directory == program == f"{uid} {gid}"


@pytest.mark.parametrize("emulation", [(), ("--notify",)])
def test_writing_without_overlays(
    containers: Containers, image: Path, tmp_path: Path, emulation: tuple[str, ...]
) -> None:
    (image / "etc/old").write_text("old\n")
    file = make_squashfs(image, tmp_path / "file", "-force-uid", "7", "-force-gid", "8")
    script = "echo new >>/etc/old; cat /etc/old; stat -c %u:%g /etc/old"
    words = (file, "--", "sh", "-c", script)
    done = containers.run("-W", *emulation, *words, prepare=no_overlay)
    owner = "7:8" if emulation else f"{os.getuid()}:{os.getgid()}"
    assert done.stdout.decode().split() == ["old", "new", owner], done.stderr
    assert "copying the image into memory" in messages(done)[0]


@pytest.mark.parametrize("ids", [(), ("-u0", "-g0")])
def test_writing(containers: Containers, image: Path, tmp_path: Path, ids: tuple[str, ...]) -> None:
    (image / "etc/old").write_text("old\n")
    file = make_squashfs(image, tmp_path / "file", "-force-uid", "7", "-force-gid", "8")
    before = file.read_bytes()
    refused = containers.run(*ids, file, "--", "sh", "-c", "echo x >/etc/old")
    assert b"Read-only file system" in refused.stderr
    script = "echo new >>/etc/old; chmod 700 /etc/old; mkdir /fresh; rm /bin/false; cat /etc/old"
    assert containers.output("-W", *ids, file, "--", "sh", "-c", script) == "old\nnew\n"
    done = containers.run("-w", file, "--", "true")
    assert messages(done)[0] == "error: --write invalid when running from a file"
    assert file.read_bytes() == before


@pytest.mark.parametrize("options", [(), ("-W",), ("--notify",), ("--notify", "-W")])
def test_a_missing_mount_point_is_made(
    containers: Containers, image: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/one").touch()
    file = make_squashfs(image, tmp_path / "file", pseudo=["bin/busybox m 755 3 4"])
    bind = f"{tmp_path}/data:/deep/down"
    script = "ls /deep/down; ls -A / | grep -c below; stat -c %u:%g /bin/busybox"
    shown = containers.output(*options, "-b", bind, file, "--", "sh", "-c", script).split()
    own = f"{os.getuid()}:{os.getgid()}"
    assert shown == ["one", "0", "3:4" if "--notify" in options else own]


def test_set_id_bits_are_modes_without_effect(
    containers: Containers, image: Path, tmp_path: Path
) -> None:
    (image / "bin/busybox").chmod(0o4755)
    file = make_squashfs(image, tmp_path / "file")
    script = "stat -c %a /bin/busybox; grep ' / ' /proc/self/mounts"
    shutil.copy("/usr/bin/busybox", image / "bin/grep")
    mode, mount = containers.output(file, "--", "busybox", "sh", "-c", script).splitlines()
    assert mode == "4755"
    assert {"nosuid", "nodev", "ro"} <= set(mount.split()[3].split(","))


def test_devices_are_empty_files_without_notify(
    containers: Containers, image: Path, tmp_path: Path
) -> None:
    file = make_squashfs(image, tmp_path / "file", pseudo=["etc/null c 640 0 0 1 3"])
    shown = containers.output(file, "--", "stat", "-c", "%F %a %s", "/etc/null")
    assert shown == "regular empty file 640 0\n"


@pytest.mark.parametrize("writes", [(), ("-W",)])
def test_notify_shows_the_owners_of_the_file(
    containers: Containers, image: Path, tmp_path: Path, writes: tuple[str, ...]
) -> None:
    pseudo = [
        "etc/null c 640 5 6 1 3",
        "etc/shadow m 640 0 42",
        "etc/deep d 2750 100 102",
        "bin/busybox m 755 0 0",
    ]
    (image / "etc/shadow").write_text("secret\n")
    file = make_squashfs(image, tmp_path / "file", pseudo=pseudo)
    script = "stat -c '%n %F %a %u %g %t:%T' /etc/null /etc/shadow /etc/deep /bin/busybox; id -u"
    assert containers.output("--notify", *writes, file, "--", "sh", "-c", script).splitlines() == [
        "/etc/null character special file 640 5 6 1:3",
        "/etc/shadow regular file 640 0 42 0:0",
        "/etc/deep directory 2750 100 102 0:0",
        "/bin/busybox regular file 755 0 0 0:0",
        "0",
    ]


def test_what_it_runs(containers: Containers, image: Path, tmp_path: Path) -> None:
    (image / "ch").mkdir()
    (image / "ch/stack").write_bytes(
        pack_command([b"sh", b"-c"], [b'echo "$WORD $PWD"'], b"/mnt", user=b"33:44")
    )
    (image / "ch/environment").write_text("WORD=of the image\n")
    file = make_squashfs(image, tmp_path / "file")
    assert containers.output(file) == "of the image /mnt\n"
    assert containers.output(file, "--", "sh", "-c", 'echo "$WORD $PWD"') == " /\n"
    assert containers.output("--set-env", file, "--", "sh", "-c", "echo $WORD") == "of the image\n"
    assert containers.output("--notify", file, "--", "id", "-u") == "33\n"


def test_without_a_command_there_must_be_one_in_the_file(
    containers: Containers, squashfs: Path
) -> None:
    done = containers.run(squashfs)
    assert done.returncode == 31
    assert b"IMAGE and/or COMMAND not specified" in done.stderr


def test_a_damaged_default_command(containers: Containers, image: Path, tmp_path: Path) -> None:
    (image / "ch").mkdir()
    (image / "ch/stack").write_bytes(b"sundog-stack 2\0\0\0\0" + b"1\0../../x\0" + b"0\0" * 2)
    done = containers.run(make_squashfs(image, tmp_path / "file"))
    assert done.returncode == 31
    assert messages(done)[0] == "error: damaged image: ch/stack: it names layers"


def test_a_name_in_storage_beats_a_file(
    containers: Containers, squashfs: Path, busybox_tar: Path, tmp_path: Path
) -> None:
    ch_image = containers.command.parent / "ch-image"
    if not ch_image.exists():
        ch_image = Path(shutil.which("ch-image") or "")
    storage = tmp_path / "own"
    containers.environment = containers.environment | {"CH_IMAGE_STORAGE": str(storage)}
    environment = os.environ | containers.environment
    subprocess.run([ch_image, "import", busybox_tar, "stored"], env=environment, check=True)
    leave_accounts(storage, os.geteuid(), os.getegid())
    squashfs.rename(tmp_path / "stored")
    before = servers()
    assert containers.output("stored", "--", "ls", "/ch").split() == [
        "environment",
        "metadata.json",
    ]
    assert servers() == before
    assert containers.run("./stored", "--", "ls", "/ch").returncode != 0


# Entry points of other programs' images


def make_sif(path: Path, squashfs: Path, kind: int = 1) -> Path:
    """Make a SIF as the specification of its header and descriptors says."""
    data = squashfs.read_bytes()
    offset = 40960
    count = 48
    header = struct.pack(
        "<32s10s3s3s16s8q", b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0", b"01\0", b"02\0",
        b"", 0, 0, count - 2, count, 4096, 585 * count, offset, len(data),
    )  # fmt: skip
    definition = struct.pack(
        "<i?3I7q128s384s", 0x4001, True, 1, 1, 0, 32768, 5, 5, 0, 0, 0, 0, b"", b""
    )
    partition = struct.pack("<2i3s", kind, 2, b"02\0")
    system = struct.pack(
        "<i?3I7q128s384s", 0x4004, True, 2, 1, 0, offset, len(data), len(data), 0, 0, 0, 0,
        b"squash.img", partition,
    )  # fmt: skip
    assert len(system) == 585
    path.write_bytes((header.ljust(4096, b"\0") + definition + system).ljust(offset, b"\0") + data)
    return path


def apptainer_tree(image: Path) -> Path:
    """Add what Apptainer puts into its images."""
    place = image / ".singularity.d"
    (place / "actions").mkdir(parents=True)
    (place / "env").mkdir()
    (place / "env/90-environment.sh").write_text("export WORD='of the image'\n")
    sources = '#!/bin/sh\nfor s in /.singularity.d/env/*.sh; do . "$s"; done\n'
    (place / "actions/exec").write_text(sources + 'exec "$@"\n')
    (place / "actions/run").write_text(sources + 'exec /.singularity.d/runscript "$@"\n')
    (place / "runscript").write_text('#!/bin/sh\necho "runs with $WORD"\n')
    for name in ("actions/exec", "actions/run", "runscript"):
        (place / name).chmod(0o755)
    return image


def test_sif(containers: Containers, image: Path, tmp_path: Path) -> None:
    file = make_squashfs(apptainer_tree(image), tmp_path / "part")
    sif = make_sif(tmp_path / "image.sif", file)
    assert containers.output(sif) == "runs with of the image\n"
    assert containers.output(sif, "--", "sh", "-c", "echo $WORD") == "of the image\n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [(2, "its system partition is ext3"), (5, "its system partition is encrypted")],
)
def test_other_sifs(
    containers: Containers, squashfs: Path, tmp_path: Path, kind: int, text: str
) -> None:
    done = containers.run(make_sif(tmp_path / "image.sif", squashfs, kind), "--", "true")
    error, hint = messages(done)
    assert error.endswith(text)
    assert hint.startswith("hint: ")


def test_a_damaged_sif(containers: Containers, squashfs: Path, tmp_path: Path) -> None:
    sif = make_sif(tmp_path / "image.sif", squashfs)
    data = sif.read_bytes()
    most = ((1 << 63) - 1).to_bytes(8, "little")
    system = 4096 + 585 + 4 + 1 + 12  # where its offset is
    for damaged in (
        *(data[:50], data[:4096], data[:40960], data[:88] + b"\xff" * 16 + data[104:]),
        data[:96] + most + data[104:],
        data[:system] + most + data[system + 8 :],
    ):
        sif.write_bytes(damaged)
        done = containers.run(sif, "--", "true")
        assert done.returncode == 31
        error, hint = messages(done)
        assert error.startswith(("error: damaged SIF: ", "error: can't mount "))
        assert hint.startswith("hint: ")


def test_enroot(containers: Containers, image: Path, tmp_path: Path) -> None:
    (image / "etc/rc").write_text('echo "rc with $WORD"\n')
    (image / "etc/environment").write_text("# made by enroot\nWORD=of $PATH\nnonsense\n")
    file = make_squashfs(image, tmp_path / "image.sqsh")
    assert containers.output(file) == "rc with of $PATH\n"
    assert containers.output(file, "--", "sh", "-c", "echo $WORD") == "of $PATH\n"


# Binds and --mount


def test_binds_of_files(containers: Containers, image: Path, tmp_path: Path) -> None:
    (image / "etc/hostname").write_text("image\n")
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "deep/one").write_text("one\n")
    file = make_squashfs(data, tmp_path / "data.sqfs")
    other = shutil.copy(file, tmp_path / "other.sqfs")
    script = "cat /mnt/deep/one /tmp/deep/one; wc -c </etc/hostname"
    binds = ("-b", f"{file}:/mnt", "-b", f"{other}:/tmp/", "-b", f"{file}:/etc/hostname")
    one, two, size = containers.output(*binds, image, "--", "sh", "-c", script).split()
    assert (one, two, int(size)) == ("one", "one", file.stat().st_size)
    assert "one" in containers.output("-W", "-b", f"{file}:/new", image, "--", "ls", "/new/deep")
    shown = containers.output(
        "-W", "-b", f"{file}:/new/{file.name}", image, "--", "ls", "-l", "/new"
    )
    assert str(file.stat().st_size) in shown


def test_one_server_for_all(containers: Containers, squashfs: Path) -> None:
    before = servers()
    process = containers.begin(
        "-b", f"{squashfs}:/mnt", squashfs, "--", "sh", "-c", "echo ready; read line; ls /mnt/bin"
    )
    assert len(servers().keys() - before.keys()) == 1
    output, _ = process.communicate(b"\n")
    assert b"busybox" in output


def test_mount(containers: Containers, squashfs: Path, image: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    done = containers.run("-m", place, squashfs, "--", "true")
    assert messages(done)[0] == f"error: can't stat mount point: {place}: No such file or directory"
    place.mkdir()
    shown = containers.output("-m", place, "-b", f"{place}/bin:/mnt", squashfs, "--", "ls", "/mnt")
    assert "busybox" in shown
    assert not list(place.iterdir())  # nothing of it is on the host
    done = containers.run("-m", squashfs, squashfs, "--", "true")
    assert messages(done)[0] == f"error: not a directory: {squashfs}"
    done = containers.run("--mount=", squashfs, "--", "true")
    assert messages(done)[0] == "error: mount point can't be empty string"
    done = containers.run("-m", place, image, "--", "true")
    assert messages(done)[0] == "warning: --mount invalid with directory image, ignoring"


# Hostile and damaged files


def test_damaged_blocks_are_errors_of_reading(
    containers: Containers, image: Path, tmp_path: Path
) -> None:
    file = make_squashfs(image, tmp_path / "file", "-comp", "gzip", "-b", "4096")
    data = bytearray(file.read_bytes())
    data[200_000:400_000] = bytes(200_000)
    file.write_bytes(data)
    script = "cat /mnt/bin/busybox >/dev/null; cat /mnt/etc/passwd && echo on"
    done = containers.run("-b", f"{file}:/mnt", image, "--", "sh", "-c", script)
    assert done.stdout == b"on\n"
    assert b"I/O error" in done.stderr or b"Input/output error" in done.stderr


@pytest.mark.parametrize("size", [4, 96, 5000])
def test_cut_files(containers: Containers, squashfs: Path, size: int) -> None:
    squashfs.write_bytes(squashfs.read_bytes()[:size])
    done = containers.run(squashfs, "--", "true")
    assert done.returncode == 31
    error, hint = messages(done)
    assert error.startswith(f"error: can't mount {squashfs}: ")
    assert hint.startswith("hint: ")


def test_a_file_that_cannot_be_read(containers: Containers, squashfs: Path) -> None:
    squashfs.chmod(0)
    done = containers.run(squashfs, "--", "true")
    assert messages(done)[0] == f"error: can't open {squashfs}: Permission denied"


MORE = " (ch-checkns --all says more)"


def test_no_device(containers: Containers, squashfs: Path, root_helper: RootHelper) -> None:
    # A container whose /dev has no fuse runs another one.
    script = f"{containers.command} {squashfs} -- true"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /dev; "
         "for f in null zero; do :>/dev/$f; done; " + script],
        env=containers.environment, capture_output=True, check=False,
    )  # fmt: skip
    assert messages(done) == [
        f"error: can't mount {squashfs}: /dev/fuse does not exist here: No such file or directory",
        f"hint: unpack the image once, and run the directory: ch-convert {squashfs} DIR{MORE}",
    ]
