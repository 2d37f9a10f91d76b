"""The hooks of NVIDIA's specifications, by what they do to a container.

A hook is a program of the host that changes the root file system of a container, as root.  These
are known by name, and Sundog does the same in its own way.  Sources: the help of nvidia-cdi-hook,
and the specifications that nvidia-ctk writes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sundog.runtime.cdi.edits import Hook

# The programs, and how many words come before the name of the hook.
_HOOK_PROGRAMS = {b"nvidia-cdi-hook": 0, b"nvidia-ctk-hook": 0, b"nvidia-ctk": 1}
# The options with a value.
_VALUED_OPTIONS = (
    *(b"cuda-compat-container-root", b"folder", b"host-cuda-version", b"host-driver-version"),
    *(b"ldconfig-path", b"link", b"mode", b"path"),
)
_COMPAT_DIRECTORY = b"/usr/local/cuda/compat"


class CompatRequest:
    """A request for the CUDA libraries in the image, if they are newer than the host's.

    driver, cuda   the versions of the host, or b""
    directory      where the image may have the libraries
    """

    __slots__ = ("cuda", "directory", "driver")

    def __init__(self, driver: bytes, cuda: bytes, directory: bytes) -> None:
        self.driver = driver
        self.cuda = cuda
        self.directory = directory


class HookEffects:
    """The effects of hooks.

    links            (target, place) of symbolic links
    folders          directories that the dynamic linker is to search
    compat           see ``CompatRequest``, or None
    keeps_nodes      whether the driver is not to make or change device nodes
    others           the hooks that Sundog does not know, so that they have to run
    """

    __slots__ = ("compat", "folders", "keeps_nodes", "links", "others")

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self.links: list[tuple[bytes, bytes]] = []
        self.folders: list[bytes] = []
        self.compat: CompatRequest | None = None
        self.keeps_nodes = False
        self.others: list[Hook] = []
        for hook in hooks:
            words = _known_hook(hook)
            if not words or not self._take(words[0], words[1:]):
                self.others.append(hook)

    def _take(self, name: bytes, words: Sequence[bytes]) -> bool:
        """Note what the hook ``name`` does; return False if it is unknown."""
        options = _hook_options(words)
        if name == b"create-symlinks":
            for link in options.get(b"link", []):
                target, separator, place = link.partition(b"::")
                if separator and target and place.startswith(b"/"):
                    self.links.append((target, place))
        elif name == b"update-ldcache":
            folders = options.get(b"folder", [])
            self.folders += [each for each in folders if each not in self.folders]
        elif name == b"enable-cuda-compat":
            last = {key: values[-1] for key, values in options.items()}
            self.compat = CompatRequest(
                last.get(b"host-driver-version", b""),
                last.get(b"host-cuda-version", b""),
                last.get(b"cuda-compat-container-root", _COMPAT_DIRECTORY),
            )
        elif name == b"disable-device-node-modification":
            self.keeps_nodes = True
        else:
            return name == b"chmod"  # of directories of device nodes, which are the host's
        return True


def _known_hook(hook: Hook) -> Sequence[bytes]:
    """Return the name and the arguments of a hook of NVIDIA's, or ()."""
    _, _, program = hook.path.rpartition(b"/")
    _, _, program = program.rpartition(b".")  # a snap has its own name in front
    before = _HOOK_PROGRAMS.get(program)
    if before is None or hook.args[1 : 1 + before] != (b"hook",) * before:
        return ()
    return hook.args[1 + before :]


def _hook_options(words: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    """Return the values of each option, in their order."""
    options: dict[bytes, list[bytes]] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith(b"--"):
            continue
        name, equals, value = word[2:].partition(b"=")
        if not equals and name in _VALUED_OPTIONS:
            value = next(rest, b"")
        options.setdefault(name, []).append(value)
    return options
