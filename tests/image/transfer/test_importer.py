"""Import: directories and tarballs, the metadata in them, and what it refuses."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.base.record.owners import OwnerRecord
from sundog.errors import ArchiveError, StoreError, SundogError
from sundog.image.oci.platform import Platform
from sundog.image.store.store import Store
from sundog.image.transfer.importer import import_image
from sundog.runtime.linker.elf import ElfLayout
from tests.image.store.conftest import ROOT_FILES, contents, temporary_things, write_tar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def tree_of(store: Store, name: str) -> Path:
    image = store.images.get(name)
    assert len(image.layers) == 1
    return Path(os.fsdecode(store.layers.tree(image.layers[0])))


def expected() -> dict[str, bytes | None]:
    return {k: v if isinstance(v, bytes) else None for k, v in sorted(ROOT_FILES.items())}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_tar_in_any_compression(
    store: Store, storage: Path, root_tar: Path, compress: Callable[[bytes], bytes]
) -> None:
    archive = root_tar.with_suffix(".whatever")
    archive.write_bytes(compress(root_tar.read_bytes()))
    image = import_image(store, str(archive), "x")
    assert contents(tree_of(store, "x")) == expected()
    assert image == store.images.get("x")
    assert (image.typed, image.origin) == ("x", f"import {archive}")
    assert os.readlink(tree_of(store, "x") / "etc/link") == "/etc/motd"
    store.close()
    assert temporary_things(storage) == []


def test_zstd_tar(store: Store, root_tar: Path) -> None:
    archive = root_tar.with_suffix(".zst")
    archive.write_bytes(zstd.compress(root_tar.read_bytes()))
    import_image(store, str(archive), "x")
    assert contents(tree_of(store, "x")) == expected()


def test_tar_from_a_pipe(storage: Path, driver: str, root_tar: Path) -> None:
    program = (
        "import sys\n"
        "from sundog.image.transfer.importer import import_image\n"
        "from sundog.image.store.store import Store\n"
        "with Store.open(sys.argv[1], driver=sys.argv[2]) as store:\n"
        "    import_image(store, '-', 'x')\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, storage, driver],
        input=gzip.compress(root_tar.read_bytes()),
        check=True,
    )
    with Store.open(str(storage), driver=driver) as store:
        assert contents(tree_of(store, "x")) == expected()


def test_same_tar_twice_is_one_layer(store: Store, root_tar: Path) -> None:
    packed = root_tar.with_suffix(".gz")
    packed.write_bytes(gzip.compress(root_tar.read_bytes()))
    first = import_image(store, str(root_tar), "x")
    second = import_image(store, str(packed), "y")
    assert first.layers == second.layers
    digest = hashlib.sha256(root_tar.read_bytes()).hexdigest()
    assert store.layers.info(first.layers[0]).source == f"sha256:{digest}"


def test_directory_and_the_same_directory_again(
    store: Store, tmp_path: Path, root_tar: Path
) -> None:
    tree = tmp_path / "tree"
    with tarfile.open(root_tar) as tar:
        # Python 3.11.2 has no filters and trusts the archive.
        tar.extraction_filter = getattr(tarfile, "tar_filter", None)
        tar.extractall(tree)
    first = import_image(store, str(tree), "x")
    assert contents(tree_of(store, "x")) == expected()
    assert store.layers.owners(first.layers[0]) == {}  # the user's own files belong to root
    assert import_image(store, str(tree), "y").layers == first.layers
    (tree / "etc/motd").write_text("changed")
    assert import_image(store, str(tree), "z").layers != first.layers


def test_owners_devices_and_bits_of_a_tar_are_kept(store: Store, tmp_path: Path) -> None:
    archive = write_tar(
        tmp_path / "x.tar",
        {"bin": None, "bin/su": b"", "dev": None, "dev/null": b"", "mail": None},
        {
            "bin/su": {"uid": 0, "gid": 42, "mode": 0o4755},
            "dev/null": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3, "mode": 0o666},
            "mail": {"uid": 8, "gid": 12, "mode": 0o2775},
        },
    )
    (layer,) = import_image(store, str(archive), "x").layers
    assert store.layers.owners(layer) == {
        b"bin/su": OwnerRecord("f", 0, 42),
        b"dev/null": OwnerRecord("c", rdev=os.makedev(1, 3)),
        b"mail": OwnerRecord("d", 8, 12),
    }
    tree = tree_of(store, "x")
    assert (tree / "bin/su").stat().st_mode & 0o7777 == 0o4755
    assert (tree / "mail").stat().st_mode & 0o7777 == 0o2775


def test_one_directory_around_all_is_taken_off(store: Store, tmp_path: Path) -> None:
    wrapped = write_tar(
        tmp_path / "w.tar",
        {"image-1.0": None} | {f"image-1.0/{k}": v for k, v in ROOT_FILES.items()},
    )
    import_image(store, str(wrapped), "x")
    assert contents(tree_of(store, "x")) == expected()


def test_default_configuration(store: Store, root_tar: Path) -> None:
    config = import_image(store, str(root_tar), "x").config
    host = Platform.of_host()
    assert (config.architecture, config.variant, config.os) == (
        host.architecture,
        host.variant,
        "linux",
    )
    assert (config.env, config.cmd, config.labels) == ((), None, {})
    (entry,) = config.history
    assert (entry.created_by, entry.empty_layer) == ("ch-image import", False)
    assert config.diff_ids == ("",)


def program(bits: int, order: str, machine: int) -> bytes:
    """Return the header of an ELF file."""
    layout = ElfLayout(bits, order)
    head = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2])
    fields = layout.file_header.pack(2, machine, *[0] * 8)
    return head + fields[len(head) :].ljust(64, b"\0")


FOREIGN = "s390x" if os.uname().machine != "s390x" else "riscv64"
FOREIGN_SHELL = program(64, "big", 22) if FOREIGN == "s390x" else program(64, "little", 243)


@pytest.mark.parametrize(
    ("files", "architecture"),
    [
        ({"bin": None, "bin/sh": ("dash",), "bin/dash": FOREIGN_SHELL}, FOREIGN),
        ({"bin": ("usr/bin",), "usr/bin": None, "usr/bin/sh": FOREIGN_SHELL}, FOREIGN),
        ({"lib": None, "lib/ld64.so.1": FOREIGN_SHELL}, FOREIGN),
        ({"bin": None, "bin/sh": b"#!/x\n", "bin/bash": FOREIGN_SHELL}, FOREIGN),
        ({"bin": None, "bin/sh": FOREIGN_SHELL[:20]}, "host"),
        ({"bin": None, "bin/sh": (str(Path(__file__).parent / "../../bin/sh"),)}, "host"),
    ],
)
def test_architecture_is_that_of_the_shell_or_loader(
    store: Store, tmp_path: Path, files: dict[str, bytes | tuple[str] | None], architecture: str
) -> None:
    host = Platform.of_host()
    archive = write_tar(tmp_path / "x.tar", {"usr": None, "etc": None} | files)
    found = import_image(store, str(archive), "x").config
    assert found.architecture == (host.architecture if architecture == "host" else architecture)
    told = import_image(store, str(archive), "x", Platform.parse("arm/v6")).config
    assert (told.architecture, told.variant) == ("arm", "v6")


METADATA = {
    "arch": "arm64/v8",
    "arg": {},
    "cwd": "/work",
    "env": {"PATH": "/bin", "A": "b=c"},
    "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "RUN.S true"}],
    "labels": {"l": "m"},
    "shell": ["/bin/bash", "-c"],
    "volumes": ["/v"],
}


def test_metadata_in_the_image_is_honoured(store: Store, tmp_path: Path) -> None:
    archive = write_tar(
        tmp_path / "x.tar",
        ROOT_FILES | {"ch": None, "ch/metadata.json": json.dumps(METADATA).encode()},
    )
    config = import_image(store, str(archive), "x").config
    assert (config.architecture, config.variant) == ("arm64", "")
    told = import_image(store, str(archive), "x", Platform.parse("s390x")).config
    assert told.architecture == "s390x"
    assert config.environment == {"PATH": "/bin", "A": "b=c"}
    assert config.working_dir == "/work"
    assert config.labels == {"l": "m"}
    assert config.shell == ("/bin/bash", "-c")
    assert config.volumes == ("/v",)
    assert [(e.created_by, e.empty_layer) for e in config.history] == [
        ("RUN.S true", True),
        ("ch-image import", False),
    ]


@pytest.mark.parametrize(
    "metadata", [b"", b"[]", b'{"env": []}', b'{"cwd": 1}', b'{"history": [1]}', b"\xff"]
)
def test_metadata_that_is_none_is_one_clear_error(
    store: Store, storage: Path, tmp_path: Path, metadata: bytes
) -> None:
    archive = write_tar(tmp_path / "x.tar", ROOT_FILES | {"ch": None, "ch/metadata.json": metadata})
    with pytest.raises(StoreError, match=r"^the image's own /ch/metadata\.json cannot be used: "):
        import_image(store, str(archive), "x")
    assert list(store.images.list()) == []
    store.close()
    assert os.listdir(storage / "layers") == []


@pytest.mark.parametrize("kind", ["link", "linked directory", "fifo"])
def test_metadata_is_never_read_from_elsewhere(store: Store, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "metadata.json").write_text(json.dumps(METADATA))
    ch: dict[str, bytes | tuple[str] | None] = {
        "link": {"ch": None, "ch/metadata.json": (str(secret / "metadata.json"),)},
        "linked directory": {"ch": (str(secret),)},
        "fifo": {"ch": None, "ch/metadata.json": b""},
    }[kind]  # type: ignore[assignment]
    fifo = {"ch/metadata.json": {"type": tarfile.FIFOTYPE}} if kind == "fifo" else {}
    archive = write_tar(tmp_path / "x.tar", ROOT_FILES | ch, fifo)
    assert import_image(store, str(archive), "x").config.working_dir == ""


def test_failed_import_leaves_the_old_image_and_nothing_else(
    store: Store, storage: Path, root_tar: Path, tmp_path: Path
) -> None:
    old = import_image(store, str(root_tar), "x")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(root_tar.read_bytes()[:1500])
    with pytest.raises(ArchiveError):
        import_image(store, str(cut), "x")
    assert store.images.get("x") == old
    store.close()
    assert os.listdir(storage / "layers") == list(old.layers)
    assert temporary_things(storage) == []


def test_what_cannot_be_imported_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^can't import: not found: /absent$"):
        import_image(store, "/absent", "x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StoreError, match=r"^can't import: .*/loop: Too many levels"):
        import_image(store, str(tmp_path / "loop"), "x")
    for name in ("file", "directory"):
        path = tmp_path / name
        path.touch(0) if name == "file" else path.mkdir(0)
        with pytest.raises(StoreError, match=rf"^can't import: .*/{name}: Permission denied$"):
            import_image(store, str(path), "x")
    (tmp_path / "text").write_text("no tar")
    with pytest.raises(ArchiveError):
        import_image(store, str(tmp_path / "text"), "x")


def test_reimport_collects_what_only_the_old_image_used(
    open_store: Callable[[], Store], storage: Path, root_tar: Path, tmp_path: Path
) -> None:
    with open_store() as store:
        import_image(store, str(root_tar), "x")
    with open_store() as store:
        (layer,) = import_image(
            store, str(write_tar(tmp_path / "2.tar", {"usr": None, "usr/new": b""})), "x"
        ).layers
    assert os.listdir(storage / "layers") == [layer]


def test_foreign_owners_of_a_directory_are_recorded(store: Store, foreign_tree: Path) -> None:
    (layer,) = import_image(store, str(foreign_tree), "x").layers
    owners = store.layers.owners(layer)
    assert owners[b"bin/set-user-id"] == OwnerRecord("f", 8, 8)
    assert owners[b"spool"] == OwnerRecord("d", 8, 12)
    assert b"home/mine" not in owners
    assert owners[b"null"] == OwnerRecord("c", rdev=os.makedev(1, 3))


def test_unreadable_files_of_a_directory_are_listed_in_one_error(
    store: Store, foreign_tree: Path
) -> None:
    with pytest.raises(SundogError) as error:
        import_image(store, str(foreign_tree.parent / "unreadable"), "x")
    text = f"{error.value.message} {error.value.hint}"
    for name in ("secret", "locked", "open/other-secret"):
        assert name in text
    assert "\n" not in error.value.message


def test_file_of_no_size_is_no_tar(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ArchiveError):
        import_image(store, str(tmp_path / "empty"), "x")


def test_archive_is_read_once_and_not_copied(store: Store, storage: Path, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    archive = write_tar(tmp_path / "x.tar", {"usr": None, "usr/data": data})
    (layer,) = import_image(store, str(archive), "x").layers
    used = sum(p.lstat().st_size for p in storage.rglob("*") if p.is_file())
    flattened = 2 if store.driver.name == "copy" else 1
    assert used < flattened * len(data) + 100_000
    tar = io.BytesIO()
    assert tar.tell() == 0
    assert (storage / "layers" / layer / "tree/usr/data").read_bytes() == data
