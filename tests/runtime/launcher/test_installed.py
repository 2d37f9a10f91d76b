"""The installed ``ch-run`` works in any directory and starts fast.

The command inherits the environment, signals, files and limits of the caller.
"""

import ast
import functools
import os
import pwd
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scripts.place import CHECKOUT

from sundog.base.kernel.process import execve
from tests.runtime.launcher.conftest import ENVIRONMENT, messages
from tests.runtime.launcher.installation import (
    CHILD_CALLS,
    CHILD_OPENS,
    JOIN,
    JOINED,
    NOTIFY,
    STUB,
    VERSION,
    compiled_start,
    install,
    interpreter,
    joined_text,
    load_packaging,
    make_storage,
    stub_of,
    trace,
)

# The shells of this machine.  The stub must work with each.
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]

# The launcher imports only these modules beyond those that the interpreter imports at start-up.
ALLOWED_MODULES = {"_ctypes", "errno"}
# All of these are extension modules or built in.
ALLOWED_FOR_NOTIFY = {
    *(
        "_ctypes",
        "_signal",
        "_socket",
        "_struct",
        "errno",
        "fcntl",
        "gc",
        "itertools",
        "posix",
        "resource",
    ),
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
        (JOIN, "group_for"),
    ],
)
def test_the_rules_of_floor_0_are_kept(module: str, entry: str) -> None:
    """The join checks the rules: each name has one meaning, and each import can be joined."""
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
    assert "__import__" not in joined_text(NOTIFY)  # the module runs after the change of root
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
        ("X = 1", "X = 2", "X is defined in sundog.a and in sundog.runtime.launcher.main"),
        ("X = []", "X = []", "X is defined in sundog.a and in sundog.runtime.launcher.main"),
        (
            "X = 1",
            "from c import X",
            "X is defined in sundog.a and in sundog.runtime.launcher.main",
        ),
        ("def f(): pass", "class f: pass", "f is defined in sundog.a"),
        ("", "from sundog.a import x as y", "import x as y"),
        ("", "import sundog.a", "import sundog.a"),
        ("", "from sundog.a import _x", "from sundog.a import _x"),
        ("", "from os import getpid", "import the module os as a whole: from os import getpid"),
        ("def add(): pass", "", "add is defined in the prelude and in sundog.a"),
        ("", "def f(): from sundog.a import x", "no addition begins there: from sundog.a"),
    ],
)
def test_a_module_that_cannot_be_joined(
    tmp_path: Path, first: str, second: str, complaint: str
) -> None:
    package = tmp_path / "sundog"
    (package / "runtime" / "launcher").mkdir(parents=True)
    (package / "a.py").write_text(first)
    (package / "runtime" / "launcher" / "main.py").write_text(f"from sundog.a import x\n{second}\n")
    joiner = load_packaging("join_launcher")
    with pytest.raises(joiner.JoinError, match=re.escape(complaint)):
        joiner.join(tmp_path, JOINED.stem)


def test_additions_do_not_redefine_each_other() -> None:
    """A start may load several of them into one namespace."""
    joiner = load_packaging("join_launcher")
    known: dict[str, tuple[str, str]] = {}
    for name, module in joiner.MODULES.items():
        if not module.is_addition or name == "ch_run_server":  # it has a process of its own
            continue
        for statement in ast.parse(joiner.join(CHECKOUT / "src", name)).body:
            for defined in joiner.defined_names(statement):
                text = ast.unparse(statement)
                other, before = known.setdefault(defined, (name, text))
                assert before == text, f"{defined} in {other} and in {name}"


def test_what_is_left_out(tmp_path: Path) -> None:
    package = tmp_path / "sundog"
    (package / "runtime" / "launcher").mkdir(parents=True)
    (package / "a.py").write_text('"""Doc."""\nimport os\nUSED = 1\nUNUSED = USED\nTWICE = 2\n')
    (package / "runtime" / "launcher" / "main.py").write_text(
        '"""Doc."""\nimport os\nimport sys\nfrom sundog.a import USED\nTWICE = 2\n'
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import typing\n"
        'def start_from_stub(x: int = USED) -> "str":\n    """Doc."""\n    y: int = os.getpid()\n'
        "    z: int\n    return os.path.join(y, TWICE)\n"
    )
    joined = load_packaging("join_launcher").join(tmp_path, JOINED.stem)
    assert joined[joined.index("import posix") :] == (
        "import posix\nUSED = 1\nTWICE = 2\n\n"
        "def start_from_stub(x=USED):\n    y = posix.getpid()\n"
        "    return __import__('os').path.join(y, TWICE)\n"
        "start_from_stub() if __name__ == '__main__' else start_within\n"
    )


# Each module has these private names, and other things that have the same names.
PRIVATE = """
import _signal
_x: int = {number}
_pair, _late = (_x, "_x"), 0
class _Box:
    _x = "attribute"
    _seen = [_pair[0] for _ in "1"]
    def __init__(self, _late, *_pair, **keywords):
        self._x, self.found = _late, (_pair, keywords, _x)
def _key(_x, _y=_x):
    return lambda: (_x, _y, f"{{_x}} _x {{_pair}}", [_x for _x in [_late]], [(_z := _x)])
def _count():
    global _late, _new
    _late, _new = _late + 1, _signal.SIGINT
    def _inner(_pair=_pair):
        nonlocal _local
        _local = _late, _pair
    _local = None
    _inner()
    return _local
def {name}():
    box = _Box("given", *_pair, _x=_x)
    match {{"a": 1, "b": 2}}:
        case {{"a": _found, **_rest}}:
            pass
    try:
        raise ValueError(_x)
    except ValueError as _key_error:
        caught = str(_key_error)
    kept = box._x, box.found, _Box._x, _Box._seen, _found, _rest, caught
    return kept, _key("own")(), _count(), _late, _new
"""


def test_equal_private_names(tmp_path: Path) -> None:
    """Each module keeps its own, in the joined module as in plain ones."""
    package = tmp_path / "sundog" / "runtime" / "launcher"
    package.mkdir(parents=True)
    first, second = (PRIVATE.format(number=at, name=name) for at, name in ((1, "one"), (2, "two")))
    (tmp_path / "sundog" / "a.py").write_text(first)
    end = "start_from_stub = start_within = lambda: (one(), two())\n"
    (package / "main.py").write_text(f"from sundog.a import one\n{second}{end}")
    plain: dict[str, Any] = {}
    exec(first, plain)
    expected = [plain["one"]()]
    plain = {}
    exec(second, plain)
    expected.append(plain["two"]())
    assert expected[0] != expected[1]
    joined: dict[str, Any] = {"__name__": "joined"}
    exec(load_packaging("join_launcher").join(tmp_path, JOINED.stem), joined)
    assert [*joined["start_within"]()] == expected


FRONTS = ("sundog.front.cli.sundog_joined", "sundog.front.cli.apptainer_joined")


@pytest.mark.parametrize("name", FRONTS)
def test_names_of_a_front_have_one_meaning(tmp_path: Path, name: str) -> None:
    """Its joined module stands for all modules that it is made of, with what each defines."""
    joiner = load_packaging("join_launcher")
    assert tuple(joiner.FRONTS) == FRONTS
    (tmp_path / "front.py").write_text(joiner.join_front(CHECKOUT / "src", name))
    program = (
        "import sys, front\n"
        "sys.path.append(sys.argv[1])\n"
        "for name in front.STANDS_FOR:\n"
        "    module = __import__(name, fromlist=['x'])\n"
        "    for word, value in vars(module).items():\n"
        "        if getattr(value, '__module__', None) == name:\n"
        "            if word.startswith('_'):\n"
        "                word += '__' + name.partition('.')[2].replace('.', '_')\n"
        "            found = getattr(front, word)\n"
        "            assert found.__module__ == name and found is not value, (name, word)\n"
    )
    argv = [sys.executable, "-B", "-c", program, str(CHECKOUT / "src")]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    package = tmp_path / "sundog" / "front" / "cli"
    package.mkdir(parents=True)
    (package / "sundog.py").write_text("from sundog.front.cli.b import x\nX = 1\n")
    for entry in joiner.FRONTS[name][1:]:
        (package / entry.rpartition(".")[2]).with_suffix(".py").write_text("def X(): pass\n")
    (package / "b.py").write_text("def x(): from sundog.a import y\n")
    with pytest.raises(joiner.JoinError, match=r"X is defined in \S*\.sundog and"):
        joiner.join_front(tmp_path, name)


def test_only_light_modules_are_imported(installed: Path, image: Path) -> None:
    """An audit hook lists the modules of the running launcher at its last step."""
    module = installed.parents[1] / "lib" / VERSION / "site-packages" / JOINED
    program = (
        "import posix, sys\n"
        "def hook(event, what):\n"
        "    if event == 'ctypes.dlsym/handle' and 'fcntl' in str(what):\n"
        "        posix.write(2, repr(sorted(sys.modules)).encode())\n"
        "sys.addaudithook(hook)\n"
        "exec(compile(open(sys.argv.pop(1)).read(), 'ch_run', 'exec'))\n"
    )
    done = subprocess.run(
        [interpreter(), "-I", "-S", "-E", "-c", program, module, ":", image, "--", "/bin/true"],
        env=ENVIRONMENT | {"USER": pwd.getpwuid(os.getuid()).pw_name},
        capture_output=True,
        check=False,
    )
    # The first line is a warning, because there is no stub.
    modules = set(ast.literal_eval(done.stderr.decode().splitlines()[-1]))
    bare = subprocess.run(
        [interpreter(), "-I", "-S", "-E", "-c", "import sys; print(sorted(sys.modules))"],
        capture_output=True,
        check=True,
    )
    assert modules - set(ast.literal_eval(bare.stdout.decode())) == ALLOWED_MODULES
    assert not modules & {"os", "ctypes", "re", "enum", "site"}


# By joined module, what its text may grow to: each start reads it.
SIZES = {
    "ch_run": 220_000,
    "ch_run_notify": 142_000,
    "ch_run_answering": 246_000,
    "ch_run_rare": 66_000,
    "sundog.front.cli.sundog_joined": 114_000,
    "sundog.front.cli.apptainer_joined": 200_000,
    "sundog.front.cli.apptainer_start": 86_000,
}


def test_sizes() -> None:
    """A start of --notify reads the first four; a supervisor runs the third, seldom the fourth."""
    joiner = load_packaging("join_launcher")
    fronts = {name: joiner.join_front(CHECKOUT / "src", name) for name in joiner.FRONTS}
    fronts[joiner.START] = joiner.join_start(CHECKOUT / "src")
    found = {name: len(fronts.get(name) or joined_text(name)) for name in SIZES}
    assert {name: size for name, size in found.items() if size > SIZES[name]} == {}


def test_the_supervisor_loads_nothing_of_the_container(installed: Path, image: Path) -> None:
    """What it loads late was read before: a file of the image at that path is no module."""
    module = installed.parents[1] / "lib" / VERSION / "site-packages" / JOINED
    for name in ("ch_run_answering", "ch_run_rare"):
        planted = image / module.with_stem(name).relative_to("/")
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.write_text("import posix\nposix.write(2, b'taken')\n")
    script = f"test -e {module.with_stem('ch_run_rare')} && hostname other"  # a rare call
    done = subprocess.run(
        [installed, "--notify", "-v", image, "--", "sh", "-c", script],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert b"sethostname=1" in done.stderr
    assert b"could not answer" not in done.stderr
    assert b"taken" not in done.stderr


def test_notify_opens_few_modules_more(installed: Path, image: Path, tmp_path: Path) -> None:
    """The launcher opens the joined modules, not the forty modules of their source."""
    log = tmp_path / "log"
    command: list[str | Path] = [installed, "--notify", image, "--", "/bin/true"]
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=openat", "-e", "signal=none", "-o", log, *command],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    opened = re.findall(r".*/(sundog/\S*)\.cpython-\d+\.pyc\S* .* = \d+$", log.read_text(), re.M)
    assert [name.replace("__pycache__/", "") for name in opened] == [
        "sundog/runtime/launcher/ch_run",
        "sundog/runtime/launcher/ch_run_notify",
        "sundog/runtime/launcher/ch_run_rare",
        "sundog/runtime/launcher/ch_run_answering",
    ]


def test_the_plain_modules_do_the_same(image: Path) -> None:
    environment = ENVIRONMENT | {"PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sundog.runtime.launcher",
            image,
            "--",
            "sh",
            "-c",
            "echo $PPID; exit 3",
        ],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, b"%d\n" % os.getpid())


# Places of the installation

Layout = Callable[..., Path]


@pytest.fixture(params=[False, True], ids=["script", "compiled"])
def lay_out(request: pytest.FixtureRequest) -> Layout:
    return functools.partial(install, native=request.param)


def test_it_is_found_through_links_and_after_a_move(lay_out: Layout, tmp_path: Path) -> None:
    command = lay_out(tmp_path / "a prefix")
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


def test_without_an_interpreter_beside_it(lay_out: Layout, tmp_path: Path) -> None:
    """``pip install --prefix`` or ``--user``: the first line of sundog-python names it."""
    for site in ("site-packages", "dist-packages"):
        command = lay_out(tmp_path / site, site=site)
        (command.parent / VERSION).unlink()
        done = subprocess.run(
            [command, "--version"], env=ENVIRONMENT, capture_output=True, check=False
        )
        if done.returncode:
            assert done.returncode == 31
            assert messages(done) == [
                f"error: no {VERSION} beside {command}, nor in $PATH",
            ]
        (command.parent / "sundog-python").write_text(f"#!{interpreter()}\n")
        version = version_of(command, PATH="/bin")
        (command.parent / "sundog-python").write_text("#!/bin/sh\n'''exec' /a path\n")
        (tmp_path / VERSION).unlink(missing_ok=True)
        (tmp_path / VERSION).symlink_to(interpreter())
        assert version_of(command, PATH=f"{tmp_path}:/bin") == version


def test_a_target_directory(lay_out: Layout, tmp_path: Path) -> None:
    """The layout of ``pip install --target``."""
    command = lay_out(tmp_path)
    (tmp_path / "lib" / VERSION / "site-packages" / "sundog").rename(tmp_path / "sundog")
    shutil.rmtree(tmp_path / "lib")
    (command.parent / VERSION).rename(command.parent / "python3")
    assert version_of(command)


def test_no_bytecode(lay_out: Layout, tmp_path: Path, image: Path) -> None:
    """The layout of uv: the first start compiles the module and keeps the result if it can."""
    command = lay_out(tmp_path / "prefix", bytecode=False)
    module = tmp_path / "prefix" / "lib" / VERSION / "site-packages" / JOINED
    cache = module.parent / "__pycache__"
    module.parent.chmod(0o555)
    assert version_of(command)
    assert not cache.exists()
    module.parent.chmod(0o755)
    assert version_of(command)
    assert [path.name for path in cache.iterdir()] == [f"ch_run.{sys.implementation.cache_tag}.pyc"]
    # The launcher does not run bytecode of another version of the module.
    module.write_text(module.read_text() + "\n")
    os.utime(module, (1, 1))
    module.write_text("import posix\nposix.write(2, b'new\\n')\n")
    assert version_of(command) == b"new\n"


def test_what_the_wheel_holds(installed: Path) -> None:
    """In ``make test`` pip builds and installs the wheel."""
    module = installed.parents[1] / "lib" / VERSION / "site-packages" / JOINED
    joiner = load_packaging("join_launcher")
    for name in joiner.MODULES:
        assert module.with_stem(name).read_text() == joined_text(name)
    for name in joiner.FRONTS:
        path = module.parents[3] / f"{name.replace('.', '/')}.py"
        assert path.read_text() == joiner.join_front(CHECKOUT / "src", name)
    path = module.parents[3] / f"{joiner.START.replace('.', '/')}.py"
    assert path.read_text() == joiner.join_start(CHECKOUT / "src")
    assert list((module.parent / "__pycache__").glob("ch_run.*.pyc"))
    stub = installed.parents[1] / STUB
    assert stub.read_bytes() == (CHECKOUT / "packaging" / "ch-run").read_bytes()
    assert installed.read_bytes() == compiled_start()


# What the command inherits


class Start(NamedTuple):
    """A ``ch-run`` with its options and variables; ``shell`` runs the stub, "" if none does."""

    command: Path
    options: list[str]
    variables: dict[str, str]
    shell: str

    def argv(self, image: Path, *words: str) -> list[str]:
        return [str(self.command), *self.options, str(image), "--", *words]


@pytest.fixture(scope="module")
def installations(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that installs a kind of start once, and returns the command.

    Tests must not write to the installation.
    """

    @functools.cache
    def installation(kind: str) -> Path:
        prefix = tmp_path_factory.mktemp("installation") / "prefix"
        return install(prefix, native=True) if kind == "native" else run_by(kind, prefix)

    return installation


@pytest.fixture(params=[*SHELLS, "compiled", "handing over"])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, installations: Callable[[str], Path]
) -> Start:
    """The stub under each shell; the compiled start that serves; the one that hands over."""
    if request.param == "compiled":
        options = ["-s", str(make_storage(tmp_path / "storage"))]
        return Start(installations("native"), options, {"SUNDOG_START": "compiled"}, "")
    if request.param == "handing over":  # it finds no accounts
        (tmp_path / "storage").mkdir(mode=0o700)
        options = ["-s", str(tmp_path / "storage")]
        return Start(installations("native"), options, {}, "sh")
    return Start(installations(request.param), [], {}, request.param)


@pytest.fixture(params=SHELLS)
def stub(request: pytest.FixtureRequest, installations: Callable[[str], Path]) -> Path:
    return installations(request.param)


def run_by(name: str, prefix: Path) -> Path:
    """Install the stub so that the shell ``name`` runs it."""
    command = install(prefix)
    shell = shutil.which(name)
    applet = " sh" if name == "busybox" else " --posix" if name == "bash" else ""
    text = command.read_text().removeprefix("#!/bin/sh\n")
    command.write_text(f"#!{shell}{applet}\n{text}")
    return command


def environment_in(start: Start, image: Path, strings: list[bytes]) -> list[bytes]:
    """Start ``ch-run`` with the environment ``strings``; return the environment of its command."""
    read_end, write_end = os.pipe()
    argv = [os.fsencode(word) for word in start.argv(image, "/bin/cat", "/proc/self/environ")]
    pid = os.fork()
    if pid == 0:
        os.dup2(write_end, 1)
        os._exit(-execve(argv[0], argv, strings))
    os.close(write_end)
    with open(read_end, "rb") as stream:
        found = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return found.split(b"\0")[:-1]


BY_CH_RUN = [b"HOME=/", b"CH_RUNNING=Weird Al Yankovic"]


@pytest.mark.matrix
@pytest.mark.parametrize(
    "strings",
    [
        [],
        [b"LC_CTYPE=C"],
        [b"LC_CTYPE=C.UTF-8"],
        [b"LANG=C"],
        [b"LC_ALL=C"],
        [b"LC_ALL=", b"LANG=POSIX", b"LC_CTYPE="],
        [b"SHLVL=3", b"_=/somewhere/ch-run", b"OLDPWD=/x", b"PWD=/wrong"],
        [b"SHLVL=0"],
        [b"IFS=/", b"PS1=x", b"CDPATH=/", b"ENV=/nonexistent", b"OPTIND=1", b"PS4=+", b"PPID=7"],
        [b"PYTHONHOME=/nonexistent", b"PYTHONPATH=/nonexistent", b"PYTHONSTARTUP=x"],
        [b"_ch_environment=1", b"_ch_file=2", b"_ch_lib=3", b"_ch_python=4", b"_ch_ignored=5"],
        [b"A=\xff\n \xe2\x82\xac=", b"EMPTY="],
        [b"BASH_FUNC_module%%=() {  eval `modulecmd bash $*`\n}", b"BASH_FUNC_cat%%=() {  :\n}"],
        [b"A=1", b"B=2", b"A=3", b"A=1"],
        [b"no equals sign", b"", b"=", b"=nameless", b"==", b"", b"A"],
    ],
)
def test_the_environment_is_the_callers(start: Start, image: Path, strings: list[bytes]) -> None:
    own = [f"{name}={value}".encode() for name, value in start.variables.items()]
    strings = [b"PATH=/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", *own, *strings]
    assert environment_in(start, image, strings) == strings + BY_CH_RUN


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_variables(start: Start, image: Path, seed: int) -> None:
    """The environment has random names and values, and is larger than the buffer of a pipe."""
    numbers = random.Random(seed)

    def text(length: int) -> bytes:
        return bytes(numbers.choices(range(1, 256), k=numbers.randint(1, length)))

    strings = [text(30).replace(b"=", b"") + b"=" + text(300) for _ in range(1000)]
    own = [f"{name}={value}".encode() for name, value in start.variables.items()]
    strings = [b"PATH=/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", *own, *strings]
    assert environment_in(start, image, strings) == strings + BY_CH_RUN


def test_an_empty_environment_stays_empty(start: Start, image: Path) -> None:
    assert environment_in(start, image, []) == BY_CH_RUN


def test_without_the_stub(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [b"BASH_FUNC_module%%=() {  :\n}", b"A=1", b"A=2", b"no equals sign", b"LC_CTYPE=C"]
    strings = [
        b"PATH=/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        *odd,
        b"PYTHONPATH=%s/src" % bytes(CHECKOUT),
    ]
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write_end, 1)
        argv = [os.fsencode(sys.executable), b"-m", b"sundog.runtime.launcher", bytes(image)]
        os._exit(-execve(argv[0], [*argv, b"--", b"/bin/cat", b"/proc/self/environ"], strings))
    os.close(write_end)
    with open(read_end, "rb") as stream:
        assert stream.read().split(b"\0")[:-1] == strings + BY_CH_RUN
    assert os.waitpid(pid, 0)[1] == 0


def test_an_environment_that_cannot_be_handed_on(stub: Path, image: Path) -> None:
    """The caller uses all descriptors that a shell can name; the stub must not touch them."""
    numbers = range(3, 10)
    redirections = " ".join(f"{number}>&1" for number in numbers)
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirections}', stub, image, "--", "ls", "/proc/self/fd"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    # dash leaves its script open if open(2) returns descriptor 10 directly.
    assert {int(word) for word in done.stdout.split()} - {10, 11} == {*range(10)}
    (warning,) = messages(done)
    assert warning.startswith("warning: variables whose names are no shell identifiers may be lost")


def test_it_leaves_nothing_behind(start: Start, image: Path) -> None:
    """The command has no children: the child that copied the environment has ended."""
    show = "cat /proc/$$/task/$$/children"
    done = subprocess.run(
        start.argv(image, "sh", "-c", f"{show}; :"),
        env=ENVIRONMENT | start.variables | {f"A{number}": "x" * 1000 for number in range(200)},
        capture_output=True,
        check=False,
    )
    # The only child is the command's own cat.  A zombie would be in the list, too.
    assert len(done.stdout.split()) == 1, done


SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM]


@pytest.mark.matrix
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
@pytest.mark.parametrize("blocked", [[], [signal.SIGUSR1], [signal.SIGPIPE], [signal.SIGCHLD]])
def test_signals(start: Start, image: Path, ignored: list[int], blocked: list[int]) -> None:
    def ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    done = subprocess.run(
        start.argv(image, "cat", "/proc/self/status"),
        env=ENVIRONMENT | start.variables,
        capture_output=True,
        restore_signals=False,
        preexec_fn=ignore,
        check=False,
    )
    found = dict(re.findall(r"(?m)^(Sig\w+|ShdPnd):\t([0-9a-f]+)$", done.stdout.decode()))
    if start.shell and signal.SIGPIPE in blocked:
        # The stub can't test a blocked signal.
        ignored = [*ignored, signal.SIGPIPE]
    assert int(found["SigIgn"], 16) & mask(SIGNALS) == mask(set(ignored) & set(SIGNALS))
    if start.shell == "bash":  # bash unblocks SIGCHLD
        blocked = [number for number in blocked if number != signal.SIGCHLD]
    assert int(found["SigBlk"], 16) == mask(blocked)
    assert int(found["SigPnd"], 16) == int(found["ShdPnd"], 16) == 0
    assert int(found["SigCgt"], 16) == 0


def mask(signals: Collection[int]) -> int:
    return sum(1 << number - 1 for number in signals)


@pytest.mark.matrix
@pytest.mark.parametrize("extra", [[], [5], [3, 4, 9]])
def test_open_files(start: Start, image: Path, extra: list[int]) -> None:
    """The command has only the inherited descriptors."""

    redirections = " ".join(f"{number}>&1" for number in extra)
    argv = start.argv(image, "ls", "/proc/self/fd")
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirections}', *argv],
        env=ENVIRONMENT | start.variables,
        capture_output=True,
        check=False,
    )
    numbers = {int(word) for word in done.stdout.split()}
    own = {min(set(range(10)) - {0, 1, 2, *extra})}  # ls reads a directory by it
    assert numbers == {0, 1, 2, *extra} | own


@pytest.mark.matrix
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_files(start: Start, image: Path, closed: str, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    argv = start.argv(image, "sh", "-c", "ls /proc/self/fd >/tmp/fds; exit 7")
    env = ENVIRONMENT | start.variables | {"TMPDIR": str(tmp_path / "t")}
    done = subprocess.run(["sh", "-c", f'"$0" "$@" {closed}', *argv], env=env, check=False)
    assert done.returncode == 7
    numbers = {int(word) for word in (tmp_path / "t" / "fds").read_text().split()}
    assert max(numbers) <= 3


def test_limits(start: Start, image: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 50))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    done = subprocess.run(
        start.argv(image, "cat", "/proc/self/limits"),
        env=ENVIRONMENT | start.variables,
        capture_output=True,
        preexec_fn=limit,
        check=False,
    )
    assert re.search(rb"Max open files +40 +50 ", done.stdout)


# Cost of a start


def test_path_calls_of_python(installed: Path, image: Path, tmp_path: Path) -> None:
    """The launcher adds at most 64 look-ups and 25 opens to those of the bare interpreter.

    The stub's child, which copies the environment, has an allowance of its own.
    """
    for name in ("hosts", "resolv.conf", "machine-id"):
        (image / "etc" / name).touch()
    bare = trace(tmp_path / "log", installed.parent / VERSION, "-I", "-S", "-E", "-c", "pass")
    ours = trace(tmp_path / "log", *stub_of(installed), image, "--", "true")
    assert ours[0] - bare[0] <= 122 - 58 + CHILD_CALLS
    assert ours[1] - bare[1] <= 40 - 15 + CHILD_OPENS


def test_path_calls_of_the_compiled_start(installed: Path, image: Path, tmp_path: Path) -> None:
    storage = make_storage(tmp_path / "storage")
    for name in ("hosts", "resolv.conf", "machine-id"):
        (image / "etc" / name).touch()
    calls, opens = trace(tmp_path / "log", installed, "-s", storage, image, "--", "true")
    assert calls <= 57
    assert opens <= 17
