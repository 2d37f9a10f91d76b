"""The subcommands of Apptainer that ``sundog apptainer`` does not have, and what to do instead."""

from __future__ import annotations

_OLD = "it is a word of Singularity 2"
_LIBRARY = "Sundog knows no library"

# Name: (why, hint).
REFUSED = {
    "apps": ("it is a word of Singularity 2", "apptainer inspect"),
    "capability": ("no right of root can be given", "leave it out"),
    "checkpoint": ("processes cannot be kept", "leave it out"),
    "config": ("no configuration of Apptainer is used", "leave it out"),
    "delete": (_LIBRARY, "ch-image delete NAME"),
    "instance.list": (_OLD, "apptainer instance list"),
    "instance.start": (_OLD, "apptainer instance start IMAGE NAME"),
    "instance.stop": (_OLD, "apptainer instance stop NAME"),
    "key": ("signatures are not checked", "leave it out"),
    "keyserver": ("signatures are not checked", "leave it out"),
    "oci": ("bundles have a command of their own", "ch-run-oci"),
    "plugin": ("there are no plugins", "leave it out"),
    "push": ("no SIF is sent", "ch-image push NAME"),
    "registry": ("logins are those of ch-image", "ch-image login REGISTRY"),
    "remote": (_LIBRARY, "ch-image login REGISTRY"),
    "search": (_LIBRARY, "use the registry's web page"),
    "sign": ("nothing is signed", "leave it out"),
    "verify": ("signatures are not checked", "sundog apptainer sif list FILE shows them"),
}  # fmt: skip
