/* Calls by which root changes names, modes, owners and times.  The supervisor refuses root nothing,
 * and has something to do only if a file has a record, or if a directory passes something on. */
enum { S_ISUID = 04000, S_ISGID = 02000, SET_ID_BITS = 06000 };
enum { PATH_ROOM = 256 };

/* CHOSEN(is_fast, name, arguments): the result of a call. */
#define CHOSEN(is_fast, name, ...) \
    return returned((is_fast) ? FAST(name, __VA_ARGS__) : SLOW(name, __VA_ARGS__))

static int may_remove(void) { return !(state() & HAS_LINKS) && is_root(); }
static int may_set_times(void) { return !(state() & HAS_LISTED) && is_root(); }
static int may_rename(void) { return !(state() & (HAS_LINKS | HAS_LISTED)) && is_root(); }

SHOWN int unlink(const char *path) { CHOSEN(may_remove(), unlink, path); }
SHOWN int rmdir(const char *path) { CHOSEN(may_remove(), rmdir, path); }
SHOWN int unlinkat(int fd, const char *path, int flags)
{
    CHOSEN(may_remove(), unlinkat, fd, path, flags);
}
SHOWN int rename(const char *old, const char *new) { CHOSEN(may_rename(), rename, old, new); }
SHOWN int renameat(int old_fd, const char *old, int new_fd, const char *new)
{
    CHOSEN(may_rename(), renameat, old_fd, old, new_fd, new);
}
SHOWN int renameat2(int old_fd, const char *old, int new_fd, const char *new, unsigned flags)
{
    CHOSEN(may_rename(), renameat2, old_fd, old, new_fd, new, flags);
}

/* Root is refused nothing that the kernel does not refuse. */
SHOWN int chdir(const char *path) { CHOSEN(is_root(), chdir, path); }
SHOWN int fchdir(int fd) { CHOSEN(is_root(), fchdir, fd); }
SHOWN int access(const char *path, int mode) { CHOSEN(is_root(), access, path, mode); }
SHOWN int faccessat(int fd, const char *path, int mode, int flags)
{
    static void *kept;
    if (!flags) CHOSEN(is_root(), faccessat, fd, path, mode);
    int (*own)(int, const char *, int, int) = is_root() ? NULL : next("faccessat", &kept);
    if (own) return own(fd, path, mode, flags);
    CHOSEN(is_root(), faccessat2, fd, path, mode, flags);
}

/* glibc checks some arguments itself: its documentation, and POSIX. */
SHOWN int utime(const char *path, const void *times)
{
    CHOSEN(may_set_times(), utime, path, times);
}
SHOWN int utimes(const char *path, const void *times)
{
    CHOSEN(may_set_times(), utimes, path, times);
}
SHOWN int futimesat(int fd, const char *path, const void *times)
{
    CHOSEN(may_set_times(), futimesat, fd, path, times);
}
SHOWN int utimensat(int fd, const char *path, const void *times, int flags)
{
    if (!path && gnu_get_libc_version) return returned(-EINVAL);
    CHOSEN(may_set_times(), utimensat, fd, path, times, flags);
}
SHOWN int futimens(int fd, const void *times)
{
    if (fd < 0 && gnu_get_libc_version) return returned(-EBADF);
    CHOSEN(may_set_times(), utimensat, fd, 0, times, 0);
}

/* Whether a new file in the directory of a path is root's, as the kernel makes it. */
static int passes_nothing_on(int fd, const char *path)
{
    char directory[PATH_ROOM];
    struct status found;
    size_t length = 0;
    if (!path) return 0;
    if (!(state() & MAY_INHERIT)) return 1;
    for (; path[length]; length++) {
        if (length == PATH_ROOM - 2) return 0;
        directory[length] = path[length];
    }
    while (length > 1 && directory[length - 1] == '/') length--;
    while (length && directory[length - 1] != '/') length--;
    if (!length) directory[length++] = '.';
    directory[length] = 0;
    return !FAST(newfstatat, fd, directory, &found, 0) && !(found.mode & S_ISGID)
           && lacks(&found, SAYS_MODE | SAYS_ATTRIBUTES);
}
#define MAY_MAKE(fd, path) (is_root() && passes_nothing_on(fd, path))

SHOWN int mkdir(const char *path, unsigned mode)
{
    CHOSEN(MAY_MAKE(AT_FDCWD, path), mkdir, path, mode);
}
SHOWN int mkdirat(int fd, const char *path, unsigned mode)
{
    CHOSEN(MAY_MAKE(fd, path), mkdirat, fd, path, mode);
}
SHOWN int symlink(const char *target, const char *path)
{
    CHOSEN(MAY_MAKE(AT_FDCWD, path), symlink, target, path);
}
SHOWN int symlinkat(const char *target, int fd, const char *path)
{
    CHOSEN(MAY_MAKE(fd, path), symlinkat, target, fd, path);
}

/* Whether the kernel may change the mode of a file, and no record has another. */
#define HAS_OWN_MODE(name, ...) \
    (may_remove() && !FAST(name, __VA_ARGS__) && !found.uid && lacks(&found, SAYS_MODE))
/* The same, and to give the file to root or to nobody changes nothing. */
#define STAYS_OWN(uid, gid, name, ...) \
    ((uid) + 1 <= 1 && (gid) + 1 <= 1 && HAS_OWN_MODE(name, __VA_ARGS__) && !found.gid \
     && !(found.mode & S_ISGID) && !is_recorded(found.inode))

SHOWN int chmod(const char *path, unsigned mode)
{
    struct status found;
    CHOSEN(HAS_OWN_MODE(stat, path, &found), chmod, path, mode);
}
SHOWN int fchmod(int fd, unsigned mode)
{
    struct status found;
    CHOSEN(!(mode & SET_ID_BITS) && HAS_OWN_MODE(fstat, fd, &found), fchmod, fd, mode);
}
SHOWN int fchmodat(int fd, const char *path, unsigned mode, int flags)
{
    static void *kept;
    struct status found;
    if (flags == AT_SYMLINK_NOFOLLOW && HAS_OWN_MODE(newfstatat, fd, path, &found, flags)
        && (found.mode & S_IFMT) != S_IFLNK) {
        long result = FAST(fchmodat2, fd, path, mode, flags);
        if (result != -ENOSYS) return returned(result);
    }
    if (flags) {
        int (*own)(int, const char *, unsigned, int) = next("fchmodat", &kept);
        return own ? own(fd, path, mode, flags) : returned(-EOPNOTSUPP);
    }
    CHOSEN(HAS_OWN_MODE(newfstatat, fd, path, &found, 0), fchmodat, fd, path, mode);
}
SHOWN int chown(const char *path, unsigned uid, unsigned gid)
{
    struct status found;
    CHOSEN(STAYS_OWN(uid, gid, stat, path, &found), chown, path, uid, gid);
}
SHOWN int lchown(const char *path, unsigned uid, unsigned gid)
{
    struct status found;
    CHOSEN(STAYS_OWN(uid, gid, lstat, path, &found), lchown, path, uid, gid);
}
SHOWN int fchown(int fd, unsigned uid, unsigned gid)
{
    struct status found;
    CHOSEN(STAYS_OWN(uid, gid, fstat, fd, &found), fchown, fd, uid, gid);
}
SHOWN int fchownat(int fd, const char *path, unsigned uid, unsigned gid, int flags)
{
    struct status found;
    CHOSEN(!(flags & ~AT_SYMLINK_NOFOLLOW)
               && STAYS_OWN(uid, gid, newfstatat, fd, path, &found, flags),
           fchownat, fd, path, uid, gid, flags);
}
