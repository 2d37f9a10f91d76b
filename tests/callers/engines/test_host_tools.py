"""Programs of the host that make a distribution's tree, themselves, as mock root."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.bases.bootstrap import mirror

if TYPE_CHECKING:
    from tests.callers.engines.conftest import Site

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
PROGRAMS = ("sh", "cat", "chown", "id", "ls", "stat")
# It stands for all packages that a distribution needs.  Its script runs in the new tree.
SPEC = """\
Name: tiny
Version: 1
Release: 1
Summary: a shell
License: none
AutoReqProv: no
Provides: coreutils aaa_base
%description
busybox
%install
mkdir -p %{buildroot}/bin %{buildroot}/etc
cp BUSYBOX %{buildroot}/bin/busybox
cp BUSYBOX %{buildroot}/bin/setid
for name in PROGRAMS; do ln -s busybox %{buildroot}/bin/$name; done
echo root:x:0:0::/root:/bin/sh >%{buildroot}/etc/passwd
echo root:x:0: >%{buildroot}/etc/group
echo tiny >%{buildroot}/etc/redhat-release
%post
chown 5:6 /etc/redhat-release; ls /dev/null
%files
/bin/[a-r]*
/bin/s[ht]*
%attr(4755, root, root) /bin/setid
/etc/*
"""
MACROS = {"debug_package": "%{nil}", "__os_install_post": "%{nil}"}
LOOK = "%post\n stat -c '%n %u:%g %a' /etc/redhat-release /bin/setid; id -u\n"
SEEN = ["/etc/redhat-release 5:6 644", "/bin/setid 0:0 4755", "0"]
PACKAGE = """\
pkgname = tiny
pkgver = 1-1
pkgdesc = a shell
url = none
builddate = 1
packager = ada
size = 1
arch = any
"""
SCRIPT = "post_install() { chown 5:6 /etc/redhat-release; ls /dev/null /proc/self/exe; }\n"
ENTRY = """\
%FILENAME%
tiny.pkg.tar.gz

%NAME%
tiny

%VERSION%
1-1

%CSIZE%
{}

%ISIZE%
1

%ARCH%
any
"""
CONFIGURATION = "[options]\nArchitecture = auto\nSigLevel = Never\n[made]\nServer = file://{}\n"


def built(site: Site, place: Path, definition: str) -> list[str]:
    """Build a SIF of a definition file; return the last lines of the output."""
    (place / "x.def").write_text(definition)
    done = site.run("spython", "apptainer", "build", "--force", "x.sif", "x.def", cwd=place)
    lines = done.stdout.splitlines()
    shown = site.run("spython", "apptainer", "exec", "x.sif", "cat", "/etc/passwd", cwd=place)
    assert shown.stdout.startswith("root:x:0:0:")
    return lines


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of RPMs, with a signature."""
    place = tmp_path_factory.mktemp("rpm")
    repository = place / "repository"
    text = SPEC.replace("BUSYBOX", str(BUSYBOX)).replace("PROGRAMS", " ".join(PROGRAMS))
    (place / "tiny.spec").write_text(text)
    macros = MACROS | {"_topdir": str(place), "_rpmdir": str(repository)}
    defined = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    run("rpmbuild", "-bb", "--quiet", *defined, place / "tiny.spec")
    run("createrepo_c", "--quiet", repository)
    index = repository / "repodata/repomd.xml"
    home = place / "keys"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--armor", "--passphrase", "")
    run(*gpg, "--quick-gen-key", "ada@example.com", "ed25519", "sign", "never")
    run(*gpg, "--output", f"{index}.asc", "--detach-sign", index)
    run(*gpg, "--output", f"{index}.key", "--export")
    run("gpgconf", "--homedir", home, "--kill", "all")
    return repository


@pytest.mark.parametrize("agent", ["dnf", "zypper"])
def test_rpm(site: Site, repository: Path, tmp_path: Path, agent: str) -> None:
    text = f"Bootstrap: {agent}\nOSVersion: 1\nMirrorURL: file://{repository}\n"
    assert built(site, tmp_path, text + LOOK)[-3:] == SEEN


def add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def test_pacman(site: Site, tmp_path: Path) -> None:
    package = tmp_path / "tiny.pkg.tar.gz"
    with tarfile.open(package, "w:gz", compresslevel=1) as archive:
        add(archive, ".PKGINFO", PACKAGE.encode())
        add(archive, ".INSTALL", SCRIPT.encode())
        for name in ("busybox", "setid"):
            add(archive, f"bin/{name}", BUSYBOX.read_bytes(), 0o4755 if name == "setid" else 0o755)
        for name in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        add(archive, "etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        add(archive, "etc/redhat-release", b"tiny\n")
    with tarfile.open(tmp_path / "made.db", "w:gz") as archive:
        add(archive, "tiny-1-1/desc", ENTRY.format(package.stat().st_size).encode())
    (tmp_path / "pacman.conf").write_text(CONFIGURATION.format(tmp_path))
    text = "Bootstrap: arch\nConfURL: pacman.conf\nInclude: tiny\n"
    assert built(site, tmp_path, text + LOOK)[-3:] == SEEN
    text = f"Bootstrap: arch\nConfURL: file://{tmp_path}/none\n"
    (tmp_path / "x.def").write_text(text)
    done = site.run("spython", "apptainer", "build", "y.sif", "x.def", cwd=tmp_path, check=False)
    assert done.returncode == 255
    assert "x.def:1: " in done.stderr


def test_debootstrap(site: Site, tmp_path: Path) -> None:
    """Owners and set-id bits are real root's; the tree's apt works."""
    text = f"Bootstrap: debootstrap\nOSVersion: trixie\nMirrorURL: {mirror()}\n"
    text += "Include: openssh-client\n%post\n set +x; stat -c '%n %u:%g %a' /bin/su /var/mail\n"
    text += (
        " stat -c '%n %U:%G %a' /etc/shadow /usr/bin/ssh-agent; apt-get -s install -f | tail -1\n"
    )
    assert built(site, tmp_path, text)[-5:-1] == [
        "/bin/su 0:0 4755",
        "/var/mail 0:8 2775",
        "/etc/shadow root:shadow 640",
        "/usr/bin/ssh-agent root:_ssh 2755",
    ]
