"""Image configurations: read those that tools write, and write them back."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.errors import ImageConfigError
from sundog.image.oci.config import HistoryEntry, ImageConfig

# A configuration like Docker's: with nulls, Docker's own fields, and unknown fields.
DOCKER = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "os.version": "1",
    "created": "2024-01-02T03:04:05.678Z",
    "author": "A",
    "docker_version": "24.0",
    "config": {
        "Hostname": "",
        "Env": ["PATH=/bin", "EMPTY=", "ODD"],
        "Cmd": None,
        "Entrypoint": ["/bin/sh", "-c"],
        "User": "1:2",
        "WorkingDir": "/w",
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "StopSignal": "SIGTERM",
        "Shell": ["/bin/bash", "-c"],
        "Healthcheck": {"Test": ["CMD", "a"], "Interval": 1000000},
        "OnBuild": None,
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:0", "sha256:1"]},
    "history": [
        {"created": "2024-01-02T03:04:05Z", "created_by": "COPY a b", "comment": "c"},
        {"created_by": "ENV a=b", "empty_layer": True, "author": "B"},
    ],
}


def test_docker_configuration_is_read() -> None:
    config = ImageConfig.from_json(json.dumps(DOCKER).encode())
    assert config == ImageConfig(
        architecture="arm64",
        variant="v8",
        os="linux",
        created="2024-01-02T03:04:05.678Z",
        author="A",
        env=("PATH=/bin", "EMPTY=", "ODD"),
        cmd=None,
        entrypoint=("/bin/sh", "-c"),
        user="1:2",
        working_dir="/w",
        labels={"a": "b"},
        exposed_ports=("80/tcp",),
        volumes=("/v",),
        stop_signal="SIGTERM",
        shell=("/bin/bash", "-c"),
        healthcheck={"Test": ["CMD", "a"], "Interval": 1000000},
        diff_ids=("sha256:0", "sha256:1"),
        history=(
            HistoryEntry("2024-01-02T03:04:05Z", "COPY a b", comment="c"),
            HistoryEntry(created_by="ENV a=b", empty_layer=True, author="B"),
        ),
        unknown={"os.version": "1", "docker_version": "24.0"},
        unknown_config={"Hostname": "", "ArgsEscaped": True},
    )


def test_round_trip_loses_nothing_but_nulls() -> None:
    expected = json.loads(json.dumps(DOCKER))
    del expected["config"]["Cmd"], expected["config"]["OnBuild"]
    assert ImageConfig.from_json(DOCKER).to_json() == expected


def test_reading_leaves_the_source_alone() -> None:
    source = json.loads(json.dumps(DOCKER))
    ImageConfig.from_json(source)
    assert source == DOCKER


@pytest.mark.parametrize("source", [{}, {"config": None, "rootfs": None, "history": None}, b"{}"])
def test_empty_configuration(source: dict[str, object] | bytes) -> None:
    config = ImageConfig.from_json(source)
    assert config == ImageConfig()
    assert config.to_json() == {
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }


def test_empty_command_is_not_no_command() -> None:
    config = ImageConfig.from_json({"config": {"Cmd": [], "Entrypoint": None}})
    assert (config.cmd, config.entrypoint) == ((), None)
    assert config.to_json()["config"] == {"Cmd": []}


def test_lone_string_is_a_list_of_one() -> None:
    assert ImageConfig.from_json({"config": {"Entrypoint": "/a"}}).entrypoint == ("/a",)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "image configuration: expected an object, found a list"),
        ({"config": []}, "image configuration: config: expected an object, found a list"),
        ({"architecture": 1}, "architecture: expected a string, found a number"),
        ({"config": {"Env": [1]}}, "config: Env: expected a list of strings, found a list"),
        ({"config": {"Env": {}}}, "config: Env: expected a list of strings, found an object"),
        ({"config": {"Labels": {"a": 1}}}, "config: Labels: a: expected a string, found a number"),
        ({"config": {"Volumes": ["/v"]}}, "config: Volumes: expected an object, found a list"),
        ({"rootfs": {"diff_ids": "x", "type": 0}, "history": {}}, "history: expected a list"),
        ({"history": [None]}, "history entry: expected an object, found null"),
        ({"history": [{"empty_layer": 1}]}, "empty_layer: expected true or false, found a number"),
    ],
)
def test_wrong_type_is_one_clear_error(source: dict[str, object] | bytes, message: str) -> None:
    with pytest.raises(ImageConfigError) as caught:
        ImageConfig.from_json(source)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_environment_as_mapping() -> None:
    config = ImageConfig(env=("A=1", "B=x=y", "ODD", "A=2", "=z"))
    assert config.environment == {"A": "2", "B": "x=y", "ODD": ""}


def test_with_env_keeps_the_place_of_what_it_replaces() -> None:
    config = ImageConfig(env=("A=1", "B=2", "ODD", "A=3"))
    assert config.with_env("A", "4").env == ("A=4", "B=2", "ODD")
    assert config.with_env("C", "").env == ("A=3", "B=2", "ODD", "C=")
    assert config.with_env("ODD", "5").env == ("A=3", "B=2", "ODD=5")
    assert config.env == ("A=1", "B=2", "ODD", "A=3")


def test_replace_makes_a_copy() -> None:
    config = ImageConfig(user="a")
    assert config.replace(user="b", cmd=("c",)) == ImageConfig(user="b", cmd=("c",))
    assert config.user == "a"


def test_values_can_be_hashed_and_pickled() -> None:
    config = ImageConfig.from_json(DOCKER)
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(ImageConfig.from_json(DOCKER))


TEXTS = st.text(max_size=5)
STRINGS = st.lists(TEXTS, max_size=3).map(tuple)
CONFIGS = st.builds(
    ImageConfig,
    architecture=TEXTS,
    os=TEXTS.filter(bool),
    env=STRINGS,
    cmd=st.none() | STRINGS,
    entrypoint=st.none() | STRINGS,
    shell=st.none() | STRINGS,
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
    volumes=st.sets(TEXTS, max_size=3).map(tuple),
    exposed_ports=st.sets(TEXTS, max_size=3).map(tuple),
    on_build=STRINGS,
    diff_ids=STRINGS,
    history=st.lists(
        st.builds(HistoryEntry, TEXTS, TEXTS, st.booleans(), TEXTS, TEXTS), max_size=3
    ).map(tuple),
    unknown=st.dictionaries(TEXTS.map("x-{}".format), st.none() | TEXTS, max_size=2),
    unknown_config=st.dictionaries(TEXTS.map("x-{}".format), st.integers(), max_size=2),
)


@given(CONFIGS)
def test_any_configuration_survives_json(config: ImageConfig) -> None:
    assert ImageConfig.from_json(json.dumps(config.to_json())) == config
