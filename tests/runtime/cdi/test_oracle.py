"""Specification files against what two versions of CDI's own package make of them.

``oracle/record.py`` wrote the answers.  Where Sundog differs on purpose, a table says why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sundog.errors import CdiError
from sundog.runtime.cdi.merging import path_components
from sundog.runtime.cdi.registry import CdiRegistry, edits_for
from tests.runtime.cdi import cases

if TYPE_CHECKING:
    from sundog.runtime.cdi.edits import ContainerEdits

ORACLE = Path(__file__).parent / "oracle"
VERSIONS = ("0.8.0", "1.1.0")
EVERY = cases.judged_files()


def recorded(name: str) -> Any:
    return json.loads((ORACLE / f"{name}.json").read_text(encoding="utf-8"))


def registry_of(place: Path, files: dict[str, dict[str, str]]) -> CdiRegistry:
    """Write files into the directories 1 and 2, and read them."""
    for directory, texts in files.items():
        (place / directory).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (place / directory / name).write_text(text, encoding="utf-8")
    return CdiRegistry([bytes(place / "1"), bytes(place / "2")])


# Parts of our messages about files that CDI's package takes → why Sundog does not.
STRICTER = {
    "is not an absolute path": "a relative path means nothing; of hooks, the specification says so",
    "timeout: a number from 1": "the specification demands more than zero",
    "found null": "a list or a map with null in it is a mistake; the package makes it empty text",
    "the field kind is there twice": "once as Kind: the package takes one of the two",
}


@pytest.mark.parametrize("group", EVERY)
def test_files_that_can_be_used(tmp_path: Path, group: str) -> None:
    usable = recorded("usable-1.1.0")[group]
    assert len(usable) == len(EVERY[group])
    different = []
    for number, (name, text) in enumerate(EVERY[group]):
        registry = registry_of(tmp_path / str(number), {"1": {name: text}})
        assert bool(registry.devices) != bool(registry.faults)
        if bool(registry.devices) == (usable[number] == "1"):
            continue
        reason = registry.faults[0].message if registry.faults else "usable"
        if not any(words in reason for words in STRICTER):
            different.append((number, text, reason))
    if group == "enableCMT":
        # The package of 1.1 does not know the fields that 1.1 dropped, in any file.
        allowed = [number for number, version in enumerate(cases.VERSIONS) if version in HAVE_CMT]
        assert [number for number, *_ in different] == allowed
    else:
        assert different == []


HAVE_CMT = ("0.7.0", "0.8.0", "v0.8.0", "1.0.0")


def test_fields_that_a_version_dropped(tmp_path: Path) -> None:
    usable = recorded("usable-0.8.0")["enableCMT"]
    for number, version in enumerate(cases.VERSIONS):
        if str(version).removeprefix("v") < "1":
            assert (usable[number] == "1") == (version in HAVE_CMT), version


@pytest.mark.parametrize("version", VERSIONS)
def test_files_together(tmp_path: Path, version: str) -> None:
    answers = recorded(f"joint-{version}")
    edited = 0
    for number, (case, answer) in enumerate(zip(recorded("joint"), answers, strict=True)):
        place = tmp_path / str(number)
        registry = registry_of(place, case["files"])
        names = set(registry.devices)
        # Sundog lets a later directory end a conflict; the package does not.
        ended = names - set(answer["devices"])
        assert all("2/" in str(registry.devices[name][0].path) for name in ended)
        assert sorted(names - ended) == answer["devices"]
        faulty = [fault.message.partition(":")[0] for fault in registry.faults]
        for files in registry.conflicts.values():
            faulty += [path.decode() for path in files]
        assert {path.removeprefix(f"{place}/") for path in faulty} <= set(answer["errors"])
        asked = [name.encode() for name in case["devices"]]
        directories = registry.directories
        if "env" in answer:
            assert described(edits_for(asked, directories, print), version) == {
                key: answer[key] for key in answer if key not in ("devices", "errors")
            }
            edited += 1
        elif not ended:
            with pytest.raises(CdiError):
                edits_for(asked, directories, print)
    assert edited > len(answers) / 3


def described(edits: ContainerEdits, version: str) -> dict[str, Any]:
    """Return edits as the recorder describes those of the package."""
    hooks: dict[str, list[str]] = {}
    for hook in edits.hooks:
        hooks.setdefault(hook.hook_name, []).append(hook.args[0].decode())
    mounts = [[mount.container_path.decode(), mount.host_path.decode()] for mount in edits.mounts]
    if version == "0.8.0":  # which sorts mounts of the same depth by their names
        mounts.sort(key=lambda mount: (len(path_components(mount[0].encode())), mount[0]))
    return {
        "env": [string.decode() for string in edits.env],
        "deviceNodes": [[node.path.decode(), node.minor] for node in edits.device_nodes],
        "mounts": mounts,
        "hooks": hooks,
        "additionalGids": list(edits.additional_gids),
        "intelRdt": edits.intel_rdt.clos_id.decode() if edits.intel_rdt else "",
    }
