"""``builder.scope``: the Dockerfile reference's rules on ARG and ENV."""

from __future__ import annotations

from sundog.image.builder.scope import GlobalScope, StageScope, platform_args
from sundog.image.oci.platform import Platform
from sundog.runtime.container.search_path import ENGINE_PATH


def scopes(
    given: dict[str, str] | None = None, environment: dict[str, str] | None = None
) -> tuple[GlobalScope, StageScope]:
    outer = GlobalScope(given or {}, {"TARGETARCH": "amd64"}, environment or {})
    return outer, StageScope(outer)


def test_global_arg_is_unknown_in_a_stage_until_declared() -> None:
    outer, stage = scopes()
    outer.declare("VERSION", "1")
    assert "VERSION" not in stage.variables({})
    assert stage.declare("VERSION", None) == "1"
    assert stage.variables({})["VERSION"] == "1"


def test_default_of_the_stage_wins_over_the_global_one() -> None:
    outer, stage = scopes()
    outer.declare("VERSION", "1")
    assert stage.declare("VERSION", "2") == "2"


def test_build_arg_wins_over_every_default() -> None:
    outer, stage = scopes({"VERSION": "3"})
    assert outer.declare("VERSION", "1") == "3"
    assert stage.declare("VERSION", "2") == "3"


def test_empty_build_arg_is_a_value() -> None:
    _, stage = scopes({"VERSION": ""})
    assert stage.declare("VERSION", "2") == ""


def test_arg_without_a_value_is_not_set() -> None:
    outer, stage = scopes()
    assert outer.declare("X", None) is None
    assert stage.declare("X", None) is None
    assert "X" not in stage.variables({})
    assert "X" not in outer.values


def test_redeclaration_without_a_value_keeps_the_old_one() -> None:
    _, stage = scopes()
    stage.declare("X", "1")
    stage.declare("X", None)
    assert stage.variables({})["X"] == "1"


def test_env_wins_over_arg_whichever_comes_first() -> None:
    _, stage = scopes({"X": "given"})
    stage.declare("X", "default")
    assert stage.variables({"X": "env"})["X"] == "env"


def test_path_is_known_unless_the_image_has_its_own() -> None:
    _, stage = scopes()
    assert stage.variables({})["PATH"] == ENGINE_PATH
    assert stage.variables({"PATH": "/bin"})["PATH"] == "/bin"


def test_stages_do_not_see_each_others_args() -> None:
    outer, stage = scopes()
    stage.declare("X", "1")
    assert "X" not in StageScope(outer).variables({})


def test_platform_args_are_global() -> None:
    outer, stage = scopes()
    assert outer.values["TARGETARCH"] == "amd64"
    assert "TARGETARCH" not in stage.variables({})
    assert stage.declare("TARGETARCH", None) == "amd64"


def test_platform_args_of_a_platform() -> None:
    args = platform_args(Platform("linux", "arm", "v7"))
    assert args["TARGETPLATFORM"] == args["BUILDPLATFORM"] == "linux/arm/v7"
    assert (args["TARGETOS"], args["TARGETARCH"], args["TARGETVARIANT"]) == ("linux", "arm", "v7")


def test_proxies_come_from_build_args_then_from_the_environment() -> None:
    outer, stage = scopes(
        {"HTTP_PROXY": "given"}, {"HTTP_PROXY": "env", "no_proxy": "localhost", "OTHER": "x"}
    )
    assert outer.of_host() == {
        "CH_RUNNING": "Weird Al Yankovic",
        "HTTP_PROXY": "given",
        "no_proxy": "localhost",
    }
    assert "no_proxy" not in stage.variables({})


def test_unused_build_args_are_those_that_nothing_declares() -> None:
    outer, _ = scopes({"A": "1", "B": "2", "https_proxy": "x", "TARGETARCH": "y"})
    outer.declared.update({"A", "C"})
    assert outer.unused() == ["B"]
