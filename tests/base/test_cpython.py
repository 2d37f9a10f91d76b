"""The private parts of CPython that we use: each Python has them, and one module names them."""

import argparse
import http.client
import re
import socket
import subprocess
import sys

from scripts.place import CHECKOUT

from sundog.base.cpython import NAMES

# Attributes of public classes, which the modules use at one or two places.
ATTRIBUTES = {
    argparse: "_SubParsersAction",
    argparse.ArgumentParser(): "_actions",
    http.client.HTTPResponse: "_close_conn _read_status _read_next_chunk_size"
    " _read_and_discard_trailer",
    socket.socket: "_accept",
    sys: "_getframe",
}
# What runs before the package: see its docstring.
FIRST = {
    "joined.py": {"_frozen_importlib_external": ["SourceFileLoader"]},
    "start.py": {"_frozen_importlib_external": ["PathFinder"], "_thread": ["RLock"]},
}
IMPORT = re.compile(r"^ *(?:import|from) (_(?!_future__|typeshed)\w+)", re.MULTILINE)
OURS = re.compile(r"^ *from sundog\.base\.cpython import (\([^)]*\)|[^\n]*)", re.MULTILINE)


def available() -> dict[str, list[str]]:
    """Return the names that this version of Python must have."""
    found = {module: names.split() for module, names in NAMES.items()}
    if sys.version_info < (3, 14):
        del found["_zstd"]
    return found


def test_this_python_has_each_name() -> None:
    for module, names in [
        *available().items(),
        *(each for of in FIRST.values() for each in of.items()),
    ]:
        for name in names:
            assert hasattr(__import__(module), name), (module, name)
    for place, attributes in ATTRIBUTES.items():
        for attribute in attributes.split():
            assert hasattr(place, attribute), (place, attribute)


def test_one_module_names_them() -> None:
    """No other module imports from them, and each name in the table has a user."""
    package = CHECKOUT / "src" / "sundog"
    found, used = {}, set()
    for path in {*package.rglob("*.py")} - {package / "base" / "cpython.py"}:
        text = path.read_text("utf-8")
        if private := IMPORT.findall(text):
            found[str(path.relative_to(package))] = private
        for names in OURS.findall(text):
            used.update(re.findall(r"\w+", re.sub(r"#.*", "", names)))
    assert found == {name: [*modules] for name, modules in FIRST.items()}
    assert sorted(used) == sorted(name for names in NAMES.values() for name in names.split())


def test_an_import_loads_one_module() -> None:
    """A start that needs a constant of sockets does not load ``_ctypes``."""
    program = (
        "import sys\n"
        "def new(before=set(sys.modules)): return set(sys.modules) - before\n"
        "import sundog.base.cpython\n"
        f"private = {set(NAMES)!r} - set(sys.builtin_module_names)\n"
        "assert not new() & private, new()\n"
        "from sundog.base.cpython import AF_UNIX, Array\n"
        "assert new() & private <= {'_socket', '_ctypes'}, new()\n"
        "assert {'_socket', '_ctypes'} <= set(sys.modules)\n"
        "try:\n"
        "    from sundog.base.cpython import gethostbyname\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "cannot import name 'gethostbyname' from 'sundog.base.cpython'" in done.stdout
