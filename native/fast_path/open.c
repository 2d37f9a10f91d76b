/* The family of open(2).  The filter lets most opens pass anyway.  If there are threads, these are
 * left to the C library, and so is all that may wait: pthread_cancel(3) ends such an open.  The
 * library's openat is found before there are threads: fork(2) may copy a lock of the loader, and
 * the child may open files all the same (signal-safety(7)). */
static void *libc_openat;

enum {
    O_ACCMODE = 3, O_WRONLY = 1, O_CREAT = 0100, O_EXCL = 0200, O_NOCTTY = 0400, O_TRUNC = 01000,
    O_NONBLOCK = 04000, O_LARGEFILE = 0100000, O_NOFOLLOW = 0400000, O_CLOEXEC = 02000000,
    O_PATH = 010000000, O_UNNAMED = 020000000,
};

/* Whether a file that an open makes is root's.  The file may be made where a link leads. */
static int may_make(int fd, const char *path, int flags)
{
    struct status found;
    return passes_nothing_on(fd, path)
           && (!(state() & MAY_INHERIT) || flags & O_EXCL
               || FAST(newfstatat, fd, path, &found, AT_SYMLINK_NOFOLLOW) == -ENOENT);
}

/* Whether the filter asks about an open, and the supervisor would leave it to the kernel. */
static int is_open_plain(int fd, const char *path, int flags)
{
    struct status found;
    int is_change = flags & (O_ACCMODE | O_CREAT | O_TRUNC);
    if (!path || flags & (O_PATH | O_UNNAMED)) return 0;
    if (!is_change && flags & ~(O_LARGEFILE | O_NOCTTY)) return 0; /* it asks nobody */
    if (is_change ? !is_root() : !(state() & SERVED)) return 0;
    long result = FAST(newfstatat, fd, path, &found, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0);
    if (result) return result == -ENOENT && (!(flags & O_CREAT) || may_make(fd, path, flags));
    unsigned type = found.mode & S_IFMT;
    if (type != S_IFREG && type != S_IFDIR) return 0;
    if (!is_change)
        return is_plain(found.device) && (!(state() & HAS_DEVICES) || lacks(&found, SAYS_MODE));
    return lacks(&found, SAYS_MODE) && !(type == S_IFREG && found.mode & SET_ID_BITS);
}

#define MODE(flags) \
    unsigned mode = 0; \
    if ((flags) & (O_CREAT | O_UNNAMED)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, unsigned); \
        va_end(more); \
    }

SHOWN int openat(int fd, const char *path, int flags, ...)
{
    MODE(flags)
    if (is_open_plain(fd, path, flags)) return returned(FAST(openat, fd, path, flags, mode));
    int (*own)(int, const char *, int, ...) =
        has_one_thread() ? NULL : next("openat", &libc_openat);
    return own ? own(fd, path, flags, mode) : returned(SLOW(openat, fd, path, flags, mode));
}
/* Not by the C library's open, which may be this function: see walk.c. */
SHOWN int open(const char *path, int flags, ...)
{
    MODE(flags)
    return openat(AT_FDCWD, path, flags, mode);
}
/* The variants without a mode, for programs that were compiled with _FORTIFY_SOURCE: libc ends a
 * program that needs one. */
SHOWN int __openat_2(int fd, const char *path, int flags)
{
    static void *kept;
    int (*own)(int, const char *, int) =
        flags & (O_CREAT | O_UNNAMED) ? next("__openat_2", &kept) : NULL;
    return own ? own(fd, path, flags) : openat(fd, path, flags);
}
SHOWN int __open_2(const char *path, int flags) { return __openat_2(AT_FDCWD, path, flags); }
int __open64_2(const char *path, int flags) SAME_AS(__open_2);
int __openat64_2(int fd, const char *path, int flags) SAME_AS(__openat_2);
int open64(const char *path, int flags, ...) SAME_AS(open);
int openat64(int fd, const char *path, int flags, ...) SAME_AS(openat);
SHOWN int creat(const char *path, unsigned mode)
{
    return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, unsigned mode) SAME_AS(creat);
