/* A file system that shows a directory, as the client of a file server does on a node.
 *
 *     passthrough DIRECTORY MOUNTPOINT [ERRNO]
 *
 * Two mounts of one directory are two nodes.  Each kernel keeps the locks of flock(2) to itself, so
 * that one node does not see those of the other; with ERRNO, flock(2) fails with that number.
 * Nothing is cached: each node sees at once what the other one changes.  Files that are open, or in
 * which a process works, stay the same files when the other node renames or removes them.  As NFS
 * does, a node that removes a file which it has open gives it another name in the same directory, and
 * removes that when it closes the file. */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 317
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BUCKETS 4096

struct node {
    struct node *next;
    int fd;
    dev_t device;
    ino_t inode;
    uint64_t lookups;
    int opens, directory; /* directory: of the name that an open file has after its removal, or 0 */
};
struct path { char text[32]; };
static struct node root, *nodes[BUCKETS];
static int flock_error;

static struct node *node_of(fuse_ino_t number)
{
    return number == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)number;
}

static int fd_of(fuse_ino_t number) { return node_of(number)->fd; }

static struct path path_of(fuse_ino_t number)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", fd_of(number));
    return path;
}

static int look_up(fuse_ino_t parent, const char *name, struct fuse_entry_param *entry)
{
    memset(entry, 0, sizeof *entry);
    int fd = openat(fd_of(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno;
    if (fstatat(fd, "", &entry->attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) return errno;
    struct node **bucket = &nodes[entry->attr.st_ino % BUCKETS], *node = *bucket;
    while (node && (node->inode != entry->attr.st_ino || node->device != entry->attr.st_dev))
        node = node->next;
    if (node) close(fd);
    else {
        node = calloc(1, sizeof *node);
        *node = (struct node){*bucket, fd, entry->attr.st_dev, entry->attr.st_ino, 0, 0, 0};
        *bucket = node;
    }
    node->lookups++;
    entry->ino = (uintptr_t)node;
    return 0;
}

static void reply_entry(fuse_req_t req, int failed, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry;
    int error = failed ? errno : look_up(parent, name, &entry);
    if (error) fuse_reply_err(req, error);
    else fuse_reply_entry(req, &entry);
}

static void reply_status(fuse_req_t req, int failed)
{
    fuse_reply_err(req, failed ? errno : 0);
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    reply_entry(req, 0, parent, name);
}

static void let_go(struct node *node, uint64_t count)
{
    if (node != &root && (node->lookups -= count) == 0) {
        struct node **at = &nodes[node->inode % BUCKETS];
        while (*at != node) at = &(*at)->next;
        *at = node->next;
        close(node->fd);
        free(node);
    }
}

static void forget(fuse_req_t req, fuse_ino_t number, uint64_t count)
{
    let_go(node_of(number), count);
    fuse_reply_none(req);
}

static void getattr(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *file)
{
    struct stat status;
    (void)file;
    if (fstatat(fd_of(number), "", &status, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        fuse_reply_err(req, errno);
    else fuse_reply_attr(req, &status, 0);
}

static struct timespec time_to_set(int set, int now, int given, struct timespec time)
{
    if (set & now) time.tv_nsec = UTIME_NOW;
    else if (!(set & given)) time.tv_nsec = UTIME_OMIT;
    return time;
}

static void setattr(fuse_req_t req, fuse_ino_t number, struct stat *to, int set,
                    struct fuse_file_info *file)
{
    int fd = fd_of(number), failed = 0;
    struct path path = path_of(number);
    if (set & FUSE_SET_ATTR_MODE) failed = chmod(path.text, to->st_mode);
    if (!failed && set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
        failed = fchownat(fd, "", set & FUSE_SET_ATTR_UID ? to->st_uid : (uid_t)-1,
                          set & FUSE_SET_ATTR_GID ? to->st_gid : (gid_t)-1, AT_EMPTY_PATH);
    if (!failed && set & FUSE_SET_ATTR_SIZE)
        failed = file ? ftruncate((int)file->fh, to->st_size) : truncate(path.text, to->st_size);
    struct timespec times[2] = {
        time_to_set(set, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, to->st_atim),
        time_to_set(set, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, to->st_mtim)};
    if (!failed && set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME
                          | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW))
        failed = utimensat(fd, "", times, AT_EMPTY_PATH);
    if (failed) fuse_reply_err(req, errno);
    else getattr(req, number, file);
}

static void readlink_(fuse_req_t req, fuse_ino_t number)
{
    char text[PATH_MAX + 1];
    ssize_t size = readlinkat(fd_of(number), "", text, PATH_MAX);
    if (size < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    text[size] = 0;
    fuse_reply_readlink(req, text);
}

static void mknod_(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    reply_entry(req, mknodat(fd_of(parent), name, mode, device), parent, name);
}

static void mkdir_(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    reply_entry(req, mkdirat(fd_of(parent), name, mode), parent, name);
}

static void symlink_(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    reply_entry(req, symlinkat(target, fd_of(parent), name), parent, name);
}

static void link_(fuse_req_t req, fuse_ino_t number, fuse_ino_t parent, const char *name)
{
    struct path path = path_of(number);
    int failed = linkat(AT_FDCWD, path.text, fd_of(parent), name, AT_SYMLINK_FOLLOW);
    reply_entry(req, failed, parent, name);
}

static const char *name_of_removed(const struct node *node)
{
    static char name[32];
    snprintf(name, sizeof name, ".nfs%016lx", (unsigned long)node->inode);
    return name;
}

static void unlink_(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry;
    int error = look_up(parent, name, &entry);
    if (error) {
        fuse_reply_err(req, error);
        return;
    }
    struct node *node = node_of(entry.ino);
    if (node->opens && entry.attr.st_nlink == 1 && !node->directory) {
        node->directory = dup(fd_of(parent));
        reply_status(req, renameat(fd_of(parent), name, fd_of(parent), name_of_removed(node)));
    } else reply_status(req, unlinkat(fd_of(parent), name, 0));
    let_go(node, 1);
}

static void rmdir_(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    reply_status(req, unlinkat(fd_of(parent), name, AT_REMOVEDIR));
}

static void rename_(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                    const char *new_name, unsigned int flags)
{
    long failed = syscall(SYS_renameat2, fd_of(parent), name, fd_of(new_parent), new_name, flags);
    reply_status(req, failed != 0);
}

static void open_(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *file)
{
    struct path path = path_of(number);
    int fd = open(path.text, (file->flags & ~(O_NOFOLLOW | O_CREAT)) | O_CLOEXEC);
    if (fd < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    node_of(number)->opens++;
    file->fh = (uint64_t)fd;
    fuse_reply_open(req, file);
}

static void create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *file)
{
    struct fuse_entry_param entry;
    int flags = (file->flags & ~O_NOFOLLOW) | O_CREAT | O_CLOEXEC;
    int fd = openat(fd_of(parent), name, flags, mode), error;
    if (fd < 0) error = errno;
    else error = look_up(parent, name, &entry);
    if (error) {
        fuse_reply_err(req, error);
        return;
    }
    node_of(entry.ino)->opens++;
    file->fh = (uint64_t)fd;
    fuse_reply_create(req, &entry, file);
}

static void release(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *file)
{
    struct node *node = node_of(number);
    if (--node->opens == 0 && node->directory) {
        unlinkat(node->directory, name_of_removed(node), 0);
        close(node->directory);
        node->directory = 0;
    }
    reply_status(req, close((int)file->fh));
}

static void read_(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset,
                  struct fuse_file_info *file)
{
    char *data = malloc(size);
    (void)number;
    ssize_t done = pread((int)file->fh, data, size, offset);
    if (done < 0) fuse_reply_err(req, errno);
    else fuse_reply_buf(req, data, (size_t)done);
    free(data);
}

static void write_(fuse_req_t req, fuse_ino_t number, const char *data, size_t size, off_t offset,
                   struct fuse_file_info *file)
{
    (void)number;
    ssize_t done = pwrite((int)file->fh, data, size, offset);
    if (done < 0) fuse_reply_err(req, errno);
    else fuse_reply_write(req, (size_t)done);
}

static void fsync_(fuse_req_t req, fuse_ino_t number, int only_data, struct fuse_file_info *file)
{
    (void)number, (void)only_data, (void)file;
    fuse_reply_err(req, 0);
}

static void opendir_(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *file)
{
    int fd = openat(fd_of(number), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        fuse_reply_err(req, errno);
        return;
    }
    file->fh = (uintptr_t)directory;
    fuse_reply_open(req, file);
}

static void readdir_(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset,
                     struct fuse_file_info *file)
{
    DIR *directory = (DIR *)(uintptr_t)file->fh;
    char *data = malloc(size);
    size_t used = 0;
    (void)number;
    seekdir(directory, offset);
    for (struct dirent *found; (found = readdir(directory));) {
        struct stat status = {.st_ino = found->d_ino, .st_mode = (mode_t)found->d_type << 12};
        size_t more = fuse_add_direntry(req, data + used, size - used, found->d_name, &status,
                                        telldir(directory));
        if (more > size - used) break;
        used += more;
    }
    fuse_reply_buf(req, data, used);
    free(data);
}

static void releasedir(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number;
    reply_status(req, closedir((DIR *)(uintptr_t)file->fh));
}

static void statfs_(fuse_req_t req, fuse_ino_t number)
{
    struct statvfs status;
    if (fstatvfs(fd_of(number), &status)) fuse_reply_err(req, errno);
    else fuse_reply_statfs(req, &status);
}

static void setxattr_(fuse_req_t req, fuse_ino_t number, const char *name, const char *value,
                      size_t size, int flags)
{
    reply_status(req, setxattr(path_of(number).text, name, value, size, flags));
}

static void reply_value(fuse_req_t req, ssize_t done, const char *value, size_t size)
{
    if (done < 0) fuse_reply_err(req, errno);
    else if (size) fuse_reply_buf(req, value, (size_t)done);
    else fuse_reply_xattr(req, (size_t)done);
}

static void getxattr_(fuse_req_t req, fuse_ino_t number, const char *name, size_t size)
{
    char value[XATTR_SIZE_MAX];
    reply_value(req, getxattr(path_of(number).text, name, value, size), value, size);
}

static void listxattr_(fuse_req_t req, fuse_ino_t number, size_t size)
{
    char names[XATTR_LIST_MAX];
    reply_value(req, listxattr(path_of(number).text, names, size), names, size);
}

static void removexattr_(fuse_req_t req, fuse_ino_t number, const char *name)
{
    reply_status(req, removexattr(path_of(number).text, name));
}

static void flock_(fuse_req_t req, fuse_ino_t number, struct fuse_file_info *file, int operation)
{
    (void)number, (void)file, (void)operation;
    fuse_reply_err(req, flock_error);
}

int main(int count, char **words)
{
    struct fuse_lowlevel_ops operations = {
        .lookup = lookup, .forget = forget, .getattr = getattr, .setattr = setattr,
        .readlink = readlink_, .mknod = mknod_, .mkdir = mkdir_, .symlink = symlink_,
        .link = link_, .unlink = unlink_, .rmdir = rmdir_, .rename = rename_,
        .open = open_, .create = create, .release = release, .read = read_, .write = write_,
        .fsync = fsync_, .opendir = opendir_, .readdir = readdir_, .releasedir = releasedir,
        .fsyncdir = fsync_, .statfs = statfs_, .setxattr = setxattr_, .getxattr = getxattr_,
        .listxattr = listxattr_, .removexattr = removexattr_};
    char *options[] = {words[0], "-odefault_permissions,fsname=passthrough", NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(2, options);
    struct rlimit limit;
    if (count > 3) flock_error = atoi(words[3]), operations.flock = flock_;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    umask(0);
    root.fd = count < 3 ? -1 : open(words[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root.fd < 0) {
        perror("passthrough");
        return 1;
    }
    struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (!session || fuse_session_mount(session, words[2])) return 1;
    puts("mounted");
    fflush(stdout);
    return fuse_session_loop(session) != 0;
}
