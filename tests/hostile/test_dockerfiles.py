"""Hostile Dockerfiles: each works with a stated result, or is one clear error with its place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.hostile.builds import Case, Place, make_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
DIGITS = "9" * 5000  # more than Python converts


def doubled(keyword: str, count: int = 40) -> str:
    """Return instructions that each double the value of A."""
    lines = [f"{keyword} A0=0123456789abcdef"]
    lines += [f"{keyword} A{n + 1}=$A{n}$A{n}" for n in range(count)]
    return "\n".join(lines) + "\n"


def big(name: str, size: int = 1 << 24) -> str:
    """Return a FROM and ARGs that make ``name`` ``size`` characters long."""
    lines = ["FROM bb", "ARG A0=0123456789abcdef"]
    count = (size // 16).bit_length() - 1
    lines += [f"ARG A{n + 1}=$A{n}$A{n}" for n in range(count)]
    return "\n".join([*lines, f"ARG {name}=$A{count}"]) + "\n"


def put(name: str, data: bytes | str = b"") -> Callable[[Place], object]:
    """Return a function that writes a file into the context."""

    def prepare(place: Place) -> None:
        path = place.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    return prepare


SYNTAX = [
    Case("empty", "", "no instructions found", 1),
    Case("only comments", "# a\n" * 1000, "no instructions found", 1001),
    Case("NUL character", b"FROM bb\nRUN echo a\0b\n", "a NUL character", 2),
    Case("NUL in JSON", 'FROM bb\nRUN ["/bin/echo", "a\\u0000b"]\n', "a NUL character", 2),
    Case("NUL in a heredoc", b"FROM bb\nRUN <<E\necho \0\nE\n", "a NUL character", 3),
    Case("UTF-16", "FROM bb\n".encode("utf-16"), "a NUL character", 1),
    Case("byte order mark", b"\xef\xbb\xbfFROM bb\nRUN echo ok\n", prints="ok\n"),
    Case("bytes that are no text", b"FROM bb\nRUN echo \xff\xfe\n", prints="\udcff\udcfe\n"),
    Case("a program", b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 50, "a NUL character", 1),
    Case("carriage returns for newlines", "FROM bb\rRUN echo a\r", "FROM needs an image", 1),
    Case("terminal codes", "\x1b[2J\x1b]0;x\x07 bb\n", "unknown instruction", 1),
    Case(
        "continuation for ever", "FROM bb\n" + "\\\n" * 100_000, "no instruction follows", 100_001
    ),
    Case(
        "many continuation lines",
        "FROM bb\nRUN : " + "a \\\n" * 60_000 + "&& echo ok\n",
        prints="ok\n",
    ),
    Case(
        "many comments in an instruction",
        "FROM bb\nRUN echo \\\n" + "# x\n\n" * 60_000 + "ok\n",
        prints="ok\n",
    ),
    Case("an endless instruction", "FROM bb\nRUN " + "a" * MIB, "more than 1 MiB", 2),
    Case(
        "an endless instruction in lines",
        "FROM bb\nRUN " + "aaaaaaa \\\n" * 150_000,
        "more than 1 MiB",
        2,
    ),
    Case("an endless file", b"FROM bb\n" + b"# comment\n" * 1_700_000, "more than 16384 kiB"),
    Case(
        "endless instructions", "FROM bb\n" + "LABEL a=b\n" * 10_000, "more than 10000 instr", 10001
    ),
    Case(
        "a thousand stages", "".join(f"FROM scratch AS s{n}\n" for n in range(1000)) + "FROM bb\n"
    ),
    Case(
        "a chain of stages",
        "FROM scratch AS s0\n"
        + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(300))
        + "COPY f /\n",
    ),
    Case(
        "stages all of one name",
        "FROM bb AS a\n" + "FROM a AS a\n" * 300 + "RUN echo ok\n",
        prints="ok\n",
    ),
    Case("a long keyword", "FROM bb\n" + "X" * 500_000 + "\n", "unknown instruction", 2),
    Case("a long flag", "FROM bb\nCOPY --" + "x" * 500_000 + " f /\n", "has no flag", 2),
    Case("a long name", f"FROM {'x' * 500_000}\n", "image reference", 1),
    Case("escape directive twice", "# escape=`\n# escape=\\\nFROM bb\n", "given twice", 2),
    Case("an escape that is none", "# escape=x\nFROM bb\n", "not an escape character", 1),
    Case("escape at the end", "# escape=`\nFROM bb\nRUN echo a `\n", prints="a\n"),
    Case("a keyword in pieces", "FR\\\nOM bb\nRU\\\nN echo ok\n", prints="ok\n"),
    Case("heredoc without end", "FROM bb\nRUN <<A\n" + "x\n" * 10_000, "not terminated", 2),
    Case("heredoc of no name", "FROM bb\nRUN cat <<'\n", "build failed", 2),
    Case(
        "many heredocs",
        "FROM bb\nRUN cat " + "<<A " * 3000 + "\n" + "A\n" * 2999,
        "not terminated",
        2,
    ),
    Case(
        "heredoc for a descriptor that is none",
        "FROM bb\nRUN cat 999999999<<E\nE\n",
        "build failed",
        2,
    ),
    Case(
        "deep substitution",
        "FROM bb\nENV A=" + "${B:-" * 9999 + "}" * 9999 + "\n",
        "more than 50",
        2,
    ),
    Case(
        "deep substitution in quotes", "FROM bb\nENV A=" + '"${B:-' * 9999 + "\n", "more than 50", 2
    ),
    Case(
        "deep substitution in RUN", "FROM bb\nRUN echo ok # " + "$(" * 50_000 + "\n", prints="ok\n"
    ),
    Case("deep quotes in RUN", "FROM bb\nRUN echo ok # " + '"$(' * 9999 + "\n", prints="ok\n"),
    Case("deep JSON", "FROM bb\nRUN " + "[" * 100_000 + "\n", "build failed", 2),
    Case("numbers in JSON", "FROM bb\nCMD [1]\n", "must hold only strings", 2),
    Case("endless numbers in JSON", f"FROM bb\nCMD [{DIGITS}]\n"),
    Case("half characters in JSON", 'FROM bb\nRUN ["/bin/echo", "\\ud800"]\n', prints="\ufffd\n"),
    Case("an object for JSON", 'FROM bb\nSHELL {"a": 1}\n', "SHELL needs a JSON array", 2),
    Case("an empty shell", "FROM bb\nSHELL []\n", "SHELL needs a JSON array", 2),
    Case("an empty program", 'FROM bb\nRUN [""]\n', "can't execve", 2),
    Case("a shell that is none", 'FROM bb\nSHELL ["/nosuch"]\nRUN x\n', "can't execve", 3),
    Case(
        "ONBUILD in ONBUILD", "FROM bb\nONBUILD ONBUILD RUN x\n", "can't be an ONBUILD trigger", 2
    ),
    Case("ONBUILD FROM", "FROM bb\nONBUILD FROM scratch\n", "can't be an ONBUILD trigger", 2),
    Case("deep ONBUILD", "FROM bb\n" + "ONBUILD " * 100_000 + "\n", "can't be an ONBUILD", 2),
    Case("a variable without a name", "FROM bb\nENV =x\n", "no name before", 2),
    Case(
        "a variable that no shell takes",
        'FROM bb\nENV a-b=1 \'c d\'=2\nRUN ["/bin/grep", "-ac", "a-b=1", "/proc/self/environ"]\n',
        prints="1\n",
    ),
]

NUMBERS = [
    Case("endless port", f"FROM bb\nEXPOSE {DIGITS}\n", "not a port", 2),
    Case("endless range of ports", f"FROM bb\nEXPOSE 1-{DIGITS}\n", "not a port", 2),
    Case("all ports", "FROM bb\nEXPOSE 0-65535/tcp 0-65535/udp 0-65535/sctp\n"),
    Case("endless signal", f"FROM bb\nSTOPSIGNAL {DIGITS}\n", "not a signal", 2),
    Case(
        "endless time", f"FROM bb\nHEALTHCHECK --interval={'9' * 200_000} CMD x\n", "not a time", 2
    ),
    Case("endless count", f"FROM bb\nHEALTHCHECK --retries={DIGITS} CMD x\n", "not a number", 2),
    Case("endless stage", f"FROM bb\nCOPY --from={DIGITS} / /\n", "image reference", 2),
    Case(
        "endless stage of a mount",
        f"FROM bb\nRUN --mount=from={DIGITS},target=/m :\n",
        "image reference",
        2,
    ),
    Case("endless owner", f"FROM bb\nCOPY --chown={DIGITS} f /\n", "no such user", 2),
    Case(
        "endless mode", f"FROM bb\nCOPY --chmod={DIGITS.replace('9', '7')} f /\n", "not a mode", 2
    ),
    Case(
        "endless owner of a mount",
        f"FROM bb\nRUN --mount=type=cache,target=/m,uid={DIGITS} :\n",
        "not a number",
        2,
    ),
    Case(
        "endless size of a mount",
        f"FROM bb\nRUN --mount=type=tmpfs,target=/m,size={'9' * 400}p :\n",
        "too large",
        2,
    ),
    Case(
        "endless user",
        f"FROM bb\nUSER {DIGITS}\nRUN :\n",
        "no such user",
        3,
        options=("--force=notify",),
    ),
]

GROWTH = [
    Case("ARG before FROM", doubled("ARG") + "FROM bb\n", "more than 16 MiB", 22),
    Case("ARG", "FROM bb\n" + doubled("ARG"), "more than 16 MiB", 23),
    Case("ENV", "FROM bb\n" + doubled("ENV"), "more than 16 MiB", 23),
    Case("in quotes", big("A", MIB) + 'ARG B="' + "$A" * 17 + '"\n', "more than 16 MiB"),
    Case("defaults", big("A", MIB) + "ARG B=${N:-" + "$A" * 17 + "}\n", "more than 16 MiB"),
    Case("replacements", big("A", MIB // 64) + "ARG B=${A//?/$A}\n", "more than 16 MiB"),
    Case("heredoc", big("A", MIB) + "COPY <<E /f\n" + "$A" * 17 + "\nE\n", "more than 16 MiB"),
    Case("source of COPY", big("A", MIB) + "COPY $A /\n", "too long for a path"),
    Case("destination of COPY", big("A", MIB) + "COPY f $A\n", "too long for a path"),
    Case("WORKDIR", big("A", MIB) + "WORKDIR $A\n", "too long for a path"),
    Case("target of a mount", big("A", MIB) + "RUN --mount=type=tmpfs,target=/$A :\n", "too long"),
    Case("image", big("A", MIB).replace("FROM bb\n", "") + "FROM $A\n", "image reference"),
    Case("all together", big("A") + "ENV B=$A\nENV C=$A\nENV D=$A\n", "have more than 64 MiB"),
    Case(
        "all before FROM",
        big("A").replace("FROM bb\n", "")
        + "".join(f"ARG B{n}=$A\n" for n in range(9))
        + "FROM bb\n",
        "have more than 64 MiB",
    ),
    Case("environment of RUN", big("A", MIB) + "ENV B=$A\nRUN :\n", "passes at most 131071"),
    Case("names of variables", big("A", MIB) + "ENV B=1\nRUN : ${B}\n", "passes at most 131071"),
]

NAMES = "a" * 250
PATTERNS = [
    Case(
        "COPY",
        "FROM bb\nCOPY " + "a*" * 60 + "b /d/\nRUN ls / | grep -c d$ || true\n",
        prints="0\n",
        prepare=put(NAMES),
    ),
    Case("COPY of classes", "FROM bb\nCOPY " + "*[^b]" * 60 + "b /d/\n", prepare=put(NAMES)),
    Case(
        "ignore file",
        "FROM bb\nCOPY . /d/\nRUN ls /d/x | wc -l\n",
        prints="1\n",
        prepare=lambda place: (
            put(".dockerignore", "**/a*" * 40 + "b\n")(place),
            put("x/" + NAMES)(place),
        ),
    ),
    Case("--exclude", "FROM bb\nCOPY --exclude=" + "**/*a*" * 40 + "b . /d/\n", prepare=put(NAMES)),
    Case("--parents", "FROM bb\nCOPY --parents " + "**/*a*" * 40 + "b /d/\n", prepare=put(NAMES)),
    Case(
        "substitution",
        f"FROM bb\nARG A={NAMES * 99}\nARG B=${{A//{'a*' * 60}b/x}}\nRUN echo ${{#B}}\n",
        prints=f"{250 * 99}\n",
    ),
    Case(
        "prefix",
        f"FROM bb\nARG A={NAMES * 99}\nARG B=${{A##{'a*' * 60}b}}\nRUN echo ${{#B}}\n",
        prints=f"{250 * 99}\n",
    ),
    Case(
        "suffix",
        f"FROM bb\nARG A={NAMES * 99}\nARG B=${{A%b{'*a' * 60}}}\nRUN echo ${{#B}}\n",
        prints=f"{250 * 99}\n",
    ),
    Case("a class without end", "FROM bb\nCOPY [a /\n", "malformed pattern", 2),
    Case("a pattern of a megabyte", big("A", MIB) + "ARG B=${A#$A}\n", "longer than 16384"),
]

LINK = (
    "FROM bb\nRUN ln -s OUTSIDE /out && ln -s ../../../../../../../../../OUTSIDE /up && "
    "ln -s /b /a && ln -s /a /b && ln -s /proc/self/root/OUTSIDE /magic\n"
)
PATHS = [
    Case("source above the context", "FROM bb\nCOPY ../outside/canary /\n", "source not found", 2),
    Case("source with dots inside", "FROM bb\nCOPY x/../../../outside/canary /\n", "not found", 2),
    Case("source of the host", "FROM bb\nCOPY OUTSIDE/canary /\n", "source not found", 2),
    Case("source of ADD", "FROM bb\nADD ../outside/canary OUTSIDE/canary /d/\n", "not found", 2),
    Case("source in JSON", 'FROM bb\nCOPY ["../outside", "/"]\n', "source not found", 2),
    Case(
        "pivot above the context", "FROM bb\nCOPY --parents ../outside/./canary /\n", "not found", 2
    ),
    Case(
        "destination above the root",
        "FROM bb\nCOPY f ../../../../../x\nRUN cat /x\n",
        prints="file\n",
    ),
    Case(
        "destination of a symlink to the host",
        LINK + "COPY f /out/new\nRUN cat OUTSIDE/new\n",
        prints="file\n",
    ),
    Case(
        "destination of a symlink upwards",
        LINK + "COPY f /up/new\nRUN cat OUTSIDE/new\n",
        prints="file\n",
    ),
    Case("destination of a circle", LINK + "COPY f /a/new\n", "too many symlinks", 3),
    Case("file in place of a circle", LINK + "COPY f /a\n", "too many symlinks", 3),
    Case("destination of a magic link", LINK + "COPY f /magic/new\n"),
    Case(
        "directory onto a symlink",
        LINK + "COPY --from=bb /etc /out\nRUN ls OUTSIDE | grep -c passwd\n",
        prints="1\n",
    ),
    Case(
        "ADD through a symlink",
        LINK + "ADD f /up/directory/\nRUN cat OUTSIDE/directory/f\n",
        prints="file\n",
    ),
    Case(
        "heredoc through a symlink",
        LINK + "COPY <<x /out/\nhello\nx\nRUN cat OUTSIDE/x\n",
        prints="hello\n",
    ),
    Case(
        "a heredoc's name",
        "FROM bb\nCOPY <<../../../x /d/\nhello\n../../../x\nRUN ls /d\n",
        prints="x\n",
    ),
    Case("WORKDIR through a symlink", LINK + "WORKDIR /out/new\nRUN pwd -P\n"),
    Case("WORKDIR of a circle", LINK + "WORKDIR /a/b\n", "too many symlinks", 3),
    Case("WORKDIR in a file", "FROM bb\nWORKDIR /bin/sh/x\n", "not a directory", 2),
    Case("WORKDIR above the root", "FROM bb\nWORKDIR ../../../x\nRUN pwd\n", prints="/x\n"),
    Case("deep WORKDIR", f"FROM bb\nWORKDIR {'/a' * 1500}\nRUN pwd | wc -c\n", prints="3001\n"),
    Case("deeper WORKDIR than any path", f"FROM bb\nWORKDIR {'/a' * 5000}\n", "too long", 2),
    Case("a long name of WORKDIR", f"FROM bb\nWORKDIR /{'a' * 300}\n", "too long", 2),
    Case(
        "VOLUME through symlinks",
        LINK + "VOLUME /out/new /up/other /a/b\nRUN ls OUTSIDE\n",
        prints="new\nother\n",
    ),
    Case("VOLUME in a file", "FROM bb\nVOLUME /bin/sh/x /bin/sh\nRUN echo ok\n", prints="ok\n"),
    Case("VOLUME above the root", "FROM bb\nVOLUME ../../../x\nRUN ls -d /x\n", prints="/x\n"),
    Case(
        "VOLUME of what no path can be",
        f"FROM bb\nVOLUME /{'a' * 300} {'/a' * 5000}\nRUN echo ok\n",
        prints="ok\n",
    ),
    Case("symlink of a stage", LINK + "FROM bb\nCOPY --from=0 /out/canary /\n", "not found", 4),
    Case(
        "symlink upwards of a stage", LINK + "FROM bb\nCOPY --from=0 /up/canary /\n", "not found", 4
    ),
    Case("symlinks of a stage as such", LINK + "FROM bb\nCOPY --from=0 /ou[t] /\n", prints=""),
    Case(
        "stage that is itself",
        "FROM bb AS x\nCOPY --from=x /f /\n",
        "not complete at this point",
        2,
    ),
    Case(
        "stage that comes later", "FROM bb\nCOPY --from=1 /f /\nFROM bb\n", "does not exist yet", 2
    ),
    Case("a path for an image", "FROM bb\nCOPY --from=../../outside /canary /\n", "reference", 2),
    Case("a path for a base", "FROM ../outside\n", "reference", 1),
    Case(
        "link of COPY",
        LINK + "COPY --link f /out/new\nRUN test -d /out && cat /out/new\n",
        prints="file\n",
    ),
]

MOUNTS = [
    Case("source above", "FROM bb\nRUN --mount=source=../../outside,target=/m :\n", "not found", 2),
    Case("source of the host", "FROM bb\nRUN --mount=source=OUTSIDE,target=/m :\n", "not found", 2),
    Case(
        "source that is a symlink out",
        "FROM bb\nRUN --mount=source=l,target=/m cat /m/canary\n",
        "outside the context",
        2,
        prepare=lambda place: os.symlink(place.outside, place.context / "l"),
    ),
    Case(
        "symlink in a source",
        "FROM bb\nRUN --mount=target=/m cat /m/l/canary\n",
        "build failed",
        2,
        prepare=lambda place: os.symlink(place.outside, place.context / "l"),
    ),
    Case(
        "symlink of an image as source",
        LINK + "RUN --mount=from=0,source=/out,target=/m :\n",
        "stage 0 is the current",
        3,
    ),
    Case(
        "symlink of a stage as source",
        LINK + "FROM bb\nRUN --mount=from=0,source=/out,target=/m :\n",
        "not found",
        4,
    ),
    Case(
        "the root as target",
        "FROM bb\nRUN --mount=type=tmpfs,target=/ :\n",
        "target is the root",
        2,
    ),
    Case("the root in disguise", "FROM bb\nRUN --mount=type=tmpfs,target=/x/.. :\n", "the root", 2),
    Case(
        "target above",
        "FROM bb\nRUN --mount=type=tmpfs,target=../../m grep -c ' /m ' /proc/mounts\n",
        prints="1\n",
    ),
    Case(
        "target of a symlink",
        LINK + "RUN --mount=type=tmpfs,target=/out/m :\n",
        "broken symlink: /out",
        3,
    ),
    Case(
        "target of a magic link",
        LINK + "RUN --mount=type=tmpfs,target=/magic/m :\n",
        "can't bind",
        3,
    ),
    Case("target of a circle", LINK + "RUN --mount=type=tmpfs,target=/a/m :\n", "symlinks", 3),
    Case(
        "target in a file",
        "FROM bb\nRUN --mount=type=tmpfs,target=/bin/sh/m :\n",
        "not a directory",
        2,
    ),
    Case(
        "target in /proc", "FROM bb\nRUN --mount=type=tmpfs,target=/proc/1/x :\n", "can't bind", 2
    ),
    Case(
        "writing to a bind",
        "FROM bb\nRUN --mount=target=/m,rw echo x >/m/f && cat /m/f\n",
        prints="x\n",
    ),
    Case(
        "a cache's ID",
        "FROM bb\nRUN --mount=type=cache,id=../../../x,target=/m touch /m/here\n"
        "RUN --mount=type=cache,id=../../../x,target=/n ls /n\n",
        prints="here\n",
    ),
    Case("a cache's ID that is no text", b"FROM bb\nRUN --mount=type=cache,id=\xff,target=/m :\n"),
    Case(
        "a cache's sharing", "FROM bb\nRUN --mount=type=cache,sharing=x,target=/m :\n", "sharing", 2
    ),
    Case(
        "a secret's ID",
        "FROM bb\nRUN --mount=type=secret,id=../../outside/canary,required :\n",
        "secret not given",
        2,
    ),
    Case(
        "a secret's ID that is a path",
        "FROM bb\nRUN --mount=type=secret,id=OUTSIDE/canary,required :\n",
        "secret not given",
        2,
    ),
    Case("an agent's ID", "FROM bb\nRUN --mount=type=ssh,id=../../x,required :\n", "not given", 2),
    Case("quotes without end", 'FROM bb\nRUN --mount=type=bind,"target=/m :\n', "RUN needs", 2),
    Case(
        "many mounts",
        "FROM bb\nRUN "
        + "".join(f"--mount=type=tmpfs,target=/m{n} " for n in range(200))
        + "grep -c ' /m' /proc/mounts\n",
        prints="200\n",
    ),
    Case(
        "two mounts at one place",
        "FROM bb\nRUN --mount=type=tmpfs,target=/m --mount=type=tmpfs,target=/x/../m :\n",
        "two at /m",
        2,
    ),
]

NOTIFY = ("--force=notify",)
USERS = [
    Case(
        "a user that is not there",
        "FROM bb\nUSER x\x1b[2Jy\nRUN :\n",
        "no such user",
        3,
        options=NOTIFY,
    ),
    Case(
        "a huge passwd",
        "FROM bb\nRUN yes | head -c 30000000 >/etc/passwd\nUSER x\nRUN :\n",
        "no such user",
        4,
        options=NOTIFY,
    ),
    Case(
        "passwd in a circle",
        "FROM bb\nRUN rm -f /etc/passwd && ln -s passwd /etc/passwd\nUSER x\nRUN :\n",
        "no such user",
        4,
        options=NOTIFY,
    ),
    Case(
        "passwd of the host",
        "FROM bb\nRUN ln -sf OUTSIDE/canary /etc/passwd\nUSER x\nRUN :\n",
        "no such user",
        4,
        options=NOTIFY,
    ),
    Case(
        "passwd that is a FIFO",
        "FROM bb\nRUN rm -f /etc/passwd && mkfifo /etc/passwd\nUSER x\nRUN :\n",
        "no such user",
        4,
        options=NOTIFY,
    ),
    Case(
        "passwd that is a directory",
        "FROM bb\nRUN rm -f /etc/passwd && mkdir /etc/passwd\nCOPY --chown=x f /\n",
        "no such user",
        3,
    ),
    Case(
        "passwd of no sense",
        "FROM bb\nRUN printf 'x:::::\\nx:y:-1:-1::\\nx:y:5:5:\\n\\0:\\377' >/etc/passwd\n"
        "COPY --chown=x f /\n",
        "no such user",
        3,
    ),
    Case(
        "an endless ID in passwd",
        f"FROM bb\nRUN echo x:y:{DIGITS}:5:::x >/etc/passwd\nUSER x\nRUN :\n",
        "no such user",
        4,
        options=NOTIFY,
    ),
    Case(
        "a member of ten thousand groups",
        "FROM bb\nRUN for n in $(seq 10000); do echo g$n:x:$n:x; done "
        ">/etc/group && echo x:y:5:5::/:x >/etc/passwd\nUSER x\nRUN id -u\n",
        options=NOTIFY,
    ),
    Case(
        "a home of the host",
        "FROM bb\nRUN echo x:y:5:5::OUTSIDE:x >/etc/passwd\nUSER x\n"
        "RUN ls $HOME/canary 2>/dev/null || echo none\n",
        prints="none\n",
        options=NOTIFY,
    ),
]

CASES = {
    f"{kind}: {case.name}": case
    for kind, cases in {
        "syntax": SYNTAX,
        "numbers": NUMBERS,
        "growth": GROWTH,
        "patterns": PATTERNS,
        "paths": PATHS,
        "mounts": MOUNTS,
        "users": USERS,
    }.items()
    for case in cases
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    return make_storage(tmp_path_factory.mktemp("dockerfiles"), busybox_tar)


@pytest.mark.parametrize("name", CASES)
def test_dockerfile(name: str, storage: Path, tmp_path: Path) -> None:
    Place(tmp_path, storage).attempt(CASES[name])
