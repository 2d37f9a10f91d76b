"""``ch-test --registry`` asks real registries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sundog.doctor.images import pull_check
from sundog.doctor.outcome import FAILED, OK, attempt
from sundog.doctor.registry import registry_check
from tests.pull.conftest import flavours, no_logins, tls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.pull.flavours import Flavours

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
