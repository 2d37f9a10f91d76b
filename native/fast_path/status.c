/* The family of stat(2).  The supervisor would leave a call to the kernel if the file is root's, in
 * the kernel's eyes, too, has no record, and is not in a /proc. */
struct status { /* struct stat of x86-64 */
    uint64_t device, inode, links; uint32_t mode, uid, gid, padding; uint64_t rest[13];
};
struct wide_status { /* statx(2) */
    uint32_t mask, block_size; uint64_t attributes; uint32_t links, uid, gid; uint16_t mode, spare;
    uint64_t inode, sizes[3], times[8]; uint32_t special[2], device[2]; uint64_t rest[14];
};
_Static_assert(sizeof(struct status) == 144 && sizeof(struct wide_status) == 256, "the kernel's");
enum { S_IFMT = 0170000, S_IFLNK = 0120000, S_IFREG = 0100000, S_IFDIR = 0040000 };
enum { STATX_OWNER = 0x118 }; /* STATX_UID, STATX_GID, STATX_INO */
enum { ATTEMPTS = 16 };
enum { EFAULT = 14, EINVAL = 22, EBADF = 9, ENOENT = 2, ENOSYS = 38, EOPNOTSUPP = 95 };

static int may_look(void)
{
    return (state() & (SERVED | HAS_LINKS)) == SERVED && !(page.sequence & 1);
}

static int is_roots(const struct status *found)
{
    return !(found->uid | found->gid) && is_plain(found->device) && !is_recorded(found->inode);
}

static int is_roots_wide(const struct wide_status *found)
{
    uint64_t major = found->device[0], minor = found->device[1];
    uint64_t device = (minor & 0xff) | major << 8 | (minor & ~0xffull) << 12;
    return (found->mask & STATX_OWNER) == STATX_OWNER && !(found->uid | found->gid)
           && is_plain(device) && !is_recorded(found->inode);
}

/* A failure is as true as a file without a record.  But no look counts while a record is made: the
 * file may have been made for another user.  Then the supervisor is asked, which makes the record
 * first.  It may see no file yet and leave the call to the kernel, which then finds the file.  So
 * this asks again if root seems to be the owner, and a record was made meanwhile. */
#define LOOK(to, is_roots, name, ...) \
    do { \
        long result; \
        for (int attempts = 0; attempts < ATTEMPTS; attempts++) { \
            uint32_t before = page.sequence; \
            ORDERED; \
            if (may_look()) { \
                result = FAST(name, __VA_ARGS__); \
                ORDERED; \
                int is_right = result ? result != -EFAULT : is_roots(to); \
                ORDERED; \
                if (is_right && page.sequence == before && may_look()) break; \
            } \
            result = SLOW(name, __VA_ARGS__); \
            ORDERED; \
            if (result || page.sequence == before || (to)->uid | (to)->gid) break; \
        } \
        return returned(result); \
    } while (0)

SHOWN int stat(const char *path, struct status *to) { LOOK(to, is_roots, stat, path, to); }
SHOWN int lstat(const char *path, struct status *to) { LOOK(to, is_roots, lstat, path, to); }
SHOWN int fstat(int fd, struct status *to) { LOOK(to, is_roots, fstat, fd, to); }
SHOWN int fstatat(int fd, const char *path, struct status *to, int flags)
{
    LOOK(to, is_roots, newfstatat, fd, path, to, flags);
}
SHOWN int statx(int fd, const char *path, int flags, unsigned mask, struct wide_status *to)
{
    LOOK(to, is_roots_wide, statx, fd, path, flags, mask, to);
}
int stat64(const char *path, struct status *to) SAME_AS(stat);
int lstat64(const char *path, struct status *to) SAME_AS(lstat);
int fstat64(int fd, struct status *to) SAME_AS(fstat);
int fstatat64(int fd, const char *path, struct status *to, int flags) SAME_AS(fstatat);

/* Before glibc 2.33 the functions had other names, and a version of the structure. */
#define OF_VERSION(call) return version >> 1 ? returned(-EINVAL) : (call)
SHOWN int __xstat(int version, const char *path, struct status *to) { OF_VERSION(stat(path, to)); }
SHOWN int __lxstat(int version, const char *path, struct status *to)
{
    OF_VERSION(lstat(path, to));
}
SHOWN int __fxstat(int version, int fd, struct status *to) { OF_VERSION(fstat(fd, to)); }
SHOWN int __fxstatat(int version, int fd, const char *path, struct status *to, int flags)
{
    OF_VERSION(fstatat(fd, path, to, flags));
}
int __xstat64(int version, const char *path, struct status *to) SAME_AS(__xstat);
int __lxstat64(int version, const char *path, struct status *to) SAME_AS(__lxstat);
int __fxstat64(int version, int fd, struct status *to) SAME_AS(__fxstat);
int __fxstatat64(int version, int fd, const char *path, struct status *to, int flags)
    SAME_AS(__fxstatat);
