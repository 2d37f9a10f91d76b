"""The default path of the storage directory."""

import os
import pwd

import pytest

from sundog.errors import SundogError
from sundog.record.location import account_name, default_storage


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({b"CH_IMAGE_STORAGE": b"/s\xff", b"USER": b"u"}, b"/s\xff"),
        ({b"CH_IMAGE_STORAGE": b"", b"USER": b"u"}, b"/var/tmp/u.sundog"),
        ({b"USER": b"u"}, b"/var/tmp/u.sundog"),
    ],
)
def test_environment_decides(environment: dict[bytes, bytes], expected: bytes) -> None:
    assert default_storage(environment) == expected


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
