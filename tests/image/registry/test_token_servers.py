"""The token servers to which Sundog sends a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.image.registry.token_servers import is_entitled


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("quay.io", "quay.io"),
        ("quay.io", "auth.quay.io"),
        ("registry-1.docker.io", "auth.docker.io"),
        ("registry.hub.docker.com", "auth.docker.io"),
        ("registry.connect.redhat.com", "sso.redhat.com"),
        ("rg.nl-ams.scw.cloud", "api.scaleway.com"),
        ("registry.gitlab.com", "gitlab.com"),
        ("registry.site.edu:5000", "gitlab.site.edu"),
        ("Registry.Site.EDU", "auth.site.edu"),
        ("registry.site.co.uk", "auth.site.co.uk"),
        ("localhost:5000", "127.0.0.1"),
        ("127.0.0.1:5000", "127.0.0.1"),
        ("10.1.2.3:5000", "10.1.2.3"),
        ("[fd00::1]:5000", "fd00::1"),
        ("myhost:5000", "myhost"),
    ],
)
def test_the_registrys_own(registry: str, realm: str) -> None:
    assert is_entitled(realm, registry)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("quay.io", "io"),
        ("quay.io", "evil.io"),
        ("quay.io", "evilquay.io"),
        ("site.co.uk", "evil.co.uk"),
        ("site.co.uk", "co.uk"),
        ("me.github.io", "evil.github.io"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "2.dkr.ecr.eu-west-1.amazonaws.com"),
        ("myhost:5000", "evil.myhost"),
        ("myhost:5000", "otherhost"),
        ("10.1.2.3", "9.1.2.3"),
        ("10.1.2.3", "1.2.3.evil.test"),
        ("registry.site.edu", "127.0.0.1"),
        ("registry.site.edu", "localhost"),
        ("localhost", "evil.localhost"),
        ("localhost:5000", "registry.site.edu"),
        ("auth.docker.io.evil.test", "auth.docker.io"),
        ("evil.test", "api.scaleway.com"),
        ("evilscw.cloud", "api.scaleway.com"),
    ],
)
def test_others(registry: str, realm: str) -> None:
    assert not is_entitled(realm, registry)


def test_those_that_the_user_names() -> None:
    assert is_entitled("auth.other.test", "registry.site.test", ["auth.other.test"])
    assert not is_entitled("x.auth.other.test", "registry.site.test", ["auth.other.test"])


_LABELS = st.sampled_from(["a", "b", "co", "com", "uk", "io", "github", "docker", "1"])
_NAMES = st.lists(_LABELS, min_size=1, max_size=5).map(lambda labels: ".".join([*labels, "x"]))


@given(_NAMES, _NAMES)
def test_two_labels_are_common_at_least(registry: str, realm: str) -> None:
    if is_entitled(realm, registry) and realm != registry:
        assert realm.split(".")[-2:] == registry.split(".")[-2:]
