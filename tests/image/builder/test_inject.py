"""``builder.run.inject`` and ``builder.run.shell_commands``: what real shells run afterwards."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import UsageError
from sundog.image.builder.run.inject import DEFAULT_HOOKS, Hook, inject

if TYPE_CHECKING:
    from pathlib import Path

APT = " -o APT::Sandbox::User=root"

# A script; "@" marks the places where the arguments must appear.
SCRIPTS = [
    "apt-get@ update",
    "apt@ update",
    "apt-get@ update && apt-get@ install -y curl",
    "echo x;apt@ a||apt@ b|apt@ c&apt@ d",
    "foo&&apt@ install",
    "  apt@",
    "apt@;",
    "\napt-get@ a\napt-get@ b\n",
    "if apt@ a; then apt-get@ b; elif apt@ c; then apt@ d; else apt@ e; fi",
    "while ! apt-get@ update; do apt@ a; done",
    "until apt@ a; do sleep 0; done",
    "for p in apt apt-get; do apt-get@ install $p; done",
    "for p in apt\ndo apt@ $p\ndone",
    "case $x in apt) apt@ a;; b|apt-get) apt@ b;; (apt) apt@ c; esac; apt@ d",
    "case apt in apt) case a in apt) :;; esac;; apt) apt@ b;; esac",
    "( apt@ a; (apt@ b) ); { apt@ c; }",
    "time apt@ a",
    "! apt@ a",
    "f() { apt-get@ update; }; f",
    "A=1 B='apt x' apt-get@ update",
    "2>/dev/null >apt apt-get@ update >apt 2>&1 </dev/null",
    "apt-get@ <apt",
    '"apt-get"@ update',
    "'apt'@ update",
    "apt\\-get@ update",
    "ap\\\nt@ update",
    "apt-get@ \\\n install apt",
    # In a substitution, in any quotes.
    "x=$(apt-get@ a | apt@ b) y=`apt@ c`",
    'echo "$(apt-get@ a)" "${x:-$(apt@ b)}"',
    "echo $(( 1 + 1 )) $(case a in apt) apt@ a;; esac)",
    # A command in a string.
    "sh -c 'apt-get@ update'",
    'sh -c "apt-get@ install $PKG && apt@ clean"',
    'bash -euxc "apt-get@ update"',
    "bash -o pipefail -c 'apt@ a | apt@ b'",
    "/bin/sh -e -c 'apt@ a' name apt",
    "bash -c \"sh -c 'apt@ x; echo apt y'\"",
    "eval 'apt@ a'; eval \"apt@ $x\"",
    # Programs that run others.
    "env -u A B=1 apt-get@ a; /usr/bin/env apt@ b; env -i -- apt@ c",
    "timeout -k 3 60 apt-get@ a; nice -n 5 apt@ b; exec -a n apt@ c",
    "xargs -n 1 apt-get@ install <apt; sudo -u root A=1 apt@ x",
    "nohup nice time -f %e apt-get@ update",
    # No word is a command here.
    "echo apt install # apt-get update",
    "echo apt;# apt-get update",
    "# apt-get update",
    "echo 'x; apt-get update' \"x && apt install\"",
    "rm -rf /var/lib/apt /var/cache/apt apt ./apt",
    "/usr/bin/apt-get update; ./apt x; x-apt y; apt-cache z; apt.sh; _apt a; apt-get-x",
    "dpkg -l apt apt-get; which apt; command -v apt-get; type apt",
    "cat <<EOF\napt-get x\nEOF\napt-get@ y",
    "cat <<-'E F' <<G; apt@ a\n\tapt x\n\tE F\napt y\nG\napt@ z",
    "cat <<< apt",
    "echo apt=1 -apt $apt ${apt} apt\\ x 'apt 'x",
    "APT=apt; echo $APT",
    "sh apt; sh -x apt; sh -o c apt; sh -- -c apt",
]
# Syntax that POSIX sh does not have.
BASH_SCRIPTS = [
    "[[ -x apt && apt || ( apt ) ]] || apt@ a",
    "diff <(apt@ list) <(echo apt)",
    "a=(apt b); a+=(apt); apt@ c",
    "(( apt = 1 )); for ((apt = 1; apt < 2; apt++)); do apt@ x; done",
    "function apt_get { apt@ x; }; apt_get",
    "echo $'apt\\' x; apt y'; apt@ z",
    "apt@ &>/dev/null |& apt@ b",
    "apt() { apt-get@ x; }",
]
# The scanner reads these, but to run them takes a terminal, root or a program.
NOT_RUN = ("sudo", "exec -a")


def shell_form(script: str, hooks: tuple[Hook, ...] = DEFAULT_HOOKS) -> str:
    argv = inject(["/bin/sh", "-c", script], hooks)
    assert argv[:2] == ("/bin/sh", "-c")
    assert len(argv) == 3
    return argv[2]


@pytest.mark.parametrize("marked", SCRIPTS + BASH_SCRIPTS)
def test_arguments_go_behind_commands_only(marked: str) -> None:
    assert shell_form(marked.replace("@", "")) == marked.replace("@", APT)


@pytest.mark.parametrize("marked", SCRIPTS + BASH_SCRIPTS)
def test_shell_runs_the_same_commands_with_the_arguments(marked: str, tmp_path: Path) -> None:
    if any(word in marked for word in NOT_RUN):
        return
    log = tmp_path / "log"
    for name in ("apt", "apt-get"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n')
        program.chmod(0o755)

    def calls(script: str) -> list[str]:
        (tmp_path / "apt").write_text("x\n")
        log.write_text("")
        shell = "sh" if marked in SCRIPTS and "<<<" not in marked else "bash"
        subprocess.run(
            [shell, "-c", f"{script}\nwait"],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=20,
        )
        return sorted(line.strip() for line in log.read_text().splitlines())

    plain = marked.replace("@", "")
    with_hooks = calls(shell_form(plain))
    assert [call.replace(APT, "", 1).strip() for call in with_hooks] == calls(plain)
    assert all(APT in call for call in with_hooks)


def test_script_of_a_shell_without_a_hook_is_untouched() -> None:
    script = "dnf install apt; sh -c 'apt-get x'"
    assert shell_form(script, (Hook("zypper", ("-x",)),)) == script


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["apt-get", "install", "apt"], ["apt-get", "@", "install", "apt"]),
        (["env", "A=b", "apt", "x"], ["env", "A=b", "apt", "@", "x"]),
        (["echo", "apt"], ["echo", "apt"]),
        (["/usr/bin/apt", "x"], ["/usr/bin/apt", "x"]),
        (["/usr/bin/python3", "-c", "apt; x"], ["/usr/bin/python3", "-c", "apt; x"]),
        (["apt-get -y", "x"], ["apt-get -y", "x"]),
        (["sh", "-c"], ["sh", "-c"]),
        (["command", "-v", "apt"], ["command", "-v", "apt"]),
        ([], []),
    ],
)
def test_exec_form(argv: list[str], expected: list[str]) -> None:
    words: list[str] = []
    for word in expected:
        words += ["-o", "APT::Sandbox::User=root"] if word == "@" else [word]
    assert inject(argv, DEFAULT_HOOKS) == tuple(words)


def test_arguments_survive_every_quoting() -> None:
    hook = Hook("show", ("a b", "it's", '"$HOME"', "\\"))
    for script in (
        "show x",
        "sh -c 'show x'",
        'sh -c "show x"',
        "sh -c show",
        "sh -c 'sh -c \"show x\"'",
        'x=$(show x); echo "$x"',
        'echo "$(show x)"',
    ):
        output = subprocess.run(
            ["sh", "-c", shell_form(script, (hook,))],
            env={"PATH": "/usr/bin:/bin", "HOME": "/h"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "show: not found" in output.stderr, script
        defined = 'show() { for a; do printf "<%s>" "$a"; done; echo; }\n'
        output = subprocess.run(
            ["sh", "-c", f"{defined}{shell_form('show x', (hook,))}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert output.stdout == '<a b><it\'s><"$HOME"><\\><x>\n'


def test_hooks_of_one_command_add_up() -> None:
    hooks = (Hook("dnf", ("-a",)), Hook("dnf", ("-b", "c")))
    assert shell_form("dnf x", hooks) == "dnf -a -b c x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dnf,-y", Hook("dnf", ("-y",))),
        (r"a\,b,c\\,d,", Hook("a,b", ("c\\", "d", ""))),
        ("apt,-o,A=b c", Hook("apt", ("-o", "A=b c"))),
        (r"\x,y", Hook("x", ("y",))),
    ],
)
def test_force_cmd_is_split_at_commas(text: str, expected: Hook) -> None:
    assert Hook.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dnf", "--force-cmd: at least one ARG is needed"),
        (",x", "--force-cmd: CMD can't be empty"),
        ("", "--force-cmd: CMD can't be empty"),
    ],
)
def test_force_cmd_without_a_part(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Hook.parse(text)
    assert caught.value.message == message
    assert caught.value.hint


@settings(database=None)
@given(st.text("apt-ge \n;&|()<>{}'\"`$\\#=in!cdo[]*", max_size=40))
def test_any_text_is_read_to_its_end(script: str) -> None:
    injected = shell_form(script)
    assert injected.replace(APT, "").replace("' -o APT::Sandbox::User=root'", "") == script
