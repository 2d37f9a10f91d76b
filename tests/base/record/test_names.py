"""Image names agree with the tables and the grammar of distribution/reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.names import canonical_name, name_to_directory, split_reference
from sundog.errors import ReferenceSyntaxError

SHA256 = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.9", "docker.io/library/alpine:3.9"),
        ("library/alpine", "docker.io/library/alpine:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/library/alpine:latest", "docker.io/library/alpine:latest"),
        ("charliecloud/metadata", "docker.io/charliecloud/metadata:latest"),
        ("a/b/c", "docker.io/a/b/c:latest"),
        ("localhost/foo", "localhost/foo:latest"),
        ("localhost:5000/foo:1", "localhost:5000/foo:1"),
        ("foo:5000", "docker.io/library/foo:5000"),
        ("foo:5000/bar", "foo:5000/bar:latest"),
        ("test.com/foo", "test.com/foo:latest"),
        ("test.com", "docker.io/library/test.com:latest"),
        ("Uppercase/foo", "Uppercase/foo:latest"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo:latest"),
        ("[::1]/repo", "[::1]/repo:latest"),
        ("a__b/c-----d", "docker.io/a__b/c-----d:latest"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        (f"alpine@{SHA256}", f"docker.io/library/alpine@{SHA256}"),
        (f"test:5000/repo:tag@{SHA256}", f"test:5000/repo:tag@{SHA256}"),
        ("foo:_tag.With-All_3", "docker.io/library/foo:_tag.With-All_3"),
        ("a%b+c", "docker.io/a/b:c"),
        ("docker.io%library%alpine+3.9", "docker.io/library/alpine:3.9"),
        ("localhost+5000%a%b", "localhost:5000/a/b:latest"),
        (f"a%b@{SHA256}", f"docker.io/a/b@{SHA256}"),
    ],
)
def test_canonical_name_of_valid_references(typed: str, canonical: str) -> None:
    assert canonical_name(typed) == canonical
    assert canonical_name(canonical) == canonical


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("", "name is missing"),
        (":tag", "name is missing"),
        (f"@{SHA256}", "name is missing"),
        ("foo:", "'' is not a tag"),
        ("foo:-x", "'-x' is not a tag"),
        ("foo:" + "a" * 129, "is not a tag"),
        ("foo@", "'' is not a digest"),
        ("foo@sha256:short", "is not a digest"),
        (f"foo@{SHA256.upper()}", "is not a digest"),
        ("foo@md5:" + "0" * 32, "is not a digest"),
        ("Uppercase:tag", "'Uppercase' is not in lower case"),
        ("test.com/Uppercase", "'Uppercase' is not in lower case"),
        ("a//b", "a part of the name is empty"),
        ("foo/", "a part of the name is empty"),
        ("/foo", "a part of the name is empty"),
        ("-foo/bar", "'-foo' is not a part of a name"),
        ("foo-", "'foo-' is not a part of a name"),
        ("foo...bar", "is not a part of a name"),
        ("foo___bar/x", "is not a part of a name"),
        ("a.-b", "is not a part of a name"),
        ("-test.com/foo", "'-test.com' is not a host"),
        ("test-.com/foo", "'test-.com' is not a host"),
        ("foo..com/bar", "is not a host"),
        ("foo:5x/bar", "is not a host"),
        ("foo:²/bar", "is not a host"),
        ("[]:1/foo", "is not a host"),
        ("fo o", "is not a part of a name"),
        ("foo\n", "is not a part of a name"),
        ("../up", "is not a host"),
        ("a/../b", "is not a part of a name"),
        ("café", "is not a part of a name"),
        ("a" * 64, "name a blob"),
        ("a" * 250, "longer than 255"),
    ],
)
def test_canonical_name_refuses_with_one_clear_line(typed: str, fault: str) -> None:
    with pytest.raises(ReferenceSyntaxError) as refusal:
        canonical_name(typed)
    assert fault in refusal.value.message
    assert "\n" not in refusal.value.message
    assert refusal.value.hint.startswith("a reference is [HOST[:PORT]/]")


def test_parts_of_a_reference() -> None:
    assert split_reference("localhost:5000/a/b:1") == ("localhost:5000", "a/b", "1", "")
    assert split_reference(f"x@{SHA256}") == ("docker.io", "library/x", "", SHA256)


_alnum = st.text("abcz059", min_size=1, max_size=4)
_component = st.lists(_alnum, min_size=1, max_size=3).flatmap(
    lambda parts: st.lists(
        st.sampled_from([".", "_", "__", "-", "---"]),
        min_size=len(parts) - 1,
        max_size=len(parts) - 1,
    ).map(lambda seps: "".join(a + b for a, b in zip(parts, [*seps, ""], strict=True)))
)
_reference = st.builds(
    lambda host, path, tag, digest: host + "/".join(path) + tag + digest,
    st.sampled_from(["user/", "localhost/", "reg.example.org/", "h:5/", "[::1]:80/", "Host/"]),
    st.lists(_component, min_size=1, max_size=4),
    st.sampled_from(["", ":1", ":Latest_.-x", ":_"]),
    st.sampled_from(["", "@" + SHA256]),
)


@given(_reference)
def test_canonical_name_is_idempotent(typed: str) -> None:
    canonical = canonical_name(typed)
    assert canonical_name(canonical) == canonical


@given(_reference, _reference)
def test_directories_of_different_images_differ(one: str, other: str) -> None:
    names = canonical_name(one), canonical_name(other)
    directories = name_to_directory(names[0]), name_to_directory(names[1])
    assert (names[0] == names[1]) == (directories[0] == directories[1])


@given(st.text())
def test_any_text_is_a_name_or_a_syntax_error_and_never_a_path(text: str) -> None:
    try:
        directory = name_to_directory(canonical_name(text))
    except ReferenceSyntaxError:
        return
    assert directory.isascii()
    assert directory.isprintable()
    assert "/" not in directory
    assert not directory.startswith(".")
    assert len(directory) <= 255
