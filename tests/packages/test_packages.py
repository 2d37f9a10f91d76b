"""The .deb and the .rpm: built and checked, installed, used, upgraded under a container, removed.

All of it happens in containers of Sundog, as an ordinary user; the last part in one container,
whose script is `TRY`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from scripts import distributions, install
from scripts.place import CHECKOUT

from sundog.base.installation import COMMANDS
from tests.conftest import command, run_program

OUT = Path(os.environ["SUNDOG_PACKAGES"])
# $INSTALL, $UPGRADE and $REMOVE are commands; /try/image.tar is an image of busybox.
TRY = r"""
set -e
export USER=root CH_IMAGE_STORAGE=/try/storage
cd /; find /usr/lib /usr/bin /usr/share /etc -name '*sundog*' >/before
$INSTALL >/log 2>&1 || { cat /log; exit 1; }
for name in @COMMANDS@; do $name --version >/dev/null || { echo "no $name"; exit 1; }; done
ch-image import /try/image.tar bb
ch-image build -t built - <<EOF
FROM bb
RUN echo made >/made
EOF
ch-convert built /try/tree
test "$(ch-run /try/tree -- cat /made)" = made
mkfifo /try/go /try/done
ch-run built -- sh -c 'read -r word; echo "$word"' </try/go >/try/done &
running=$!
exec 7>/try/go 8</try/done
$UPGRADE >/log 2>&1 || { cat /log; exit 1; }
echo still here >&7; read -r line <&8; test "$line" = "still here"; wait $running
test "$(ch-run built -- cat /made)" = made
$REMOVE >/log 2>&1 || { cat /log; exit 1; }
find /usr/lib /usr/bin /usr/share /etc -name '*sundog*' >/after
diff /before /after
test ! -e /usr/bin/ch-run
echo all went well
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the storage directory of the builds; both kinds share Debian's image."""
    place = tmp_path_factory.mktemp("storage")
    os.environ["CH_IMAGE_STORAGE"] = str(place / "storage")
    return place / "storage"


@pytest.mark.parametrize("kind", ["debian", "rpm"])
def test_a_package(kind: str, storage: Path, tmp_path: Path, busybox_tar: Path) -> None:
    programs = Path(sys.executable).parent
    wheel = Path(os.environ["SUNDOG_WHEEL"])
    package = distributions.build(kind, OUT, programs, wheel)
    place = tmp_path / "try"
    place.mkdir()
    (place / "image.tar").write_bytes(busybox_tar.read_bytes())
    (place / package.name).write_bytes(package.read_bytes())
    (place / "newer").mkdir()
    (place / "try.sh").write_text(TRY.replace("@COMMANDS@", " ".join(COMMANDS)))
    words = STEPS[kind](f"/try/{package.name}")
    (place / "all.sh").write_text("\n".join([*words, ". /try/try.sh"]))
    # -t: the user _apt writes to /tmp, which would be that of these tests.
    options = ("-W4G", "--notify", "-t", f"--bind={place}:/try:rw")
    argv = [*command("ch-run"), *options, distributions.KINDS[kind][1]]
    done = run_program([*argv, "--", "sh", "/try/all.sh"], check=False, timeout=1200)
    assert done.stdout.endswith("all went well\n"), done.stdout + done.stderr


def _debian(package: str) -> list[str]:
    """Repack the package with a higher version; apt finds what it needs on the mirror."""
    return [
        "set -e; cd /try; export DEBIAN_FRONTEND=noninteractive",
        f"dpkg-deb -R {package} newer/tree",
        "sed -i 's/^Version: .*/&+newer/' newer/tree/DEBIAN/control",
        "dpkg-deb -b newer/tree newer/sundog.deb >/dev/null",
        "apt-get update -qq >/dev/null 2>&1",
        f"INSTALL='apt-get install -y --no-install-recommends {package}'",
        "UPGRADE='apt-get install -y --no-install-recommends /try/newer/sundog.deb'",
        "REMOVE='apt-get purge -y --autoremove sundog'",
    ]


PYTHON = """
Name: python
Version: 3
Release: 1
Summary: x
License: x
Provides: /usr/bin/python3.13
%description
x
%files
"""


def _rpm(package: str) -> list[str]:
    """Tell rpm that Python is there, as rpmdistro-base.spec does of the rest."""
    return [
        "set -e; cd /try",
        f"echo '{PYTHON}' >python.spec",
        "rpmbuild -bb --quiet --define '_topdir /try/built' python.spec",
        "rpm -i /try/built/RPMS/*/python-3-1.*.rpm",
        f"INSTALL='rpm -i {package}'",
        f"UPGRADE='rpm -U --replacepkgs {package}'",
        "REMOVE='rpm -e sundog'",
    ]


STEPS = {"debian": _debian, "rpm": _rpm}


def test_wheels_without_a_network(tmp_path: Path, busybox_tree: Path) -> None:
    """In namespaces without a network, for pip and for uv."""
    archive = distributions.wheelhouse(OUT, Path(os.environ["SUNDOG_WHEEL"]))
    run_program(["tar", "-C", tmp_path, "-xf", archive])
    wheels = tmp_path / archive.stem
    alone = ("unshare", "-Urn")
    uv = Path(sys.executable).with_name("uv")
    online = (uv, "pip", "install", "--target", tmp_path / "none", "six")
    assert run_program([*alone, *online], check=False).returncode  # there is no network
    for python in install.pythons().values():
        venv = tmp_path / python.name
        run_program([python, "-m", "venv", "--without-pip", venv])
        own = f"--python={venv}/bin/python"
        argv = [
            *install.PIP,
            own,
            "install",
            "--no-index",
            f"--find-links={wheels}",
            "sundog[fast]",
        ]
        run_program([*alone, *argv])
        seen = run_program([venv / "bin/ch-run", busybox_tree, "--", "echo", "inside"])
        assert seen.stdout == "inside\n"
    venv = tmp_path / "uv"
    run_program([*alone, uv, "venv", "--offline", "--python", install.SYSTEM_PYTHON, venv])
    words = ("pip", "install", "--offline", "--no-index", "--find-links", wheels, "sundog[fast]")
    run_program([*alone, uv, *words, "--python", venv / "bin/python"])
    assert run_program([venv / "bin/sundog", "version"]).stdout.startswith("sundog version")


def test_easybuild(tmp_path: Path) -> None:
    """EasyBuild of PyPI, with Lmod: the module that it makes has the commands."""
    distributions.wheelhouse(OUT, Path(os.environ["SUNDOG_WHEEL"]))
    venv = tmp_path / "venv"
    run_program([install.SYSTEM_PYTHON, "-m", "venv", "--without-pip", venv])
    names = ("easybuild-framework", "easybuild-easyblocks")
    run_program([*install.PIP, f"--python={venv}/bin/python", "install", *names])
    lmod = "/usr/share/lmod/lmod/libexec/lmod"
    env = {
        "EASYBUILD_MODULES_TOOL": "Lmod",
        "EASYBUILD_PREFIX": str(tmp_path / "eb"),
        "EASYBUILD_SOURCEPATH": str(OUT),
        "LMOD_CMD": lmod,
        "MODULEPATH": str(tmp_path / "eb/modules/all"),
        "PATH": f"{venv}/bin:/usr/bin:/bin",
    }
    recipe = CHECKOUT / f"packaging/easybuild/Sundog-{distributions.version()}.eb"
    run_program([venv / "bin/eb", recipe, f"--robot-paths={tmp_path}"], env=env, timeout=600)
    script = f'eval "$({lmod} bash load Sundog)"; ch-run --version >&2; sundog info'
    done = run_program(["bash", "-c", script], env=env)
    assert f"{tmp_path}/eb/software/Sundog" in done.stdout
