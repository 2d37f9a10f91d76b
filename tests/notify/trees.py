"""Compare two trees, each as the program ``snapshot`` printed it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What ``snapshot`` says about one path; ``links`` are its other names in the tree."""

    mode: str
    uid: int
    gid: int
    rdev: str
    attributes: tuple[str, ...]
    links: frozenset[str]


def read_snapshot(text: str) -> dict[str, Entry]:
    """Return the entries of a snapshot by path."""
    fields: dict[str, list[str]] = {}
    names: dict[str, set[str]] = {}
    for line in text.splitlines():
        path, _, rest = line.partition("\t")
        fields[path] = rest.split()
        _, _, _, _, count, inode, *_ = fields[path]
        if int(count) > 1:
            names.setdefault(inode, set()).add(path)
    return {
        path: Entry(
            mode, int(uid), int(gid), rdev, tuple(attributes), frozenset(names.get(inode, ()))
        )
        for path, (mode, uid, gid, rdev, _, inode, *attributes) in fields.items()
    }


def differences(expected: dict[str, Entry], found: dict[str, Entry]) -> list[str]:
    """Return a line for each path that is missing, too much, or another thing."""
    lines = [f"missing: {path}" for path in expected if path not in found]
    lines += [f"too much: {path}" for path in found if path not in expected]
    lines += [
        f"{path}: expected {entry}, found {found[path]}"
        for path, entry in expected.items()
        if path in found and found[path] != entry
    ]
    return lines
