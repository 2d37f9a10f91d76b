"""The configuration: the order of its sources, mistakes, and files that are not believed."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sundog.base.configuration import level
from sundog.base.configuration.compiled import RECORD_MARK, RECORD_PRIME, pack_record, read_record
from sundog.base.configuration.files import read_level
from sundog.base.configuration.holding import Holding, read_configuration
from sundog.base.configuration.keys import IMAGE_STORES, KEYS, TRUSTED_OWNERS, Key
from sundog.base.configuration.kinds import KINDS
from sundog.errors import SundogError

HINT = "SUNDOG_CONFIG=none"


class Place:
    """A site's directory and a user's; ``variables`` is the environment."""

    def __init__(self, top: Path) -> None:
        self.site = top / "etc"
        self.home = top / "home"
        self.variables: dict[bytes, bytes] = {b"HOME": os.fsencode(self.home)}

    def write(self, name: str, text: str | bytes, mode: int = 0o644) -> Path:
        """Write a file: site/… or home/…."""
        where, _, rest = name.partition("/")
        path = (self.site if where == "site" else self.home / ".config" / "sundog") / rest
        for directory in reversed(path.parents[:3]):
            directory.mkdir(exist_ok=True, parents=True)
            directory.chmod(0o755)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def read(self) -> Holding:
        """Read what holds."""
        return read_configuration(self.variables)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Give a site and a home; the tests' user is the site's root."""
    made = Place(tmp_path)
    monkeypatch.setattr(level, "SITE_SETTINGS", os.fsencode(made.site))
    monkeypatch.setattr(level, "SITE_OWNERS", (0, os.geteuid()))
    return made


def stores(*paths: str) -> str:
    """Return a file that names these stores."""
    return f"[storage]\nimage_stores = {list(paths)!r}\n"


def test_a_later_source_replaces_an_earlier_one(place: Place) -> None:
    assert place.read().values(IMAGE_STORES) == ()
    assert place.read().source(IMAGE_STORES) == ""
    expected = []
    for name, path in (
        ("site/sundog.toml", "/site"),
        ("site/sundog.d/10.toml", "/ten"),
        ("site/sundog.d/20.toml", "/twenty"),
        ("home/sundog.toml", "/own"),
    ):
        expected.append(str(place.write(name, stores(path))))
        found = place.read()
        assert found.values(IMAGE_STORES) == (path.encode(),)
        assert found.source(IMAGE_STORES) == expected[-1]
    place.variables[b"CH_IMAGE_STORES"] = b"/a:/b:"
    assert place.read().values(IMAGE_STORES) == (b"/a", b"/b")
    assert place.read().source(IMAGE_STORES) == "$CH_IMAGE_STORES"
    place.variables[b"CH_IMAGE_STORES"] = b""
    assert place.read().values(IMAGE_STORES) == ()
    assert place.read().source(IMAGE_STORES) == "$CH_IMAGE_STORES"


def test_owners_add_up(place: Place) -> None:
    site = place.write("site/sundog.toml", '[storage]\ntrusted_owners = ["images"]\n')
    own = place.write("home/sundog.toml", '[storage]\ntrusted_owners = ["1234", "images"]\n')
    found = place.read()
    assert found.values(TRUSTED_OWNERS) == (b"images", b"1234", b"images")
    assert found.source(TRUSTED_OWNERS) == f"{site}, {own}"


def test_xdg_config_home(place: Place, tmp_path: Path) -> None:
    path = place.write("home/sundog.toml", stores("/own"))
    path.parent.rename(tmp_path / "sundog")
    assert place.read().values(IMAGE_STORES) == ()
    place.variables[b"XDG_CONFIG_HOME"] = os.fsencode(tmp_path)
    assert place.read().values(IMAGE_STORES) == (b"/own",)
    # Neither a relative path nor a missing home leads to a file.
    place.variables[b"XDG_CONFIG_HOME"] = b"relative"
    assert place.read().values(IMAGE_STORES) == ()
    del place.variables[b"XDG_CONFIG_HOME"], place.variables[b"HOME"]
    assert place.read().values(IMAGE_STORES) == ()


MISTAKES = {
    "storage = 3": "storage: expected a table, found a number",
    "[storage]\nimage_stores = 3": "storage.image_stores: expected a list",
    "[storage]\nimage_stores = '/x'": "storage.image_stores: expected a list",
    "[storage]\nimage_stores = ['x']": "storage.image_stores: expected a list",
    "[storage]\nimage_stores = ['/x', 1]": "storage.image_stores: expected a list",
    '[storage]\nimage_stores = ["/x\\u0000"]': "storage.image_stores: expected a list",
    f"[storage]\nimage_stores = {['/x'] * 101!r}": "at most 100",
    "[storage]\ntrusted_owners = ['']": "storage.trusted_owners: expected a list",
    f"[storage]\ntrusted_owners = ['{'9' * 5000}']": "storage.trusted_owners: expected a list",
    "[storage]\nimage_store = []": "unknown key in [storage]: image_store; did you mean image_",
    "[registry]\nmirrors = ['a']": "registry.mirrors: expected a list of at most 100 PREFIX=HOST",
    "[registry]\nmirrors = ['a=https://b']": "registry.mirrors: expected a list",
    "[registry]\nmirrors = ['*.a=b']": "registry.mirrors: expected a list",
    "[registry]\nmirrors = ['a=b c']": "registry.mirrors: expected a list",
    "[registry]\nauthorities = 'x'": "registry.authorities: expected an absolute path",
    "[storag]\n": "unknown table: storag; did you mean storage?",
    "[zzz]\n": "unknown table: zzz; known: build gc log messages registry run storage sundog",
    "[storage\n": "not TOML: Expected ']'",
    "x = " + "[" * 5000: "not TOML",
    "x = " + "1" * 5000: "not TOML",
    "\udcff": "not TOML",
    "#" * 70000: "larger than 65,536 bytes",
}


@pytest.mark.parametrize("name", ["site/sundog.toml", "site/sundog.d/x.toml", "home/sundog.toml"])
def test_a_mistake_is_one_line_with_its_place(place: Place, name: str) -> None:
    for text, message in MISTAKES.items():
        path = place.write(name, text.encode("utf-8", "surrogateescape"))
        with pytest.raises(SundogError) as wrong:
            place.read()
        assert message in wrong.value.message, text[:40]
        assert wrong.value.message.startswith(str(path))
        assert HINT in wrong.value.hint
    place.variables[b"SUNDOG_CONFIG"] = b"none"
    assert place.read().values(IMAGE_STORES) == ()
    place.variables[b"SUNDOG_CONFIG"] = b"None"
    with pytest.raises(SundogError, match=r"\$SUNDOG_CONFIG: not none: None"):
        place.read()


def test_each_mistake_is_told_to_who_asks(place: Place) -> None:
    """What is right holds meanwhile, but no record has it."""
    site = place.write("site/sundog.toml", "storage.trusted_owners = 3\nrun.bnd = []\nx = 1\n")
    part = place.write("site/sundog.d/1.toml", "[")
    own = place.write("home/sundog.toml", "run.bind = ['x']\n" + stores("/own"))
    mistakes: list[SundogError] = []
    found = read_configuration(place.variables, mistakes)
    assert found.values(IMAGE_STORES) == (b"/own",)
    expected = (
        f"{site}: storage.trusted_owners: expected a list",
        f"{site}: unknown key in [run]: bnd; ",
        f"{site}: unknown table: x; ",
        f"{part}: not TOML: ",
        f"{own}: run.bind: expected a list",
    )
    for mistake, start in zip(mistakes, expected, strict=True):
        assert mistake.message.startswith(start)
    assert not [*place.home.rglob("sundog.record")]


def test_a_variable_with_a_mistake(place: Place) -> None:
    place.variables[b"CH_IMAGE_STORES"] = b"relative"
    found = place.read()
    with pytest.raises(SundogError, match=r"\$CH_IMAGE_STORES: expected a list .*: relative"):
        found.values(IMAGE_STORES)


def test_a_file_that_others_can_write_is_not_believed(place: Place) -> None:
    place.write("site/sundog.toml", stores("/site"), 0o666)
    place.write("site/sundog.d/x.toml", stores("/part"), 0o664)
    own = place.write("home/sundog.toml", "broken", 0o620)
    found = place.read()
    assert found.values(IMAGE_STORES) == ()
    assert [" is not believed: " in line for line in found.warnings] == [True] * 3
    assert "(mode 0620)" in found.warnings[2]
    own.chmod(0o600)
    own.parent.chmod(0o777)
    assert "(mode 0777)" in place.read().warnings[2]


def test_a_file_of_another_is_not_believed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root writes for the site: this user's file there does not count."""
    place.write("site/sundog.toml", stores("/site"))
    place.write("site/sundog.d/x.toml", stores("/part"))
    monkeypatch.setattr(level, "SITE_OWNERS", (0,))
    found = place.read()
    assert found.values(IMAGE_STORES) == ()
    assert len(found.warnings) == 2  # the file, and the directory of parts
    assert all("belongs to" in line for line in found.warnings)


def test_other_kinds_of_files(place: Place) -> None:
    path = place.write("home/sundog.toml", "")
    path.unlink()
    os.mkfifo(path)
    assert "neither a directory nor a file" in place.read().warnings[0]
    path.unlink()
    path.mkdir()
    assert "is not a file" in place.read().warnings[0]
    path.rmdir()
    path.symlink_to(place.write("home/other", stores("/linked")))
    assert place.read().values(IMAGE_STORES) == (b"/linked",)
    path.unlink()
    path.write_text("")
    path.chmod(0)
    with pytest.raises(SundogError, match="Permission denied"):
        place.read()
    path.parent.chmod(0)
    try:  # the home of another user, as after su(1)
        assert not place.read().warnings
    finally:
        path.parent.chmod(0o755)


def test_a_record_of_other_keys_or_from_a_stranger(place: Place) -> None:
    """A key of another version is read as in the file; the files can be read beside a record."""
    place.write("home/sundog.toml", stores("/own"))
    (each,) = (each for each in level.levels(place.variables) if each.is_users)
    Path(os.fsdecode(each.record)).parent.mkdir(parents=True)
    for more, expected in ((IMAGE_STORES.path, b"/else"), ("new.key", b"/own")):
        values: tuple[tuple[bytes, ...], str] = ((b"/else",), "x")
        said = dict.fromkeys((IMAGE_STORES.path, more), values)
        Path(os.fsdecode(each.record)).write_bytes(pack_record(each.stamps(), said))
        Path(os.fsdecode(each.record)).chmod(0o600)
        assert place.read().values(IMAGE_STORES) == (expected,)
        strict = read_configuration(place.variables, [])
        assert strict.values(IMAGE_STORES) == (b"/own",)


def test_a_record_that_ends_in_a_list(place: Place) -> None:
    place.write("home/sundog.toml", stores("/own"))
    (_, each) = level.levels(place.variables)
    values = IMAGE_STORES.path.encode(), b"x", b"2", b"/one"
    (path, stamp), *_ = each.stamps()
    body = b"\0".join((RECORD_MARK, b"1", path, stamp, b"1", *values))
    record = Path(os.fsdecode(each.record))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_bytes(b"%b\0%d\0" % (body, int.from_bytes(body, "big") % RECORD_PRIME))
    record.chmod(0o600)
    assert place.read().values(IMAGE_STORES) == (b"/own",)


def test_parts_have_a_bound_and_an_end(place: Place) -> None:
    place.write("site/sundog.d/x.toml~", "broken")
    place.write("site/sundog.d/.x.toml", "broken")
    assert not place.read().warnings
    for number in range(101):
        place.write(f"site/sundog.d/{number}.toml", "")
    with pytest.raises(SundogError, match="more than 100 files"):
        place.read()


WORDS = st.sampled_from(
    ["storage", "image_stores", "trusted_owners", "[", "]", "=", "'", '"', "/x"]
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(WORDS | st.text(max_size=3), max_size=12).map("".join),
    st.lists(
        st.text(max_size=8) | st.integers() | st.booleans() | st.floats() | st.dates(), max_size=4
    ).map(lambda value: f"[storage]\nimage_stores = {value}"),
).map(lambda text: text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=TEXTS | st.binary(max_size=60))
@example(data=b"[storage]\nimage_stores = ['/\xf0\x9f\x98\x80']")
def test_any_file_is_a_value_or_one_line(place: Place, data: bytes) -> None:
    place.write("home/sundog.toml", data)
    outcome = outcome_of(place)
    if isinstance(outcome, str):
        assert outcome.isprintable()  # so it is one line
        return
    for key in KEYS:
        assert all(isinstance(value, bytes) for value in outcome.values(key))
    assert all(path.startswith(b"/") for path in outcome.values(IMAGE_STORES))


def outcome_of(place: Place) -> Holding | str:
    """Return what holds, or the message that says why nothing does."""
    try:
        return place.read()
    except SundogError as error:
        return error.message


PLACES = st.sampled_from(
    ["/a", "$UNSET/x", "/%u/%U", "$HOME", "%u", "/a%", "/$", "", "/a:/b:ro", "a.org=b.org:5000/c"]
)
VALUES = st.one_of(
    PLACES,
    st.lists(PLACES, max_size=3),
    st.booleans(),
    st.sampled_from(["40m", "0", "101%", "12%", "auto", "a b", "call 1234", "\n", "/x:/y:/z:ro"]),
    st.integers(),
)
EXAMPLES = int(os.environ.get("SUNDOG_CONFIGURATIONS", "60"))
CONFIGURATIONS = st.dictionaries(st.sampled_from([key.path for key in KEYS]), VALUES, max_size=5)


def toml(said: dict[str, object]) -> str:
    """Return a file that says this; a string of JSON is one of TOML."""
    return "".join(f"{path} = {json.dumps(value)}\n" for path, value in said.items())


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(site=CONFIGURATIONS, part=CONFIGURATIONS, own=CONFIGURATIONS)
def test_a_random_configuration_is_one_line_or_holds(
    place: Place, site: dict[str, object], part: dict[str, object], own: dict[str, object]
) -> None:
    """What holds is what the last file says, and a record of it says the same."""
    files = {"site/sundog.toml": site, "site/sundog.d/1.toml": part, "home/sundog.toml": own}
    wrong = []
    for name, said in files.items():
        place.write(name, toml(said))
        wrong += [key for key in KEYS if key.path in said and value_of(key, said) is None]
    place.variables.update({b"XDG_CACHE_HOME": os.fsencode(place.home), b"CH_IMAGE_STORES": b""})
    outcome = outcome_of(place)
    if wrong:
        assert isinstance(outcome, str)
        assert outcome.isprintable()
        return
    assert isinstance(outcome, Holding), outcome
    for key in KEYS:
        values = [found for said in files.values() if (found := value_of(key, said)) is not None]
        expected = sum(values, ()) if key.adds_up else next(iter(values[::-1]), ())
        assert outcome.said(key) == expected
    for each in level.levels(place.variables):
        stamps = each.stamps()
        data = pack_record(stamps, read_level(each, []))
        Path(os.fsdecode(each.record)).parent.mkdir(exist_ok=True)
        Path(os.fsdecode(each.record)).write_bytes(data)
        assert read_record(each, each.stamps()) == read_level(each, [])


def value_of(key: Key, said: dict[str, object]) -> tuple[bytes, ...] | None:
    """Return what a file says of a key; None if it says nothing, or a wrong type."""
    return KINDS[key.kind].read(said[key.path]) if key.path in said else None
