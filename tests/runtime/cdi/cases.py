"""Specification files, most of them wrong, that the oracles of ``oracle/`` have judged.

``judged_files`` changes one thing in a file that is right: each field gets each of ODD_VALUES, each
feature each version, and names, kinds and texts are listed.  ``joint_cases`` puts files of several
directories together; the cases that were made so are kept with their answers.
"""

from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND, NAME = "example.com/thing", "one"

# Every field that version 0.8 has, with a value that is right.
EDITS: dict[str, Any] = {
    "env": ["A=1"],
    "deviceNodes": [
        {
            "path": "/dev/thing0",
            "hostPath": "/dev/null",
            "type": "c",
            "major": 1,
            "minor": 3,
            "fileMode": 432,
            "permissions": "rw",
            "uid": 5,
            "gid": 6,
        }
    ],
    "mounts": [
        {"hostPath": "/usr/lib", "containerPath": "/opt/lib", "type": "bind", "options": ["ro"]}
    ],
    "hooks": [
        {
            "hookName": "createContainer",
            "path": "/usr/bin/hook",
            "args": ["hook", "create-symlinks"],
            "env": ["DEBUG=false"],
            "timeout": 5,
        }
    ],
    "additionalGids": [44],
    "intelRdt": {
        "closID": "group",
        "l3CacheSchema": "L3:0=f",
        "memBwSchema": "MB:0=10",
    },
}
RIGHT: dict[str, Any] = {
    "cdiVersion": "0.8.0",
    "kind": KIND,
    "annotations": {"a": "1"},
    "devices": [{"name": NAME, "annotations": {"b": "2"}, "containerEdits": EDITS}],
    "containerEdits": {"env": ["B=2"]},
}
MINIMAL: dict[str, Any] = {
    "cdiVersion": "0.3.0",
    "kind": KIND,
    "devices": [{"name": NAME, "containerEdits": {"env": ["A=1"]}}],
}
# What 1.1 has besides: the fields enableCMT and enableMBM are gone.
RDT_1_1 = {"schemata": ["L3:0=f"], "enableMonitoring": True}
NET_DEVICES = [{"hostInterfaceName": "eth9", "name": "eth0"}]

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**32 - 1, 2**32, 2**63 - 1, 2**63, "", "0", "x", "/x", "a/b",
    "A=1", "=1", "A", "none", "rwm", "rx", "p", "poststop", ".", "..", "/", "a\nb", "1a", "a.", "é",
    [], ["A=1"], [1], [[]], [""], {}, {"x": "y"}, {"x": 1}, [{}], "bind",
)  # fmt: skip
NAMES = (
    "a", "A1", "1", "1a", "a-b_c.d:e", "-a", "a-", "a.", ".a", "_a", "a:", ":a", "a b", "a/b",
    "a=b", "", "é", "a\u00e9b", "0:1", "GPU-1b2c", "a" * 300,
)  # fmt: skip
KINDS = (
    "a/b", "a1/b1", "a.b/c", "a.b/c.d", "1a/b", "a/1b", "a-/b", "a/b-", "a/", "/b", "a", "",
    "a/b/c", "a_b/c_d", "_a/b", "a/b:c", "a b/c", "A.B/C", "a/b=c",
    "a" * 64 + "/b", "a/" + "b" * 64, "é/b",
)  # fmt: skip
VERSIONS = (
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "v0.8.0", "1.0.0",
    "v1.1.0", "1.1.0", "1.2.0", "0.8", "0.8.1", "vv0.8.0", "", "latest", 1, None,
)  # fmt: skip
# Feature → what the smallest file gets.
FEATURES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "mount type": {"devices.0.containerEdits.mounts": [
        {"hostPath": "/a", "containerPath": "/b", "type": "bind"}]},
    "empty mount type": {"containerEdits.mounts": [
        {"hostPath": "/a", "containerPath": "/b", "type": ""}]},
    "hostPath": {"containerEdits.deviceNodes": [{"path": "/dev/null", "hostPath": "/dev/null"}]},
    "digit": {"devices.0.name": "0"},
    "annotations": {"annotations": {"a": "b"}},
    "empty annotations": {"annotations": {}},
    "annotations of a device": {"devices.0.annotations": {"a": "b"}},
    "dot in the class": {"kind": "example.com/a.b"},
    "intelRdt": {"containerEdits.intelRdt": {"closID": "a"}},
    "enableCMT": {"containerEdits.intelRdt": {"enableCMT": True}},
    "additionalGids": {"devices.0.containerEdits.additionalGids": [5]},
    "only group 0": {"devices.0.containerEdits": {"additionalGids": [0]}},
    "schemata": {"containerEdits.intelRdt": {"schemata": ["L3:0=f"]}},
    "enableMonitoring": {"devices.0.containerEdits.intelRdt": {"enableMonitoring": True}},
    "netDevices": {"containerEdits.netDevices": NET_DEVICES},
}  # fmt: skip
# Text of a file with YAML's or JSON's own questions.  "@" stands for the rest of MINIMAL.
REST = "kind: example.com/thing\ndevices: [{name: one, containerEdits: {env: [A=1]}}]\n"
TEXTS = {
    "empty.yaml": "",
    "comment.yaml": "# nothing\n",
    "null.yaml": "null\n",
    "list.yaml": "- 1\n",
    "flow.yaml": f"cdiVersion: 0.3.0\n{REST}",
    "quoted.yaml": f"cdiVersion: '0.3.0'\n{REST}",
    "document.yaml": f"---\ncdiVersion: 0.3.0\n{REST}",
    "end.yaml": f"cdiVersion: 0.3.0\n{REST}...\n",
    "twice.yaml": f"cdiVersion: 0.3.0\n{REST}kind: example.com/thing\n",
    "twice-in-two-cases.yaml": f"cdiVersion: 0.3.0\n{REST}Kind: example.com/thing\n",
    "upper.yaml": f"CDIVERSION: 0.3.0\n{REST}",
    "gids.yaml": f"cdiVersion: 0.7.0\n{REST}containerEdits: {{additionalGIDs: [5]}}\n",
    "unknown.yaml": f"cdiVersion: 0.3.0\n{REST}surprise: 1\n",
    "number-as-name.yaml": f"cdiVersion: 0.5.0\n{REST}".replace("name: one", "name: 1"),
    "octal.yaml": f"cdiVersion: 0.3.0\n{REST}containerEdits: "
    "{deviceNodes: [{path: /dev/null, fileMode: 0660}]}\n",
    "hexadecimal.yaml": f"cdiVersion: 0.3.0\n{REST}containerEdits: "
    "{deviceNodes: [{path: /dev/null, fileMode: 0x1b0}]}\n",
    "aliases.yaml": "cdiVersion: 0.3.0\nkind: example.com/thing\ndevices:\n- name: one\n"
    "  containerEdits: &e {env: [A=1]}\n- name: two\n  containerEdits: *e\n",
    "tab.yaml": f"cdiVersion:\t0.3.0\n{REST}",
    "folded.yaml": f"cdiVersion: >-\n  0.3.0\n{REST}",
    "blocks.yaml": "cdiVersion: 0.3.0\nkind: example.com/thing\ncontainerEdits: {}\ndevices:\n"
    "- containerEdits:\n    env:\n    - A=1\n  name: one\n",
    "numbers.json": '{"cdiVersion":"0.5.0","kind":"example.com/thing","devices":'
    '[{"name":1,"containerEdits":{"env":["A=1"],"hooks":[{"hookName":"prestart","path":"/x",'
    '"args":[1]}]}}]}',
    "twice.json": '{"cdiVersion":"0.3.0","cdiVersion":"0.3.0","kind":"example.com/thing",'
    '"devices":[{"name":"one","containerEdits":{"env":["A=1"]}}]}',
    "cut.json": '{"cdiVersion":"0.3.0",',
    "blanks.json": '\n {"cdiVersion":"0.3.0", "kind":"example.com/thing",\r\n\t"devices":'
    '[{"name":"one","containerEdits":{"env":["A=1"]}}]} \n',
}


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of ``document`` where ``path``, such as "devices.0.name", is ``value``."""
    copied = copy.deepcopy(document)
    *way, last = path.split(".")
    place: Any = copied
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[int(last) if isinstance(place, list) else last] = value
    return copied


def without(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a copy of ``document`` that lacks ``path``."""
    copied = copy.deepcopy(document)
    *way, last = path.split(".")
    place: Any = copied
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    del place[int(last) if isinstance(place, list) else last]
    return copied


def paths(document: Any, prefix: str = "") -> Iterator[str]:
    """Find the paths of all values below ``document``."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for step, value in pairs:
        yield f"{prefix}{step}"
        if isinstance(value, dict | list):
            yield from paths(value, f"{prefix}{step}.")


def judged_files() -> dict[str, list[tuple[str, str]]]:
    """Return groups of cases: the name of a file, and its text."""
    groups: dict[str, list[Any]] = {"right": [RIGHT, MINIMAL]}
    newest = changed(RIGHT, "cdiVersion", "1.1.0")
    newest = changed(newest, "devices.0.containerEdits.intelRdt", RDT_1_1)
    newest = changed(newest, "devices.0.containerEdits.netDevices", NET_DEVICES)
    new = [path for path in paths(newest) if "intelRdt" in path or "netDevices" in path]
    for base, found in (RIGHT, paths(RIGHT)), (newest, new):
        for path in found:
            groups[f"{base['cdiVersion']} {path}"] = [
                without(base, path),
                *[changed(base, path, value) for value in ODD_VALUES],
            ]
    for feature, changes in FEATURES.items():
        documents = groups[feature] = []
        for version in VERSIONS:
            document = changed(MINIMAL, "cdiVersion", version)
            for path, value in changes.items():
                document = changed(document, path, value)
            documents.append(document)
    groups["names"] = [changed(RIGHT, "devices.0.name", name) for name in NAMES]
    groups["kinds"] = [changed(RIGHT, "kind", kind) for kind in KINDS]
    groups["twice"] = [changed(MINIMAL, "devices", MINIMAL["devices"] * 2)]
    for field in "hostInterfaceName", "name":
        devices = [{"hostInterfaceName": n, "name": n} for n in "ab"]
        devices[1][field] = "a"
        groups["twice"].append(changed(newest, "containerEdits.netDevices", devices))
    files = {
        group: [("a.json", json.dumps(document)) for document in documents]
        for group, documents in groups.items()
    }
    return files | {"texts": list(TEXTS.items())}


def joint_cases(count: int = 30) -> list[dict[str, Any]]:
    """Return cases of several files: the files by directory and name, and what is asked for."""
    return [_joint_case(random.Random(seed)) for seed in range(count)]


def _joint_case(chance: random.Random) -> dict[str, Any]:
    files: dict[str, dict[str, str]] = {}
    names: list[str] = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(("a.org/gpu", "a.org/nic", "b.org/gpu"))
        devices = [
            {"name": name, "containerEdits": _some_edits(chance)}
            for name in chance.sample(("p", "q", "r"), chance.randint(1, 2))
        ]
        names += [f"{kind}={device['name']}" for device in devices]
        document: dict[str, Any] = {"cdiVersion": "0.7.0", "kind": kind, "devices": devices}
        if chance.random() < 0.7:
            document["containerEdits"] = _some_edits(chance)
        if chance.random() < 0.1:
            document["surprise"] = 1
        directory, name = chance.choice("12"), chance.choice("abc") + ".json"
        files.setdefault(directory, {})[name] = json.dumps(document)
    asked = chance.sample(names, chance.randint(1, len(names)))
    return {"files": files, "devices": list(dict.fromkeys(asked))}


def _some_edits(chance: random.Random) -> dict[str, Any]:
    def some(values: list[Any], most: int = 2) -> list[Any]:
        return copy.deepcopy(chance.sample(values, chance.randint(0, most)))

    mark = chance.randrange(1000)
    edits = {
        "env": [f"{name}={mark}" for name in some(["A", "B", "C"])] or [f"Z={mark}"],
        "deviceNodes": [
            {"path": path, "type": "c", "major": 1, "minor": mark}
            for path in some(["/dev/x", "/dev/y"])
        ],
        "mounts": [
            {"hostPath": f"/host/{mark}", "containerPath": path}
            for path in some(["/a", "/a/b", "/a/b/c", "/d/e", "/f"], 3)
        ],
        "hooks": [
            {"hookName": name, "path": "/hook", "args": [str(mark)]}
            for name in some(["prestart", "createContainer"], 1)
        ],
        "additionalGids": some([0, 7, 8]),
    }
    if chance.random() < 0.2:
        edits["intelRdt"] = {"closID": f"g{mark}"}
    return edits
