"""The cases of OCI's runtime validation, written anew from the text of runtime-spec 1.2.

The names of the cases are those of the validation suite, so that its reader finds each of them
here: as a test, or in NOT_APPLICABLE with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import SundogError
from sundog.front.oci_runtime.specification import SIZE_LIMIT, parse_configuration, parse_process
from tests.conftest import until
from tests.front.oci_runtime.conftest import CONFIG, Json, Runtime

Bundle = Callable[..., Path]

CGROUPS = "an ordinary user has no cgroup to write to; one warning"
IDS = "one user and one group are mapped: nobody without privileges maps others"
NOT_APPLICABLE = {
    "linux_cgroups_*": CGROUPS,
    "linux_cgroups_relative_*": CGROUPS,
    "delete_only_create_resources": CGROUPS,
    "delete_resources": CGROUPS,
    "linux_process_apparmor_profile": "only privileges load a profile; one warning",
    "linux_mount_label": "only privileges set a label; one warning",
    "linux_seccomp": "no profile is applied: the container has no privileges that one could take",
    "linux_rootfs_propagation": "mounts of a user namespace never reach the host",
    "linux_ns_path": "joining needs privileges over the namespace; one warning",
    "linux_ns_path_type": "as linux_ns_path",
    "linux_uid_mappings": IDS,
    "process_user": IDS + "; the one that is mapped is process.user",
    "linux_intel_rdt": CGROUPS,
    "validation of other platforms": "there is only Linux",
}


def run(oci: Runtime, path: Path, name: str = "c") -> list[str]:
    """Run a container; return the lines that it writes."""
    done = oci("run", "-b", path, name)
    assert [line for line in done.messages() if line["level"] == "error"] == []
    return done.stdout.splitlines()


def warnings(oci: Runtime, path: Path) -> list[str]:
    done = oci("run", "-b", path, "c")
    return [line["msg"] for line in done.messages() if line["level"] == "warning"]


# process


def test_process(oci: Runtime, bundle: Bundle) -> None:
    """process, process_capabilities, process_rlimits, root_readonly_true, hostname, default."""

    def change(config: Json) -> None:
        config["process"] |= {
            "env": ["PATH=/bin", "TEST=a b\n=c", "EMPTY="],
            "cwd": "/tmp/made",
            "user": {"uid": 12, "gid": 34, "umask": 0o027},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
            "noNewPrivileges": True,
            "oomScoreAdj": 500,
        }
        config["domainname"] = "example.org"

    script = """
    pwd; echo "$TEST/$EMPTY/$HOME"; id -u; id -g; umask; ulimit -Sn; ulimit -Hn; hostname
    grep -E 'CapBnd|NoNewPrivs' /proc/self/status; cat /proc/self/oom_score_adj
    touch /x 2>/dev/null || echo read-only; echo $$
    cat /proc/sys/kernel/domainname
    """
    assert run(oci, bundle(script, change)) == [
        "/tmp/made",
        "a b",
        "=c///home/ada",  # HOME comes from the container's /etc/passwd
        *("12", "34", "0027", "100", "200", "oci-test"),
        "CapBnd:\t0000000000000021",
        "NoNewPrivs:\t1",
        *("500", "read-only", "1", "example.org"),
    ]


def test_root_is_writable(oci: Runtime, bundle: Bundle, tmp_path: Path, rootfs: Path) -> None:
    """root_readonly_false"""
    own = tmp_path / "own"
    subprocess.run(["cp", "-a", rootfs, own], check=True)

    def change(config: Json) -> None:
        config["root"] = {"path": "../own"}

    run(oci, bundle("echo text >/etc/new", change))
    assert (own / "etc/new").read_text() == "text\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(ociVersion="2.0.0"), "unsupported ociVersion: 2.0.0"),
        (lambda c: c.update(ociVersion=1), "ociVersion: expected a string"),
        (lambda c: c.pop("ociVersion"), "ociVersion: expected a string, found null"),
        (lambda c: c.pop("root"), "root: expected an object"),
        (lambda c: c.pop("process"), "process: expected an object"),
        (lambda c: c["root"].update(path="nope"), "invalid rootfs: "),
        (lambda c: c["root"].update(path="config.json"), "Not a directory"),
        (lambda c: c["process"].update(cwd="tmp"), "cwd: not an absolute path"),
        (lambda c: c["process"].update(args=[]), "args: expected at least one string"),
        (lambda c: c["process"].update(args=["a\0b"]), "NUL"),
        (lambda c: c["process"].update(args="true"), "args: expected a list of strings"),
        (lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_X"}]), "unknown: RLIMIT_X"),
        (
            lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_CPU", "soft": 1}] * 2),
            "soft: 1 is larger than hard, 0",
        ),
        (
            lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_CPU", "hard": 9}] * 2),
            "there twice: RLIMIT_CPU",
        ),
        (lambda c: c["process"].update(terminal=True), "without a console socket"),
        (lambda c: c["linux"].update(namespaces=[{"type": "pid"}] * 2), "is there twice"),
        (lambda c: c["mounts"].append({"destination": "/"}), "cannot mount on the root directory"),
        (
            lambda c: c["mounts"].append({"destination": "/a", "type": "ext4"}),
            "lets no unprivileged user mount type ext4",
        ),
        (
            lambda c: c["mounts"].append(
                {"destination": "/tmp", "type": "bind", "source": "/tmp", "options": ["idmap"]}
            ),
            "cannot map the IDs",
        ),
        (
            lambda c: c["mounts"].append(
                {"destination": "/tmp", "type": "bind", "source": "/nope", "options": ["bind"]}
            ),
            "source not found: /nope",
        ),
        (lambda c: c.update(hooks={"prestart": [{"path": "relative"}]}), "not an absolute path"),
        (
            lambda c: c.update(hooks={"prestart": [{"path": "/bin/true", "timeout": 0}]}),
            "timeout: must be from 1",
        ),
    ],
)
def test_wrong_configurations(
    oci: Runtime, bundle: Bundle, change: Callable[[Json], object], words: str
) -> None:
    """create, start, misc_props: an error, and nothing is left."""
    failed = oci("create", "-b", bundle("", change), "c", check=False)
    assert failed.status == 1
    assert words in failed.messages()[-1]["msg"]
    assert not oci.root.exists() or list(oci.root.iterdir()) == []


def test_unknown_properties(oci: Runtime, bundle: Bundle) -> None:
    """misc_props: "runtimes MUST ignore unknown properties"."""
    path = bundle("echo done", lambda c: c.update({"unknown": {"x": 1}, "annotations": {"": ""}}))
    assert run(oci, path) == ["done"]


def test_hostile_files(oci: Runtime, tmp_path: Path) -> None:
    bundle = tmp_path / "hostile"
    bundle.mkdir()
    config = bundle / "config.json"
    for text in (
        "",
        "[",
        "[" * 100_000,
        '"',
        "null",
        "[]",
        "9" * 5000,
        '{"ociVersion": "\\ud800"}',
    ):
        config.write_text(text)
        failed = oci("create", "-b", bundle, "c", check=False)
        assert failed.status == 1, text[:20]
        assert failed.messages()[0]["msg"].startswith("config.json: ")
    config.write_bytes(b"x" * (SIZE_LIMIT + 1))
    assert "larger than" in oci("create", "-b", bundle, "c", check=False).messages()[0]["msg"]
    config.unlink()
    os.mkfifo(config)
    failed = oci("create", "-b", bundle, "c", check=False)
    assert "not a regular file" in failed.messages()[0]["msg"]
    config.unlink()
    assert "No such file" in oci("create", "-b", bundle, "c", check=False).messages()[0]["msg"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["/x", "1.0.0"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "path",
                    "type",
                    "destination",
                    "options",
                    "args",
                    "cwd",
                    "env",
                    "hooks",
                    "prestart",
                ]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted({*CONFIG, "hooks", "annotations", "domainname"})), VALUES)
def test_any_value(key: str, value: Any) -> None:
    """A configuration is read, or refused in words."""
    for text in (json.dumps(CONFIG | {key: value}), json.dumps(value)):
        for parse in (parse_configuration, parse_process):
            with contextlib.suppress(SundogError):
                parse(text)


# mounts


def test_mounts(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """mounts, mounts_recursive, linux_masked_paths, linux_readonly_paths, linux_sysctl."""
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "file").write_text("of the host\n")

    def change(config: Json) -> None:
        options = ["bind", "ro", "nosuid", "nodev", "noexec"]
        config["mounts"] += [
            {"destination": "/tmp/ro", "type": "none", "source": str(shared), "options": options},
            {"destination": "tmp/rw", "type": "bind", "source": "../shared", "options": ["rbind"]},
            {"destination": "/tmp/file", "source": str(shared / "file"), "options": ["bind"]},
            {"destination": "/missing/point", "type": "tmpfs", "options": ["size=64k", "mode=711"]},
            {"destination": "/dev/shm", "type": "tmpfs", "options": ["mode=1777", "uid=9"]},
            {"destination": "/dev/mqueue", "type": "mqueue"},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]},
        ]
        config["linux"] |= {
            "maskedPaths": ["/proc/keys", "/proc/acpi", "/nope", "/etc"],
            "readonlyPaths": ["/proc/sys", "/nope/at/all", "/tmp/rw/inner"],
            "sysctl": {"kernel.msgmax": "4321"},
        }

    script = """
    touch /tmp/ro/x 2>/dev/null || echo ro; cat /tmp/ro/file /tmp/file; echo new >/tmp/rw/new
    touch /tmp/rw/inner/x 2>/dev/null || echo ro; grep ' /tmp/ro ' /proc/self/mountinfo
    stat -c %a /missing/point /dev/shm; stat -c '%t:%T %a' /dev/null /dev/urandom /proc/keys
    ls /etc; for d in full null ptmx random tty urandom zero; do stat -Lc %F /dev/$d; done
    readlink /dev/fd; readlink /dev/stdin; echo >/proc/sys/kernel/hostname || echo ro
    echo x >/dev/null; head -c 3 /dev/zero | wc -c; df /missing/point | tail -1
    cat /proc/sys/kernel/msgmax
    umount /etc || echo locked
    """
    lines = run(oci, bundle(script, change))
    assert (shared / "new").read_text() == "new\n"
    assert not (shared / "inner/x").exists()
    assert lines[:4] == ["ro", "of the host", "of the host", "ro"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(lines[4].split()[5].split(","))
    assert lines[5:7] == ["711", "1777"]
    assert lines[7:10] == ["1:3 666", "1:9 666", "1:3 666"]
    assert lines[10:17] == ["character special file"] * 7
    assert lines[17:19] == ["/proc/self/fd", "/proc/self/fd/0"]
    assert lines[19] == "ro"
    assert lines[-2:] == ["4321", "locked"]


@pytest.mark.parametrize("destination", ["/tmp/b/c/d", "/tmp/../tmp/b/c", "/tmp/./b//c"])
def test_nothing_is_made_in_a_directory_of_the_host(
    oci: Runtime, bundle: Bundle, tmp_path: Path, destination: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()

    def change(config: Json) -> None:
        config["mounts"] += [
            {"destination": "/tmp/b", "type": "bind", "source": str(shared), "options": ["bind"]},
            {"destination": destination, "type": "tmpfs"},
        ]

    failed = oci("create", "-b", bundle("", change), "c", check=False)
    assert "missing below another mount, where nothing is created" in failed.messages()[0]["msg"]
    assert list(shared.iterdir()) == []


def test_one_warning_for_each_kind(oci: Runtime, bundle: Bundle) -> None:
    def change(config: Json) -> None:
        config["process"] |= {
            "user": {"uid": 0, "gid": 0, "additionalGids": [0, 1, 2]},
            "apparmorProfile": "x",
            "selinuxLabel": "y",
            "oomScoreAdj": -999,
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}],
        }
        config["linux"] |= {
            "resources": {"memory": {"limit": 1}, "devices": [{"allow": False}]},
            "cgroupsPath": "/x",
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 65536}],
            "devices": [{"path": "/dev/nope", "type": "c", "major": 1, "minor": 2}],
            "sysctl": {"vm.swappiness": "1", "../../x": "1", "kernel.printk": "4"},
        }
        config["linux"]["namespaces"] += [{"type": "time"}, {"type": "new"}]

    told = warnings(oci, bundle("true", change))
    kinds = [text.partition(" left out")[0].partition(": ")[0] for text in told]
    assert sorted(kinds) == [
        "linux.devices",
        "linux.namespaces",
        "linux.namespaces",
        "linux.resources",
        "linux.seccomp",
        "linux.sysctl",
        "linux.uidMappings",
        "process.apparmorProfile",
        "process.oomScoreAdj",
        "process.rlimits",
        "process.selinuxLabel",
        "process.user.additionalGids",
    ]


def test_no_warning_without_need(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The configuration that runc makes for rootless containers needs nothing else."""
    path = tmp_path / "rootless"
    path.mkdir()
    subprocess.run(["runc", "spec", "--rootless"], cwd=path, check=True)
    config = json.loads((path / "config.json").read_text())
    made = bundle("echo done", None)
    own = json.loads((made / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", "echo done"]}
    config["root"] = own["root"]
    (path / "config.json").write_text(json.dumps(config))
    done = oci("run", "-b", path, "c")
    assert (done.stdout, done.stderr) == ("done\n", "")


# namespaces


def test_namespaces(oci: Runtime, bundle: Bundle) -> None:
    """linux_ns_itype, linux_ns_nopath: new where it says so, the host's elsewhere."""
    names = {"ipc": "ipc", "network": "net", "pid": "pid", "uts": "uts", "cgroup": "cgroup"}
    script = "; ".join(f"readlink /proc/self/ns/{name}" for name in names.values())
    host = [os.readlink(f"/proc/self/ns/{name}") for name in names.values()]

    def only(*kinds: str) -> Callable[[Json], None]:
        def change(config: Json) -> None:
            config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
            config["hostname"] = ""

        return change

    found = run(oci, bundle(script, only("user", "mount")))
    assert found == host
    *found, loopback = run(oci, bundle(script + "; ifconfig lo", only("mount", *names)))[:7]
    assert [a == b for a, b in zip(found[:5], host, strict=True)] == [False] * 5
    assert "127.0.0.1" in loopback


@pytest.mark.parametrize("kind", ["pid", "ipc", "user"])
def test_a_site_without_namespaces(oci: Runtime, bundle: Bundle, kind: str) -> None:
    """Sites limit kinds of namespaces; only the user namespace has no substitute."""
    line = f'echo 0 >/proc/sys/user/max_{kind}_namespaces; exec "$@"'
    argv = [*oci.argv(), "--log-format=json", "run", "-b", str(bundle("echo $$")), "c"]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", line, "sh", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    (message,) = map(json.loads, done.stderr.splitlines())
    if kind == "user":
        assert done.returncode == 1
        assert "user.max_user_namespaces is 0" in message["msg"]
    else:
        assert (done.returncode, message["level"]) == (0, "warning")
        assert f"no {kind} namespace here" in message["msg"]
        assert (done.stdout == "1\n") == (kind == "ipc")


def test_hostname_needs_a_namespace(oci: Runtime, bundle: Bundle) -> None:
    change = lambda config: config["linux"]["namespaces"].remove({"type": "uts"})  # noqa: E731
    assert warnings(oci, bundle("true", change)) == ["hostname left out: it needs a UTS namespace"]


# hooks


def hook(text: str, **more: Any) -> Json:
    return {"path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/bin:/usr/bin"], **more}


STAGES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def test_hooks(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """hooks, hooks_stdin, prestart, poststart, poststop: order, state, and where they run."""
    log = tmp_path / "log"
    log.touch()

    def change(config: Json) -> None:
        where = "echo $(cat) $(readlink /proc/self/ns/uts) $(pwd)"
        config["hooks"] = {
            stage: [hook(f"echo {stage}-{number} $({where}) >> {log}") for number in (1, 2)]
            for stage in STAGES
        }
        bind = {"destination": str(log), "type": "bind", "source": str(log), "options": ["bind"]}
        config["mounts"].append(bind)
        config["annotations"] = {"org.test": "x" * 200_000}  # longer than a message

    script = f"echo command none $(readlink /proc/self/ns/uts) $(pwd) >>{log}"
    path = bundle(script, change)
    oci("create", "-b", path, "c")
    pid = oci("state", "c").json()["pid"]
    oci("start", "c")
    oci.await_status("c", "stopped")
    oci("delete", "c")
    lines = log.read_text().splitlines()
    names = [line.split()[0] for line in lines]
    expected = [f"{stage}-{number}" for stage in STAGES for number in (1, 2)]
    # The command runs after startContainer, and poststart beside it.
    assert [name for name in names if name != "command"] == expected
    assert names.index("startContainer-2") < names.index("command") < names.index("poststop-1")
    own = os.readlink("/proc/self/ns/uts")
    inside = {line.split()[-2] for line in lines if line.startswith("command")}
    statuses = {}
    for line in lines:
        name, _, rest = line.partition(" ")
        if name == "command":
            continue
        text, namespace, directory = rest.rsplit(" ", 2)
        stage = name.partition("-")[0]
        is_inside = stage in ("createContainer", "startContainer")
        assert {namespace} == (inside if is_inside else {own}), name
        assert directory == ("/" if stage == "startContainer" else str(path)), name
        state = json.loads(text)
        statuses[stage] = state["status"]
        assert (state["id"], state["bundle"]) == ("c", str(path))
        assert state["annotations"] == {"org.test": "x" * 200_000}
        assert state.get("pid") == (None if stage == "poststop" else pid)
    assert statuses == {
        "prestart": "creating",
        "createRuntime": "creating",
        "createContainer": "creating",
        "startContainer": "creating",
        "poststart": "running",
        "poststop": "stopped",
    }


@pytest.mark.parametrize("stage", STAGES)
def test_failing_hooks(oci: Runtime, bundle: Bundle, tmp_path: Path, stage: str) -> None:
    """prestart_fail, poststart_fail, poststop_fail; the poststop hooks run even so."""
    later, stopped = tmp_path / "later", tmp_path / "stopped"
    hooks = {"poststop": [hook(f"cat >{stopped}")]}
    hooks[stage] = [hook("echo why >&2; exit 3"), hook(f"touch {later}")]
    path = bundle("sleep 30", lambda config: config.update(hooks=hooks))
    text = f"{stage} hook 1 failed: /bin/sh: exit status 3: why"
    if stage == "poststop":
        oci("create", "-b", path, "c")
        warned = oci("delete", "c")
        assert [(line["level"], line["msg"]) for line in warned.messages()] == [("warning", text)]
    elif stage in ("startContainer", "poststart"):
        oci("create", "-b", path, "c")
        failed = oci("start", "c", check=False)
        assert (failed.status, failed.messages()[0]["msg"]) == (1, text)
        oci.await_status("c", "stopped")
    else:
        failed = oci("create", "-b", path, "c", check=False)
        assert (failed.status, failed.messages()[0]["msg"]) == (1, text)
        assert list(oci.root.iterdir()) == []
        assert json.loads(stopped.read_text())["status"] == "stopped"
    assert not later.exists()


def test_the_time_of_a_hook_is_up(oci: Runtime, bundle: Bundle) -> None:
    hooks = {"prestart": [hook("exec sleep 50", timeout=1)]}
    path = bundle("true", lambda config: config.update(hooks=hooks))
    failed = oci("create", "-b", path, "c", check=False)
    assert failed.messages()[0]["msg"].endswith("it ran longer than 1 s")


def test_a_hook_of_the_image_gets_no_interpreter_of_the_host(
    oci: Runtime, bundle: Bundle, rootfs: Path
) -> None:
    (rootfs / "bin/hook").write_text("#!/proc/self/exe\nopen('/ran', 'w')\n")
    (rootfs / "bin/hook").chmod(0o755)
    hooks = {"startContainer": [{"path": "/bin/hook"}]}
    path = bundle("true", lambda config: config.update(hooks=hooks))
    oci("create", "-b", path, "c")
    failed = oci("start", "c", check=False)
    assert failed.status == 1
    assert "Too many levels of symbolic links" in failed.messages()[0]["msg"]
    assert not (rootfs / "ran").exists()


def test_a_hook_of_an_image_that_has_made_proc(
    oci: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """Python looks at /proc/self/stat when it forks; here that waits for ever."""
    (tmp_path / "own/self").mkdir(parents=True)
    os.mkfifo(tmp_path / "own/self/stat")

    def change(config: Json) -> None:
        config["mounts"][0] = {
            "destination": "/proc",
            "type": "bind",
            "source": str(tmp_path / "own"),
            "options": ["bind"],
        }
        config["process"]["user"] = {"uid": 12, "gid": 34}  # root needs a /proc at the start
        config["hooks"] = {"startContainer": [hook("test -p /proc/self/stat")]}

    path = bundle("echo ran", change)
    oci("create", "-b", path, "c")
    oci("start", "c")
    oci.await_status("c", "stopped")
    assert "ran" in oci.output()


def test_a_hook_sees_the_namespaces(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """A hook can look at the namespaces of the process that waits, as network plug-ins do."""
    out = tmp_path / "out"
    text = "sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' | { read p; readlink /proc/$p/ns/uts; }"
    hooks = {"createRuntime": [hook(f"{text} >{out}")]}
    path = bundle("readlink /proc/self/ns/uts", lambda config: config.update(hooks=hooks))
    assert run(oci, path) == out.read_text().splitlines()


# descriptors and terminals


def test_descriptors(oci: Runtime, bundle: Bundle) -> None:
    """--preserve-fds, LISTEN_FDS and PMI_FD: no others get into the container."""
    read_end, write_end = os.pipe()
    ours, theirs = socket.socketpair()
    fds = (3, 4, 5)
    before = [os.dup(read_end) for _ in fds]
    script = "ls -l /proc/self/fd >/tmp/fds; grep -Ec 'pipe|socket' /tmp/fds"
    script += "; echo $LISTEN_FDS:$LISTEN_PID:$$"

    def pass_three(
        words: str, change: Callable[[Json], object] | None = None, **env: str
    ) -> list[str]:
        opened = f"3<&{read_end} 4<&{read_end} 5<&{theirs.fileno()}"
        argv = ["bash", "-c", f'exec {opened}; exec "$@"', "sh"]
        argv += [*oci.argv(), "run", *words.split()]
        with (oci.directory / "out").open("w") as out:
            subprocess.run(
                [*argv, "-b", str(bundle(script, change)), "c"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                pass_fds=[read_end, theirs.fileno()],
                env=os.environ | env,
                check=True,
            )
        return (oci.directory / "out").read_text().splitlines()

    for fd in (*before, write_end):
        os.set_inheritable(fd, False)
    assert pass_three("") == ["0", "::1"]
    assert pass_three("--preserve-fds 2") == ["2", "::1"]
    assert pass_three("", LISTEN_FDS="1") == ["1", "1:1:1"]
    assert pass_three("--preserve-fds=1", LISTEN_FDS="2") == ["3", "2:1:1"]
    # PMI-1 and PMI-2 of Slurm: the variable names a socket that the process has.
    # A pipe or a file of the caller, which the variable of an image might name, does not pass.
    for number, count in (("5", "1"), ("4", "0"), ("6", "0"), ("x", "0")):

        def name(config: Json, number: str = number) -> None:
            config["process"]["env"].append(f"PMI_FD={number}")

        assert pass_three("", name) == [count, "::1"]
    for fd in (*before, read_end, write_end):
        os.close(fd)
    ours.close()
    theirs.close()


def test_console_socket(oci: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """process.terminal: the master goes through the socket, and its size is set."""
    place = tmp_path / ("long" * 30)
    place.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(place):
        listener.bind("socket")
    listener.listen()
    received: list[tuple[bytes, list[int]]] = []

    def receive() -> None:
        connection, _ = listener.accept()
        with connection:
            message, fds, _, _ = socket.recv_fds(connection, 100, 4)
        received.append((message, fds))

    thread = threading.Thread(target=receive)
    thread.start()

    def change(config: Json) -> None:
        config["process"] |= {"terminal": True, "consoleSize": {"height": 33, "width": 77}}

    script = "tty; stat -c %t:%T /dev/console; stty size; read line; echo got $line"
    path = bundle(script, change)
    oci("create", "-b", path, "--console-socket", place / "socket", "c")
    thread.join()
    ((name, (master,)),) = received
    assert name == b"/dev/pts/0"
    oci("start", "c")
    os.write(master, b"text\n")
    output = b""
    while b"got text" not in output:
        output += os.read(master, 1000)
    assert b"/dev/pts/0" in output.split()  # the terminal may show the line before that
    assert b"88:0" in output
    assert stat.S_ISCHR(os.fstat(master).st_mode)
    os.close(master)
    listener.close()
    until(lambda: oci.status("c") == "stopped")


def test_features(oci: Runtime) -> None:
    features = oci("features").json()
    assert (features["ociVersionMin"], features["ociVersionMax"]) == ("1.0.0", "1.2.0")
    assert features["hooks"] == list(STAGES)
    assert {"bind", "rbind", "ro", "rro", "nosuid"} <= set(features["mountOptions"])
    assert features["linux"]["namespaces"] == [
        *("cgroup", "ipc", "mount", "network", "pid", "user", "uts")
    ]
    assert not features["linux"]["seccomp"]["enabled"]


def test_reasons() -> None:
    assert all(NOT_APPLICABLE.values())
