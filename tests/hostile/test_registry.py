"""A hostile registry: every case works all the same, or ends in one clear error."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scripts.place import CHECKOUT

from tests.conftest import command
from tests.hostile import registry_answers, registry_documents, registry_logins, registry_pushes
from tests.hostile.case import PASSWORD, TOKEN, USER, Case
from tests.hostile.web import World, serving

if TYPE_CHECKING:
    from collections.abc import Generator

CASES: tuple[Case, ...] = (
    *registry_documents.CASES,
    *registry_answers.CASES,
    *registry_logins.CASES,
    *registry_pushes.CASES,
)

_SECONDS = 60  # the timeout of a command that does not end
_SECRETS = (PASSWORD, TOKEN, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
_PLACES = ("images", "layers", "tmp")


class Forked:
    """``ch-image``, imported once; see ``forked``."""

    def __init__(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            start_new_session=True,
        )

    def run(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        output = self._process.stdout
        ready, _, _ = select.select([output], [], [], _SECONDS)
        if not ready:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.close()
            self._process = self._started()
            pytest.fail("the command does not end")
        done: dict[str, Any] = json.loads(output.readline())
        return done

    def close(self) -> None:
        with self._process:  # this closes its pipes, so it ends
            pass


@pytest.fixture(scope="module")
def forked() -> Generator[Forked]:
    commands = Forked()
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def world(place: Path) -> Generator[World]:
    authority, certificate, key = certificates(place)
    with serving(World(authority=str(authority)), (str(certificate), str(key))) as servers:
        yield servers


def certificates(place: Path) -> tuple[Path, Path, Path]:
    """Make an authority as sites do, without a key usage, and a certificate for many names."""
    files = {name: str(place / name) for name in ("ca.crt", "ca.key", "tls.crt", "tls.key")}
    names = ",".join(f"DNS:{name}" for name in NAMES)
    new = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"]
    new += ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    signed = ["-CA", files["ca.crt"], "-CAkey", files["ca.key"]]
    for subject, name, extensions in (
        ("/CN=site", "ca", ["basicConstraints=CA:TRUE"]),
        ("/CN=servers", "tls", ["basicConstraints=CA:FALSE", f"subjectAltName={names}"]),
    ):
        made = ["-subj", subject, "-keyout", files[f"{name}.key"], "-out", files[f"{name}.crt"]]
        added = [word for extension in extensions for word in ("-addext", extension)]
        subprocess.run(
            [*new, *made, *added, *(signed if name == "tls" else [])],
            check=True,
            capture_output=True,
        )
    return Path(files["ca.crt"]), Path(files["tls.crt"]), Path(files["tls.key"])


NAMES = (
    *("site.test", "*.site.test", "*.other.test", "*.example.co.uk", "*.co.uk", "*.github.io"),
    *("*.docker.io", "*.scw.cloud", "*.fr-par.scw.cloud", "*.scaleway.com", "*.test"),
)


def listing(storage: Path) -> dict[str, list[str]]:
    """Return the parts of the storage directory that a command may have left."""
    return {
        name: sorted(os.listdir(storage / name)) for name in _PLACES if (storage / name).is_dir()
    }


def environment(world: World, case: Case, place: Path) -> dict[str, str]:
    settings = place / "registries.conf"
    settings.write_text(case.settings)
    logins = place / "auth.json"
    logins.unlink(missing_ok=True)
    values = {
        "HOME": str(place),
        "PATH": os.environ["PATH"],
        "CH_IMAGE_STORAGE": str(place / "storage"),
        "CONTAINERS_REGISTRIES_CONF": str(settings),
        "REGISTRY_AUTH_FILE": str(logins),
        "http_proxy": f"http://{world.proxy}",
        "https_proxy": f"http://{world.proxy}",
        "SSL_CERT_FILE": world.authority,
        "TMPDIR": str(place),
    }
    if case.identity:
        hosts = {_host(case, world): {"identitytoken": PASSWORD}}
        logins.write_text(json.dumps({"auths": hosts}))
        logins.chmod(0o600)
    elif case.login:
        values |= {"CH_IMAGE_USERNAME": USER, "CH_IMAGE_PASSWORD": PASSWORD}
        values["CH_IMAGE_AUTH"] = "yes"
    return values


def _host(case: Case, world: World) -> str:
    return case.argv[-1].format(registry=world.registry).partition("/")[0]


def arguments(world: World, case: Case) -> list[str]:
    return [
        word.format(registry=world.registry, other=world.other, proxy=world.proxy)
        for word in case.argv
    ]


def check(case: Case, world: World, *, status: int, out: str, err: str) -> None:
    """Check the result of a case."""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err, err
    if case.says:
        assert status == 1, (status, out, err)
        assert len(errors) == 1, err
        assert case.says in err, err
    else:
        assert (status, errors) == (0, []), err
    told = "\n".join(f"{asked.server} {asked.method} {asked.path[:200]}" for asked in world.asked)
    assert len(world.asked) <= case.most, told
    assert world.sent <= case.floods, world.sent
    entitled = tuple(
        one.format(registry=world.registry, other=world.other) for one in case.entitled
    )
    for secret in _SECRETS:
        assert secret not in out + err
        for asked in world.asked:
            assert asked.server in entitled or secret not in asked.text, told
    # Sundog does not ask for the scope in a challenge.
    assert not any("repository%3Asecret" in asked.text for asked in world.asked)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_registry(case: Case, world: World, forked: Forked, place: Path) -> None:
    storage = place / "storage"
    world.reset()
    case.shelf(world.shelf)
    world.shelf.tags["library/a:1"] = world.shelf.tags["a:1"]
    world.fault = case.fault
    (place / "password").write_text(PASSWORD)
    prepare(storage)
    if case.argv[0] == "push":
        imported(case, world, forked, place)
    before = listing(storage)
    done = forked.run(
        argv=arguments(world, case),
        env=environment(world, case, place),
        read_seconds=case.seconds,
        chunk=case.chunk,
        input=str(place / "password") if case.argv[0] == "login" else None,
    )
    check(case, world, status=done["status"], out=done["out"], err=done["err"])
    after = listing(storage)
    if case.says or case.argv[0] != "pull":
        for name in after:
            left = [entry for entry in after[name] if entry not in before.get(name, ())]
            assert [entry for entry in left if entry != "trash"] == [], name
    elif case.argv[0] == "pull":
        assert len(after["images"]) == 1
        assert after["tmp"] in ([], ["trash"])


def imported(case: Case, world: World, forked: Forked, place: Path) -> None:
    """Put the image to push into the storage directory: an image of the registry."""
    honest = Case("")
    world.fault = honest.fault
    pulled = replace(honest, argv=("pull", "{registry}/a:1"))
    names = [*arguments(world, pulled), *(["pushed"] if case.argv[1] == "pushed" else [])]
    request = {"env": environment(world, honest, place), "read_seconds": 0, "chunk": 0}
    assert forked.run(argv=names, input=None, **request)["status"] == 0
    world.reset()
    world.fault = case.fault


def prepare(storage: Path) -> None:
    """Empty the storage directory; it keeps the facts about its file system."""
    for name in (*_PLACES, "blobs", "trees"):
        shutil.rmtree(storage / name, ignore_errors=True)


# One case of each kind, by the installed command.
_SAMPLE = (
    *("manifest-deep", "config-history-escapes", "foreign-file", "status-400-escapes"),
    *("raw-chunk-all", "redirect-file", "realm-elsewhere", "realm-site-beside"),
    *("token-life-400-digits", "login-unparsable"),
)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in _SAMPLE], ids=lambda case: case.name
)
def test_the_command_itself(case: Case, world: World, place: Path) -> None:
    world.reset()
    case.shelf(world.shelf)
    world.fault = case.fault
    prepare(place / "storage")
    done = subprocess.run(
        [*command("ch-image"), *arguments(world, case)],
        env=environment(world, case, place),
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=False,
    )
    check(case, world, status=done.returncode, out=done.stdout, err=done.stderr)


def test_there_are_many() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 150
