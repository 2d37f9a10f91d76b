"""``ch-run`` from outside: its messages, its exit status, and its exec of the command."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sundog import __version__
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, make_image, messages


def test_output_and_status_are_the_commands(ch_run: ChRun, image: Path) -> None:
    done = ch_run(image, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_stdin_is_the_commands(ch_run: ChRun, image: Path) -> None:
    assert ch_run(image, "--", "cat", stdin=b"\0in\xff").stdout == b"\0in\xff"


def test_options_of_the_command_need_the_dashes(ch_run: ChRun, image: Path) -> None:
    assert ch_run(image, "-c", "/bin", "--", "pwd").stdout == b"/bin\n"
    done = ch_run(image, "pwd", "-c", "/bin")
    assert (done.returncode, done.stdout) == (64, b"")
    assert messages(done)[0] == "error: an option behind the command, without --: -c"
    assert ch_run(image, "--", "sh", "-c", "pwd").stdout == b"/\n"
    done = ch_run(image, "sh", "-c", "exit 5", env={"POSIXLY_CORRECT": "1"})
    assert done.returncode == 5


def test_bytes_that_are_no_text(ch_run: ChRun, tmp_path: Path) -> None:
    image = make_image(tmp_path / os.fsdecode(b"im\xffage"))
    word = b"\xff\x01 \xc3"
    done = ch_run(image, "--", "sh", "-c", 'printf %s. "$@"', "sh", word, "", "\u20ac")
    assert done.stdout == word + b".." + "\u20ac.".encode()


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "nonsense", ""])
def test_bytes_in_any_locale(ch_run: ChRun, image: Path, locale: str) -> None:
    words = [b"\xff", "\u20ac".encode(), b"\xe4"]
    done = ch_run(image, "--", "sh", "-c", 'printf %s. "$@"', "sh", *words, env={"LC_ALL": locale})
    assert done.stdout == b"".join(word + b"." for word in words)


def test_it_becomes_the_command(installed: Path, image: Path) -> None:
    command: list[str | Path] = [installed, image, "--", "sh", "-c", "echo $$; cat"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGUSR1)
    assert process.returncode == -signal.SIGUSR1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE, signal.SIGINT])
def test_death_by_a_signal_is_real(ch_run: ChRun, image: Path, number: signal.Signals) -> None:
    assert ch_run(image, "--", "sh", "-c", f"kill -{number} $$").returncode == -number


def test_umask_and_limits_are_inherited(ch_run: ChRun, image: Path) -> None:
    before = os.umask(0o027)
    try:
        done = ch_run(image, "--", "sh", "-c", "umask; ulimit -n")
    finally:
        os.umask(before)
    limit = subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, check=True).stdout
    assert done.stdout == b"0027\n" + limit


def test_no_arguments(ch_run: ChRun) -> None:
    done = ch_run()
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"Usage: ch-run [OPTION...] IMAGE")


@pytest.mark.parametrize("where", ["first", "last"])
def test_command_missing(ch_run: ChRun, image: Path, where: str) -> None:
    done = ch_run("-v") if where == "first" else ch_run(image)
    assert done.returncode == 31
    assert done.stdout.startswith(b"usage: ch-run [OPTION...] IMAGE")
    assert messages(done) == [
        "error: IMAGE and/or COMMAND not specified",
        "hint: ch-run IMAGE -- COMMAND; without COMMAND, IMAGE must have an ENTRYPOINT or a CMD",
    ]


def test_wrong_option(ch_run: ChRun, image: Path) -> None:
    done = ch_run("--nonsense", image, "--", "true")
    assert done.returncode == 64
    assert messages(done) == [
        "error: unrecognized option '--nonsense'",
        "hint: see: ch-run --help; write options for COMMAND after --",
    ]


def test_version_and_help(ch_run: ChRun) -> None:
    done = ch_run("--version", "--nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", f"{__version__}\n".encode())
    done = ch_run("--help")
    assert done.returncode == 0
    assert done.stdout == ch_run("-?").stdout == ch_run().stderr
    usage = ch_run("--usage").stdout
    assert usage.startswith(b"Usage: ch-run [-a|--arch=ARCH] [-b|--bind=SRC[:DST[:ro]]]")


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_help_that_cannot_be_written(installed: Path, redirection: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$1" --help {redirection}', "sh", installed],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 31
    assert messages(done)[0].startswith("error: can't write: ")


def test_warnings_are_said_twice(ch_run: ChRun) -> None:
    done = ch_run("--warnings=2")
    assert done.returncode == 0
    assert messages(done) == [
        "warning: this is warning 1!",
        "warning: this is warning 2!",
        "warning: reprinting first 2 warning(s)",
        "warning: this is warning 1!",
        "warning: this is warning 2!",
    ]
    assert ch_run("-qq", "--warnings=2").stderr == b""
    many = messages(ch_run("--warnings=1000"))
    kept = many[1001:]
    assert many[1000] == f"warning: reprinting first {len(kept)} warning(s)"
    assert kept == many[: len(kept)]
    assert sum(len(text) - len("warning: ") for text in kept) < 4096


def test_warnings_come_again_at_the_end_of_a_failure(ch_run: ChRun, image: Path) -> None:
    done = ch_run("-s", "/nonexistent", image, "--", "/nope")
    assert done.returncode == 49
    warning = "warning: storage directory not found: /nonexistent"
    assert messages(done) == [
        warning,
        "error: can't execve(2): /nope: No such file or directory",
        "warning: reprinting first 1 warning(s)",
        warning,
    ]


def test_quiet(ch_run: ChRun, image: Path) -> None:
    both = ("--", "sh", "-c", "echo out; echo err >&2; exit 3")
    for option, stderr in (("-q", b"err\n"), ("-qq", b"err\n"), ("-qqq", b"")):
        done = ch_run(option, image, *both)
        assert (done.returncode, done.stdout, done.stderr) == (3, b"", stderr)
    done = ch_run("-qqq", "/nonexistent", *both)
    assert messages(done)[0].startswith("error: image not found")


def test_verbose(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    told = messages(ch_run("-v", "-u5", "-g7", image, "--", "/bin/true", "", "a b", "x$"))
    assert told[:9] == [
        "verbosity: 1",
        f"image: {image}",
        f"storage: {tmp_path}/storage",
        "container uid: 5",
        "container gid: 7",
        "join: 0 0 (null) 0",
        "private /tmp: 0",
        "seccomp: 0",
        "unsafe: 0",
    ]
    assert told[-1] == r'executing: /bin/true "" "a b" "x\$"'


def test_cd(ch_run: ChRun, image: Path) -> None:
    assert ch_run("--cd", "/bin", image, "--", "pwd").stdout == b"/bin\n"
    assert ch_run("-c", "mnt", image, "--", "pwd").stdout == b"/mnt\n"
    for directory, reason in (
        ("/nope", "No such file or directory"),
        ("/bin/sh", "Not a directory"),
    ):
        done = ch_run("-c", directory, image, "--", "true")
        assert done.returncode == 31
        assert messages(done)[0] == f"error: can't cd to {directory}: {reason}"
        assert messages(done)[1] == "hint: it must be a directory in the container"


def test_ids(ch_run: ChRun, image: Path) -> None:
    identity = 'echo "$(id -u) $(id -g) $(stat -c "%u %g" /bin)"'
    run = ("--", "sh", "-c", identity)
    uid, gid = os.getuid(), os.getgid()
    assert ch_run(image, *run).stdout == b"%d %d %d %d\n" % (uid, gid, uid, gid)
    assert ch_run("-u0", "-g0", image, *run).stdout == b"0 0 0 0\n"
    assert ch_run("-u", "4294967294", "-g5", image, *run).stdout == b"4294967294 5 4294967294 5\n"


def test_accounts(ch_run: ChRun, image: Path) -> None:
    files = ("--", "cat", "/etc/passwd", "/etc/group")
    done = ch_run("-u", "76543", "-g", "76544", image, *files)
    assert done.stdout.decode().splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "nobody:x:65534:65534:nobody:/:/bin/false",
        "charlie:x:76543:76544:Charlie:/:/bin/sh",
        "root:x:0:",
        "nogroup:x:65534:",
        "charliegroup:x:76544:",
    ]
    lines = ch_run("-u0", "-g0", image, *files).stdout.decode().splitlines()
    assert lines[1:4] == ["root:x:0:0:root:/:/bin/sh", "nogroup:x:65534:", "root:x:0:"]
    lines = ch_run("-u65534", "-g65534", image, *files).stdout.decode().splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("nobody:x:65534:65534:")
    assert ch_run("--no-passwd", image, *files).stdout == b""


def test_accounts_are_nowhere_on_the_host(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = ch_run(image, "--", "ls", "/tmp", env={"TMPDIR": str(tmp_path / "tmp")})
    assert (done.returncode, done.stdout) == (0, b"")
    assert (image / "etc" / "passwd").read_bytes() == b""


def test_missing_accounts(ch_run: ChRun, image: Path) -> None:
    (image / "etc" / "group").unlink()
    done = ch_run(image, "--", "true")
    assert done.returncode == 31
    error, hint = messages(done)
    assert error == "error: can't bind: destination not found: /etc/group"
    assert "--no-passwd" in hint
    assert ch_run("--no-passwd", image, "--", "true").returncode == 0
    assert ch_run("-W", image, "--", "cat", "/etc/group").stdout.startswith(b"root:x:0:\n")
    assert not (image / "etc" / "group").exists()


def test_seccomp(ch_run: ChRun, image: Path) -> None:
    chown = ("--", "sh", "-c", "chown 5:7 /mnt && echo done")
    assert ch_run("-w", image, *chown).returncode == 1
    assert ch_run("-w", "--seccomp", image, *chown).stdout == b"done\n"


def test_seccomp_program_is_shown(ch_run: ChRun, image: Path) -> None:
    told = messages(ch_run("-vv", "--seccomp", image, "--", "/bin/true"))
    program = [line for line in told if line.endswith("}")]
    assert len(program) > 100
    assert any("compare k= chown" in line for line in program)
    assert program[0].startswith("0: { load k= arch ")
    told = messages(ch_run("-vv", image, "--", "/bin/true"))
    assert not any(line.endswith("}") for line in told)


def test_no_new_privileges(ch_run: ChRun, image: Path) -> None:
    assert b"NoNewPrivs:\t1\n" in ch_run(image, "--", "cat", "/proc/self/status").stdout


def test_messages_of_each_level(ch_run: ChRun) -> None:
    done = ch_run("-vv", "--test=log")
    assert done.returncode == 0
    lines = [line.partition(b": ")[2].decode() for line in done.stderr.splitlines()]
    levels = [f"this is a message of level {name}" for name in ("verbose", "debug", "warning")]
    assert lines == [*levels[:2], f"warning: {levels[2]}"]


@pytest.mark.parametrize("feature", ["extglob", "overlayfs", "seccomp", "squash", "tmpfs-xattrs"])
def test_features(ch_run: ChRun, feature: str) -> None:
    done = ch_run("--feature", feature)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def in_user_namespace(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script as root of a user namespace; the arguments are $0, $1 and so on."""
    return subprocess.run(
        ["unshare", "-r", "sh", "-c", script, *arguments],
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
    )


def test_no_more_namespaces(installed: Path, image: Path) -> None:
    none_left = "echo 0 > /proc/sys/user/max_user_namespaces; "
    done = in_user_namespace(none_left + 'exec "$0" "$1" true', installed, image)
    assert done.returncode == 31
    error, hint = messages(done)
    assert error == "error: can't unshare user+mount namespaces: No space left on device"
    assert "user.max_user_namespaces is 0" in hint
    done = in_user_namespace(none_left + 'exec "$0" --feature overlayfs', installed)
    assert (done.returncode, done.stderr) == (1, b"")


def test_as_root_of_a_namespace(installed: Path, image: Path) -> None:
    done = in_user_namespace('exec "$0" "$1" -- sh -c "id -u; id -g"', installed, image)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n0\n", b"")


def test_in_a_container(ch_run: ChRun, image: Path) -> None:
    nested = "unshare -rm sh -c 'mount -t tmpfs x /mnt && echo nested'"
    assert ch_run(image, "--", "sh", "-c", nested).stdout == b"nested\n"


def test_ch_run_in_ch_run(ch_run: ChRun, installed: Path, tmp_path: Path) -> None:
    """The outer image is the host's root, which has the interpreter."""
    image = make_image(tmp_path / "image")
    done = ch_run("/", "--", installed, image, "--", "sh", "-c", "id -u; ls /")
    assert done.stdout.startswith(b"%d\nbin\n" % os.getuid()), done.stderr


def test_without_user(installed: Path, image: Path) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "USER"}
    done = subprocess.run(
        [installed, "-v", image, "--", "/bin/true"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert any(line.startswith("storage: /var/tmp/") for line in messages(done))
