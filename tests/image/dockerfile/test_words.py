"""Quotes, escapes and substitution: the reference's examples, tables, and sh as an oracle."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.errors import SubstitutionError
from sundog.image.dockerfile.words import (
    expand,
    expand_document,
    expand_words,
    raw_words,
    unquoted_words,
)

VARIABLES = {
    "foo": "/bar",
    "str": "foobarbaz",
    "empty": "",
    "quoted": "'a' \"b\" $foo \\c",
    "two": "a b",
    "path": "/usr/lib/x.tar.gz",
    "star": "a*b?c",
    "é": "accent",
    "_1": "underscore",
}

EXPANDED = {
    # The reference's own examples.
    "${foo}": "/bar",
    "$foo": "/bar",
    "\\$foo": "$foo",
    "\\${foo}": "${foo}",
    "${foo}_bar": "/bar_bar",
    "${str#f*b}": "arbaz",
    "${str##f*b}": "az",
    "${str%b*}": "foobar",
    "${str%%b*}": "foo",
    "${str/ba/fo}": "fooforbaz",
    "${str//ba/fo}": "fooforfoz",
    # Set, empty, unset.
    "${str:-x}${empty:-x}${none:-x}": "foobarbazxx",
    "${str-x}${empty-x}${none-x}": "foobarbazx",
    "${str:+x}${empty:+x}${none:+x}": "x",
    "${str+x}${empty+x}${none+x}": "xx",
    "${str:?x}${str?x}${empty?x}": "foobarbazfoobarbaz",
    "a$none-b${none}c": "a-bc",
    # Words of modifiers are words.
    "${none:-$foo}": "/bar",
    "${none:-${none:-${foo}}}": "/bar",
    "${none:-'$foo' \"$foo\" \\$foo}": "$foo /bar $foo",
    "${none:-a b}": "a b",
    "${none:-\\}}": "}",
    "${none:-{}": "{",
    "${none:-}": "",
    "${none:-:-}": ":-",
    # Names.
    "$foo/$str.$empty": "/bar/foobarbaz.",
    "$foobar": "",
    "$_1${_1}": "underscoreunderscore",
    "$é": "accent",
    "$1$12a$@$*$#$?$-$$$!": "a",
    "$": "$",
    "$ $/ $. $\\$": "$ $/ $. $$",
    "$'a'$\"b\"": "$a$b",
    # Quotes and escapes.
    "a'b'c": "abc",
    "'$foo \\a \"'": '$foo \\a "',
    '"$foo \'$foo\' \\$foo \\" \\\\ \\a"': "/bar '/bar' $foo \" \\ \\a",
    "\\a\\ \\'\\\"\\\\": "a '\"\\",
    "a\\": "a",
    "''": "",
    "a  b ": "a  b ",
    # Values are not expanded again.
    "$quoted": "'a' \"b\" $foo \\c",
    '"$quoted"': "'a' \"b\" $foo \\c",
    # Patterns.
    "${path##*/}": "x.tar.gz",
    "${path%/*}": "/usr/lib",
    "${path%%.*}": "/usr/lib/x",
    "${path#?}": "usr/lib/x.tar.gz",
    "${path#x}": "/usr/lib/x.tar.gz",
    "${path#$foo}": "/usr/lib/x.tar.gz",
    "${path#/usr/$none}": "lib/x.tar.gz",
    "${path:#/usr}": "/lib/x.tar.gz",
    "${str%%}": "foobarbaz",
    "${str#}": "foobarbaz",
    "${none#a}${none%a}${none/a/b}": "",
    "${star#a\\*}": "b?c",
    "${star%\\?c}": "a*b",
    "${star#a\\?}": "a*b?c",
    "${star#'a*'}": "*b?c",  # unlike in sh, quotes do not make a star literal
    "${star%%'*c'}": "",
    "${none:-${path//\\//_}}": "_usr_lib_x.tar.gz",
    "${path/\\//-}": "-usr/lib/x.tar.gz",
    "${path/*./}": "gz",
    "${path//?/x}": "xxxxxxxxxxxxxxxxx",
    "${str//*/x}": "x",
    "${str//o/$foo}": "f/bar/barbarbaz",
    "${str/o/\\$}": "f\\$obarbaz",  # the replacement keeps its escapes
    "${str///}": "foobarbaz",
    "${foo#[a-z/]}": "/bar",  # no bracket expressions
    "${star//[*]/x}": "a*b?c",
}

REFUSED = {
    "'a": "single quote is not closed",
    'a"b': "double quote is not closed",
    '"a\\"': "double quote is not closed",
    "${": "missing '}'",
    "${foo": "missing '}'",
    "${foo:-a": "missing '}'",
    "${foo:-${str}": "missing '}'",
    "${}": "bad substitution",
    "${:-a}": "bad substitution",
    "${{foo}}": "bad substitution",
    "${foo^^}": "unsupported modifier",
    "${foo:0:3}": "unsupported modifier",
    "${foo=a}": "unsupported modifier",
    "${foo:=a}": "unsupported modifier",
    "${ foo}": "unsupported modifier",
    "${#foo}": "unsupported modifier",
    "${foo:": "unsupported modifier",
    "${foo/a}": "missing '/'",
    "${foo//}": "missing '/'",
    "${foo/a/b": "missing '}'",
    "${none?}": "none: is not allowed to be unset",
    "${empty:?}": "empty: is not allowed to be empty",
    "${none:?please set $foo}": "none: please set /bar",
    "${foo#\\a}": "invalid escape: \\a",
}


@pytest.mark.parametrize("text", EXPANDED)
def test_word_is_expanded(text: str) -> None:
    assert expand(text, VARIABLES) == EXPANDED[text]


@pytest.mark.parametrize("text", REFUSED)
def test_word_is_refused(text: str) -> None:
    with pytest.raises(SubstitutionError) as caught:
        expand(text, VARIABLES)
    assert REFUSED[text] in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`$foo", "$foo"),
        ("c:\\x\\$foo", "c:\\x\\/bar"),
        ('"`"`$``\\"', '"$`\\'),
        ("${none:-`}}", "}"),
        ("a`", "a"),
    ],
)
def test_escape_character_can_be_the_backquote(text: str, expected: str) -> None:
    assert expand(text, VARIABLES, "`") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc ", ["a", "b", "c"]),
        ("$two", ["a", "b"]),
        ('"$two" x', ["a b", "x"]),
        ("x${two}y", ["xa", "by"]),
        ("'a  b' c\\ d", ["a  b", "c d"]),
        ("$empty '' \"\"", []),
        ("''a $empty", ["a"]),
        ("${none:-'a b' c}", ["a", "b", "c"]),
        ("a\u00a0b\u3000c\x1cd", ["a", "b", "c\x1cd"]),
    ],
)
def test_words_are_split_where_they_are_not_quoted(text: str, expected: list[str]) -> None:
    assert expand_words(text, VARIABLES) == expected


def test_document_has_no_quotes() -> None:
    text = "it's \"$foo\" '${foo}' \\$foo\n\\\\ `a`\n"
    assert expand_document(text, VARIABLES) == "it's \"/bar\" '/bar' $foo\n\\ `a`\n"


def test_raw_words_keep_everything() -> None:
    text = 'RUN a=\'b c\' "d\\"e" f\\ g $foo ${none:-x}  <<E'
    expected = ["RUN", "a='b c'", '"d\\"e"', "f\\ g", "$foo", "${none:-x}", "<<E"]
    assert raw_words(text) == expected


def test_raw_words_of_no_word_are_none() -> None:
    assert raw_words("echo it's <<E") == []


def test_unquoted_words_keep_variables() -> None:
    assert unquoted_words("'a b'\\c\"d$foo\" $e") == ["a bcd$foo", "$e"]


def test_plain_text_comes_back_as_it_is() -> None:
    text = "/usr/bin:/bin" * 100
    assert expand(text, {}) is text


def test_word_without_expansion_is_not_read_for_patterns() -> None:
    """Values with all that is special in regular expressions and templates stay literal."""
    hostile = ".*+?^$()[]{}|\\1\\g<0>"
    assert expand("${a/b/$c}", {"a": "abc", "c": hostile}) == f"a{hostile}c"
    assert expand("${a#()[].+|^}", {"a": "()[].+|^x"}) == "x"


# The syntax on which sh and BuildKit agree: no quotes or braces in quoted modifiers, no brackets in
# patterns, no blanks outside quotes.

NAMES = st.sampled_from(["a", "b", "c", "e", "u"])  # e is empty, u is unset
VALUES = st.text("ab/.*?'\"\\ $-", max_size=8)  # dash's ``?`` is a byte
PLAIN = st.text("ab/.,-+:=@%", min_size=1, max_size=4)
PATTERNS = st.lists(st.sampled_from(["a", "b", "/", ".", "*", "?", "\\*", "\\?"]), max_size=4)
SPECIAL = st.sampled_from(["\\$", "\\\\", '\\"', "\\'", "\\a", "$u", "''", '""', "$/", "$."])


def parameters(
    word: st.SearchStrategy[str], pattern: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    return st.one_of(
        NAMES.map("${{{}}}".format),
        st.tuples(NAMES, st.sampled_from(["-", ":-", "+", ":+"]), word).map(
            lambda parts: "${{{}{}{}}}".format(*parts)
        ),
        st.tuples(NAMES, st.sampled_from(["#", "##", "%", "%%"]), pattern).map(
            lambda parts: "${{{}{}{}}}".format(*parts)
        ),
    )


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(*parts), min_size=1, max_size=4).map("".join)


GLOBS = PATTERNS.map("".join)
PARAMETERS = parameters(st.one_of(PLAIN, NAMES.map("${{{}}}".format)), GLOBS)
IN_DOUBLE_QUOTES = joined(
    PLAIN, PARAMETERS, st.sampled_from(["\\$", "\\\\", '\\"', "\\a", "'", " "])
)
EXPRESSIONS = joined(
    PLAIN,
    SPECIAL,
    PARAMETERS,
    st.text('ab$\\" *', max_size=5).map("'{}'".format),
    IN_DOUBLE_QUOTES.map('"{}"'.format),
)


def evaluated(shell: str, expressions: list[str], variables: dict[str, str]) -> list[str]:
    """Let a shell expand the expressions, all in one process."""
    script = "".join(f"r={expression}\nprintf '%s\\0' \"$r\"\n" for expression in expressions)
    done = subprocess.run(
        [shell, "-c", script],
        env={**variables, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().split("\0")[:-1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(EXPRESSIONS, min_size=1, max_size=20),
    st.fixed_dictionaries({"a": VALUES, "b": VALUES, "c": VALUES, "e": st.just("")}),
)
def test_expansion_agrees_with_sh(expressions: list[str], variables: dict[str, str]) -> None:
    theirs = evaluated("/bin/sh", expressions, variables)
    ours = [expand(expression, variables) for expression in expressions]
    assert dict(zip(expressions, ours, strict=True)) == dict(zip(expressions, theirs, strict=True))


REPLACEMENTS = st.tuples(
    NAMES,
    st.sampled_from(["/", "//"]),
    # Left out: patterns of only stars, which can match nothing; and ``*\\*``, where bash differs.
    GLOBS.map(lambda glob: glob.replace("\\*", "").replace("/", "\\/")).filter(
        lambda glob: glob.strip("*") != ""
    ),
    st.one_of(st.just(""), PLAIN.filter(lambda text: "%" not in text[:1]), st.just("$b")),
).map(lambda parts: "${{{}{}{}/{}}}".format(*parts))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(REPLACEMENTS, min_size=1, max_size=20),
    st.fixed_dictionaries({"a": VALUES, "b": VALUES, "c": VALUES, "e": st.just("")}),
)
def test_replacement_agrees_with_bash(expressions: list[str], variables: dict[str, str]) -> None:
    bash = shutil.which("bash")
    assert bash, "every system that this is developed on has bash"
    variables = {name: value.replace("\\", "") for name, value in variables.items()}
    theirs = evaluated(bash, expressions, variables)
    ours = [expand(expression, variables) for expression in expressions]
    assert dict(zip(expressions, ours, strict=True)) == dict(zip(expressions, theirs, strict=True))
