"""``builder.metadata``: the changes to the configuration, and the lines that announce them."""

from __future__ import annotations

import pytest

from sundog.errors import BuildError
from sundog.image.builder.metadata import changes, without_times
from sundog.image.dockerfile.parse import parse
from sundog.image.oci.config import HistoryEntry, ImageConfig


def apply(text: str, config: ImageConfig | None = None) -> tuple[list[str], ImageConfig]:
    instruction = parse(f"FROM x\n{text}", path="Dockerfile").instructions[1]
    entries = changes(instruction, config or ImageConfig())
    assert entries
    return [line for line, _ in entries], entries[-1][1]


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("ENV A=1", ["ENV A='1'"], ImageConfig(env=("A=1",))),
        ("ENV A=1 B=2", ["ENV A='1'", "ENV B='2'"], ImageConfig(env=("A=1", "B=2"))),
        ("LABEL a=1", ["LABEL a='1'"], ImageConfig(labels={"a": "1"})),
        ('CMD ["a", "ü"]', ['CMD ["a", "ü"]'], ImageConfig(cmd=("a", "ü"))),
        ("CMD a b", ["CMD a b"], ImageConfig(cmd=("/bin/sh", "-c", "a b"))),
        ("CMD []", ["CMD []"], ImageConfig(cmd=())),
        ('ENTRYPOINT ["a"]', ['ENTRYPOINT ["a"]'], ImageConfig(entrypoint=("a",))),
        ("ENTRYPOINT a", ["ENTRYPOINT a"], ImageConfig(entrypoint=("/bin/sh", "-c", "a"))),
        ('SHELL ["b", "-c"]', ["SHELL ['b', '-c']"], ImageConfig(shell=("b", "-c"))),
        ("USER me:us", ["USER me:us"], ImageConfig(user="me:us")),
        ("STOPSIGNAL TERM", ["STOPSIGNAL TERM"], ImageConfig(stop_signal="TERM")),
        ("MAINTAINER a <b>", ["MAINTAINER a <b>"], ImageConfig(author="a <b>")),
        ("VOLUME /a /b", ["VOLUME /a /b"], ImageConfig(volumes=("/a", "/b"))),
        ("EXPOSE 80", ["EXPOSE 80"], ImageConfig(exposed_ports=("80/tcp",))),
        (
            "EXPOSE 80/UDP 7-8/sctp",
            ["EXPOSE 80/UDP 7-8/sctp"],
            ImageConfig(exposed_ports=("80/udp", "7/sctp", "8/sctp")),
        ),
        (
            'HEALTHCHECK --interval=2s --retries=3 CMD ["t"]',
            ['HEALTHCHECK --interval=2s --retries=3 CMD ["t"]'],
            ImageConfig(
                healthcheck={"Test": ["CMD", "t"], "Interval": 2_000_000_000, "Retries": 3}
            ),
        ),
        ("HEALTHCHECK NONE", ["HEALTHCHECK NONE"], ImageConfig(healthcheck={"Test": ["NONE"]})),
    ],
)
def test_change(text: str, lines: list[str], expected: ImageConfig) -> None:
    assert apply(text) == (lines, expected)


def test_shell_form_uses_the_shell_in_force() -> None:
    _, config = apply("CMD x", ImageConfig(shell=("bash", "-ec")))
    assert config.cmd == ("bash", "-ec", "x")


def test_what_is_there_is_kept_or_replaced() -> None:
    _, config = apply("ENV B=3", ImageConfig(env=("A=1", "B=2", "C=4")))
    assert config.env == ("A=1", "B=3", "C=4")
    _, config = apply("VOLUME /a /b", ImageConfig(volumes=("/b",)))
    assert config.volumes == ("/b", "/a")
    _, config = apply("EXPOSE 1 1", ImageConfig(exposed_ports=("2/tcp",)))
    assert config.exposed_ports == ("2/tcp", "1/tcp")
    _, config = apply("LABEL a=2", ImageConfig(labels={"a": "1", "b": "1"}))
    assert config.labels == {"a": "2", "b": "1"}


@pytest.mark.parametrize("port", ["x", "80/icmp", "70000", "9-8", "80-", "-80", "1-2-3", "٣"])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(BuildError, match="not a port"):
        apply(f"EXPOSE {port}")


def test_other_instructions_change_nothing() -> None:
    instruction = parse("FROM x\nRUN y", path="-").instructions[1]
    assert changes(instruction, ImageConfig()) is None


def test_without_times() -> None:
    config = ImageConfig(created="now", history=(HistoryEntry("now", "RUN x"),))
    assert without_times(config) == ImageConfig(history=(HistoryEntry("", "RUN x"),))
