"""The order of a definition file's steps, without any build."""

from __future__ import annotations

from sundog.image.builder.definition.plan import Wanted, plan_of, sections_of
from sundog.image.definition.parse import parse_definition

WHOLE = """\
Bootstrap: docker
From: debian
Stage: one
%test
    one
Bootstrap: docker
Registry: https://host:5000
Namespace: team
From: tool:1
IncludeCmd: yes
%test
    true
%help
    help
%appinstall a
    make
%appfiles a
    x
%post -c /bin/bash
    true
%post
    false
%files
    a
%setup
    true
%files from one
    b
%pre
    true
"""


def names(wanted: Wanted) -> list[str]:
    definition, _ = parse_definition(WHOLE, path="x.def")
    plan, _, _ = plan_of(definition, wanted, "x86_64")
    return [instruction.name for instruction in plan.instructions]


def test_order() -> None:
    """That of Apptainer's user guide; a test runs in the last stage alone."""
    first = ["FROM", "base", "metadata"]
    last = ["FROM", "base", "%files", "%setup", "%files", "%app", "%files", "%post"]
    assert names(Wanted()) == [*first, *last, "%appinstall a", "metadata", "%test"]
    assert names(Wanted(runs_test=False))[-1] == "metadata"
    assert names(Wanted(sections_of(["none"]))) == [*first, "FROM", "base", "metadata"]
    chosen = names(Wanted(sections_of(["post", "files"])))
    assert chosen == [*first, "FROM", "base", "%files", "%files", "%post", "metadata"]
    assert sections_of(["all", "post"]) == sections_of([]) == Wanted().sections


def test_bases() -> None:
    """A base that %pre comes before is no name; others are what FROM says."""
    definition, _ = parse_definition(WHOLE, path="x.def")
    plan, bases, warnings = plan_of(definition, Wanted(), "x86_64")
    assert [each.text for each in plan.instructions if each.name == "FROM"] == ["", ""]
    ((text, base),) = bases.items()
    assert text == "docker tool:1 (line 6)"
    assert base.pre is not None
    assert "host:5000/team/tool:1" in repr(base.start)
    assert warnings == []
    shell = next(each for each in plan.instructions if each.name == "%post")
    assert "('/bin/sh', '-ex', '-c', '/bin/bash {script}')" in repr(shell)
    assert plan.expand(shell, {}) is shell
