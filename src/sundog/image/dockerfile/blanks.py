"""Blank characters, exactly those of BuildKit's parser, which has two sets of them."""

# Unicode's White_Space property: these are trimmed off lines and separate words.  str.isspace does
# not fit, because it includes U+001C…U+001F.
from __future__ import annotations

BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

# These separate an instruction from its arguments, and arguments in which quotes have no meaning.
SEPARATORS = "\t\v\f\r "
