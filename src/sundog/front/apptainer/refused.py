"""The subcommands of Apptainer that ``sundog apptainer`` does not have, and what to do instead."""

from __future__ import annotations

_STORAGE = "images are in the storage of Sundog"
_INSTANCES = "instances are not there yet"
_LIBRARY = "Sundog knows no library"
_START = "sundog run --detach --name NAME IMAGE COMMAND"

# Name: (why, hint).
REFUSED = {
    "apps": ("it is a word of Singularity 2", "apptainer inspect"),
    "cache": (_STORAGE, "ch-image list, ch-image delete, ch-image build-cache"),
    "capability": ("no right of root can be given", "leave it out"),
    "checkpoint": ("processes cannot be kept", "leave it out"),
    "config": ("no configuration of Apptainer is used", "leave it out"),
    "delete": (_LIBRARY, "ch-image delete NAME"),
    "inspect": ("the data of a SIF are not read yet", "ch-image inspect NAME"),
    "instance": (_INSTANCES, _START),
    "instance.list": (_INSTANCES, "sundog ps"),
    "instance.start": (_INSTANCES, _START),
    "instance.stop": (_INSTANCES, "sundog stop NAME"),
    "key": ("signatures are not checked", "leave it out"),
    "keyserver": ("signatures are not checked", "leave it out"),
    "oci": ("bundles have a command of their own", "ch-run-oci"),
    "overlay": ("no file holds the changes of a container",
                "--writable-tmpfs, or exec --writable DIR"),
    "plugin": ("there are no plugins", "leave it out"),
    "push": ("no SIF is sent", "ch-image push NAME"),
    "registry": ("logins are those of ch-image", "ch-image login REGISTRY"),
    "remote": (_LIBRARY, "ch-image login REGISTRY"),
    "run-help": ("help texts of images are not read yet", "sundog apptainer exec IMAGE COMMAND"),
    "search": (_LIBRARY, "use the registry's web page"),
    "sif": ("the parts of a SIF are not shown yet", "ch-convert FILE.sif DIR"),
    "sign": ("nothing is signed", "leave it out"),
    "verify": ("signatures are not checked", "leave it out"),
}  # fmt: skip
