"""Causes around Sundog: programs, Slurm, proxies and authorities; each is made real."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from sundog.errors import ADMINISTRATOR, ORDINARY_USER
from sundog.front.doctor.host import HOST
from sundog.front.doctor.network import NETWORK
from sundog.front.doctor.outcome import (
    FAILED,
    NOT_HERE,
    OK,
    Check,
    Outcome,
    attempt,
)
from sundog.front.doctor.programs import PROGRAMS
from sundog.front.doctor.slurm import slurm_checks
from tests.base.kernel.child import in_child
from tests.conftest import command
from tests.front.doctor.causes import row

if TYPE_CHECKING:
    from pathlib import Path

# Programs and Slurm


def test_programs_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = row(PROGRAMS, "program: mksquashfs")
    assert (outcome.state, outcome.who) == (NOT_HERE, ADMINISTRATOR)
    assert outcome.command == "apt-get install squashfs-tools"


def test_a_program_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mksquashfs"
    program.write_text(
        "#!/bin/sh\necho 'libz.so.1: cannot open shared object file' >&2\nexit 127\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    outcome = row(PROGRAMS, "program: mksquashfs")
    assert outcome.state == FAILED
    assert outcome.detail.endswith("fails: libz.so.1: cannot open shared object file")


def test_all_programs_run() -> None:
    assert {attempt(check).name: attempt(check).state for check in PROGRAMS} == {
        check.name: OK for check in PROGRAMS
    }


def slurm(monkeypatch: pytest.MonkeyPatch, place: Path, kinds: str = "pmix") -> list[Outcome]:
    """Make the checks of Slurm with an srun that knows these kinds of MPI."""
    srun = place / "srun"
    srun.write_text(f'#!/bin/sh\ncase $1 in --version) echo slurm 24;; *) echo "{kinds}";; esac\n')
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_CONF", str(place / "slurm.conf"))
    return list(map(attempt, slurm_checks()))


def test_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {outcome.name: outcome for outcome in slurm(monkeypatch, tmp_path, "none pmi2")}
    assert found["Slurm"].detail == f"slurm 24, {tmp_path}/srun; not in a job"
    assert found["Slurm: MPI"].state == NOT_HERE
    assert "srun --mpi=pmi2" in found["Slurm: MPI"].detail
    assert "no oci.conf" in found["Slurm: oci.conf"].detail
    assert found["MPI session"].state == NOT_HERE
    (tmp_path / "oci.conf").write_text('RunTimeRun="exec ch-run-nope run"\n')
    assert slurm(monkeypatch, tmp_path)[3].detail.endswith("runs ch-run-nope, not Sundog")
    (tmp_path / "oci.conf").write_text('RunTimeRun="exec /nope/ch-run -- %@"\n')
    outcome = slurm(monkeypatch, tmp_path)[3]
    assert (outcome.state, outcome.who) == (FAILED, ADMINISTRATOR)
    assert outcome.detail.endswith("runs /nope/ch-run, which is not there")
    (tmp_path / "oci.conf").write_text(f'RunTimeRun="{command("ch-run")[0]} -- %@"\n')
    outcome = slurm(monkeypatch, tmp_path)[3]
    assert (outcome.state, outcome.detail) == (
        OK,
        f"{tmp_path}/oci.conf runs {command('ch-run')[0]}",
    )


def test_munge_without_its_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real munge, or one that fails as it does."""
    munge = tmp_path / "munge"
    munge.write_text("#!/bin/sh\necho 'munge: Error: Failed to access socket' >&2\nexit 6\n")
    munge.chmod(0o755)
    (tmp_path / "unmunge").symlink_to("munge")
    outcome = slurm(monkeypatch, tmp_path)[1]
    assert (outcome.state, outcome.command) == (FAILED, "systemctl start munge")
    assert "Failed to access socket" in outcome.detail


@pytest.mark.parametrize(
    ("settings", "state", "said"),
    [
        ("AuthType = auth/munge", OK, "took a credential of munge"),
        ("AuthInfo = socket=/a/b,ttl=3\nAuthType = auth/munge", OK, "took a credential of /a/b"),
        ("AuthType = auth/slurm", NOT_HERE, "Slurm uses slurm"),
    ],
)
def test_slurm_says_how_it_knows_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, state: str, said: str
) -> None:
    """An answer of the controller shows that it works, whatever munge's usual socket is."""
    (tmp_path / "munge").write_text("#!/bin/sh\nexit 6\n")
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho '{settings}'\n")
    for name in ("munge", "scontrol"):
        (tmp_path / name).chmod(0o755)
    outcome = slurm(monkeypatch, tmp_path)[1]
    assert outcome.state == state
    assert said in outcome.detail


def test_a_rank_whose_directory_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMIX_RANK", "0")
    monkeypatch.setenv("PMIX_SERVER_TMPDIR", "/nope")
    outcome = row(slurm_checks(), "MPI session")
    assert (outcome.state, outcome.detail) == (
        FAILED,
        "/nope of the MPI session can't be used here",
    )
    monkeypatch.setenv("PMIX_SERVER_TMPDIR", "/tmp")
    assert row(slurm_checks(), "MPI session").detail == "PMIx, /tmp"


# The network


def way(name: str) -> Outcome:
    return row(NETWORK, name)


def test_a_proxy_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://ada:secret@127.0.0.1:{port}")
        outcome = way("proxies")
        assert outcome.state == FAILED
        expected = f"can't connect to $https_proxy, 127.0.0.1:{port}: Connection refused"
        assert (outcome.detail, outcome.who) == (expected, ORDINARY_USER)
        assert "secret" not in outcome.detail + outcome.hint
        listener.listen()
        assert way("proxies").detail.startswith("$https_proxy")
    for value in ("http://[", "http://.site:3128", f"{'a' * 70}.site:3128"):
        monkeypatch.setenv("https_proxy", value)
        assert way("proxies").detail == "$https_proxy is not the URL of an HTTP proxy"


def authorities(**environment: str) -> Outcome:
    """Make the check in a process of its own, because OpenSSL reads the variables once."""

    def inside() -> Outcome:
        os.environ.pop("REQUESTS_CA_BUNDLE", None)
        os.environ.update(environment)
        return way("certificate authorities")

    return in_child(inside)


def test_no_authorities(tmp_path: Path) -> None:
    assert authorities().state == OK
    empty = tmp_path / "empty.pem"
    empty.touch()
    outcome = authorities(SSL_CERT_FILE=str(empty), SSL_CERT_DIR=str(tmp_path / "none"))
    assert outcome.detail == f"$SSL_CERT_DIR names {tmp_path}/none, which can't be read"
    (tmp_path / "none").mkdir()
    outcome = authorities(SSL_CERT_FILE=str(empty), SSL_CERT_DIR=str(tmp_path / "none"))
    assert outcome.detail.startswith("this machine has no certificate authorities")
    assert (outcome.command, outcome.who) == ("apt-get install ca-certificates", ADMINISTRATOR)
    outcome = authorities(REQUESTS_CA_BUNDLE="/nope.pem")
    assert outcome.detail == "$REQUESTS_CA_BUNDLE names /nope.pem, which can't be read"


def test_a_failure_with_a_name_that_is_no_utf_8() -> None:
    def act() -> str:
        raise OSError(errno.ENOENT, "No such file or directory", "/latin-\udce9")

    outcome = attempt(Check("names", act, in_child=False))
    assert outcome.state == FAILED
    assert outcome.detail.isprintable()


# Other machines


def test_the_emulators_that_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row says whose programs run, and what to do if none does."""
    found = row(HOST, "other architectures")
    assert found.state == OK
    assert "aarch64" in found.detail
    monkeypatch.setenv("PATH", str(tmp_path))
    # A kernel that runs the programs of 32 bits itself needs none for them.
    found = row(HOST, "other architectures")
    assert found.state in (OK, NOT_HERE)
    assert "aarch64" not in found.detail
    (tmp_path / "qemu-aarch64").symlink_to("/bin/ls")
    monkeypatch.setenv("CH_QEMU", str(tmp_path))
    last = row(HOST, "other architectures").detail
    assert "aarch64" not in last or last.startswith("can't emulate aarch64: ")
