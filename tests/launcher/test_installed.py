"""``ch-run`` as pip installs it: found anywhere, fast, and the command's world is the caller's."""

import ast
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.launcher.conftest import ENVIRONMENT, messages
from tests.launcher.installation import (
    CHECKOUT,
    JOINED,
    NOTIFY,
    VERSION,
    install,
    interpreter,
    joined_text,
    load_packaging,
    trace,
)

# What a shell may be called on this machine; a stub must do with each.
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]

# What the launcher imports besides the modules that the interpreter itself has at start-up.
ALLOWED_MODULES = {"_ctypes", "errno"}
# Compiled, all of them.
ALLOWED_FOR_NOTIFY = {
    *("_ctypes", "_signal", "_socket", "_struct", "errno", "fcntl", "gc", "posix", "resource"),
    *("select", "sys", "time"),
}


def version_of(command: Path | str, *, cwd: Path | None = None, **env: str) -> bytes:
    done = subprocess.run(
        [command, "--version"],
        env=ENVIRONMENT | env,
        cwd=cwd,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


# The joined module


@pytest.mark.parametrize(
    ("module", "entry"),
    [
        (JOINED.stem, "start_from_stub"),
        (NOTIFY, "attendant_for"),
    ],
)
def test_the_rules_of_floor_0_are_kept(module: str, entry: str) -> None:
    """Joining checks them: names of one meaning, and imports that can be joined."""
    tree = ast.parse(joined_text(module))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names))
    assert entry in names
    ours = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sundog")
    ]
    assert ours == []
    assert "__import__" not in joined_text(NOTIFY)  # it is for after the change of root
    imported = {
        name
        for node in ast.walk(ast.parse(joined_text(NOTIFY)))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= ALLOWED_FOR_NOTIFY


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ("X = 1", "X = 2", "X is defined in sundog.a and in sundog.launcher.main"),
        ("X = []", "X = []", "X is defined in sundog.a and in sundog.launcher.main"),
        ("X = 1", "from c import X", "X is defined in sundog.a and in sundog.launcher.main"),
        ("def f(): pass", "class f: pass", "f is defined in sundog.a"),
        ("", "from sundog.a import x as y", "import x as y"),
        ("", "import sundog.a", "import sundog.a"),
        ("def add(): pass", "", "add is defined in the prelude and in sundog.a"),
        ("", "def f(): from sundog.a import x", "no addition begins there: from sundog.a"),
    ],
)
def test_a_module_that_cannot_be_joined(
    tmp_path: Path, first: str, second: str, complaint: str
) -> None:
    package = tmp_path / "sundog"
    (package / "launcher").mkdir(parents=True)
    (package / "a.py").write_text(first)
    (package / "launcher" / "main.py").write_text(f"from sundog.a import x\n{second}\n")
    joiner = load_packaging("join_launcher")
    with pytest.raises(joiner.JoinError, match=re.escape(complaint)):
        joiner.join(tmp_path, JOINED.stem)


def test_what_is_left_out(tmp_path: Path) -> None:
    package = tmp_path / "sundog"
    (package / "launcher").mkdir(parents=True)
    (package / "a.py").write_text('"""Doc."""\nimport os\nUSED = 1\nUNUSED = USED\nTWICE = 2\n')
    (package / "launcher" / "main.py").write_text(
        '"""Doc."""\nimport os\nimport sys\nfrom sundog.a import USED\nTWICE = 2\n'
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import typing\n"
        'def start_from_stub(x: int = USED) -> "str":\n    """Doc."""\n    y: int = os.getpid()\n'
        "    z: int\n    return os.path.join(y, TWICE)\n"
    )
    joined = load_packaging("join_launcher").join(tmp_path, JOINED.stem)
    assert joined[joined.index("import posix") :] == (
        "import posix\nUSED = 1\nTWICE = 2\n\n"
        "def start_from_stub(x=USED):\n    y = posix.getpid()\n"
        "    return __import__('os').path.join(y, TWICE)\nstart_from_stub()\n"
    )


def test_only_light_modules_are_imported(installed: Path, image: Path) -> None:
    """Asked of the running launcher: by an audit hook's event at its execve."""
    module = installed.parents[1] / "lib" / VERSION / "site-packages" / JOINED
    program = (
        "import posix, sys\n"
        "def hook(event, _):\n"
        "    if event == 'os.exec':\n"
        "        posix.write(2, repr(sorted(sys.modules)).encode())\n"
        "sys.addaudithook(hook)\n"
        "exec(compile(open(sys.argv.pop(1)).read(), 'ch_run', 'exec'))\n"
    )
    done = subprocess.run(
        [interpreter(), "-I", "-S", "-E", "-c", program, module, "", image, "--", "/bin/true"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    modules = set(ast.literal_eval(done.stderr.decode()))
    bare = subprocess.run(
        [interpreter(), "-I", "-S", "-E", "-c", "import sys; print(sorted(sys.modules))"],
        capture_output=True,
        check=True,
    )
    assert modules - set(ast.literal_eval(bare.stdout.decode())) == ALLOWED_MODULES
    assert not modules & {"os", "ctypes", "re", "enum", "site"}


def test_notify_opens_one_module_more(installed: Path, image: Path, tmp_path: Path) -> None:
    """Not the forty that it was joined from."""
    log = tmp_path / "log"
    command: list[str | Path] = [installed, "--notify", image, "--", "/bin/true"]
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=openat", "-e", "signal=none", "-o", log, *command],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    opened = re.findall(r"/(sundog/\S*)\.cpython-\d+\.pyc\S* .* = \d+$", log.read_text(), re.M)
    assert [name.replace("__pycache__/", "") for name in opened] == [
        "sundog/launcher/ch_run",
        "sundog/launcher/ch_run_notify",
    ]


def test_the_plain_modules_do_the_same(image: Path) -> None:
    environment = ENVIRONMENT | {"PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "sundog.launcher", image, "--", "sh", "-c", "echo $PPID; exit 3"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, b"%d\n" % os.getpid())


# Where it is installed


def test_it_is_found_through_links_and_after_a_move(tmp_path: Path) -> None:
    command = install(tmp_path / "a prefix")
    version = version_of(command)
    (tmp_path / "link").symlink_to("a prefix/bin/ch-run")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    (tmp_path / "opt").symlink_to("a prefix")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "bin").symlink_to(tmp_path / "opt" / "bin")
    for path in ("link", "link2", "opt/bin/ch-run", "elsewhere/bin/ch-run"):
        assert version_of(tmp_path / path) == version
        assert version_of(f"./{path}", cwd=tmp_path) == version
    assert version_of("ch-run", PATH=f"{command.parent}:/usr/bin:/bin") == version
    (tmp_path / "a prefix").rename(tmp_path / "moved")
    assert version_of(tmp_path / "moved" / "bin" / "ch-run") == version


def test_without_an_interpreter_beside_it(tmp_path: Path) -> None:
    """As ``pip install --prefix`` and ``--user`` leave it: ch-image knows the interpreter."""
    for site in ("site-packages", "dist-packages"):
        command = install(tmp_path / site, site=site)
        (command.parent / VERSION).unlink()
        done = subprocess.run(
            [command, "--version"], env=ENVIRONMENT, capture_output=True, check=False
        )
        if done.returncode:
            assert done.returncode == 31
            assert messages(done) == [
                f"error: no {VERSION} beside {command}, nor in $PATH",
            ]
        (command.parent / "ch-image").write_text(f"#!{interpreter()}\n")
        version = version_of(command, PATH="/bin")
        (command.parent / "ch-image").write_text("#!/bin/sh\n'''exec' /a path\n")
        (tmp_path / VERSION).unlink(missing_ok=True)
        (tmp_path / VERSION).symlink_to(interpreter())
        assert version_of(command, PATH=f"{tmp_path}:/bin") == version


def test_a_target_directory(tmp_path: Path) -> None:
    """As ``pip install --target`` leaves it."""
    command = install(tmp_path)
    (tmp_path / "lib" / VERSION / "site-packages" / "sundog").rename(tmp_path / "sundog")
    shutil.rmtree(tmp_path / "lib")
    (command.parent / VERSION).rename(command.parent / "python3")
    assert version_of(command)


def test_nothing_compiled(tmp_path: Path, image: Path) -> None:
    """As uv leaves it: the first start compiles, if it may."""
    command = install(tmp_path / "prefix", compiled=False)
    module = tmp_path / "prefix" / "lib" / VERSION / "site-packages" / JOINED
    cache = module.parent / "__pycache__"
    module.parent.chmod(0o555)
    assert version_of(command)
    assert not cache.exists()
    module.parent.chmod(0o755)
    assert version_of(command)
    assert [path.name for path in cache.iterdir()] == [f"ch_run.{sys.implementation.cache_tag}.pyc"]
    # What was compiled from another version is not run.
    module.write_text(module.read_text() + "\n")
    os.utime(module, (1, 1))
    module.write_text("import posix\nposix.write(2, b'new\\n')\n")
    assert version_of(command) == b"new\n"


def test_what_the_wheel_holds(installed: Path) -> None:
    """In ``make test`` pip built and installed it."""
    module = installed.parents[1] / "lib" / VERSION / "site-packages" / JOINED
    assert module.read_text() == joined_text()
    assert module.with_stem(NOTIFY).read_text() == joined_text(NOTIFY)
    assert list((module.parent / "__pycache__").glob("ch_run.*.pyc"))
    assert installed.read_bytes() == (CHECKOUT / "packaging" / "ch-run").read_bytes()


# The command's world


@pytest.fixture(params=SHELLS)
def stub(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The installed command, run by one of the shells that /bin/sh may be."""
    command = install(tmp_path / "prefix")
    shell = shutil.which(request.param)
    applet = " sh" if request.param == "busybox" else " --posix" if request.param == "bash" else ""
    text = command.read_text().removeprefix("#!/bin/sh\n")
    command.write_text(f"#!{shell}{applet}\n{text}")
    return command


def shell_of(stub: Path) -> str:
    first, _ = stub.read_text().split("\n", 1)
    return next(shell for shell in SHELLS if shell in first)


def environment_in(stub: Path, image: Path, env: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [stub, image, "--", "/bin/cat", "/proc/self/environ"],
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(os.fsdecode(item).split("=", 1) for item in done.stdout.split(b"\0") if item)


# All shells set IFS anew, for safety; the rest is told in inherited.py.
NOT_KEPT = {
    "dash": ["IFS"],
    "bash": ["IFS", "PS1", "OLDPWD", "_"],
    "busybox": ["IFS", "SHLVL"],
}
BY_CH_RUN = {"HOME": "/", "CH_RUNNING": "Weird Al Yankovic"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_ALL": "", "LANG": "POSIX", "LC_CTYPE": ""},
        {"SHLVL": "3", "_": "/somewhere/ch-run", "OLDPWD": "/x"},
        {"IFS": "/", "PS1": "x", "CDPATH": "/", "ENV": "/nonexistent", "OPTIND": "1"},
        {"PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent", "PYTHONSTARTUP": "x"},
        {"bin": "1", "self": "2", "lib": "3", "python": "4", "ignored": "5"},
        {"A": "\udcff\n \u20ac=", "EMPTY": ""},
    ],
)
def test_the_environment_is_the_callers(stub: Path, image: Path, more: dict[str, str]) -> None:
    base = {"PATH": "/usr/bin:/bin", "PWD": os.getcwd()}
    found = environment_in(stub, image, base | more)
    expected = base | more | BY_CH_RUN
    for name in NOT_KEPT[shell_of(stub)]:
        found.pop(name, None)
        expected.pop(name, None)
    assert found == expected


def test_an_empty_environment_stays_empty(stub: Path, image: Path) -> None:
    found = environment_in(stub, image, {})
    if shell_of(stub) == "busybox":  # sets a PATH, which is no one's to take away
        assert set(found) == {*BY_CH_RUN, "PATH", "PWD", "SHLVL"}
    else:
        assert found == BY_CH_RUN


SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM]


@pytest.mark.parametrize(
    "ignored",
    [
        [],
        [signal.SIGPIPE],
        [signal.SIGXFSZ],
        [signal.SIGINT, signal.SIGQUIT],
        [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM],
    ],
)
@pytest.mark.parametrize("blocked", [[], [signal.SIGUSR1], [signal.SIGPIPE]])
def test_signals(stub: Path, image: Path, ignored: list[int], blocked: list[int]) -> None:
    def ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    done = subprocess.run(
        [stub, image, "--", "cat", "/proc/self/status"],
        env=ENVIRONMENT,
        capture_output=True,
        restore_signals=False,
        preexec_fn=ignore,
        check=False,
    )
    found = dict(re.findall(r"(?m)^(Sig\w+|ShdPnd):\t([0-9a-f]+)$", done.stdout.decode()))
    if signal.SIGPIPE in blocked:
        # With the signal blocked the stub cannot tell.
        ignored = [*ignored, signal.SIGPIPE]
    assert int(found["SigIgn"], 16) & mask(SIGNALS) == mask(set(ignored) & set(SIGNALS))
    assert int(found["SigBlk"], 16) == mask(blocked)
    assert int(found["SigPnd"], 16) == int(found["ShdPnd"], 16) == 0
    assert int(found["SigCgt"], 16) == 0


def mask(signals: Collection[int]) -> int:
    return sum(1 << number - 1 for number in signals)


@pytest.mark.parametrize("extra", [[], [5], [3, 4, 9]])
def test_open_files(stub: Path, image: Path, extra: list[int]) -> None:
    """Those that were inherited, and no others."""

    redirections = " ".join(f"{number}>&1" for number in extra)
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirections}', stub, image, "--", "ls", "/proc/self/fd"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    numbers = {int(word) for word in done.stdout.split()}
    own = {min(set(range(10)) - {0, 1, 2, *extra})}  # of the directory that ls reads
    assert numbers == {0, 1, 2, *extra} | own


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files(stub: Path, image: Path, closed: str, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    script = f'"$0" "$1" -- sh -c "ls /proc/self/fd >/tmp/fds; exit 7" {closed}'
    env = ENVIRONMENT | {"TMPDIR": str(tmp_path / "t")}
    done = subprocess.run(["sh", "-c", script, stub, image], env=env, check=False)
    assert done.returncode == 7
    numbers = {int(word) for word in (tmp_path / "t" / "fds").read_text().split()}
    assert max(numbers) <= 3


def test_limits(stub: Path, image: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 50))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    done = subprocess.run(
        [stub, image, "--", "cat", "/proc/self/limits"],
        env=ENVIRONMENT,
        capture_output=True,
        preexec_fn=limit,
        check=False,
    )
    assert re.search(rb"Max open files +40 +50 ", done.stdout)


# What it costs


def test_path_calls(installed: Path, image: Path, tmp_path: Path) -> None:
    """At most 120 and 40 where the bare interpreter makes 58 and 15."""
    for name in ("hosts", "resolv.conf", "machine-id"):
        (image / "etc" / name).touch()
    bare = trace(tmp_path / "log", installed.parent / VERSION, "-I", "-S", "-E", "-c", "pass")
    ours = trace(tmp_path / "log", installed, image, "--", "true")
    assert ours[0] - bare[0] <= 120 - 58
    assert ours[1] - bare[1] <= 40 - 15
