"""`make test` and `make lint`: lint and run the tests, as an ordinary user.

As root, it prepares what only root can (packages, users, references, the root helper), and drops to
an ordinary user. As anyone else, it skips the tests that need root. The tests run from a copy of
the checkout, so that its caches and permissions do not matter, against the wheel as pip installs
it. The newest Python runs all of them, the oldest those that are not marked slow: each module, but
few cases of what the kernel and compiled programs do (tests/conftest.py).

Of a test that crosses parameters (marked matrix), a run takes only a diagonal, in which each value
of each parameter is (tests/selection.py). CI asks for the whole matrices, by --matrices=1.

Arguments that name tests ask for those alone: no lint, one Python, and whole matrices. Base images
and references are then made when a test asks for them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import (
    account,
    buildkit,
    callers,
    cluster,
    flux,
    install,
    openpbs,
    packages,
    pyxis,
    references,
    root_helper,
    stargz,
)
from scripts.bases import makers
from scripts.place import CHECKOUT, WorkshopError, copy_checkout
from scripts.vm import foreign_files, foreign_image, image, prepared
from scripts.vm.hardware import FOREIGN, HARDWARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

USERS = ("sundog", "sundog-second")
# All bases but pacman's, which only `make fidelity` uses.
BASES = ("alpine", "busybox", "busybox-arm64", "debian", "mpi", "mpich", "rpm")
# Packages beside those that make the base images: tests compile, compare and look with them.
NEEDS = (
    "apache2-utils", "apparmor", "bash-completion", "btrfs-progs", "bubblewrap", "buildah",
    "busybox-static", "bzip2", "charliecloud-builders", "charliecloud-runtime", "crun",
    "docker-registry", "dpkg-dev", "e2fsprogs", "fakeroot", "fish", "gcc", "git", "groff-base",
    "libarchive-tools", "libfuse3-dev", "liblz4-1", "liblzo2-2", "libseccomp2", "lmod", "make",
    "mount", "mpich", "musl-tools", "openmpi-bin", "openssh-client", "openssl", "podman", "procps",
    "qemu-user", "rpm", "rsync", "runc", "skopeo", "squashfs-tools", "squashfs-tools-ng",
    "squashfuse", "strace", "umoci", "xfsprogs", "xz-utils", "zsh", "zstd",
)  # fmt: skip
LINT_NEEDS = ("shellcheck",)
NEEDS_OF = {
    "buildkit": buildkit.NEEDS,
    "callers": callers.NEEDS,
    "machines": image.NEEDS,
    "openpbs": openpbs.NEEDS,
    "pyxis": pyxis.NEEDS,
    "stargz": stargz.NEEDS,
}  # of options
LINT = (
    ("ruff", "check", "--quiet", "."),
    ("ruff", "format", "--quiet", "--check", "."),
    ("mypy", "src", "tests", "scripts", "bench"),
    ("lint-imports", "--no-cache"),
    ("shellcheck", ".ci/run"),
)


PYTEST = ("python", "-m", "pytest", "-p", "no:cacheprovider")
DIAGONALS = {"SUNDOG_DIAGONALS": "yes"}


@dataclass(frozen=True)
class Workplace:
    """A run's own directory, the tests' user, and his environment."""

    path: Path
    user: account.Account

    @property
    def checkout(self) -> Path:
        """Return the copy of the checkout."""
        return self.path / "checkout"

    @property
    def packages(self) -> Path:
        """Return where the user puts packages for dist/."""
        return self.path / "tmp" / "packages"

    def environment(self, programs: Path) -> dict[str, str]:
        """Return the user's environment, in which nothing is written to the copy."""
        temporary = str(self.path / "tmp")
        return account.environment(self.user, programs) | {
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{temporary}/hypothesis",
            # The next run checks what has changed since this one.
            "MYPY_CACHE_DIR": str(self.user.home / ".cache/sundog/mypy"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUFF_CACHE_DIR": f"{temporary}/ruff",
            "SUNDOG_BYTECODE": f"{temporary}/bytecode",  # of the tests themselves
            "TMPDIR": temporary,
        }

    def run(self, programs: Path, command: list[str], **more: str) -> bool:
        """Run a command as the user, in the copy; tell whether it succeeded."""
        environment = self.environment(programs) | more
        print(f"== {' '.join(command)}  [{programs.parent.name}]", flush=True)
        return account.run(self.user, command, env=environment, cwd=self.checkout) == 0


@contextlib.contextmanager
def workplace(user: account.Account) -> Iterator[Workplace]:
    """Make a run's own directory, with a copy of the checkout, and remove it afterwards."""
    path = Path(tempfile.mkdtemp(prefix="sundog-test.", dir="/var/tmp"))
    try:
        path.chmod(0o755)
        copy_checkout(path / "checkout")
        temporary = path / "tmp"
        temporary.mkdir()
        if user.uid != os.geteuid():
            os.chown(temporary, user.uid, user.gid)
        yield Workplace(path, user)
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Remove a run's directory: more than a million files, so each processor removes some."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(removed, path.glob("tmp/pytest-of-*/pytest-[0-9]*/*")))
    if not removed(path):  # some tests leave directories of mode 0000
        subprocess.run(["chmod", "-R", "u+rwX", path], capture_output=True, check=False)
        removed(path)


def removed(path: Path) -> bool:
    """Remove a file tree as far as its modes allow it; tell whether it is gone."""
    return not subprocess.run(["rm", "-rf", path], capture_output=True, check=False).returncode


def venv(python: Path) -> Path:
    """Return the bin directory of an interpreter's venv for lint and tests."""
    return install.environment(f"test-{python.name}", python, groups=["test"], extra="[fast]")


def lint(place: Workplace, programs: Path) -> bool:
    """Run all linters, even if one complains; tell whether none did."""
    verdicts = [place.run(programs, list(command)) for command in LINT]
    return all(verdicts)


def workers() -> int:
    """Return the number of pytest's processes: more than cores, because many tests wait."""
    return 2 * (os.cpu_count() or 1) + 2


def compared(bases: Sequence[Future[Path]]) -> None:
    """Wait for the base images; as root, make what is made of them once and kept."""
    for base in bases:
        base.result()
    if bases and os.geteuid() == 0:
        references.keep()


def name_tests(arguments: Sequence[str]) -> bool:
    """Tell whether arguments for pytest name files or directories of tests."""
    return any(
        argument.startswith("tests/") and (CHECKOUT / argument.partition("::")[0]).exists()
        for argument in arguments
    )


def open_fuse() -> None:
    """Let every user open /dev/fuse, as udev does; a machine without udev has it closed."""
    device = Path("/dev/fuse")
    if device.exists() and device.stat().st_mode & 0o666 != 0o666:
        print(f"== chmod 666 {device}  [for the tests' user]", flush=True)
        device.chmod(0o666)


def compile_tests(place: Workplace, programs: Path) -> None:
    """Let pytest write the bytecode of the tests, so that not each of its processes makes it."""
    command = [*PYTEST, "-q", "--collect-only"]
    with open(os.devnull, "w") as nowhere:  # the run itself tells of faults
        env = place.environment(programs)
        account.run(place.user, command, env=env, cwd=place.checkout, output=nowhere)


def test(
    place: Workplace,
    venvs: Sequence[Path],
    arguments: Sequence[str],
    *,
    compares: bool,
    whole: bool = True,  # noqa: PT028 - it is no test
) -> bool:
    """Run pytest on each venv, the first with all tests; tell whether all passed.

    If a test ``compares`` with what root makes on this machine, root makes that first. The first
    venv runs ``whole`` matrices, or their diagonals.
    """
    # Each process takes neighbouring tests, which share fixtures, and at the end those of others.
    pytest = [*PYTEST, "-q", "-n", str(workers()), "--dist", "worksteal"]
    runs: list[tuple[list[str], dict[str, str]]] = [([], {} if whole else DIAGONALS)]
    runs += [(["-m", "not slow"], {})] * (len(venvs) - 1)
    with contextlib.ExitStack() as stack:
        given = {"SUNDOG_WHEEL": str(install.wheel())}
        if os.geteuid() == 0 and compares:
            open_fuse()
            references.make(place.path / "references", place.user)
            second = account.ordinary(USERS[1])
            socket = stack.enter_context(root_helper.running(place.user, second, venvs[0]))
            given |= {
                "SUNDOG_REFERENCES": str(place.path / "references"),
                "SUNDOG_ROOT_HELPER": str(socket),
            }
        verdicts = [
            place.run(programs, [*pytest, *chosen, *arguments], **given, **more)
            for programs, (chosen, more) in zip(venvs, runs, strict=True)
        ]
    return all(verdicts)


def parsed_options() -> argparse.Namespace:
    """Return the options and arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m scripts.check")
    parser.add_argument("--lint", action="store_true", help="lint only")
    parser.add_argument(
        "--matrices", choices=("0", "1"), default="0", help="1: cross all parameters of tests"
    )
    parser.add_argument(
        "--machines", action="store_true", help="no lint, but virtual machines for tests (root)"
    )
    parser.add_argument(
        "--machine", choices=FOREIGN, help="no lint, but a machine of that architecture (root)"
    )
    parser.add_argument(
        "--pyxis",
        nargs=2,
        type=Path,
        metavar=("PYXIS", "ENROOT"),
        help="no lint, but Slurm's plug-in pyxis, made of the sources in these directories (root)",
    )
    parser.add_argument(
        "--flux",
        type=Path,
        metavar="PREFIX",
        help="no lint, but the Flux that is installed in PREFIX",
    )
    parser.add_argument(
        "--openpbs",
        type=Path,
        metavar="PREFIX",
        help="no lint, but the OpenPBS that is installed in PREFIX, with two nodes (root)",
    )
    parser.add_argument(
        "--callers", action="store_true", help="no lint, but programs that call Apptainer"
    )
    parser.add_argument(
        "--buildkit",
        action="store_true",
        help="no lint, but Docker's daemon beside the tests (root)",
    )
    parser.add_argument(
        "--stargz",
        action="store_true",
        help="no lint, but containerd and the stargz snapshotter beside the tests (root)",
    )
    parser.add_argument(
        "--packages", action="store_true", help="no lint, but packages of distributions, in dist/"
    )
    parser.add_argument("arguments", nargs="*", help="for pytest, after --")
    return parser.parse_args()


def needed_packages(options: argparse.Namespace, bases: Sequence[str]) -> set[str]:
    """Return the packages that a run with ``options`` needs, which makes the images ``bases``."""
    needs = {*account.NEEDS, *install.NEEDS, *LINT_NEEDS}
    if not options.lint:
        needs |= {*NEEDS, *cluster.NEEDS, *makers.needs(bases)}
    if options.machine:
        hardware = HARDWARE[options.machine]
        needs |= {*foreign_image.NEEDS, hardware.package, *hardware.compiler}
    for name, packages_of in NEEDS_OF.items():
        if getattr(options, name):
            needs |= {*packages_of}
    return needs


def prepare(
    options: argparse.Namespace, place: Workplace, python: Path, stack: contextlib.ExitStack
) -> None:
    """Make what the tests of an option need, and tell them where it is; ``stack`` ends it."""
    machines = place.path / "machines"
    if options.machines:
        prepared.prepare(machines, place.user)
    if options.machine:
        foreign_files.prepare(machines, options.machine)
        os.environ["SUNDOG_MACHINES_KIND"] = options.machine
    if options.machines or options.machine:
        os.environ["SUNDOG_MACHINES"] = str(machines)
    if options.pyxis:
        built = place.path / "pyxis"
        pyxis.build(built, *options.pyxis)
        os.environ[pyxis.VARIABLE] = str(built)
    if options.flux:
        os.environ[flux.VARIABLE] = str(flux.programs(options.flux.absolute()))
    if options.openpbs:
        configuration = stack.enter_context(openpbs.running(options.openpbs.absolute()))
        os.environ[openpbs.VARIABLE] = str(configuration)
    if options.callers:
        os.environ[callers.VARIABLE] = str(callers.install(place, python))
    if options.buildkit:
        socket = stack.enter_context(buildkit.running(place.path / "buildkit", place.user))
        os.environ[buildkit.VARIABLE] = str(socket)
    if options.stargz:
        daemons = stack.enter_context(stargz.running(place.path / "stargz", place.user))
        os.environ[stargz.VARIABLE] = str(daemons)
    if options.packages:
        os.environ["SUNDOG_PACKAGES"] = str(place.packages)


def main() -> int:
    """Parse the command line, prepare, run; return the exit status."""
    options = parsed_options()
    try:
        few = options.machines or options.machine or name_tests(options.arguments)
        bases = () if options.lint or few else BASES
        packages.require(sorted(needed_packages(options, bases)))
        user = account.ordinary(USERS[0]) if os.geteuid() == 0 else account.current()
        found = list(install.pythons().values())
        # The newest Python for all tests, then the oldest.
        pythons = found[:1] if options.lint or few else list(dict.fromkeys([found[0], found[-1]]))
        # Each of these jobs keeps one core busy.
        with (
            workplace(user) as place,
            ThreadPoolExecutor() as pool,
            contextlib.ExitStack() as stack,
        ):
            making = [pool.submit(makers.base, name) for name in bases]
            install.wheel()
            venvs = list(pool.map(venv, pythons))
            # While lint checks types on one core, the other makes what tests compare with.
            keeping = pool.submit(compared, making)
            compiled = () if few or options.lint else venvs
            compiling = [pool.submit(compile_tests, place, programs) for programs in compiled]
            passed = bool(few) or lint(place, venvs[0])
            for job in (keeping, *compiling):
                job.result()
            prepare(options, place, pythons[0], stack)
            if not options.lint:
                compares, whole = not options.machine, bool(few) or options.matrices == "1"
                given = options.arguments
                passed = test(place, venvs, given, compares=compares, whole=whole) and passed
            if options.packages and passed:
                shutil.copytree(place.packages, CHECKOUT / "dist", dirs_exist_ok=True)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
