"""The user's settings, certificates and logins: one directory has all three."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sundog.image.registry.certificates import Certificates
from sundog.image.registry.config import Registries
from sundog.image.registry.credentials import CredentialFiles, Credentials
from sundog.image.registry.user_files import containers_directory, home_directory, runtime_directory


@pytest.mark.parametrize(
    ("environment", "home", "settings"),
    [
        ({"HOME": "/h"}, "/h", "/h/.config/containers"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": ""}, "/h", "/h/.config/containers"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "/h", "/x/containers"),
        ({}, "~", "~/.config/containers"),
        ({"HOME": ""}, "~", "~/.config/containers"),
    ],
)
def test_where_they_are(environment: Mapping[str, str], home: str, settings: str) -> None:
    assert home_directory(environment) == os.path.expanduser(home)
    assert containers_directory(environment) == os.path.expanduser(settings)


def test_what_goes_at_logout_has_a_place_only_if_there_is_one() -> None:
    assert runtime_directory({"XDG_RUNTIME_DIR": "/run/user/1"}) == "/run/user/1/containers"
    assert runtime_directory({}) == ""


@pytest.mark.parametrize("variable", ["HOME", "XDG_CONFIG_HOME"])
def test_all_three_are_in_one_place(tmp_path: Path, variable: str) -> None:
    environment = {"HOME": "/nonexistent"} | {variable: str(tmp_path)}
    place = tmp_path / ".config/containers" if variable == "HOME" else tmp_path / "containers"
    (place / "certs.d/h.org").mkdir(parents=True)
    (place / "certs.d/h.org/ca.crt").touch()
    (place / "registries.conf").write_text('unqualified-search-registries = ["found.org"]\n')
    assert Certificates.of("h.org", environment).authorities == (
        str(place / "certs.d/h.org/ca.crt"),
    )
    assert Registries.load(environment).search == ("found.org",)
    CredentialFiles(environment).store("h.org", Credentials("u", "p"))
    assert list(json.loads((place / "auth.json").read_text())["auths"]) == ["h.org"]
