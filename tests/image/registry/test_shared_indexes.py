"""Indexes of gzip layers in a shared store: whoever trusts it pulls by them."""

from pathlib import Path

import pytest

from tests.conftest import Runner, runner
from tests.image.registry.test_index_artifacts import DIGESTS, seen, settings
from tests.image.registry.test_lazy_images import Lazy, layout_of, lazy, made

__all__ = ["lazy", "made", "settings"]

pytestmark = pytest.mark.usefixtures("fuse")


@pytest.fixture
def maker(lazy: Lazy, tmp_path: Path) -> Runner:
    """Return ch-image of somebody who has published the image, with indexes."""
    maker = runner("ch-image", tmp_path / "maker")
    maker("index", f"{lazy.name}:gzip")
    maker("pull", f"{lazy.name}:gzip", "app")
    maker("publish", "app", tmp_path / "shared")
    return maker


@pytest.mark.usefixtures("settings")
def test_a_start_by_them(lazy: Lazy, maker: Runner, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    # The layers themselves go: else they would come from there.
    maker("unpublish", "app", shared)
    maker("publish", "--gc", "--grace", "0s", shared)
    assert not [*shared.glob("layers/*")]
    indexes = [*shared.glob("gzip-indexes/*")]
    assert [path.stat().st_mode & 0o777 for path in indexes] == [0o444, 0o444]
    name = f"{lazy.name}:gzip"
    told = lazy.image("--image-store", shared, "pull", "--lazy", name).stderr
    assert "pulled whole: layer 3 (small)" in told
    assert (lazy.incomplete, lazy.sent) == (2, [])
    assert seen(lazy.storage, name) == DIGESTS
    lazy.image("delete", name)
    stores = {"CH_IMAGE_STORES": str(shared), "CH_RUN_LAZY": "ondemand"}
    run = runner("ch-run", lazy.storage)
    words = ("--", "sha256sum", "/noise", "/more")
    for start in (("--lazy=ondemand", name), ("--lazy", layout_of(lazy, tmp_path))):
        printed = run(*start, *words, env=stores).stdout
        assert [line.split()[0] for line in printed.splitlines()] == DIGESTS
    assert len([*lazy.storage.glob("layers/*/place")]) == 2
    # What others could have changed does not count.
    for path in indexes:
        path.chmod(0o646)
    told = lazy.image("--image-store", shared, "pull", "--lazy", name, "other").stderr
    assert "pulled whole: layer 1 (no table of contents), 2 (no table of contents)" in told
    assert "warning: can't use the shared store" in told


@pytest.mark.usefixtures("lazy")
def test_they_go_with_the_image(maker: Runner, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    maker("publish", "--gc", "--grace", "0s", shared)
    assert len([*shared.glob("gzip-indexes/*")]) == 2
    maker("unpublish", "app", shared)
    for _ in range(2):  # the layers, and then what was for them
        maker("publish", "--gc", "--grace", "0s", shared)
    assert not [*shared.glob("gzip-indexes/*")]
