"""The rules of the command's environment.

The tables show the results of Charliecloud 0.38 for the same command lines.
"""

from pathlib import Path

import pytest

from sundog.errors import SundogError
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.environment import (
    EnvironmentChange,
    SetVariables,
    UnsetMatching,
    command_environment,
    expanded,
    matches,
    parse_variable,
    read_variables,
)
from sundog.runtime.launcher.messages import Messages
from tests.runtime.launcher.conftest import ENVIRONMENT, ChRun, messages


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=", ""),
        ("A=b", "b"),
        ("A=b=c", "b=c"),
        ("A= b ", " b "),
        ("A='b'", "b"),
        ("A=''", ""),
        ("A=''''", "''"),
        ("A='", "'"),
        ("A='b", "'b"),
        ("A=b'", "b'"),
        ('A="b"', '"b"'),
        ("A=b\\n", "b\\n"),
        ("A=#b", "#b"),
    ],
)
def test_parse_variable(text: str, value: str) -> None:
    assert parse_variable(text.encode(), "here") == (b"A", value.encode())


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("bar", "bar"),
        ("$X", "x"),
        ("$X:b", "x:b"),
        ("a:$X:b", "a:x:b"),
        ("$X:$Y", "x:y y"),
        ("a$X", "a$X"),
        ("$", "$"),
        ("a:$", "a:$"),
        ("$$", ""),
        ("${X}", ""),
        # An unset or empty variable disappears together with one colon.
        ("$UNSET", ""),
        ("$EMPTY", ""),
        ("$UNSET:b", "b"),
        ("a:$UNSET", "a"),
        ("a:$UNSET:b", "a:b"),
        (":$UNSET", ""),
        ("::$UNSET", ":"),
        ("$UNSET:$UNSET", ""),
        # Empty items of the value itself stay.
        ("a::b", "a::b"),
        (":a:", ":a:"),
        # The result is not expanded again.
        ("$DOLLAR", "$X"),
        ("$\xff", "bytes"),
    ],
)
def test_expanded(value: str, result: str) -> None:
    environment = {b"X": b"x", b"Y": b"y y", b"EMPTY": b"", b"DOLLAR": b"$X", b"\xff": b"bytes"}
    found = expanded(value.encode("latin-1"), Environment.of(environment))
    assert found == result.encode("latin-1")


def test_file_of_variables(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"A=1\n\n  X=2 \nB='q'\r\nC='q'\nD=\xff")
    assert read_variables(bytes(file), b"\n") == [
        (b"A", b"1"),
        (b"  X", b"2 "),
        (b"B", b"'q'\r"),
        (b"C", b"q"),
        (b"D", b"\xff"),
    ]
    file.write_bytes(b"A=1\0B=2\n\0\0C=3\n4\0")
    assert read_variables(bytes(file), b"\0") == [(b"A", b"1"), (b"B", b"2"), (b"C", b"3\n4")]


def test_file_of_variables_with_a_fault_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"A=1\n\nnope\n")
    with pytest.raises(SundogError, match=rf"no delimiter: {file}:3$"):
        read_variables(bytes(file), b"\n")
    file.write_bytes(b"A=1\nB=\0\n")
    with pytest.raises(SundogError, match=rf"NUL byte: {file}:2$"):
        read_variables(bytes(file), b"\n")
    file.write_bytes(b"=1\n")
    with pytest.raises(SundogError, match=rf"empty name: {file}:1$"):
        read_variables(bytes(file), b"\n")


@pytest.mark.parametrize(
    ("pattern", "name", "matching"),
    [
        ("*", "ANY", True),
        ("FOO", "FOO", True),
        ("FOO", "FOOD", False),
        ("FO?", "FOO", True),
        ("[A-F]*", "FOO", True),
        ("[!F]*", "FOO", False),
        ("*", "A/B", True),
        ("*", ".A", True),
        ("\\*", "*", True),
        ("\\*", "A", False),
        ("@(A|B)", "B", True),
        ("!(A|B)", "C", True),
        ("!(A|B)", "A", False),
    ],
)
def test_matches(pattern: str, name: str, matching: bool) -> None:
    assert matches(pattern.encode(), name.encode()) is matching


SBIN = b":/usr/local/sbin:/usr/sbin:/sbin"


@pytest.mark.parametrize(
    ("path", "result"),
    [
        (b"/usr/bin", b"/usr/bin:/bin" + SBIN),
        (b"", b":/bin" + SBIN),
        (b"/bin", b"/bin" + SBIN),
        (b"/binx", b"/binx" + SBIN),
        (b"/usr/bin:/bin", b"/usr/bin:/bin" + SBIN),
        (b"/usr/bin:/bin2", b"/usr/bin:/bin2" + SBIN),
        (b"/x/bin", b"/x/bin:/bin" + SBIN),
        (b"/sbin:/bin", b"/sbin:/bin:/usr/local/sbin:/usr/sbin"),
        (b"/usr/sbin:/usr/local/sbin:/bin", b"/usr/sbin:/usr/local/sbin:/bin:/sbin"),
        (b"/bin" + SBIN, b"/bin" + SBIN),
    ],
)
def test_path(path: bytes, result: bytes) -> None:
    environment = Environment.of({b"PATH": path})
    command_environment(environment, [], Messages())
    assert environment.get(b"PATH") == result


@pytest.mark.parametrize("path", ["/usr/bin", "", "/bin", "/binx:/x/sbin", "/sbin:/usr/sbin:/bin"])
def test_path_of_a_command(ch_run: ChRun, image: Path, path: str) -> None:
    """Both starts append the same."""
    expected = Environment.of({b"PATH": path.encode()})
    command_environment(expected, [], Messages())
    done = ch_run(image, "--", "/bin/env", env={"PATH": path})
    assert b"PATH=" + (expected.get(b"PATH") or b"") in done.stdout.splitlines()


def test_changes_see_what_earlier_ones_did() -> None:
    changes: list[EnvironmentChange] = [
        SetVariables([(b"PATH", b"/image/bin")]),
        SetVariables([(b"PATH", b"/opt/bin:$PATH")]),
        UnsetMatching(b"A*"),
        SetVariables([(b"B", b"$AB:$PATH"), (b"C", b"$B")]),
    ]
    host = {b"AB": b"1", b"Z": b"z", b"PATH": b"/bin", b"": b"nameless"}
    environment = Environment.of(host)
    command_environment(environment, changes, Messages())
    assert environment.get(b"PATH") == b"/opt/bin:/image/bin"
    assert environment.get(b"B") == environment.get(b"C") == b"/opt/bin:/image/bin"
    assert b"AB" not in environment
    assert environment.get(b"") == b"nameless"
    environment = Environment.of(host)
    command_environment(environment, changes, Messages(), expand=False)
    assert environment.get(b"B") == b"$AB:$PATH"


STRINGS = [b"A=1", b"B=2", b"A=3", b"A", b"=n", b"", b"C%%=() { x\n}", b"B=2", b"=", b"A=1"]


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ([], STRINGS),
        ([(b"A", b"1")], [b"A=1", b"B=2", b"=n", b"", b"C%%=() { x\n}", b"B=2", b"="]),
        ([(b"", b"x"), (b"D", b"")], [*STRINGS[:4], b"=x", *STRINGS[6:8], b"A=1", b"D="]),
        ([(b"A", None), (b"", None), (b"E", None)], [b"B=2", b"C%%=() { x\n}", b"B=2"]),
        ([(b"B", None), (b"B", b"4")], [b"A=1", b"B=4", *STRINGS[2:7], b"=", b"A=1"]),
    ],
)
def test_strings(changes: list[tuple[bytes, bytes | None]], result: list[bytes]) -> None:
    environment = Environment(STRINGS)
    assert environment.get(b"A") == b"1"
    for name, value in changes:
        if value is None:
            environment.unset(name)
        else:
            environment.set(name, value)
        assert environment.get(name) == value
        assert (name in environment) == (value is not None)
    assert environment.strings() == result


def environment_of(ch_run: ChRun, *arguments: str | Path, **env: str) -> dict[str, str]:
    done = ch_run(*arguments, "--", "/bin/env", env=env)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.decode().splitlines())


def test_what_ch_run_sets_by_itself(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    environment = environment_of(ch_run, image, TMPDIR=str(tmp_path), PATH="/usr/bin", A="1")
    assert environment == {
        "USER": ENVIRONMENT["USER"],
        "HOME": "/",
        "PATH": "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "PWD": "/",
        "A": "1",
        "CH_IMAGE_STORAGE": str(tmp_path / "storage"),
        "CH_RUNNING": "Weird Al Yankovic",
    } | {"PWD": environment["PWD"]}
    (image / "root").mkdir()
    assert environment_of(ch_run, image)["HOME"] == "/root"


def test_home_may_be_a_link(ch_run: ChRun, image: Path) -> None:
    (image / "root").symlink_to("/nowhere")
    assert environment_of(ch_run, image)["HOME"] == "/"
    (image / "nowhere").mkdir()
    assert environment_of(ch_run, image)["HOME"] == "/root"


def test_unset_all_leaves_one(ch_run: ChRun, image: Path) -> None:
    assert environment_of(ch_run, "--unset-env=*", image) == {"CH_RUNNING": "Weird Al Yankovic"}


def test_image_environment(ch_run: ChRun, image: Path) -> None:
    done = ch_run("--set-env", image, "--", "/bin/env")
    assert done.returncode == 31
    assert messages(done)[0] == "error: can't open: /ch/environment: No such file or directory"
    (image / "ch").mkdir()
    (image / "ch" / "environment").write_text("PATH=/image\nB=$PATH:x\n")
    environment = environment_of(ch_run, "--set-env", "--set-env=PATH=/o:$PATH", image)
    assert environment["PATH"] == "/o:/image"
    assert environment["B"] == "/image:x"
    assert environment_of(ch_run, "--env-no-expand", image, "--set-env")["B"] == "$PATH:x"


def test_the_images_file_is_no_link_to_an_open_file(ch_run: ChRun, image: Path) -> None:
    """While ``ch-run`` reads the image's file, it has files of the host open."""
    (image / "ch").mkdir()
    (image / "ch" / "environment").symlink_to("/proc/self/fd/0")
    done = ch_run("--set-env", image, "--", "env", stdin=b"STOLEN=1\n")
    assert done.returncode == 31
    assert messages(done)[0] == (
        "error: can't open: /ch/environment: Too many levels of symbolic links"
    )


def test_a_file_is_the_hosts(ch_run: ChRun, image: Path, tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("A='b'\n")
    assert environment_of(ch_run, "--set-env=vars", image)["A"] == "b"


def test_no_path(ch_run: ChRun, image: Path, installed: Path) -> None:
    done = ch_run("--unset-env=PATH", image, "--", "true")
    assert done.returncode == 0  # exec(3) has a default path
    assert messages(done) == []


def test_verbose(ch_run: ChRun, image: Path) -> None:
    done = ch_run("-v", "--set-env=A=1", "--unset-env=A", image, "--", "/bin/true")
    told = messages(done)
    assert "environment: A=1" in told
    assert told.index("environment: A=1") < told.index("environment: unset A")
