"""The recipes in packaging/ say what pyproject.toml says; `make packages` builds and tries them."""

from __future__ import annotations

import re
import tomllib

from scripts.place import CHECKOUT

from sundog import __version__
from tests.conftest import run_program

PACKAGING = CHECKOUT / "packaging"
NEEDS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_the_recipes_need_what_the_wheel_needs() -> None:
    """Debian lacks backports.zstd; the spec takes all from the wheels that pip chooses."""
    control = (PACKAGING / "debian/control").read_text()
    spack = (PACKAGING / "spack/package.py").read_text()
    for need in NEEDS:
        name, version = re.match(r"([\w.]+)>=([\d.]+)", need).groups()  # type: ignore[union-attr]
        debian = {"pyyaml": "yaml"}.get(name, name)
        if name != "backports.zstd":
            assert f"python3-{debian} (>= {version})" in control
        assert f'"py-{name.replace(".", "-")}@{version.removesuffix(".0")}:"' in spack


def test_the_spec_is_one() -> None:
    spec = PACKAGING / "rpm/sundog.spec"
    argv = ["rpmspec", "-q", "--define", f"sundog_version {__version__}"]
    done = run_program([*argv, "--queryformat", "%{NAME} %{VERSION} %{LICENSE}\n", spec])
    assert done.stdout.startswith(f"sundog {__version__} Apache-2.0")
    needs = run_program([*argv, "--requires", spec]).stdout
    assert re.search(r"^/usr/bin/python3\.\d+$", needs, re.MULTILINE)


def test_the_recipe_of_easybuild_is_of_this_version() -> None:
    (path,) = (PACKAGING / "easybuild").iterdir()
    found: dict[str, object] = {"SYSTEM": "system"}
    exec(compile(path.read_text(), path, "exec"), found)
    assert (found["name"], found["version"]) == ("Sundog", __version__)
    assert path.name == f"Sundog-{__version__}.eb"
    compile((PACKAGING / "spack/package.py").read_text(), "package.py", "exec")
