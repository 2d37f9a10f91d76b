/* fuzz SEED SECONDS: throw emulated system calls with random arguments at the supervisor.
 *
 * Run it in an empty directory.  Several processes with threads make all notified calls, also by
 * the i386 table: with good and bad pointers, with open and closed descriptors, with any flags and
 * lengths.  The processes get signals and die, change their root and mount namespace, and execute
 * each other.  In between the program asks about files that no process changes, in two ways: by the
 * notified call, and by a statx that is not notified.  The two answers must agree.  The exit status
 * is 0 if they did.
 *
 * Threads overwrite the paths of other threads, so a call may get any prefix of a path below, such
 * as "/dev".  If a call changes the mode of "/dev", the supervisor reports the new mode, which is
 * right.  So no prefix is the path of a file that the program compares.
 *
 * With the library of the fast path, a third of the calls come from its instruction, and the answers
 * that are compared are the library's.
 *
 * /fixed must be a mount.  Its root has the same inode number as the roots of other file systems,
 * and some of these get records. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "i386.h"
#include "library.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define WORKERS 3
#ifdef MAP_32BIT
#define LOW MAP_32BIT
#else
#define LOW 0
#endif
#define UNNOTIFIED (STATX_BASIC_STATS & ~(STATX_TYPE | STATX_MODE | STATX_UID | STATX_GID))

static _Thread_local uint64_t state;
static char *arena;       /* two readable pages, then none */
static char *low;         /* a page below 4 GiB, for the i386 table */
static volatile int *bad; /* shared: how many answers were wrong */
static long (*fast)(long, long, long, long, long, long); /* NULL without the library */

static uint64_t random64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static unsigned pick(unsigned bound) { return (random64() >> 16) % bound; }

static const char *const paths[] = {
    "a", "b", "c", "d/a", "d/b", "d", "d/e/f", "link", "loop", "", ".", "..", "/", "//a", "./a",
    "/proc/self/fd/0", "/proc/self/fd/3", "/dev/fd/3", "/dev/stdin", "/proc/self/exe",
    "/proc/self/cwd/a", "/proc/self/root", "/proc/thread-self/fd/1", "/proc/1/status", "/proc",
    "/dev/null", "/dev/tty", "a/", "a/b", "\377\376", "d/../a", "/proc/self/fd/99999",
    "/proc/self/mem", "/nonexistent/a"};

static const char *const names[] = {
    "user.a", "trusted.a", "security.a", "security.capability", "system.posix_acl_access",
    "system.posix_acl_default", "system.a", "", "user.", "a"};

/* An address: good, at the end of the mapping, bad, or absurd. */
static uint64_t pointer(unsigned size)
{
    switch (pick(12)) {
    case 0: return 0;
    case 1: return random64();
    case 2: return (uint64_t)arena + 8192 - pick(size + 1);
    case 3: return (uint64_t)arena + 8192;
    case 4: return (uint64_t)arena + 4096 - pick(64);
    case 5: return pick(65536);
    case 6: return -(uint64_t)pick(4096);
    default: return (uint64_t)arena + pick(8192 - size);
    }
}

static uint64_t path(void)
{
    unsigned choice = pick(20);
    if (choice == 0)
        return pointer(256);
    if (choice == 1) { /* long, perhaps too long, perhaps without an end */
        unsigned length = pick(8192);
        memset(arena, 'x', length);
        arena[length] = 0;
        for (unsigned at = pick(200); at < length; at += 200)
            arena[at] = '/';
        return (uint64_t)arena + pick(64);
    }
    const char *text = paths[pick(COUNT(paths))];
    if (choice == 2) { /* ends where the mapping ends */
        char *at = arena + 8192 - strlen(text) - 1;
        strcpy(at, text);
        return (uint64_t)at;
    }
    if (choice == 3) { /* crosses a page */
        char *at = arena + 4096 - strlen(text) / 2;
        strcpy(at, text);
        return (uint64_t)at;
    }
    return (uint64_t)text;
}

static uint64_t name(void)
{
    return pick(10) ? (uint64_t)names[pick(COUNT(names))] : pointer(256);
}

static uint64_t fd(void)
{
    static const int64_t fds[] = {AT_FDCWD, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, 1000, -2, 1 << 30};
    uint64_t value = fds[pick(COUNT(fds))];
    /* The upper half of the register is not part of an int. */
    return pick(10) ? value : (value & 0xffffffff) | random64() << 32;
}

static uint64_t id(void)
{
    static const uint64_t ids[] = {0, 0, 1, 104, 1000, 65534, 100000, -1, 0xffffffff, 1ull << 31};
    return pick(20) ? ids[pick(COUNT(ids))] : random64();
}

static uint64_t flags(void)
{
    static const uint64_t some[] = {0, 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH,
                                    AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT};
    return pick(10) ? some[pick(COUNT(some))] : random64();
}

static uint64_t mode(void)
{
    static const uint64_t types[] = {0, 0, S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFDIR};
    return pick(20) ? types[pick(COUNT(types))] | pick(010000) : random64();
}

static uint64_t open_flags(void)
{
    static const int some[] = {O_CREAT | O_RDWR, O_CREAT | O_EXCL | O_WRONLY, O_CREAT | O_TRUNC,
                               O_CREAT | O_DIRECTORY, O_TMPFILE | O_RDWR, O_CREAT | O_PATH,
                               O_CREAT | O_NOFOLLOW | O_WRONLY, O_CREAT | O_CLOEXEC | O_RDWR};
    return (pick(15) ? (uint64_t)some[pick(COUNT(some))] : random64()) | O_NONBLOCK;
}

static uint64_t size(void)
{
    static const uint64_t sizes[] = {0, 1, 4, 8, 12, 16, 20, 24, 28, 44, 64, 255, 4096, 65536};
    return pick(12) ? sizes[pick(COUNT(sizes))] : random64() >> pick(64);
}

/* A call that has other numbers in the i386 table: of up to three generations. */
static const struct {
    int number, i386[3];
} both[] = {
    {SYS_stat, {195, 106, 18}}, {SYS_lstat, {196, 107, 84}}, {SYS_fstat, {197, 108, 28}},
    {SYS_newfstatat, {300}}, {SYS_statx, {383}}, {SYS_getresuid, {209, 165}},
    {SYS_getresgid, {211, 171}}, {SYS_getgroups, {205, 80}}, {SYS_setuid, {213, 23}},
    {SYS_setgid, {214, 46}}, {SYS_setreuid, {203, 70}}, {SYS_setregid, {204, 71}},
    {SYS_setresuid, {208, 164}}, {SYS_setresgid, {210, 170}}, {SYS_setfsuid, {215, 138}},
    {SYS_setfsgid, {216, 139}}, {SYS_setgroups, {206, 81}}, {SYS_capget, {184}},
    {SYS_capset, {185}}, {SYS_chown, {212, 182}}, {SYS_lchown, {198, 16}}, {SYS_fchown, {207, 95}},
    {SYS_fchownat, {298}}, {SYS_chmod, {15}}, {SYS_fchmod, {94}}, {SYS_fchmodat, {306}},
    {SYS_setxattr, {226}}, {SYS_lsetxattr, {227}}, {SYS_fsetxattr, {228}}, {SYS_getxattr, {229}},
    {SYS_lgetxattr, {230}}, {SYS_fgetxattr, {231}}, {SYS_listxattr, {232}},
    {SYS_llistxattr, {233}}, {SYS_flistxattr, {234}}, {SYS_removexattr, {235}},
    {SYS_lremovexattr, {236}}, {SYS_fremovexattr, {237}}, {SYS_creat, {8}}, {SYS_mkdir, {39}},
    {SYS_mkdirat, {296}}, {SYS_symlink, {83}}, {SYS_symlinkat, {304}}, {SYS_mknod, {14}},
    {SYS_mknodat, {297}}, {SYS_open, {5}}, {SYS_openat, {295}}, {SYS_getsockopt, {365}},
    {SYS_prctl, {172}}, {SYS_prlimit64, {340}}, {SYS_getrlimit, {191, 76}}, {SYS_setrlimit, {75}},
    {SYS_getdents64, {220}}, {SYS_getdents, {141}}, {SYS_bind, {361}},
    {SYS_getuid, {199, 24}}, {SYS_getegid, {202, 50}}, {SYS_keyctl, {288}},
    {SYS_shmget, {395}}, {SYS_semget, {393}}, {SYS_msgget, {399}}, {SYS_shmctl, {396}},
    {SYS_semctl, {394}}, {SYS_msgctl, {402}},
    {452, {452}}, {463, {463}}, {464, {464}}, {465, {465}}, {466, {466}}, {SYS_openat2, {437}}};

/* Make a call; a third of them by the i386 table, which has no more than five arguments here. */
static void enter(int number, const uint64_t *a)
{
    unsigned how = pick(3), narrow = how == 0;
    if (how == 1 && fast) {
        fast(number, a[0], a[1], a[2], a[3], a[4]);
        return;
    }
    for (unsigned i = 0; narrow && i < COUNT(both); i++)
        if (both[i].number == number) {
            int other = both[i].i386[pick(3)];
            i386_call(other ? other : both[i].i386[0], a[0], a[1], a[2], a[3], a[4]);
            return;
        }
    syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void call(void)
{
#define S(number, ...) enter(number, (uint64_t[6]){__VA_ARGS__})
    switch (pick(67)) {
    case 0: S(SYS_stat, path(), pointer(144)); break;
    case 1: S(SYS_lstat, path(), pointer(144)); break;
    case 2: S(SYS_fstat, fd(), pointer(144)); break;
    case 3: S(SYS_newfstatat, fd(), path(), pointer(144), flags()); break;
    case 4: S(SYS_statx, fd(), path(), flags(), random64(), pointer(256)); break;
    case 5: S(SYS_getresuid, pointer(4), pointer(4), pointer(4)); break;
    case 6: S(SYS_getresgid, pointer(4), pointer(4), pointer(4)); break;
    case 7: S(SYS_getgroups, size(), pointer(64)); break;
    case 8: S(SYS_setuid, id()); break;
    case 9: S(SYS_setgid, id()); break;
    case 10: S(SYS_setreuid, id(), id()); break;
    case 11: S(SYS_setregid, id(), id()); break;
    case 12: S(SYS_setresuid, id(), id(), id()); break;
    case 13: S(SYS_setresgid, id(), id(), id()); break;
    case 14: S(SYS_setfsuid, id()); break;
    case 15: S(SYS_setfsgid, id()); break;
    case 16: S(SYS_setgroups, size(), pointer(64)); break;
    case 17: {
        uint32_t *header = (uint32_t *)arena;
        header[0] = pick(5) ? 0x20080522 : random64(), header[1] = pick(5) ? 0 : random64();
        S(SYS_capget, pick(5) ? (uint64_t)header : pointer(8), pointer(24));
        break;
    }
    case 18: {
        uint32_t *header = (uint32_t *)arena;
        header[0] = pick(5) ? 0x20080522 : random64(), header[1] = pick(5) ? 0 : random64();
        S(SYS_capset, pick(5) ? (uint64_t)header : pointer(8), pointer(24));
        break;
    }
    case 19: S(SYS_chown, path(), id(), id()); break;
    case 20: S(SYS_lchown, path(), id(), id()); break;
    case 21: S(SYS_fchown, fd(), id(), id()); break;
    case 22: S(SYS_fchownat, fd(), path(), id(), id(), flags()); break;
    case 23: S(SYS_chmod, path(), mode()); break;
    case 24: S(SYS_fchmod, fd(), mode()); break;
    case 25: S(SYS_fchmodat, fd(), path(), mode()); break;
    case 26: S(452, fd(), path(), mode(), flags()); break;
    case 27: S(SYS_setxattr, path(), name(), pointer(64), size(), pick(5)); break;
    case 28: S(SYS_lsetxattr, path(), name(), pointer(64), size(), pick(5)); break;
    case 29: S(SYS_fsetxattr, fd(), name(), pointer(64), size(), pick(5)); break;
    case 30: S(463, fd(), path(), flags(), name(), pointer(16), pick(4) ? 16 : size()); break;
    case 31: S(SYS_getxattr, path(), name(), pointer(256), size()); break;
    case 32: S(SYS_lgetxattr, path(), name(), pointer(256), size()); break;
    case 33: S(SYS_fgetxattr, fd(), name(), pointer(256), size()); break;
    case 34: S(464, fd(), path(), flags(), name(), pointer(16), pick(4) ? 16 : size()); break;
    case 35: S(SYS_listxattr, path(), pointer(256), size()); break;
    case 36: S(SYS_llistxattr, path(), pointer(256), size()); break;
    case 37: S(SYS_flistxattr, fd(), pointer(256), size()); break;
    case 38: S(465, fd(), path(), flags(), pointer(256), size()); break;
    case 39: S(SYS_removexattr, path(), name()); break;
    case 40: S(SYS_lremovexattr, path(), name()); break;
    case 41: S(SYS_fremovexattr, fd(), name()); break;
    case 42: S(466, fd(), path(), flags(), name()); break;
    case 43: S(SYS_creat, path(), mode()); break;
    case 44: S(SYS_mkdir, path(), mode()); break;
    case 45: S(SYS_mkdirat, fd(), path(), mode()); break;
    case 46: S(SYS_symlink, path(), path()); break;
    case 47: S(SYS_symlinkat, path(), fd(), path()); break;
    case 48: S(SYS_mknod, path(), mode(), pick(3) ? random64() : 0); break;
    case 49: S(SYS_mknodat, fd(), path(), mode(), random64()); break;
    case 50: S(SYS_open, path(), open_flags(), mode()); break;
    case 51: S(SYS_openat, fd(), path(), open_flags(), mode()); break;
    case 52: {
        uint64_t *how = (uint64_t *)arena;
        how[0] = open_flags(), how[1] = pick(010000), how[2] = pick(3) ? 0 : pick(64), how[3] = 0;
        S(SYS_openat2, fd(), path(), pick(8) ? (uint64_t)how : pointer(24),
          pick(8) ? 24 + 8 * pick(2) : size());
        break;
    }
    case 53: S(SYS_getsockopt, fd(), 1, pick(2) ? 17 : 59, pointer(64), pointer(4)); break;
    case 54: {
        static const int options[] = {7, 8, 23, 24, 27, 28, 39, 47, 38};
        S(SYS_prctl, options[pick(COUNT(options) - (pick(50) != 0))], pick(2) ? pick(6) : random64(),
          pick(2) ? pick(64) : random64(), pick(4) ? 0 : random64(), 0);
        break;
    }
    case 55: S(SYS_prlimit64, pick(2) ? 0 : random64(), 10, pointer(16), pointer(16)); break;
    case 56: S(SYS_getrlimit, 10, pointer(16)); break;
    case 57: S(SYS_setrlimit, 10, pointer(16)); break;
    case 58: S(SYS_getdents64, fd(), pointer(512), size()); break;
    case 59: S(SYS_getdents, fd(), pointer(512), size()); break;
    case 61: {
        char *address = arena + 64;
        address[0] = pick(8) ? AF_UNIX : pick(256), address[1] = 0;
        strcpy(address + 2, pick(3) ? "socket" : paths[pick(COUNT(paths))]);
        S(SYS_bind, fd(), pick(8) ? (uint64_t)address : pointer(110),
          pick(2) ? 2 + strlen(address + 2) + 1 : size());
        break;
    }
    case 62: {
        uint32_t *words = (uint32_t *)(arena + 256);
        for (int i = 0; i < 6; i++)
            words[i] = pick(3) ? pointer(64) : fd();
        words[0] = fd();
        i386_call(102, pick(2) ? 2 : 15, pick(8) ? (uint64_t)words : pointer(24), 0, 0, 0);
        break;
    }
    case 63: {
        static const int get[] = {SYS_shmget, SYS_semget, SYS_msgget};
        unsigned kind = pick(3);
        uint64_t how = pick(8) ? 01000 | pick(01000) | pick(2) * 02000 : random64();
        S(get[kind], pick(8), kind == 2 ? how : pick(2) ? pick(99) : size(), how);
        break;
    }
    case 64: {
        static const int control[] = {SYS_shmctl, SYS_semctl, SYS_msgctl};
        unsigned kind = pick(3), object = pick(16) ? pick(70) | pick(2) << 15 : random64();
        S(control[kind], object, kind == 1 ? pick(9) : pick(21), kind == 1 ? pick(21) : pointer(120),
          pick(2) ? pointer(104) : id());
        break;
    }
    case 65: {
        static const int calls[] = {2, 3, 13, 14, 23, 24};
        i386_call(117, calls[pick(COUNT(calls))] | (pick(9) ? 0 : 1 << 16), pick(70),
                  pick(2) ? 0x100 | pick(21) : size(), pick(2) ? 0x100 | pick(21) : 01600,
                  pointer(88));
        break;
    }
    case 66: S(SYS_keyctl, 4 + pick(3), pick(2) ? pick(99) : fd(), pick(2) ? id() : pointer(99),
               pick(2) ? id() : size()); break;
    case 60: S(pick(2) ? SYS_getuid : SYS_getegid, 0); break;
    }
}

/* statx that asks for neither type, mode nor owner: not notified.  The kernel tells them all the
 * same. */
static int plain_statx(const char *file, struct statx *out)
{
    return syscall(SYS_statx, AT_FDCWD, file, AT_SYMLINK_NOFOLLOW, UNNOTIFIED, out) ? -errno : 0;
}

static void wrong(const char *what, const char *file)
{
    dprintf(2, "fuzz: %s of %s differs from the kernel's answer\n", what, file);
    ++*bad;
}

static void show(const char *whose, const struct statx *view)
{
    dprintf(2, "  %s: %u:%u mode %o inode %llu size %llu links %u changed %lld.%09u device %u:%u\n",
            whose, view->stx_uid, view->stx_gid, view->stx_mode, (unsigned long long)view->stx_ino,
            (unsigned long long)view->stx_size, view->stx_nlink,
            (long long)view->stx_ctime.tv_sec, view->stx_ctime.tv_nsec, view->stx_dev_major,
            view->stx_dev_minor);
}

static void compare(void)
{
    static const char *const files[] = {"/bin", "/bin/busybox", "/dev/zero", "/fixed",
                                        "/fixed/file", "/proc/version", "untouched",
                                        "untouched-link"};
    const char *file = files[pick(COUNT(files))];
    int before = *bad;
    struct statx plain, after, shown;
    struct stat st, st2;
    int result = plain_statx(file, &plain);
    if (result == -ENOENT)
        wrong("absence", file);
    if (result < 0)
        return; /* a kernel without that entry */
    memset(&shown, 0, sizeof shown);
    memset(&st, 0, sizeof st);
    memset(&st2, 0, sizeof st2);
    if (statx(AT_FDCWD, file, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &shown) < 0 ||
        lstat(file, &st) < 0 || syscall(SYS_lstat, file, &st2) < 0)
        return wrong("failure", file);
    /* struct stat64 of i386: mode, links, owner; the inode number is at its end. */
    uint32_t *narrow = (uint32_t *)(low + 2048);
    long narrowed = i386_call(196, (long)strcpy(low, file), (long)narrow, 0, 0, 0);
    /* The file may have changed meanwhile: the first copy-up of a file in /bin changes /bin, and
     * other processes may change the host's files. */
    if (plain_statx(file, &after) < 0 || memcmp(&plain, &after, sizeof plain))
        return;
    plain.stx_atime = shown.stx_atime;
    if (memcmp(&plain, &shown, sizeof plain))
        wrong("statx", file);
    st2.st_atim = st.st_atim;
    if (memcmp(&st, &st2, sizeof st))
        wrong("lstat", file);
    if (st.st_uid != plain.stx_uid || st.st_gid != plain.stx_gid || st.st_mode != plain.stx_mode ||
        st.st_ino != plain.stx_ino || (uint64_t)st.st_size != plain.stx_size ||
        st.st_nlink != plain.stx_nlink || st.st_mtim.tv_sec != plain.stx_mtime.tv_sec ||
        st.st_mtim.tv_nsec != plain.stx_mtime.tv_nsec ||
        st.st_ctim.tv_sec != plain.stx_ctime.tv_sec || (uint64_t)st.st_blocks != plain.stx_blocks ||
        st.st_dev != makedev(plain.stx_dev_major, plain.stx_dev_minor) ||
        st.st_rdev != makedev(plain.stx_rdev_major, plain.stx_rdev_minor))
        wrong("struct stat", file);
    if (narrowed == 0 &&
        (narrow[4] != plain.stx_mode || narrow[5] != plain.stx_nlink ||
         narrow[6] != plain.stx_uid || narrow[7] != plain.stx_gid ||
         narrow[22] != (uint32_t)plain.stx_ino || narrow[11] != (uint32_t)plain.stx_size))
        wrong("struct stat64", file);
    if (*bad != before)
        show("kernel", &plain), show("statx", &shown);
}

static void *calls(void *seed)
{
    state = (uint64_t)seed | 1;
    for (unsigned count = 0; count < 400; count++)
        call();
    return NULL;
}

/* A process that can't return to its old state. */
static void child(uint64_t seed)
{
    state = seed | 1;
    switch (pick(6)) {
    case 0: chroot(pick(2) ? "d" : "."); break;
    case 1: unshare(CLONE_NEWUSER | CLONE_NEWNS); break;
    case 2: unshare(CLONE_NEWNS); break;
    case 3: {
        pthread_t threads[2];
        int started[2];
        for (int i = 0; i < 2; i++)
            started[i] = pthread_create(&threads[i], NULL, calls, (void *)random64());
        for (int i = 0; i < 2; i++)
            if (started[i] == 0)
                pthread_join(threads[i], NULL);
        break;
    }
    case 4: {
        struct itimerval timer = {{0, 50 + pick(500)}, {0, 50}};
        signal(SIGALRM, SIG_IGN);
        setitimer(ITIMER_REAL, &timer, NULL);
        break;
    }
    case 5: prctl(PR_SET_DUMPABLE, 0); break;
    }
    for (unsigned count = 200 + pick(400); count; count--)
        call();
    if (pick(3) == 0) {
        char *arguments[] = {"fuzz", NULL};
        syscall(SYS_execve, pick(2) ? (uint64_t)"/bin/fuzz" : path(), arguments, arguments + 1);
        syscall(SYS_execveat, fd(), path(), arguments, arguments + 1, flags());
    }
    _exit(0);
}

static void worker(uint64_t seed, time_t end)
{
    state = seed * 0x9e3779b97f4a7c15ull | 1;
    while (time(NULL) < end) {
        uint64_t next = random64();
        pid_t pid = fork();
        if (pid == 0)
            child(next);
        for (unsigned count = 30; count; count--)
            compare();
        if (pid > 0) {
            if (pick(4) == 0) {
                usleep(pick(3000));
                kill(pid, SIGKILL);
            }
            /* The child may wait for ever until another process opens the other end of a FIFO. */
            for (unsigned waited = 0; waitpid(pid, NULL, WNOHANG) == 0; waited++) {
                usleep(500);
                if (waited == 1000)
                    kill(pid, SIGKILL);
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 0;
    uint64_t seed = strtoull(argv[1], NULL, 0);
    time_t end = time(NULL) + atoi(argv[2]);
    arena = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | LOW, -1, 0);
    mprotect(arena + 8192, 4096, PROT_NONE); /* the next mapping would fill an unmapped page */
    low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | LOW, -1, 0);
    bad = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (has_library()) {
        fast = FAST;
        dprintf(2, "fuzz: with the fast path\n");
    }
    struct rlimit limit = {64, 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    mkdir("d", 0777);
    symlink("dangling", "link");
    symlink("loop", "loop");
    close(open("untouched", O_CREAT | O_WRONLY, 0644));
    symlink("untouched", "untouched-link");
    chmod("d", 02777);
    for (int i = 0; i < WORKERS; i++)
        if (fork() == 0) {
            /* Let low descriptors be open: a socket pair, a directory, a file. */
            int pair[2];
            socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
            open("d", O_RDONLY | O_DIRECTORY);
            open("a", O_CREAT | O_RDWR, 0666);
            open("d", O_PATH);
            char directory[16];
            sprintf(directory, "w%d", i);
            mkdir(directory, 02777);
            worker(seed * WORKERS + i, end);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    return *bad ? 1 : 0;
}
