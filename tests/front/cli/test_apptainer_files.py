"""``sundog apptainer build`` and ``pull``: SIFs and sandboxes of all sources, and running them."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Completed, command, run_program
from tests.image.convert.formats import in_squash, in_tar, sif_descriptors
from tests.image.pull.conftest import flavours, no_logins, tls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.image.pull.flavours import Flavours

__all__ = ["flavours", "no_logins", "tls"]

DOCKERFILE = """\
FROM bb
RUN touch /owned && chown 3:4 /owned && chmod 4755 /owned
ENV WORD="a $ b"
ENTRYPOINT ["echo", "$HOME"]
CMD ["cmd"]
LABEL who=me
"""


class Place:
    """A storage directory with the image app, and a directory to work in."""

    def __init__(self, path: Path, busybox: Path) -> None:
        self.path = path
        (path / "run").mkdir(mode=0o700)
        self.environment = {
            "CH_IMAGE_STORAGE": str(path / "storage"),
            "XDG_RUNTIME_DIR": str(path / "run"),
            "HOME": str(path),
            "TMPDIR": "",
        }
        self.image("import", busybox, "bb")
        (path / "Dockerfile").write_text(DOCKERFILE)
        self.image("build", "--force=notify", "-t", "app", "-f", path / "Dockerfile", path)

    def image(self, *words: str | Path) -> Completed:
        return run_program([*command("ch-image"), *map(str, words)], env=self.environment)

    def run(
        self, *words: str | Path, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run ``sundog apptainer``."""
        argv = [*command("sundog"), "apptainer", *map(str, words)]
        environment = self.environment | dict(env or {})
        return run_program(argv, check=check, env=environment, cwd=self.path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Place:
    return Place(tmp_path_factory.mktemp("apptainer"), busybox_tar)


@pytest.fixture(scope="module")
def sif(place: Place) -> Path:
    """Return a SIF of the image app."""
    place.run("build", "app.sif", "docker://app")
    return place.path / "app.sif"


def test_a_sif_runs_as_the_image_does(place: Place, sif: Path) -> None:
    """ENTRYPOINT, CMD, ENV and their evaluation are the same by layers and from a SIF."""
    assert stat.S_IMODE(sif.stat().st_mode) == 0o755
    lines = (
        ("run", "IMAGE"),
        ("run", "IMAGE", "x  y", "$HOME"),
        ("run", "--no-eval", "IMAGE", "$HOME", "x"),
        ("exec", "IMAGE", "sh", "-c", 'echo "$WORD"; pwd; id -u'),
        ("exec", "--env", "WORD=other", "IMAGE", "sh", "-c", 'echo "$WORD"'),
        ("exec", "IMAGE", "stat", "-c", "%a", "/owned"),
    )
    for line in lines:
        by_layers, by_sif = (
            place.run(*(image if word == "IMAGE" else word for word in line))
            for image in ("docker://app", str(sif))
        )
        assert by_sif.stdout == by_layers.stdout, line
        assert by_sif.stderr == by_layers.stderr == "", line
    assert place.run("run", sif).stdout == f"{place.path} cmd\n"


def test_owners_are_in_the_file(sif: Path) -> None:
    found = in_tar(in_squash(sif))
    assert found[b"owned"][:4] == ("f", 0o4755, 3, 4)


def test_root_sees_the_same_tree(place: Place, sif: Path) -> None:
    """By layers, in the SIF, and in the sandbox: owners and modes of all paths, as root."""
    place.run("build", "--sandbox", "seen", "docker://app")
    script = (
        "find / -xdev -path /ch -prune -o -path /.singularity.d -prune -o "
        "-exec stat -c '%n %a %u %g %F' {} + 2>/dev/null | sort"
    )
    seen = []
    for image in ("docker://app", str(sif), "seen"):
        argv = ("exec", "--fakeroot", "--containall", "--no-home", image, "sh", "-c", script)
        rows = place.run(*argv).stdout.splitlines()
        # Mounts, and links of Apptainer.
        hidden = ("/dev", "/proc", "/sys", "/tmp", "/var", "/root", "/etc", "/mnt", "/environment")
        more = ("/ ", "/.exec", "/.run", "/.shell", "/.test", "/singularity")
        seen.append([row for row in rows if not row.startswith((*hidden, *more))])
    assert seen[0] == seen[1] == seen[2]
    assert "/owned 4755 3 4 regular empty file" in seen[0]
    assert len(seen[0]) > 100


def test_sources(place: Place, sif: Path) -> None:
    """Every source gives the same tree, as a SIF and as a sandbox."""
    expected = in_tar(in_squash(sif))
    squash = place.path / "app.sqfs"
    run_program([*command("ch-convert"), "-q", "app", squash], env=place.environment)
    place.image("save", "app", "-o", place.path / "app.tar")
    place.image("save", "--format=docker-archive", "app", "-o", place.path / "docker.tar")
    run_program(
        [*command("ch-convert"), "-q", "app", f"oci:{place.path}/oci"], env=place.environment
    )
    place.run("build", "--sandbox", "sandbox", "app.sif")
    place.run("build", "-s", "layers", "docker://app")
    sources: tuple[str, ...] = (
        *("app.sif", "sandbox", "./layers/", str(squash), "oci-archive:app.tar", "oci:oci"),
        *("docker-archive:docker.tar", "docker-archive://docker.tar"),
    )
    for number, source in enumerate(sources):
        name = f"from{number}.sif"
        done = place.run("build", name, source)
        assert done.stdout == ""
        assert done.stderr.splitlines()[-1] == f"INFO:    Build complete: {name}"
        made = place.path / name
        found = in_tar(in_squash(made))
        assert _lasting(found) == _lasting(expected), source
        assert place.run("run", made).stdout == f"{place.path} cmd\n"
        made.unlink()
    assert place.run("run", "sandbox").stdout == f"{place.path} cmd\n"
    shutil.rmtree(place.path / "layers")


def _lasting(found: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """Return all but the files that say where the image came from."""
    told = (b".singularity.d/Singularity", b".singularity.d/labels.json")
    own = (b"ch/metadata.json", b"ch/stack")  # WORKDIR "/" and none are the same
    return {path: each[:6] for path, each in found.items() if path not in (*told, *own)}


def test_targets_that_are_there(place: Place, sif: Path) -> None:
    """A target stays without --force; a new one takes its place when it is complete."""
    target = place.path / "there.sif"
    target.write_text("old")
    done = place.run("build", target, "docker://app", check=False)
    assert (done.returncode, target.read_text()) == (255, "old")
    assert done.stderr.startswith("FATAL:   build target 'there.sif' already exists")
    done = place.run("pull", target, "docker://app", check=False)
    assert done.returncode == 255
    assert done.stderr.splitlines()[0] == (
        f'FATAL:   Image file already exists: "{target}" - will not overwrite'
    )
    done = place.run("build", "--force", target, "docker://nosuch.invalid/x", check=False)
    assert (done.returncode, target.read_text()) == (255, "old")
    place.run("build", "-F", target, "app.sif")
    assert sif_descriptors(target.read_bytes())[0][0] == 0x4001
    assert not list(place.path.glob("*.part"))
    (place.path / "mine").mkdir()
    (place.path / "mine/file").write_text("precious")
    done = place.run("build", "--force", "--sandbox", "mine", "app.sif", check=False)
    assert done.returncode == 255
    assert (place.path / "mine/file").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("build", "x.sif"), 1, "build: not TARGET SOURCE"),
        (("build", "x.sif", "nosuch"), 255, "unable to build from nosuch: no such file"),
        (("build", "x.sif", "library://x"), 255, "library://x: Sundog knows no library"),
        (("build", "--encrypt", "x.sif", "docker://app"), 1, "--encrypt: nothing is encrypted"),
        (("build", "no/x.sif", "docker://app"), 255, "not a directory: "),
        (("pull", "debian"), 255, "No transport type URI supplied"),
        (("pull",), 1, "pull: not [TARGET] SOURCE"),
        (("pull", "--arch", "a b", "docker://app"), 1, "--arch a b: no such architecture"),
    ],
)
def test_wrong_lines(place: Place, words: tuple[str, ...], status: int, text: str) -> None:
    done = place.run(*words, check=False)
    assert done.returncode == status
    assert f"FATAL:   {text}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place.path / "x.sif").exists()


def test_pull(place: Place, flavours: Flavours) -> None:
    """The name of the file is that of the image; --name, --dir and a word before it say another."""
    remote = f"{flavours.http}/a/b"
    place.image("push", "app", f"{remote}:c")
    place.image("push", "app", remote)
    for words, name in (
        ((f"docker://{remote}:c",), "b_c.sif"),
        ((f"docker://{remote}",), "b_latest.sif"),
        (("--name", "n.sif", f"docker://{remote}"), "n.sif"),
        (("own.simg", f"docker://{remote}:c"), "own.simg"),
        (("--dir", "down", "/own.sif", f"docker://{remote}"), "down/own.sif"),
    ):
        (place.path / "down").mkdir(exist_ok=True)
        done = place.run("pull", *words)
        assert done.stdout == ""
        assert place.run("run", name, "x").stdout == f"{place.path} x\n"
        (place.path / name).unlink()
    place.run("pull", "--sandbox", "tree", f"docker://{remote}")
    assert place.run("run", "tree", "x").stdout == f"{place.path} x\n"


def test_a_pull_that_keeps_nothing(place: Place, flavours: Flavours) -> None:
    """With --disable-cache, storage has no more images than before."""
    remote = f"{flavours.http}/once"
    place.image("push", "app", remote)
    before = place.image("list").stdout
    place.run("pull", "--disable-cache", "once.sif", f"docker://{remote}")
    definition = sif_descriptors((place.path / "once.sif").read_bytes())[0]
    start, size = definition[2:4]
    text = (place.path / "once.sif").read_bytes()[start : start + size]
    assert text == f"bootstrap: docker\nfrom: {remote}\n\n".encode()
    assert place.image("list").stdout == before


def test_a_pull_asks_the_registry_and_spares_own_images(place: Place, flavours: Flavours) -> None:
    """A tag that has moved is fetched again; an image that was built here is taken as it is."""
    remote = f"{flavours.http}/moving"
    place.image("push", "bb", remote)
    place.run("pull", "moving.sif", f"docker://{remote}")
    place.image("push", "app", remote)
    place.run("pull", "--force", "moving.sif", f"docker://{remote}")
    assert place.run("run", "moving.sif").stdout == f"{place.path} cmd\n"
    done = place.run("pull", "--force", "moving.sif", "docker://app")
    assert "INFO:    using the image in storage: app" in done.stderr.splitlines()


def test_a_login_of_apptainers_variables(place: Place, flavours: Flavours) -> None:
    env = {
        "SSL_CERT_FILE": str(flavours.authority),
        "CH_IMAGE_USERNAME": "alice",
        "CH_IMAGE_PASSWORD": "secret",
    }
    argv = [*command("ch-image"), "push", "--auth", "bb", f"{flavours.basic}/private"]
    run_program(argv, env=place.environment | env)
    source = f"docker://{flavours.basic}/private"
    bare = {"SSL_CERT_FILE": env["SSL_CERT_FILE"]}
    login = {"APPTAINER_DOCKER_USERNAME": "alice", "SINGULARITY_DOCKER_PASSWORD": "secret"}
    assert place.run("exec", source, "true", env=bare, check=False).returncode == 255
    done = place.run("exec", source, "env", env=bare | login)
    assert "CH_IMAGE_PASSWORD" not in done.stdout
    assert "DOCKER_" not in done.stdout
    assert place.run("pull", "p.sif", source, env=bare, check=False).returncode == 255
    place.run("pull", "p.sif", source, env=bare | login)
    assert os.path.getsize(place.path / "p.sif") > 32176
