"""The images that buildah, as real root, makes of the Dockerfiles.

The results are kept beside the base images, and made again when their sources change.
"""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases import makers
from scripts.conformance.cases import BASE, EXPECT
from scripts.conformance.images import Image, read_image
from scripts.place import WorkshopError, atomically, digest, find, own

if TYPE_CHECKING:
    from scripts.conformance.cases import Case

NEEDS = ("buildah", "ca-certificates")
SOURCES = ("peer.py", "images.py", "../fidelity/entries.py")
# buildah asks for higher limits than root may have here, and root may be unable to raise them.
LIMITS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


def reference(case: Case) -> Image:
    """Return what buildah makes of a case; build it now, as root, unless it is kept."""
    found = kept(case)
    if found is None:
        target = own("bases") / _name(case)
        with (
            tempfile.TemporaryDirectory(prefix="sundog-peer.", dir="/var/tmp") as place,
            atomically(target) as part,
        ):
            part.write_bytes(pickle.dumps(_build(case, Path(place))))
        for old in target.parent.glob(f"peer-{case.name}-????????????.pickle"):
            if old != target:
                old.unlink()
        found = kept(case)
    if found is None:
        raise WorkshopError(f"{case.name}: the kept result of buildah is gone")
    return found


def kept(case: Case) -> Image | None:
    """Return the kept result of a case, for users who are not root."""
    target = find("bases", _name(case))
    if target is None:
        return None
    image = pickle.loads(target.read_bytes())
    assert isinstance(image, Image)
    return image


def _name(case: Case) -> str:
    """Return the result's file name, which depends on all of its sources."""
    files = [path for path in case.path.rglob("*") if path.is_file() and path.name != EXPECT]
    sources = [Path(__file__).parent / name for name in SOURCES]
    more = [f"{path.relative_to(case.path)} {path.stat().st_mode & 0o111:o}" for path in files]
    names = sorted(more)
    made_from = digest([*files, *sources], makers.tarball(case.base), *names)
    return f"peer-{case.name}-{made_from}.pickle"


def _build(case: Case, place: Path) -> Image:
    # buildah keeps the caches of RUN --mount=type=cache in the directory for temporary files.
    temporary = place / "tmp"
    temporary.mkdir()
    storage = ["--root", f"{place}/storage", "--runroot", f"{place}/run"]
    buildah = ["env", f"TMPDIR={temporary}", "buildah", *storage]
    container = _run([*buildah, "from", "scratch"]).strip()
    mounted = _run([*buildah, "mount", container]).strip()
    unpack = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"]
    _run([*unpack, str(makers.base(case.base)), "-C", mounted])
    _run([*buildah, "umount", container])
    _run([*buildah, "commit", "--quiet", "--rm", container, f"localhost/{BASE}"])
    limits = (
        f"--ulimit={name}={soft}:{hard}"
        for name, (soft, hard) in (
            (name, resource.getrlimit(limit)) for name, limit in LIMITS.items()
        )
        if soft != resource.RLIM_INFINITY
    )
    build = [*buildah, "build", "--isolation=chroot", "--cap-add=all", *limits, "--pull=never"]
    form = ["--format=docker", "--layers=false", "-t", "built"]
    _run([*build, *form, *case.options_in(case.path), str(case.path)])
    # Docker's format, because buildah leaves SHELL, HEALTHCHECK and ONBUILD out of OCI's.
    pushed = place / "pushed"
    push = [*buildah, "push", "--quiet", "--disable-compression", "--format=v2s2"]
    _run([*push, "built", f"dir:{pushed}"])
    _run([*buildah, "rmi", "--all", "--force"])
    manifest = json.loads((pushed / "manifest.json").read_text())
    config, *layers = (
        pushed / descriptor["digest"].partition(":")[2]
        for descriptor in (manifest["config"], *manifest["layers"])
    )
    return read_image(layers, json.loads(config.read_text()))


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        umask=0o022,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise WorkshopError(f"real root: {command}: exit status {done.returncode}\n{tail}")
    return done.stdout
