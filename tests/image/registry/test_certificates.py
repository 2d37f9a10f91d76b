"""``certs.d``: authorities and client certificates per registry."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.errors import CertificateError
from sundog.image.registry.certificates import Certificates
from tests.image.pull.conftest import refused, shelf
from tests.image.pull.faulty import FaultyRegistry
from tests.image.pull.flavours import Flavours, certificate, demanding

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from tests.conftest import Runner
    from tests.image.pull.images import Shelf

__all__ = ["shelf"]


@pytest.fixture
def client(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a client's certificate and of its key."""
    return certificate(tmp_path_factory.mktemp("client"))


@pytest.fixture
def strict(
    flavours: Flavours, shelf: Shelf, tls: tuple[Path, Path], client: tuple[Path, Path]
) -> Generator[str]:
    """Return HOST:PORT of a registry with ``a:1`` in it that wants the client's certificate."""
    shelf.image(shelf.base(), tag="a:1")
    flavours.put(shelf)
    with demanding(flavours.place, tls, client[0]) as host:
        yield host


@pytest.fixture
def settings(tmp_path: Path) -> Mapping[str, str]:
    """Return an environment whose user has no settings yet."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "SSL_CERT_FILE": ""}


def directory(home: Path, host: str) -> Path:
    place = home / ".config/containers/certs.d" / host
    place.mkdir(parents=True)
    return place


def test_an_authority_for_one_registry(
    *,
    flavours: Flavours,
    shelf: Shelf,
    run_ch_image: Runner,
    tmp_path: Path,
    settings: Mapping[str, str],
) -> None:
    shelf.image(shelf.base(), tag="a:1")
    flavours.put(shelf)
    shutil.copy(flavours.authority, directory(tmp_path, flavours.tls) / "site.crt")
    run_ch_image("pull", f"{flavours.tls}/a:1", env=settings)
    other = run_ch_image("pull", f"{flavours.basic}/a:1", env=settings, check=False)
    refused(other, f"{flavours.basic}: its certificate is not trusted", "certs.d/HOST:PORT/ca.crt")


def test_a_certificate_of_the_client(
    *,
    strict: str,
    tls: tuple[Path, Path],
    client: tuple[Path, Path],
    run_ch_image: Runner,
    tmp_path: Path,
    settings: Mapping[str, str],
) -> None:
    place = directory(tmp_path, strict)
    shutil.copy(tls[0], place / "ca.crt")
    done = run_ch_image("pull", f"{strict}/a:1", env=settings, check=False)
    refused(done, f"{strict}: TLS failed: ", "certificate required", "hint: the registry wants a")

    shutil.copy(client[0], place / "client.cert")
    done = run_ch_image("pull", f"{strict}/a:1", env=settings, check=False)
    refused(done, f"no key for client certificate {place}/client.cert", "containers-certs.d(5)")

    shutil.copy(client[1], place / "client.key")
    run_ch_image("pull", f"{strict}/a:1", env=settings)
    run_ch_image("push", f"{strict}/a:1", f"{strict}/b:1", env=settings)
    (place / "ca.crt").unlink()
    run_ch_image("pull", "--tls-no-verify", f"{strict}/b:1", env=settings)

    # skopeo reads this directory too.
    shutil.copy(tls[0], place / "ca.crt")
    subprocess.run(
        ["skopeo", "inspect", "--cert-dir", place, f"docker://{strict}/b:1"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("name", ["ca.crt", "client.cert", "client.key"])
def test_files_that_are_no_certificates(
    *,
    name: str,
    strict: str,
    client: tuple[Path, Path],
    run_ch_image: Runner,
    tmp_path: Path,
    settings: Mapping[str, str],
) -> None:
    place = directory(tmp_path, strict)
    shutil.copy(client[0], place / "client.cert")
    shutil.copy(client[1], place / "client.key")
    (place / name).write_text("nonsense\n")
    done = run_ch_image("pull", f"{strict}/a:1", env=settings, check=False)
    refused(done, f"can't use {place}/", "containers-certs.d(5)")


def test_a_key_with_a_passphrase_is_not_asked_for(
    *,
    strict: str,
    client: tuple[Path, Path],
    run_ch_image: Runner,
    tmp_path: Path,
    settings: Mapping[str, str],
) -> None:
    place = directory(tmp_path, strict)
    shutil.copy(client[0], place / "client.cert")
    lock = ["openssl", "rsa", "-aes256", "-passout", "pass:secret"]
    subprocess.run([*lock, "-in", client[1], "-out", place / "client.key"], check=True)
    done = run_ch_image("pull", f"{strict}/a:1", env=settings, check=False)
    refused(done, f"can't use {place}/client.cert and client.key: ")


def test_an_authority_of_a_site_needs_no_key_usage(
    *,
    shelf: Shelf,
    run_ch_image: Runner,
    tmp_path: Path,
    settings: Mapping[str, str],
) -> None:
    """Python's VERIFY_X509_STRICT refuses such authorities; curl accepts them."""
    shelf.image(shelf.base(), tag="a:1")
    authority, *server = (str(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key"))
    new = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"]
    new += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    key = ["-keyout", str(tmp_path / "ca.key"), "-out", authority]
    usage = ["-addext", "basicConstraints=CA:TRUE"]
    subprocess.run([*new, "-subj", "/CN=site", *key, *usage], check=True, capture_output=True)
    text = ["openssl", "x509", "-noout", "-text", "-in", authority]
    assert b"Key Usage" not in subprocess.run(text, check=True, capture_output=True).stdout
    key = [
        "-keyout",
        server[1],
        "-out",
        server[0],
        "-CA",
        authority,
        "-CAkey",
        str(tmp_path / "ca.key"),
    ]
    names = ["-addext", "basicConstraints=CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, "-subj", "/CN=x", *key, *names], check=True, capture_output=True)
    with FaultyRegistry(shelf).serve((Path(server[0]), Path(server[1]))) as registry:
        url = f"https://{registry.host}/v2/"
        curl = ["curl", "-sS", "--cacert", authority, url]
        assert subprocess.run(curl, check=True, capture_output=True).stdout == b"{}"
        shutil.copy(authority, directory(tmp_path, registry.host) / "ca.crt")
        run_ch_image("pull", f"{registry.host}/a:1", env=settings)
        run_ch_image("pull", f"{registry.host}/a:1", env={"SSL_CERT_FILE": authority})
        # The server's own certificate is enough too: a chain may end below its root.
        shutil.copy(server[0], directory(tmp_path / "leaf", registry.host) / "ca.crt")
        leaf = {**settings, "HOME": str(tmp_path / "leaf")}
        run_ch_image("pull", "--always-download", f"{registry.host}/a:1", env=leaf)
        (tmp_path / "context").mkdir()
        dockerfile = tmp_path / "context/Dockerfile"
        dockerfile.write_text(f"FROM scratch\nADD {url} /x\n")
        run_ch_image("build", "-t", "b", tmp_path / "context", env={"SSL_CERT_FILE": authority})


def test_the_user_comes_before_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [tmp_path / "etc/containers", tmp_path / "etc/docker"]
    monkeypatch.setattr(
        "sundog.image.registry.certificates._SYSTEM", [str(place) for place in machine]
    )
    environment = {"HOME": str(tmp_path)}
    assert Certificates.of("h:1", environment) == Certificates()
    places = [*machine, tmp_path / ".config/containers"]
    for place in reversed(places[:2]):
        (place / "certs.d/h:1").mkdir(parents=True)
        (place / "certs.d/h:1/x.crt").touch()
        assert Certificates.of("h:1", environment).authorities == (f"{place}/certs.d/h:1/x.crt",)
    (places[2] / "certs.d/h:1").mkdir(parents=True)
    assert Certificates.of("h:1", environment) == Certificates()
    (places[2] / "certs.d/h:1").chmod(0)
    with pytest.raises(CertificateError, match=r"certs.d/h:1: Permission denied"):
        Certificates.of("h:1", environment)
