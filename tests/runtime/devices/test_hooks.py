"""The hooks that are known, and their effects."""

import pytest

from sundog.runtime.cdi.edits import Hook
from sundog.runtime.devices.hooks import HookEffects


def hook(words: str, path: str = "/usr/bin/nvidia-cdi-hook") -> Hook:
    args = tuple(map(str.encode, [path.rpartition("/")[2], *words.split()]))
    return Hook("createContainer", path.encode(), args)


@pytest.mark.parametrize(
    ("path", "before"),
    [
        ("/usr/bin/nvidia-cdi-hook", ""),
        ("/usr/bin/nvidia-ctk", "hook "),
        ("/usr/local/bin/nvidia-ctk-hook", ""),
        ("/snap/bin/nvidia-container-toolkit.nvidia-cdi-hook", ""),
    ],
)
def test_known_hooks(path: str, before: str) -> None:
    words = [
        "create-symlinks --link a::/usr/lib/b --link=../c::/usr/lib/d --link bad",
        "update-ldcache --ldconfig-path @/sbin/ldconfig --folder /usr/lib64 --folder=/opt/lib",
        "update-ldcache --folder /usr/lib64",
        "enable-cuda-compat --host-driver-version=550.1 --debug",
        "chmod --mode 755 --path /dev/dri",
        "disable-device-node-modification",
    ]
    effects = HookEffects([hook(before + each, path) for each in words])
    assert effects.links == [(b"a", b"/usr/lib/b"), (b"../c", b"/usr/lib/d")]
    assert effects.folders == [b"/usr/lib64", b"/opt/lib"]
    assert effects.compat is not None
    assert (effects.compat.driver, effects.compat.cuda) == (b"550.1", b"")
    assert effects.keeps_nodes
    assert effects.others == []


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("update-application-profile", "/usr/bin/nvidia-cdi-hook"),
        ("cdi generate", "/usr/bin/nvidia-ctk"),
        ("create-symlinks --link a::/b", "/usr/bin/other"),
        ("", "/usr/bin/nvidia-cdi-hook"),
    ],
)
def test_other_hooks(words: str, path: str) -> None:
    unknown = hook(words, path)
    assert HookEffects([unknown]).others == [unknown]
