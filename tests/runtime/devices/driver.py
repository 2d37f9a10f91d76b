"""A driver of the host that no device needs: real ELF libraries, and a CDI specification of them.

The libraries say where they come from.  The specification is as ``nvidia-ctk cdi generate`` writes
it: files and device nodes are mounted, and hooks make the links and the linker's cache.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

VERSION = "550.54.15"
HOOK = "/usr/bin/nvidia-cdi-hook"  # need not exist
LIBRARIES = {"libcuda": "libcuda.so.1", "libnvidia-ml": "libnvidia-ml.so.1"}

# Prints what a library says of itself: dlopen(3) searches for it by its name.
LOADER = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        void *library = dlopen(names[i], RTLD_NOW);
        const char *(*origin)(void) = library ? (const char *(*)(void))dlsym(library, "origin") : 0;
        printf("%s: %s\n", names[i], origin ? origin() : dlerror());
    }
}
"""


def compile_library(path: Path, soname: str, origin: str, note: str = "") -> Path:
    """Compile a library that says its ``origin``; ``note`` is about forward compatibility."""
    source = f'const char *origin(void) {{ return "{origin}"; }}\n'
    if note:
        owner = "NVIDIA Corporation"
        size = (len(note) + 4) // 4 * 4
        source += f"""
__attribute__((section(".note.cuda.fwd_compatibility"), used, aligned(4)))
static const struct {{ int name_size, size, type; char name[20]; char text[{size}]; }} note =
    {{ {len(owner) + 1}, {size}, 1, "{owner}", {json.dumps(note)} }};
"""
    path.parent.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        "gcc",
        "-shared",
        "-fPIC",
        "-x",
        "c",
        "-",
        "-o",
        path,
        f"-Wl,-soname,{soname}",
    ]
    subprocess.run(command, input=source.encode(), check=True)
    return path


def compile_loader(path: Path, compiler: Sequence[str] = ("gcc",)) -> Path:
    command: list[str | Path] = [*compiler, "-x", "c", "-", "-o", path]
    subprocess.run(command, input=LOADER.encode(), check=True)
    return path


class Driver:
    """The files of a driver in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {
            name: compile_library(directory / f"{name}.so.{VERSION}", soname, f"host {name}")
            for name, soname in LIBRARIES.items()
        }

    def hook(self, name: str, *arguments: str) -> dict[str, object]:
        args = ["nvidia-cdi-hook", name, *arguments]
        return {"hookName": "createContainer", "path": HOOK, "args": args}

    def edits(self, folder: str) -> dict[str, object]:
        """Return the edits that put the libraries into ``folder`` of a container."""
        options = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
        mounts = [
            {"hostPath": str(file), "containerPath": f"{folder}/{file.name}", "options": options}
            for file in self.files.values()
        ]
        link = f"libcuda.so.1::{folder}/libcuda.so"
        return {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "mounts": mounts,
            "hooks": [
                self.hook("create-symlinks", "--link", link),
                self.hook("update-ldcache", "--folder", folder),
            ],
        }


def write_specification(
    path: Path,
    edits: Mapping[str, object],
    devices: Mapping[str, Mapping[str, object]] | None = None,
    kind: str = "nvidia.com/gpu",
) -> Path:
    """Write a specification; a device without edits of its own has a variable."""
    known = {"all": {"env": ["GPU=all"]}} if devices is None else devices
    document = {
        "cdiVersion": "0.6.0",
        "kind": kind,
        "containerEdits": edits,
        "devices": [{"name": name, "containerEdits": own} for name, own in known.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path
