"""``ch-run --device``: programs in the container find a driver of the host.

dlopen(3) decides: a program looks for libraries by their names, in Debian and in Alpine.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conftest import command, run_program
from tests.runtime.devices.driver import (
    VERSION,
    Driver,
    compile_library,
    compile_loader,
    write_specification,
)
from tests.runtime.launcher.compiled import Compiled, python_start
from tests.runtime.launcher.conftest import ENVIRONMENT, Completed, make_image, messages

Start = Callable[..., Completed]

OTHER_FOLDER = "/usr/lib64/driver"  # as a host of another distribution has it
DEBIAN_FOLDER = "/usr/lib/x86_64-linux-gnu"
DEVICE = "--device=nvidia.com/gpu=all"
FOUND = [
    "libcuda.so: host libcuda",
    "libcuda.so.1: host libcuda",
    "libnvidia-ml.so.1: host libnvidia-ml",
]
SOUGHT = [line.partition(":")[0] for line in FOUND]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def driver(place: Path) -> Driver:
    return Driver(place / "driver")


class Machine:
    """A machine with a driver, an image of Debian, and a program that looks for libraries."""

    def __init__(self, place: Path, driver: Driver, debian_tar: Path) -> None:
        self.driver = driver
        self.loader = compile_loader(place / "loader")
        self.debian = place / "debian"
        self.debian.mkdir()
        unpack: list[str | Path] = [
            "tar",
            "-C",
            self.debian,
            "--exclude=./dev/*",
            "-xf",
            debian_tar,
        ]
        subprocess.run(unpack, check=True)


@pytest.fixture(scope="module")
def machine(place: Path, driver: Driver, debian_tar: Path) -> Machine:
    return Machine(place, driver, debian_tar)


@pytest.fixture(scope="module")
def alpine(place: Path, alpine_tar: Path) -> Path:
    """A storage directory with the image ``alpine``, and a file with it."""
    storage = {"CH_IMAGE_STORAGE": str(place / "storage")}
    run_program([*command("ch-image"), "import", str(alpine_tar), "alpine"], env=storage)
    run_program([*command("ch-convert"), "alpine", str(place / "alpine.sqfs")], env=storage)
    return place


@pytest.fixture
def start(installed: Path, place: Path, tmp_path: Path) -> Start:
    def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Completed:
        variables = ENVIRONMENT | {"CH_IMAGE_STORAGE": str(place / "storage")}
        variables |= {"CH_RUN_CDI_DIRS": str(tmp_path / "cdi")} | dict(env or {})
        return subprocess.run(
            [python_start(installed), *arguments],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


def specify(tmp_path: Path, edits: Mapping[str, object], name: str = "gpu.json") -> Path:
    return write_specification(tmp_path / "cdi" / name, edits)


def found_by(done: Completed) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("options", ["", "-W", "--notify", "-t --seccomp", "--join"])
@pytest.mark.parametrize("folder", [OTHER_FOLDER, DEBIAN_FOLDER])
def test_debian_finds_the_driver(
    start: Start, machine: Machine, tmp_path: Path, folder: str, options: str
) -> None:
    specify(tmp_path, machine.driver.edits(folder))
    before = sorted(os.listdir(machine.debian / "usr"))
    words = [*options.split(), DEVICE, "-b", f"{machine.loader}:/loader", machine.debian, "--"]
    assert found_by(start(*words, "/loader", *SOUGHT)) == FOUND
    shell = f"echo $GPU $NVIDIA_VISIBLE_DEVICES; readlink {folder}/libcuda.so.1"
    assert found_by(start(*words, "sh", "-c", shell)) == ["all void", f"libcuda.so.{VERSION}"]
    # The image has nothing of it.
    assert sorted(os.listdir(machine.debian / "usr")) == before
    assert not os.path.lexists(f"{machine.debian}{folder}/libcuda.so.1")


def test_ldconfig_agrees(start: Start, machine: Machine, tmp_path: Path) -> None:
    """The image's own ldconfig reads the cache, and keeps the libraries when it makes one."""
    specify(tmp_path, machine.driver.edits(OTHER_FOLDER))
    lists = []
    for shell in ("ldconfig -p", "ldconfig && ldconfig -p"):
        done = start(
            "-W", DEVICE, machine.debian, "--", "sh", "-c", f"PATH=/usr/sbin:$PATH; {shell}"
        )
        lists.append({line.split(" (")[0].strip() for line in found_by(done) if "=>" in line})
    assert set(SOUGHT) <= lists[0]
    assert lists[0] == lists[1]
    for name, wanted in ((OTHER_FOLDER, 1), (DEBIAN_FOLDER, 0)):
        specify(tmp_path, machine.driver.edits(name))
        done = start(
            DEVICE, machine.debian, "--", "grep", "-c", "/etc/ld.so.cache", "/proc/self/mountinfo"
        )
        assert int(done.stdout) == wanted, name


@pytest.mark.parametrize("image", ["alpine", "alpine.sqfs"])
def test_musl_finds_the_driver(
    start: Start, alpine: Path, driver: Driver, tmp_path: Path, image: str
) -> None:
    loader = compile_loader(tmp_path / "loader", ["musl-gcc"])
    specify(tmp_path, driver.edits(OTHER_FOLDER))
    word = alpine / image if image.endswith("sqfs") else image
    done = start(DEVICE, "-b", f"{loader}:/loader", word, "--", "/loader", *SOUGHT)
    assert found_by(done) == FOUND


NOTE = json.dumps({"CUDA Version": "12.8", "Driver": ["535", "550"]})


@pytest.mark.parametrize(
    "case",
    [
        (["--host-driver-version", VERSION], NOTE, "image"),
        (["--host-driver-version=545.1.2"], NOTE, "host libcuda"),
        (["--host-driver-version", "580.1.2"], NOTE, "host libcuda"),
        (["--host-cuda-version", "12.4"], NOTE, "image"),
        (["--host-cuda-version", "13.0"], NOTE, "host libcuda"),
        (["--host-driver-version", VERSION], "", "image"),
        (["--host-driver-version", "570.2"], "", "host libcuda"),
        (["--host-driver-version", VERSION], "{", "host libcuda"),
    ],
)
def test_compatible_libraries_of_the_image(
    start: Start, machine: Machine, tmp_path: Path, case: tuple[list[str], str, str]
) -> None:
    host, note, origin = case
    compat = machine.debian / "usr/local/cuda/compat/libcuda.so.570.1"
    compile_library(compat, "libcuda.so.1", "image", note)
    edits = machine.driver.edits(OTHER_FOLDER)
    hooks = edits["hooks"]
    assert isinstance(hooks, list)
    specify(tmp_path, edits | {"hooks": [*hooks, machine.driver.hook("enable-cuda-compat", *host)]})
    done = start(
        DEVICE, "-b", f"{machine.loader}:/loader", machine.debian, "--", "/loader", "libcuda.so.1"
    )
    compat.unlink()
    assert found_by(done) == [f"libcuda.so.1: {origin}"]


def test_order_of_variables(start: Start, image: Path, tmp_path: Path) -> None:
    write_specification(
        tmp_path / "cdi" / "v.json", {"env": ["GPU=cdi", "X=$HOME"]}, {"0": {"env": ["Y=1"]}}
    )
    device = "--device=nvidia.com/gpu=0"
    for words, value in (
        ([device], "cdi"),
        (["--set-env=GPU=mine", device], "cdi"),
        ([device, "--set-env=GPU=mine"], "mine"),
        (["--unset-env=*", device], "cdi"),
        (["--devices"], "cdi"),
        (["-d", "--unset-env=GPU"], ""),
    ):
        done = start(*words, image, "--", "sh", "-c", "echo $GPU:$X")
        assert found_by(done) == [f"{value}:$HOME"], words


def test_mounts_with_options(start: Start, image: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    mounts = [
        {"hostPath": str(data), "containerPath": "/opt/ro", "options": ["ro", "noexec", "rbind"]},
        {"hostPath": str(data), "containerPath": "/opt/rw", "options": ["bind"]},
        {"hostPath": "tmpfs", "containerPath": "/opt/tmp", "type": "tmpfs"},
        {"hostPath": "x", "containerPath": "/opt/x", "type": "ext4", "options": ["odd"]},
    ]
    specify(tmp_path, {"mounts": mounts})
    done = start(
        DEVICE, image, "--", "sh", "-c", "echo >/opt/rw/a; echo >/opt/tmp/b; echo >/opt/ro/c"
    )
    assert done.returncode != 0
    assert b"/opt/ro/c: Read-only file system" in done.stderr
    assert b"warning: /opt/x: a mount of type ext4 is not possible" in done.stderr
    assert os.listdir(data) == ["a"]
    done = start(DEVICE, image, "--", "cat", "/proc/self/mountinfo")
    ((flags,),) = [[line.split()[5]] for line in found_by(done) if " /opt/ro " in line]
    assert {"ro", "noexec"} <= set(flags.split(","))


def test_what_is_missing(start: Start, image: Path, tmp_path: Path) -> None:
    mount = {"hostPath": "/no/such/file", "containerPath": "/opt/file"}
    specify(tmp_path, {"mounts": [mount]})
    done = start(DEVICE, image, "--", "true")
    assert done.returncode == 31
    error, hint = messages(done)[:2]
    assert error == "error: can't bind: source not found: /no/such/file"
    assert "generate the specification again" in hint
    specify(tmp_path, {"deviceNodes": [{"path": "/dev/no-such-gpu"}]})
    assert "no device /dev/no-such-gpu" in messages(start(DEVICE, image, "--", "true"))[0]
    specify(tmp_path, {"deviceNodes": [{"path": "/dev/null", "type": "b"}]})
    assert "not a device of type b" in messages(start(DEVICE, image, "--", "true"))[0]
    done = start("--device=nvidia.com/gpu=9", image, "--", "true")
    assert messages(done)[0] == "error: no such CDI device: nvidia.com/gpu=9"


def test_device_nodes(start: Start, image: Path) -> None:
    done = start(
        "--device=/dev/null",
        "--device=/dev/zero:/opt/zero:rw",
        image,
        "--",
        "stat",
        "-c",
        "%t:%T %F",
        "/opt/zero",
    )
    assert found_by(done) == ["1:5 character special file"]
    done = start("--device=/dev/null", "-vv", image, "--", "true")
    assert "device /dev/null of the host's /dev" in messages(done)
    done = start("--device=/dev/zero:x:y", image, "--", "true")
    assert done.returncode == 64


def test_links_to_nodes_are_the_hosts(
    start: Start, image: Path, driver: Driver, tmp_path: Path
) -> None:
    link = driver.hook("create-symlinks", "--link", "../card1::/dev/dri/by-path/no-such-card")
    specify(tmp_path, {"hooks": [link]})
    assert found_by(start(DEVICE, image, "--", "true")) == []


def test_what_nobody_can_have(start: Start, image: Path, tmp_path: Path) -> None:
    own = os.getegid()
    document = {
        "cdiVersion": "1.1.0",
        "kind": "nvidia.com/gpu",
        "containerEdits": {
            "additionalGids": [own, 54321],
            "intelRdt": {"closID": "x"},
            "netDevices": [{"hostInterfaceName": "ib0", "name": "ib0"}],
        },
        "devices": [{"name": "all", "containerEdits": {"env": ["A=1"]}}],
    }
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi" / "x.json").write_text(json.dumps(document))
    done = start(DEVICE, image, "--", "true")
    assert done.returncode == 0
    texts = messages(done)
    assert any("additionalGids: you are not in group 54321," in text for text in texts)
    assert any("intelRdt: " in text for text in texts)
    assert any("netDevices: ib0 " in text for text in texts)


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """A program of the host that writes into the container, as its state says."""
    path = tmp_path / "hook"
    path.write_text(
        "#!/bin/sh\n"
        f"cat >{tmp_path}/state\n"
        f'bundle=$(sed \'s/.*bundle":"//; s/".*//\' {tmp_path}/state)\n'
        'root=$(sed \'s/.*path":"//; s/".*//\' $bundle/config.json)\n'
        'test -n "$root" && echo "$1 $X" >$root/tmp/made\n'
    )
    path.chmod(0o755)
    return path


def test_other_hooks_run_on_request(start: Start, image: Path, tmp_path: Path, hook: Path) -> None:
    entry = {
        "hookName": "createContainer",
        "path": str(hook),
        "args": ["hook", "word"],
        "env": ["X=1"],
        "timeout": (1 << 63) - 1,
    }
    late = {"hookName": "poststop", "path": "/bin/late"}
    specify(tmp_path, {"hooks": [entry, late]})
    words = ["-W", "-t", DEVICE, image, "--", "cat", "/tmp/made"]
    done = start(*words)
    assert done.returncode != 0
    warning = b"warning: hooks of CDI that do not run: hook word, late; --cdi-hooks runs them\n"
    assert warning in done.stderr
    done = start("--cdi-hooks", *words)
    assert found_by(done) == ["word 1"]
    assert messages(done) == ["warning: hooks of CDI that do not run: late"]
    state = json.loads((tmp_path / "state").read_text())
    assert state["status"] == "created"
    hook.write_text("#!/bin/sh\necho no GPU >&2\nexit 3\n")
    done = start("--cdi-hooks", *words)
    assert done.returncode == 31
    assert f"createContainer hook of CDI failed: {hook}: exit status 3: no GPU" in messages(done)[1]


def test_a_hook_of_the_image_stops_no_other_one(start: Start, image: Path, tmp_path: Path) -> None:
    """Python looks at /proc/self/stat when it forks; a hook has made it a FIFO."""
    texts = (
        "mount -t tmpfs none /proc && mkdir /proc/self && mkfifo /proc/self/stat",
        "umount /proc",
    )
    hooks = [
        {"hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", text]}
        for text in texts
    ]
    specify(tmp_path, {"hooks": hooks})
    (image / "bin/mkfifo").symlink_to("busybox")
    done = start("--cdi-hooks", "-u0", "-W", DEVICE, image, "--", "true")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("options", ["", "-W", "-w"])
def test_links_of_an_image_stay_inside(
    start: Start, tmp_path: Path, driver: Driver, options: str
) -> None:
    image, victim = make_image(tmp_path / "hostile"), tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("host")
    (image / "lib").mkdir()
    (image / "lib" / "ld-linux-x86-64.so.2").touch()
    (image / "usr").mkdir()
    (image / "usr/lib64").symlink_to(f"../../../../../../../../../..{victim}")
    (image / "etc/ld.so.cache").symlink_to(victim / "file")
    specify(tmp_path, driver.edits("/usr/lib64/driver"))
    start(*options.split(), DEVICE, image, "--", "true")
    assert os.listdir(victim) == ["file"]
    assert (victim / "file").read_text() == "host"


def test_the_plan_has_it_all(start: Start, machine: Machine, tmp_path: Path) -> None:
    specify(tmp_path, machine.driver.edits(OTHER_FOLDER))
    lines = found_by(start("--dry-run", DEVICE, machine.debian, "--", "true"))
    file = machine.driver.files["libcuda"]
    assert f"bind {file} at {OTHER_FOLDER}/{file.name} (created)" in lines
    assert f"link to {file.name} at {OTHER_FOLDER}/libcuda.so.1 (created)" in lines
    assert (
        f"extend the dynamic linker's cache by {OTHER_FOLDER} at /etc/ld.so.cache (desired)"
        in lines
    )
    assert "environment: GPU=all" in lines


def test_compiled_start_hands_over(compiled: Compiled, image: Path, tmp_path: Path) -> None:
    for words in (
        [DEVICE],
        ["--device", "a/b=c"],
        ["--devices"],
        ["-d"],
        ["--cdi-dirs=x"],
        ["--cdi-hooks"],
    ):
        assert (
            compiled.reason([*words, image, "--", "true"], ENVIRONMENT, tmp_path) == "a rare option"
        )
