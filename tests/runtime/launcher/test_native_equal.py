"""The compiled ``ch-run`` and the launcher in Python make exactly the same container."""

import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from sundog.base.kernel.process import execve
from tests.conftest import skip_needs_root
from tests.runtime.fuse.conftest import FUSE, make_squashfs
from tests.runtime.launcher.compiled import Compiled, leave_accounts
from tests.runtime.launcher.conftest import ENVIRONMENT, make_image
from tests.runtime.launcher.storages import ENVIRONMENT_TEXT, fill_storage, make_storage

pytestmark = pytest.mark.slow  # other tests show what the launcher in Python makes

# The fields of proc_pid_status(5) that do not change from moment to moment.
STATUS = (
    *("Name", "Umask", "Uid", "Gid", "FDSize", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk"),
    *("SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"),
    *("Seccomp", "Seccomp_filters", "CoreDumping", "THP_enabled", "Cpus_allowed", "Mems_allowed"),
)
FILES = (
    *("cmdline", "comm", "environ", "limits", "oom_score_adj", "cgroup", "uid_map", "gid_map"),
    *("setgroups", "mountinfo", "personality", "timerslack_ns", "sessionid", "coredump_filter"),
)

# A shell runs this script; the shell is the container's command.
PROBE = f"""
while read -r line; do  # by itself: while it forks, it blocks signals
    case $line in {"|".join(f"{name}:*" for name in STATUS)}) echo "$line" ;; esac
done </proc/$$/status
for file in {" ".join(FILES)}; do
    echo "== $file"
    cat /proc/$$/$file 2>&1 | busybox tr '\\0' '\\n'
done
echo == descriptors
for fd in /proc/$$/fd/*; do echo "$fd $(readlink $fd)"; done
echo == more
readlink /proc/$$/cwd /proc/$$/root /proc/$$/exe
umask; ulimit -a; id
busybox head -n 50 /etc/passwd /etc/group
busybox ls -lna / /etc /mnt /ch /new 2>&1
busybox stat -c '%n %a %u %g %h %s' /tmp /dev /new/* 2>&1
busybox touch /written 2>&1 || :
"""

# The options of each case.
SETS: dict[str, list[str]] = {
    "none": [],
    "write-fake": ["-W"],
    "write-fake sized": ["-W10m", "-t"],
    "write-fake long": ["--write-fake=20%", "--private-tmp"],
    "private tmp": ["-t"],
    "root": ["-u0", "-g0"],
    "root that writes": ["-u0", "-g0", "-W", "--seccomp"],
    "root by user": ["-u", "0"],
    "root by group": ["--gid=0"],
    "nobody": ["-u65534", "-g65534"],
    "seccomp": ["--seccomp"],
    "no accounts": ["--no-passwd"],
    "no accounts of root": ["--no-passwd", "-u0", "-W"],
    "cd": ["-c", "/mnt"],
    "cd relative": ["--cd=usr/../mnt/."],
    "bind": ["-b", "data:/mnt"],
    "binds": ["-b", "data/file:/etc/hosts", "--bind=/usr", "-b", "data:/mnt/../mnt", "-W"],
    "a bind to make": ["-W", "-b", "data:/new/a//b", "-b", "data/file:/new/file", "-b", "/usr:/n"],
    "binds to make": [
        "-b",
        "data:/new/a",
        "-b",
        "data/file:/new/file",
        "-b",
        "data:/new",
        "-b/usr:/n",
    ],
    "variables": ["--set-env=X='y z'", "--set-env=P=$X:$NOT:b", "--unset-env=L*", "--set-env=L=1"],
    "variables of the image": ["--set-env", "--env-no-expand"],
    "variables of files": ["--set-env=variables", "--set-env0=variables0", "--unset-env=HOME"],
    "no variables": ["--unset-env=*"],
    "all": ["-W", "-t", "-c/mnt", "-bdata:/new", "-u0", "-g0", "--seccomp", "--set-env", "-s./s/"],
}
# Only Python makes mount points in a directory, and in a file that nothing can be written to.
_ALL_MADE = {"a bind to make", "binds to make", "binds", "all"}
MADE = {"tree": _ALL_MADE, "./directory": _ALL_MADE, "file": {"binds to make"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with images and accounts, other images, and files for the options."""
    place = tmp_path_factory.mktemp("t")
    storage = fill_storage(make_storage(place / "s"))
    for name in ("layers/top/tree", "trees/flat"):
        (storage / name / "usr").mkdir()
    directory = make_image(place / "directory")
    for name in ("ch", "usr", "root"):
        (directory / name).mkdir()
    (directory / "ch" / "environment").write_text(ENVIRONMENT_TEXT)
    make_squashfs(directory, place / "file")
    for uid in (os.geteuid(), 0, 65534):
        for gid in (os.getegid(), 0, 65534):
            leave_accounts(storage, uid, gid)
    (place / "data").mkdir()
    (place / "data" / "file").write_text("text\n")
    (place / "variables").write_text("\nFROM='file'\nPATH=$PATH:/x\n\n")
    (place / "variables0").write_bytes(b"TWO=a\nb\n\0\0THREE=$TWO")
    return place


def inherit() -> None:
    """Set an unusual umask, signals and limits, which the command must inherit."""
    os.umask(0o027)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))


def shown(command: Path, start: str, place: Path, words: list[str]) -> str:
    """Return the output of the probe without the parts that differ from start to start."""
    environment = ENVIRONMENT | {
        "CH_IMAGE_STORAGE": str(place / "s"),
        "TMPDIR": str(place / "data"),
        "LC_ALL": "C",
        "SUNDOG_START": start,
    }
    done = subprocess.run(
        [command, *words, "--", "/bin/sh", "-c", PROBE],
        env=environment,
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        restore_signals=False,
        preexec_fn=inherit,
        timeout=60,
        check=True,
    )
    text = done.stdout.decode()
    text = re.sub(r"^\d+ \d+ \d+:\d+ (?=/)", "", text, flags=re.M)  # mountinfo
    text = re.sub(r"(?<=/proc/self/fd/)\d+", "N", text)
    text = re.sub(r"(?<=/proc/)\d+(?=/fd)|(?<=pipe:\[)\d+", "N", text)
    text = re.sub(r"^(?=.* (proc|sys|dev|tmp|mnt|\.\.?)$).*\n", "", text, flags=re.M)  # ls: links
    text = re.sub(r" [A-Z][a-z]{2} [ \d]\d [ \d:]{5} ", " TIME ", text)  # ls: each start's own
    return text.replace(f"SUNDOG_START={start}", "SUNDOG_START=")


@pytest.mark.matrix
@pytest.mark.parametrize("image", ["app", "tree", "./directory", "file"])
@pytest.mark.parametrize("case", SETS)
def test_equal(compiled: Compiled, place: Path, case: str, image: str) -> None:
    words = [*SETS[case], image]
    if image == "file" and not os.access(FUSE, os.R_OK | os.W_OK):
        skip_needs_root()
    is_made = case in MADE.get(image, ())
    python = shown(compiled.command, "python", place, words)
    served = shown(compiled.command, "both" if is_made else "compiled", place, words)
    assert served == python
    assert "== mountinfo\n" in python
    assert compiled.handed_over()


@pytest.mark.parametrize("ids", [[], ["-u0", "-g0"]])
def test_equal_in_a_group(compiled: Compiled, place: Path, ids: list[str]) -> None:
    """A peer that C starts is the same process as one that Python starts."""
    tag = f"--join-tag=equal{len(ids)}"
    first = subprocess.Popen(
        [compiled.stub, tag, *ids, "app", "--", "sh", "-c", "echo; read line"],
        env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "s"), "TMPDIR": str(place / "data")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"\n"
        words = [tag, "-c/mnt", "--seccomp", "--set-env", "--unset-env=L*", "app"]
        python = shown(compiled.command, "python", place, words)
        assert shown(compiled.command, "compiled", place, words) == python
        assert "== mountinfo\n" in python
    finally:
        first.communicate(b"\n")


@pytest.mark.matrix
@pytest.mark.parametrize(
    "strings",
    [
        [b"A=1", b"B=2", b"A=3", b"A=1"],
        [b"no equals sign", b"", b"=", b"=nameless", b"==", b"", b"A"],
        [b"HOME", b"HOME=x", b"TMPDIR=/tmp", b"TMPDIR", b"CH_RUNNING=", b"PATH", b"A=\xff\n=$"],
    ],
)
@pytest.mark.parametrize("option", ["--set-env=A=$A:$B", "--unset-env=A", "--unset-env=*"])
def test_odd_strings(compiled: Compiled, place: Path, strings: list[bytes], option: str) -> None:
    """Neither a shell nor a dictionary can hold these environments."""
    found = []
    for start in (b"python", b"compiled"):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(write_end, 1)
            argv = [bytes(compiled.command), os.fsencode(option), b"-s", bytes(place / "s")]
            argv += [b"app", b"--", b"/bin/cat", b"/proc/self/environ"]
            os._exit(-execve(argv[0], argv, [b"PATH=/bin", *strings, b"SUNDOG_START=" + start]))
        os.close(write_end)
        with open(read_end, "rb") as stream:
            found.append(stream.read().replace(b"SUNDOG_START=" + start, b""))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert found[1] == found[0]
