"""Pushes to Debian's docker-registry, with and without TLS and logins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.pull.conftest import refused
from tests.image.pull.flavours import PASSWORD, USER, Flavours
from tests.image.registry.test_push import NOTHING, push

if TYPE_CHECKING:
    from tests.conftest import Runner

LOGIN = {"CH_IMAGE_USERNAME": USER, "CH_IMAGE_PASSWORD": PASSWORD}


def trusting(flavours: Flavours) -> dict[str, str]:
    return {**NOTHING, "SSL_CERT_FILE": str(flavours.authority), "REQUESTS_CA_BUNDLE": ""}


@pytest.mark.parametrize("flavour", ["http", "basic", "token", "tls"])
def test_there_and_back(
    *, bb: str, flavours: Flavours, run_ch_image: Runner, run_ch_run: Runner, flavour: str
) -> None:
    host = getattr(flavours, flavour)
    env = trusting(flavours) | LOGIN
    first = push(run_ch_image, bb, f"{host}/{flavour}/one:1", env=env)
    # The registries share one storage, but each repository has its own blobs.
    again = push(run_ch_image, bb, f"{host}/{flavour}/two:1", env=env)
    assert "taken from another repository" in again.stderr
    assert again.stdout == first.stdout
    run_ch_image("delete", bb)
    run_ch_image("pull", "--auth", f"{host}/{flavour}/two:1", "back", env=env)
    assert run_ch_run("back", "--", "/bin/echo", "hello").stdout == "hello\n"


@pytest.mark.parametrize("flavour", ["basic", "token"])
@pytest.mark.parametrize(
    ("user", "complaint"),
    [({}, "no credentials, and no terminal to ask for them"), (LOGIN, "rejects user alice")],
)
def test_whoever_may_not(
    *,
    bb: str,
    flavours: Flavours,
    run_ch_image: Runner,
    flavour: str,
    user: dict[str, str],
    complaint: str,
) -> None:
    host = getattr(flavours, flavour)
    env = trusting(flavours) | user
    if user:
        env["CH_IMAGE_PASSWORD"] = "wrong"
    done = push(run_ch_image, bb, f"{host}/{flavour}/x:1", check=False, env=env)
    refused(done, complaint)
    assert "uploading" not in done.stderr  # the command says so before it works
