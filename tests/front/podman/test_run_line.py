"""Lines of ``sundog run`` and ``exec``, and the lines of ``ch-run`` that they stand for."""

from __future__ import annotations

import string
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import UsageError
from sundog.front.ch_run_line import MPI_STARTS, ChRunLine, steers
from sundog.front.options import scan
from sundog.front.podman.run_line import (
    Caller,
    NamedGroup,
    command_user,
    exec_line,
    image_operand,
    run_line,
)
from sundog.front.podman.run_options import EXEC, RUN
from sundog.front.podman.statuses import JOIN_RUNNING, PODMAN_STATUSES
from sundog.front.podman.users import NONE, NOTIFY, Who, who
from sundog.front.podman.variables import passed_environment
from sundog.front.podman.volumes import Volume, mount_value, volume
from sundog.front.stored import ImageDefaults
from sundog.runtime.launcher import join
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.mpi import LAUNCHER_PREFIXES
from sundog.runtime.launcher.options import CommandLine
from sundog.runtime.launcher.statuses import PODMAN_WORD, STATUSES_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

HOST = {"HOME": "/home/ada", "TERM": "vt100", "A": "a's", "AB": "2", "PATH": "/opt/bin"}
FACTS = ImageDefaults(["/entry"], ["cmd", "arg"], "/work", "app")
UNSET = "PATH TERM TMPDIR USER LANG POSIXLY_CORRECT IFS ENV PS4"
UNSET += " XDG_CACHE_HOME XDG_CONFIG_HOME XDG_RUNTIME_DIR"
UNSET += " SHELLOPTS BASHOPTS BASH_ENV GLIBC_TUNABLES GCONV_PATH"
UNSET += " LD_* LC_* PYTHON* SUNDOG_* CH_* MALLOC_*"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def started(*words: str, facts: ImageDefaults = FACTS, uid: int = 1000) -> ChRunLine:
    line = scan(words, RUN, command="run", permute=False)
    caller = Caller(HOST, uid, 100)
    user = command_user(line, facts, caller)
    return run_line(line, facts, caller, user=user, read_file=lambda path: FILES[path])


def translated(*words: str, facts: ImageDefaults = FACTS) -> list[str]:
    return started(*words, facts=facts).arguments


FILES = {
    "vars": "# no\n\nX=1\n  Y='2'\nA\nNOTHERE\n",
    "lines": "X=1\f2\r\nY=3\rZ=4\v\x1c\x85\u2028\u20295\n\t# no\n \t\r\nW= \t\nV=6\r\r",
    "no name": "X=1\r\n=2",
}


def command(arguments: list[str]) -> list[str]:
    return arguments[arguments.index("--") + 1 :]


def test_whole_line() -> None:
    assert translated("--rm", "-it", "docker://img", "x", facts=ImageDefaults()) == [
        "--notify",
        "--private-tmp",
        "--write-fake",
        "--env-no-expand",
        *map("--unset-env={}".format, UNSET.split()),
        f"--set-env=PATH='{DEFAULT_PATH}'",
        "--set-env=TERM='vt100'",
        "--set-env",
        "img",
        "--",
        "x",
    ]


def test_whole_line_of_the_caller(tmp_path: Path) -> None:
    """A command that runs as the caller needs nothing that the compiled ch-run does not serve."""
    words = ["--userns", "keep-id", "-v", f"{tmp_path}:{tmp_path}:ro", "-w", str(tmp_path)]
    assert translated(*words, "img", facts=ImageDefaults((), ["c"])) == [
        "--uid=1000",
        "--gid=100",
        "--private-tmp",
        "--write-fake",
        f"--bind={tmp_path}:{tmp_path}:ro",
        f"--cd={tmp_path}",
        "--env-no-expand",
        "--unset-env=*",
        "--set-env=HOME='/'",
        f"--set-env=PATH='{DEFAULT_PATH}'",
        "--set-env",
        "img",
        "--",
        "c",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["img"], ["/entry", "cmd", "arg"]),
        (["img", "x"], ["/entry", "x"]),
        (["img", "-x", "--rm"], ["/entry", "-x", "--rm"]),
        (["--entrypoint", "sh", "img"], ["sh"]),
        (["--entrypoint", "sh", "img", "-c", "y"], ["sh", "-c", "y"]),
        (["--entrypoint", '["sh", "-c"]', "img", "y"], ["sh", "-c", "y"]),
        (["--entrypoint", "[sh", "img"], ["[sh"]),
        (["--entrypoint=", "img", "y"], ["y"]),
    ],
)
def test_command(words: list[str], expected: list[str]) -> None:
    assert command(translated(*words)) == expected


def test_path_as_image() -> None:
    """Of a directory, nothing is known: ch-run itself finds its command."""
    arguments = translated("./tree", facts=ImageDefaults())
    assert arguments[-1] == "./tree"
    assert "--set-env" not in arguments


@pytest.mark.parametrize(
    ("words", "options", "emulated"),
    [
        ([], ["--notify"], True),
        (["-u", "daemon"], ["--user=daemon"], True),
        (["-u", "5:staff"], ["--user=5:staff"], True),
        (["-u", "5"], ["--notify", "--uid=5"], True),
        (["-u", "5:6"], ["--notify", "--uid=5", "--gid=6"], True),
        (["-u", "0"], ["--notify", "--uid=0"], True),
        (["-u", "1000:100"], ["--uid=1000", "--gid=100"], False),
        (["-u", "1000"], ["--uid=1000", "--gid=100"], False),
        (["-u", "1000:5"], ["--notify", "--uid=1000", "--gid=5"], True),
        (["--userns", "keep-id"], ["--uid=1000", "--gid=100"], False),
        (["--userns", "keep-id", "-u", "1000:100"], ["--uid=1000", "--gid=100"], False),
        (["--userns", "keep-id", "-u", "root"], ["--user=root"], True),
        (["--userns=keep-id:uid=7,gid=8"], ["--uid=7", "--gid=8"], False),
        (["--userns", "host"], ["--notify"], True),
        (["--force=seccomp", "-u", "root"], ["--seccomp", "--uid=0", "--gid=0"], False),
        (["--force=none", "-u", "5:6"], ["--uid=5", "--gid=6"], False),
    ],
)
def test_users(words: list[str], options: list[str], emulated: bool) -> None:
    found = who(scan([*words, "i"], RUN, command="run", permute=False), "app", 1000, 100)
    assert (found.options, found.emulated) == (options, emulated)


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("{0}:/x", "--bind={0}:/x"),
        ("{0}:/x:ro", "--bind={0}:/x:ro"),
        ("{0}:/x/:Z,ro", "--bind={0}:/x:ro"),
        ("{0}/./:/x:rw,z", "--bind={0}:/x:rw"),
        ("{0}:/x:U", "--bind={0}:/x:U"),
        ("{0}:/x:U,ro,Z", "--bind={0}:/x:ro,U"),
        ("/x", None),
    ],
)
def test_volumes(text: str, bind: str | None, tmp_path: Path) -> None:
    found = volume(text.format(tmp_path))
    assert (found and found.word()) == (bind and bind.format(tmp_path))


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("type=bind,src={0},dst=/x", "--bind={0}:/x"),
        ("type=bind,source={0},target=/x,readonly", "--bind={0}:/x:ro"),
        ("type=bind,src={0},destination=/x,ro=true,bind-propagation=rslave", "--bind={0}:/x:ro"),
        ("type=bind,src={0},dst=/x,ro=false", "--bind={0}:/x:rw"),
        ("type=bind,src={0},dst=/x,U", "--bind={0}:/x:U"),
        ("type=bind,src={0},dst=/x,chown=0", "--bind={0}:/x"),
        (
            '"type=bind","src={0}","dst=/a,b",bind-nonrecursive=0,consistency=cached',
            "--bind={0}:/a,b",
        ),
        ("type=tmpfs,dst=/x", "--tmpfs=/x"),
        ("type=tmpfs,dst=/x,tmpfs-size=64m,tmpfs-mode=0700,rw", "--tmpfs=/x:size=64m,mode=0700"),
        ("type=volume,dst=/x", None),
        ("dst=/x", None),
    ],
)
def test_mounts(text: str, bind: str | None, tmp_path: Path) -> None:
    found = mount_value(text.format(tmp_path))
    assert (found and found.word()) == (bind and bind.format(tmp_path))


# Go's strconv.ParseBool, and what is neither.
TRUE_WORDS = ("1", "t", "T", "TRUE", "true", "True")
FALSE_WORDS = ("0", "f", "F", "FALSE", "false", "False")


@pytest.mark.parametrize("name", ["ro", "readonly", "rw"])
def test_booleans_of_mounts(name: str, tmp_path: Path) -> None:
    """Each spelling of a Boolean counts, and no other word does."""
    start = f"type=bind,src={tmp_path},dst=/x"
    for word in (None, *TRUE_WORDS, *FALSE_WORDS):
        found = mount_value(f"{start},{name}" if word is None else f"{start},{name}={word}")
        assert isinstance(found, Volume)
        assert found.writable == ((name == "rw") != (word in FALSE_WORDS)), word
    for word in ("", "tRUE", "yes", "on", "2", " true"):
        with pytest.raises(UsageError, match="neither true nor false"):
            mount_value(f"{start},{name}={word}")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["-v", "data:/x", "i"], "-v data:/x: there are no named volumes", "-v ./data:/x"),
        (["-v", "/no/such:/x", "i"], "no such file or directory: /no/such", "make it first"),
        (["-v", "/tmp:x", "i"], "not an absolute path in the container: x", "SRC:DST"),
        (["-v", "/tmp:/", "i"], "nothing can be mounted over the container's /", "SRC:DST"),
        (["-v", "/tmp:/x:O", "i"], "no such mode here: O", "ro and rw"),
        (["-v", "a:b:c:d", "i"], "not SRC:DST[:MODE]", "SRC:DST"),
        (["--mount", "type=bind,dst=/x", "i"], "it needs one src", "type=bind"),
        (["--mount", "type=volume,src=a,dst=/x", "i"], "no mount of type volume", "type=bind"),
        (["--mount", "type=bind,src=/tmp", "i"], "it needs one dst", "type=bind"),
        (["--mount", "type=bind,src=/,dst=/x,size=1", "i"], "no such field here: size", "type="),
        (["--mount", "type=bind,src=/,dst=/x,RO", "i"], "no such field here: RO", "type="),
        (["--mount", "type=bind,src=/,dst=/x,dst=/y", "i"], "target is given twice", "type="),
        (["--mount", "type=bind,src=/,dst=/x,ro,rw", "i"], "ro or rw is given twice", "one of"),
        (
            ["--mount", "type=bind,src=/,dst=/x,bind-nonrecursive", "i"],
            "not possible here: bind-nonrecursive",
            "type=bind",
        ),
        (["--mount", "type=volume,dst=/x,ro", "i"], "an empty directory, and read-only", "ro"),
        (["--mount", "type=tmpfs,dst=/x,U", "i"], "only type=bind has U", "type=bind"),
        (["-v", "/tmp:/x:ro,rw", "i"], "ro or rw is given twice", "one of"),
        (["-w", "x", "i"], "--workdir x: not an absolute path", "one of the container"),
        (["--read-only", "-v", "/data", "i"], "not possible with --read-only", "--tmpfs DIR"),
        (["--tmpfs", "run", "i"], "--tmpfs run: DIR must be absolute", "--tmpfs=/DIR"),
        (["--tmpfs", "/run:ro", "i"], "--tmpfs /run:ro: not possible: ro", "--tmpfs=/DIR"),
        (["--tmpfs", "/run:size=x", "i"], "not possible: size=x", "--tmpfs=/DIR"),
        (["--tmpfs", "/run:mode=9", "i"], "not possible: mode=9", "--tmpfs=/DIR"),
        (["--mount", "type=tmpfs,dst=/x,tmpfs-size=", "i"], "not possible: size=", "--tmpfs"),
        (["--mount", "type=bind,src=/,dst=/x,tmpfs-size=1", "i"], "only type=tmpfs", "type="),
        (["--userns", "auto:size=1", "i"], "--userns auto:size=1: no such mode", "keep-id"),
        (["--userns", "keep-id:uid=x", "i"], "not uid=NUMBER or gid=NUMBER", "keep-id"),
        (["--force", "magic", "i"], "--force magic: no such mode", "notify, seccomp, none"),
        (["--force", "none", "i"], "it knows no names of users: app", "numbers"),
        (["-p", "8080:80", "i"], "-p 8080:80: the container has the host's network", "listen"),
        (["-p", "80:80:80:80", "i"], "-p 80:80:80:80: the container has the host's", "listen"),
        (["-p", "web:web", "i"], "-p web:web: the container has the host's", "listen"),
        (["-p", "[::1]:80:81", "i"], "-p [::1]:80:81: the container has the host's", "listen"),
        (["--gpus", "some", "i"], "--gpus some: not a number of GPUs", "--gpus all"),
        (["--gpus", "uuid=1", "i"], "--gpus uuid=1: no such key: uuid", "device=0"),
        (["--network", "none", "i"], "--network none: the container has", "--network host"),
        (["--restart", "always", "i"], "no daemon would start", "batch system"),
        (["-e", "=x", "i"], "-e: not a variable: =x", "NAME=VALUE"),
        (["-a", "stdin", "i"], "-a stdin: output is always attached", "-i"),
        (["--security-opt", "seccomp=f", "i"], "no filter", "leave it out"),
    ],
)
def test_mistakes(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        translated(*words)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_tmpfs() -> None:
    words = ["--tmpfs", "/run:rw,noexec,nosuid,size=65536k", "--tmpfs=/a", "--read-only", "img"]
    arguments = translated(*words, facts=ImageDefaults((), ["c"]))
    assert {"--tmpfs=/run:rw,noexec,nosuid,size=65536k", "--tmpfs=/a"} <= set(arguments)


def test_no_command() -> None:
    with pytest.raises(UsageError, match="neither ENTRYPOINT nor CMD"):
        translated("img", facts=ImageDefaults())


@pytest.mark.parametrize(
    "words",
    [
        ["-p", "8080:8080"],
        ["-p", "127.0.0.1:80:80/tcp"],
        ["-p", "[::1]:80:80"],
        ["-p", "80-81:80-81"],
        ["--network=host"],
        ["--restart=no"],
        ["--security-opt", "label=disable", "--init"],
        ["--privileged=false"],
    ],
)
def test_held(words: list[str]) -> None:
    line = scan([*words, "i"], RUN, command="run", permute=False)
    assert (line.found, line.warnings, line.operands) == ([], [], ["i"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--device", "nvidia.com/gpu=0"], ["nvidia.com/gpu=0"]),
        (["--device=/dev/sda:/dev/xvda:r"], ["/dev/sda:/dev/xvda:r"]),
        (["--device", "/dev/null", "--device", "a.b/c=d"], ["a.b/c=d"]),
        (["--device=/dev/zero:/dev/zero:rwm"], []),
        (["--device=/dev/no-such:rw"], ["/dev/no-such:rw"]),
        (["--gpus", "all"], ["nvidia.com/gpu=all"]),
        (["--gpus=-1"], ["nvidia.com/gpu=all"]),
        (["--gpus", "2"], ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        (["--gpus", "count=1"], ["nvidia.com/gpu=0"]),
        (
            ["--gpus", '"device=0,GPU-1b",capabilities=utility'],
            ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1b"],
        ),
        (["--gpus", "device=0:1"], ["nvidia.com/gpu=0:1"]),
        (["-e", "NVIDIA_VISIBLE_DEVICES=all"], ["nvidia.com/gpu=all"]),
        (["-e", "NVIDIA_VISIBLE_DEVICES=1,3"], ["nvidia.com/gpu=1", "nvidia.com/gpu=3"]),
        (["-e", "NVIDIA_VISIBLE_DEVICES=void"], []),
        (["-e", "NVIDIA_VISIBLE_DEVICES=all", "--gpus", "1"], ["nvidia.com/gpu=0"]),
    ],
)
def test_devices(words: list[str], expected: list[str]) -> None:
    arguments = translated(*words, "img")
    found = [word.removeprefix("--device=") for word in arguments if word.startswith("--device=")]
    assert found == expected
    # What a specification sets is not unset, and beats what the user sets, as in podman.
    places = [at for at, word in enumerate(arguments) if word.startswith("--device=")]
    others = [at for at, word in enumerate(arguments) if "env" in word.partition("=")[0]]
    assert not places or min(places) > max(others)


def added(start: ChRunLine) -> dict[str, str]:
    """Return what ch-run gets beside what of the host steers it."""
    return {name: value for name, value in start.environment.items() if not steers(name)}


def test_variables() -> None:
    """-e beats --env-file; a name alone takes the host's value, if there is one."""
    start = started("-e", "X=3", "--env-file", "vars", "-e", "AB", "-e", "ZZ", "img")
    after = start.arguments[start.arguments.index("--set-env") + 1 : start.arguments.index("img")]
    assert after == ["--env=X", "--env=Y", "--env=A", "--env=AB"]
    assert added(start) == {"X": "3", "Y": "'2'", "A": "a's", "AB": "2"}


def test_lines_of_variables() -> None:
    """Only a newline ends a line, as in podman: podman create --env-file, podman inspect."""
    assert added(started("--env-file", "lines", "img")) == {
        "X": "1\f2",
        "Y": "3\rZ=4\v\x1c\x85\u2028\u20295",
        "W": " \t",
        "V": "6\r",
    }
    with pytest.raises(UsageError, match="no name:2: not a variable: =2"):
        started("--env-file", "no name", "img")


def test_variables_of_the_host() -> None:
    assert added(started("-e", "A*", "img")) == {"A": "a's", "AB": "2"}
    start = started("--env-host", "img")
    assert added(start) == {"A": "a's", "AB": "2"}
    assert "--env=TERM" in start.arguments
    assert not any("/home/ada" in word or "/opt/bin" in word for word in start.arguments)


def test_variables_that_steer_ch_run() -> None:
    """What would change ch-run's own start is on the command line, and not in its environment."""
    start = started("-e", "LD_PRELOAD=x.so", "-e", "PATH=/bin", "-e", "PYTHONHOME=/x", "img")
    assert added(start) == {}
    assert {"--set-env=LD_PRELOAD='x.so'", "--set-env=PATH='/bin'"} <= set(start.arguments)


def test_passwords_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ch-run has of the host anyway needs no place on the command line."""
    monkeypatch.setitem(HOST, "CH_IMAGE_PASSWORD", "secret")
    start = started("-e", "CH_IMAGE_PASSWORD", "img")
    assert "--env=CH_IMAGE_PASSWORD" in start.arguments
    assert start.environment["CH_IMAGE_PASSWORD"] == "secret"
    assert not any("secret" in word for word in start.arguments)


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's proxies are passed on; a login in one is no part of the command line."""
    monkeypatch.setitem(HOST, "https_proxy", "http://proxy:3128")
    monkeypatch.setitem(HOST, "HTTP_PROXY", "http://ada:secret@proxy:3128")
    start = started("img")
    assert added(start) == {"HTTP_PROXY": "http://ada:secret@proxy:3128"}
    assert "--env=HTTP_PROXY" in start.arguments
    assert "--set-env=https_proxy='http://proxy:3128'" in start.arguments
    assert not any("secret" in word for word in start.arguments)


@given(st.dictionaries(st.text(string.ascii_uppercase + "_", min_size=1), st.just("1")))
def test_nothing_of_the_host(variables: dict[str, str]) -> None:
    """What ch-run gets of the host, it removes, except HOME and what a rank of MPI needs."""
    variables |= {"LD_PRELOAD": "1", "HOME": "1", "SLURM_JOB_ID": "1", "TMPDIR": "1"}
    line = scan(["img"], RUN, command="run", permute=False)
    passed = passed_environment(line, variables, lambda path: path, home=None)
    patterns = [word.removeprefix("--unset-env=") for word in passed.options]
    for name in passed.environment:
        removed = any(fnmatchcase(name, pattern) for pattern in patterns)
        assert removed != (name == "HOME" or name.startswith(MPI_STARTS)), name
    assert passed.environment == {name: "1" for name in variables if steers(name)}


def test_ch_run_keeps_the_same_variables_for_mpi() -> None:
    assert tuple(start.encode() for start in MPI_STARTS) == LAUNCHER_PREFIXES


RUNS = st.lists(
    st.sampled_from([option.names[0] for option in RUN if not option.argument])
    | st.builds(
        "{}={}".format,
        st.sampled_from([name for option in RUN if option.argument for name in option.names]),
        st.text(max_size=12) | st.sampled_from(["/tmp:/x", "keep-id", "1000:100", "host"]),
    ),
    max_size=5,
)


@given(RUNS, st.lists(st.text(max_size=5), max_size=3), st.booleans())
def test_ch_run_reads_every_translation(
    options: list[str], words: list[str], has_command: bool
) -> None:
    """A line is refused with UsageError, or ch-run reads its translation as it was meant."""
    facts = FACTS if has_command else ImageDefaults()
    try:
        arguments = translated(*options, "img", *words, facts=facts)
    except (UsageError, KeyError):  # KeyError: no such --env-file in this test
        return
    encoded = [word.encode("utf-8", "surrogatepass") for word in arguments]
    line = CommandLine(encoded, Messages())
    assert line.operands[0] == b"img"
    assert line.operands[1:] == [
        word.encode("utf-8", "surrogatepass") for word in command(arguments)
    ]
    assert line.mounts.private_tmp
    assert not line.environment.expand


def executed(*words: str, emulated: bool = True) -> list[str]:
    line = scan(words, EXEC, command="exec", permute=False)
    user = Who(NOTIFY) if emulated else Who(NONE, "1000:100")
    return exec_line(
        line,
        "img",
        "/work",
        group=NamedGroup("tag", user),
        caller=Caller(HOST, 1000, 100),
    ).arguments


def test_exec() -> None:
    arguments = executed("-it", "web", "ls", "-l")
    assert arguments[:3] == ["--notify", "--join-tag=tag", "--cd=/work"]
    assert arguments[-4:] == ["img", "--", "ls", "-l"]
    assert executed("-u", "daemon", "-w", "/", "web", "id")[:3] == [
        "--user=daemon",
        "--join-tag=tag",
        "--cd=/",
    ]
    assert executed("-u", "1000:100", "web", "id")[:3] == ["--notify", "--uid=1000", "--gid=100"]
    assert executed("web", "id", emulated=False)[0] == "--uid=1000"


def test_exec_mistakes() -> None:
    with pytest.raises(UsageError, match="no command"):
        executed("web")
    with pytest.raises(UsageError, match="without emulation of users"):
        executed("-u", "daemon", "web", "id", emulated=False)


def test_scheme() -> None:
    assert image_operand("docker://debian:trixie") == "debian:trixie"


def test_both_sides_know_the_variables() -> None:
    assert {STATUSES_VARIABLE.decode(): PODMAN_WORD.decode()} == PODMAN_STATUSES
    assert {join.JOIN_VARIABLE.decode(): join.JOIN_RUNNING.decode()} == JOIN_RUNNING
