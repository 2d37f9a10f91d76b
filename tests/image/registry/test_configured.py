"""The keys of the configuration that are about registries: authorities and mirrors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sundog.base.configuration import level
from sundog.errors import ConfigurationError
from sundog.image.registry.config import Registries
from tests.conftest import command
from tests.image.builder.git_server import git, serving_git
from tests.image.pull.conftest import refused, shelf

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.pull.flavours import Flavours
    from tests.image.pull.images import Shelf

__all__ = ["shelf"]

Configure = Callable[[str], dict[str, str]]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Return a function that writes the user's file, and returns the variables for it."""
    directory = tmp_path / "config" / "sundog"
    directory.mkdir(parents=True)
    for place in (tmp_path, directory.parent, directory):
        place.chmod(0o755)

    def write(text: str) -> dict[str, str]:
        (directory / "sundog.toml").write_text(text)
        (directory / "sundog.toml").chmod(0o644)
        unset = ("CONTAINERS_REGISTRIES_CONF", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        places = {"XDG_CONFIG_HOME": str(directory.parent), "XDG_CACHE_HOME": str(tmp_path)}
        return places | dict.fromkeys(unset, "")

    return write


@pytest.fixture
def filled(flavours: Flavours, shelf: Shelf) -> Flavours:
    """Return the registries with the image ``some/image:1`` in them."""
    shelf.image(shelf.base(), tag="some/image:1")
    flavours.put(shelf)
    return flavours


def test_an_authority_of_the_configuration(
    filled: Flavours, configure: Configure, run_ch_image: Runner, tmp_path: Path
) -> None:
    words = ("pull", f"{filled.tls}/some/image:1")
    variables = configure("")
    refused(
        run_ch_image(*words, env=variables, check=False),
        f"{filled.tls}: its certificate is not trusted",
    )
    variables = configure(f'[registry]\nauthorities = "{filled.authority}"\n')
    run_ch_image(*words, env=variables)
    # The variable replaces it.
    more = {"REQUESTS_CA_BUNDLE": "/nowhere"}
    refused(
        run_ch_image(*words, "--always-download", env=variables | more, check=False),
        "$REQUESTS_CA_BUNDLE: no certificates in /nowhere",
    )
    # A build gets files of such servers, too.
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nADD https://{filled.tls}/v2/ /x\n")
    run_ch_image("build", "-t", "b", "-f", tmp_path / "Dockerfile", tmp_path, env=variables)


def test_git_trusts_the_authority(
    configure: Configure, run_ch_image: Runner, tmp_path: Path, tls: tuple[Path, Path]
) -> None:
    """A repository by ADD, and one as a context; a directory of OpenSSL, and $SSL_CERT_FILE."""
    work = tmp_path / "served" / "work"
    work.mkdir(parents=True)
    (work / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    for words in (("init", "-q"), ("add", "Dockerfile"), ("commit", "-q", "-m", "one")):
        git(work, *words)
    git(work, "clone", "-q", "--bare", ".", "../app.git")
    place = tmp_path / "context"
    place.mkdir()
    hashed = ["openssl", "x509", "-noout", "-hash", "-in", str(tls[0])]
    name = subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "hashed").mkdir()
    (tmp_path / "hashed" / f"{name}.0").symlink_to(tls[0])
    with serving_git(work.parent, tls) as address:
        (place / "Dockerfile").write_text(f"FROM scratch\nADD {address}/app.git /x\n")
        contexts = (str(place), f"{address}/app.git")
        for where in contexts:
            done = run_ch_image("build", "-t", "b", where, env=configure(""), check=False)
            assert done.returncode == 1
            assert "certificate" in done.stderr
        key = "registry.authorities = '{}'\n"
        for text, variable in (
            (key.format(tls[0]), ""),
            (key.format(tmp_path / "hashed"), ""),
            ("", "REQUESTS_CA_BUNDLE"),
            ("", "SSL_CERT_FILE"),
        ):
            run_ch_image("build-cache", "--reset")
            variables = configure(text) | ({variable: str(tls[0])} if variable else {})
            for where in contexts:
                run_ch_image("build", "-t", "b", where, env=variables)
        done = run_ch_image("build", place, env=configure(key.format("/nowhere")), check=False)
        refused(done, "registry.authorities: no certificates in /nowhere")


def test_an_authority_that_is_none_is_named(
    filled: Flavours, configure: Configure, run_ch_image: Runner, tmp_path: Path
) -> None:
    variables = configure('[registry]\nauthorities = "/nowhere"\n')
    done = run_ch_image("pull", f"{filled.tls}/some/image:1", env=variables, check=False)
    refused(done, f"{tmp_path}/config/sundog/sundog.toml: registry.authorities: no certificates in")


def test_a_mirror_of_the_configuration(
    filled: Flavours, configure: Configure, run_ch_image: Runner
) -> None:
    words = ("pull", "registry.invalid:5000/some/image:1")
    refused(run_ch_image(*words, env=configure(""), check=False), "can't reach registry.invalid")
    run_ch_image(
        *words, env=configure(f'[registry]\nmirrors = ["registry.invalid:5000={filled.http}"]\n')
    )
    assert run_ch_image("list").stdout == f"{words[1]}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the site's file; the tests' user is its root."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc").chmod(0o755)
    monkeypatch.setattr(level, "SITE_SETTINGS", os.fsencode(tmp_path / "etc"))
    monkeypatch.setattr(level, "SITE_OWNERS", (0, os.geteuid()))
    return tmp_path / "etc" / "sundog.toml"


def places(variables: dict[str, str], name: str) -> list[str]:
    """Return the places that are asked for an image."""
    (remote,) = Registries.load(variables).remotes(name)
    return [str(endpoint) for endpoint in remote.endpoints]


def test_which_mirrors_come_first(site: Path, configure: Configure, tmp_path: Path) -> None:
    """For a prefix: the user's, then registries.conf, then the site's; a variable before all."""
    variables = configure("")
    assert places(variables, "a.org/x/y") == ["a.org/x/y"]
    site.write_text('[registry]\nmirrors = ["a.org=m1.org/a", "a.org=m2.org:5000", "b.org=m.org"]')
    site.chmod(0o644)
    of_site = ["m1.org/a/x/y", "m2.org:5000/x/y", "a.org/x/y"]
    assert places(variables, "a.org/x/y") == of_site
    (tmp_path / "config" / "containers").mkdir()
    (tmp_path / "config" / "containers" / "registries.conf").write_text(
        '[[registry]]\nlocation = "a.org"\ninsecure = true\n'
        '[[registry.mirror]]\nlocation = "of-file.org"\n'
    )
    assert places(variables, "a.org/x/y") == ["of-file.org/x/y", "a.org/x/y"]
    assert places(variables, "b.org/x") == ["m.org/x", "b.org/x"]
    configure('[registry]\nmirrors = ["a.org=own.org"]')
    assert places(variables, "a.org/x/y") == ["own.org/x/y", "a.org/x/y"]
    assert Registries.load(variables).remotes("a.org/x")[0].endpoints[-1].insecure
    assert places(variables, "b.org/x") == ["b.org/x"]  # the user's list replaces the site's
    (tmp_path / "empty.conf").touch()
    variables["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "empty.conf")
    assert places(variables, "a.org/x/y") == ["a.org/x/y"]


@pytest.mark.parametrize("mirror", ["a.org=m.org:99999", "a..org=m.org", "a.org=-:b"])
def test_a_mirror_without_an_address(configure: Configure, mirror: str, tmp_path: Path) -> None:
    variables = configure(f'[registry]\nmirrors = ["{mirror}"]')
    with pytest.raises(ConfigurationError) as wrong:
        Registries.load(variables)
    assert wrong.value.message.startswith(f"{tmp_path}/config/sundog/sundog.toml: registry.mirrors")
    assert wrong.value.hint == "write PREFIX=HOST[:PORT][/PATH], without https://"


def test_check_names_what_has_no_effect(filled: Flavours, configure: Configure) -> None:
    for text, expected in (
        ('authorities = "/nowhere"', "registry.authorities: no certificates in /nowhere"),
        ('mirrors = ["a.org=m.org:0"]', "registry.mirrors: "),
        (f'authorities = "{filled.authority}"\nmirrors = ["a.org=m.org"]', ""),
    ):
        done = subprocess.run(
            [*command("sundog"), "config", "--check"],
            env=os.environ | configure(f"[registry]\n{text}\n"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == bool(expected), done
        assert expected in done.stderr
