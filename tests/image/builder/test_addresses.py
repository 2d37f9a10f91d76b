"""Addresses in Dockerfiles, settings and variables that can't be parsed: one clear line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sundog.errors import BuildError
from sundog.image.builder.files.git_source import GitReference
from sundog.image.builder.tree_step import without_user
from tests.image.pull.conftest import no_logins, refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

__all__ = ["no_logins"]

BAD = (
    *("http://[::1/x", "http://[::1/x.git", "https://h:99999/x", "http://h:x/x.git", "http:///x"),
    *("ssh://[::1/x", "git://h:0/x", "ssh://-oProxyCommand=x/y", "http://127.1/x", "http://h./x"),
    *("https://u:s3cret@[::1/x", "ssh://u:s3cret@h:99999/x"),
)


@pytest.mark.parametrize("url", BAD)
def test_a_source_of_add(run_ch_image: Runner, tmp_path: Path, url: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nADD {url} /x\n")
    done = run_ch_image("build", "-t", "a", tmp_path, check=False)
    refused(done, "not a URL")
    told = [line for line in done.stderr.splitlines() if " | " not in line]  # without the excerpt
    assert not any("s3cret" in line for line in told)


@pytest.mark.parametrize(
    "source",
    ["git@h:x", "ssh://git@h/x", "https://h:8443/x.git", "git://h/x#main", "ssh://[::1]/x"],
)
def test_repositories_that_are_some(source: str) -> None:
    assert GitReference.parse(source)


@pytest.mark.parametrize("source", ["-u@h:x", "git@-oProxyCommand=x:y"])
def test_no_option_of_git_is_a_repository(source: str) -> None:
    assert GitReference.parse(source) is None


def test_an_option_of_ssh_is_no_host() -> None:
    with pytest.raises(BuildError, match="not a URL"):
        GitReference.parse("ssh://-oProxyCommand=x/y")


def test_no_part_of_a_password_is_shown() -> None:
    assert without_user("https://u:a@b@host/x") == "https://host/x"
    assert without_user("HTTPS://u:p@host/x@y") == "HTTPS://host/x@y"


@pytest.mark.parametrize(
    "variables",
    [
        {"http_proxy": "http://[::1/", "https_proxy": "http://[::1/"},
        {"https_proxy": "http://u:s3cret@h:99999/"},
        {"https_proxy": "http://u:s3cret@[::1"},
        {"https_proxy": "socks5://h:1/"},
        {"https_proxy": "://"},
    ],
)
def test_a_proxy(run_ch_image: Runner, variables: dict[str, str]) -> None:
    variables |= {"no_proxy": "[::1,:x,,*.,http://[::1/"}
    done = run_ch_image("pull", "registry.invalid/a", env=variables, check=False)
    refused(done, "proxy", "see $https_proxy")
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('location = "[::1"', "[::1"),
        ('location = "https://h/x"', "HOST[:PORT][/PATH]"),
        ('location = "u:s3cret@h"', "not an address"),
        ('location = "h"\nmirror = [{ location = "h:99999/x" }]', "h:99999"),
        ('location = "h"\ntoken-servers = "h"', "token-servers"),
        ('location = "h"\ntoken-servers = ["https://h"]', "token-servers: not a host"),
        ('location = "h"\ntoken-servers = ["h:5"]', "token-servers: not a host"),
    ],
)
def test_a_registry(
    run_ch_image: Runner, tmp_path: Path, no_logins: Path, text: str, complaint: str
) -> None:
    settings = tmp_path / "settings.conf"
    settings.write_text(f'[[registry]]\nprefix = "r.test"\n{text}\n')
    variables = {"CONTAINERS_REGISTRIES_CONF": str(settings)}
    done = run_ch_image("pull", "r.test/a", env=variables, check=False)
    refused(done, complaint)
    assert "s3cret" not in done.stderr
