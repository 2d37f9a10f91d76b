"""``dockerfile.mounts``: the keys of ``RUN --mount``, type by type."""

from __future__ import annotations

import pytest

from sundog.image.dockerfile.mounts import Mount, MountSyntaxError, parse_mount, source_of_mount


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/x", Mount("bind", "/x")),
        ("type=bind,source=a,target=/x,rw", Mount("bind", "/x", "a", writable=True)),
        ("type=bind,dst=/x,src=a,from=st", Mount("bind", "/x", "a", "st")),
        ("TYPE=BIND,Destination=/x", Mount("bind", "/x")),
        ("type=bind,target=/x,readonly=false", Mount("bind", "/x", writable=True)),
        ("type=bind,target=/x,ro=0", Mount("bind", "/x", writable=True)),
        ("type=bind,target=/x,readwrite=F", Mount("bind", "/x")),
        ("type=bind,target=/x,rw,ro", Mount("bind", "/x")),
        ("type=bind,target=/x,ro,rw", Mount("bind", "/x", writable=True)),
        ("type=cache,target=/x", Mount("cache", "/x", writable=True)),
        ("type=cache,target=/x,ro", Mount("cache", "/x")),
        (
            "type=cache,id=a,target=/x,sharing=LOCKED,mode=0700,uid=1,gid=2,from=s,source=/y",
            Mount(
                "cache",
                "/x",
                "/y",
                "s",
                "a",
                writable=True,
                sharing="locked",
                mode=0o700,
                uid=1,
                gid=2,
            ),
        ),
        ("type=tmpfs,target=/x", Mount("tmpfs", "/x", writable=True)),
        ("type=tmpfs,target=/x,size=1.5k", Mount("tmpfs", "/x", writable=True, size=1536)),
        ("type=tmpfs,target=/x,size=2GiB", Mount("tmpfs", "/x", writable=True, size=2 << 30)),
        ("type=tmpfs,target=/x,size=7", Mount("tmpfs", "/x", writable=True, size=7)),
        ("type=secret,id=a", Mount("secret", id="a")),
        ("type=secret,source=a", Mount("secret", id="a")),
        ("type=secret,target=/run/x/key", Mount("secret", "/run/x/key", id="key")),
        ("type=secret,id=a,env=A,required", Mount("secret", id="a", env="A", required=True)),
        ("type=secret,id=a,required=false", Mount("secret", id="a")),
        ("type=ssh", Mount("ssh")),
        (
            "type=ssh,id=a,target=/s,required=true,mode=600",
            Mount("ssh", "/s", id="a", required=True, mode=0o600),
        ),
        ('type=cache,"target=/a,b"', Mount("cache", "/a,b", writable=True)),
    ],
)
def test_mount(text: str, mount: Mount) -> None:
    assert parse_mount(text) == mount


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=nothing,target=/x", "no such type: nothing"),
        ("type=bind", "type=bind needs a target"),
        ("type=cache,id=x", "type=cache needs a target"),
        ("type=tmpfs", "type=tmpfs needs a target"),
        ("type=bind,target=/x,sharing=shared", "type=bind has no sharing"),
        ("type=bind,target=/x,uid=1", "type=bind has no uid"),
        ("type=tmpfs,target=/x,from=y", "type=tmpfs has no from"),
        ("type=secret,id=a,from=y", "type=secret has no from"),
        ("type=cache,target=/x,required", "type=cache has no required"),
        ("type=ssh,source=/x", "type=ssh has no source"),
        ("type=secret", "type=secret needs an id"),
        ("type=secret,id=a,src=b", "id or source, not both"),
        ("type=cache,target=/x,sharing=both", "no such sharing: both"),
        ("type=cache,target=/x,mode=9", "mode=9: not an octal mode"),
        ("type=cache,target=/x,uid=me", "uid=me: not a number"),
        ("type=cache,target=/x,uid=4294967296", "uid=4294967296: not a number"),
        ("type=tmpfs,target=/x,size=big", "size=big: not a size"),
        ("type=bind,target=/x,ro=maybe", "readonly is true or false"),
        ("type=bind,target=/x,ro=tRUE", "readonly is true or false"),
        ("type=bind,target", "target needs a value"),
        ("type=bind,tar=/x", "no such key: tar"),
        ("", "no such key: "),
        ("type=bind,from=$X,target=/x", "no variables are substituted here"),
    ],
)
def test_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(MountSyntaxError, match="--mount: ") as caught:
        parse_mount(text)
    assert message in caught.value.message


def test_variables_are_substituted_in_values() -> None:
    def expand(value: str) -> str:
        return value.replace("$A", "/a,b")

    assert parse_mount("type=cache,target=$A") is None
    assert parse_mount("type=cache,target=$A,id=$A", expand) == Mount(
        "cache", "/a,b", id="/a,b", writable=True
    )
    assert parse_mount("type=$A,target=/x") is None
    with pytest.raises(MountSyntaxError):
        parse_mount("type=$A,target=/x", expand)


def test_source_of_mount() -> None:
    assert source_of_mount("type=bind,FROM=x,target=$Y") == "x"
    assert source_of_mount("target=/x") == ""
