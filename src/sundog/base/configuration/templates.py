"""Paths in the configuration that are another one for each user.

``%u`` stands for the account's name, ``%U`` for its ID, ``%%`` for a per cent sign, and ``$NAME``
for a variable of the environment.  A path with a variable that is unset or empty stands for none.
The compiled start does the same: native/settings.c.
"""

from __future__ import annotations

import os

from sundog.base.record.location import local_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.location import Variables

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
_NAME_BYTES = _LETTERS + b"0123456789"
_SIGNS = b"uU%"


def is_template(text: bytes) -> bool:
    """Tell whether ``text`` can be a path: absolute, or a variable first, with known signs."""
    if text[:1] not in (b"/", b"$"):
        return False
    at = 0
    while at < len(text):
        sign, following = text[at : at + 1], text[at + 1 : at + 2]
        if sign == b"%" and (not following or following not in _SIGNS):
            return False
        if sign == b"$" and (not following or following not in _LETTERS):
            return False
        at += 2 if sign in (b"%", b"$") else 1
    return True


def variables_in(text: bytes) -> set[bytes]:
    """Return the names of the variables in a template, or in several with colons between them."""
    names = set()
    for part in text.split(b"$")[1:]:
        end = 0
        while end < len(part) and part[end : end + 1] in _NAME_BYTES:
            end += 1
        names.add(part[:end])
    return names


def place_for(template: bytes, environment: Variables, user: bytes | None = None) -> bytes:
    """Return the absolute path that ``template`` stands for, b"" for none.

    ``user`` is the account's name; None: it is looked up if it is needed.
    """
    path = b""
    at = 0
    while at < len(template):
        sign = template[at : at + 1]
        at += 1
        if sign == b"%":
            sign = template[at : at + 1]
            at += 1
            if sign == b"u":
                sign = local_user(environment) if user is None else user
            elif sign == b"U":
                sign = b"%d" % os.geteuid()
        elif sign == b"$":
            end = at
            while end < len(template) and template[end : end + 1] in _NAME_BYTES:
                end += 1
            sign = environment.get(template[at:end]) or b""
            at = end
            if not sign:
                return b""
        path += sign
    if not path.startswith(b"/"):
        return b""
    return path.rstrip(b"/") or b"/"
