"""The subcommands of ``sundog apptainer sif``: their operands, and those that are not there."""

from __future__ import annotations

# Name: (operands, what it does).
SIF_SUBCOMMANDS = {
    "list": ("FILE", "list the objects of a SIF"),
    "header": ("FILE", "print the header of a SIF"),
    "info": ("ID FILE", "print what a SIF says of an object"),
    "dump": ("ID FILE", "write an object to standard output"),
    "del": ("ID FILE", "delete an object"),
}
# Name: (why, hint).
SIF_REFUSED = {
    "add": ("no object is added to a SIF", "sundog apptainer build makes a new SIF"),
    "new": ("a SIF has an image", "sundog apptainer build makes a SIF of an image"),
    "setprim": ("the system partition of a SIF stays", "sundog apptainer build makes a new SIF"),
    "mount": ("a container shows the files", "sundog apptainer exec FILE ls /"),
    "unmount": ("no mount outlasts a container", "leave it out"),
}
