"""``builder.files.remote_access``: what ADD sends to a server, and to which server."""

from __future__ import annotations

import pytest

from sundog.image.builder.files.remote_access import RemoteAccess
from sundog.image.builder.secrets import Secret, SshAgents, SshSource


def access(*secrets: tuple[str, str], ssh: str = "") -> RemoteAccess:
    sources = [SshSource("default", ssh)] if ssh else []
    return RemoteAccess(
        {name: Secret(name, value.encode()) for name, value in secrets}, SshAgents(*sources)
    )


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://a.example/x", "Bearer one"),
        ("https://user@A.example/x", "Bearer one"),
        ("https://a.example:444/x", "Basic two"),
        ("https://a.example:445/x", "Bearer one"),
        ("https://b.example/x", ""),
        ("https://b.example/HTTP_AUTH_TOKEN_a.example", ""),
    ],
)
def test_the_most_particular_secret_counts(url: str, header: str) -> None:
    given = access(
        ("HTTP_AUTH_TOKEN_a.example", "one"),
        ("HTTP_AUTH_TOKEN_a.example:444", "unused"),
        ("HTTP_AUTH_HEADER_a.example:444", "Basic two"),
    )
    assert given.authorization(url) == header


def test_git_is_told_for_one_host() -> None:
    given = access(("GIT_AUTH_HEADER", "any"), ("GIT_AUTH_TOKEN.a.example", "one\n"))
    assert given.git_environment("https://user@a.example:444/x.git") == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "http.https://a.example:444/.extraHeader",
        "GIT_CONFIG_VALUE_0": "Authorization: Basic eC1hY2Nlc3MtdG9rZW46b25l",
        "GIT_CONFIG_KEY_1": "http.followRedirects",
        "GIT_CONFIG_VALUE_1": "false",
    }
    assert given.git_environment("http://b.example/x.git")["GIT_CONFIG_VALUE_0"] == (
        "Authorization: any"
    )
    for remote in ("git@a.example:x", "ssh://a.example/x", "git://a.example/x"):
        assert given.git_environment(remote) == {}


def test_git_asks_the_agent_that_was_given() -> None:
    given = access(ssh="/run/agent")
    assert given.git_environment("git@a.example:x") == {"SSH_AUTH_SOCK": "/run/agent"}
