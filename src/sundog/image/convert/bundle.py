"""Write the bundle of an image: what ``ch-run-oci`` runs, without a copy of the image.

Specification: OCI runtime-spec 1.2, bundle.md; image-spec 1.1, conversion.md.  The layers stay in
storage, or in a shared store, and annotations of ``oci.bundle`` name them.  As with ``ch-run``, the
command runs as the user, and sees the host's devices, processes and network.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from sundog.base.kernel.drafts import write_new_file
from sundog.base.kernel.libc import printable
from sundog.errors import SundogError
from sundog.image.oci.bundle import IMAGE_ANNOTATION, OCI_VERSION
from sundog.runtime.container.search_path import ENGINE_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.base.fields import JsonObject
    from sundog.image.oci.config import ImageConfig

_ROOT = "rootfs"
_DIRECTORIES = ("/dev", "/proc", "/sys")
# Slurm binds files of a batch job below /tmp, so it has to be the container's own.
_TMP = {
    "destination": "/tmp",
    "type": "tmpfs",
    "source": "tmpfs",
    "options": ["nosuid", "nodev", "mode=1777"],
}
_FILES = ("/etc/group", "/etc/hosts", "/etc/passwd", "/etc/resolv.conf")


def write_bundle(
    config: ImageConfig, reference: str, place: Mapping[str, str], path: bytes
) -> None:
    """Make the directory ``path``, the bundle of the image ``reference``.

    ``place`` is the annotation that tells where the image is.  The bundle appears as a whole.
    Raises SundogError if ``path`` exists, and OSError.
    """
    draft = path.rstrip(b"/") + b".sundog-" + os.urandom(8).hex().encode()
    if os.path.lexists(path):
        raise SundogError(f"{printable(path)} exists", "name a new directory")
    annotations = {IMAGE_ANNOTATION: reference, **place}
    document = _bundle_config(config, annotations, os.geteuid(), os.getegid())
    os.mkdir(draft)
    try:
        os.mkdir(os.path.join(draft, _ROOT.encode()))
        text = json.dumps(document, indent=2).encode() + b"\n"
        write_new_file(os.path.join(draft, b"config.json"), text, 0o644)
        os.rename(draft, path)
    except BaseException:
        for remove, name in ((os.unlink, b"config.json"), (os.rmdir, _ROOT.encode())):
            with suppress(OSError):
                remove(os.path.join(draft, name))
        with suppress(OSError):
            os.rmdir(draft)
        raise


def _bundle_config(
    config: ImageConfig, annotations: Mapping[str, str], uid: int, gid: int
) -> JsonObject:
    """Return ``config.json`` for an image whose command runs as ``uid`` and ``gid``."""
    args = [*(config.entrypoint or ()), *(config.cmd or ())] or ["/bin/sh"]
    env = list(config.env)
    if not any(entry.startswith("PATH=") for entry in env):
        env.append(f"PATH={ENGINE_PATH}")
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": args,
            "env": env,
            "cwd": config.working_dir or "/",
            "noNewPrivileges": True,
        },
        "root": {"path": _ROOT, "readonly": True},
        "mounts": [_bind(name, "rbind") for name in _DIRECTORIES]
        + [_TMP]
        + [_bind(name, "bind", "ro") for name in _FILES if os.path.exists(name)],
        "annotations": {**_annotations(config), **annotations},
        "linux": {
            "namespaces": [{"type": "user"}, {"type": "mount"}],
            "uidMappings": [{"containerID": uid, "hostID": uid, "size": 1}],
            "gidMappings": [{"containerID": gid, "hostID": gid, "size": 1}],
        },
    }


def _bind(path: str, *options: str) -> JsonObject:
    return {"destination": path, "type": "bind", "source": path, "options": list(options)}


def _annotations(config: ImageConfig) -> dict[str, str]:
    """Return what image-spec turns into annotations; a label wins."""
    found = {
        "org.opencontainers.image.os": config.os,
        "org.opencontainers.image.architecture": config.architecture,
        "org.opencontainers.image.variant": config.variant,
        "org.opencontainers.image.author": config.author,
        "org.opencontainers.image.created": config.created,
        "org.opencontainers.image.stopSignal": config.stop_signal,
        "org.opencontainers.image.exposedPorts": ",".join(config.exposed_ports),
    }
    return {key: value for key, value in found.items() if value} | dict(config.labels)
