"""Functions of ``posixpath`` for texts, without the millisecond that its import takes."""

from __future__ import annotations


def joined(directory: str, path: str) -> str:
    """Return ``path`` as seen from ``directory``: see os.path.join."""
    if path.startswith("/") or not directory:
        return path
    return directory + path if directory.endswith("/") else f"{directory}/{path}"


def normalized(path: str) -> str:
    """Return ``path`` without empty names, ``.`` and ``..``: see os.path.normpath."""
    start = "/" if path.startswith("/") else ""
    if path.startswith("//") and not path.startswith("///"):
        start = "//"  # POSIX lets it be another root
    names: list[str] = []
    for name in path.split("/"):
        if name == ".." and names and names[-1] != "..":
            names.pop()
        elif name not in ("", ".") and (name != ".." or not start):
            names.append(name)
    return start + "/".join(names) or "."
