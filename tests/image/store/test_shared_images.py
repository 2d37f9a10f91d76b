"""Documents of shared images: a trusted account wrote them, but they are checked."""

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.configuration.stores import SharedImage, SharedStore
from sundog.base.record.stack import ImageStack
from sundog.errors import StoreError
from sundog.image.store.shared_images import (
    SharedLayer,
    pack_documents,
    read_shared,
    shared_history,
)

NAME = b"docker.io%library%app+latest"
LAYER = "0123456789abcdef0123"
DESCRIBED = {
    "name": "app",
    "reference": "docker.io/library/app:latest",
    "id": "0123456789ab",
    "created": "",
    "origin": "build",
    "size": 5,
    "force": ["notify"],
    "layers": [{"layer": "x", "size": 5}],
    "annotations": {"a": "b"},
    "config": {"architecture": "amd64", "history": [{"created_by": "RUN x"}]},
}


def image(documents: bytes) -> SharedImage:
    """Return an image with these documents."""
    store = SharedStore(b"/store", -1, (0, os.geteuid()))
    return SharedImage(store, NAME, ImageStack([LAYER.encode()]), documents)


def test_they_come_back() -> None:
    found = read_shared(image(pack_documents(DESCRIBED, [SharedLayer(LAYER, 3)])))
    assert (found.store, found.typed, found.size) == ("/store", "app", 5)
    assert found.layers == [SharedLayer(LAYER, 3)]
    assert found.described == DESCRIBED
    (entry,) = shared_history(found)
    assert (entry["created_by"], entry["size"], entry["layer"]) == ("RUN x", 5, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from([*DESCRIBED, "", "layers of the store"]), JSON)
def test_any_change_is_an_image_or_one_error(key: str, value: Any) -> None:
    whole = json.loads(pack_documents(DESCRIBED, [SharedLayer(LAYER, 3)]))
    if key in DESCRIBED:
        whole["image"][key] = value
    elif key:
        whole["layers"] = value
    else:
        whole = value
    outcome = tried(json.dumps(whole).encode())
    assert outcome.startswith("damaged image in a shared store: /store/images/") or not outcome


@given(st.binary(max_size=30))
def test_anything_else_is_one_error(data: bytes) -> None:
    assert tried(data).startswith("damaged image in a shared store: /store/images/")


def tried(documents: bytes) -> str:
    """Read documents; return the message of the error, if there is one."""
    try:
        shared_history(read_shared(image(documents)))
    except StoreError as error:
        return error.message
    return ""


@pytest.mark.parametrize("layer", ["..", "../../../../etc/xx", ""])
def test_a_layer_is_no_path(layer: str) -> None:
    documents = pack_documents(DESCRIBED, [SharedLayer(layer, 3)])
    assert "not the ID of a layer" in tried(documents)


def test_a_file_has_the_name_of_its_image() -> None:
    other = {**DESCRIBED, "reference": "docker.io/library/other:latest"}
    assert "its name is docker.io/library/other:latest" in tried(pack_documents(other, []))
