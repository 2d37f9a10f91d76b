"""A reader of Go templates: --format of ``sundog ps``, ``images`` and ``inspect``.

It reads fields (``.State.Status``), variables, pipelines, parentheses, literals, the functions of
``template_values``, ``if``, ``with``, ``range``, ``else``, ``end``, comments and trim markers.
Everything else is an error that names it.  A template is compiled to functions of a ``Scope``.

Specification: Go's package text/template.
"""

from __future__ import annotations

from sundog.errors import UsageError
from sundog.front.podman.template_values import FUNCTIONS, field, is_true, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Value = Callable[["Scope"], Any]
    Part = Callable[["Scope"], str]

_OPEN, _CLOSE = "{{", "}}"
_BLANKS = " \t\r\n"
_TEMPLATE_LIMIT = 1 << 16  # characters of a template
_DEPTH_LIMIT = 50  # blocks or parentheses in one another
_SHOWN = 80  # characters of a mistake
_NUMBER_LIMIT = 20  # characters of a number: Go's int has no more
_HINT = "fields, if, with, range, pipes and the functions " + ", ".join(
    sorted([*FUNCTIONS, "and", "or"])
)
_CONSTANTS = {"true": True, "false": False}
_NOT_HERE = ("block", "break", "call", "continue", "define", "template")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class Scope:
    """The dot, and the variables: those of the blocks around come last."""

    __slots__ = ("dot", "variables")

    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:
        self.dot = dot
        self.variables = variables

    def inner(self, dot: Any, **variables: Any) -> Scope:
        """Return the scope of a block."""
        return Scope(dot, self.variables | variables)


class Template:
    """A template that was read."""

    __slots__ = ("_part", "is_table", "text")

    def __init__(self, text: str) -> None:
        """Read a template; ``\\t`` and ``\\n`` in its text stand for a tab and a newline.

        ``is_table`` tells whether it began with the word ``table``.  Raises UsageError.
        """
        if len(text) > _TEMPLATE_LIMIT:
            raise UsageError(
                f"template: longer than {_TEMPLATE_LIMIT} characters", "use JSON and jq"
            )
        self.is_table = text.startswith("table ")
        self.text = text.removeprefix("table ").lstrip(" " if self.is_table else "")
        self._part = _Reader(_items(self.text.replace("\\t", "\t").replace("\\n", "\n"))).whole()

    def render(self, dot: Any) -> str:
        """Return the text for a value.  Raises UsageError."""
        return self._part(Scope(dot, {"$": dot}))


class _Item:
    """A piece of a template: text, or the tokens of an action."""

    __slots__ = ("text", "tokens")

    def __init__(self, text: str, tokens: list[_Token] | None = None) -> None:
        self.text = text
        self.tokens = tokens


class _Token:
    """A token.

    kind   "name", "field", "variable", "literal" or "mark"
    joined whether no blank stands before it
    """

    __slots__ = ("joined", "kind", "value")

    def __init__(self, kind: str, value: Any, *, joined: bool) -> None:
        self.kind = kind
        self.value = value
        self.joined = joined


def _fault(what: str) -> UsageError:
    return UsageError(f"template: {what}", _HINT)


def _items(text: str) -> list[_Item]:
    """Split a template into texts and actions; blanks beside trim markers go."""
    items: list[_Item] = []
    trims = False
    while True:
        before, opened, rest = text.partition(_OPEN)
        if trims:
            before = before.lstrip(_BLANKS)
        if not opened:
            items.append(_Item(before))
            return items
        if rest[:1] == "-" and rest[1:2] in tuple(_BLANKS):
            before, rest = before.rstrip(_BLANKS), rest[1:]
        items.append(_Item(before))
        if rest.lstrip(_BLANKS).startswith("/*"):
            _, closed, rest = rest.partition("*/")
            end = rest.lstrip(_BLANKS)
            if not closed or not end.startswith((_CLOSE, "-" + _CLOSE)):
                raise _fault("a comment without an end")
            trims = end.startswith("-")
            text = end.removeprefix("-")[len(_CLOSE) :]
            continue
        tokens, text, trims = _action(rest)
        items.append(_Item("", tokens))


def _action(text: str) -> tuple[list[_Token], str, bool]:
    """Return the tokens of an action, the text after it, and whether that is trimmed."""
    tokens: list[_Token] = []
    place, joined = 0, False
    while True:
        character = text[place : place + 1]
        if not character:
            raise _fault("an action without }}")
        if text.startswith(_CLOSE, place):
            return tokens, text[place + len(_CLOSE) :], False
        if not joined and text.startswith("-" + _CLOSE, place):
            return tokens, text[place + 1 + len(_CLOSE) :], True
        if character in _BLANKS:
            place, joined = place + 1, False
            continue
        token, place = _token(text, place, joined=joined)
        tokens.append(token)
        joined = True


def _token(text: str, place: int, *, joined: bool) -> tuple[_Token, int]:
    """Return the token at ``place``, and the place after it."""
    character = text[place]
    if character == '"':
        return _quoted(text, place + 1, joined=joined)
    if character == "`":
        end = text.find("`", place + 1)
        if end < 0:
            raise _fault("a string without an end")
        return _Token("literal", text[place + 1 : end], joined=joined), end + 1
    if character in ".$":
        end = _word_end(text, place + 1)
        kind = "field" if character == "." else "variable"
        word = text[place + 1 : end] if character == "." else text[place:end]
        return _Token(kind, word, joined=joined), end
    if character.isdigit() or (character == "-" and text[place + 1 : place + 2].isdigit()):
        end = _word_end(text, place + 1)
        word = text[place:end]
        is_number = word.lstrip("-").isdecimal() and word.isascii() and len(word) <= _NUMBER_LIMIT
        if not is_number or text[end : end + 1] == ".":
            raise _fault(f"no numbers like {text[place : end + 1][:_SHOWN]}")
        return _Token("literal", int(word), joined=joined), end
    if character.isalpha() or character == "_":
        end = _word_end(text, place)
        word = text[place:end]
        if word in _CONSTANTS:
            return _Token("literal", _CONSTANTS[word], joined=joined), end
        return _Token("name", word, joined=joined), end
    for mark in (":=", "(", ")", "|", ",", "="):
        if text.startswith(mark, place):
            return _Token("mark", mark, joined=joined), place + len(mark)
    raise _fault(f"what is {character!r}?")


def _quoted(text: str, place: int, *, joined: bool) -> tuple[_Token, int]:
    found = ""
    while True:
        character = text[place : place + 1]
        if character in ("", "\n"):
            raise _fault("a string without an end")
        if character == '"':
            return _Token("literal", found, joined=joined), place + 1
        if character == "\\":
            place += 1
            escape = text[place : place + 1]
            if escape not in _ESCAPES:
                raise _fault(f"no escape like \\{escape}")
            character = _ESCAPES[escape]
        found += character
        place += 1


def _word_end(text: str, place: int) -> int:
    while place < len(text) and (text[place].isalnum() or text[place] == "_"):
        place += 1
    return place


class _Reader:
    """The reader of the items of a template."""

    def __init__(self, items: Iterable[_Item]) -> None:
        self._items = iter(items)
        self._depth = 0

    def whole(self) -> Part:
        """Return the whole template."""
        part, end = self._block()
        if end is not None:
            raise _fault(f"{end[0].value} without if, with or range")
        return part

    def _block(self) -> tuple[Part, list[_Token] | None]:
        """Return the parts up to ``else``, ``end`` or the end, and the tokens of that action."""
        parts: list[Part] = []
        end = None
        for item in self._items:
            if item.tokens is None:
                parts.append(_text(item.text))
                continue
            word = item.tokens[0].value if item.tokens and item.tokens[0].kind == "name" else ""
            if word in ("end", "else"):
                end = item.tokens
                break
            parts.append(self._control(word, item.tokens))
        return lambda scope: "".join([part(scope) for part in parts]), end

    def _control(self, word: str, tokens: list[_Token]) -> Part:
        if word in ("if", "with", "range"):
            return self._branch(word, _Pipeline(tokens[1:], is_range=word == "range"))
        if word in _NOT_HERE:
            raise _fault(f"no {word} here")
        pipeline = _Pipeline(tokens)

        def printed(scope: Scope) -> str:
            value = pipeline.value(scope)
            if pipeline.names:
                scope.variables[pipeline.names[0]] = value
                return ""
            return shown(value)

        return printed

    def _branch(self, word: str, pipeline: _Pipeline) -> Part:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise _fault(f"more than {_DEPTH_LIMIT} blocks in one another")
        body, end = self._block()
        otherwise: Part = _text("")
        if end is not None and end[0].value == "else":
            if len(end) > 1:
                kind = end[1].value
                if end[1].kind != "name" or kind not in ("if", "with"):
                    raise _fault(f"else {kind}")
                otherwise = self._branch(kind, _Pipeline(end[2:]))
                end = [end[0]]
            else:
                otherwise, end = self._block()
                if end is not None and end[0].value == "else":
                    raise _fault("else after else")
        if end is None:
            raise _fault(f"{word} without end")
        self._depth -= 1
        if word == "range":
            return lambda scope: _ranged(scope, pipeline, body, otherwise)

        def chosen(scope: Scope) -> str:
            value = pipeline.value(scope)
            names = dict.fromkeys(pipeline.names, value)
            dot = value if word == "with" else scope.dot
            if is_true(value):
                return body(scope.inner(dot, **names))
            return otherwise(scope.inner(scope.dot, **names))

        return chosen


def _ranged(scope: Scope, pipeline: _Pipeline, body: Part, otherwise: Part) -> str:
    value = pipeline.value(scope)
    if isinstance(value, dict):
        pairs = [(key, value[key]) for key in sorted(value)]
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    elif value is None:
        pairs = []
    else:
        raise _fault(f"range: neither a list nor a map: {shown(value)}")
    if not pairs:
        return otherwise(scope.inner(scope.dot))
    texts = []
    for key, item in pairs:
        values = (item,) if len(pipeline.names) == 1 else (key, item)
        names = dict(zip(pipeline.names, values, strict=False))
        texts.append(body(scope.inner(item, **names)))
    return "".join(texts)


def _text(text: str) -> Part:
    return lambda scope: text  # noqa: ARG005 - as all parts


class _Pipeline:
    """A pipeline.

    names  the variables that get its value: one, or two of ``range``
    value  the function that returns its value
    """

    def __init__(self, tokens: list[_Token], *, is_range: bool = False) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0
        self.names = self._declared(is_range=is_range)
        self.value = self._piped()
        if self._place != len(tokens):
            raise _fault(f"unexpected {tokens[self._place].value}")

    def _declared(self, *, is_range: bool) -> list[str]:
        kinds = [token.kind for token in self._tokens[:4]]
        marks = [token.value for token in self._tokens[:4]]
        if kinds[:2] == ["variable", "mark"] and marks[1] in (":=", "="):
            if marks[1] == "=":
                raise _fault("no assignment by = here")
            self._place = 2
            return [marks[0]]
        pair = ["variable", "mark", "variable", "mark"]
        if is_range and kinds == pair and (marks[1], marks[3]) == (",", ":="):
            self._place = 4
            return [marks[0], marks[2]]
        return []

    def _next(self) -> _Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _piped(self) -> Value:
        """Read commands with ``|`` between them."""
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise _fault(f"more than {_DEPTH_LIMIT} parentheses in one another")
        value = self._command(None)
        while (token := self._next()) is not None and token.kind == "mark" and token.value == "|":
            self._place += 1
            value = self._command(value)
        self._depth -= 1
        return value

    def _command(self, piped: Value | None) -> Value:
        first = self._next()
        if first is None:
            raise _fault("an empty action")
        if first.kind == "name":
            self._place += 1
            operands = self._operands()
            return _called(first.value, [*operands, piped] if piped else operands)
        operands = self._operands()
        if len(operands) != 1 or piped is not None:
            raise _fault("only a function takes operands")
        return operands[0]

    def _operands(self) -> list[Value]:
        found: list[Value] = []
        while (token := self._next()) is not None:
            if token.kind == "mark" and token.value != "(":
                break
            found.append(self._operand())
        return found

    def _operand(self) -> Value:
        token = self._tokens[self._place]
        self._place += 1
        if token.kind == "literal":
            return lambda scope: token.value  # noqa: ARG005
        if token.kind == "mark":
            inner = self._piped()
            closing = self._next()
            if closing is None or closing.value != ")" or closing.kind != "mark":
                raise _fault("( without )")
            self._place += 1
            return self._fields(inner, [])
        if token.kind == "name":
            return _called(token.value, [])
        if token.kind == "variable":
            return self._fields(lambda scope: _variable(scope, token.value), [])
        return self._fields(lambda scope: scope.dot, [token.value] if token.value else [])

    def _fields(self, start: Value, names: list[str]) -> Value:
        """Read the fields that follow without a blank."""
        while (token := self._next()) is not None and token.kind == "field" and token.joined:
            if not token.value:
                raise _fault("a dot without a field")
            names.append(token.value)
            self._place += 1

        def found(scope: Scope) -> Any:
            value = start(scope)
            for place, name in enumerate(names, 1):
                value = field(value, name, "." + ".".join(names[:place]))
            return value

        return found


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope.variables:
        raise _fault(f"no such variable: {name}")
    return scope.variables[name]


def _called(name: str, operands: list[Value]) -> Value:
    """Return the call of a function.  Raises UsageError if there is none, or has other operands."""
    if name in ("and", "or"):
        if not operands:
            raise _fault(f"{name}: too few operands")
        return lambda scope: _decided(scope, operands, stops_at=name == "or")
    if name not in FUNCTIONS:
        raise _fault(f"no such function: {name}")
    least, most, function = FUNCTIONS[name]
    if len(operands) < least or (most is not None and len(operands) > most):
        raise _fault(f"{name}: too {'few' if len(operands) < least else 'many'} operands")
    return lambda scope: function(*(operand(scope) for operand in operands))


def _decided(scope: Scope, operands: list[Value], *, stops_at: bool) -> Any:
    value = None
    for operand in operands:
        value = operand(scope)
        if is_true(value) == stops_at:
            break
    return value
