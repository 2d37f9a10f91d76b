"""What counts as a blank, to the letter of BuildKit's parser, which tells two sets apart."""

# Unicode's White_Space property: what is trimmed off lines and separates words.  str.isspace will
# not do: it takes in U+001C…U+001F.
BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

# What separates an instruction from its arguments, and arguments where quotes have no meaning.
SEPARATORS = "\t\v\f\r "
