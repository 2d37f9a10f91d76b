"""Put the profile into a bundle's ``config.json``, which a runtime reads.

Specification: runtime-spec, bundle.md, config.md ("Root"), config-linux.md ("Seccomp").
"""

from __future__ import annotations

import json
import os
import stat

from sundog.base.fields import Fields, parse_json
from sundog.base.kernel.drafts import replace_file
from sundog.base.kernel.libc import printable
from sundog.errors import RuntimeConfigError
from sundog.front.agent.metadata import Metadata
from sundog.front.agent.profile import seccomp_profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.fields import JsonObject
    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

CONFIG = "config.json"
# Those that podman gives to root by default.  The kernel obeys them where it answers by itself: the
# permissions of files and directories, chroot(2).
CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"),
    *("CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"),
    "CAP_SYS_CHROOT",
)
_SETS = ("bounding", "effective", "permitted")
CONFIG_LIMIT = 16 << 20  # bytes
_RUNC_INDENT = "\t"


def edit_bundle(bundle: bytes, abi: NotifyAbi, listener: str, metadata: Metadata) -> None:
    """Make a runtime build the filter for ``bundle``, and send it to ``listener``.

    The process also gets CAPABILITIES.  Without ``metadata.changes``, the container's records are
    kept in its root, unless the root is read-only.  Replaces the file as a whole.  Raises
    RuntimeConfigError and OSError.
    """
    path = os.path.join(bundle, CONFIG.encode())
    with open(path, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        data = file.read(CONFIG_LIMIT + 1)
    if len(data) > CONFIG_LIMIT:
        raise RuntimeConfigError(f"{printable(path)}: larger than {CONFIG_LIMIT >> 20} MiB")
    fields = Fields(
        parse_json(data, printable(path), RuntimeConfigError), CONFIG, RuntimeConfigError
    )
    config = dict(fields.rest)
    root = fields.nested("root", required=True)
    place = root.required_string("path")
    if not metadata.changes and not root.boolean("readonly"):
        changes = os.path.realpath(os.path.join(bundle, os.fsencode(place)))
        metadata = Metadata(metadata.owners, changes)
    profile = seccomp_profile(abi, listener, metadata.pack())
    config["linux"] = {**fields.mapping("linux"), "seccomp": profile}
    process = fields.nested("process")
    if process.rest:
        config["process"] = {**process.rest, "capabilities": _raised(process)}
    text = json.dumps(config, indent=_RUNC_INDENT)
    replace_file(path, text.encode() + b"\n", mode=mode)


def _raised(process: Fields) -> JsonObject:
    """Return the capabilities of ``process`` with CAPABILITIES.  Raises RuntimeConfigError."""
    given = process.nested("capabilities")
    sets = dict(given.rest)
    raised = {name: sorted({*(given.strings(name) or ()), *CAPABILITIES}) for name in _SETS}
    return {**sets, **raised}
