"""A server that runs the parsers of the compiled ``ch-run`` under AddressSanitizer and UBSan."""

import re
import struct
import subprocess
from pathlib import Path

from tests.runtime.launcher.compiled import NATIVE, write_header

SANITIZED = ["-std=gnu11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# It replaces the arena.  The sanitizer then knows the end of each string.
ALLOCATE = """static size_t memory_used;
static void *allocate(size_t size)
{
    if (size > memory_limit - memory_used) decline("memory");
    memory_used += (size + 15) & ~(size_t)15;
    return calloc(1, size ? size : 1);
}
"""

Answer = list[tuple[str, ...]]


class Server:
    """A process of the harness, which answers ``ask``."""

    def __init__(self, directory: Path) -> None:
        self.directory = write_header(directory)
        text = (NATIVE / "text.c").read_text()
        text, found = re.subn(r"static void \*allocate\(.*?\n}\n", ALLOCATE, text, flags=re.S)
        assert found == 1
        (directory / "text.c").write_text(text)
        program = directory / "harness"
        source = Path(__file__).with_name("harness.c")
        command: list[str | Path] = [
            "gcc",
            *SANITIZED,
            "-I",
            directory,
            "-I",
            NATIVE,
            source,
            "-o",
            program,
        ]
        subprocess.run(command, check=True)
        self._process = subprocess.Popen(
            [program],
            cwd=directory,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, what: str, data: bytes) -> Answer | None:
        """Return the lines of the answer; None if the C declines.  A crash fails the test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what.encode() + struct.pack("<I", len(data)) + data)
        self._process.stdin.flush()
        lines: Answer = []
        while True:
            line = self._process.stdout.readline()
            assert line, f"it crashed: {what} {data!r}"
            words = tuple(line.rstrip(b"\n").decode(errors="replace").split(" "))
            if words[0] == "end":
                assert words == ("end", "0"), (what, data)
                return None if lines and lines[-1][0] == "declined" else lines
            lines.append(words)

    def close(self) -> None:
        self._process.communicate(timeout=60)
