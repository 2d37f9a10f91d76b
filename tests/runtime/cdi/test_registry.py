"""The registry: precedence, conflicts, what is asked for, what is said about what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sundog
from sundog.errors import CdiError
from sundog.runtime.cdi import registry
from sundog.runtime.cdi.directories import SYSTEM_DIRECTORIES, cdi_directories
from sundog.runtime.cdi.edits import CdiMount, ContainerEdits, NetDevice
from sundog.runtime.cdi.merging import merged_edits, path_components
from sundog.runtime.cdi.registry import device_names, edits_for, edits_for_all

if TYPE_CHECKING:
    from collections.abc import Callable

SPECIFICATIONS = Path(__file__).parent / "specifications"


class Places:
    """Two directories with specification files; the second one wins."""

    def __init__(self, root: Path) -> None:
        self.paths = [root / "etc", root / "run"]
        self.directories = [bytes(path) for path in self.paths]
        self.warnings: list[str] = []

    def write(self, place: int, name: str, kind: str, **devices: str) -> Path:
        """Write a file; the value of a device goes into a variable NAME=VALUE, and so does KIND."""
        document = {
            "cdiVersion": "0.5.0",
            "kind": kind,
            "devices": [
                {"name": device, "containerEdits": {"env": [f"{device}={value}"]}}
                for device, value in devices.items()
            ],
            "containerEdits": {"env": [f"FILE={name}"]},
        }
        return self.write_text(place, name, json.dumps(document))

    def write_text(self, place: int, name: str, text: str) -> Path:
        self.paths[place].mkdir(exist_ok=True)
        path = self.paths[place] / name
        path.write_text(text)
        return path

    def env(self, *names: str) -> list[str]:
        """Return the variables of what is asked for."""
        asked = [name.encode() for name in names]
        edits = edits_for(asked, self.directories, self.warnings.append)
        return [string.decode() for string in edits.env]

    def failure(self, *names: str) -> CdiError:
        with pytest.raises(CdiError) as caught:
            self.env(*names)
        return caught.value


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_the_order_of_edits(places: Places) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1", y="2")
    places.write(0, "b.json", "b.com/nic", z="3")
    assert places.env("a.com/gpu=y") == ["FILE=a.json", "y=2"]
    # A file's own edits come once, before those of its first device; the last value of FILE stays.
    assert places.env("a.com/gpu=y", "b.com/nic=z", "a.com/gpu=x", "a.com/gpu=y") == [
        "FILE=b.json",
        "y=2",
        "z=3",
        "x=1",
    ]
    assert places.env("a.com/gpu") == ["FILE=a.json", "x=1", "y=2"]


def test_a_path_is_a_file(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    path = places.write(0, "a.json", "a.com/gpu", x="1", y="2")
    places.write_text(1, "bad.json", "{")
    assert places.env(str(path)) == ["FILE=a.json", "x=1", "y=2"]
    monkeypatch.chdir(path.parent)
    assert places.env("./a.json") == ["FILE=a.json", "x=1", "y=2"]
    assert places.failure(f"{path}x").message == f"{path}x: No such file or directory"
    assert places.warnings == []


def test_the_later_directory_wins(places: Places) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1", y="2")
    places.write(1, "b.json", "a.com/gpu", x="3")
    assert places.env("a.com/gpu=x") == ["FILE=b.json", "x=3"]
    assert places.env("a.com/gpu=y") == ["FILE=a.json", "y=2"]


def test_a_conflict_is_reported_if_asked_for(places: Places) -> None:
    first = places.write(0, "a.json", "a.com/gpu", x="1", y="2")
    second = places.write(0, "b.json", "a.com/gpu", x="3")
    assert places.env("a.com/gpu=y") == ["FILE=a.json", "y=2"]
    for asked in "a.com/gpu=x", "a.com/gpu":
        error = places.failure(asked)
        assert error.message == f"two files have the CDI device a.com/gpu=x: {first} and {second}"
        assert error.hint == f"remove one; or put the right one into {places.paths[1]}"
    assert device_names(places.directories, places.warnings.append) == ["a.com/gpu=y"]
    assert places.warnings == [f"can't use a.com/gpu=x: it is in {first} and in {second}"]


def test_a_later_directory_ends_a_conflict_or_makes_one(places: Places) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1", y="1")
    places.write(0, "b.json", "a.com/gpu", x="2")
    places.write(1, "a.json", "a.com/gpu", x="3", y="3")
    assert places.env("a.com/gpu=x") == ["FILE=a.json", "x=3"]
    places.write(1, "b.json", "a.com/gpu", y="4")
    assert places.failure("a.com/gpu=y").message.startswith("two files have the CDI device")


def test_a_bad_file_does_not_stop_other_vendors(places: Places) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1")
    bad = places.write_text(0, "b.json", '{"cdiVersion":"0.3.0","kind":"b.com/gpu","y":1}')
    assert places.env("a.com/gpu=x") == ["FILE=a.json", "x=1"]
    assert places.warnings == []
    error = places.failure("b.com/gpu=y")
    assert error.message == (
        f"no such CDI device: b.com/gpu=y; can't use {bad}: the field 'y' is unknown"
    )
    # Its vendor is asked for, and another file has the device.
    places.write(0, "c.json", "b.com/gpu", y="2")
    assert places.env("b.com/gpu=y") == ["FILE=c.json", "y=2"]
    assert places.warnings == [f"can't use {bad}: the field 'y' is unknown"]


def test_a_file_of_an_unknown_vendor_may_have_the_device(places: Places) -> None:
    bad = places.write_text(0, "b.yaml", "a: [")
    error = places.failure("a.com/gpu=x")
    assert error.message.startswith(f"no such CDI device: a.com/gpu=x; can't use {bad}: not YAML: ")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("a.com/gpu=gpu1x", "did you mean a.com/gpu=gpu1?"),
        ("a.com/gpu=whatever", "there are: a.com/gpu=gpu0, a.com/gpu=gpu1"),
        ("c.com/fpga=0", "the kinds of devices are: a.com/gpu, b.com/nic"),
        ("c.com/fpga", "the kinds of devices are: a.com/gpu, b.com/nic"),
    ],
)
def test_missing_devices(places: Places, asked: str, hint: str) -> None:
    places.write(0, "a.json", "a.com/gpu", gpu0="1", gpu1="2")
    places.write(0, "b.json", "b.com/nic", z="3")
    error = places.failure(asked)
    assert (error.message, error.hint) == (f"no such CDI device: {asked}", hint)


def test_no_files_at_all(places: Places) -> None:
    assert places.failure("nvidia.com/gpu=0").hint == (
        f"no CDI file is in {places.paths[0]}, {places.paths[1]}; the vendor's generator makes one"
    )
    assert edits_for_all(places.directories, places.warnings.append).is_empty()
    assert places.warnings == []


@pytest.mark.parametrize("asked", ["gpu", "a.com=0", "a.com/gpu=", "=", "", "a.com/gpu=a b", "é/a"])
def test_names_that_are_none(places: Places, asked: str) -> None:
    error = places.failure(asked)
    assert error.message.startswith("not the name of a CDI device: ")
    assert error.hint == "write VENDOR/CLASS=DEVICE, for example nvidia.com/gpu=0"


def test_all_devices(places: Places) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1")
    places.write(1, "b.json", "b.com/nic", y="2")
    bad = places.write_text(1, "c.json", "[]")
    edits = edits_for_all(places.directories, places.warnings.append)
    assert edits.env == (b"FILE=b.json", b"x=1", b"y=2")
    assert places.warnings == [f"can't use {bad}: not a CDI specification: the file has no object"]


def test_other_files_are_none_of_ours(places: Places) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1")
    places.write_text(0, "a.json~", "{")
    places.write_text(0, "a.yml", "{")
    (places.paths[0] / "d.json").mkdir()
    places.write(0, "e.txt", "a.com/gpu", x="1")
    assert device_names(places.directories, places.warnings.append) == ["a.com/gpu=x"]
    (places.paths[0] / "l.json").symlink_to("a.json~")
    device_names(places.directories, places.warnings.append)
    assert len(places.warnings) == 1


def test_directories_that_can_not_be_read(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.write(0, "a.json", "a.com/gpu", x="1")
    places.write(0, "b.json", "b.com/gpu", x="1")
    monkeypatch.setattr(registry, "SPECIFICATIONS_LIMIT", 1)
    device_names(places.directories, places.warnings.append)
    places.paths[0].chmod(0)
    try:
        device_names(places.directories, places.warnings.append)
    finally:
        places.paths[0].chmod(0o755)
    assert places.warnings == [
        f"can't use {places.paths[0]}: more than 1 files",
        f"can't use {places.paths[0]}: Permission denied",
    ]


def test_merging() -> None:
    def mount(source: str, destination: str) -> CdiMount:
        return CdiMount(source.encode(), destination.encode())

    merged = merged_edits(
        [
            ContainerEdits(
                mounts=(mount("/1", "/a/b"), mount("/2", "/a"), mount("/3", "/c/d/")),
                net_devices=(NetDevice(b"eth1", b"a"), NetDevice(b"eth2", b"b")),
            ),
            ContainerEdits(
                mounts=(mount("/4", "/c//d"), mount("/5", "/"), mount("/6", "/x/../a")),
                net_devices=(NetDevice(b"eth1", b"c"),),
            ),
        ]
    )
    assert [item.host_path for item in merged.mounts] == [b"/5", b"/6", b"/1", b"/4"]
    assert [(item.host_interface_name, item.name) for item in merged.net_devices] == [
        (b"eth2", b"b"),
        (b"eth1", b"c"),
    ]


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", ()), ("/a//b/./c/", ("a", "b", "c")), ("/../a/../b", ("b",)), ("/...", ("...",))],
)
def test_path_components(path: str, clean: tuple[str, ...]) -> None:
    assert path_components(path.encode()) == tuple(part.encode() for part in clean)


def variables(**values: str) -> Callable[[bytes], bytes | None]:
    return {name.encode(): value.encode() for name, value in values.items()}.get


@pytest.mark.parametrize(
    ("option", "given", "found"),
    [
        (None, {}, SYSTEM_DIRECTORIES),
        (None, {"HOME": "/h"}, (*SYSTEM_DIRECTORIES, b"/h/.config/cdi")),
        (None, {"HOME": "/h", "XDG_CONFIG_HOME": "/x/"}, (*SYSTEM_DIRECTORIES, b"/x/cdi")),
        (None, {"HOME": "/h", "XDG_CONFIG_HOME": "x"}, (*SYSTEM_DIRECTORIES, b"/h/.config/cdi")),
        (None, {"HOME": "h"}, SYSTEM_DIRECTORIES),
        (None, {"HOME": "/h", "CH_RUN_CDI_DIRS": "/a:b"}, (b"/a", b"b")),
        (None, {"CH_RUN_CDI_DIRS": ""}, SYSTEM_DIRECTORIES),
        (b"/c::/d:", {"HOME": "/h", "CH_RUN_CDI_DIRS": "/a:b"}, (b"/c", b"/d")),
    ],
)
def test_directories(option: bytes | None, given: Any, found: tuple[bytes, ...]) -> None:
    assert cdi_directories(option, variables(**given)) == found


@pytest.mark.parametrize("option", [b"", b":"])
def test_the_option_names_no_directory(option: bytes) -> None:
    with pytest.raises(CdiError, match="--cdi-dirs: no directory"):
        cdi_directories(option, variables(CH_RUN_CDI_DIRS="/a"))


SLOW_MODULES = {"argparse", "ctypes", "dataclasses", "enum", "json", "re", "typing", "yaml"}
PACKAGES = os.path.dirname(os.path.dirname(sundog.__file__))

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from sundog.runtime.cdi.registry import edits_for
edits = edits_for([b"nvidia.com/gpu=0", b"amd.com/gpu=all"], [sys.argv[2].encode()], print)
print(len(edits.mounts), *sys.modules)
"""


def test_files_of_generators_take_no_slow_module(tmp_path: Path) -> None:
    for name in "nvidia.yaml", "amd.json", "intel.yaml":
        (tmp_path / name).write_bytes((SPECIFICATIONS / name).read_bytes())
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, PACKAGES, os.fspath(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mounts, *modules = done.stdout.split()
    assert mounts == "9"
    assert SLOW_MODULES.isdisjoint(modules)
    assert done.stderr == ""


def test_the_library_is_found_by_a_start_without_site_packages(tmp_path: Path) -> None:
    devices = "[{name: all, containerEdits: {env: [A=1]}}]"
    text = f"{{cdiVersion: 0.3.0, kind: amd.com/gpu, devices: {devices}}}"
    (tmp_path / "a.yaml").write_text(text)
    program = PROGRAM.replace('b"nvidia.com/gpu=0", ', "")
    command = [sys.executable, "-I", "-S", "-c", program, PACKAGES, os.fspath(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "yaml" in done.stdout.split()
