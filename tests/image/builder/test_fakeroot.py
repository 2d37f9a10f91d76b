"""``--force=fakeroot``: recipes, the image's preparation, commands, cache; and real packages."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.bases import apk

from sundog.image.builder.run.recipes import RECIPES
from tests.conftest import command, copy_storage, run_program
from tests.image.builder.conftest import announced, make_workshop

if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.image.builder.run.recipes import Recipe
    from tests.conftest import Completed, Runner
    from tests.image.builder.conftest import Workshop

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent

# /etc/…-release of real images, and the recipe's tag.
RELEASES = [
    ("fedora-release", "Fedora release 43 (Forty Three)", "fedora"),
    ("fedora-release", "Fedora release 23 (Twenty Three)", ""),
    ("redhat-release", "CentOS Linux release 7.9.2009 (Core)", "rhel7"),
    ("redhat-release", "CentOS release 6.10 (Final)", ""),
    ("redhat-release", "AlmaLinux release 8.10 (Cerulean Leopard)", "rhel8"),
    ("redhat-release", "Rocky Linux release 9.6 (Blue Onyx)", "rhel8"),
    ("redhat-release", "CentOS Stream release 10 (Coughlan)", "rhel8"),
    ("os-release", 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian', "debderiv"),
    ("os-release", 'PRETTY_NAME="Debian GNU/Linux 8 (jessie)"\nID=debian', ""),
    ("os-release", 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nID_LIKE=debian', "debderiv"),
    ("os-release", 'ID=linuxmint\nID_LIKE="ubuntu debian"', "debderiv"),
    ("os-release", 'ID="opensuse-leap"\nID_LIKE="suse opensuse"', "suse"),
    ("os-release", 'ID="sles"\nID_LIKE="suse"', "suse"),
    ("os-release", "ID=arch", "arch"),
    ("os-release", "ID=archarm\nID_LIKE=arch", "arch"),
    ("os-release", 'ID=void\nNAME="Void"', ""),
    ("alpine-release", "3.23.6", "alpine"),
    ("alpine-release", "3.24_alpha20260805", "alpine"),
]


@pytest.mark.parametrize(("name", "text", "tag"), RELEASES)
def test_the_recipe_of_a_distribution(name: str, text: str, tag: str) -> None:
    fitting = [
        recipe.tag
        for recipe in RECIPES
        if recipe.path == f"/etc/{name}" and recipe.fits(f"{text}\n")
    ]
    assert fitting == [tag] * bool(tag)


@pytest.mark.parametrize(
    "text",
    [
        "apt-get update",
        "true&&apt-get update",
        "x=$(dpkg -l)",
        "(apt list)",
        "/usr/bin/apt-get -y",
        'sh -c "apt-get update"',
        "if dpkg -s a; then b; fi",
        "echo apt",
        "for i in a; do\napt -h\ndone",
    ],
)
def test_commands_that_want_fakeroot(text: str) -> None:
    assert _debian().wants(["/bin/sh", "-c", text])


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /var/lib/apt/lists/*",
        "apt-key list",
        "aptitude",
        "cat /etc/apt/sources.list",
        "./apt",
        "x-apt install",
        "adapt y",
        "rm -r /var/lib/dpkg",
        "dpkg-deb -x a b",
        "make APT=apt.conf",
    ],
)
def test_commands_that_do_not(text: str) -> None:
    assert not _debian().wants(["/bin/sh", "-c", text])


def _debian() -> Recipe:
    return next(recipe for recipe in RECIPES if recipe.tag == "debderiv")


# A distribution of busybox: its apk installs a fakeroot that shows how it is called.
SMALL = """\
FROM bb
COPY <<"A" <<"F" /tools/
#!/bin/sh
# apk
echo "apk $*" >>/log
if test "$1 $2" = "add fakeroot"; then cp /tools/F /bin/fakeroot; fi
A
#!/bin/sh
echo "under fakeroot, chown: $FAKEROOTDONTTRYCHOWN"
FAKED=yes exec "$@"
F
RUN mkdir -p /etc && echo 3.23.6 >/etc/alpine-release && \\
    cp /tools/A /bin/apk && chmod 755 /bin/apk /tools/F
"""
WILL_USE = "--force=fakeroot: will use: alpine: Alpine, any version"
CHECKING = "--force=fakeroot: init step 1: checking: $ command -v fakeroot > /dev/null"
PREPARING = "--force=fakeroot: init step 1: $ apk update; apk add fakeroot"
NOT_NEEDED = "--force=fakeroot: init step 1: exit 0, step not needed"


@pytest.fixture
def small(workshop: Workshop) -> Workshop:
    """Return a workshop with the image ``small``, on each driver."""
    workshop.build(SMALL, tag="small")
    return workshop


@pytest.fixture(scope="module")
def storage_with_small(
    tmp_path_factory: pytest.TempPathFactory, storage_with_busybox: Callable[[str], Path]
) -> Path:
    """Return a storage directory with the image ``small``; tests get copies."""
    place = tmp_path_factory.mktemp("small")
    storage = place / "storage"
    copy_storage(storage_with_busybox(""), storage)
    (place / "Dockerfile").write_text(SMALL)
    build = [*command("ch-image"), "build", "-t", "small"]
    run_program([*build, place], env={"CH_IMAGE_STORAGE": str(storage)})
    return storage


@pytest.fixture
def any_small(
    tmp_path: Path, storage_with_small: Path, run_ch_image: Runner, run_ch_run: Runner
) -> Workshop:
    """Return a workshop with the image ``small``, on any driver that works."""
    return make_workshop(tmp_path, storage_with_small, run_ch_image, run_ch_run)


def told(done: Completed) -> list[str]:
    """Return the lines of a build that ``--force`` is about."""
    return [line for line in done.stderr.splitlines() if line.startswith("--force")]


def test_the_whole_output(small: Workshop) -> None:
    done = small.build("FROM small\nRUN true\nRUN apk add x\nRUN apk add y\n", "--force=fakeroot")
    assert done.stderr.splitlines() == [
        "  1* FROM small",
        "  2. RUN.F true",
        WILL_USE,
        "  3. RUN.F apk add x",
        CHECKING,
        PREPARING,
        "--force: RUN: new command: ['fakeroot', '/bin/sh', '-c', 'apk add x']",
        "  4. RUN.F apk add y",
        "--force: RUN: new command: ['fakeroot', '/bin/sh', '-c', 'apk add y']",
        "--force=fakeroot: modified 2 RUN instructions",
        "grown in 4 instructions: img",
    ]
    assert done.stdout == "under fakeroot, chown: 1\n" * 2
    # What the recipe did is in the layer of the first RUN that needed it.
    assert small.run("cat /log") == "apk update\napk add fakeroot\napk add x\napk add y\n"
    layers = small.config()["history"]
    assert [entry["created_by"] for entry in layers][-2:] == ["RUN.F apk add x", "RUN.F apk add y"]


def test_a_cached_build_prepares_nothing(small: Workshop) -> None:
    dockerfile = "FROM small\nRUN apk add x\n"
    small.build(dockerfile, "--force=fakeroot")
    assert told(small.build(dockerfile, "--force=fakeroot")) == []
    # The next instruction finds fakeroot in the layer.
    done = small.build(f"{dockerfile}RUN apk add y\n", "--force=fakeroot")
    assert "".join(status for _, status, _ in announced(done)) == "**."
    assert told(done)[:3] == [WILL_USE, CHECKING, NOT_NEEDED]


def test_each_mode_has_results_of_its_own(any_small: Workshop) -> None:
    dockerfile = "FROM small\nRUN apk add x\n"
    assert any_small.statuses(dockerfile, "--force=fakeroot") == "*."
    assert any_small.statuses(dockerfile, "--force=none") == "*."
    assert any_small.statuses(dockerfile, "--force=fakeroot") == "**"


def test_without_the_cache(any_small: Workshop) -> None:
    dockerfile = "FROM small\nRUN apk add x\n"
    any_small.build(dockerfile, "--force=fakeroot")
    done = any_small.build(dockerfile, "--force=fakeroot", "--no-cache")
    assert PREPARING in told(done)


def test_a_dry_run_prepares_nothing(any_small: Workshop) -> None:
    done = any_small.build("FROM small\nRUN apk add x\n", "--force=fakeroot", "-n")
    assert told(done) == []


@pytest.mark.parametrize(
    ("run", "new"),
    [
        ('RUN ["apk", "add", "x"]', "['fakeroot', 'apk', 'add', 'x']"),
        ("RUN <<E\napk add x\nE", "['fakeroot', '/bin/sh', '-c', 'apk add x\\n']"),
        ("RUN <<E\n#!/bin/sh\napk add x\nE", "['fakeroot', '/bin/sh', '-c', '/run/.heredocs/E']"),
        ("RUN sh <<E\napk add x\nE", "['fakeroot', '/bin/sh', '-c', 'sh <<E\\napk add x\\nE']"),
        ('SHELL ["/bin/sh", "-ec"]\nRUN apk add x', "['fakeroot', '/bin/sh', '-ec', 'apk add x']"),
    ],
)
def test_forms_of_run(any_small: Workshop, run: str, new: str) -> None:
    done = any_small.build(f"FROM small\n{run}\n", "--force=fakeroot")
    assert f"--force: RUN: new command: {new}" in told(done)
    assert any_small.run("tail -n 1 /log") == "apk add x\n"


def test_a_long_command_comes_from_a_file(any_small: Workshop) -> None:
    """The words of a command count, too, if it is too long for an argument."""
    text = "# x\n" * 50_000
    done = any_small.build(f"FROM small\nRUN <<E\n{text}apk add x\nE\n", "--force=fakeroot")
    new = "['fakeroot', '/bin/sh', '/run/.heredocs/command']"
    assert f"--force: RUN: new command: {new}" in told(done)


def test_nothing_needed_it(any_small: Workshop) -> None:
    done = any_small.build("FROM small\nRUN true\n", "--force=fakeroot")
    assert told(done) == [WILL_USE, "--force=fakeroot: no RUN that ran needed fakeroot"]
    assert told(any_small.build("FROM small\nRUN true\n", "--force=fakeroot")) == []


def test_each_stage_is_prepared_by_itself(any_small: Workshop) -> None:
    done = any_small.build(
        "FROM small AS a\nRUN apk add x\nFROM small\nCOPY --from=a /log /a\nRUN apk add y\n"
        "FROM a\nRUN apk add z\nCOPY --from=1 /a /b\n",
        "--force=fakeroot",
    )
    steps = [line for line in told(done) if "init step" in line]
    assert steps == [CHECKING, PREPARING, CHECKING, PREPARING, CHECKING, NOT_NEEDED]
    assert told(done)[-1] == "--force=fakeroot: modified 3 RUN instructions"


def test_a_preparation_that_fails(any_small: Workshop) -> None:
    any_small.build("FROM small\nRUN printf '#!/bin/sh\\nexit 3\\n' >/bin/apk\n", tag="broken")
    done = any_small.build("FROM broken\nRUN apk add x\n", "--force=fakeroot", check=False)
    assert done.returncode == 1
    *_, error, _, _, hint = done.stderr.splitlines()
    assert error.endswith("Dockerfile:2: --force=fakeroot: init step 1: failed with status 3")
    assert hint.startswith("hint: install fakeroot with a RUN of your own before this one; or ")


def test_no_recipe_fits(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb\nRUN dnf -y install x\n", "--force=fakeroot", check=False)
    assert done.returncode == 1
    *_, error, _, _, hint = done.stderr.splitlines()
    assert error.endswith(":2: --force=fakeroot not available (no suitable config found)")
    assert hint.startswith("hint: it knows fedora rhel7 rhel8 debderiv suse arch alpine; --force=s")


def test_no_recipe_fits_and_none_is_needed(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb\nRUN true\nRUN false\n", "--force=fakeroot", check=False)
    warning = "warning: --force=fakeroot not available (no suitable config found): RUN runs without"
    assert f"{warning} root emulation" in done.stderr.splitlines()
    assert "hint: it ran without fakeroot, because no recipe fits the image; " in done.stderr


def test_scratch(any_workshop: Workshop) -> None:
    """There is nothing to recognise; an image without RUN needs no recipe."""
    any_workshop.write({"file": "x"})
    done = any_workshop.build("FROM scratch\nCOPY file /\n", "--force=fakeroot")
    assert told(done) == []
    done = any_workshop.build("FROM scratch\nRUN apk add x\n", "--force=fakeroot", check=False)
    assert "--force=fakeroot not available (no suitable config found)" in done.stderr


def test_a_distribution_that_comes_later(any_small: Workshop) -> None:
    done = any_small.build(
        "FROM bb\nRUN true\nCOPY --from=small / /\nRUN apk add x\n", "--force=fakeroot"
    )
    assert told(done)[:2] == [WILL_USE, CHECKING]
    assert any_small.run("tail -n 1 /log") == "apk add x\n"


def test_a_failed_command_without_fakeroot(any_small: Workshop) -> None:
    done = any_small.build("FROM small\nRUN false\n", "--force=fakeroot", check=False)
    hint = "hint: it ran without fakeroot, because it has none of the words apk; --force=seccomp"
    assert hint in done.stderr
    done = any_small.build("FROM small\nRUN apk add x && false\n", "--force=fakeroot", check=False)
    assert "without fakeroot" not in done.stderr


def test_force_cmd_is_refused(any_small: Workshop) -> None:
    options = ("--force=fakeroot", "--force-cmd=apk,-x")
    done = any_small.build("FROM small\nRUN apk add x\n", *options, check=False)
    assert "error: --force-cmd and --force=fakeroot are incompatible" in done.stderr.splitlines()


def test_variables_of_the_dockerfile_come_first(any_small: Workshop) -> None:
    dockerfile = "FROM small\nENV FAKEROOTDONTTRYCHOWN=0\nRUN apk add x\n"
    assert any_small.build(dockerfile, "--force=fakeroot").stdout == "under fakeroot, chown: 0\n"
    # Only RUN has them.
    any_small.build("FROM small\nRUN apk add x\n", "--force=fakeroot")
    assert "FAKEROOT" not in str(any_small.config())


def test_modify(any_small: Workshop) -> None:
    done = any_small.ch_image("modify", "--force=fakeroot", "-c", "apk add x", "small", "changed")
    assert PREPARING in told(done)
    assert "--force=fakeroot: modified 1 RUN instructions" in told(done)
    assert any_small.run("tail -n 1 /log", "changed") == "apk add x\n"


def test_a_hostile_release_file(any_small: Workshop) -> None:
    """A link leads nowhere out of the image, and a huge line takes no time."""
    any_small.build(
        "FROM small\nRUN rm /etc/alpine-release && ln -s /proc/self/mem /etc/alpine-release && "
        "yes ID_LIKE= | head -c 8000000 | tr -d '\\n' >/etc/os-release && "
        "mkfifo /etc/fedora-release\n",
        tag="hostile",
    )
    done = any_small.build("FROM hostile\nRUN apk add x\n", "--force=fakeroot", check=False)
    assert "--force=fakeroot not available (no suitable config found)" in done.stderr


# Real package managers


@pytest.mark.slow
def test_dnf(any_workshop: Workshop, rpm_tar: Path) -> None:
    """The talk's example; without emulation, the program of a foreign group can't be unpacked."""
    any_workshop.ch_image("import", rpm_tar, "almalinux:8")
    dockerfile = "FROM almalinux:8\nRUN dnf -y install openssh\nRUN rpm -q fakeroot openssh\n"
    assert any_workshop.build(dockerfile, "--force=none", check=False).returncode == 1
    done = any_workshop.build(dockerfile, "--force=fakeroot")
    shown = [re.sub("(init step 1: [$]).*", r"\1 …", line) for line in told(done)]
    assert shown == [
        "--force=fakeroot: will use: rhel8: RHEL 8+ and derivatives",
        CHECKING,
        "--force=fakeroot: init step 1: $ …",
        "--force: RUN: new command: ['fakeroot', '/bin/sh', '-c', 'dnf -y install openssh']",
        "--force: RUN: new command: ['fakeroot', '/bin/sh', '-c', 'rpm -q fakeroot openssh']",
        "--force=fakeroot: modified 2 RUN instructions",
    ]
    assert done.stdout.endswith("fakeroot-1.37-1.x86_64\nopenssh-8.0p1-1.x86_64\n")


@pytest.mark.slow
def test_apt(any_workshop: Workshop, debian_tar: Path) -> None:
    any_workshop.ch_image("import", debian_tar, "debian:trixie")
    dockerfile = (
        "FROM debian:trixie\n"
        "RUN apt-get install -y --no-install-recommends openssh-client\n"
        'RUN test -z "$(dpkg --audit)"; touch /file; chown 5:6 /file; stat -c is=%u:%g /file\n'
    )
    done = any_workshop.build(dockerfile, "--force=fakeroot")
    lines = told(done)
    assert "will use: debderiv: Debian 9+, Ubuntu 14+, or other derivative" in lines[0]
    assert [line.split(": ")[1] for line in lines[1:5]] == ["init step 1"] * 2 + ["init step 2"] * 2
    assert done.stdout.endswith("is=5:6\n")  # the real fakeroot remembers, and tries no real chown
    assert any_workshop.run("/usr/bin/ssh -V 2>&1").startswith("OpenSSH_")


@pytest.mark.slow
def test_apk(any_workshop: Workshop, alpine_tar: Path, tmp_path: Path) -> None:
    """Alpine's own apk, with a library that stands in for libfakeroot."""
    library = tmp_path / "libfakeroot.so"
    source = HERE / "programs" / "fakeroot.c"
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["musl-gcc", *flags, "-o", library, source], check=True)
    program = b'#!/bin/sh\nLD_PRELOAD=/usr/lib/libfakeroot.so exec "$@"\n'
    package = apk.Package(
        "fakeroot",
        "1.0-r0",
        "a stand-in",
        [
            apk.Entry("usr/bin", 0, 0, 0o755, None),
            apk.Entry("usr/lib", 0, 0, 0o755, None),
            apk.Entry("usr/bin/fakeroot", 0, 0, 0o755, program),
            apk.Entry("usr/lib/libfakeroot.so", 0, 0, 0o755, library.read_bytes()),
        ],
    )
    machine = platform.machine()
    packed, record = apk.pack(package, machine)
    repository = any_workshop.context / "more" / machine
    repository.mkdir(parents=True)
    (repository / package.file_name).write_bytes(packed)
    (repository / "APKINDEX.tar.gz").write_bytes(apk.index([record]))
    any_workshop.ch_image("import", alpine_tar, "alpine")
    base = (
        "FROM alpine\nCOPY more /srv/more\n"
        "RUN echo /srv/more >>/etc/apk/repositories; echo allow-untrusted >/etc/apk/config\n"
    )
    any_workshop.build(base, tag="prepared")
    dockerfile = "FROM prepared\nRUN apk add ownership-demo\n"
    assert any_workshop.build(dockerfile, "--force=none", check=False).returncode == 1
    done = any_workshop.build(dockerfile, "--force=fakeroot")
    assert told(done)[:3] == [WILL_USE, CHECKING, PREPARING]
    assert any_workshop.run("cat /usr/share/ownership-demo/secret") == "of group shadow\n"
