/* The family of stat(2).  The supervisor would leave a call to the kernel if the file is root's, in
 * the kernel's eyes, too, has no record, and is not in a /proc.  For a file with a record it would
 * change owner and mode, and the number of a device. */
struct status { /* struct stat of x86-64 */
    uint64_t device, inode, links; uint32_t mode, uid, gid, padding; uint64_t rest[13];
};
struct wide_status { /* statx(2) */
    uint32_t mask, block_size; uint64_t attributes; uint32_t links, uid, gid; uint16_t mode, spare;
    uint64_t inode, sizes[3], times[8]; uint32_t special[2], device[2]; uint64_t rest[14];
};
_Static_assert(sizeof(struct status) == 144 && sizeof(struct wide_status) == 256, "the kernel's");
enum { S_IFMT = 0170000, S_IFLNK = 0120000, S_IFREG = 0100000, S_IFDIR = 0040000 };
enum { STATX_OWNER = 0x118, STATX_INO = 0x100, STATX_BIRTH = 0x800 }; /* UID, GID, INO; BTIME */
enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_NO_AUTOMOUNT = 0x800 };
enum { AT_EMPTY_PATH = 0x1000 };
#define ANY_BIRTH ~0ull
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

/* Whether a file has no record, or one without these signs.  If its number is another file's by
 * now, the supervisor has no record of that, either. */
static int lacks(const struct status *found, uint32_t signs)
{
    uint32_t before = page.sequence;
    ORDERED;
    if (!is_recorded(found->inode)) return 1;
    const volatile struct record *record = record_of(found->inode, found->device);
    int is_so = record && !(record->signs & signs);
    ORDERED;
    return is_so && !(before & 1) && page.sequence == before;
}

static uint64_t device_of(const struct wide_status *found)
{
    uint64_t major = found->device[0], minor = found->device[1];
    return (minor & 0xff) | major << 8 | (minor & ~0xffull) << 12;
}

/* Whether a record is that of a file, and of none that had its number before. */
static int is_of(const volatile struct record *record, const struct wide_status *found)
{
    uint64_t nanoseconds = found->times[2] * 1000000000ull + (uint32_t)found->times[3];
    return record->birth == ANY_BIRTH
           || (found->mask & STATX_BIRTH && record->birth == nanoseconds);
}

static unsigned mode_by(const volatile struct record *record, unsigned mode)
{
    return (mode & record->kept_mode) | record->more_mode;
}

/* Show a file with a record as what it is, which ``fd``, ``path`` and ``flags`` of statx(2) name.
 * Returns 0 if only the supervisor can. */
static int is_shown(struct status *found, long fd, const char *path, long flags)
{
    struct wide_status wide;
    if (!is_recorded(found->inode)) return is_roots(found);
    const volatile struct record *record = record_of(found->inode, found->device);
    if (!record) return 0;
    if (record->birth != ANY_BIRTH
        && (FAST(statx, fd, path, flags | AT_NO_AUTOMOUNT, STATX_BIRTH | STATX_INO, &wide)
            || wide.inode != found->inode || device_of(&wide) != found->device
            || !is_of(record, &wide))) return 0;
    found->uid = record->uid, found->gid = record->gid;
    found->mode = mode_by(record, found->mode);
    if (!(record->kept_mode & S_IFMT)) found->rest[0] = record->special;
    return 1;
}

/* The same for statx(2) with the given mask, and STATX_BIRTH. */
static int is_shown_wide(struct wide_status *found, unsigned mask)
{
    if ((found->mask & STATX_OWNER) != STATX_OWNER) return 0;
    uint64_t device = device_of(found);
    if (is_recorded(found->inode)) {
        const volatile struct record *record = record_of(found->inode, device);
        if (!record || !is_of(record, found)) return 0;
        found->uid = record->uid, found->gid = record->gid;
        found->mode = mode_by(record, found->mode);
        if (!(record->kept_mode & S_IFMT)) {
            found->special[0] = record->special >> 8 & 0xfff;
            found->special[1] = (record->special & 0xff) | (record->special >> 12 & ~0xffu);
        }
    } else if (found->uid | found->gid || !is_plain(device)) return 0;
    if (!(mask & STATX_BIRTH)) found->mask &= ~STATX_BIRTH, found->times[2] = found->times[3] = 0;
    return 1;
}

/* A failure is as true as a file without a record.  But no look counts while a record is made: the
 * file may have been made for another user.  Then the supervisor is asked, which makes the record
 * first.  It may see a file of root's and leave the call to the kernel, which then finds the next
 * file.  So this asks again if root seems to be the owner, and a record was made meanwhile. */
#define LOOK(to, is_right, quick, slow) \
    do { \
        long result; \
        for (int attempts = 0; attempts < ATTEMPTS; attempts++) { \
            uint32_t before = page.sequence; \
            ORDERED; \
            if (may_look()) { \
                result = quick; \
                ORDERED; \
                int is_known = result ? result != -EFAULT : is_right; \
                ORDERED; \
                if (is_known && page.sequence == before && may_look()) break; \
            } \
            result = slow; \
            ORDERED; \
            if (result || page.sequence == before || (to)->uid | (to)->gid) break; \
        } \
        return returned(result); \
    } while (0)
#define LOOK_AT(fd, path, flags, to, name, ...) \
    LOOK(to, is_shown(to, fd, path, flags), FAST(name, __VA_ARGS__), SLOW(name, __VA_ARGS__))

SHOWN int stat(const char *path, struct status *to)
{
    LOOK_AT(AT_FDCWD, path, 0, to, stat, path, to);
}
SHOWN int lstat(const char *path, struct status *to)
{
    LOOK_AT(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, to, lstat, path, to);
}
SHOWN int fstat(int fd, struct status *to)
{
    LOOK_AT(fd, "", AT_EMPTY_PATH, to, fstat, fd, to);
}
SHOWN int fstatat(int fd, const char *path, struct status *to, int flags)
{
    LOOK_AT(fd, path, flags, to, newfstatat, fd, path, to, flags);
}
SHOWN int statx(int fd, const char *path, int flags, unsigned mask, struct wide_status *to)
{
    LOOK(to, is_shown_wide(to, mask), FAST(statx, fd, path, flags, mask | STATX_BIRTH, to),
         SLOW(statx, fd, path, flags, mask, to));
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
