"""exec(3): the search in $PATH, scripts without #!, and the messages when it fails."""

import subprocess
from pathlib import Path

import pytest

from sundog.runtime.container.execute import quoted
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages


def script(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_the_path_is_the_containers(ch_run: ChRun, image: Path) -> None:
    script(image / "opt" / "bin" / "tool", "#!/bin/sh\necho opt")
    script(image / "opt" / "sbin" / "tool", "#!/bin/sh\necho sbin")
    env = {"PATH": "/nope:/opt/sbin:/opt/bin:/bin"}
    assert ch_run(image, "--", "tool", env=env).stdout == b"sbin\n"
    assert ch_run("--set-env=PATH=/opt/bin", image, "--", "tool", env=env).stdout == b"opt\n"
    # ch-run adds "/bin": images of old distributions have programs there (/usr is not merged).
    assert ch_run(image, "--", "true", env={"PATH": "/usr/bin"}).returncode == 0


def test_an_empty_item_is_the_working_directory(ch_run: ChRun, image: Path) -> None:
    script(image / "mnt" / "here", "#!/bin/sh\necho here")
    for path in (":/bin", "/bin:", "/x::/bin"):
        env = {"PATH": path}
        assert ch_run("-c/mnt", image, "--", "here", env=env).stdout == b"here\n"


def test_what_cannot_be_run_does_not_end_the_search(ch_run: ChRun, image: Path) -> None:
    script(image / "a" / "tool", "", mode=0o644)
    script(image / "b", "a file, no directory")
    script(image / "c" / "tool", "#!/bin/sh\necho found")
    (image / "d").mkdir()
    (image / "d" / "tool").symlink_to("/nowhere")
    assert ch_run(image, "--", "tool", env={"PATH": "/a:/b:/d:/c"}).stdout == b"found\n"
    done = ch_run(image, "--", "tool", env={"PATH": "/a:/b:/d:/bin"})
    assert done.returncode == 49
    assert messages(done)[0] == "error: can't execve(2): tool: Permission denied"


def test_a_script_without_an_interpreter_is_the_shells(ch_run: ChRun, image: Path) -> None:
    script(image / "bin" / "plain", 'echo "$0" "$@"')
    assert ch_run(image, "--", "plain", "a b", "c").stdout == b"/bin/plain a b c\n"
    assert ch_run(image, "--", "/bin/plain", "x").stdout == b"/bin/plain x\n"


@pytest.mark.parametrize(
    "command", ["nope", "/nope", "/bin/nope", "", "/bin/sh/x", "/etc", "./nope"]
)
def test_nothing_to_run(ch_run: ChRun, image: Path, command: str) -> None:
    done = ch_run(image, "--", command)
    assert done.returncode == 49
    assert messages(done)[0].startswith(f"error: can't execve(2): {command}: ")


def test_what_to_do_about_it(ch_run: ChRun, image: Path) -> None:
    script(image / "etc" / "script", "#!/bin/sh\n", mode=0o644)
    path = "/a:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    assert messages(ch_run(image, "--", "nope", env={"PATH": "/a:/bin"})) == [
        "error: can't execve(2): nope: No such file or directory",
        f"hint: no directory of the container's $PATH has it: {path}",
    ]
    assert messages(ch_run(image, "--", "/etc/script")) == [
        "error: can't execve(2): /etc/script: Permission denied",
        "hint: it is not executable; you can run a script with its interpreter: sh SCRIPT",
    ]


def test_missing_interpreter(ch_run: ChRun, image: Path) -> None:
    script(image / "bin" / "tool", "#!/usr/bin/python9\n")
    done = ch_run(image, "--", "/bin/tool")
    assert done.returncode == 49
    assert messages(done) == [
        "error: can't execve(2): /bin/tool: No such file or directory",
        "hint: it exists, but its interpreter or its dynamic loader does not",
    ]


def test_a_program_for_another_machine(ch_run: ChRun, image: Path) -> None:
    program = bytearray((image / "bin" / "busybox").read_bytes()[:4096])
    program[18:20] = b"\xff\xfe"  # e_machine
    (image / "bin" / "alien").write_bytes(program)
    (image / "bin" / "alien").chmod(0o755)
    done = ch_run(image, "--", "alien")
    assert done.returncode == 49
    assert messages(done) == [
        "error: can't execve(2): alien: Exec format error",
        "hint: it is a program for another architecture than this machine has",
    ]


def test_too_long(ch_run: ChRun, image: Path) -> None:
    done = ch_run(image, "--", "x" * 300)
    assert done.returncode == 49
    assert messages(done)[0].endswith(": File name too long")


def test_noexec(installed: Path, image: Path) -> None:
    script = (
        "mount -t tmpfs -o noexec x $1/mnt && cp $1/bin/busybox $1/mnt/ && exec $0 $1 /mnt/busybox"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, installed, image],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 49
    error, hint = messages(done)
    assert error == "error: can't execve(2): /mnt/busybox: Permission denied"
    assert "/mnt is mounted noexec" in hint


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["sh", "-c", "x"], "sh -c x"),
        (["a b"], '"a b"'),
        ([""], '""'),
        (['a"b$`\\!'], r'"a\"b\$\`\\\!"'),
        (["+,-./:@_AZaz09"], "+,-./:@_AZaz09"),
        (["#", "~", "*", "%"], '"#" "~" "*" "%"'),
        (["\u00e9"], '"\u00e9"'),
        (["a\nb"], '"a\\nb"'),
    ],
)
def test_quoted(words: list[str], text: str) -> None:
    assert quoted([word.encode() for word in words]) == text


def test_quoted_bytes() -> None:
    assert quoted([b"\xff"]) == r'"\xff"'
