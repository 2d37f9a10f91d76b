/* Looks at extended attributes.  The supervisor has an answer of its own if a record has some. */
#define SHOWS_OWN(name, ...) \
    (is_root() && (!(state() & HAS_ATTRIBUTES) \
                   || (!(state() & HAS_LINKS) && !FAST(name, __VA_ARGS__) \
                       && lacks(&found, SAYS_ATTRIBUTES))))

#define ATTRIBUTE_CALLS(prefix, type, look) \
    SHOWN long prefix##getxattr(type file, const char *name, void *to, size_t size) \
    { \
        struct status found; \
        CHOSEN(SHOWS_OWN(look, file, &found), prefix##getxattr, file, name, to, size); \
    } \
    SHOWN long prefix##listxattr(type file, char *to, size_t size) \
    { \
        struct status found; \
        CHOSEN(SHOWS_OWN(look, file, &found), prefix##listxattr, file, to, size); \
    }
ATTRIBUTE_CALLS(, const char *, stat)
ATTRIBUTE_CALLS(l, const char *, lstat)
ATTRIBUTE_CALLS(f, int, fstat)
