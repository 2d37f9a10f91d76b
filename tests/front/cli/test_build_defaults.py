"""``cli.build_defaults``: the emulation of root without ``--force``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sundog.errors import UsageError
from sundog.front.cli.build_defaults import default_force

if TYPE_CHECKING:
    from pathlib import Path


def environment(place: Path, text: bytes | None = None, **variables: str) -> dict[str, str]:
    """Return an environment with a file of settings, if there is a ``text``."""
    if text is not None:
        (place / "sundog").mkdir()
        (place / "sundog" / "build.toml").write_bytes(text)
    return {"XDG_CONFIG_HOME": str(place), **variables}


def test_nothing_is_said(tmp_path: Path) -> None:
    assert default_force(environment(tmp_path)).mode == "seccomp"
    assert default_force(environment(tmp_path, b"# nothing\n")).mode == "seccomp"
    assert default_force({"HOME": str(tmp_path)}).mode == "seccomp"
    assert default_force({"HOME": str(tmp_path)}, "none").mode == "none"
    with pytest.raises(UsageError, match=r"^--emulation-default: no such mode: x$"):
        default_force({"HOME": str(tmp_path)}, "x")


def test_only_what_nobody_chose_is_tried_again(tmp_path: Path) -> None:
    given = environment(tmp_path, b"retry = true\n")
    assert default_force(given).retries
    assert default_force(given, "seccomp").retries
    assert not default_force(given | {"CH_IMAGE_FORCE": "seccomp"}).retries
    for text in (b"retry = false\n", b'force = "seccomp"\nretry = true\n'):
        (tmp_path / "sundog" / "build.toml").write_bytes(text)
        assert not default_force(given).retries


def test_a_home_directory_that_cannot_be_searched(tmp_path: Path) -> None:
    """Such as that of another user."""
    given = environment(tmp_path, b'force = "auto"')
    tmp_path.chmod(0)
    try:
        assert default_force(given).mode == "seccomp"
    finally:
        tmp_path.chmod(0o700)


def test_the_variable_goes_before_the_file(tmp_path: Path) -> None:
    given = environment(tmp_path, b'force = "auto"\n')
    assert default_force(given).mode == "auto"
    assert default_force(given | {"CH_IMAGE_FORCE": ""}).mode == "auto"
    assert default_force(given | {"CH_IMAGE_FORCE": "none"}).mode == "none"


def test_the_file_in_the_home_directory(tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    environment(tmp_path / ".config", b'force = "fakeroot"')
    assert default_force({"HOME": str(tmp_path)}).mode == "fakeroot"


def test_a_wrong_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        default_force(environment(tmp_path, CH_IMAGE_FORCE="x\x1b"))
    assert caught.value.message == r"$CH_IMAGE_FORCE: no such mode: x\x1b"
    assert caught.value.hint == (
        "one of: seccomp, notify, fakeroot, none, auto, notify,strict, auto,strict"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'force = "x"', "force: no such mode: x"),
        (b"force = 1", "force: not a string"),
        (b'forse = "auto"', "unknown setting: forse"),
        (b'retry = "no"', "retry: not a Boolean"),
        (b"force = auto", "not TOML: "),
        (b"\xff", "not TOML: "),
        (b"a=" + b"[" * 60_000, "not TOML: "),
        (b"#" * 70_000, "not TOML: larger than 65,536 bytes"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        default_force(environment(tmp_path, text))
    assert caught.value.message.startswith(f"{tmp_path}/sundog/build.toml: {message}")
    assert caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    given = environment(tmp_path, b"")
    (tmp_path / "sundog" / "build.toml").unlink()
    (tmp_path / "sundog" / "build.toml").mkdir()
    with pytest.raises(UsageError, match=r"can.t read .*build\.toml: Is a directory"):
        default_force(given)


def test_the_configuration(tmp_path: Path) -> None:
    """The user's goes before the older file, as that before the site's."""
    given = environment(tmp_path, b'force = "none"\n')
    path = tmp_path / "sundog" / "sundog.toml"
    path.write_text('[build]\nforce = "auto"\n')
    for each in (tmp_path, path.parent, path):
        each.chmod(0o700)
    assert default_force(given).mode == "auto"
    path.write_text("[build]\nretry = false\n")
    assert default_force(given).mode == "none"
    (tmp_path / "sundog" / "build.toml").unlink()
    assert default_force(given).mode == "seccomp"
    assert not default_force(given).retries
    path.write_text('[build]\nforce = "x"\n')
    with pytest.raises(UsageError, match=r"sundog.toml: no such mode: x$"):
        default_force(given)
    assert default_force(given | {"SUNDOG_CONFIG": "none"}).mode == "seccomp"
