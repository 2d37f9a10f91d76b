/* narrow: make the calls of 32-bit programs, and print what they say.
 *
 * This is a 64-bit program.  All memory that it passes is static, so it is below 4 GiB.  The layouts
 * are written out: the compiler lays out a structure of i386 otherwise here.  Run it in an empty
 * directory, as root. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "i386.h"

#ifdef __x86_64__

static unsigned char buffer[65536] __attribute__((aligned(16)));
static char name[4096], other[4096];

#define CALL6(n, a, b, c, d, e, ...) i386_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))
#define CALL(n, ...) CALL6(n, __VA_ARGS__, 0, 0, 0, 0, 0)

static const char *at(const char *path) { return strcpy(name, path); }

static unsigned u16(unsigned where)
{
    uint16_t value;
    memcpy(&value, buffer + where, sizeof value);
    return value;
}

static unsigned u32(unsigned where)
{
    uint32_t value;
    memcpy(&value, buffer + where, sizeof value);
    return value;
}

static unsigned long long u64(unsigned where) { return u32(where) | (uint64_t)u32(where + 4) << 32; }

static void say(const char *what, long result)
{
    if (result < 0)
        printf("%s: %s\n", what, strerror(-result));
    else
        printf("%s: %ld\n", what, result);
}

/* struct stat64. */
static void stat64(const char *what, const char *path, long number, long first, long second)
{
    struct stat st;
    memset(buffer, 0x55, sizeof buffer);
    long result = number == 300 ? i386_call(300, first, second, (long)buffer, AT_SYMLINK_NOFOLLOW, 0)
                                : i386_call(number, first, (long)buffer, 0, 0, 0);
    if (result < 0) {
        say(what, result);
        return;
    }
    lstat(path, &st);
    int same = u64(0) == st.st_dev && u64(88) == st.st_ino && u32(12) == (uint32_t)st.st_ino &&
               u64(44) == (uint64_t)st.st_size && u32(52) == st.st_blksize &&
               u64(56) == (uint64_t)st.st_blocks && u32(72) == (uint32_t)st.st_mtim.tv_sec &&
               u32(76) == st.st_mtim.tv_nsec && u32(80) == (uint32_t)st.st_ctim.tv_sec &&
               u32(84) == st.st_ctim.tv_nsec && u32(96) == 0x55555555;
    printf("%s: mode %o links %u owner %u:%u device %llx, the rest %s\n", what, u32(16), u32(20),
           u32(24), u32(28), u64(32), same ? "agrees" : "differs");
}

/* struct stat.  Its inode numbers have 32 bits, its IDs 16. */
static void old_stat(const char *what, const char *path, long number, long first)
{
    struct stat st;
    memset(buffer, 0x55, sizeof buffer);
    long result = i386_call(number, first, (long)buffer, 0, 0, 0);
    if (result < 0) {
        say(what, result);
        return;
    }
    lstat(path, &st);
    int same = u32(4) == st.st_ino && u32(20) == (uint32_t)st.st_size && u32(64) == 0x55555555 &&
               u32(40) == (uint32_t)st.st_mtim.tv_sec && u32(44) == st.st_mtim.tv_nsec &&
               u32(24) == st.st_blksize && u32(28) == (uint32_t)st.st_blocks;
    printf("%s: mode %o links %u owner %u:%u device %x, the rest %s\n", what, u16(8), u16(10),
           u16(12), u16(14), u32(16), same ? "agrees" : "differs");
}

static void files(const char *path)
{
    int fd = open(path, O_PATH | O_NOFOLLOW);
    printf("%s\n", path);
    stat64("stat64", path, 195, (long)at(path), 0);
    stat64("lstat64", path, 196, (long)at(path), 0);
    stat64("fstat64", path, 197, fd, 0);
    stat64("fstatat64", path, 300, AT_FDCWD, (long)at(path));
    old_stat("stat", path, 106, (long)at(path));
    old_stat("lstat", path, 107, (long)at(path));
    old_stat("fstat", path, 108, fd);
    /* Inode numbers of 16 bits: EOVERFLOW for most files, and then for every kernel. */
    long result = CALL(18, at(path), buffer);
    if (result == 0)
        printf("oldstat: mode %o owner %u:%u\n", u16(4), u16(8), u16(10));
    else if (result != -EOVERFLOW)
        say("oldstat", result);
    close(fd);
}

static void ids(const char *who)
{
    printf("%s: %ld %ld %ld %ld, in 16 bits %ld %ld %ld %ld\n", who, CALL(199, 0), CALL(201, 0),
           CALL(200, 0), CALL(202, 0), CALL(24, 0), CALL(49, 0), CALL(47, 0), CALL(50, 0));
    CALL(209, buffer, buffer + 4, buffer + 8), CALL(211, buffer + 12, buffer + 16, buffer + 20);
    printf("  getresuid32 %u %u %u, getresgid32 %u %u %u\n", u32(0), u32(4), u32(8), u32(12), u32(16),
           u32(20));
    CALL(165, buffer, buffer + 2, buffer + 4), CALL(171, buffer + 6, buffer + 8, buffer + 10);
    printf("  getresuid %u %u %u, getresgid %u %u %u\n", u16(0), u16(2), u16(4), u16(6), u16(8),
           u16(10));
    long count = CALL(205, 64, buffer);
    printf("  getgroups32");
    for (long i = 0; i < count; i++)
        printf(" %u", u32(4 * i));
    count = CALL(80, 64, buffer);
    printf(", getgroups");
    for (long i = 0; i < count; i++)
        printf(" %u", u16(2 * i));
    printf("\n");
}

static void identities(void)
{
    static const uint32_t wide[] = {5, 70000, 6};
    static const uint16_t shorts[] = {7, 8, 65535}, few[] = {9, 8};
    ids("root");
    memcpy(buffer, wide, sizeof wide), say("setgroups32", CALL(206, 3, buffer));
    ids("with groups");
    memcpy(buffer, shorts, sizeof shorts), say("setgroups", CALL(81, 3, buffer));
    memcpy(buffer, few, sizeof few), say("setgroups", CALL(81, 2, buffer));
    say("setgid32", CALL(214, 70001));
    say("setregid", CALL(71, 65535, 11)), say("setresgid", CALL(170, 65535, 12, 65535));
    say("setresuid", CALL(164, 65535, 65535, 13)), ids("saved 13");
    say("setfsuid32", CALL(215, 70002)), say("setfsuid", CALL(138, 0));
    say("setfsgid32", CALL(216, 70002)), say("setfsgid", CALL(139, 12));
    say("setresuid32", CALL(208, 70003, 70004, 0)), ids("70004");
    say("setreuid", CALL(70, 65535, 0)), ids("root again");
    say("setreuid32", CALL(203, 70003, 70003)), say("setuid", CALL(23, 0)), ids("70003");
    memset(buffer, 0, 64), buffer[0] = 0x22, buffer[1] = 5, buffer[2] = 8, buffer[3] = 0x20;
    say("capget", CALL(184, buffer, buffer + 16)), printf("effective %x\n", u32(16));
    say("capset", CALL(185, buffer, buffer + 16)), buffer[16] = 1;
    say("capset", CALL(185, buffer, buffer + 16));
    say("chown32", CALL(212, at("f"), 0, 0)), say("chmod", CALL(15, at("f"), 0600));
    say("open", CALL(5, at("mine"), O_CREAT | O_WRONLY, 0640) < 0), files("mine");
    say("mkdir", CALL(39, at("my"), 0750)), files("my");
    say("mknod", CALL(14, at("null"), S_IFCHR | 0600, makedev(1, 3)));
    say("chroot", CALL(61, at(".")));
}

static void limits(void)
{
    memset(buffer, 0x55, 64);
    say("getrlimit", CALL(76, 10, buffer)), printf("%x %x %x\n", u32(0), u32(4), u32(8));
    say("ugetrlimit", CALL(191, 10, buffer)), printf("%x %x %x\n", u32(0), u32(4), u32(8));
    say("setrlimit", CALL(75, 10, buffer));
    say("prlimit64", CALL(340, 0, 10, 0, buffer)), printf("%llx %llx\n", u64(0), u64(8));
    say("io_uring_setup", CALL(425, 1, 0) == -EFAULT ? -ENOSYS : CALL(425, 1, 0));
}

/* What a directory says of its devices; name and type of each entry. */
static void list(long number)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY), found = 0;
    for (long got; (got = CALL(number, fd, buffer, 4096)) > 0;)
        for (unsigned where = 0; where < got;) {
            int is_wide = number == 220;
            unsigned length = u16(where + (is_wide ? 16 : 8));
            const char *entry = (char *)buffer + where + (is_wide ? 19 : 10);
            int type = buffer[where + (is_wide ? 18 : length - 1)];
            if (!strcmp(entry, "c") || !strcmp(entry, "b") || !strcmp(entry, "f"))
                found += 100 * type + 1;
            where += length;
        }
    say("types in the directory", found);
    close(fd);
}

static void sockets(void)
{
    uint32_t *words = (uint32_t *)(buffer + 1024);
    char *address = (char *)buffer + 2048;
    address[0] = 1, address[1] = 0, strcpy(address + 2, "bound");
    words[0] = 1, words[1] = 1, words[2] = 0, words[3] = CALL(102, 1, words);
    words[0] = words[3], words[1] = (uint32_t)(uintptr_t)address, words[2] = 8;
    say("bind", CALL(102, 2, words)), files("bound");
    say("socketpair", (words[0] = 1, words[1] = 1, words[2] = 0,
                       words[3] = (uint32_t)(uintptr_t)(words + 8), CALL(102, 8, words)));
    words[0] = words[8], words[1] = 1, words[2] = 17;
    words[3] = (uint32_t)(uintptr_t)buffer, words[4] = (uint32_t)(uintptr_t)(words + 5);
    words[5] = 12;
    say("getsockopt", CALL(102, 15, words));
    printf("peer %s %u:%u, %u bytes\n", u32(0) == (uint32_t)getpid() ? "is me" : "is another", u32(4),
           u32(8), words[5]);
    words[5] = 12, say("getsockopt", CALL(365, words[8], 1, 17, buffer, words + 5));
    printf("peer %u:%u\n", u32(4), u32(8));
    words[2] = 3, words[5] = 4, say("getsockopt", CALL(102, 15, words)), printf("type %u\n", u32(0));
}

/* A struct compat_msghdr in the buffer: its vector at 64, its control data at 128, text at 512. */
static void header(const char *text, unsigned room, const uint32_t *control, unsigned size)
{
    uint32_t at = (uint32_t)(uintptr_t)buffer;
    uint32_t fields[] = {0, 0, at + 64, 1, at + 128, size, 0}, vector[] = {at + 512, room};
    memset(buffer, 0, 1024);
    memcpy(buffer, fields, sizeof fields);
    memcpy(buffer + 64, vector, sizeof vector);
    memcpy(buffer + 128, control, control ? size : 0);
    strcpy((char *)buffer + 512, text);
}

/* recvmsg(2), by its number and by socketcall(2). */
static void receive(int fd, pid_t from, int by_number, unsigned room)
{
    static uint32_t words[3];
    struct pollfd ready = {fd, POLLIN, 0};
    poll(&ready, 1, 20000);
    header("", 64, NULL, room);
    words[0] = fd, words[1] = (uint32_t)(uintptr_t)buffer, words[2] = 0;
    say("recvmsg", by_number ? CALL(372, fd, buffer, 0) : CALL(102, 17, words));
    printf("\"%s\" control %u flags %x:", buffer + 512, u32(20), u32(24));
    for (unsigned at = 128; at < 128 + u32(20); at += (u32(at) + 3) / 4 * 4) {
        printf(" %u %u %u", u32(at), u32(at + 4), u32(at + 8));
        if (u32(at + 8) == 2)
            printf(" %s %u %u", (pid_t)u32(at + 12) == from ? "child" : "?", u32(at + 16), u32(at + 20));
        else
            printf(" %s", close((int)u32(at + 12)) ? "no file" : "a file");
    }
    puts("");
}

static void messages(void)
{
    static uint32_t words[3];
    int ends[2], go[2], yes = 1;
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
    pipe(go);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        CALL(214, 106), CALL(213, 104);
        close(go[1]);
        uint32_t control[] = {24, 1, 2, (uint32_t)getpid(), 104, 106, 16, 1, 1, 1};
        header("by number", 9, control, sizeof control), say("sendmsg", CALL(370, ends[1], buffer, 0));
        header("by call", 7, control, 24);
        words[0] = ends[1], words[1] = (uint32_t)(uintptr_t)buffer, words[2] = 0;
        say("sendmsg", CALL(102, 16, words));
        control[4] = 0;
        header("refused", 7, control, 24), say("sendmsg", CALL(370, ends[1], buffer, 0));
        fflush(stdout);
        write(ends[1], "plain", 5), write(ends[1], "cut", 3);
        _exit((int)read(go[0], words, 1));
    }
    close(go[0]);
    receive(ends[0], child, 1, 64), receive(ends[0], child, 0, 64);
    receive(ends[0], child, 0, 64), receive(ends[0], child, 1, 20);
    close(go[1]);
    waitpid(child, NULL, 0);
}

/* Do it in a process of its own, which can't change its parent. */
static void apart(void (*what)(void), uint32_t uid)
{
    fflush(stdout);
    if (fork() == 0) {
        if (uid)
            CALL(214, uid), CALL(213, uid);
        what();
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

int main(void)
{
    umask(022);
    chmod(".", 0777);
    close(CALL(8, at("f"), 0644));
    say("chown32", CALL(212, at("f"), 70000, 5)), files("f");
    say("chown", CALL(182, at("f"), 5, 65535)), files("f");
    say("chown", CALL(182, at("f"), 65535, 65534)), files("f");
    say("chmod", CALL(15, at("f"), 06755)), files("f");
    int fd = open("f", O_RDONLY);
    say("fchown32", CALL(207, fd, 80000, 80001)), say("fchown", CALL(95, fd, 65535, 6)), files("f");
    say("fchmod", CALL(94, fd, 02640)), files("f");
    say("fchownat", CALL(298, AT_FDCWD, at("f"), 1, 2, 0)), files("f");
    say("symlink", CALL(83, strcpy(other, "f"), at("l")));
    say("lchown32", CALL(198, at("l"), 90000, 3)), files("l");
    say("lchown", CALL(16, at("l"), 4, 65535)), files("l");
    say("mkdir", CALL(39, at("d"), 02775)), say("chown", CALL(182, at("d"), 0, 60));
    say("chmod", CALL(15, at("d"), 02775)), files("d");
    say("open", CALL(5, at("d/in"), O_CREAT | O_RDWR, 0664) < 0), files("d/in");
    say("openat", CALL(295, AT_FDCWD, at("d/at"), O_CREAT | O_RDWR, 0664) < 0), files("d/at");
    say("mkdirat", CALL(296, AT_FDCWD, at("d/s"), 0755)), files("d/s");
    say("mknod", CALL(14, at("c"), S_IFCHR | 0640, makedev(200, 70000))), files("c");
    say("mknodat", CALL(297, AT_FDCWD, at("b"), S_IFBLK | 0600, makedev(7, 3))), files("b");
    list(220), list(141);
    strcpy(other, "security.a"), strcpy((char *)buffer, "value");
    say("setxattr", CALL(226, at("f"), other, buffer, 5));
    memset(buffer, 0, 16), say("getxattr", CALL(229, at("f"), other, buffer, 64)), puts((char *)buffer);
    say("listxattr", CALL(232, at("f"), buffer, 64)), say("removexattr", CALL(235, at("f"), other));
    limits();
    apart(sockets, 0), unlink("bound"), apart(sockets, 70005);
    apart(identities, 0);
    apart(messages, 0);
    say("rename", CALL(38, at("f"), strcpy(other, "g"))), files("g");
    return 0;
}

#else

int main(void) { return 2; }

#endif
