"""Specifications: what a file becomes, and what is said about one that can't be used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import UnusableSpecification
from sundog.runtime.cdi.fields import Misfit
from sundog.runtime.cdi.specification import (
    CdiSpecification,
    load_specification,
    read_specification,
)
from sundog.runtime.cdi.specification_file import SPECIFICATION_LIMIT
from tests.runtime.cdi.cases import (
    MINIMAL,
    NET_DEVICES,
    ODD_VALUES,
    RDT_1_1,
    RIGHT,
    changed,
    paths,
    without,
)

SPECIFICATIONS = Path(__file__).parent / "specifications"


def refusal(tmp_path: Path, content: str | bytes, name: str = "a.json") -> UnusableSpecification:
    """Return the error about a file, whose message begins with the path."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UnusableSpecification) as caught:
        load_specification(bytes(path))
    assert caught.value.message.startswith(f"{path}: ")
    caught.value.message = caught.value.message.removeprefix(f"{path}: ")
    return caught.value


def contents(value: Any) -> Any:
    """Return all attributes of our objects, as plain values."""
    if isinstance(value, tuple):
        return [contents(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    names = getattr(type(value), "__slots__", None)
    if names is None or isinstance(value, str | int | None):
        return value
    return {name: contents(getattr(value, name)) for name in names}


def load(document: dict[str, Any]) -> CdiSpecification:
    return read_specification(b"/etc/cdi/a.json", document)


def test_every_field_arrives() -> None:
    document = changed(RIGHT, "cdiVersion", "1.1.0")
    document = changed(document, "containerEdits.netDevices", NET_DEVICES)
    document = changed(document, "containerEdits.intelRdt", RDT_1_1)
    found = load(document)
    assert contents(found.devices) == [
        {
            "name": "one",
            "edits": {
                "env": ["A=1"],
                "device_nodes": [
                    {
                        "path": "/dev/thing0",
                        "host_path": "/dev/null",
                        "node_type": "c",
                        "major": 1,
                        "minor": 3,
                        "file_mode": 432,
                        "permissions": "rw",
                        "uid": 5,
                        "gid": 6,
                    }
                ],
                "mounts": [
                    {
                        "host_path": "/usr/lib",
                        "container_path": "/opt/lib",
                        "mount_type": "bind",
                        "options": ["ro"],
                    }
                ],
                "hooks": [
                    {
                        "hook_name": "createContainer",
                        "path": "/usr/bin/hook",
                        "args": ["hook", "create-symlinks"],
                        "env": ["DEBUG=false"],
                        "timeout": 5,
                    }
                ],
                "additional_gids": [44],
                "intel_rdt": {
                    "clos_id": "group",
                    "l3_cache_schema": "L3:0=f",
                    "mem_bw_schema": "MB:0=10",
                    "schemata": [],
                    "enable_monitoring": False,
                },
                "net_devices": [],
            },
        }
    ]
    assert found.kind == "example.com/thing"
    assert contents(found.edits.env) == ["B=2"]
    assert contents(found.edits.net_devices) == [{"host_interface_name": "eth9", "name": "eth0"}]
    assert found.edits.intel_rdt is not None
    assert found.edits.intel_rdt.schemata == (b"L3:0=f",)
    assert found.edits.intel_rdt.enable_monitoring


def test_what_is_absent() -> None:
    document = changed(MINIMAL, "containerEdits.deviceNodes", [{"path": "/dev/null"}])
    (node,) = load(document).edits.device_nodes
    assert contents(node) == {
        "path": "/dev/null",
        "host_path": "/dev/null",
        "node_type": "",
        "major": 0,
        "minor": 0,
        "file_mode": None,
        "permissions": "",
        "uid": None,
        "gid": None,
    }


EDIT = "devices.0.containerEdits"
ONE = "devices: device one: containerEdits: "
TYPED = [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]
NEWEST = changed(RIGHT, "cdiVersion", "1.1.0")
AGAIN = "correct it, or make it again with the vendor's generator"
HOOKS = "prestart, createRuntime, createContainer, startContainer, poststart, poststop"
DIGIT = "devices: device 0: name: 0 begins with a digit"
LONG = ["A=1", "x" * 1000]


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        (
            changed(RIGHT, f"{EDIT}.mounts.0.hostPath", 1.5),
            f"{ONE}mounts: 1: hostPath: expected text, found a number",
            AGAIN,
        ),
        (
            changed(RIGHT, f"{EDIT}.mount", []),
            f"{ONE}the field 'mount' is unknown",
            "did you mean mounts?",
        ),
        (
            changed(RIGHT, "x", 1),
            "the field 'x' is unknown",
            "it may belong to a later specification",
        ),
        (
            changed(MINIMAL, f"{EDIT}.mounts", TYPED),
            f"{ONE}mounts: 1: type: this takes cdiVersion 0.4.0, and the file has 0.3.0",
            AGAIN,
        ),
        (
            changed(NEWEST, f"{EDIT}.intelRdt.enableCMT", True),
            f"{ONE}intelRdt: enableCMT: cdiVersion 1.1.0 dropped this field",
            AGAIN,
        ),
        (
            changed(RIGHT, "cdiVersion", "2.0.0"),
            "cdiVersion: '2.0.0' is unknown",
            "Sundog knows the versions 0.3.0 to 1.1.0",
        ),
        (without(RIGHT, "cdiVersion"), "cdiVersion is missing", AGAIN),
        (without(RIGHT, "kind"), "kind is missing", AGAIN),
        (changed(RIGHT, "devices", []), "devices is empty", AGAIN),
        (without(RIGHT, "devices"), "devices is missing", AGAIN),
        (
            changed(RIGHT, EDIT, {}),
            "devices: device one: containerEdits is missing or empty",
            AGAIN,
        ),
        (
            changed(RIGHT, f"{EDIT}.hooks.0.hookName", "createcontainer"),
            f"{ONE}hooks: 1: hookName: 'createcontainer' is unknown",
            f"the specification has: {HOOKS}",
        ),
        (
            changed(RIGHT, f"{EDIT}.hooks.0.path", "hook"),
            f"{ONE}hooks: 1: path: 'hook' is not an absolute path",
            AGAIN,
        ),
        (changed(RIGHT, "kind", "a"), "kind: 'a' is not VENDOR/CLASS", AGAIN),
        (
            changed(RIGHT, "devices.0.name", "a/b"),
            "devices: device 1: name: the name 'a/b' has the character '/'",
            AGAIN,
        ),
        (
            changed(MINIMAL, "devices.0.name", "0"),
            f"{DIGIT}: this takes cdiVersion 0.5.0, and the file has 0.3.0",
            AGAIN,
        ),
        (
            changed(MINIMAL, "devices", MINIMAL["devices"] * 2),
            "devices: device one is there twice",
            AGAIN,
        ),
        (
            changed(RIGHT, f"{EDIT}.env", LONG),
            f"{ONE}env: 2: '{'x' * 79}… is not NAME=VALUE",
            AGAIN,
        ),
        (changed(RIGHT, f"{EDIT}.env", ["A=\0"]), f"{ONE}env: 1: a NUL character", AGAIN),
        (changed(RIGHT, f"{EDIT}.env", ["A=\ud800"]), f"{ONE}env: 1: half of a surrogate", AGAIN),
    ],
)
def test_misfits(tmp_path: Path, document: dict[str, Any], message: str, hint: str) -> None:
    error = refusal(tmp_path, json.dumps(document))
    assert error.message.startswith(message)
    assert error.hint == hint


def test_the_vendor_of_a_file_that_can_not_be_used(tmp_path: Path) -> None:
    assert refusal(tmp_path, json.dumps(changed(RIGHT, "x", 1))).vendor == "example.com"
    assert refusal(tmp_path, json.dumps(changed(RIGHT, "kind", 7))).vendor == ""
    assert refusal(tmp_path, "{").vendor == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON: line 1, column 1: Expecting value"),
        (b"{}", "not a CDI specification: the file has no object"),
        (b"null", "not a CDI specification: the file has no object"),
        (b'{"a":1}x', "not JSON: line 1, column 8: Extra data"),
        (b'{"a" 1}', "not JSON: line 1, column 6: Expecting ':' delimiter"),
        (b'{"a":1,\n"a":2}', "not JSON: an object has two fields 'a'"),
        (b'{"a":NaN}', "not JSON: NaN is not a number"),
        (b'{"a":"\t"}', "not JSON: line 1, column 7: Invalid control character at"),
        (b"[" * 100_000, "not JSON: nested too deeply"),
        (b'{"a":' + b"1" * 5000 + b"}", "not JSON: Exceeds the limit (4300 digits)"),
        (b'{"a":"\xff"}', "byte 6 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON: line 1, column 1"),
        (b" " * (SPECIFICATION_LIMIT + 1), "larger than 2 MiB"),
    ],
)
def test_files_that_are_not_json(tmp_path: Path, content: bytes, message: str) -> None:
    assert refusal(tmp_path, content).message.startswith(message)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "directory.json").mkdir()
    (tmp_path / "secret.json").touch(mode=0)
    for name, message, hint in (
        ("fifo.json", "not a regular file", ""),
        ("directory.json", "Is a directory", ""),
        ("absent.json", "No such file or directory", ""),
        ("secret.json", "Permission denied", "ask the owner of the file to make it readable"),
    ):
        path = tmp_path / name
        with pytest.raises(UnusableSpecification) as caught:
            load_specification(bytes(path))
        assert (caught.value.message, caught.value.hint) == (f"{path}: {message}", hint)


PATHS = st.sampled_from(sorted(paths(RIGHT)))
NAMES = st.sampled_from(["env", "mounts", "Hooks", "path", "hostPath", "options", "name", "x"])
ODD = st.sampled_from([*ODD_VALUES, 1.5, float("inf"), "a\0", "\ud800", "\n" * 1000])
VALUES = ODD | st.lists(ODD, max_size=3) | st.dictionaries(NAMES, ODD, max_size=3)


@given(PATHS, VALUES, VALUES)
@settings(deadline=None)
def test_any_values_are_read_or_refused(path: str, value: Any, edits: Any) -> None:
    document = changed(changed(RIGHT, path, value), "containerEdits", edits)
    reason = ""
    try:
        assert load(document).devices
    except Misfit as misfit:
        reason = str(misfit)
    assert len(reason) < 500
    assert "\n" not in reason


@pytest.mark.parametrize("name", ["nvidia.yaml", "nvidia-ordered.yaml", "amd.json", "intel.yaml"])
def test_files_of_generators(name: str) -> None:
    found = load_specification(bytes(SPECIFICATIONS / name))
    names = [device.name for device in found.devices]
    if found.kind == "nvidia.com/gpu":
        assert names == ["0", "GPU-0b1f5a9e-3f2d-4c5e-8a77-6f1d2c3b4a50", "1", "0:1", "all"]
        assert found.edits.env == (b"NVIDIA_VISIBLE_DEVICES=void",)
        assert [hook.args[1] for hook in found.edits.hooks] == [
            b"create-symlinks",
            b"enable-cuda-compat",
            b"update-ldcache",
        ]
        assert len(found.edits.mounts) == 9
        assert found.edits.mounts[0].options == (b"ro", b"nosuid", b"nodev", b"rbind", b"rprivate")
        assert [node.path for node in found.devices[0].edits.device_nodes] == [
            b"/dev/nvidia0",
            b"/dev/dri/card1",
            b"/dev/dri/renderD128",
        ]
    elif found.kind == "amd.com/gpu":
        assert names == ["0", "1", "all"]
        assert [node.path for node in found.edits.device_nodes] == [b"/dev/kfd"]
        assert len(found.devices[2].edits.device_nodes) == 4
    else:
        assert found.kind == "intel.com/gpu"
        assert names == ["0000-03-00-0-0x56c0", "0000-0a-00-0-0x56c0"]
        assert found.devices[0].edits.mounts[0].mount_type == b"none"
