"""The tools under test: their commands, and the places of their storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Bench

BASE = "bench-base"


@dataclass(frozen=True)
class Tool:
    """A tool with a storage directory of its own."""

    name: str
    bench: Bench
    storage: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that the tool needs."""
        return {}

    @property
    def base(self) -> str:
        """Return the base image's name in FROM."""
        return BASE

    def importing(self, tarball: Path, name: str = BASE) -> list[str]:
        """Return the command that makes an image of a tarball."""
        raise NotImplementedError

    def building(
        self, dockerfile: Path, *, cache: bool = True, options: Sequence[str] = ()
    ) -> list[str]:
        """Return the command that builds a Dockerfile in the context directory."""
        raise NotImplementedError

    def pulling(self, image: str) -> list[str]:
        """Return the command that pulls an image from a registry without a trusted certificate."""
        raise NotImplementedError

    def pushing(self, image: str, destination: str) -> list[str]:
        """Return the command that pushes an image to such a registry."""
        raise NotImplementedError

    def removing(self) -> list[str]:
        """Return the command that removes the built image, and all that only this image needed."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sundog(Tool):
    """This project."""

    @property
    def environment(self) -> dict[str, str]:
        """Return its storage directory."""
        return {"CH_IMAGE_STORAGE": str(self.storage)}

    def importing(self, tarball: Path, name: str = BASE) -> list[str]:
        """Import."""
        return [str(self.bench.programs / "ch-image"), "import", str(tarball), name]

    def building(
        self, dockerfile: Path, *, cache: bool = True, options: Sequence[str] = ()
    ) -> list[str]:
        """Build under the filter."""
        command = [str(self.bench.programs / "ch-image"), "build", "--force=seccomp"]
        command += [] if cache else ["--no-cache"]
        return [*command, *options, "-t", "bench", "-f", str(dockerfile), str(dockerfile.parent)]

    def removing(self) -> list[str]:
        """Delete the image.  Without the cache, nothing else refers to its layers."""
        return [str(self.bench.programs / "ch-image"), "delete", "bench"]

    def pulling(self, image: str) -> list[str]:
        """Pull."""
        return [str(self.bench.programs / "ch-image"), "pull", image]

    def pushing(self, image: str, destination: str) -> list[str]:
        """Push."""
        return [str(self.bench.programs / "ch-image"), "push", image, destination]


@dataclass(frozen=True)
class Charliecloud(Tool):
    """Debian's charliecloud with its build cache."""

    @property
    def environment(self) -> dict[str, str]:
        """Return its storage directory, and the switch of its build cache.

        Its --tls-no-verify does nothing if $REQUESTS_CA_BUNDLE names a file.
        """
        storage = {"CH_IMAGE_STORAGE": str(self.storage), "CH_IMAGE_CACHE": "enabled"}
        return {**storage, "REQUESTS_CA_BUNDLE": ""}

    def importing(self, tarball: Path, name: str = BASE) -> list[str]:
        """Import."""
        return ["/usr/bin/ch-image", "import", str(tarball), name]

    def building(
        self, dockerfile: Path, *, cache: bool = True, options: Sequence[str] = ()
    ) -> list[str]:
        """Build under its filter."""
        command = ["/usr/bin/ch-image", "build", "--force=seccomp"]
        command += [] if cache else ["--no-cache"]
        return [*command, *options, "-t", "bench", "-f", str(dockerfile), str(dockerfile.parent)]

    def pulling(self, image: str) -> list[str]:
        """Pull from a registry with TLS: it knows no other."""
        return ["/usr/bin/ch-image", "--tls-no-verify", "pull", image]

    def pushing(self, image: str, destination: str) -> list[str]:
        """Push to a registry with TLS."""
        return ["/usr/bin/ch-image", "--tls-no-verify", "push", image, destination]


@dataclass(frozen=True)
class Buildah(Tool):
    """Debian's buildah, rootless, with subordinate ids and the kernel's overlay."""

    @property
    def base(self) -> str:
        """Return the name for which buildah asks no registry."""
        return f"localhost/{BASE}"

    @property
    def _command(self) -> list[str]:
        root, run = self.storage / "root", self.storage / "run"
        driver = ["--storage-driver", "overlay"]
        return ["/usr/bin/buildah", "--root", str(root), "--runroot", str(run), *driver]

    def importing(self, tarball: Path, name: str = BASE) -> list[str]:
        """Import: add the tarball to an empty container and commit that."""
        buildah = " ".join(self._command)
        script = (
            f"c=$({buildah} from scratch) && {buildah} add -q $c {tarball} / && "
            f"{buildah} commit -q $c {name} && {buildah} rm $c"
        )
        return ["sh", "-c", script]

    def building(
        self, dockerfile: Path, *, cache: bool = True, options: Sequence[str] = ()
    ) -> list[str]:
        """Build in a chroot, without a network of its own."""
        command = [*self._command, "build", "--isolation", "chroot", "--network", "host"]
        command += ["--layers"] if cache else ["--layers", "--no-cache"]
        return [*command, *options, "-t", "bench", "-f", str(dockerfile), str(dockerfile.parent)]

    def removing(self) -> list[str]:
        """Remove the image, and all images without a name."""
        return [
            "sh", "-c", '"$@" rmi -f bench && "$@" rmi --prune --force', "sh", *self._command
        ]  # fmt: skip

    def pulling(self, image: str) -> list[str]:
        """Pull from a registry without TLS."""
        return [*self._command, "pull", "-q", "--tls-verify=false", image]

    def pushing(self, image: str, destination: str) -> list[str]:
        """Push to a registry without TLS."""
        return [
            *self._command,
            "push",
            "-q",
            "--tls-verify=false",
            image,
            f"docker://{destination}",
        ]

    def copying(self, image: str) -> list[str]:
        """Return the beginning of skopeo's command that copies an image out of this storage."""
        place = f"[overlay@{self.storage / 'root'}+{self.storage / 'run'}]"
        return ["buildah", "unshare", "skopeo", "copy", "-q", f"containers-storage:{place}{image}"]

    def container(self, name: str) -> list[str]:
        """Return the command that makes a working container of an image and prints its name."""
        return [*self._command, "from", "--pull-never", f"localhost/{name}"]

    def running(self, container: str, *argv: str) -> list[str]:
        """Return the command that runs a program in a working container, as builds do."""
        return [*self._command, "run", "--isolation", "chroot", container, "--", *argv]


@dataclass(frozen=True)
class Podman(Buildah):
    """Debian's podman, rootless, in buildah's user namespace: on its own it leaves a process."""

    def pulling(self, image: str) -> list[str]:
        """Pull from a registry without TLS."""
        places = ["--root", str(self.storage / "root"), "--runroot", str(self.storage / "run")]
        podman = ["/usr/bin/podman", *places, "--storage-driver", "overlay"]
        return ["buildah", "unshare", *podman, "pull", "-q", "--tls-verify=false", image]


@dataclass(frozen=True)
class SkopeoUmoci(Tool):
    """skopeo copies an image into an OCI layout, umoci unpacks it."""

    def pulling(self, image: str) -> list[str]:
        """Pull from a registry without TLS."""
        place = self.storage / image.rpartition("/")[2].partition(":")[0]
        copy = f"skopeo copy -q --src-tls-verify=false docker://{image} oci:{place}/layout:x"
        unpack = f"umoci unpack --rootless --image {place}/layout:x {place}/bundle"
        return ["sh", "-ec", f"mkdir -p {place} && {copy} && {unpack}"]


KINDS: dict[str, type[Tool]] = {
    "sundog": Sundog,
    "charliecloud": Charliecloud,
    "buildah": Buildah,
}
