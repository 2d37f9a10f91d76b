"""Debian's docker-registry, with and without TLS and logins."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Runner, command
from tests.image.pull.conftest import refused
from tests.image.pull.flavours import PASSWORD, USER, Flavours

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.image.pull.images import Shelf

LOGIN = {"CH_IMAGE_USERNAME": USER, "CH_IMAGE_PASSWORD": PASSWORD}


@pytest.fixture
def filled(flavours: Flavours, shelf: Shelf) -> Flavours:
    """Return the registries with the image ``some/image:1`` in them."""
    shelf.image(shelf.base(), tag="some/image:1")
    flavours.put(shelf)
    return flavours


def trusting(flavours: Flavours, **more: str) -> Mapping[str, str]:
    return {"SSL_CERT_FILE": str(flavours.authority), "REQUESTS_CA_BUNDLE": ""} | more


def login(flavours: Flavours, host: str, password: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command("ch-image"), "login", "-u", USER, "--password-stdin", host],
        input=f"{password}\n",
        env=os.environ | dict(trusting(flavours)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_http_on_this_machine(filled: Flavours, run_ch_image: Runner) -> None:
    run_ch_image("pull", f"{filled.http}/some/image:1")
    assert run_ch_image("list").stdout == f"{filled.http}/some/image:1\n"


def test_a_registry_may_be_elsewhere_than_its_name_says(
    filled: Flavours, run_ch_image: Runner, tmp_path: Path
) -> None:
    host = "registry.invalid:5000"
    done = run_ch_image("pull", f"{host}/some/image:1", check=False)
    refused(done, f"can't reach {host}")
    (tmp_path / "registries.conf").write_text(
        f'[[registry]]\nprefix = "{host}"\nlocation = "{filled.http}"\ninsecure = true\n'
    )
    run_ch_image("pull", f"{host}/some/image:1")


def test_a_certificate_has_to_be_vouched_for(filled: Flavours, run_ch_image: Runner) -> None:
    name = f"{filled.tls}/some/image:1"
    done = run_ch_image("pull", name, check=False)
    refused(done, f"{filled.tls}: its certificate is not trusted", "--tls-no-verify")
    run_ch_image("pull", name, env=trusting(filled))
    run_ch_image("reset")
    run_ch_image("pull", name, env={"REQUESTS_CA_BUNDLE": str(filled.authority)})
    run_ch_image("reset")
    done = run_ch_image("pull", "--tls-no-verify", name)
    assert "Warning" not in done.stderr  # urllib3 would print one for each request
    assert ".py:" not in done.stderr


def test_an_authority_that_is_none_is_named(filled: Flavours, run_ch_image: Runner) -> None:
    done = run_ch_image(
        "pull", f"{filled.tls}/some/image:1", env={"REQUESTS_CA_BUNDLE": "/nowhere"}, check=False
    )
    refused(done, "$REQUESTS_CA_BUNDLE: no certificates in /nowhere")


def test_an_insecure_registry_may_have_any_certificate(
    filled: Flavours, run_ch_image: Runner, tmp_path: Path
) -> None:
    (tmp_path / "registries.conf").write_text(
        f'[[registry]]\nlocation = "{filled.tls}"\ninsecure = true\n'
    )
    run_ch_image("pull", f"{filled.tls}/some/image:1")


def test_a_login_is_needed(filled: Flavours, run_ch_image: Runner) -> None:
    name = f"{filled.basic}/some/image:1"
    done = run_ch_image("pull", name, env=trusting(filled), check=False)
    refused(done, f"unauthorized or not in registry: {name}", f"ch-image login {filled.basic}")
    # ch-image uses the variables' login only with --auth or $CH_IMAGE_AUTH.
    done = run_ch_image("pull", name, env=trusting(filled, **LOGIN), check=False)
    refused(done, "unauthorized")
    run_ch_image("pull", "--auth", name, env=trusting(filled, **LOGIN))
    run_ch_image("pull", name, "again", env=trusting(filled, **LOGIN, CH_IMAGE_AUTH="yes"))


def test_wrong_passwords_are_told(filled: Flavours, run_ch_image: Runner) -> None:
    environment = trusting(filled, CH_IMAGE_USERNAME=USER, CH_IMAGE_PASSWORD="wr0ng")
    for host in (filled.basic, filled.token):
        done = run_ch_image("pull", "--auth", f"{host}/some/image:1", env=environment, check=False)
        refused(done, f"the registry rejects user {USER}")
        assert "wr0ng" not in done.stderr


def test_without_a_terminal_nobody_is_asked(filled: Flavours, storage: Path) -> None:
    done = subprocess.run(
        [*command("ch-image"), "pull", "--auth", f"{filled.basic}/some/image:1"],
        env=os.environ | dict(trusting(filled)) | {"CH_IMAGE_STORAGE": str(storage)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    refused(done, "no terminal", "--password-stdin")


def test_login_and_logout(filled: Flavours, run_ch_image: Runner, no_logins: Path) -> None:
    name = f"{filled.basic}/some/image:1"
    done = login(filled, filled.basic, "wrong")
    refused(done, f"the registry rejects user {USER}")
    assert not no_logins.exists()

    done = login(filled, filled.basic, PASSWORD)
    assert done.returncode == 0, done.stderr
    assert f"logged in to {filled.basic} as {USER}; kept in {no_logins}" in done.stderr
    assert PASSWORD not in done.stderr
    assert stat.S_IMODE(no_logins.stat().st_mode) == 0o600
    run_ch_image("pull", name, env=trusting(filled))

    done = run_ch_image("logout", filled.basic)
    assert f"removed login to {filled.basic} from {no_logins}" in done.stderr
    refused(run_ch_image("logout", filled.basic, check=False), "not logged in")
    refused(run_ch_image("pull", name, "x", env=trusting(filled), check=False), "unauthorized")


def test_podmans_login_is_good_for_us_and_ours_for_skopeo(
    filled: Flavours, run_ch_image: Runner, no_logins: Path
) -> None:
    assert login(filled, filled.basic, PASSWORD).returncode == 0
    subprocess.run(
        [
            *("skopeo", "inspect", "--tls-verify=false"),
            *("--authfile", no_logins, f"docker://{filled.basic}/some/image:1"),
        ],
        check=True,
        capture_output=True,
    )
    no_logins.unlink()
    subprocess.run(
        [
            *("skopeo", "login", "--tls-verify=false", "--authfile", no_logins),
            *("-u", USER, "--password-stdin", filled.basic),
        ],
        input=PASSWORD.encode(),
        check=True,
        capture_output=True,
    )
    run_ch_image("pull", f"{filled.basic}/some/image:1", env=trusting(filled))


def test_tokens_are_fetched(filled: Flavours, run_ch_image: Runner) -> None:
    run_ch_image("pull", f"{filled.token}/some/image:1")
    done = login(filled, filled.token, "wrong")
    refused(done, f"the registry rejects user {USER}")
    assert login(filled, filled.token, PASSWORD).returncode == 0
    run_ch_image("pull", "--always-download", f"{filled.token}/some/image:1")


@pytest.mark.parametrize("text", ["", "a/b", "nodots"])
def test_login_wants_a_registry(run_ch_image: Runner, text: str) -> None:
    done = run_ch_image("login", "-u", "u", "--password-stdin", text, check=False)
    assert done.returncode == 2
    assert f"not a registry: {text}" in done.stderr


def test_a_password_may_be_no_text(filled: Flavours) -> None:
    done = subprocess.run(
        [*command("ch-image"), "login", "-u", USER, "--password-stdin", filled.basic],
        input=b"\xff\xfe\n",
        env=os.environ | dict(trusting(filled)) | {"LC_ALL": "en_US.UTF-8"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"the registry rejects user {USER}" in done.stderr.decode()


def test_a_password_from_standard_input_needs_a_name(run_ch_image: Runner) -> None:
    done = run_ch_image("login", "--password-stdin", "h.org", check=False)
    assert done.returncode == 2
    assert "--username" in done.stderr


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [
        ("u", "", "no password on standard input"),
        ("u", "\r\n", "no password on standard input"),
        ("a:b", "x", "not a user name: a:b"),
    ],
)
def test_what_cannot_log_in(user: str, password: str, said: str) -> None:
    done = subprocess.run(
        [*command("ch-image"), "login", "-u", user, "--password-stdin", "h.org"],
        input=password,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"error: {said}\nhint: " in done.stderr


def test_from_pulls_what_is_absent(
    flavours: Flavours, shelf: Shelf, run_ch_image: Runner, tmp_path: Path
) -> None:
    shelf.image(shelf.base(), tag="base:1")
    flavours.put(shelf)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {flavours.http}/base:1\nCOPY --from={flavours.http}/base:1 /etc /copy\n"
    )
    done = run_ch_image("build", "-n", "-t", "x", tmp_path)
    assert run_ch_image("list").stdout == ""  # a dry run pulls nothing
    done = run_ch_image("build", "-t", "x", tmp_path)
    assert f"  1. FROM {flavours.http}/base:1\npulling image:" in done.stderr
    assert run_ch_image("list").stdout == f"{flavours.http}/base:1\nx\n"
    done = run_ch_image("build", "-t", "x", tmp_path)
    assert "pulling" not in done.stderr
    assert f"  1* FROM {flavours.http}/base:1\n" in done.stderr
