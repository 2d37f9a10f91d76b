"""``sundog config --check`` finds what a command would find, key by key."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from sundog.base.configuration import log
from sundog.base.configuration.holding import read_configuration
from sundog.base.configuration.keys import KEYS
from sundog.front.cli.config_check import problems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sundog.errors import SundogError

    Check = Callable[[str, object], list[str]]

# Nothing is wrong with a value of these that the reader of the files takes.
TYPE_SAYS_ALL = {
    *("run.bind", "run.write_fake", "run.cdi_dirs", "build.retry"),
    *("messages.hint", "gc.keep_days", "gc.max_size", "gc.all"),
}
# By the path of a key: values, and what is said of each.
WRONG: dict[str, list[tuple[object, list[str]]]] = {
    "storage.directory": [
        (["/nonexistent/x/st"], ["no place is there, and none can be made"]),
        ("/usr", ["storage directory /usr"]),
    ],
    "storage.image_stores": [
        (["/nonexistent", "/none"], ["shared store /nonexistent", "shared store /none"])
    ],
    "storage.trusted_owners": [(["no such", "root"], ["no such account: no such"])],
    "run.tmpfs": [
        (["/", "/x:size=-1", "/fine:size=1m"], ["DIR can't be /", "not possible: size=-1"]),
        (["/x:mode=9"], ["not possible: mode=9"]),
    ],
    "run.tmpdir": [("/nonexistent", ["not a directory: /nonexistent"])],
    "run.state": [("/tmp/x", ["every container sees /tmp/x"])],
    "run.host_mpi": [("nosuch", ["no profile of the host's MPI has the name nosuch"])],
    "build.force": [("nosuch", ["no such mode: nosuch"])],
    "registry.authorities": [("/nowhere", ["no certificates in /nowhere"])],
    "registry.mirrors": [(["a.org=m.org:0"], ["m.org:0"])],
    "sundog.run_options": [
        ([option], [message])
        for option, message in (
            ("--nosuch", "unknown option: --nosuch"),
            ("--workdir=x", "--workdir x: not an absolute path"),
            ("--pull=nosuch", "--pull nosuch: no such policy"),
            ("--stop-signal=NOSUCH", "NOSUCH"),
            ("--tmpfs=/x:size=-1", "size=-1"),
            ("--volume=/x:y", "/x:y"),
            ("--mount=type=nosuch", "nosuch"),
            ("--env-file=/nonexistent", "/nonexistent"),
            ("--userns=nosuch", "nosuch"),
            ("--name=x", "--name can't be a default"),
        )
    ],
    "log.place": [
        (place, [f"no line can be written to {place}: {why}"])
        for place, why in (
            ("/nonexistent", "No such file or directory"),
            ("/dev/null", "Invalid argument"),
            ("|/nonexistent x", "No such file or directory"),
            ("|/usr", "Permission denied"),
            ("|/etc/passwd", "Permission denied"),
            ("syslog", "No such file or directory"),
        )
    ],
}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Return a function that checks a file with one key, and returns the messages."""
    file = tmp_path / "sundog" / "sundog.toml"
    file.parent.mkdir()
    for directory in (tmp_path, file.parent):
        directory.chmod(0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for key in KEYS:
        monkeypatch.delenv(key.variable or "UNSET", raising=False)
    monkeypatch.setitem(log._SOCKETS, b"syslog", b"/nonexistent")

    def messages(path: str, value: object) -> list[str]:
        file.write_text(f"{path} = {json.dumps(value)}\n" if path else "")
        file.chmod(0o644)
        mistakes: list[SundogError] = []
        found = [*problems(read_configuration(os.environb, mistakes))]
        assert mistakes == []
        return [error.message.replace(str(file), "FILE") for error in found]

    return messages


def test_each_key_is_looked_at() -> None:
    assert {*WRONG, "storage.verify"} | TYPE_SAYS_ALL == {key.path for key in KEYS}


@pytest.mark.parametrize("path", WRONG)
def test_a_mistake_is_found_with_its_place(check: Check, path: str) -> None:
    for value, expected in WRONG[path]:
        found = check(path, value)
        assert len(found) == len(expected), (value, found)
        for message, part in zip(found, expected, strict=True):
            assert part in message
            if path != "storage.image_stores":  # the store's own path says enough
                assert message.startswith("FILE: "), message


def test_nothing_is_wrong(check: Check, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    for path, value in (
        ("", ""),
        ("storage.directory", [f"{tmp_path}/$UNSET/x", f"{tmp_path}/st"]),
        ("run.tmpdir", "$UNSET/x"),
        ("run.state", f"{tmp_path}/state"),
        ("log.place", f"{tmp_path}/log"),
        ("log.place", "|/bin/sh -c :"),
        ("log.place", "none"),
        ("sundog.run_options", ["--rm", "-v", "/tmp:/data", "-e", "A=1", "--userns=keep-id"]),
    ):
        assert check(path, value) == [], value
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("path", "variable", "value"),
    [
        ("storage.directory", "CH_IMAGE_STORAGE", "/nonexistent/x/st"),
        ("run.tmpdir", "TMPDIR", "/nonexistent"),
    ],
)
def test_a_variable_is_not_blamed_for_a_file(
    check: Check, monkeypatch: pytest.MonkeyPatch, path: str, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, "/var/tmp")
    (found,) = check(path, value)
    assert found.startswith(f"FILE: {path}: ")


def test_a_mistake_hides_no_other(check: Check, tmp_path: Path) -> None:
    """Neither does one of a type, although commands give up at the first."""
    check("", "")
    (tmp_path / "sundog" / "sundog.toml").write_text(
        "[build]\nforce = 'nosuch'\nretry = 'x'\n"
        "[registry]\nauthorities = '/nowhere'\nmirrors = ['a.org=m.org:0']\n"
    )
    mistakes: list[SundogError] = []
    found = [*problems(read_configuration(os.environb, mistakes))]
    assert ["build.retry" in error.message for error in mistakes] == [True]
    assert len(found) == 3
    for error, part in zip(found, ("nosuch", "/nowhere", "m.org:0"), strict=True):
        assert part in error.message


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CH_RUN_VERIFY", "maybe", "$CH_RUN_VERIFY: maybe"),
        ("CH_IMAGE_STORES", "relative", "$CH_IMAGE_STORES: expected a list"),
        ("CH_IMAGE_STORAGE", "relative", "$CH_IMAGE_STORAGE: not absolute path"),
        ("CH_IMAGE_FORCE", "nosuch", "$CH_IMAGE_FORCE: no such mode"),
        ("REQUESTS_CA_BUNDLE", "/nowhere", "$REQUESTS_CA_BUNDLE: no certificates"),
    ],
)
def test_a_mistake_in_a_variable(
    check: Check, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    (found,) = check("", "")
    assert found.startswith(message)
