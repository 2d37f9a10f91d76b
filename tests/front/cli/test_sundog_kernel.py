"""``sundog kernel install``: kernelspecs of images, and what a Jupyter starts by them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import SundogError, UsageError
from sundog.front.kernelspec import LISTING_LIMIT, Kernel, chosen_name, parse_listing
from tests.conftest import Completed, command, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# It writes, as a kernel would, where and how it runs.
KERNEL = '#!/bin/sh\npwd; echo "$IN $LD_PRELOAD"; cat "$2"; cat /etc/image\n'
SPEC = {
    "argv": ["/opt/tool/bin/kernel", "-f", "{connection_file}"],
    "display_name": "Tool 3",
    "language": "tool",
    "interrupt_mode": "message",
    "env": {"IN": "the image", "LD_PRELOAD": "/tmp/stranger.so"},
    "metadata": {"debugger": True, "x": 1},
}
DOCKERFILE = """
FROM bb
COPY kernel /opt/tool/bin/kernel
COPY kernel.json /usr/local/share/jupyter/kernels/tool/kernel.json
RUN echo here >/etc/image
"""


@pytest.fixture(scope="module")
def storage(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a storage directory with the images ``bb`` and ``lab/tool:1``."""
    place = tmp_path_factory.mktemp("kernel")
    (place / "kernel").write_text(KERNEL)
    (place / "kernel").chmod(0o755)
    (place / "kernel.json").write_text(json.dumps(SPEC))
    (place / "Dockerfile").write_text(DOCKERFILE)
    env = {"CH_IMAGE_STORAGE": str(place / "storage")}
    run_program([*command("ch-image"), "import", busybox_tar, "bb"], env=env)
    run_program([*command("ch-image"), "build", "-t", "lab/tool:1", place], env=env)
    return place / "storage"


def install(
    storage: Path, *words: str | Path, check: bool = True, env: Mapping[str, str] | None = None
) -> Completed:
    argv = [*command("sundog"), "kernel", "install", *words]
    return run_program(argv, env={"CH_IMAGE_STORAGE": str(storage), **(env or {})}, check=check)


def test_a_kernel_of_an_image(storage: Path, tmp_path: Path) -> None:
    """It runs in the image, in the notebook's directory, with a file of the home directory."""
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    (home / "connection").write_text("connection\n")
    env = {"HOME": str(home), "JUPYTER_DATA_DIR": "", "XDG_DATA_HOME": ""}
    done = install(storage, "lab/tool:1", env=env)
    path = home / ".local/share/jupyter/kernels/tool-tool/kernel.json"
    assert done.stdout == f"{path}\n"
    spec = json.loads(path.read_text())
    assert spec["display_name"] == "Tool 3 (lab/tool:1)"
    assert (spec["language"], spec["interrupt_mode"]) == ("tool", "message")
    assert spec["metadata"] == {"debugger": True, "sundog": "lab/tool:1"}
    assert "env" not in spec  # the host's programs would see it
    argv = [word.replace("{connection_file}", str(home / "connection")) for word in spec["argv"]]
    ran = run_program(argv, env={"HOME": str(home)}, cwd=home / "work")
    assert ran.stdout.splitlines() == [
        str(home / "work"),
        "the image /tmp/stranger.so",
        "connection",
        "here",
    ]
    assert "stranger" not in ran.stderr.replace("/tmp/stranger.so' from LD_PRELOAD", "")


def test_options(storage: Path, tmp_path: Path) -> None:
    words = ("--name", "x", "--display-name", "My tool", "--prefix", tmp_path / "p")
    (tmp_path / "data").mkdir()
    options = ("--bind", f"{tmp_path}/data:/data", "--env", "A=b")
    install(storage, *words, "--kernel", "tool", "lab/tool:1", "--", *options)
    spec = json.loads((tmp_path / "p/share/jupyter/kernels/x/kernel.json").read_text())
    assert spec["display_name"] == "My tool"
    end = spec["argv"].index("docker://lab/tool:1")
    script = 'echo "$A"; touch /data/made'
    ran = run_program([*spec["argv"][: end + 1], "sh", "-c", script], cwd=tmp_path)
    assert ran.stdout == "b\n"
    assert (tmp_path / "data/made").exists()


def test_a_directory_as_an_image(storage: Path, tmp_path: Path) -> None:
    env = {"CH_IMAGE_STORAGE": str(storage)}
    run_program([*command("ch-convert"), "lab/tool:1", "./tool"], cwd=tmp_path, env=env)
    argv = [*command("sundog"), "kernel", "install", "--prefix", "p", "tool"]
    done = run_program(argv, cwd=tmp_path)
    spec = json.loads((tmp_path / done.stdout.strip()).read_text())
    assert str(tmp_path / "tool") in spec["argv"]


def test_only_own_kernelspecs_are_replaced(storage: Path, tmp_path: Path) -> None:
    env = {"JUPYTER_DATA_DIR": str(tmp_path)}
    path = tmp_path / "kernels/tool-tool/kernel.json"
    for name in ("A", "B"):
        install(storage, "--display-name", name, "lab/tool:1", env=env)
        assert json.loads(path.read_text())["display_name"] == name
    for theirs in ('{"argv": ["python"]}', "no JSON"):
        path.write_text(theirs)
        done = install(storage, "lab/tool:1", env=env, check=False)
        assert done.returncode == 1
        assert f"{path} is not a kernelspec of Sundog's" in done.stderr
        assert path.read_text() == theirs
    path.unlink()
    os.mkfifo(path)
    assert install(storage, "lab/tool:1", env=env, check=False).returncode == 1


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 125, "kernel install: no image"),
        (("--nome", "x", "lab/tool:1"), 125, "--name"),
        (("nowhere",), 1, "no image and no file: nowhere"),
        (("bb",), 1, "no kernel for Jupyter in bb"),
        (("--kernel", "toll", "lab/tool:1"), 1, "did you mean tool?"),
        (("--name", "a/b", "lab/tool:1"), 125, "--name a/b: not a name of a kernelspec"),
        (("--name", "..", "lab/tool:1"), 125, "--name ..: not a name of a kernelspec"),
        (("--prefix", "/dev/null", "lab/tool:1"), 1, "can't write /dev/null/share"),
        (("lab/tool:1", "--", "--bnid", "/x"), 1, "--bind"),
    ],
)
def test_mistakes(storage: Path, words: tuple[str, ...], status: int, message: str) -> None:
    done = install(storage, *words, check=False)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/a/k/kernel.json", "/b/k/kernel.json", "x", ""]),
            st.dictionaries(
                st.sampled_from([*SPEC, "more"]),
                st.sampled_from([*SPEC.values(), None, 1, [], [1], {"a": 1}, {"A": "${B}"}, ""]),
            )
            | st.integers(),
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_any_kernelspec_is_whole_or_a_mistake(pairs: list[tuple[str, Any]], is_cut: bool) -> None:
    data = b"".join(f"{path}\0{json.dumps(value)}\0".encode() for path, value in pairs)
    try:
        found = parse_listing(data[:-3] if is_cut else data)
    except SundogError:
        return
    for kernel in found.values():
        assert kernel.argv
        assert all(isinstance(word, str) for word in (*kernel.argv, *kernel.environment.values()))
        assert kernel.interrupt_mode in ("signal", "message")


def test_an_image_that_prints_without_end() -> None:
    with pytest.raises(SundogError, match="did not print kernelspecs"):
        parse_listing(b"x" * (LISTING_LIMIT + 1))


@given(st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_names(image: str, name: str) -> None:
    kernel = Kernel(name, ("x",), "", "", "signal", {}, False)
    for given_name in ("", name):
        try:
            chosen = chosen_name(given_name, image, kernel)
        except UsageError:
            continue
        assert "/" not in chosen
        assert chosen.strip(".")
