"""The Python API: the examples of its page, registries, errors, and what an import costs."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from scripts.place import CHECKOUT

import sundog
from tests.image.pull.conftest import flavours, no_logins, tls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.pull.flavours import Flavours

__all__ = ["flavours", "no_logins", "tls"]

PAGE = CHECKOUT / "docs" / "reference" / "api.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```\n(.*?)^```$)?", re.M | re.S)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with a storage directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CH_IMAGE_STORAGE", str(tmp_path / "storage"))
    return tmp_path


def test_examples_of_the_page(place: Path, busybox_tar: Path) -> None:
    """Each example prints what stands below it."""
    (place / "base.tar").symlink_to(busybox_tar)
    (place / "data").mkdir()
    (place / "data" / "file").touch()
    names: dict[str, Any] = {}
    found = EXAMPLE.findall(PAGE.read_text())
    assert len(found) == PAGE.read_text().count("```python")
    for code, expected in found:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, str(PAGE), "exec"), names)
        assert output.getvalue() == expected, code


def test_no_room_has_a_name_of_the_api() -> None:
    """An import of ``sundog.NAME`` would take the place of the function."""
    rooms = {path.stem for path in CHECKOUT.joinpath("src/sundog").iterdir()}
    assert not rooms & sundog._PLACES.keys()


def test_the_page_names_all_functions() -> None:
    text = PAGE.read_text()
    for name in sundog._PLACES:
        assert f"`{name}(" in text or f"sundog.{name}" in text or f"`{name}`" in text, name
        function = getattr(sundog, name)
        if inspect.isfunction(function):
            for parameter in inspect.signature(function).parameters:
                assert parameter in text, f"{name}: {parameter}"


def test_registry(place: Path, busybox_tar: Path, flavours: Flavours) -> None:
    events: list[sundog.Event] = []
    sundog.import_image(busybox_tar, "base")
    remote = f"{flavours.http}/api/base"
    digest = sundog.push("base", remote, progress=events.append)
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert {"begin", "bytes", "end"} <= {event.kind for event in events}
    last = [event for event in events if event.kind == "end" and event.total][-1]
    assert last.done == last.total
    sundog.remove("base")
    image = sundog.pull(remote, "again")
    assert (image.name, image.size > 0) == ("again", True)
    assert sundog.inspect("again")["origin"] == image.origin
    done = sundog.run(remote, ["echo", "pulled"], capture_output=True)
    assert done.stdout == b"pulled\n"
    built = sundog.build(None, ["a", "b"], text=f"FROM {remote}\nLABEL x=y\n")
    assert dict(built.labels) == {"x": "y"}
    assert {found.name for found in sundog.images()} == {"a", "again", "b", remote}
    with pytest.raises(sundog.errors.NotInRegistryError):
        sundog.pull(f"{flavours.http}/no/such")


def test_formats(place: Path, busybox_tar: Path) -> None:
    sundog.convert_image(busybox_tar, "base", out_format="ch-image")
    sundog.convert_image("base", "tree", out_format="dir")
    assert (place / "tree" / "bin" / "sh").exists()
    done = sundog.run("./tree", ["echo", "x"], capture_output=True, as_caller=True)
    assert (done.returncode, done.stdout) == (0, b"x\n")
    with pytest.raises(sundog.errors.SundogError):
        sundog.convert_image("base", "tree", out_format="dir", overwrite=False)


def test_run(place: Path, busybox_tar: Path) -> None:
    """Streams, statuses and users are as in subprocess and as in sundog run."""
    sundog.import_image(busybox_tar, "base", storage="elsewhere")
    storage = place / "elsewhere"
    done = sundog.run("base", ["cat"], input=b"given", capture_output=True, storage=storage)
    assert done.stdout == b"given"
    done = sundog.run("base", ["cat"], stdout=subprocess.PIPE, storage=storage)
    assert (done.returncode, done.stdout) == (0, b"")
    assert sundog.run("base", ["nosuch"], capture_output=True, storage=storage).returncode == 127
    with pytest.raises(subprocess.CalledProcessError):
        sundog.run("base", ["false"], check=True, storage=storage)
    with pytest.raises(subprocess.TimeoutExpired):
        sundog.run("base", ["sleep", "100"], timeout=1, storage=storage)
    words = {"user": "7:8", "entrypoint": "id"}
    done = sundog.run("base", ["-u"], capture_output=True, storage=storage, **words)  # type: ignore[arg-type]
    assert done.stdout == b"7\n"


def test_errors(place: Path, busybox_tar: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Functions raise; they print nothing, and leave nothing half done."""
    errors = sundog.errors
    for call, kind in (
        (lambda: sundog.inspect("nothing"), errors.NotInStorage),
        (lambda: sundog.remove("nothing"), errors.NotInStorage),
        (lambda: sundog.remove("*"), errors.UsageError),
        (lambda: sundog.remove("base", "b[a-z]se"), errors.UsageError),
        (lambda: sundog.tag("nothing", "a"), errors.NotInStorage),
        (lambda: sundog.save("nothing", "a.tar"), errors.NotInStorage),
        (lambda: sundog.pull("BAD"), errors.ReferenceSyntaxError),
        (lambda: sundog.build(None, "a"), errors.UsageError),
        (lambda: sundog.build(None, ()), errors.UsageError),
        (lambda: sundog.build(None, "a", text="FRM x"), errors.DockerfileError),
        (lambda: sundog.build(".", "a"), FileNotFoundError),
        (lambda: sundog.run("a", pull="perhaps"), errors.UsageError),
        (lambda: sundog.run("a", volumes=["x:/y"], pull="never"), errors.NotInStorage),
        (lambda: sundog.load("nothing"), errors.SundogError),
        (lambda: sundog.import_image("nothing", "a"), errors.SundogError),
    ):
        with pytest.raises(kind):
            call()
    sundog.import_image(busybox_tar, "base")
    with pytest.raises(errors.DockerfileError, match="exited with 1"):
        sundog.build(None, "a", text="FROM base\nRUN echo loud; false\n")
    with pytest.raises(errors.NotInStorage):
        sundog.remove("base", "nothing")
    assert "base" in {image.name for image in sundog.images()}
    assert capfd.readouterr() == ("", "")


def test_output_of_a_build(place: Path, busybox_tar: Path) -> None:
    sundog.import_image(busybox_tar, "base")
    with open("log", "wb") as log:
        sundog.build(None, "a", text="FROM base\nRUN echo loud\n", output=log.fileno())
    assert (place / "log").read_text() == "loud\n"


def test_a_second_try_of_a_build(place: Path, busybox_tar: Path) -> None:
    """It is for the default, and not for a mode that the caller chose."""
    sundog.import_image(busybox_tar, "base")
    text = "FROM base\nRUN touch /f && chown 5 /f && test $(stat -c %u /f) = 5\n"
    with pytest.raises(sundog.errors.DockerfileError, match="exited with 1"):
        sundog.build(None, "a", text=text, force="seccomp")
    sundog.build(None, "a", text=text)
    assert sundog.run("a", ["stat", "-c", "%u", "/f"], capture_output=True).stdout == b"5\n"


def test_import_is_cheap() -> None:
    """``import sundog`` loads nothing; ch-run does it at each start."""
    code = "import sys; before = set(sys.modules); import sundog; print(set(sys.modules) - before)"
    environment = {"PATH": os.environ["PATH"]}
    argv = [sys.executable, "-I", "-c", code]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "{'sundog'}\n"


def test_names() -> None:
    assert {"pull", "errors", "Image", "__version__"} <= set(dir(sundog))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sundog.nothing
    assert (CHECKOUT / "src/sundog/py.typed").exists()
