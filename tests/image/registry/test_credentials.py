"""The files of logins: search, and writing."""

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.errors import CredentialsError
from sundog.image.registry.credentials import CredentialFiles, Credentials, from_environment

Files = Callable[..., CredentialFiles]


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, content: object, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def files(tmp_path: Path, told: list[str]) -> Files:
    def make(**environment: str) -> CredentialFiles:
        return CredentialFiles({"HOME": str(tmp_path), **environment}, told.append)

    return make


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """Install a credential helper that notes its arguments and its input."""
    log = tmp_path / "helper.log"
    program = tmp_path / "bin" / f"docker-credential-{name}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f'#!/bin/sh\ninput=$(cat)\nprintf "%s|%s\\n" "$*" "$input" >>{log}\n{script}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


def test_nothing_is_found_where_nobody_logged_in(files: Files) -> None:
    assert files().find("example.com") is None


def test_docker_config_is_read(tmp_path: Path, files: Files) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"example.com": entry("u", "p:q")}})
    found = files().find("example.com", "a/b")
    assert found is not None
    assert (found.username, found.password) == ("u", "p:q")
    assert found.source == str(tmp_path / ".docker/config.json")


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://example.com/v2/", "example.com"),
        ("example.com:5000", "example.com:5000"),
    ],
)
def test_the_spellings_of_a_registry_are_known(
    tmp_path: Path, files: Files, key: str, registry: str
) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {key: entry("u", "p")}})
    assert files().find(registry) is not None
    assert files().find("other." + registry) is None


def test_the_most_specific_namespace_wins(tmp_path: Path, files: Files) -> None:
    auths = {name: entry(name, "p") for name in ("h.org", "h.org/a", "h.org/a/b")}
    write(tmp_path / "auth.json", {"auths": auths})
    found = files(REGISTRY_AUTH_FILE=str(tmp_path / "auth.json"))
    users = {
        repository: (found.find("h.org", repository) or Credentials()).username
        for repository in ("a/b", "a/b/c", "a/c", "ab", "")
    }
    assert users == {
        "a/b": "h.org/a/b",
        "a/b/c": "h.org/a/b",
        "a/c": "h.org/a",
        "ab": "h.org",
        "": "h.org",
    }


def test_containers_files_precede_dockers(tmp_path: Path, files: Files) -> None:
    for place, user in (
        (".docker/config.json", "docker"),
        (".config/containers/auth.json", "config"),
        ("run/containers/auth.json", "run"),
    ):
        write(tmp_path / place, {"auths": {"h.org": entry(user, "p")}})
        found = files(XDG_RUNTIME_DIR=str(tmp_path / "run")).find("h.org")
        assert found is not None
        assert found.username == user


def test_a_chosen_file_is_the_only_one(tmp_path: Path, files: Files) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"h.org": entry("u", "p")}})
    assert files(REGISTRY_AUTH_FILE=str(tmp_path / "none.json")).find("h.org") is None


def test_an_identity_token_is_read(tmp_path: Path, files: Files) -> None:
    auths = {"h.org": {**entry("00000", ""), "identitytoken": "secret"}}
    write(tmp_path / ".docker/config.json", {"auths": auths})
    found = files().find("h.org")
    assert found is not None
    assert found.identity_token == "secret"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{", ""),
        ("[]", ""),
        ("[" * 100_000, ""),
        ('{"auths": {"h.org": {"auth": "%%%"}}}', "auths: h.org: "),
        ('{"auths": {"h.org": {"auth": "é"}}}', "auths: h.org: "),
        ('{"auths": {"h.org": {"auth": 1}}}', "auths: h.org: auth: "),
        ('{"auths": {"h.org": "x"}}', "auths: h.org: "),
        ('{"auths": []}', "auths: "),
        ('{"credHelpers": {"h.org": 1}}', "credHelpers: h.org: "),
        ('{"credsStore": true}', "credsStore: "),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(
    tmp_path: Path, files: Files, content: str, place: str
) -> None:
    path = write(tmp_path / ".docker/config.json", content)
    with pytest.raises(CredentialsError, match=f"^{path}: {place}") as caught:
        files().find("h.org")
    assert caught.value.hint
    if 'auth"' not in content and '"x"' not in content:  # a new login replaces a damaged one
        with pytest.raises(CredentialsError, match=f"^{path}: {place}"):
            files().store("h.org", Credentials("u", "p"))
        assert path.read_text() == content


def test_bytes_that_are_no_text_are_kept(files: Files, tmp_path: Path) -> None:
    login = Credentials("u", os.fsdecode(b"\xffp"))
    files().store("h.org", login)
    (written,) = json.loads((tmp_path / ".config/containers/auth.json").read_text())[
        "auths"
    ].values()
    assert base64.b64decode(written["auth"]) == b"u:\xffp"
    found = files().find("h.org")
    assert found is not None
    assert (found.username, found.password) == (login.username, login.password)


def test_a_file_that_others_read_is_warned_of(
    tmp_path: Path, files: Files, told: list[str]
) -> None:
    path = write(tmp_path / ".docker/config.json", {"auths": {"h.org": entry("u", "p")}}, 0o644)
    assert files().find("h.org") is not None
    assert told == [f"others may read your passwords in {path}: chmod 600 {path}"]


def test_secrets_do_not_show() -> None:
    credentials = Credentials("user", "s3cret", "t0ken", "there")
    assert "s3cret" not in repr(credentials)
    assert "t0ken" not in repr(credentials)


def test_a_login_is_kept_privately_and_beside_others(tmp_path: Path, files: Files) -> None:
    path = write(
        tmp_path / ".config/containers/auth.json",
        {"auths": {"other.org": entry("o", "p")}, "more": 1},
    )
    os.umask(0o022)
    place = files().store("h.org", Credentials("u", "pä:ß"))
    assert place == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = files().find("h.org")
    assert found is not None
    assert (found.username, found.password) == ("u", "pä:ß")
    assert files().find("other.org") is not None
    assert json.loads(path.read_text())["more"] == 1


def test_a_first_login_makes_a_private_file(tmp_path: Path, files: Files) -> None:
    path = Path(files().store("docker.io", Credentials("u", "p")))
    assert path == tmp_path / ".config/containers/auth.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(json.loads(path.read_text())["auths"]) == ["docker.io"]


def test_a_login_is_on_the_device_when_it_is_done(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename

    def note_sync(fd: int) -> None:
        calls.append(f"fsync {os.readlink(f'/proc/self/fd/{fd}')}")
        sync(fd)

    def note_rename(old: bytes, new: bytes) -> None:
        calls.extend((f"fsync {os.fsdecode(old)}", f"rename {os.fsdecode(new)}"))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    path = Path(files().store("h.org", Credentials("u", "p")))
    assert calls == [calls[0], calls[0], f"rename {path}", f"fsync {path.parent}"]
    calls.clear()
    files().erase("h.org")
    assert calls == [calls[0], calls[0], f"rename {path}", f"fsync {path.parent}"]


def test_a_new_login_replaces_the_old_where_it_is(tmp_path: Path, files: Files) -> None:
    path = write(
        tmp_path / ".docker/config.json",
        {"auths": {"https://index.docker.io/v1/": entry("old", "p")}},
    )
    files().store("docker.io", Credentials("new", "p"))
    found = files().find("docker.io")
    assert found is not None
    assert found.username == "new"
    assert len(json.loads(path.read_text())["auths"]) == 1


def test_a_logout_forgets_every_login(tmp_path: Path, files: Files) -> None:
    paths = [tmp_path / ".docker/config.json", tmp_path / ".config/containers/auth.json"]
    for path in paths:
        write(path, {"auths": {"h.org": entry("u", "p"), "other.org": entry("o", "p")}})
    assert sorted(files().erase("h.org")) == sorted(map(str, paths))
    assert files().find("h.org") is None
    assert files().find("other.org") is not None
    assert files().erase("h.org") == []


def test_a_helper_is_asked(tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    log = helper(tmp_path, monkeypatch, "vault", 'echo \'{"Username": "u", "Secret": "s"}\'')
    config = {"auths": {"h.org": {}}, "credHelpers": {"h.org": "vault"}, "credsStore": "none"}
    write(tmp_path / ".docker/config.json", config)
    found = files().find("h.org")
    assert found is not None
    assert (found.username, found.password) == ("u", "s")
    assert log.read_text() == "get|h.org\n"


def test_a_helper_may_have_a_token_or_nothing(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "vault"})
    helper(tmp_path, monkeypatch, "vault", 'echo \'{"Username": "<token>", "Secret": "s"}\'')
    found = files().find("docker.io")
    assert found is not None
    assert found.identity_token == "s"
    missing = 'echo "credentials not found in native keychain"; exit 1'
    helper(tmp_path, monkeypatch, "vault", missing)
    assert files().find("docker.io") is None


@pytest.mark.parametrize(
    "script",
    [
        "echo boom >&2; exit 3",
        "echo not json",
        "echo '{}'",
        """echo '{"Username": ["u"], "Secret": "s"}'""",
        "printf '%100000s' '' | tr ' ' '['",
    ],
)
def test_a_failing_helper_is_named(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "vault"})
    helper(tmp_path, monkeypatch, "vault", script)
    with pytest.raises(CredentialsError, match="docker-credential-vault"):
        files().find("docker.io")


def test_a_helper_that_is_not_installed_is_passed_over(
    tmp_path: Path, files: Files, told: list[str]
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "no-such-helper"})
    assert files().find("h.org") is None
    assert "docker-credential-no-such-helper" in told[0]
    with pytest.raises(CredentialsError, match="not installed"):
        files().store("h.org", Credentials("u", "p"))


def test_a_helper_name_is_no_path(tmp_path: Path, files: Files) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "/../../tmp/evil"})
    with pytest.raises(CredentialsError, match="not the name"):
        files().find("h.org")


def test_logins_go_to_the_helper_not_to_its_arguments(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = helper(tmp_path, monkeypatch, "vault", "")
    write(tmp_path / ".docker/config.json", {"credsStore": "vault"})
    assert files().store("h.org", Credentials("u", "s3cret")) == "docker-credential-vault"
    arguments, _, text = log.read_text().strip().partition("|")
    assert arguments == "store"
    assert json.loads(text) == {"ServerURL": "h.org", "Username": "u", "Secret": "s3cret"}


def test_the_environment_needs_both() -> None:
    both = {"CH_IMAGE_USERNAME": "u", "CH_IMAGE_PASSWORD": "p"}
    found = from_environment(both)
    assert found is not None
    assert (found.username, found.password) == ("u", "p")
    assert from_environment({"CH_IMAGE_USERNAME": "u"}) is None
    assert from_environment({"CH_IMAGE_PASSWORD": "p"}) is None
