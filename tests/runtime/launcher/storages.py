"""Make a storage directory like ``ch-image`` does, for the compiled ``ch-run``."""

from pathlib import Path

from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.stack import ImageStack, pack_stack
from tests.runtime.launcher.conftest import make_image

MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "etc", "ch")
ENVIRONMENT_TEXT = "A=image\nB='two words'\nPATH=/bin:$PATH\n"


def make_storage(path: Path) -> Path:
    """Make a private storage without images."""
    path.mkdir(mode=0o700)
    (path / "version").write_text("sundog 1\n")
    for name in MOUNT_POINTS:
        (path / "skeleton" / name).mkdir(parents=True)
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (path / "skeleton" / "etc" / name).touch()
    for name in ("images", "layers", "trees"):
        (path / name).mkdir()
    return path


def add_image(storage: Path, name: str, stack: ImageStack) -> Path:
    """Add an image; return its directory."""
    directory = storage / "images" / name_to_directory(canonical_name(name))
    (directory / "root" / "ch").mkdir(parents=True)
    (directory / "root" / "ch" / "environment").write_text(ENVIRONMENT_TEXT)
    (directory / "stack").write_bytes(pack_stack(stack))
    return directory


def fill_storage(storage: Path) -> Path:
    """Add an image "app" of two layers, and an image "tree" flattened by the driver "copy"."""
    make_image(storage / "layers" / "base" / "tree")
    (storage / "layers" / "base" / "tree" / "below").write_text("base\n")
    (storage / "layers" / "top" / "tree").mkdir(parents=True)
    (storage / "layers" / "top" / "tree" / "below").write_text("top\n")
    make_image(storage / "trees" / "flat")
    (storage / "trees" / "flat" / "ch").mkdir()
    command = [b"/bin/sh", b"-c", b"echo default; pwd"]
    add_image(storage, "app", ImageStack([b"top", b"base"], b"", command, [], b"/mnt"))
    add_image(storage, "tree", ImageStack([b"top", b"base"], b"flat", command, [], b"/mnt"))
    return storage
