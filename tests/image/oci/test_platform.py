"""Platforms: their spellings, and the platform of this host."""

import os

import pytest

from sundog.errors import UsageError
from sundog.image.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("amd64", Platform("linux", "amd64")),
        ("x86_64", Platform("linux", "amd64")),
        ("linux/amd64/v3", Platform("linux", "amd64", "v3")),
        ("linux/amd64/v1", Platform("linux", "amd64")),
        ("Linux/AArch64", Platform("linux", "arm64")),
        ("arm64/v8", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/6", Platform("linux", "arm", "v6")),
        ("arm/v5", Platform("linux", "arm", "v5")),
        ("armhf", Platform("linux", "arm", "v7")),
        ("ppc64le", Platform("linux", "ppc64le")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_spellings_of_a_platform(text: str, expected: Platform) -> None:
    assert Platform.parse(text) == expected
    assert Platform.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux amd64", "linux//v7"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="platform"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", "linux/amd64"),
        ("i686", "linux/386"),
        ("aarch64", "linux/arm64"),
        ("armv6l", "linux/arm/v6"),
        ("riscv64", "linux/riscv64"),
        ("loongarch64", "linux/loong64"),
        ("s390x", "linux/s390x"),
        ("novel", "linux/novel"),
    ],
)
def test_machine_names_of_the_kernel(machine: str, expected: str) -> None:
    assert str(Platform.of_machine(machine)) == expected


def test_host_is_what_uname_says() -> None:
    assert Platform.of_host() == Platform.of_machine(os.uname().machine)
    assert Platform.parse("linux") == Platform.of_host()
