/* fill: set attributes of files in the current directory until there is no more room for them; then
 * make room, and use it.  Prints the number of files whose attribute was set. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SIZE 60000
#define ENTRIES 7000
#define NAME "trusted.big"

static char value[SIZE];

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static const char *file(int number)
{
    static char name[16];
    sprintf(name, "f%d", number);
    return name;
}

static int set(int number)
{
    int fd = open(file(number), O_CREAT | O_WRONLY, 0600);
    must(fd >= 0, "open");
    int done = fsetxattr(fd, NAME, value, sizeof value, 0);
    close(fd);
    return done;
}

int main(void)
{
    /* Version 2; user::rwx, many users, group::r-x, mask::rwx, other::r-x. */
    static unsigned acl[1 + 2 * (ENTRIES + 4)] = {2, 0x00070001, -1u};
    unsigned *entry = acl + 3;
    for (int i = 0; i < ENTRIES; i++) {
        *entry++ = 0x00050002;
        *entry++ = 7 + i;
    }
    unsigned end[] = {0x00050004, -1u, 0x00070010, -1u, 0x00050020, -1u};
    memcpy(entry, end, sizeof end);
    memset(value, 'x', sizeof value);
    must(mkdir("d", 0755) == 0, "mkdir");
    must(setxattr("d", "system.posix_acl_default", acl, sizeof acl, 0) == 0, "default");
    int count = 0;
    while (set(count) == 0) count++;
    must(errno == ENOSPC, "set");
    must(set(0) == -1 && errno == ENOSPC, "set again");
    must(mkdir("d/e", 0755) == -1 && errno == ENOSPC, "mkdir with two lists");
    must(open("d/f", O_CREAT, 0644) == -1 && errno == ENOSPC, "open with two lists");
    for (int i = 0; i < 3; i++) must(removexattr(file(i), NAME) == 0, "remove");
    must(mkdir("d/e", 0755) == 0, "mkdir");
    must(getxattr("d/e", "system.posix_acl_default", NULL, 0) == sizeof acl, "inherited");
    must(unlink(file(3)) == 0 && unlink(file(4)) == 0, "unlink");
    must(set(1) == 0, "set in place of files that are gone");
    printf("%d\n", count);
    return 0;
}
