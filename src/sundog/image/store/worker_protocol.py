"""The functions and values that may cross between ``ch-image`` and its tree worker.

A function crosses as its name, a value as the name of its class and its fields.  The other process
looks both names up in the tables here, so a compromised process can ask for nothing else.
"""

from __future__ import annotations

from importlib import import_module

from sundog.image.layer.inherit import StepOwners
from sundog.image.layer.known_records import KnownRecords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Function of the worker → its module, which is imported when needed.
TASKS = {
    "changes_of_upper": "sundog.image.store.tree_work",
    "content_size": "sundog.image.store.tree_work",
    "copy_exactly": "sundog.image.layer.replica",
    "copy_directory": "sundog.image.store.tree_work",
    "copy_shown": "sundog.image.store.tree_work",
    "copy_tree": "sundog.image.layer.flatten",
    "extract_changes": "sundog.image.store.tree_work",
    "flatten_layers": "sundog.image.store.tree_work",
    "join_layers": "sundog.image.store.tree_work",
    "make_directory": "sundog.image.store.tree_work",
    "make_volumes_of_tree": "sundog.image.store.volumes",
    "pack_layer": "sundog.image.transfer.packing",
    "paths_in_tree": "sundog.image.store.tree_work",
    "prepare_copy": "sundog.image.store.tree_work",
    "read_in_tree": "sundog.image.store.tree_work",
    "rename": "sundog.image.store.tree_work",
    "see": "sundog.image.store.shown_trees",
    "seal": "sundog.image.store.tree_work",
    "unpack_archive": "sundog.image.store.tree_work",
    "unpack_arriving": "sundog.image.transfer.arrivals",
    "write_index": "sundog.image.store.tree_work",
    "write_layer_tar": "sundog.image.store.tree_work",
}
# Class → its module.  Its slots, in the order of the arguments, cross unchanged.
VALUES = {
    "Arrived": "sundog.image.transfer.arrivals",
    "Descriptor": "sundog.image.oci.descriptor",
    "Digest": "sundog.image.oci.digest",
    "LayerBlob": "sundog.image.store.layer_info",
    "LayerInfo": "sundog.image.store.layer_info",
    "LayerPath": "sundog.base.record.layer_path",
    "Packed": "sundog.image.transfer.packing",
    "Packing": "sundog.image.transfer.packing",
    "Pipes": "sundog.image.transfer.arrivals",
    "Platform": "sundog.image.oci.platform",
}


def task(name: str) -> Callable[..., object]:
    """Return the function ``name``.  Raises ValueError if it is not one of the worker's."""
    return _looked_up(TASKS, name)


def take_apart(value: object) -> tuple[str, tuple[object, ...]]:
    """Return the name and the fields of a value.  Raises TypeError if it may not cross."""
    name = type(value).__name__
    if isinstance(value, StepOwners):
        flags = value.is_complete, value.guessed, value.unrecorded
        return name, (value.records.pack(), *flags)
    if type(value).__module__ != VALUES.get(name):
        raise TypeError(f"this may not cross between processes: {value!r}")
    slots: tuple[str, ...] = getattr(type(value), "__slots__", ())
    return name, tuple(getattr(value, slot) for slot in slots)


def put_together(name: str, parts: tuple[object, ...]) -> object:
    """Return the value of the class ``name`` with these fields.  Raises ValueError."""
    if name == StepOwners.__name__:
        match parts:
            case (records, bool(is_complete), bool(guessed), bool(unrecorded)):
                return StepOwners(KnownRecords.unpack(records), is_complete, guessed, unrecorded)
        raise ValueError("not the fields of StepOwners")
    kind = _looked_up(VALUES, name)
    try:
        return kind(*parts)
    except TypeError as error:
        raise ValueError(f"not the fields of {name}") from error


def _looked_up(table: dict[str, str], name: str) -> Callable[..., object]:
    module = table.get(name)
    if module is None:
        raise ValueError(f"this may not cross between processes: {name[:100]!r}")
    found: Callable[..., object] = getattr(import_module(module), name)
    return found
