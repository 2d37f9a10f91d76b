"""``ch-test --registry`` asks real registries."""

from __future__ import annotations

import base64
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from sundog.front.doctor.images import pull_check
from sundog.front.doctor.outcome import FAILED, NOT_HERE, OK, attempt
from sundog.front.doctor.registry import registry_check, registry_checks
from tests.image.pull.conftest import flavours, no_logins, tls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.pull.flavours import Flavours

__all__ = ["flavours", "no_logins", "tls"]


def test_a_registry(flavours: Flavours) -> None:
    outcome = attempt(registry_check(flavours.http))
    assert (outcome.state, outcome.detail) == (OK, "it answers")


def test_a_registry_with_a_certificate_that_nobody_signed(flavours: Flavours) -> None:
    outcome = attempt(registry_check(flavours.tls))
    assert outcome.state == FAILED
    assert "its certificate is not trusted" in outcome.detail
    assert "certs.d" in outcome.hint


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_registry_that_wants_a_login(flavours: Flavours, tmp_path: Path) -> None:
    settings = f'[[registry]]\nlocation = "{flavours.basic}"\ninsecure = true\n'
    (tmp_path / "registries.conf").write_text(settings)
    outcome = attempt(registry_check(flavours.basic))
    assert (outcome.state, outcome.detail) == (OK, "it answers, and wants a login: ch-image login")


def test_a_name_without_a_dot() -> None:
    """It is no part of the name of an image of another registry."""
    outcome = attempt(registry_check("no_such_host"))
    assert outcome.state == FAILED
    assert "no_such_host" in outcome.detail
    assert "docker.io" not in outcome.detail


def test_pull(flavours: Flavours, run_ch_image: Runner, busybox_tar: Path, tmp_path: Path) -> None:
    name = f"{flavours.http}/doctor:1"
    run_ch_image("import", busybox_tar, name)
    run_ch_image("push", name)
    (tmp_path / "place").mkdir()
    outcome = attempt(pull_check(os.fsencode(tmp_path / "place"), name))
    assert (outcome.state, outcome.hint) == (OK, "")


def test_an_image_that_the_registry_lacks(flavours: Flavours, tmp_path: Path) -> None:
    outcome = attempt(pull_check(os.fsencode(tmp_path), f"{flavours.http}/nope:1"))
    assert outcome.state == FAILED
    assert outcome.detail.startswith("ch-image: ")
    assert outcome.hint


def test_the_registries_that_a_user_has(
    tmp_path: Path, no_logins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry in the settings has to answer; the others may be on another network."""
    settings = (
        '[[registry]]\nlocation = "127.0.0.1:9/team"\n'
        '[[registry.mirror]]\nlocation = "127.0.0.1:10"\n'
        '[[registry]]\nlocation = "blocked.invalid"\nblocked = true\n'
    )
    (tmp_path / "registries.conf").write_text(settings)
    no_logins.write_text(
        '{"auths": {"https://127.0.0.1:11/v1/": {}, "127.0.0.1:9": {}}, '
        '"credHelpers": {"127.0.0.1:12": "x"}}'
    )
    no_logins.chmod(0o600)
    monkeypatch.setenv("CH_REGY_DEFAULT_HOST", "127.0.0.1")
    monkeypatch.setenv("CH_REGY_DEFAULT_PORT", "13")
    found = [attempt(check) for check in registry_checks((), os.environ)]
    assert {row.name.removeprefix("registry 127.0.0.1:"): row.state for row in found} == {
        "9": FAILED,
        "10": FAILED,
        "13": NOT_HERE,
        "11": NOT_HERE,
        "12": NOT_HERE,
    }
    chosen = registry_checks(("127.0.0.1:14",), os.environ)
    assert [check.name for check in chosen] == ["registry 127.0.0.1:14"]


def test_damaged_settings(tmp_path: Path, no_logins: Path) -> None:
    no_logins.write_text("nonsense")
    (check,) = registry_checks((), os.environ)
    outcome = attempt(check)
    assert outcome.state == FAILED
    assert str(no_logins) in outcome.detail


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_login_that_is_wrong(flavours: Flavours, tmp_path: Path, no_logins: Path) -> None:
    settings = f'[[registry]]\nlocation = "{flavours.basic}"\ninsecure = true\n'
    (tmp_path / "registries.conf").write_text(settings)
    for password, state in (("secret", OK), ("wrong", FAILED)):
        pair = base64.b64encode(f"alice:{password}".encode()).decode()
        no_logins.write_text(json.dumps({"auths": {flavours.basic: {"auth": pair}}}))
        no_logins.chmod(0o600)
        outcome = attempt(registry_check(flavours.basic))
        assert outcome.state == state
        assert outcome.detail.endswith(f"; the login is in {no_logins}")


def test_an_authority_of_the_user_s_own(
    flavours: Flavours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "containers" / "certs.d" / flavours.tls
    place.mkdir(parents=True)
    shutil.copy(flavours.authority, place / "ca.crt")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    outcome = attempt(registry_check(flavours.tls))
    assert (outcome.state, outcome.detail) == (OK, f"it answers; {place}/ca.crt is trusted")
