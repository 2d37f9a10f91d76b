"""A strict reader of BuildKit's SolveStatus, one JSON object on each line."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any

DIGEST = re.compile("sha256:[0-9a-f]{64}")
LINE_LIMIT = 1 << 15

# The keys of each kind of object, and their types; those in REQUIRED are always there.
KEYS: dict[str, dict[str, type]] = {
    "vertexes": {
        "digest": str,
        "inputs": list,
        "name": str,
        "started": datetime,
        "completed": datetime,
        "cached": bool,
        "error": str,
    },
    "statuses": {
        "id": str,
        "vertex": str,
        "name": str,
        "total": int,
        "current": int,
        "timestamp": datetime,
        "started": datetime,
        "completed": datetime,
    },
    "logs": {"vertex": str, "stream": int, "data": bytes, "timestamp": datetime},
    "warnings": {"vertex": str, "level": int, "short": bytes, "detail": list, "url": str},
}
REQUIRED = {
    "vertexes": {"digest", "name"},
    "statuses": {"id", "vertex", "current", "timestamp"},
    "logs": {"vertex", "data", "timestamp", "stream"},
    "warnings": {"vertex", "short"},
}


class Progress:
    """All that the lines of one build say: the last state of each vertex, and what it has."""

    def __init__(self, lines: bytes) -> None:
        self.vertexes: dict[str, dict[str, Any]] = {}
        self.statuses: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self.warnings: list[dict[str, Any]] = []
        assert lines.endswith(b"\n")
        for line in lines[:-1].split(b"\n"):
            assert len(line) <= LINE_LIMIT
            self._read(json.loads(line.decode("ascii")))
        for vertex in self.vertexes.values():
            assert vertex["started"] <= vertex["completed"], vertex

    def _read(self, status: dict[str, Any]) -> None:
        assert status
        assert status.keys() <= KEYS.keys()
        for kind, entries in status.items():
            assert entries
            for entry in entries:
                assert entry.keys() <= KEYS[kind].keys()
                assert entry.keys() >= REQUIRED[kind]
                read = {key: _value(KEYS[kind][key], value) for key, value in entry.items()}
                if kind == "vertexes":
                    self._read_vertex(read)
                    continue
                assert read["vertex"] in self.vertexes
                getattr(self, kind).append(read)

    def _read_vertex(self, vertex: dict[str, Any]) -> None:
        assert DIGEST.fullmatch(vertex["digest"])
        assert all(digest in self.vertexes for digest in vertex.get("inputs", ()))
        before = self.vertexes.get(vertex["digest"], vertex)
        assert before["name"] == vertex["name"]
        assert "completed" not in before or before is vertex
        self.vertexes[vertex["digest"]] = vertex

    @property
    def names(self) -> list[str]:
        """The names of all vertices of instructions, in their order."""
        names = [vertex["name"] for vertex in self.vertexes.values()]
        return [name for name in names if not name.startswith("[internal]")]

    def vertex(self, name: str) -> dict[str, Any]:
        """Return the vertex whose name ends with ``name``."""
        (found,) = (one for one in self.vertexes.values() if one["name"].endswith(name))
        return found

    def output(self, name: str, stream: int) -> bytes:
        """Return what a vertex has printed."""
        digest = self.vertex(name)["digest"]
        logs = (log for log in self.logs if (log["vertex"], log["stream"]) == (digest, stream))
        return b"".join(log["data"] for log in logs)

    @property
    def messages(self) -> str:
        """All that was printed on standard error."""
        return b"".join(log["data"] for log in self.logs if log["stream"] == 2).decode()


def _value(kind: type, value: Any) -> Any:
    if kind is datetime:
        assert value.endswith("Z")
        return datetime.fromisoformat(value)
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    assert type(value) is kind
    return value
