"""Go templates; what podman 5.4 printed for the same container is the reference."""

from __future__ import annotations

import json

import pytest

from sundog.errors import UsageError
from sundog.front.podman.template_values import Moment, Structure, document, to_json
from sundog.front.podman.templates import Template

CONTAINER = Structure(
    Id="6b19ed4889d6",
    Name="one",
    Created=Moment(1_795_919_940_685_114_301),
    Args=["-c", "echo out; exit 3"],
    State=Structure(Status="exited", Running=False, Pid=0, ExitCode=3, Health=None),
    Config=Structure(
        Env=["PATH=/bin", "A=x y"],
        Cmd=["echo >out"],
        Labels={"z": "a b", "k": "v"},
        Entrypoint=["sh", "-c"],
        ExposedPorts={"80/tcp": Structure(), "22/tcp": Structure()},
    ),
    GraphDriver=Structure(Name="vfs", Data=None),
    Mounts=[],
)

# Template: what `podman inspect --format` printed of a container with these values.
PRINTED = {
    "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.Pid}}": "exited false 3 0",
    "{{.Id}} {{.Name}} {{.ID}}": "6b19ed4889d6 one 6b19ed4889d6",
    "{{.Created}}": "2026-11-29 02:39:00.685114301 +0000 UTC",
    "{{.Config.Env}} {{.Config.Cmd}}": "[PATH=/bin A=x y] [echo >out]",
    "{{.Config.Labels}} {{.Config.Entrypoint}}": "map[k:v z:a b] [sh -c]",
    "{{.Config.ExposedPorts}}": "map[22/tcp:{} 80/tcp:{}]",
    "{{json .Config.Labels}}": '{"k":"v","z":"a b"}',
    "{{json .Config.Cmd}}": '["echo >out"]',
    "{{json .State.Status}}": '"exited"',
    "{{range .Config.Env}}{{println .}}{{end}}": "PATH=/bin\nA=x y\n",
    "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}": "k=v;z=a b;",
    '{{index .Config.Labels "k"}}': "v",
    '{{index .Config.Labels "no"}}': "",
    "{{index .Config.Env 0}} {{(index .Config.Env 0)}}": "PATH=/bin PATH=/bin",
    "{{.Config.Labels.k}} {{.Config.Labels.nope}}": "v <no value>",
    "{{.GraphDriver.Data.UpperDir}}": "<no value>",
    "{{.Mounts}}": "[]",
    "{{len .Config.Env}}": "2",
    "{{if .State.Running}}up{{else}}down{{end}}": "down",
    '{{if and .State.Running (eq .Name "one")}}a{{else if .Name}}b{{end}}': "b",
    "{{with .State}}{{.Status}}{{end}}": "exited",
    '{{join .Config.Env ","}}': "PATH=/bin,A=x y",
    '{{printf "%s|%d|%v|%q" .Name .State.ExitCode .State.Running .Name}}': 'one|3|false|"one"',
    "{{upper .Name}} {{title .Name}}": "ONE One",
    '{{.Name | upper | printf "%s!"}}': "ONE!",
    '{{eq .State.Status "exited"}} {{and true .Name}} {{or "" "x"}}': "true one x",
    "{{not false}} {{ne 1 2}} {{lt 1 2}}": "true true true",
    "{{$x := .Name}}{{$x}}": "one",
    "a {{- .Name -}} b": "aoneb",
    "{{/* c */}}x": "x",
    '{{split .Name "n"}} {{slice .Name 0 2}}': "[o e] on",
    '{{lower "AB"}}{{truncate "abcdef" 3}}': "ababc",
    "{{println .Name .State.ExitCode}}": "one 3\n",
    '{{print .Name 1 2 "a"}}': "one1 2a",
    '{{"lit"}} {{1}} {{true}}': "lit 1 true",
    "table {{.Name}}": "one",
}


@pytest.mark.parametrize("text", PRINTED)
def test_printed(text: str) -> None:
    assert Template(text).render(CONTAINER) == PRINTED[text]


def test_json() -> None:
    text = Template("{{json .}}").render(CONTAINER)
    assert list(json.loads(text)) == list(CONTAINER)
    assert json.loads(text) == document([CONTAINER])[0]
    assert '"Created":"2026-11-29T02:39:00.685114301Z"' in text
    assert to_json(Moment()) == '"0001-01-01T00:00:00Z"'


# Those of the first half are errors of podman, too; the others are not supported here.
WRONG = {
    "{{.Nope}}": "no such field: .Nope",
    "{{.State.Nope}}": "no such field: .State.Nope",
    "{{range .Nope}}x{{end}}": "no such field: .Nope",
    "{{ .Name": "an action without }}",
    "{{bogus .Name}}": "no such function: bogus",
    "{{index .Config.Env 99}}": "index: index out of range: 99",
    "{{nil}}": "no such function: nil",
    "{{end}}": "end without if, with or range",
    "{{if .Name}}": "if without end",
    "{{.Name.x}}": "no fields in a string: .Name.x",
    "{{.Name 1}}": "only a function takes operands",
    "{{len 1 2}}": "len: too many operands",
    '{{"a}}': "a string without an end",
    "{{(.Name}}": "( without )",
    "{{}}": "an empty action",
    "{{eq .Name 1}}": "eq: can't compare a string with a number",
    "{{$nope}}": "no such variable: $nope",
    '{{define "x"}}{{end}}': "no define here",
    "{{html .Name}}": "no such function: html",
    '{{printf "%08.3f" 1}}': "printf: no verb like %08.",
    "{{1.5}}": "no numbers like 1.",
    "{{" + "9" * 5000 + "}}": "no numbers like " + "9" * 80,
    '{{printf "%' + "9" * 5000 + 's" 1}}': "printf: no verb like %" + "9" * 80 + "s",
    "{{.State}}": "a structure does not print",
    "{{" + "(" * 60 + "1" + ")" * 60 + "}}": "more than 50 parentheses in one another",
    "{{if 1}}" * 60 + "{{end}}" * 60: "more than 50 blocks in one another",
    "{{if 0}}" + "{{else if 0}}" * 3000 + "{{end}}": "more than 50 blocks in one another",
    "x" * 70_000: "longer than 65536 characters",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_wrong(text: str) -> None:
    """What can't be read is an error that names it."""
    with pytest.raises(UsageError) as caught:
        Template(text).render(CONTAINER)
    assert caught.value.message == f"template: {WRONG[text]}"
    assert caught.value.hint
