"""Each key of the configuration has its effect in the launcher in Python and in the compiled."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import until
from tests.runtime.launcher.compiled import Compiled, leave_accounts, python_start
from tests.runtime.launcher.conftest import ENVIRONMENT
from tests.runtime.launcher.storages import fill_storage, make_storage

Completed = subprocess.CompletedProcess[bytes]

KEYS_OF_STARTS = """
[storage]
directory = ["$NOT_SET/st", "/nonexistent/st", "{top}/%u/st", "{top}/other"]
[run]
bind = ["{top}/data:/mnt", "$DATA/%U:/new/%u:ro", "/nonexistent", "$NOT_SET/x:/y",
        "{top}/100%%u%%:/per%%/%%U"]
write_fake = "40m"
tmpdir = "$DATA/tmp-%u"
[messages]
hint = "ask hpc@site, telephone 1234"
"""
USER = ENVIRONMENT["USER"]
SCRIPT = f"""
cat /mnt/file /new/{USER}/own /tmp/mark /per%/%U/cent
test -e /y && echo y
touch /new/{USER}/x 2>/dev/null && echo writable
mount | while read -r line; do case $line in *size=40960k*) echo forty; break ;; esac; done
"""
SHOWN = b"data\nown\nmark\ncent\n"


class Site:
    """A directory with a storage, files to show, and a home; ``start`` is one of both launchers."""

    def __init__(self, top: Path, command: Path) -> None:
        self.top = top
        self.command = command
        self.storage = top / USER / "st"
        self.storage.parent.mkdir()
        fill_storage(make_storage(self.storage))
        leave_accounts(self.storage, os.geteuid(), os.getegid())
        for name, text in (
            ("data/file", "data\n"),
            (f"data/{os.geteuid()}/own", "own\n"),
            (f"data/tmp-{USER}/mark", "mark\n"),
            ("100%u%/cent", "cent\n"),
        ):
            (top / name).parent.mkdir(exist_ok=True)
            (top / name).write_text(text)
        self.file = top / "home" / "sundog" / "sundog.toml"
        self.file.parent.mkdir(parents=True)
        for directory in (top, self.file.parent.parent, self.file.parent):
            directory.chmod(0o755)

    def write(self, text: str) -> None:
        """Write the user's file."""
        self.file.write_text(text.replace("{top}", str(self.top)))
        self.file.chmod(0o644)

    def variables(self) -> dict[str, str]:
        """Return the environment of a start."""
        names = {"XDG_CONFIG_HOME": "home", "XDG_CACHE_HOME": "cache", "DATA": "data"}
        return ENVIRONMENT | {name: str(self.top / rest) for name, rest in names.items()}

    @property
    def record(self) -> Path:
        """The user's compiled record."""
        return self.top / "cache" / "sundog" / "sundog.record"

    def write_record(self, text: str) -> None:
        """Write the user's file, and start until its record is there."""
        self.write(text)
        deadline = time.monotonic() + 30
        while not self.record.exists():
            assert time.monotonic() < deadline
            self.start("app", "--", "true")

    def start(self, *words: str, **variables: str) -> Completed:
        """Start a container."""
        return subprocess.run(
            [self.command, *words],
            env=self.variables() | variables,
            cwd=self.top,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(params=["python", pytest.param("compiled", marks=pytest.mark.slow)])
def site(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> Site:
    """A site whose containers start in Python, or in the compiled program."""
    command = python_start(installed)
    if request.param == "compiled":
        compiled: Compiled = request.getfixturevalue("compiled")
        command = compiled.command
    top = tmp_path / "site"
    top.mkdir()
    return Site(top, command)


def test_each_key_of_a_start(site: Site) -> None:
    site.write_record(KEYS_OF_STARTS)
    for options, expected in (
        ((), SHOWN),
        (("-W",), SHOWN + b"forty\n"),
        (("-W41m",), SHOWN),
        (("-u", "0"), SHOWN),  # %U is the ID on the host
        (("-b", f"{site.top}/{USER}:/mnt"), b"own\nmark\ncent\n"),  # it lies over the site's
        (("-t",), b"data\nown\ncent\n"),
    ):
        done = site.start(*options, "app", "--", "sh", "-c", SCRIPT)
        assert done.stdout == expected, (options, done.stderr)
    done = site.start("--no-site-binds", "app", "--", "sh", "-c", SCRIPT)
    assert done.stdout == b"mark\n", done.stderr
    # A variable comes before the file, and an option before both.
    done = site.start("app", "--", "cat", "/tmp/file", TMPDIR=str(site.top / "data"))
    assert done.stdout == b"data\n", done.stderr
    for words, variables in (((), {"CH_IMAGE_STORAGE": "/var/tmp/x"}), (("-s", "/"), {})):
        done = site.start(*words, "app", "--", "true", **variables)
        assert done.returncode == 31
        assert b"image not found: app" in done.stderr
        assert done.stderr.endswith(b"]: hint: ask hpc@site, telephone 1234\n")
    done = site.start("app", "--", "true", SUNDOG_CONFIG="none")
    assert b"image not found: app" in done.stderr
    assert b"1234" not in done.stderr


def test_directories_in_memory(site: Site) -> None:
    """A bind of the configuration may lie in one, and an option over it."""
    head = "[storage]\ndirectory = '{top}/%u/st'\n[run]\nbind = ['{top}/data/file:/new/file']\n"
    site.write_record(head + "tmpfs = ['/new:size=40m,mode=700', '/mnt:noexec', '/nonexistent/x']")
    script = "cat /new/file; stat -c %a /new; touch /mnt/x /nonexistent/x && echo written; mount"
    words = ("app", "--", "sh", "-c", script)
    done = site.start(*words)
    assert done.stdout.startswith(b"data\n700\nwritten\n"), done.stderr
    mounts = {line.split()[2]: line for line in done.stdout.decode().splitlines()[3:]}
    assert "size=40960k" in mounts["/new"]
    assert "noexec" in mounts["/mnt"]
    assert "noexec" not in mounts["/new"]
    done = site.start("-b", f"{site.top}/data:/mnt", "app", "--", "cat", "/mnt/file")
    assert done.stdout == b"data\n", done.stderr
    done = site.start("--no-site-binds", *words)
    assert b"can't stat '/new'" in done.stderr
    assert b"size=40960k" not in done.stdout
    for wrong, message in (
        ("['/']", "DIR can't be /"),
        ("['/x:size=-1']", "not possible: size=-1"),
        ("['x']", "expected a list of at most 100 DIR[:OPTIONS]"),
    ):
        site.write(f"{head}tmpfs = {wrong}")
        done = site.start("app", "--", "true")
        assert done.returncode == 31
        assert f"error: {site.file}: run.tmpfs: {message}".encode() in done.stderr
        assert site.start("--no-site-binds", "app", "--", "true").returncode == 31 * (
            wrong == "['x']"
        )


@pytest.mark.slow
def test_the_compiled_start_leaves_a_tmpfs_to_python(compiled: Compiled, tmp_path: Path) -> None:
    top = tmp_path / "site"
    top.mkdir()
    site = Site(top, compiled.command)
    for said, options, declines in (
        ("'/mnt'", (), 1),
        ("'/mnt'", ("--no-site-binds",), 0),
        ("", (), 0),
    ):
        site.record.unlink(missing_ok=True)
        site.write_record(f"storage.directory = '{site.storage}'\nrun.tmpfs = [{said}]\n")
        done = site.start(*options, "app", "--", "true", SUNDOG_START="compiled")
        assert (b"declined: a tmpfs of the configuration" in done.stderr) == declines
        assert done.returncode == 31 * declines, done.stderr


def test_the_directories_of_devices(site: Site) -> None:
    """A variable comes before the file, and an option before both."""
    for name in ("a", "b", "c"):
        (site.top / name).mkdir()
        device = {"name": "0", "containerEdits": {"env": [f"GPU={name}"]}}
        specification = {"cdiVersion": "0.6.0", "kind": "site.org/gpu", "devices": [device]}
        (site.top / name / "gpu.json").write_text(json.dumps(specification))
    head = "[storage]\ndirectory = '{top}/%u/st'\n[run]\n"
    site.write_record(head + "cdi_dirs = ['/nonexistent', '{top}/a']\n")
    words = ("--device=site.org/gpu=0", "app", "--", "sh", "-c", "echo $GPU")
    variable = {"CH_RUN_CDI_DIRS": str(site.top / "b")}
    for options, variables, expected in (
        ((), {}, b"a\n"),
        ((), {"CH_RUN_CDI_DIRS": ""}, b"a\n"),
        ((), variable, b"b\n"),
        ((f"--cdi-dirs={site.top}/c",), variable, b"c\n"),
    ):
        done = site.start(*options, *words, **variables)
        assert done.stdout == expected, done.stderr
    done = site.start(*words, SUNDOG_CONFIG="none", CH_IMAGE_STORAGE=str(site.storage))
    assert b"no such CDI device: site.org/gpu=0" in done.stderr
    site.write(head + "cdi_dirs = ['{top}/a:{top}/b']\n")
    done = site.start(*words)
    assert b"run.cdi_dirs: expected a list of at most 100 absolute paths, without" in done.stderr


def test_the_profile_of_the_host_mpi(site: Site) -> None:
    """It is that of --host-mpi without a name, and nothing else."""
    head = "[storage]\ndirectory = '{top}/%u/st'\n[run]\n"
    site.write_record(head + "host_mpi = 'cray'\n")
    assert site.start("app", "--", "true").stderr == b""
    done = site.start("--host-mpi", "app", "--", "true")
    expected = f"{site.file}: run.host_mpi: no profile of the host's MPI has the name cray"
    assert expected.encode() in done.stderr
    done = site.start("--host-mpi=other", "app", "--", "true")
    assert b"error: no profile of the host's MPI has the name other" in done.stderr
    site.write(head + "host_mpi = 'relative/cray.toml'\n")
    done = site.start("app", "--", "true")
    assert b"run.host_mpi: expected a name, or an absolute path" in done.stderr


def test_the_storage_is_hidden_wherever_it_is(site: Site) -> None:
    """A bind of the configuration shows neither the storage in use, nor another one."""
    (site.top / "other").mkdir(mode=0o700)
    (site.top / "other" / "version").write_text("sundog 1\n")
    site.write(KEYS_OF_STARTS.replace("{top}/data:/mnt", "{top}:/mnt"))
    script = f"cat /mnt/data/file; ls /mnt/other /mnt/{USER}/st"
    done = site.start("app", "--", "sh", "-c", script)
    assert done.stdout == f"data\n/mnt/other:\n\n/mnt/{USER}/st:\n".encode(), done.stderr


def test_no_container_writes_the_record(site: Site) -> None:
    """A bind of the caches does not show it: it would decide about the binds of later starts."""
    site.write_record(KEYS_OF_STARTS)
    (site.top / "cache" / "other").write_text("other\n")
    good = site.record.read_bytes()
    cache, home = str(site.top / "cache"), str(site.top)
    script = "cat $0/other; for try in $0/sundog/sundog.record $0/sundog/x; do echo 1 >$try; done"
    for options, at in (
        (("-b", f"{cache}:/mnt"), "/mnt"),
        (("-b", f"{cache}:/mnt", "-W", "-u", "0"), "/mnt"),
        (("-b", home), cache),
    ):
        done = site.start(*options, "app", "--", "sh", "-c", script, at)
        assert done.stdout == b"other\n", done.stderr
        assert done.stderr.count(b"Read-only file system") == 2, done.stderr
    done = site.start("app", "--", "sh", "-c", script, "/tmp", TMPDIR=cache)
    assert done.stdout == b"other\n", done.stderr
    assert site.record.read_bytes() == good


def test_the_place_of_state_is_hidden(site: Site) -> None:
    """It is made by a start whose binds could show it; no container makes it, or writes there."""
    state = site.top / "state" / f"of-{USER}"
    text = f"storage.directory = '{site.storage}'\nrun.state = '{site.top}/state/of-%u'\n"
    site.write_record(text)
    assert not state.exists()  # no bind shows it
    script = "ls -A $0; touch $0/x; mkdir $0/more $0/../other"
    for options, at in (
        (("-b", f"{site.top}:/mnt"), "/mnt/state"),
        (("-b", str(site.top), "-W", "-u", "0"), f"{site.top}/state"),
        (("-b", f"{site.top}/state:/mnt", "--write-fake"), "/mnt"),
    ):
        done = site.start(*options, "app", "--", "sh", "-c", script, f"{at}/{state.name}")
        assert done.stdout == b"", done.stderr
        assert done.stderr.count(b"Read-only file system") == 2, done.stderr
        assert state.stat().st_mode & 0o7777 == 0o700
        (state.parent / "other").rmdir()
        (state / "record").touch()
    assert os.listdir(state) == ["record"]
    words = ("-b", f"{site.top}:/mnt", "app", "--", "true")
    for wrong, status in (("relative", 31), ("/%x", 31), ("$NOT_SET/x", 0), ("/proc/no/x", 0)):
        site.write(text.replace(f"{site.top}/state/of-%u", wrong))
        done = site.start(*words)
        assert done.returncode == status, done.stderr
        assert (b"run.state: expected an absolute path" in done.stderr) == bool(status)


def test_a_mistake_stops_a_start_and_locks_nobody_out(site: Site) -> None:
    site.write("[run]\nbind = ['relative:/x']\n")
    done = site.start("-s", str(site.storage), "app", "--", "true")
    assert done.returncode == 31
    assert b"sundog.toml: run.bind: expected a list of at most 100 SRC[:DST[:ro]]" in done.stderr
    assert done.stderr.count(b"\n") == 2
    done = site.start("-s", str(site.storage), "app", "--", "true", SUNDOG_CONFIG="none")
    assert done.returncode == 0, done.stderr
    site.file.chmod(0o666)
    done = site.start("-s", str(site.storage), "app", "--", "true")
    assert done.returncode == 0
    assert b"warning: " in done.stderr
    assert b"sundog.toml is not believed" in done.stderr


@pytest.mark.slow
def test_the_compiled_start_reads_the_record(compiled: Compiled, tmp_path: Path) -> None:
    """Each key has its effect there; what is stale, damaged or another's is left to Python."""
    top = tmp_path / "site"
    top.mkdir()
    site = Site(top, compiled.command)
    site.write_record(KEYS_OF_STARTS)
    compiled.handed_over()
    words = ("-W", "app", "--", "sh", "-c", SCRIPT)
    assert site.start(*words, SUNDOG_START="compiled").stdout == SHOWN + b"forty\n"
    good = site.record.read_bytes()
    fields = good.split(b"\0")
    damaged = [
        *(good[:size] for size in range(0, len(good), 16)),
        *(b"\0".join([*fields[:n], b"7", *fields[n + 1 :]]) for n in range(len(fields) - 1)),
        good + b"\0",
        good.replace(b"run.bind", b"run.more"),
        b"x" * 70000,
    ]
    for data in damaged:
        site.record.write_bytes(data)
        done = site.start(*words, SUNDOG_START="compiled")
        assert b"declined: " in done.stderr, data
    done = site.start(*words)
    assert done.stdout == SHOWN + b"forty\n"
    assert site.record.read_bytes() == good  # the start in Python has renewed it
    site.record.chmod(0o666)
    assert b"declined: " in site.start(*words, SUNDOG_START="compiled").stderr
    site.record.unlink()
    site.record.symlink_to(top / "other")
    (top / "other").write_bytes(good)
    assert b"declined: " in site.start(*words, SUNDOG_START="compiled").stderr
    # A home in which nobody can write, and a file that has changed.
    site.record.parent.chmod(0o500)
    for size in ("40m", "41m"):
        site.write(KEYS_OF_STARTS.replace("40m", size))
        done = site.start(*words)
        assert done.stderr == b""
        assert done.stdout == SHOWN + b"forty\n" * (size == "40m")
    site.record.parent.chmod(0o700)


# Make this namespace's root another one, which is root's, with an /etc that has $1, and a home
# with the settings $4.
NEW_ROOT = """
mount -t tmpfs -o mode=755 new "$3" && cd "$3"
for path in /*; do
    if [ -L $path ]; then cp -P $path .$path
    elif [ -d $path ]; then mkdir .$path; [ $path = /etc ] || mount --rbind $path .$path; fi
done
mount -t overlay -o "userxattr,lowerdir=/etc,upperdir=$1,workdir=$2" etc etc
mkdir old; /usr/sbin/pivot_root . old; umount -l /old; cd /
mkdir /own; cp -r "$4" /own/config
export XDG_CONFIG_HOME=/own/config XDG_CACHE_HOME=/own/cache
shift 4
"""


@pytest.mark.slow
def test_the_site_and_the_user(compiled: Compiled, tmp_path: Path) -> None:
    """As root of a user namespace: the site's record, and the path calls of a start with both."""
    top = tmp_path / "site"
    top.mkdir()
    site = Site(top, compiled.command)
    (top / "etc" / "sundog" / "sundog.d").mkdir(parents=True)
    (top / "etc" / "sundog" / "sundog.toml").write_text("[run]\nwrite_fake = '40m'\n")
    part = f"[storage]\ndirectory = '{site.storage}'\n[run]\nbind = ['{top}/data:/mnt']\n"
    (top / "etc" / "sundog" / "sundog.d" / "1.toml").write_text(part)
    site.write(f"[run]\nbind = ['{top}/data/{os.geteuid()}:/dev/shm']\n")
    for name in ("work", "root"):
        (top / name).mkdir()
    leave_accounts(site.storage, 0, 0)
    log = top / "log"
    sundog = Path(sys.executable).with_name("sundog")
    trace = f"strace -f -qq -e signal=none -e trace=%file -o {log}"
    script = f"""
        set -e; {NEW_ROOT}
        {sundog} config --write >/dev/null; {sundog} config
        SUNDOG_START=compiled "$@"
        {trace} "$@" >/dev/null
        echo '[storage]' >/etc/sundog/sundog.d/2.toml
        SUNDOG_START=compiled "$@" || echo declined
        SUNDOG_CONFIG=none "$@" || echo none
    """
    start = [str(site.command), "-W", "app", "--", "sh", "-c", "cat /mnt/file /dev/shm/own"]
    etc = [str(top / name) for name in ("etc", "work", "root", "home")]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *etc, *start],
        env=site.variables() | {"USER": "root"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    assert f'storage.directory = ["{site.storage}"]  # /etc/sundog/sundog.d/1.toml' in lines
    assert lines[-4:] == ["data", "own", "declined", "none"], done
    calls = [
        line for line in log.read_text().splitlines() if "/sundog" in line and "st/" not in line
    ]
    assert len([line for line in calls if "/etc/sundog" in line or "sundog.record" in line]) <= 6


@pytest.mark.parametrize("has_file", [False, True])
def test_what_the_configuration_costs(site: Site, *, has_file: bool) -> None:
    """Path calls more than without any: two where no file is, and not more than six."""
    if has_file:
        site.write_record("messages.hint = 'ask hpc'\n")
    log = site.top / "log"
    counts = []
    for variables in ({"SUNDOG_CONFIG": "none"}, {}):
        words = ["-f", "-qq", "-e", "signal=none", "-e", "trace=%file", "-o", str(log)]
        done = subprocess.run(
            ["strace", *words, site.command, "-s", site.storage, "app", "--", "true"],
            env=site.variables() | variables,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = log.read_text().splitlines()
        counts.append(len([line for line in lines if "resumed>" not in line]))
    assert counts[1] - counts[0] <= (6 if has_file or Path("/etc/sundog").exists() else 2)


def test_the_log_of_starts(site: Site) -> None:
    """A line for each start, whatever place it has; a start never fails by it."""
    log = site.top / "log"
    description = {"id": "0123456789ab", "blobs": ["sha256:12", "sha256:34"]}
    place = site.storage / "images" / "docker.io%library%app+latest" / "image.json"
    place.write_text(json.dumps(description))
    text = f"[storage]\ndirectory = '{site.storage}'\n[log]\nplace = '{log}'\n"
    site.write_record(text)
    words = ("app", "--", "sh", "-c", "echo a-secret")
    assert site.start(*words).returncode == 0  # the file is not there
    log.touch()
    site.start("--set-env=X=a-secret", *words)
    site.start("--seccomp", f"./{site.storage.parent.name}/../{USER}/no", "--", "true")  # none
    image = f"{site.storage}/layers/base/tree"
    site.start("--seccomp", "--unsafe", image, "--", "true")
    site.start("--help")
    site.start("--dry-run", *words)
    group = ("--join", "--join-ct=2", "--join-tag", site.top.name + str(os.getpid()))
    with subprocess.Popen(
        [site.command, *group, "app", "--", "sh", "-c", "echo; read -r line"],
        env=site.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"\n"  # the group lasts until the other has joined it
        assert site.start(*group, *words).returncode == 0
        maker.communicate(b"\n", timeout=60)
    assert maker.returncode == 0
    assert "a-secret" not in log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["user"], line["command"], line["status"]) for line in lines} == {
        (USER, "ch-run", "started")
    }
    shown = [tuple(line[name] for name in ("image", "id", "digest", "mode")) for line in lines]
    stored = ("app", "0123456789ab", "sha256:12", "none")
    assert shown[:3] == [stored, (image, None, None, "seccomp"), stored]
    assert shown[3:] == [("app", None, None, "none")]  # it joined the container of the other


def test_a_start_never_fails_by_the_log(site: Site) -> None:
    """What is lost is counted, in a file that no container writes."""
    log, caches = site.top / "log", site.record.parent
    log.write_text("")
    text = f"[storage]\ndirectory = '{site.storage}'\n[log]\nplace = '{log}'\n"
    words = ("app", "--", "sh", "-c", "echo a-secret")
    os.mkfifo(site.top / "fifo")
    (site.top / "link").symlink_to(log)
    for other in ("none", "|/bin/sleep 5", f"{log}/x", "link", "fifo", "/dev/full", "|/none x"):
        path = str(site.top / other) if other in ("link", "fifo") else other
        site.write(text.replace(str(log), path))
        done = site.start(*words)
        assert (done.stdout, done.stderr) == (b"a-secret\n", b""), other
    assert log.read_bytes() == b""
    until(lambda: [path.suffix for path in caches.glob("lost-log-lines.*")] == [".5"])
    site.write(text)
    # The line of a start as root has the user's ID, too, and tells how many were lost.
    script = "rm -f $0/lost*; touch $0/lost-log-lines.1.7"
    site.start("-u0", "-b", f"{caches}:/mnt", "app", "--", "sh", "-c", script, "/mnt")
    site.start(*words)
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["uid"], line["lost"]) for line in found] == [(os.geteuid(), 5), (os.geteuid(), 0)]


def test_a_program_gets_the_lines_of_starts(site: Site) -> None:
    """Outside of the container, and only of a start that has made one."""
    told = site.top / "told"
    program = site.top / "program"
    program.write_text("#!/bin/sh\nread -r line; readlink /proc/self/ns/mnt; id -u; echo $line\n")
    program.chmod(0o755)
    place = f"|/bin/sh -c {program}>>{told}"
    site.write(f"[storage]\ndirectory = '{site.storage}'\n[log]\nplace = '{place}'\n")
    assert site.start("none", "--", "true").returncode
    for options in (("-u0",), ("--join", "--join-ct=1", "--join-tag", f"{os.getpid()}")):
        assert site.start(*options, "app", "--", "true").returncode == 0
    until(lambda: told.exists() and len(told.read_text().splitlines()) == 6)
    namespaces, uids, lines = (told.read_text().splitlines()[at::3] for at in range(3))
    assert {*namespaces} == {os.readlink("/proc/self/ns/mnt")}
    assert {*uids} == {str(os.geteuid())}
    assert [json.loads(line)["image"] for line in lines] == ["app", "app"]


@pytest.mark.slow
def test_the_compiled_start_leaves_a_log_to_python(compiled: Compiled, tmp_path: Path) -> None:
    top = tmp_path / "site"
    top.mkdir()
    site = Site(top, compiled.command)
    text = f"[storage]\ndirectory = '{site.storage}'\n[log]\nplace = 'NAME'\n"
    for name, declines in (("syslog", True), ("none", False)):
        site.record.unlink(missing_ok=True)
        site.write_record(text.replace("NAME", name))
        done = site.start("app", "--", "true", SUNDOG_START="compiled")
        assert (b"declined: a log" in done.stderr) == declines, done.stderr


# Make the journal's socket $1/socket in a mount namespace, and be the journal of a start.
JOURNAL = """
import os, socket, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)
os.makedirs("/run/systemd/journal")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
    journal.bind("/run/systemd/journal/socket")
    journal.settimeout(10)
    done = subprocess.run(sys.argv[1:])
    sys.stdout.buffer.write(journal.recv(8192))
sys.exit(done.returncode)
"""


def test_the_journal_gets_a_start(site: Site) -> None:
    site.write(f"[storage]\ndirectory = '{site.storage}'\n[log]\nplace = 'journal'\n")
    for name in ("etc", "work", "root"):
        (site.top / name).mkdir()
    leave_accounts(site.storage, 0, 0)
    etc = [site.top / name for name in ("etc", "work", "root", "home")]
    start = [sys.executable, "-c", JOURNAL, str(site.command), "app", "--", "true"]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'set -e; {NEW_ROOT} exec "$@"', "sh", *etc, *start],
        env=site.variables() | {"USER": "root"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    head, _, line = done.stdout.partition(b"MESSAGE=")
    assert head == b"PRIORITY=6\nSYSLOG_IDENTIFIER=sundog\n", done
    assert json.loads(line)["image"] == "app"
