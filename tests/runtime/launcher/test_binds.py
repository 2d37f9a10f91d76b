"""The container shows the binds at their places, and the command can't reach other host files."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of the host.  With ``tmp`` the container's /tmp does not show it."""
    path = tmp_path / "data"
    path.mkdir()
    (path / "file").write_text("host\n")
    return path


@pytest.fixture
def tmp(tmp_path: Path) -> dict[str, str]:
    """An environment in which the container's /tmp is an empty directory."""
    path = tmp_path / "host-tmp"
    path.mkdir()
    return {"TMPDIR": str(path)}


def test_default_binds(ch_run: ChRun, image: Path) -> None:
    for name in ("hosts", "machine-id", "resolv.conf"):
        (image / "etc" / name).touch()
    script = "cat /etc/hosts; echo; cat /etc/machine-id; echo; cat /etc/resolv.conf"
    done = ch_run(image, "--", "sh", "-c", script)
    names = [Path("/etc", name) for name in ("hosts", "machine-id", "resolv.conf")]
    there = [path.read_bytes() if path.exists() else b"" for path in names]
    assert done.stdout == b"\n".join(there)
    script = "cat /proc/self/stat >/dev/null && ls -d /dev/null /sys/kernel /proc/self/fd"
    assert ch_run(image, "--", "sh", "-c", script).returncode == 0
    ino = ch_run(image, "--", "stat", "-c", "%d %i", "/dev", "/sys", "/proc", "/tmp").stdout
    expected = [os.stat(path) for path in ("/dev", "/sys", "/proc", "/tmp")]
    assert ino == b"".join(b"%d %d\n" % (st.st_dev, st.st_ino) for st in expected)


def test_a_missing_optional_bind_is_told_at_v(ch_run: ChRun, image: Path) -> None:
    told = messages(ch_run("-v", image, "--", "/bin/true"))
    assert "skipped: can't bind: destination not found: /etc/hosts" in told
    assert messages(ch_run(image, "--", "/bin/true")) == []


def test_an_optional_mount_point_of_another_type_is_skipped(ch_run: ChRun, image: Path) -> None:
    (image / "etc" / "hosts").mkdir()
    (image / "etc" / "resolv.conf").symlink_to("/nowhere")
    told = messages(ch_run("-v", image, "--", "/bin/true"))
    reason = "one is a directory, the other is not"
    assert f"skipped: can't bind to /etc/hosts: {reason}" in told
    assert "skipped: can't bind: destination not found: /etc/resolv.conf" in told


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "tmp"])
def test_a_missing_required_mount_point(ch_run: ChRun, image: Path, name: str) -> None:
    (image / name).rmdir()
    done = ch_run(image, "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        f"error: can't bind: destination not found: /{name}",
        "hint: create it in the image, or use -W to create it for this one run",
    ]
    (image / name).write_text("")
    done = ch_run(image, "--", "true")
    assert done.returncode == 31
    assert messages(done)[0] == (
        f"error: can't bind to /{name}: one is a directory, the other is not"
    )


def test_tmp_is_the_hosts(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    environment = {"TMPDIR": str(tmp_path / "t")}
    script = "echo x >/tmp/file; echo $TMPDIR"
    assert ch_run(image, "--", "sh", "-c", script, env=environment).stdout == b"\n"
    assert (tmp_path / "t" / "file").read_text() == "x\n"
    environment = {"TMPDIR": "t"}  # of the working directory
    assert ch_run(image, "--", "ls", "/tmp", env=environment).stdout == b"file\n"


def test_private_tmp(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    done = ch_run("-t", image, "--", "sh", "-c", "stat -c %a /tmp; ls -A /tmp; echo >/tmp/x")
    assert (done.returncode, done.stdout) == (0, b"1777\n")
    assert list((image / "tmp").iterdir()) == []
    (image / "tmp").rmdir()
    done = ch_run("-t", image, "--", "true")
    assert messages(done)[0] == "error: can't bind: destination not found: /tmp"
    assert ch_run("-tW", image, "--", "stat", "-c", "%a", "/tmp").stdout == b"1777\n"


def test_bind(ch_run: ChRun, image: Path, data: Path) -> None:
    assert ch_run("-b", f"{data}:/mnt", image, "--", "cat", "/mnt/file").stdout == b"host\n"
    assert ch_run("-b", "data:/mnt", image, "--", "cat", "/mnt/file").stdout == b"host\n"
    done = ch_run("-b", f"{data}:/mnt", image, "--", "sh", "-c", "echo more >>/mnt/file")
    assert done.returncode == 0
    assert (data / "file").read_text() == "host\nmore\n"


def test_bind_a_file(ch_run: ChRun, image: Path, data: Path) -> None:
    (image / "mnt" / "target").touch()
    done = ch_run("-b", f"{data}/file:/mnt/target", image, "--", "cat", "/mnt/target")
    assert done.stdout == b"host\n"
    done = ch_run("-b", f"{data}/file:/mnt", image, "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: can't bind to /mnt: one is a directory, the other is not",
        "hint: a directory can only cover a directory, a file only a file",
    ]


def test_later_binds_cover_earlier_ones(ch_run: ChRun, image: Path, data: Path) -> None:
    (data / "sub").mkdir()
    (data / "other").mkdir()
    (data / "other" / "inner").touch()
    binds = ("-b", f"{data}:/mnt", "-b", f"{data}/other:/mnt/sub")
    assert ch_run(*binds, image, "--", "ls", "/mnt/sub").stdout == b"inner\n"
    assert list((data / "sub").iterdir()) == []


def test_bind_of_the_root_shows_the_hosts(ch_run: ChRun, image: Path) -> None:
    done = ch_run("-b", "/:/mnt", image, "--", "ls", "/mnt")
    assert set(done.stdout.split()) == {
        os.fsencode(name) for name in os.listdir("/") if not name.startswith(".")
    }


def test_bind_source_missing(ch_run: ChRun, image: Path) -> None:
    done = ch_run("-b", "/nonexistent:/mnt", image, "--", "true")
    assert done.returncode == 31
    assert messages(done) == [
        "error: can't bind: source not found: /nonexistent",
        "hint: the source of a bind is a path of the host",
    ]


def test_bind_source_forbidden(ch_run: ChRun, image: Path, data: Path) -> None:
    if os.geteuid() == 0:
        pytest.fail("run the tests as an ordinary user")
    done = ch_run("-b", "/root/x:/mnt", image, "--", "true")
    assert messages(done)[0].startswith("error: can't bind")


@pytest.mark.parametrize("option", ["-t", "-w", "-W"])
def test_missing_destination_is_created(
    ch_run: ChRun, image: Path, data: Path, tmp: dict[str, str], option: str
) -> None:
    binds = ("-b", f"{data}:/mnt/new/place", "-b", f"{data}/file:/mnt/./x//y")
    script = "cat /mnt/new/place/file /mnt/x/y; stat -c '%a %F' /mnt/new"
    done = ch_run(option, *binds, image, "--", "sh", "-c", script, env=tmp)
    assert done.stdout == b"host\nhost\n755 directory\n", done.stderr
    assert (image / "mnt" / "new" / "place").is_dir() is (option == "-w")
    assert (image / "mnt" / "x" / "y").is_file() is (option == "-w")


def test_missing_destination_in_an_image_of_another_user(ch_run: ChRun, data: Path) -> None:
    """The image is the host's /usr: root owns it, and it has a static busybox."""
    script = "cat /share/new/place/file /share/link; stat -c '%a %u %F' /share /share/new"
    binds = ("-b", f"{data}:/share/new/place", "-b", f"{data}/file:/share/link")
    done = ch_run("-W", *binds, "/usr", "--", "busybox", "sh", "-c", script)
    uid = os.getuid()
    assert done.stdout.decode().splitlines() == [
        "host",
        "host",
        f"755 {uid} directory",
        f"755 {uid} directory",
    ], done.stderr
    # The container still shows the image's files in that directory.
    listing = "ls /share | grep -v -e '^new$' -e '^link$'"
    done = ch_run("-W", *binds, "/usr", "--", "busybox", "sh", "-c", listing)
    assert set(done.stdout.decode().split()) == set(os.listdir("/usr/share"))
    assert not Path("/usr/share/new").exists()


@pytest.mark.parametrize("target", ["/opt", "opt/../opt", "../../opt/sub/.."])
def test_missing_destination_behind_a_link(
    ch_run: ChRun, image: Path, data: Path, target: str
) -> None:
    (image / "opt" / "sub").mkdir(parents=True)
    (image / "opt" / "sub").chmod(0o711)
    (image / "opt" / "kept").touch()
    (image / "link").symlink_to(target)
    binds = ("-b", f"{data}:/link/sub/new", "-b", f"{data}:/link/sub/other")
    script = "ls /opt /opt/sub /opt/sub/new; stat -c %a /opt/sub; readlink /link"
    done = ch_run("-W", *binds, image, "--", "sh", "-c", script)
    words = done.stdout.decode().split()
    assert words[:2] == ["/opt:", "kept"]
    assert words[-3:] == ["file", "711", target]
    assert list((image / "opt" / "sub").iterdir()) == []


def test_nothing_is_created_in_what_is_bound(
    ch_run: ChRun, image: Path, data: Path, tmp: dict[str, str]
) -> None:
    for destination in ("/tmp/new", "/mnt/new/place", "/dev/new", "/proc/new"):
        binds = ("-b", f"{data}:/mnt", "-b", f"{data}:{destination}")
        done = ch_run("-W", *binds, image, "--", "true", env=tmp)
        assert done.returncode == 31, destination
        error, hint = messages(done)
        assert error == (
            f"error: can't bind: {destination} is missing below another mount, "
            "where nothing is created"
        )
        assert "create it on the host first" in hint
    assert os.listdir(tmp["TMPDIR"]) == []
    assert os.listdir(data) == ["file"]


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the host that no container may show."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        yield Path(path)


@pytest.mark.parametrize("option", ["-t", "-w", "-W"])
@pytest.mark.parametrize("up", ["", "../../.."])
def test_symlinks_lead_where_the_container_sees_them(  # noqa: PLR0917
    ch_run: ChRun, image: Path, data: Path, outside: Path, up: str, option: str
) -> None:
    """The path exists also on the host.  ``ch-run`` must not use the host's path or change it."""
    inside = image / outside.relative_to("/")
    inside.mkdir(parents=True)
    (image / "mnt" / "link").symlink_to(f"{up}{outside}")
    script = f"ls /mnt/link; ls {outside}"
    done = ch_run(option, "-b", f"{data}:/mnt/link", image, "--", "sh", "-c", script)
    assert done.stdout == b"file\nfile\n", done.stderr
    done = ch_run(option, "-b", f"{data}:/mnt/link/x/y", image, "--", "ls", outside / "x" / "y")
    assert done.stdout == b"file\n", done.stderr
    assert list(outside.iterdir()) == []
    assert (inside / "x").exists() is (option == "-w")


def test_climbing_out_of_the_image(ch_run: ChRun, image: Path, data: Path) -> None:
    (image / "mnt" / "up").symlink_to("../../../../../../mnt")
    done = ch_run("-b", f"{data}:/mnt/up", image, "--", "ls", "/mnt")
    assert done.stdout == b"file\n"
    done = ch_run("-b", f"{data}:/../../../mnt", image, "--", "ls", "/mnt")
    assert done.stdout == b"file\n"


def test_a_dangling_symlink_is_not_replaced(ch_run: ChRun, image: Path, data: Path) -> None:
    (image / "mnt" / "link").symlink_to("/not-made")
    done = ch_run("-W", "-b", f"{data}:/mnt/link/sub", image, "--", "true")
    assert done.returncode == 31
    assert messages(done)[0] == "error: can't bind: broken symlink: /mnt/link"


@pytest.mark.parametrize("option", ["-t", "-w", "-W"])
def test_links_of_proc_do_not_lead_out(
    ch_run: ChRun, image: Path, data: Path, tmp_path: Path, option: str
) -> None:
    """This process has the same user, so the container can open its root through /proc."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (image / "mnt" / "root").symlink_to(f"/proc/{os.getpid()}/root")
    (image / "mnt" / "cwd").symlink_to(f"/proc/{os.getpid()}/cwd")
    for way in (f"root{victim}", f"root{victim}/made", "cwd", "cwd/made"):
        done = ch_run(option, "-b", f"{data}:/mnt/{way}", image, "--", "true")
        assert done.returncode == 31, way
    assert list(victim.iterdir()) == []
    assert not Path("made").exists()


def test_the_host_is_gone(ch_run: ChRun, image: Path, tmp: dict[str, str]) -> None:
    """Only the mounts of the plan remain; no other mount is above or below them."""
    done = ch_run(image, "--", "cat", "/proc/self/mountinfo", env=tmp)
    points = [line.split()[4].decode() for line in done.stdout.splitlines()]
    assert points.count("/") == 1
    allowed = ("/dev", "/proc", "/sys", "/tmp", "/etc/passwd", "/etc/group")
    tops = {"/".join(point.split("/")[:2]) for point in points if not point.startswith("/etc/")}
    assert tops == {"/", "/dev", "/proc", "/sys", "/tmp"}
    assert {point for point in points if point.startswith("/etc/")} <= set(allowed)
    script = "ls /..; umount -l / 2>/dev/null; ls /.."
    listing = ch_run("-u0", image, "--", "ls", "/").stdout
    assert ch_run("-u0", image, "--", "sh", "-c", script).stdout in (listing, listing * 2)


def test_the_hosts_mounts_are_untouched(ch_run: ChRun, image: Path, data: Path) -> None:
    before = Path("/proc/self/mountinfo").read_bytes()
    assert ch_run("-W", "-b", f"{data}:/mnt", image, "--", "true").returncode == 0
    assert Path("/proc/self/mountinfo").read_bytes() == before


def test_mounts_below_the_image_come_along_read_only(installed: Path, image: Path) -> None:
    script = "mount -t tmpfs x $1/mnt && echo x >$1/mnt/file && exec $0 $1 -- sh -c "
    script += "'cat /mnt/file; echo y >/mnt/file'"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, installed, image],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"x\n"
    assert b"Read-only file system" in done.stderr


def test_devices_of_all_kinds_can_be_bound(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (image / "mnt" / "x").touch()
    done = ch_run("-b", f"{tmp_path}/fifo:/mnt/x", image, "--", "stat", "-c", "%F", "/mnt/x")
    assert done.stdout == b"fifo\n"
    assert stat.S_ISREG((image / "mnt" / "x").stat().st_mode)
