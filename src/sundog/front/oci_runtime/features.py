"""``features``: what this runtime can do, as JSON.  Specification: runtime-spec, features.md."""

from __future__ import annotations

from sundog import __version__
from sundog.front.oci_runtime.capabilities import CAPABILITIES
from sundog.front.oci_runtime.container_process import NAMESPACES
from sundog.front.oci_runtime.lifecycle import print_json
from sundog.front.oci_runtime.specification import HOOK_STAGES
from sundog.image.oci.bundle import (
    FORCE_ANNOTATION,
    IMAGE_ANNOTATION,
    OCI_VERSION,
    STORAGE_ANNOTATION,
)
from sundog.runtime.container.mount_attributes import ATTRIBUTES, BINDS, IGNORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.oci_runtime.arguments import Arguments
    from sundog.front.oci_runtime.log import Log

_NO = {"enabled": False}


def features(_arguments: Arguments, _log: Log) -> int:
    """Print the features."""
    options = {*ATTRIBUTES, *BINDS, *IGNORED, *(f"r{name}" for name in ATTRIBUTES)}
    print_json(
        {
            "ociVersionMin": "1.0.0",
            "ociVersionMax": OCI_VERSION,
            "hooks": list(HOOK_STAGES),
            "mountOptions": sorted(options),
            "linux": {
                "namespaces": sorted(["mount", "user", *NAMESPACES]),
                "capabilities": list(CAPABILITIES),
                "cgroup": dict.fromkeys(("v1", "v2", "systemd", "systemdUser", "rdma"), False),
                "seccomp": _NO,
                "apparmor": _NO,
                "selinux": _NO,
                "intelRdt": _NO,
                "mountExtensions": {"idmap": _NO},
            },
            "annotations": {"org.sundog.version": __version__},
            "potentiallyUnsafeConfigAnnotations": [
                FORCE_ANNOTATION,
                IMAGE_ANNOTATION,
                STORAGE_ANNOTATION,
            ],
        }
    )
    return 0
