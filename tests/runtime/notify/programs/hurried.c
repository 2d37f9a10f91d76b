/* hurried calls N | race N | loaded | filter: the fast path of a dynamic program.  "calls" makes calls
 * that the supervisor would leave to the kernel, and checks what they say.  "race" looks at files
 * that other processes make.  "loaded" tells whether the library is there.  "filter" forbids itself
 * the calls that only the library makes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int count = argc > 2 ? atoi(argv[2]) : 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "calls")) return calls(count), 0;
    if (!strcmp(what, "race")) return race(count), 0;
    if (!strcmp(what, "loaded")) return loaded(), 0;
    if (!strcmp(what, "filter")) return filter("/proc/self/exe"), 1;
    return 2;
}
