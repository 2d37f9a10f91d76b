/* differ SEED STEPS: do random things that only root may do, and print the result of each.
 *
 * Run it in an empty directory.  It prints the same for real root and for any user under a correct
 * emulation.  It tests only what emulation promises.  So no step depends on permission to read,
 * write or remove a file, because emulated users other than root keep CAP_DAC_OVERRIDE. */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "steps.h"

#define LACKING (1u << CAP_SYS_RESOURCE)

static const uint32_t ids[] = {0, 0, 1, 4, 104, 104, 106, 1000, 65534, 100000, -1u};
/* Under emulation a program can't open a device. */
static int is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode));
}

static int is_executable(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && (st.st_mode & 0111) == 0111 && !S_ISLNK(st.st_mode) &&
           getxattr(path, "system.posix_acl_access", NULL, 0) < 0;
}

static int has_set_id_bits(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_mode & 06000;
}

static uint32_t id(void) { return ids[pick(COUNT(ids))]; }
static uint32_t real_id(void) { return ids[pick(COUNT(ids) - 1)]; }

static const char *const names[] = {"a", "b", "c", "d0", "d1", "d0/a", "d0/b", "d0/d2", "d1/a",
                                    "d0/d2/a", "d0/d2/b", "l0", "l1", "d1/l2", "x", "d1/x"};
static const char *name(void) { return names[pick(COUNT(names))]; }

/* No sticky bit: the emulation does not control removal from such a directory. */
static mode_t mode(void)
{
    static const mode_t modes[] = {0644, 0755, 0777, 0600, 02755, 02770, 04755, 06755, 02644, 0,
                                   02775, 0711, 04711, 02711};
    return modes[pick(COUNT(modes))];
}

static void show(const char *path)
{
    struct stat st;
    struct statx sx;
    if (lstat(path, &st) < 0) {
        printf("  %s: %s\n", path, strerror(errno));
        return;
    }
    printf("  %s: %o %u:%u %u:%u\n", path, st.st_mode, st.st_uid, st.st_gid, major(st.st_rdev),
           minor(st.st_rdev));
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx) < 0)
        printf("  statx: %s\n", strerror(errno));
    else if (sx.stx_mode != st.st_mode || sx.stx_uid != st.st_uid || sx.stx_gid != st.st_gid ||
             sx.stx_rdev_major != major(st.st_rdev))
        printf("  statx differs\n");
    int fd = open(path, O_PATH | O_NOFOLLOW);
    struct stat fst;
    if (fd >= 0 && (fstat(fd, &fst) < 0 || fst.st_mode != st.st_mode ||
                    fst.st_uid != st.st_uid || fst.st_gid != st.st_gid))
        printf("  fstat differs\n");
    if (fd >= 0 && (fstatat(fd, "", &fst, AT_EMPTY_PATH) < 0 || fst.st_mode != st.st_mode ||
                    fst.st_uid != st.st_uid))
        printf("  fstatat differs\n");
    close(fd);
}

static int has_capability(int capability)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    return syscall(SYS_capget, &header, data) == 0 && data[0].effective & 1u << capability;
}

static void show_ids(void)
{
    uid_t r, e, s;
    gid_t rg, eg, sg, groups[64];
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    int count = getgroups(64, groups);
    uid_t fs = setfsuid(-1);
    gid_t fsg = setfsgid(-1);
    printf("  ids %u %u %u %u, %u %u %u %u, %u %u %u %u;", r, e, s, fs, rg, eg, sg, fsg, getuid(),
           geteuid(), getgid(), getegid());
    for (int i = 0; i < count; i++)
        printf(" %u", groups[i]);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    syscall(SYS_capget, &header, data);
    /* A machine's root may lack a capability, so the program neither shows nor sets that one. */
    data[0].effective &= ~LACKING, data[0].permitted &= ~LACKING, data[0].inheritable &= ~LACKING;
    printf("; caps %x.%x %x.%x %x.%x; keep %d bits %x nnp %d amb %d bound %d\n", data[1].effective,
           data[0].effective, data[1].permitted, data[0].permitted, data[1].inheritable,
           data[0].inheritable, prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS),
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
           prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0),
           prctl(PR_CAPBSET_READ, CAP_CHOWN));
}

static void result(int value)
{
    if (value < 0)
        printf(" = %s\n", strerror(errno));
    else
        printf(" = %d\n", value);
}

static size_t random_acl(unsigned char *out)
{
    /* user_obj, users, group_obj, groups, mask, other: sometimes wrong. */
    size_t length = 4;
    memcpy(out, "\2\0\0\0", 4);
#define ENTRY(tag, who)                                                                          \
    do {                                                                                         \
        uint16_t t_ = htole16(tag), p_ = htole16(pick(8));                                       \
        uint32_t w_ = htole32(who);                                                              \
        memcpy(out + length, &t_, 2);                                                            \
        memcpy(out + length + 2, &p_, 2);                                                        \
        memcpy(out + length + 4, &w_, 4);                                                        \
        length += 8;                                                                             \
    } while (0)
    int named = 0;
    ENTRY(1, -1u);
    if (pick(2)) {
        ENTRY(2, pick(3) ? 104 : 0);
        named = 1;
    }
    ENTRY(4, -1u);
    if (pick(2)) {
        ENTRY(8, pick(3) ? 4 : 0);
        named = 1;
    }
    if (named ? pick(20) : pick(4) == 0)
        ENTRY(16, -1u);
    ENTRY(32, -1u);
    return pick(30) ? length : length - 3;
}

static void show_attribute(const char *path, const char *attribute)
{
    unsigned char value[256];
    ssize_t length = lgetxattr(path, attribute, value, sizeof value);
    printf("  %s", attribute);
    if (length < 0) {
        printf(": %s\n", strerror(errno));
        return;
    }
    printf("=");
    for (ssize_t i = 0; i < length; i++)
        printf("%02x", value[i]);
    printf(" %zd\n", lgetxattr(path, attribute, NULL, 0));
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_attributes(const char *path)
{
    char list[4096], *found[64];
    int count = 0;
    ssize_t length = llistxattr(path, list, sizeof list);
    if (length < 0) {
        printf("  list: %s\n", strerror(errno));
        return;
    }
    for (ssize_t at = 0; at < length; at += strlen(list + at) + 1)
        found[count++] = list + at;
    qsort(found, count, sizeof *found, compare);
    for (int i = 0; i < count; i++)
        show_attribute(path, found[i]);
}

static const char *const attributes[] = {
    "system.posix_acl_access", "system.posix_acl_default", "trusted.t", "security.s",
    "security.capability", "user.u", "system.posix_acl_access", "system.posix_acl_default"};

static void step(void);

/* As another user, who still may read and write everything. */
static void as_user(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        gid_t groups[3] = {real_id(), real_id(), real_id()};
        result(setgroups(pick(4), groups));
        uid_t uid = real_id();
        gid_t gid = real_id();
        prctl(PR_SET_KEEPCAPS, 1);
        result(setresgid(gid, pick(4) ? gid : real_id(), gid));
        result(setresuid(uid, uid, pick(3) ? uid : real_id()));
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        uint32_t set = 1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH;
        if (pick(6) == 0)
            set |= 1 << CAP_CHOWN;
        if (pick(6) == 0)
            set |= 1 << CAP_FOWNER;
        if (pick(6) == 0)
            set |= 1 << CAP_SETGID;
        struct __user_cap_data_struct data[2] = {{set, set, 0}, {0, 0, 0}};
        result(syscall(SYS_capset, &header, data));
        show_ids();
        for (unsigned steps = pick(12); steps && has_capability(CAP_DAC_OVERRIDE); steps--)
            step();
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("  child %d\n", status);
}

/* A few changes of identity, then perhaps a program of another user. */
static void identities(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        for (unsigned steps = 1 + pick(8); steps; steps--) {
            uint32_t a = id(), b = id(), c = id();
            struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
            struct __user_cap_data_struct data[2] = {{0}};
            switch (pick(15)) {
            case 0: printf("setuid %d", a), result(setuid(a)); break;
            case 1: printf("setgid %d", a), result(setgid(a)); break;
            case 2: printf("setreuid %d %d", a, b), result(setreuid(a, b)); break;
            case 3: printf("setregid %d %d", a, b), result(setregid(a, b)); break;
            case 4: printf("setresuid %d %d %d", a, b, c), result(setresuid(a, b, c)); break;
            case 5: printf("setresgid %d %d %d", a, b, c), result(setresgid(a, b, c)); break;
            case 6: printf("setfsuid %d", a), result(setfsuid(a)); break;
            case 7: printf("setfsgid %d", a), result(setfsgid(a)); break;
            case 8: {
                gid_t groups[2] = {a, b};
                printf("setgroups %d %d", a, b), result(setgroups(2, groups));
                break;
            }
            case 9: printf("keepcaps"), result(prctl(PR_SET_KEEPCAPS, pick(3))); break;
            case 10:
                data[0].effective = pick(256), data[0].permitted = pick(2) ? ~LACKING : pick(256);
                data[0].inheritable = pick(4);
                printf("capset"), result(syscall(SYS_capset, &header, data));
                break;
            case 11: printf("bound"), result(prctl(PR_CAPBSET_DROP, pick(45))); break;
            case 12: printf("bits"), result(prctl(PR_SET_SECUREBITS, pick(3) << 2 * pick(4))); break;
            case 13:
                printf("ambient");
                result(prctl(PR_CAP_AMBIENT, pick(6), pick(45), 0, pick(20) == 0));
                break;
            case 14: printf("nnp"), result(pick(4) ? 0 : prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
            }
            show_ids();
        }
        fflush(stdout);
        const char *program = pick(2) ? "x" : "d1/x";
        if (is_executable(program) && is_executable("d1")) {
            char *arguments[] = {"x", "ids", NULL};
            execv(program, arguments);
            printf("exec: %s\n", strerror(errno));
            fflush(stdout);
        }
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("  child %d\n", status);
}

/* Install this program, which prints who runs it. */
static void make_program(const char *path)
{
    char buffer[65536];
    unlink(path);
    int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_CREAT | O_EXCL | O_WRONLY, 0700);
    for (ssize_t got; (got = read(from, buffer, sizeof buffer)) > 0;)
        if (write(to, buffer, got) != got)
            break;
    close(from);
    close(to);
    static const mode_t modes[] = {04755, 02755, 06755, 0755, 04711, 06711};
    printf("program %s %d", path, chown(path, real_id(), real_id()));
    result(chmod(path, modes[pick(COUNT(modes))]));
    if (pick(3) == 0) {
        uint32_t caps[5] = {htole32(0x02000000 | pick(2)), htole32(pick(256)), htole32(pick(256))};
        printf("  caps");
        result(setxattr(path, "security.capability", caps, sizeof caps, 0));
    }
    show(path);
}

static void step(void)
{
    const char *path = name(), *other = name();
    uint32_t uid = id(), gid = id();
    mode_t bits = mode();
    int fd;
    unsigned char value[256];
    const char *attribute = attributes[pick(COUNT(attributes))];
    switch (pick(27)) {
    case 0: printf("chown %s %d %d", path, uid, gid), result(chown(path, uid, gid)); break;
    case 1: printf("lchown %s %d %d", path, uid, gid), result(lchown(path, uid, gid)); break;
    case 2:
        if (is_device(path))
            return;
        printf("fchown %s %d %d", path, uid, gid);
        fd = open(path, O_RDONLY | O_NONBLOCK);
        result(fchown(fd, uid, gid));
        close(fd);
        break;
    case 3:
        printf("fchownat %s %d %d", path, uid, gid);
        fd = open(path, O_PATH | O_NOFOLLOW);
        result(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
        close(fd);
        break;
    case 4: printf("chmod %s %o", path, bits), result(chmod(path, bits)); break;
    case 5:
        if (is_device(path))
            return;
        printf("fchmod %s %o", path, bits);
        fd = open(path, O_RDONLY | O_NONBLOCK);
        result(fchmod(fd, bits));
        close(fd);
        break;
    case 6:
        printf("mkdir %s %o", path, bits), result(mkdir(path, bits));
        other = path;
        break;
    case 7:
    case 8: {
        if (is_device(path))
            return;
        mode_t mask = pick(2) ? 022 : 077 & bits;
        printf("create %s %o &~%o", path, bits, mask);
        umask(mask);
        fd = open(path, O_CREAT | O_RDWR | (pick(2) ? O_EXCL : 0), bits);
        umask(0);
        struct stat st;
        if (fd >= 0 && fstat(fd, &st) == 0)
            printf(" %o %u:%u", st.st_mode, st.st_uid, st.st_gid);
        result(fd < 0 ? -1 : 0);
        close(fd);
        break;
    }
    case 9: printf("symlink %s %s", other, path), result(symlink(other, path)); break;
    case 10:
        /* The emulation does not control links to files of others (fs.protected_hardlinks). */
        if (!has_capability(CAP_FOWNER))
            return;
        printf("link %s %s", path, other), result(link(path, other));
        break;
    case 11: printf("rename %s %s", path, other), result(rename(path, other)); break;
    case 12: printf("unlink %s", path), result(unlink(path)); break;
    case 13: printf("rmdir %s", path), result(rmdir(path)); break;
    case 14: {
        mode_t type = (mode_t[]){S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFREG}[pick(5)];
        dev_t device = makedev(pick(300), 1 + pick(70000));
        printf("mknod %s %o", path, type | bits), result(mknod(path, type | bits, device));
        break;
    }
    case 15:
    case 16:
    case 17: {
        size_t size = strncmp(attribute, "system", 6) ? 8 : random_acl(value);
        if (strncmp(attribute, "system", 6))
            memset(value, 'v', size);
        if (strcmp(attribute, "security.capability") == 0) {
            memcpy(value, "\0\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
            size = 20;
        }
        int flags = pick(4) ? 0 : pick(3);
        printf("setxattr %s %s %d", path, attribute, flags);
        result(pick(2) ? setxattr(path, attribute, value, size, flags)
                       : lsetxattr(path, attribute, value, size, flags));
        break;
    }
    case 18:
        printf("removexattr %s %s", path, attribute), result(lremovexattr(path, attribute));
        break;
    case 19:
        printf("getxattr %s %s", path, attribute);
        result(getxattr(path, attribute, value, pick(4) ? sizeof value : pick(40)));
        break;
    case 20:
        /* Outside of the initial user namespace a write always clears set-ID bits. */
        if (is_device(path) || has_set_id_bits(path))
            return;
        printf("write %s", path);
        fd = open(path, O_WRONLY | O_NONBLOCK);
        result(fd < 0 ? -1 : (int)write(fd, "x", 1));
        close(fd);
        break;
    case 21: {
        printf("tmpfile");
        fd = open("d0", O_TMPFILE | O_RDWR, bits);
        char from[64];
        sprintf(from, "/proc/self/fd/%d", fd);
        printf(" %s", path);
        result(fd < 0 ? -1 : linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
        close(fd);
        break;
    }
    case 22: make_program(pick(2) ? "x" : "d1/x"); return;
    case 23: identities(); return;
    case 24:
        if (geteuid() == 0 && setfsuid(-1) == 0)
            as_user();
        return;
    case 25:
        printf("fchmodat2 %s %o", path, bits);
        result(syscall(452, AT_FDCWD, path, bits, AT_SYMLINK_NOFOLLOW));
        break;
    case 26: show_ids(); return;
    }
    show(path);
    if (other != path)
        show(other);
    show_attributes(path);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "ids") == 0) {
        printf("exec");
        show_ids();
        return 0;
    }
    if (argc != 3)
        return 2;
    state = strtoull(argv[1], NULL, 0) * 2654435761u + 1;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    umask(0);
    mkdir("d0", 02777);
    mkdir("d1", 0777);
    for (unsigned steps = atoi(argv[2]); steps; steps--) {
        printf("%u ", steps);
        step();
    }
    return 0;
}
