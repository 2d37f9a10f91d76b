"""The registries and mirrors that a reference leads to."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sundog.errors import ConfigurationError
from sundog.image.registry.config import Registries

Load = Callable[..., Registries]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def make(text: str = "", **environment: str) -> Registries:
        path = tmp_path / "registries.conf"
        path.write_text(text)
        return Registries.load({"CONTAINERS_REGISTRIES_CONF": str(path), **environment})

    return make


def places(registries: Registries, text: str) -> list[str]:
    return [str(place) for remote in registries.remotes(text) for place in remote.endpoints]


def references(registries: Registries, text: str) -> list[str]:
    return [str(remote.reference) for remote in registries.remotes(text)]


def test_without_a_file_names_mean_docker_hub(load: Load) -> None:
    assert references(load(), "alpine") == ["docker.io/library/alpine:latest"]
    assert places(load(), "h.org:5000/a/b:1") == ["h.org:5000/a/b"]
    assert not load().remotes("h.org/a")[0].endpoints[0].insecure


@pytest.mark.parametrize(
    ("environment", "text", "expected"),
    [
        ({"CH_REGY_DEFAULT_HOST": "h.org"}, "alpine:3", "h.org/alpine:3"),
        (
            {"CH_REGY_DEFAULT_HOST": "h.org", "CH_REGY_DEFAULT_PORT": "5000"},
            "a/b",
            "h.org:5000/a/b:latest",
        ),
        (
            {"CH_REGY_DEFAULT_HOST": "h.org", "CH_REGY_PATH_PREFIX": "/x/y/"},
            "alpine",
            "h.org/x/y/alpine:latest",
        ),
        ({"CH_REGY_PATH_PREFIX": "group"}, "alpine", "docker.io/group/alpine:latest"),
        ({"CH_REGY_DEFAULT_HOST": "h.org"}, "library/alpine", "h.org/library/alpine:latest"),
        ({"CH_REGY_DEFAULT_HOST": "h.org"}, "docker.io/alpine", "docker.io/library/alpine:latest"),
        ({"CH_REGY_DEFAULT_HOST": "h.org"}, "other.org/a", "other.org/a:latest"),
        (
            {"CH_REGY_DEFAULT_HOST": "h.org"},
            "a@sha256:" + "0" * 64,
            "h.org/a@sha256:" + "0" * 64,
        ),
    ],
)
def test_variables_say_where_short_names_are(
    load: Load, environment: Mapping[str, str], text: str, expected: str
) -> None:
    aliases = '[aliases]\nalpine = "alias.org/alpine"\n'
    assert references(load(aliases, **environment), text) == [expected]


@pytest.mark.parametrize(
    "environment", [{"CH_REGY_DEFAULT_PORT": "80"}, {"CH_REGY_DEFAULT_PORT": "x"}]
)
def test_a_port_needs_a_host_and_digits(load: Load, environment: Mapping[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="CH_REGY_DEFAULT_PORT"):
        load("", **environment)


def test_aliases_and_searches(load: Load) -> None:
    registries = load(
        'unqualified-search-registries = ["a.org", "docker.io"]\n'
        '[aliases]\nfedora = "fedora.org/fedora"\n'
    )
    assert references(registries, "fedora:42") == ["fedora.org/fedora:42"]
    assert references(registries, "foo/bar") == ["a.org/foo/bar:latest", "docker.io/foo/bar:latest"]
    assert references(registries, "docker.io/foo/bar") == ["docker.io/foo/bar:latest"]


def test_mirrors_come_first(load: Load) -> None:
    registries = load(
        '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
        '[[registry.mirror]]\nlocation = "127.0.0.1:5000/hub"\ninsecure = true\n'
        '[[registry.mirror]]\nlocation = "tags.org"\npull-from-mirror = "tag-only"\n'
        '[[registry.mirror]]\nlocation = "digests.org"\npull-from-mirror = "digest-only"\n'
    )
    assert places(registries, "alpine") == [
        "127.0.0.1:5000/hub/library/alpine",
        "tags.org/library/alpine",
        "docker.io/library/alpine",
    ]
    assert "digests.org/library/alpine" in places(registries, "alpine@sha256:" + "0" * 64)
    insecure = [place.insecure for place in registries.remotes("alpine")[0].endpoints]
    assert insecure == [True, False, False]


def test_the_longest_prefix_wins(load: Load) -> None:
    registries = load(
        '[[registry]]\nlocation = "h.org"\n'
        '[[registry]]\nprefix = "h.org/a"\nlocation = "inside.org/b"\ninsecure = true\n'
        '[[registry]]\nprefix = "*.wild.org"\nlocation = "tame.org"\n'
    )
    assert places(registries, "h.org/a/x") == ["inside.org/b/x"]
    assert places(registries, "h.org/ab/x") == ["h.org/ab/x"]
    assert places(registries, "one.wild.org/x/y") == ["tame.org/x/y"]
    assert registries.remotes("h.org/a/x")[0].endpoints[0].insecure


def test_a_blocked_registry_is_refused(load: Load) -> None:
    registries = load('[[registry]]\nlocation = "evil.org"\nblocked = true\n')
    with pytest.raises(ConfigurationError, match=r"blocked.*evil\.org"):
        registries.remotes("evil.org/x")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[registry", "not TOML"),
        ("[registries.search]\nregistries = []\n", "version 1"),
        ("[[registry]]\ninsecure = true\n", "neither prefix nor location"),
        (
            "[[registry]]\nlocation = 1\n",
            "conf: registry 1: location: expected a string, found a number",
        ),
        ("registry = 1\n", "registry: expected a list, found a number"),
        ("registry = [1]\n", "registry 1: expected a table, found a number"),
        ('aliases = "x"\n', "aliases: expected a table, found a string"),
        ('[[registry]]\nlocation = "a"\n[[registry.mirror]]\ninsecure=true\n', "no location"),
        ("unqualified-search-registries = [1]\n", "search-registries: expected a list of strings"),
        ('unqualified-search-registries = "docker.io"\n', "expected a list of strings"),
    ],
)
def test_a_faulty_file_is_named(load: Load, tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault) as caught:
        load(text)
    assert str(tmp_path / "registries.conf") in caught.value.message


def test_the_users_file_and_fragments_are_found(tmp_path: Path) -> None:
    place = tmp_path / ".config/containers"
    (place / "registries.conf.d").mkdir(parents=True)
    (place / "registries.conf").write_text('[[registry]]\nlocation = "h.org"\ninsecure = true\n')
    (place / "registries.conf.d/z.conf").write_text('[aliases]\nzz = "z.org/zz"\n')
    registries = Registries.load({"HOME": str(tmp_path)})
    assert registries.remotes("h.org/a")[0].endpoints[0].insecure
    assert references(registries, "zz") == ["z.org/zz:latest"]
