"""The command line: getopt_long(3), and the argument of each option."""

import os
from pathlib import Path

import pytest

from sundog.errors import SundogError, UsageError
from sundog.runtime.launcher import environment
from sundog.runtime.launcher.environment import SetFromImage, SetVariables, UnsetMatching
from sundog.runtime.launcher.help import ACCEPTED, INSTEAD, OPTIONS, help_text, usage_text
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.option_scan import scan
from sundog.runtime.launcher.options import CommandLine, Finished
from tests.conftest import podman_options


def scanned(text: str, *, permute: bool = True) -> list[tuple[str, bytes | None]]:
    return list(scan([word.encode() for word in text.split(" ")], permute=permute))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Operands and options come in any order, until "--".
        ("img cmd arg", "operand=img operand=cmd operand=arg"),
        ("img -c x cmd", "operand=img cd=x operand=cmd"),
        ("img cmd - -- -c", "operand=img operand=cmd operand=- operand=-c"),
        ("img -- -c x", "operand=img operand=-c operand=x"),
        ("-- img -- x", "operand=img operand=-- operand=x"),
        ("- -t", "operand=- private-tmp"),
        # Short options form clusters; an argument is the rest of the word or the next word.
        ("-tvv", "private-tmp verbose verbose"),
        ("-twc/x", "private-tmp write cd=/x"),
        ("-b a:/b", "bind=a:/b"),
        ("-ba:/b", "bind=a:/b"),
        ("-b=a", "bind==a"),
        ("-b -v", "bind=-v"),
        ("-b --", "bind=--"),
        # An optional argument must be attached.
        ("-W img", "write-fake operand=img"),
        ("-W4m img", "write-fake=4m operand=img"),
        ("-tW4m", "private-tmp write-fake=4m"),
        ("-Wt", "write-fake=t"),
        ("--write-fake 4m", "write-fake operand=4m"),
        ("--write-fake=4m", "write-fake=4m"),
        ("--write-fake=", "write-fake="),
        ("--set-env FOO=1", "set-env operand=FOO=1"),
        ("--set-env=FOO=1=2", "set-env=FOO=1=2"),
        # Long options have abbreviations; an exact name takes precedence over a longer one.
        ("--set-env", "set-env"),
        ("--set-env0=x", "set-env0=x"),
        ("--uns=X*", None),
        ("--unset-e=X*", "unset-env=X*"),
        ("--verb", "verbose"),
        ("--bin a:/b", "bind=a:/b"),
        ("--no-p", "no-passwd"),
        ("--cd --help", "cd=--help"),
        ("-?", "help"),
        ("-V", "version"),
    ],
)
def test_scan(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(UsageError, match="ambiguous"):
            scanned(text)
        return
    options = []
    for word in expected.split(" "):
        name, equals, value = word.partition("=")
        options.append((name, value.encode() if equals else None))
    assert scanned(text) == options


@pytest.mark.parametrize(
    ("word", "own"),
    [
        ("-v", "-v -t hello -W -- grep a root"),
        ("-c", "-c root -t hello -W -- grep a"),
        ("--uid", "--uid root -t hello -W -- grep a"),
        ("--uid=5", '"--uid=5" -t hello -W -- grep a root'),
        ("--nope", ""),
        ("-it", ""),
        ("-%", ""),
    ],
)
def test_options_behind_the_command_need_two_dashes(word: str, own: str) -> None:
    """Both lines that the hint shows are whole, and keep the options before COMMAND."""
    with pytest.raises(UsageError) as caught:
        scanned(f"-t hello -W grep a {word} root")
    assert caught.value.message == f"an option behind the command, without --: {word}"
    shown = word.replace("--uid=5", '"--uid=5"').replace("-%", '"-%"')
    first, _, second = caught.value.hint.partition("; ")
    assert first == f"if it is COMMAND's, type: ch-run -t hello -W -- grep a {shown} root"
    assert second == (own and f"if it is ch-run's: ch-run {own}")
    for line in filter(None, (first, second)):
        scanned(line.partition("ch-run ")[2].replace('"', ""))


def test_two_dashes_end_the_options() -> None:
    assert scanned("hello grep -- -v root")[-2:] == [("operand", b"-v"), ("operand", b"root")]


def test_posix_stops_at_the_first_operand() -> None:
    assert scanned("-t img -t", permute=False) == [
        ("private-tmp", None),
        ("operand", b"img"),
        ("operand", b"-t"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--foo", "unrecognized option '--foo'"),
        ("--foo=bar", "unrecognized option '--foo'"),
        ("--set-e", "option '--set-e' is ambiguous; possibilities: '--set-env' '--set-env0'"),
        ("-x", "invalid option -- 'x'"),
        ("-tx", "invalid option -- 'x'"),
        ("-j-1", "invalid option -- '-'"),
        ("-b", "option requires an argument -- 'b'"),
        ("-tb", "option requires an argument -- 'b'"),
        ("--bind", "option '--bind' requires an argument"),
        ("--bin", "option '--bind' requires an argument"),
        ("--write=3", "option '--write' doesn't allow an argument"),
        ("--help=", "option '--help' doesn't allow an argument"),
    ],
)
def test_wrong_syntax(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        scanned(text)
    assert caught.value.message == message
    assert caught.value.hint.startswith("see: ch-run --help; ")


def test_bytes_that_are_no_text_are_no_option() -> None:
    with pytest.raises(UsageError, match=r"invalid option -- '\\xff'"):
        list(scan([b"-\xff"]))
    assert list(scan([b"\xff", b"-b\xff"])) == [("operand", b"\xff"), ("bind", b"\xff")]


def read(*words: str) -> CommandLine:
    return CommandLine([word.encode() for word in words], Messages())


def test_defaults() -> None:
    line = read("img", "true")
    assert line.operands == [b"img", b"true"]
    assert line.mounts.binds == []
    assert line.environment.changes == []
    assert [
        line.environment.directory,
        line.image.storage,
        line.identity.uid,
        line.identity.gid,
        line.image.overlay_size,
    ] == [None] * 5
    assert [line.environment.expand, line.mounts.passwd] == [True] * 2
    assert [
        line.mounts.private_tmp,
        line.emulation.seccomp,
        line.image.unsafe,
        line.image.write,
    ] == [False] * 4
    assert line.messages.verbosity == 0


def test_values() -> None:
    words = ["-b", "/a", "-b", "b:/c:d", "-c/w", "-g5", "-u", "7", "-s", "st", "-twW"]
    line = read(*words, "--no-passwd", "i", "c")
    assert line.mounts.binds == [(b"/a", b"/a", None), (os.getcwdb() + b"/b", b"/c:d", None)]
    assert (
        line.environment.directory,
        line.identity.gid,
        line.identity.uid,
        line.image.storage,
    ) == (b"/w", 5, 7, b"st")
    assert line.mounts.private_tmp
    assert line.image.write
    assert line.image.overlay_size == b""  # the configuration says it, or the memory
    assert not line.mounts.passwd
    assert read("-W5g").image.overlay_size == b"5g"
    assert read("-W5g", "-W").image.overlay_size == b""
    line = read("--unsafe", "--seccomp", "--env-no-expand", "-vv")
    assert line.image.unsafe
    assert line.emulation.seccomp
    assert not line.environment.expand
    assert line.messages.verbosity == 2


def test_changes_of_the_environment_keep_their_order(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"C=3\nD=4\n")
    line = read("--set-env", "--unset-env=X", "--set-env=A='1'", "--set-env0", f"--set-env={file}")
    told = {SetFromImage: "delimiter", UnsetMatching: "pattern", SetVariables: "variables"}
    changes = [
        (type(change), getattr(change, told[type(change)])) for change in line.environment.changes
    ]
    assert changes == [
        (SetFromImage, b"\n"),
        (UnsetMatching, b"X"),
        (SetVariables, [(b"A", b"1")]),
        (SetFromImage, b"\0"),
        (SetVariables, [(b"C", b"3"), (b"D", b"4")]),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bind="], "--bind: no source provided"),
        (["--bind=:/x"], "--bind: no source provided"),
        (["--bind=/x:"], "--bind: no destination provided"),
        (["--bind=x"], "--bind: destination must be absolute"),
        (["--bind=/x:ro"], "--bind: destination must be absolute"),
        (["--bind=/x::ro"], "--bind: no destination provided"),
        (["--bind=/x:/y:"], "--bind: nothing after the last colon"),
        (["--bind=/x:/:rw"], "--bind: destination can't be /"),
        (["--tmpfs=x"], "--tmpfs: DIR must be absolute"),
        (["--tmpfs=//."], "--tmpfs: DIR can't be /"),
        (["--tmpfs=/x:ro"], "--tmpfs: not possible: ro"),
        (["--tmpfs=/x:size=4096,uid=1"], "--tmpfs: not possible: uid=1"),
        (["--tmpfs=/x:size=1e9"], "--tmpfs: not possible: size=1e9"),
        (["--tmpfs=/x:mode=8"], "--tmpfs: not possible: mode=8"),
        (["-e", "=x"], "--env: empty name: =x"),
        (["--env="], "--env: empty name: "),
        (["--bind=/x:y"], "--bind: destination must be absolute"),
        (["--bind=/"], "--bind: destination can't be /"),
        (["--bind=/x:/"], "--bind: destination can't be /"),
        (["--bind=/x://./.."], "--bind: destination can't be /"),
        (["-u", ""], "--uid: no digits found"),
        (["-u", "x"], "--uid: no digits found"),
        (["-u", "-"], "--uid: no digits found"),
        (["-u", "-1"], "--uid: must be non-negative"),
        (["-g", "5x"], "--gid: extra characters after digits"),
        (["-g", "4294967295"], "--gid: out of range"),
        (["--unset-env="], "--unset-env: GLOB must have non-zero length"),
        (["--set-env=/nonexistent"], "can't open: /nonexistent: No such file or directory"),
        (["--set-env==x"], "can't parse variable: empty name: =x"),
        (["-q", "-v"], "--verbose incompatible with --quiet"),
        (["-v", "-q"], "--quiet incompatible with --verbose"),
        (["-qqqq"], "--quiet can be specified at most thrice"),
        (["-vvvv"], "--verbose can be specified at most thrice"),
        (["--feature=nope"], "unknown feature: nope"),
        (["--test=nope"], "--test: no such test: nope"),
        (["--test=log-fail"], "the program failed as it was asked to (--test=log-fail)"),
    ],
)
def test_values_that_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(SundogError) as caught:
        read(*words)
    assert not isinstance(caught.value, UsageError)
    assert caught.value.message == message


def test_what_takes_a_number_hints_at_it() -> None:
    for words, hint in {
        ("-u", "x"): "--uid takes a whole number",
        ("-g", "5x"): "--gid takes a whole number",
        ("-u", "-1"): "it is a number from 0 to 4294967294",
        ("-g", "4294967295"): "it is a number from 0 to 4294967294",
    }.items():
        with pytest.raises(SundogError) as caught:
            read(*words)
        assert caught.value.hint == hint


@pytest.mark.parametrize("digits", ["0", "7", "+7", " 7", "4294967294"])
def test_ids(digits: str) -> None:
    assert read("-u", digits).identity.uid == int(digits)


@pytest.mark.parametrize("first", ["--version", "--help", "--usage"])
def test_what_comes_first_is_done_first(first: str) -> None:
    with pytest.raises(Finished):
        read(first, "--nonsense")
    with pytest.raises(UsageError):
        read("--nonsense", first)


def test_help_names_every_option() -> None:
    for short, long, _, _ in OPTIONS:
        assert f"--{long}" in help_text()
        assert f"--{long}" in usage_text()
        assert not short or f"-{short}," in help_text()
    assert max(map(len, (help_text() + usage_text()).splitlines())) <= 100
    assert len({long for _, long, _, _ in OPTIONS}) == len(OPTIONS)


def test_a_c_library_without_extended_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As musl's, whose fnmatch(3) takes ``@(a|b)`` literally, and so would keep a secret."""
    assert read("--unset-env=@(A|B)").environment.changes
    monkeypatch.setattr(environment, "matches", lambda _pattern, _name: False)
    for pattern in ("@(A|B)", "x+(y)", "!(HOME)", "?(a)", "*(a)"):
        with pytest.raises(SundogError, match="knows no extended patterns") as caught:
            read(f"--unset-env={pattern}")
        assert "one plain pattern each" in caught.value.hint
    (change,) = read("--unset-env=SLURM_*").environment.changes
    assert isinstance(change, UnsetMatching)


# podman's words


def test_no_option_of_podman_abbreviates_another_one() -> None:
    """An option of ``podman run`` is one of ours by the same name, is accepted, or is refused."""
    ours = [long for _, long, _, _ in OPTIONS]
    for option in podman_options("run"):
        name = option.removeprefix("--")
        found = [long for long in ours if long.startswith(name)]
        assert name in ours or option.encode() in ACCEPTED or not found, (option, found)


def test_the_options_with_a_hint_are_podman_s() -> None:
    theirs = podman_options("run")
    assert {f"--{name}" for name in INSTEAD} <= set(theirs)
    assert {word.decode() for word in ACCEPTED if word.startswith(b"--")} <= set(theirs)
    assert not set(INSTEAD) & {long for _, long, _, _ in OPTIONS}


@pytest.mark.parametrize("word", ACCEPTED)
def test_an_accepted_option_changes_nothing(word: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    line = CommandLine([word, b"img", b"--", b"-it"], Messages())
    assert line.operands == [b"img", b"-it"]
    assert not line.mounts.private_tmp
    assert f": hint: {word.decode()} has no effect: " in capfd.readouterr().err
    CommandLine([b"-q", word, b"img"], Messages())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("word", ["-it", "-i", "--rm", "--tty"])
def test_an_option_after_the_image_is_the_command_s(word: str) -> None:
    with pytest.raises(UsageError):
        scanned(f"img sh {word}")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--volume=/a:/b", "write -b SRC[:DST[:ro]]"),
        ("--privte-tmp", "did you mean --private-tmp? see: ch-run --help"),
        ("--frobnicate", "see: ch-run --help"),
    ],
)
def test_hints_for_unknown_options(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        scanned(f"{word} img")
    assert caught.value.hint.startswith(hint)
