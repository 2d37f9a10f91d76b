"""The default path of the storage directory."""

import os
import pwd
from pathlib import Path

import pytest

from sundog.base.configuration.storage import default_storage
from sundog.base.record.location import account_name
from sundog.errors import SundogError


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({b"CH_IMAGE_STORAGE": b"/s\xff", b"USER": b"u"}, b"/s\xff"),
        ({b"CH_IMAGE_STORAGE": b"", b"USER": b"u"}, b"here/u.sundog"),
        ({b"USER": b"u"}, b"here/u.sundog"),
        ({b"USER": b"nobodys"}, b"here/account.sundog"),
        ({b"USER": b"gone"}, b"here/account.sundog"),
    ],
)
def test_environment_decides(
    environment: dict[bytes, bytes],
    expected: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """$USER counts if its directory is this user's; otherwise the account does."""
    (tmp_path / "u.sundog").mkdir()
    (tmp_path / "nobodys.sundog").symlink_to("/proc/1")
    here, real = bytes(tmp_path) + b"/", os.lstat

    def lstat(path: bytes) -> os.stat_result:
        return real(b"/proc/1" if path.endswith(b"nobodys.sundog") else path)

    monkeypatch.setattr("sundog.base.configuration.storage.STORAGE_PARENT", here)
    monkeypatch.setattr("sundog.base.record.location.account_name", lambda _: b"account")
    monkeypatch.setattr(os, "lstat", lstat)
    assert default_storage(environment) == expected.replace(b"here/", here)


def test_a_uid_without_account_believes_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sundog.base.record.location.account_name", lambda uid: b"%d" % uid)
    assert default_storage({b"USER": b"no-such"}) == b"/var/tmp/no-such.sundog"
    assert default_storage({}) == b"/var/tmp/%d.sundog" % os.geteuid()


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(SundogError, match="CH_IMAGE_STORAGE: not absolute path: here") as caught:
        default_storage({b"CH_IMAGE_STORAGE": b"here"})
    assert "--storage" in caught.value.hint


@pytest.mark.parametrize("environment", [{}, {b"USER": b""}, {b"USER": b"../x"}])
def test_without_usable_user_variable_the_account_names_it(
    environment: dict[bytes, bytes],
) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name.encode()
    assert default_storage(environment) == b"/var/tmp/" + name + b".sundog"


def test_uid_without_account_stands_for_itself() -> None:
    assert account_name(2**31 - 7) == b"2147483641"
