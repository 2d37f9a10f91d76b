"""The compiled ``ch-run`` parses as the launcher in Python does.

The C may decline an input: the launcher in Python then starts instead.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.base.configuration.compiled import RECORD_PRIME, pack_record, read_record
from sundog.base.configuration.keys import KEYS
from sundog.base.configuration.level import Level
from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.stack import ImageStack, pack_stack, unpack_stack
from sundog.errors import ReferenceSyntaxError, SundogError
from sundog.runtime.container.memory_share import overlay_share
from sundog.runtime.container.variables import Environment
from sundog.runtime.launcher.environment import (
    SetFromImage,
    SetVariables,
    UnsetMatching,
    command_environment,
    matches,
)
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.one_file import is_one_file
from sundog.runtime.launcher.options import CommandLine, Finished
from tests.runtime.native.server import Answer, Server


def hexed(text: bytes | None) -> str:
    return "-" if text is None else text.hex()


# The command line

VALUES = st.sampled_from(
    [
        *(
            b"",
            b"0",
            b"7",
            b"007",
            b"4294967294",
            b"4294967295",
            b"-1",
            b"+1",
            b" 1",
            b"1x",
            b"9" * 20,
        ),
        *(
            b"/",
            b"/a",
            b"/a:/b",
            b"a:b",
            b":/b",
            b"/a:",
            b"/a:/",
            b"/a:/.",
            b"/a:/..",
            b"/..",
            b"a",
        ),
        *(
            b"/a:/b:c",
            b"A=1",
            b"=1",
            b"A=",
            b"A='x'",
            b"vars",
            b"bad",
            b"none",
            b"A*",
            b"[A",
            b"?",
            b"*",
        ),
        *(b"--", b"-", b"10m", b"50%", b"\xff", b"\xff=\xfe", b"A(B)", b"a\\b"),
    ]
) | st.binary(max_size=4).map(lambda data: data.replace(b"\0", b""))
NAMES = st.sampled_from(
    [
        *(b"bind", b"cd", b"env-no-expand", b"gid", b"no-passwd", b"private-tmp", b"seccomp"),
        *(b"set-env", b"set-env0", b"storage", b"uid", b"unset-env", b"write", b"write-fake"),
        *(b"w", b"set", b"set-env1", b"notify", b"help", b"quiet", b"verbose", b"", b"unsafe"),
    ]
)
WORDS = st.one_of(
    VALUES,
    st.builds(lambda name: b"--" + name, NAMES),
    st.builds(lambda name, value: b"--" + name + b"=" + value, NAMES, VALUES),
    st.builds(
        lambda letter: b"-" + letter, st.sampled_from([bytes([c]) for c in b"bcgtsuwWqv?Vx"])
    ),
    st.builds(
        lambda letter, value: b"-" + letter + value,
        st.sampled_from([bytes([c]) for c in b"bcgtsuwWqv?Vx"]),
        VALUES,
    ),
)


def expected_line(words: Sequence[bytes], directory: Path) -> Answer | None:
    """Return the result of Python; None if Python refuses the command line."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        line = CommandLine(list(words), Messages())
    except (SundogError, Finished):
        return None
    finally:
        os.chdir(before)
    here = os.fsencode(directory) + b"/"
    answer: Answer = [("operand", word.hex()) for word in line.operands]
    for source, target, is_writable in line.mounts.binds:
        assert is_writable is not False
        answer += [("source", source.removeprefix(here).hex()), ("target", target.hex())]
    for change in line.environment.changes:
        if isinstance(change, SetVariables):
            for name, value in change.variables:
                answer += [("change", "0", "0"), ("text", (name + b"=" + value).hex())]
        elif isinstance(change, SetFromImage):
            answer += [("change", "1", str(change.delimiter[0])), ("text", "-")]
        else:
            assert isinstance(change, UnsetMatching)
            answer += [("change", "2", "0"), ("text", change.pattern.hex())]
    answer += [
        ("storage", hexed(line.image.storage)),
        ("directory", hexed(line.environment.directory)),
    ]
    line.image.use_default_size(lambda: overlay_share(os.environb.get))
    answer.append(("size", hexed(line.image.overlay_size)))
    answer.append(("ids", str(line.identity.uid or 0), str(line.identity.gid or 0)))
    flags = (
        line.environment.expand,
        line.mounts.passwd,
        line.mounts.private_tmp,
        line.emulation.seccomp,
        line.image.write,
    )
    answer.append(("flags", *(str(int(flag)) for flag in flags)))
    assert line.operands
    return answer


def unquoted(answer: Answer) -> Answer:
    """Remove the quotes around values.  The C removes them later than Python."""
    lines: Answer = []
    for what, *rest in answer:
        if what == "text" and lines[-1][1] == "0":
            name, _, value = bytes.fromhex(rest[0]).partition(b"=")
            if len(value) > 1 and value[:1] + value[-1:] == b"''":
                value = value[1:-1]
            lines.append((what, (name + b"=" + value).hex()))
        else:
            lines.append((what, *rest))
    return lines


@given(words=st.lists(WORDS, max_size=8), image=st.sampled_from([[], [b"app"]]))
@settings(max_examples=400, deadline=None)
def test_command_lines(server: Server, words: list[bytes], image: list[bytes]) -> None:
    words = image + words
    found = server.ask("c", b"".join(word + b"\0" for word in words))
    if found is not None:
        expected = expected_line(words, server.directory)
        assert expected is not None, words
        assert unquoted(found) == expected


# Names

PARTS = st.sampled_from(
    [
        *(
            "a",
            "app",
            "a.b",
            "a__b",
            "a--b",
            "A",
            "localhost",
            "localhost:5000",
            "docker.io",
            ".",
            "..",
        ),
        *("index.docker.io", "library", "[::1]", "[::1]:1", "", "_", "latest", "sha256", "0" * 64),
        *("sha256:" + "0" * 64, "f" * 63, "x" * 129, "%", "+", "é", "ghcr.io", "a b", "-"),
    ]
)
REFERENCES = st.lists(PARTS | st.sampled_from(["/", ":", "@", "://"]), max_size=9).map("".join)


def is_of_an_image(name: str) -> bool:
    """Tell whether ``name`` can be the directory of an image."""
    try:
        canonical = canonical_name(name.replace("%", "/").replace("+", ":"))
    except ReferenceSyntaxError:
        return False
    return name_to_directory(canonical) == name


@given(text=REFERENCES | st.text(alphabet="aA0.:/@_-%+", max_size=12))
@settings(max_examples=1000, deadline=None)
def test_names(server: Server, text: str) -> None:
    answer = server.ask("n", text.encode() + b"\0")
    if answer is None:
        return
    ((_, found),) = answer
    name = None if found == "-" else bytes.fromhex(found).decode(errors="replace")
    try:
        canonical = canonical_name(text)
    except ReferenceSyntaxError:
        assert name is None or not is_of_an_image(name)
        return
    assert name == name_to_directory(canonical)


# The stack

FIELDS = st.binary(max_size=6).map(lambda data: data.replace(b"\0", b""))
STACKS = st.builds(
    ImageStack,
    st.lists(FIELDS, max_size=4),
    FIELDS,
    st.lists(FIELDS, max_size=3),
    st.lists(FIELDS, max_size=3),
    FIELDS,
    user=FIELDS,
    guesses=FIELDS,
).map(pack_stack)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a stack that is cut, or in which bytes are replaced, removed or added."""
    data = bytearray(draw(STACKS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b"\0", b"1", b"9", b"-1", b" 1", b"1_0", b"4294967296", b"\xff"])
        )
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(data=STACKS | damaged() | st.binary(max_size=60))
@settings(max_examples=800, deadline=None)
def test_stacks(server: Server, data: bytes) -> None:
    answer = server.ask("s", data)
    if answer is None:
        return
    stack = unpack_stack(data)  # it raises if Python refuses the stack
    expected = [("tree", stack.tree.hex()), ("workdir", stack.workdir.hex())]
    expected += [("layer", layer.hex()) for layer in stack.layers]
    expected += [("word", word.hex()) for word in stack.entrypoint + stack.command]
    assert answer == expected


@given(data=STACKS)
@settings(max_examples=100, deadline=None)
def test_whole_stacks_are_served(server: Server, data: bytes) -> None:
    assert server.ask("s", data) is not None


# The environment

VARIABLES = st.sampled_from(
    [
        *(
            b"A=1",
            b"B=2",
            b"A=3",
            b"",
            b"=",
            b"=x",
            b"A",
            b"AB=$A",
            b"HOME=/h",
            b"HOME",
            b"TMPDIR=/t",
        ),
        *(b"PATH=/usr/bin", b"PATH=/bin", b"PATH=", b"PATH", b"CH_RUNNING=", b"\xff=1", b"C=\xff"),
    ]
)
RECORDS = st.sampled_from(
    [
        *(
            b"A=1",
            b"A='1'",
            b"B=$A",
            b"B='$A:x:$B'",
            b"C=$A:$NOT:",
            b"C=$",
            b"C=$A=B",
            b"D=''",
            b"D='",
        ),
        *(
            b"",
            b"=",
            b"E",
            b"\0",
            b"PATH=$PATH:/x",
            b"\xff=$\xff",
            b"A=:::",
            b"A=$$A",
            b"HOME=",
            b" =' '",
        ),
    ]
)
CHANGES = st.one_of(
    st.builds(lambda record: b"--set-env=" + record.replace(b"\0", b""), RECORDS),
    st.sampled_from(
        [
            *(b"--set-env", b"--set-env0", b"--set-env=vars", b"--set-env0=vars", b"--unset-env=*"),
            *(b"--unset-env=A*", b"--unset-env=A", b"--unset-env=*A*", b"--unset-env=PATH"),
            *(b"--env-no-expand", b"--unset-env=[A]"),
        ]
    ),
)


@given(
    strings=st.lists(VARIABLES, max_size=6),
    changes=st.lists(CHANGES, max_size=4),
    records=st.lists(RECORDS, max_size=4),
    end=st.sampled_from([b"\n", b"\0", b"\n\0"]),
    is_cut=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_environments(
    server: Server,
    *,
    strings: list[bytes],
    changes: list[bytes],
    records: list[bytes],
    end: bytes,
    is_cut: bool,
) -> None:
    data = b"".join(record + end for record in records)
    path = server.directory / "image-environment"
    path.write_bytes(data[:-1] if is_cut else data)
    words = [*strings, b"\n", *changes, b"app"]
    answer = server.ask("e", b"".join(word + b"\0" for word in words))
    if answer is None:
        return
    before = os.getcwd()
    os.chdir(server.directory)
    try:
        line = CommandLine([*changes, b"app"], Messages())
    finally:
        os.chdir(before)
    environment = Environment(strings)
    theirs = [
        SetFromImage(change.delimiter, os.fsencode(path))
        if isinstance(change, SetFromImage)
        else change
        for change in line.environment.changes
    ]
    command_environment(environment, theirs, Messages(), expand=line.environment.expand)
    assert answer == [("string", string.hex()) for string in environment.strings()]


@given(
    pattern=st.text(alphabet="*AB_x.]!^-{}|)", min_size=1, max_size=8),
    name=st.text(alphabet="AB_x.]!^-{}|)*", max_size=10),
)
@settings(max_examples=1000, deadline=None)
def test_patterns(server: Server, pattern: str, name: str) -> None:
    answer = server.ask("u", f"{pattern}\0{name}\0".encode())
    if answer is not None:
        assert answer == [("matches", str(int(matches(pattern.encode(), name.encode()))))]


# The record of the configuration

FIELDS = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"2", b"-1", b"+1", b"007", b"9" * 20, b"/x", b"run.more"]),
    st.sampled_from([key.path.encode() for key in KEYS]),
    st.binary(max_size=4),
)
SAID = st.dictionaries(
    st.sampled_from([key.path for key in KEYS]),
    st.tuples(
        st.lists(st.binary(max_size=6).filter(lambda text: 0 not in text), max_size=3), st.just("x")
    ),
    max_size=4,
)


@given(
    said=SAID,
    changes=st.lists(st.tuples(st.integers(0, 30), st.none() | FIELDS), max_size=3),
    is_summed=st.booleans(),
    cut=st.none() | st.integers(0, 200),
)
@settings(max_examples=int(os.environ.get("SUNDOG_RECORDS", "400")), deadline=None)
def test_records_of_the_configuration(
    server: Server,
    *,
    said: dict[str, tuple[list[bytes], str]],
    changes: list[tuple[int, bytes | None]],
    is_summed: bool,
    cut: int | None,
) -> None:
    """The C takes what was written, and never what Python would not take, or otherwise."""
    level = Level(os.fsencode(server.directory / "x"), os.fsencode(server.directory), (0,))
    (server.directory / "sundog.toml").touch()
    stamps = [(b"sundog.toml", level.stamp(os.fsencode(server.directory / "sundog.toml")))]
    data = pack_record(
        stamps, {key: (tuple(values), source) for key, (values, source) in said.items()}
    )
    fields = data.split(b"\0")[:-2]
    for place, text in changes:
        at = place % len(fields)
        fields[at : at + 1] = [] if text is None else [text]
    if changes and fields:
        body = b"\0".join(fields)
        total = int.from_bytes(body, "big") % RECORD_PRIME if is_summed else 7
        data = b"%b\0%d\0" % (body, total)
    data = data if cut is None else data[:cut]
    answer = server.ask("r", data)
    (server.directory / "sundog.record").chmod(0o644)
    theirs = read_record(level, stamps)
    if answer is None:
        assert changes or cut is not None
        return
    assert theirs is not None
    expected = [
        (key.path, value.hex())
        for key in KEYS
        if key.is_obeyed and key.path in theirs
        for value in theirs[key.path][0]
    ]
    assert answer == expected


# Images that are one file

STARTS = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda rest: b"hsqs" + rest, st.binary(max_size=60)),
    st.builds(lambda start: start.ljust(32, b"\0")[:32] + b"SIF_MAGIC", st.binary(max_size=32)),
    st.sampled_from([b"hsq", b"hsqs", bytes(32) + b"SIF_MAGI", b"hsqs" + bytes(28) + b"SIF_MAGIC"]),
)


@given(data=STARTS)
def test_squashfs_is_recognised(server: Server, data: bytes) -> None:
    """The C leaves SIF, which is one file too, to Python."""
    found = server.ask("q", data)
    (server.directory / "same").write_bytes(data)
    is_known = is_one_file(os.fsencode(server.directory / "same"))
    if found is None:
        assert is_known
        assert data[32:].startswith(b"SIF_MAGIC")
    else:
        assert found == [("squashfs", str(int(is_known)))]
