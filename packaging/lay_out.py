"""Lay Sundog out as the packages of distributions have it.

``python3 lay_out.py [--system-packages] ROOT WHEEL...`` unpacks Sundog's wheel, and those of what
the distribution lacks, below ROOT: a virtual environment in ``usr/lib/sundog``, which sees the
distribution's packages only with ``--system-packages``; links to the commands, manual pages and
completions where all programs have them.  It needs nothing but Python.
"""

import os
import sys
import zipfile
from pathlib import Path

HOME = "usr/lib/sundog"
MINOR = f"python{sys.version_info[0]}.{sys.version_info[1]}"
INTERPRETER = f"/usr/bin/{MINOR}"
# Parts of "NAME.data" in a wheel; what matches no earlier line goes to the last one's place.
PLACES = (
    ("scripts/", f"{HOME}/bin/"),
    ("data/share/sundog/", f"{HOME}/share/sundog/"),
    ("data/", "usr/"),
)
LEFT_OUT = ("sundog-python",)  # the interpreter has a link of its own


def place(name: str) -> str:
    """Return the place of a wheel's member below ROOT, "" if it is left out."""
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"a wheel's member that leads out: {name}")
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return f"{HOME}/lib/{MINOR}/site-packages/{name}"
    if rest.rpartition("/")[2] in LEFT_OUT:
        return ""
    for start, directory in PLACES:
        if rest.startswith(start):
            return directory + rest.removeprefix(start)
    raise ValueError(f"no place for {name}")


def link_equal(directory: Path) -> None:
    """Make one file of the files that are equal: each command is the same program."""
    first: dict[bytes, Path] = {}
    for path in sorted(directory.iterdir()):
        same = first.setdefault(path.read_bytes(), path)
        if same != path:
            path.unlink()
            path.hardlink_to(same)


def unpack(root: Path, wheel: str) -> None:
    """Unpack a wheel; a script of it is executable."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or not (where := place(member.filename)):
                continue
            target = root / where
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
            target.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)


def main() -> None:
    """Lay all of it out."""
    words = sys.argv[1:]
    is_system = words[0] == "--system-packages"
    root, wheels = Path(words[is_system]), words[is_system + 1 :]
    for wheel in wheels:
        unpack(root, wheel)
    home = root / HOME
    (home / "pyvenv.cfg").write_text(
        f"home = {os.path.dirname(INTERPRETER)}\n"
        f"include-system-site-packages = {str(is_system).lower()}\n"
    )
    (root / "usr/bin").mkdir()
    for command in sorted((home / "bin").iterdir()):
        command.chmod(0o755)
        (root / "usr/bin" / command.name).symlink_to(f"../lib/sundog/bin/{command.name}")
    for directory in (home / "bin", home / "share/sundog"):
        link_equal(directory)
    for name in (MINOR, "python3"):
        (home / "bin" / name).symlink_to(f"../../..{INTERPRETER.removeprefix('/usr')}")


if __name__ == "__main__":
    main()
