"""A small server that does a few named actions as root for the tests.

`make test` as root starts the server before it drops to an ordinary user. The server listens on a
Unix socket and serves only that user (SO_PEERCRED), one request a connection. A request is a JSON
object with an "action"; so is the answer, with "error" if the server refuses. The server ends with
the process that started it, and unmounts what it mounted.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts import account, cluster, pyxis, references, stargz
from scripts.bases import makers
from scripts.disks import Disk, lacking
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PR_SET_PDEATHSIG = 1
# Mount options that a test may ask for, beside nosuid and nodev.
OPTIONS = frozenset({"", "noexec", "ro"})
# Where control groups limit memory, and the files with the limit and the count of killed processes.
MEMORY_GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
)

# Podman's storage takes chunks of a layer. Of eStargz it does so only if it need not vouch for it.
IN_PARTS = """\
[storage]
driver = "overlay"
graphroot = "{directory}/root"
runroot = "{directory}/run"
[storage.options.pull_options]
enable_partial_images = "true"
insecure_allow_unpredictable_image_contents = "true"
"""
SHOW_PULLED = """\
podman --log-level=debug pull --tls-verify=false "$0" >&2
tar --sort=name --numeric-owner --xattrs --xattrs-include='*' -C "$(podman image mount "$0")" -c .
"""


@dataclass(frozen=True)
class Server:
    """The actions, for the tests' user and another user as whom he may act."""

    tester: account.Account
    second: account.Account
    mounts: Path
    programs: Path
    mounted: set[str] = field(default_factory=set)
    disks: dict[str, Disk] = field(default_factory=dict)
    clusters: dict[str, cluster.Cluster] = field(default_factory=dict)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do an action; return its answer, also for a failure."""
        actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "make-base": self._make_base,
            "make-references": self._make_references,
            "as-root": self._as_root,
            "as-second-user": self._as_second_user,
            "as-victim": self._as_victim,
            "descriptors": self._descriptors,
            "drop-caches": self._drop_caches,
            "below-a-memory-limit": self._below_a_memory_limit,
            "take-with-podman": self._take_with_podman,
            "pull-in-parts": self._pull_in_parts,
            "show-with-stargz": self._show_with_stargz,
            "in-podman": self._in_podman,
            "mount-tmpfs": self._mount_tmpfs,
            "unmount": self._unmount,
            "make-disk": self._make_disk,
            "clone-disk": self._clone_disk,
            "mount-clone": self._mount_clone,
            "remove-clone": self._remove_clone,
            "remove-disk": self._remove_disk,
            "start-cluster": self._start_cluster,
            "link": self._link,
            "unlink": self._unlink,
        }
        try:
            return actions[request["action"]](request)
        except (
            *(KeyError, TypeError, ValueError, OSError, subprocess.SubprocessError),
            WorkshopError,
        ) as error:
            return {"error": f"{request.get('action')}: {type(error).__name__}: {error}"}

    def _make_base(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"path": str(makers.base(request["name"]))}

    def _make_references(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        references.keep()
        return {}

    def _as_root(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run Sundog's commands as root, with the programs under test."""
        del request
        with tempfile.TemporaryDirectory(prefix="as-root.", dir="/var/tmp") as place:
            return {"outcomes": references.as_root(Path(place), self.programs)}

    def _as_second_user(self, request: dict[str, Any]) -> dict[str, Any]:
        environment = account.environment(self.second, Path("/usr/bin")) | request["env"]
        done = subprocess.run(
            request["argv"],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            user=self.second.uid,
            group=self.second.gid,
            extra_groups=self.second.groups,
            timeout=60,
            check=False,
        )
        return _completed(done)

    def _as_victim(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a program as the tests' user, whose account has another name there.

        The program has a mount namespace of its own, with this name in /etc/passwd.
        """
        name, uid, gid = request["name"], self.tester.uid, self.tester.gid
        _victims(f"/var/tmp/{name}.sundog")
        groups = ",".join(map(str, self.tester.groups))
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", f"--groups={groups}"]
        with tempfile.NamedTemporaryFile("w", dir="/run") as passwd:
            passwd.write(f"{name}:x:{uid}:{gid}::/:/bin/sh\n{Path('/etc/passwd').read_text()}")
            passwd.flush()
            os.fchmod(passwd.fileno(), 0o644)
            script = 'mount --bind "$0" /etc/passwd; exec "$@"'
            enter = ["unshare", "--mount", "sh", "-ec", script, passwd.name]
            variables = [f"{key}={value}" for key, value in request["env"].items()]
            done = subprocess.run(
                [*enter, *become, "env", "-i", *variables, *request["argv"]],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
        return _completed(done)

    def _descriptors(self, request: dict[str, Any]) -> dict[str, Any]:
        process = Path("/proc", str(int(request["process"])))
        try:
            if f"\nUid:\t{self.tester.uid}\t" not in (process / "status").read_text():
                return {"error": "the process belongs to another user"}
            found = {path.name: os.readlink(path) for path in process.glob("fd/*")}
        except (FileNotFoundError, ProcessLookupError):  # it has ended, or closes them
            found = {}
        return {"descriptors": found}

    def _drop_caches(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return {}

    def _below_a_memory_limit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a program as the tests' user, in a control group that limits its memory.

        The answer says how many processes the kernel killed.  It is empty if no control group
        limits memory here.
        """
        tester = self.tester
        groups = ",".join(map(str, tester.groups))
        become = ["setpriv", f"--reuid={tester.uid}", f"--regid={tester.gid}", f"--groups={groups}"]
        variables = [f"{key}={value}" for key, value in request["env"].items()]
        enter = ["sh", "-ec", 'echo $$ >"$0"; exec "$@"']
        for hierarchy, limit, counts in MEMORY_GROUPS:
            group = hierarchy / f"sundog-test-{secrets.token_hex(8)}"
            try:
                group.mkdir()
            except OSError:  # it is not mounted, or is read-only
                continue
            if not (group / limit).exists():
                group.rmdir()
                continue
            try:
                (group / limit).write_text(f"{int(request['bytes'])}")
                done = subprocess.run(
                    [*enter, group / "cgroup.procs", *become, "env", "-i", *variables]
                    + request["argv"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=60,
                    check=False,
                )
                killed = re.search(r"^oom_kill (\d+)$", (group / counts).read_text(), re.M)
                return {"killed": int(killed[1]) if killed else 0, **_completed(done)}
            finally:
                _end_group(group)
        return {}

    def _take_with_podman(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what real root finds in an image: the status of these paths.

        The image is in an archive, or in a registry of this machine: ``docker://localhost:…``.
        """
        with tempfile.TemporaryDirectory(prefix="podman.", dir="/var/tmp") as directory:
            podman = ["podman", f"--root={directory}/root", f"--runroot={directory}/run"]
            podman.append("--storage-driver=vfs")

            def run(*arguments: str) -> str:
                done = subprocess.run(
                    [*podman, *arguments], capture_output=True, text=True, timeout=60, check=False
                )
                if done.returncode:
                    raise ValueError(f"podman {arguments[0]}: {done.stderr}")
                return done.stdout

            source = request["source"]
            if source.startswith("docker://localhost:"):
                run("pull", "--quiet", "--tls-verify=false", source)
            else:
                run("load", "--quiet", "--input", source)
            image = run("image", "ls", "--quiet").split()[0]
            root = Path(run("image", "mount", image).strip())
            try:
                return {"found": {path: _status(root / path) for path in request["paths"]}}
            finally:
                run("image", "unmount", image)

    def _pull_in_parts(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what podman makes of an image of a registry, of which it takes what it needs.

        The answer has the tree as an archive, and the digests of the blobs that came in parts.
        """
        source = _of_here(request["source"])
        with _podman_directory() as directory:
            settings = Path(directory, "storage.conf")
            settings.write_text(IN_PARTS.format(directory=directory))
            environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(settings)}
            # Its mounts end with the namespace.
            own = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", SHOW_PULLED]
            done = subprocess.run(
                [*own, source], env=environment, capture_output=True, timeout=120, check=False
            )
            if done.returncode:
                raise ValueError(f"podman: {done.stderr.decode()[-2000:]}")
            found = re.findall(rb"Retrieved partial blob (sha256:[0-9a-f]{64})", done.stderr)
            tar = base64.b64encode(done.stdout).decode()
            return {"tar": tar, "in-parts": [digest.decode() for digest in found]}

    def _show_with_stargz(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the tree that the stargz snapshotter makes of an image of a registry."""
        return stargz.Daemons(Path(os.environ[stargz.VARIABLE])).show(_of_here(request["source"]))

    def _in_podman(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a program of the tests in a container of podman, as the tests' user.

        The container's root is a bare directory with /usr and what ``show`` names, read-only.
        """
        with _podman_directory() as directory:
            tree = Path(directory, "tree")
            for name in ("usr", "etc", "proc", "dev", "sys", "run", "tmp", "var/tmp"):
                (tree / name).mkdir(parents=True)
            for name in ("bin", "sbin", "lib", "lib64"):
                (tree / name).symlink_to(f"usr/{name}")
            for name in ("tmp", "var/tmp"):
                (tree / name).chmod(0o1777)
            shown = ["/usr", "/etc/passwd", *request["show"]]
            done = subprocess.run(
                [
                    *("podman", f"--root={directory}/root", f"--runroot={directory}/run"),
                    *("--storage-driver=vfs", "--runtime=runc", "--cgroup-manager=cgroupfs"),
                    *("run", "--rm", "--network=none"),
                    f"--user={self.tester.uid}:{self.tester.gid}",
                    *(f"--volume={path}:{path}:ro" for path in shown),
                    *(f"--security-opt={word}" for word in request["security"]),
                    *("--rootfs", str(tree), *request["argv"]),
                ],
                capture_output=True,
                timeout=60,
                check=False,
            )
            return _completed(done)

    def _mount_tmpfs(self, request: dict[str, Any]) -> dict[str, Any]:
        size, extra = int(request["kibibytes"]), request["options"]
        if extra not in OPTIONS and not re.fullmatch(r"nr_inodes=\d+", extra):
            raise ValueError(f"option {extra!r} is not one of {sorted(OPTIONS)}, nr_inodes=N")
        path = tempfile.mkdtemp(dir=self.mounts)
        options = f"size={size}k,mode=0700,uid={self.tester.uid},gid={self.tester.gid},nosuid,nodev"
        if extra:
            options += f",{extra}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "sundog-test", path], check=True)
        self.mounted.add(path)
        return {"path": path}

    def _unmount(self, request: dict[str, Any]) -> dict[str, Any]:
        path = request["path"]
        if path not in self.mounted:
            raise ValueError(f"{path} was not mounted here")
        subprocess.run(["umount", "--lazy", path], check=True)
        self.mounted.discard(path)
        Path(path).rmdir()
        return {}

    def _make_disk(self, request: dict[str, Any]) -> dict[str, Any]:
        if lack := lacking(request["kind"]):
            return {"lacking": lack}
        owner = (self.tester.uid, self.tester.gid)
        disk = Disk.make(request["kind"], owner, self.mounts)
        self.disks[str(disk.path)] = disk
        return {"path": str(disk.path)}

    def _clone_disk(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"clone": str(self.disks[request["path"]].clone())}

    def _mount_clone(self, request: dict[str, Any]) -> dict[str, Any]:
        self.disks[request["path"]].mount_clone(Path(request["clone"]))
        return {}

    def _remove_clone(self, request: dict[str, Any]) -> dict[str, Any]:
        self.disks[request["path"]].remove_clone(Path(request["clone"]))
        return {}

    def _remove_disk(self, request: dict[str, Any]) -> dict[str, Any]:
        self.disks.pop(request["path"]).remove()
        return {}

    def _start_cluster(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the cluster with this oci.conf or importer; start it if it is not there.

        All commands of an oci.conf run as the users of the jobs, and so does pyxis' importer.
        """
        if lack := cluster.lacking():
            return {"lacking": lack}
        if "importer" in request:
            built = pyxis.Built(Path(os.environ[pyxis.VARIABLE]))
            files, programs = built.settings(request["importer"]), str(built.programs)
        else:
            files, programs = {"oci.conf": request["oci"]}, ""
        key = json.dumps(files)
        if key not in self.clusters:
            self.clusters[key] = cluster.Cluster.start(files, len(self.clusters), programs)
        one = self.clusters[key]
        answer = {"configuration": str(one.configuration), "nodes": one.nodes}
        return answer | {"address": one.address}

    def _link(self, request: dict[str, Any]) -> dict[str, Any]:
        os.symlink(request["target"], _victims(request["path"]))
        return {}

    def _unlink(self, request: dict[str, Any]) -> dict[str, Any]:
        path = Path(_victims(request["path"]))
        if not path.is_symlink():
            raise ValueError(f"{path} is no symbolic link")
        path.unlink()
        return {}

    def serve(self, listener: socket.socket) -> None:
        """Answer requests, one after the other, until a signal ends the process."""
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, ValueError):
                peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                if struct.unpack("iII", peer)[1] != self.tester.uid:
                    continue
                with connection.makefile("rb") as stream:
                    request = json.loads(stream.read(1 << 20))
                connection.sendall(json.dumps(self.answer(request)).encode())


@contextlib.contextmanager
def _podman_directory() -> Iterator[str]:
    """Make a directory for podman, and remove it at the end.

    A process of podman's cleans up after a container, and may make files there for a moment.
    """
    directory = tempfile.mkdtemp(prefix="podman.", dir="/var/tmp")
    try:
        yield directory
    finally:
        deadline = time.monotonic() + 10
        while os.path.exists(directory) and time.monotonic() < deadline:
            shutil.rmtree(directory, ignore_errors=True)


def _completed(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    streams = {"stdout": done.stdout, "stderr": done.stderr}
    encoded = {name: base64.b64encode(text).decode() for name, text in streams.items()}
    return {"status": done.returncode, **encoded}


def _end_group(group: Path) -> None:
    """Kill the processes of a control group, and remove it."""
    for _ in range(100):
        for process in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        try:
            return group.rmdir()
        except OSError:  # EBUSY: some have not ended yet
            time.sleep(0.1)
    raise WorkshopError(f"{group} has processes that do not end")


def _victims(path: str) -> str:
    """Return a path if it can only be a test's storage directory."""
    if not re.fullmatch(r"/var/tmp/victim-[0-9a-f]+\.sundog", path):
        raise ValueError(f"{path} is no storage directory of a test")
    return path


def _of_here(source: str) -> str:
    """Return the name of an image if its registry is on this machine."""
    if not source.startswith("127.0.0.1:"):
        raise ValueError(f"{source} is in no registry of this machine")
    return source


def _status(path: Path) -> list[int | str]:
    """Return mode, owner, group, device and capabilities of the file ``path``, not followed."""
    status = path.lstat()
    try:
        capability = os.getxattr(path, "security.capability", follow_symlinks=False).hex()
    except OSError:  # a file without capabilities
        capability = ""
    return [status.st_mode, status.st_uid, status.st_gid, status.st_rdev, capability]


@contextlib.contextmanager
def running(tester: account.Account, second: account.Account, programs: Path) -> Iterator[Path]:
    """Run the server of tests of ``programs`` in a child process; give the path of its socket."""
    with tempfile.TemporaryDirectory(prefix="sundog-root.", dir="/run") as directory:
        place = Path(directory)
        place.chmod(0o711)
        mounts = place / "mounts"
        mounts.mkdir()
        path = place / "socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            os.chown(path, tester.uid, tester.gid)
            path.chmod(0o600)
            listener.listen(8)
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                _serve(Server(tester, second, mounts, programs), listener)
        try:
            yield path
        finally:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


def _serve(server: Server, listener: socket.socket) -> None:
    """Serve until SIGTERM or the parent's end, then unmount all file systems; never return."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve(listener)
    finally:
        for path in server.mounted:
            subprocess.run(["umount", "--lazy", path], check=False)
        for disk in server.disks.values():
            disk.remove()
        for one in server.clusters.values():
            one.stop()
        os._exit(0)
