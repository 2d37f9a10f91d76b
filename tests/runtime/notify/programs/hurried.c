/* hurried calls N | race N | loaded | filter | jump | write | cover | identity | exit: the fast path
 * of a dynamic program.  "calls" makes calls that the supervisor would leave to the kernel, and
 * checks what they say.  "race" looks at files that other processes make.  "loaded" tells whether the
 * library is there.  "filter" forbids itself the calls that only the library makes.  The others
 * misuse the library. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIBRARY 0x2d0000000000
#define FAST ((long (*)(long, long, long, long, long, long))(LIBRARY + 0x2000))
#define PAGE ((volatile uint32_t *)(LIBRARY + 0x8000))

static void require(int is_so, const char *what)
{
    if (!is_so) {
        printf("%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

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
    puts(msync((void *)LIBRARY, 4096, MS_ASYNC) ? "not loaded" : "loaded");
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

static void jump(void)
{
    struct rlimit tag = {0x73756E6400FFFF05, RLIM_INFINITY}, got;
    /* These are no calls of the fast path: they stay what they are. */
    FAST(SYS_setrlimit, 10, (long)&tag, 0, 0, 0);
    FAST(SYS_prlimit64, 0, 10, (long)&tag, 0, 0);
    require(!FAST(SYS_getrlimit, 10, (long)&got, 0, 0, 0), "getrlimit");
    require(got.rlim_cur != tag.rlim_cur, "the tag was set");
    require(FAST(SYS_io_uring_setup, 0, 0, 0, 0, 0) == -ENOSYS, "io_uring");
    require(FAST(SYS_kexec_load, 0, 0, 0, 0, 0) == 0, "kexec_load");
    require(FAST(SYS_chown, (long)"owned", 0, 0, 0, 0) == 0, "chown"); /* of the inode alone */
    require(FAST(SYS_unlink, (long)"nothing", 0, 0, 0, 0) == -ENOENT, "unlink");
}

/* The words are read-only, and so is the file; what a program changes is its own copy. */
static void forge(void)
{
    char line[4096], path[256] = "";
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "fast-path")) sscanf(line, "%*s %*s %*s %*s %*s %255s", path);
    require(path[0], "the library is not loaded");
    require(open(path, O_WRONLY) < 0 && errno == EROFS, "the file can be written");
    require(truncate(path, 0) < 0 && chmod(path, 0600) < 0, "the file can be changed");
    require(unlink(path) < 0 && rename(path, "elsewhere") < 0, "the file can be moved");
    require(!mprotect((void *)PAGE, 0x21000, PROT_READ | PROT_WRITE), "mprotect");
    memset((void *)(PAGE + 1024), 0, 0x20000); /* "no file has a record" */
    struct stat st;
    require(!lstat("owned", &st), "lstat");
    int fd = open(path, O_RDONLY);
    uint32_t words[5];
    require(pread(fd, words, sizeof words, 0x8000) == sizeof words && words[4], "the file");
}

static void cover(void)
{
    void *at = mmap((void *)LIBRARY, 0x29000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                    -1, 0);
    if (at != (void *)LIBRARY) return;
    /* Now the C library's functions that the library has replaced are not there any more. */
    long result = SYS_write;
    __asm__ volatile("syscall" : "+a"(result) : "D"(1), "S"("done\n"), "d"(5)
                     : "rcx", "r11", "memory");
    result = SYS_exit_group;
    __asm__ volatile("syscall" : "+a"(result) : "D"(0) : "rcx", "r11", "memory");
}

/* Another user has no way around the supervisor's refusals by the functions of the library. */
static void identity(void)
{
    require(!setgid(106) && !setuid(104), "setuid");
    require(unlink("plain") < 0 && errno == EACCES, "unlink");
    require(chmod("plain", 0777) < 0 && errno == EPERM, "chmod");
    require(open("made", O_CREAT | O_WRONLY, 0644) < 0 && errno == EACCES, "open");
}

/* Processes die while the supervisor works for them. */
static void end(void)
{
    for (int round = 0; round < 100; round++) {
        pid_t child = fork();
        if (!child)
            for (int user = 1;; user++) {
                close(open("dying", O_CREAT | O_WRONLY, 0644));
                if (chown("dying", user, user)) {}
            }
        usleep(500);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    struct stat st;
    require(!lstat("plain", &st) && !st.st_uid, "lstat");
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
    if (!strcmp(what, "jump")) jump();
    if (!strcmp(what, "write")) forge();
    if (!strcmp(what, "cover")) cover();
    if (!strcmp(what, "identity")) identity();
    if (!strcmp(what, "exit")) end();
    puts("done");
}
