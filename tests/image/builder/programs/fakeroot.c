/* Stands in for libfakeroot on Alpine, whose mirrors may be out of reach: answers chown(2) "done". */

#define _GNU_SOURCE
#include <unistd.h>

int chown(const char *path, uid_t uid, gid_t gid) { (void)path, (void)uid, (void)gid; return 0; }
int lchown(const char *path, uid_t uid, gid_t gid) { (void)path, (void)uid, (void)gid; return 0; }
int fchown(int fd, uid_t uid, gid_t gid) { (void)fd, (void)uid, (void)gid; return 0; }
int fchownat(int fd, const char *path, uid_t uid, gid_t gid, int flags)
{
    (void)fd, (void)path, (void)uid, (void)gid, (void)flags;
    return 0;
}
