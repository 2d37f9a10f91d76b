/* storm SEED SECONDS [once]: make, chown, move and remove files as fast as possible, and check
 * their owners.
 *
 * Several processes run, each in its own directory below the current one, and each keeps a list of
 * the right owners of its files.  The kernel uses inode numbers again at once, for files,
 * directories, links and FIFOs that still belong to root.  Prints wrong owners; the exit status is
 * 1 if there was one.  At the end every process prints its remaining files as "path uid gid". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define NAMES 12
#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t state;
static struct {
    int exists;
    uid_t uid;
    gid_t gid;
} files[NAMES];
static unsigned long checks, wrong;

static unsigned pick(unsigned bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 16) % bound;
}

static const char *name(int which)
{
    static char names[4][16];
    static int next;
    char *text = names[next++ % COUNT(names)];
    sprintf(text, "f%d", which);
    return text;
}

static void look(int which, const char *after)
{
    struct stat st;
    checks++;
    if (lstat(name(which), &st) < 0) {
        printf("%s vanished after %s\n", name(which), after);
        wrong++;
    } else if (st.st_uid != files[which].uid || st.st_gid != files[which].gid) {
        printf("%s is %u:%u, not %u:%u, after %s\n", name(which), st.st_uid, st.st_gid,
               files[which].uid, files[which].gid, after);
        wrong++;
    }
}

static void make(int which)
{
    int fd = -1;
    switch (pick(5)) {
    case 0: mkdir(name(which), 0755); break;
    case 1: symlink("nowhere", name(which)); break;
    case 2: mkfifo(name(which), 0644); break;
    default: fd = open(name(which), O_CREAT | O_EXCL | O_WRONLY, 0644);
    }
    files[which].exists = 1;
    files[which].uid = files[which].gid = 0;
    /* After a stat(2) the kernel uses finer time stamps (Linux 6.13). */
    if (pick(3) == 0)
        look(which, "make");
    if (pick(2)) {
        files[which].uid = pick(3) * 5, files[which].gid = pick(2) ? 42 : 0;
        if (fd >= 0 && pick(2))
            fchown(fd, files[which].uid, files[which].gid);
        else
            lchown(name(which), files[which].uid, files[which].gid);
        if (pick(3) == 0)
            look(which, "chown");
    }
    if (fd >= 0)
        close(fd);
}

static void remove_file(int which)
{
    if (unlink(name(which)) < 0)
        rmdir(name(which));
    files[which].exists = 0;
}

static void work(time_t end)
{
    while (time(NULL) < end) {
        int which = pick(NAMES), other = pick(NAMES);
        if (!files[which].exists) {
            make(which);
            continue;
        }
        switch (pick(4)) {
        case 0: look(which, "a while"); break;
        case 1: remove_file(which); break;
        case 2: /* the next file gets the number at once */
            remove_file(which);
            make(which);
            break;
        case 3:
            if (which != other && (!files[other].exists || (remove_file(other), 1)) &&
                rename(name(which), name(other)) == 0) {
                files[other] = files[which];
                files[which].exists = 0;
                look(other, "rename");
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    time_t end = time(NULL) + atoi(argv[2]);
    for (int i = 0; i < WORKERS; i++)
        if (fork() == 0) {
            char directory[16];
            state = (strtoull(argv[1], NULL, 0) * WORKERS + i) * 0x9e3779b97f4a7c15ull | 1;
            sprintf(directory, "s%d", i);
            mkdir(directory, 0755);
            if (chdir(directory) < 0)
                exit(1);
            work(end);
            for (int which = 0; which < NAMES; which++)
                if (files[which].exists)
                    printf("%s/%s %u %u\n", directory, name(which), files[which].uid,
                           files[which].gid);
            dprintf(2, "%lu looks\n", checks);
            exit(wrong != 0);
        }
    int status, failed = 0;
    while (wait(&status) > 0)
        failed |= status;
    return failed != 0;
}
