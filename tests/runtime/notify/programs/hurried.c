/* hurried calls N | recorded N | reuse N | race N | loaded | filter | title NAME: the fast path of a
 * dynamic program.  "calls" makes calls that the supervisor would leave to the kernel, and checks what they
 * say.  "recorded" looks at files of other users, and "reuse" at root's files with the inode numbers
 * that such files had.  "race" looks at files that other processes make.  "loaded" tells whether the library
 * is there.  "filter" forbids itself the calls that only the library makes.  "title" shows a title in
 * place of its environment, and becomes the program NAME. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"

/* Each round makes 11 calls that are notified without the fast path. */
static void calls(int rounds)
{
    struct stat st;
    for (int round = 0; round < rounds; round++) {
        int fd = open("f", O_CREAT | O_RDWR | O_TRUNC, 0640);
        require(fd >= 0 && !fstat(fd, &st) && !st.st_uid && (st.st_mode & 0777) == 0640, "open");
        require(!fchmod(fd, 0600) && !chmod("f", 0644) && !lstat("f", &st), "chmod");
        require((st.st_mode & 0777) == 0644 && !lchown("f", 0, 0) && !close(fd), "chown");
        require(!rename("f", "g") && lstat("f", &st) < 0 && errno == ENOENT, "rename");
        require(!utimensat(AT_FDCWD, "g", NULL, 0) && !unlink("g"), "unlink");
    }
    puts("ok");
}

/* Each round makes 9 calls that are notified without the fast path. */
static void recorded(int rounds)
{
    struct stat st;
    struct statx wide;
    for (int round = 0; round < rounds; round++) {
        int fd = open("owned", O_WRONLY);
        require(fd >= 0 && !fstat(fd, &st) && st.st_uid == 5 && st.st_gid == 6, "fstat");
        require(!lstat("owned", &st) && st.st_uid == 5 && st.st_mode == (S_IFREG | 0640), "lstat");
        require(!close(fd) && !chmod("owned", 0600) && !stat("link", &st), "stat");
        require(st.st_gid == 6 && st.st_mode == (S_IFREG | 0600) && !chmod("owned", 0640), "chmod");
        require(!lstat("link", &st) && st.st_uid == 9 && S_ISLNK(st.st_mode), "link");
        require(!fstatat(AT_FDCWD, "null", &st, 0) && st.st_uid == 7, "fstatat");
        require(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3), "device");
        require(!statx(AT_FDCWD, "null", 0, STATX_BASIC_STATS, &wide) && wide.stx_uid == 7, "statx");
        require(S_ISCHR(wide.stx_mode) && wide.stx_rdev_major == 1 && wide.stx_rdev_minor == 3, "x");
    }
    puts("ok");
}

/* A file of another user goes, and root's next file may get its inode number. */
static void reuse(int rounds)
{
    struct stat st;
    int wrong = 0, reused = 0;
    for (int round = 0; round < rounds; round++) {
        close(open("x", O_CREAT | O_EXCL | O_WRONLY, 0644));
        require(!chown("x", 5, 6) && !lstat("x", &st) && st.st_uid == 5 && !unlink("x"), "first");
        ino_t before = st.st_ino;
        close(open("x", O_CREAT | O_EXCL | O_WRONLY, 0644));
        require(!lstat("x", &st) && !unlink("x"), "second");
        wrong += st.st_uid || st.st_gid;
        reused += st.st_ino == before;
    }
    printf("%d wrong\n", wrong);
    fprintf(stderr, "%d reused\n", reused);
}

/* A user makes and removes files; they must never seem to be root's. */
static void race(int rounds)
{
    struct stat st;
    int wrong = 0, looks = 0;
    pid_t maker = fork();
    if (!maker) {
        if (setgid(106) || setuid(104)) _exit(1);
        for (int round = 0; round < rounds; round++) {
            close(open("x", O_CREAT | O_WRONLY, 0644));
            mkdir("d", 0755);
            unlink("x");
            rmdir("d");
        }
        _exit(0);
    }
    while (!waitpid(maker, NULL, WNOHANG))
        for (int which = 0; which < 2; which++)
            if (!fstatat(AT_FDCWD, which ? "x" : "d", &st, 0)) {
                looks++;
                wrong += st.st_uid != 104;
            }
    printf("%d wrong\n", wrong);
    fprintf(stderr, "%d looks\n", looks);
}

static void loaded(void)
{
    puts(has_library() ? "loaded" : "not loaded");
}

static void filter(char *name)
{
    /* linux/filter.h: load the number; compare; kill the process; allow the call */
    struct { uint16_t code; uint8_t if_true, if_false; uint32_t k; } lines[] = {
        {0x20, 0, 0, 0}, {0x15, 0, 1, SYS_getrlimit}, {6, 0, 0, 0x80000000}, {6, 0, 0, 0x7fff0000}};
    struct { uint16_t length; void *lines; } program = {sizeof lines / sizeof *lines, lines};
    require(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    require(!prctl(PR_SET_SECCOMP, 2, &program, 0, 0), "filter");
    calls(1);
    execl(name, "hurried", "loaded", (char *)NULL);
}

/* Daemons show titles so, of any length.  This one ends before the library's path. */
static void title(char *name)
{
    char *kept[] = {NULL}, *end = (char *)getauxval(AT_EXECFN);
    for (char *at = environ[0]; at < end; at += strlen(at) + 1)
        if (!strncmp(at, "LD_PRELOAD=", 11)) memset(at, 'x', 10);
    execle(name, name, (char *)NULL, kept);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int count = argc > 2 ? atoi(argv[2]) : 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "calls")) return calls(count), 0;
    if (!strcmp(what, "recorded")) return recorded(count), 0;
    if (!strcmp(what, "reuse")) return reuse(count), 0;
    if (!strcmp(what, "race")) return race(count), 0;
    if (!strcmp(what, "loaded")) return loaded(), 0;
    if (!strcmp(what, "filter")) return filter("/proc/self/exe"), 1;
    if (!strcmp(what, "title") && argc > 2) return title(argv[2]), 1;
    return 2;
}
