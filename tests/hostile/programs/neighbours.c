/* Objects that the user's other programs share: sockets, IPC, keys, shared memory. */

#include "attacker.h"

#include <mqueue.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static socklen_t address_of(struct sockaddr_un *address, const char *name, bool is_abstract) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    strncpy(address->sun_path + is_abstract, name, sizeof address->sun_path - 2);
    return offsetof(struct sockaddr_un, sun_path) + is_abstract + strlen(name);
}

static void connect_to(const char *name, bool is_abstract) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    struct sockaddr_un address;
    if (!name)
        return;
    socklen_t length = address_of(&address, name, is_abstract);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int fd = socket(AF_UNIX, types[i], 0);
        if (connect(fd, (struct sockaddr *)&address, length)) {
            refused(name);
            close(fd);
            continue;
        }
        reached("connected to %s", name);
        /* A descriptor of the host, if the other process sends one, and one for that process. */
        char byte = 0, control[CMSG_SPACE(sizeof fd)];
        struct iovec data = {&byte, 1};
        struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                                 .msg_controllen = sizeof control};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        if (sendmsg(fd, &message, 0) == 1)
            reached("sent a descriptor to %s", name);
        close(fd);
    }
}

static void abstract_socket(void) { connect_to(argument("abstract"), true); }
static void abstract_datagram(void) {
    struct sockaddr_un address;
    const char *name = argument("abstract_datagram");
    if (!name)
        return;
    socklen_t length = address_of(&address, name, true);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    tried(sendto(fd, "typed", 5, 0, (struct sockaddr *)&address, length), "a datagram to %s", name);
}
static void path_socket(void) { connect_to(argument("socket"), false); }

static void loopback(void) {
    if (number("port") < 0)
        return;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(number("port")),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    tried(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address),
          "a port of the host's");
}

static void shared_memory(void) {
    int id = shmget(number("ipc"), 0, 0);
    if (id < 0) {
        refused("shmget");
        /* The numbers are small, and may be guessed. */
        struct shmid_ds about;
        struct shm_info all;
        int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&all);
        for (int index = 0; index <= last; index++) {
            int found = shmctl(index, SHM_STAT, &about);
            if (found >= 0 && about.shm_perm.__key == number("ipc"))
                reached("shared memory %d", found);
        }
        return;
    }
    char *memory = shmat(id, NULL, 0);
    if (memory == (void *)-1)
        refused("shmat");
    else
        reached("shared memory: %.40s", memory);
}

static void semaphores(void) {
    tried(semget(number("ipc"), 0, 0), "semaphores");
}

static void messages(void) {
    struct {
        long type;
        char text[64];
    } message = {0};
    int id = msgget(number("ipc"), 0);
    if (id < 0)
        refused("msgget");
    else if (msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT | MSG_NOERROR) >= 0)
        reached("a message: %.40s", message.text);
    else
        reached("a queue of messages");
}

static void posix_messages(void) {
    if (!argument("mq"))
        return;
    tried(mq_open(argument("mq"), O_RDWR), "queue %s", argument("mq"));
}

static void shared_memory_file(void) {
    char path[PATH_SIZE];
    if (!argument("shm"))
        return;
    snprintf(path, sizeof path, "/dev/shm/%s", argument("shm"));
    tried(open(path, O_RDWR), "%s", path);
}

/* keyctl(2): operations, and the keyrings that every process has. */
enum { JOIN = 1, DESCRIBE = 6, LINK = 8, SEARCH = 10, READ = 11, PERSISTENT = 22 };
enum { THREAD = -1, PROCESS = -2, SESSION = -3, USER = -4, USER_SESSION = -5 };

static void read_key(long key, const char *how) {
    char text[128] = "";
    long got = syscall(SYS_keyctl, READ, key, text, sizeof text - 1, 0);
    if (got >= 0)
        reached("%s: %.60s", how, text);
    else
        refused(how);
}

static void keyrings(void) {
    static const long rings[] = {SESSION, USER, USER_SESSION, PROCESS, THREAD};
    const char *name = argument("key");
    if (!name)
        return;
    for (size_t i = 0; i < sizeof rings / sizeof *rings; i++) {
        long key = syscall(SYS_keyctl, SEARCH, rings[i], "user", name, 0);
        if (key < 0)
            refused("KEYCTL_SEARCH");
        else
            read_key(key, "found in a keyring");
    }
    long key = syscall(SYS_request_key, "user", name, NULL, 0);
    if (key < 0)
        refused("request_key");
    else
        read_key(key, "requested");
    key = syscall(SYS_keyctl, PERSISTENT, -1, PROCESS, 0, 0);
    if (key >= 0 && (key = syscall(SYS_keyctl, SEARCH, key, "user", name, 0)) >= 0)
        read_key(key, "in the persistent keyring");
}

/* By number: /proc/keys lists these, and user keyrings may be linked into the own one. */
static void keys_by_number(void) {
    static char text[65536];
    const char *name = argument("key");
    if (!name)
        return;
    if (number("key_serial") > 0) {
        read_key(number("key_serial"), "by number");
        char about[128];
        tried(syscall(SYS_keyctl, DESCRIBE, number("key_serial"), about, sizeof about, 0),
              "described");
        tried(syscall(SYS_keyctl, LINK, number("key_serial"), PROCESS, 0, 0), "linked");
        read_key(number("key_serial"), "linked by number");
    }
    if (contents("/proc/keys", text, sizeof text) < 0) {
        refused("/proc/keys");
        return;
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned serial;
        if (sscanf(line, "%x", &serial) != 1)
            continue;
        if (strstr(line, "keyring") && syscall(SYS_keyctl, LINK, serial, PROCESS, 0, 0) == 0) {
            long key = syscall(SYS_keyctl, SEARCH, PROCESS, "user", name, 0);
            if (key >= 0)
                read_key(key, "in a keyring linked by number");
        }
        if (strstr(line, name))
            read_key(serial, "listed in /proc/keys");
    }
    syscall(SYS_keyctl, JOIN, NULL, 0, 0, 0);
}

static void watched(void) {
    const char *canary = argument("canary");
    int fd = inotify_init1(IN_CLOEXEC);
    if (canary)
        tried(inotify_add_watch(fd, canary, IN_ALL_EVENTS), "inotify of %s", canary);
    static const unsigned flags[] = {FAN_CLASS_NOTIF, FAN_CLASS_CONTENT, 0x200 /* FAN_REPORT_FID */};
    static const unsigned filesystem = 0x100; /* FAN_MARK_FILESYSTEM; mounts are its own */
    static const char *const places[] = {"/", "/etc/hosts", "/sys", "/dev/null"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        int group = syscall(SYS_fanotify_init, flags[i], O_RDONLY);
        if (group < 0) {
            refused("fanotify_init");
            continue;
        }
        for (size_t j = 0; j < sizeof places / sizeof *places; j++)
            tried(syscall(SYS_fanotify_mark, group, FAN_MARK_ADD | filesystem, (uint64_t)FAN_OPEN,
                          AT_FDCWD, places[j]),
                  "fanotify of all around %s", places[j]);
    }
}

static void host_paths(void) {
    const char *canary = argument("canary");
    if (!canary)
        return;
    loot(open("/", O_PATH), "its path");
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s", canary);
    *strrchr(path, '/') = 0;
    tried(open(path, O_PATH), "%s", path);
    snprintf(path + strlen(path), sizeof path - strlen(path), "/made");
    tried(mknod(path, S_IFREG | 0600, 0), "%s made", path);
}

/* Names with one meaning for the caller and another for the supervisor that looks them up. */
static void names_for_the_supervisor(void) {
    static const char *const before[] = {
        "/proc/self/../..", "/proc/thread-self/../../../..", "/dev/fd/../../..", "/proc/self/task/../../..",
        "/proc/self/fd/../../..", "/proc/./self/../..", "/proc/self/../self/cwd/..",
        "/proc/self/../self/root", "/proc/self/../self/fd/3/../../../../../../..",
        "/proc/self/../self/fd/4/../../../../../../..", "/proc/self/../self/fd/5/../../../../../../..",
        "/proc/self/../self/fd/6/../../../../../../..", "/proc/self/../self/fd/7/../../../../../../..",
        "/proc/self/../self/fd/8/../../../../../../..", "/proc/self/cwd/../../../../..",
        "/way/..", "/way/fd/3/../../../../../../..", "/way/fd/4/../../../../../../..",
        "/way/fd/5/../../../../../../..", "/way/fd/6/../../../../../../..", "/way/cwd/..",
        "/way/cwd/../../../../..", "/way/root/..", "../../../../../../..",
    };
    const char *canary = argument("canary");
    if (!canary)
        return;
    char directory[PATH_SIZE], path[PATH_SIZE];
    snprintf(directory, sizeof directory, "%s", canary);
    *strrchr(directory, '/') = 0;
    if (symlink("/proc/self", "/way"))
        refused("symlink");
    pid_t child = fork();
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        if (child == 0 && i == 0)
            /* Emulated: from here on new files are another user's, so the supervisor makes them. */
            tried(setgid(5) || setuid(5) ? -1 : -2, "setuid");
        struct stat status;
        snprintf(path, sizeof path, "%s%s", before[i], canary);
        tried(stat(path, &status), "stat of %s", path);
        tried(chmod(path, 06777), "chmod of %s", path);
        /* The answers of the emulation prove nothing: the test looks at the canary. */
        if (chown(path, 5, 5) || chown(path, 0, 0))
            refused("chown");
        tried(syscall(SYS_setxattr, path, "user.attacked", "x", 1, 0), "setxattr of %s", path);
        tried(open(path, O_RDWR), "%s", path);
        snprintf(path, sizeof path, "%s%s/made-%zu", before[i], directory, i);
        tried(open(path, O_RDWR | O_CREAT, 0600), "%s", path);
        if (mknod(path, S_IFCHR | 0600, 0x103))
            refused("mknod");
        tried(mkdir(path, 0700), "mkdir of %s", path);
        tried(symlink("x", path), "symlink at %s", path);
        tried(link("/attacker", path), "link at %s", path);
    }
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    unlink("/way");
}

const struct attack attacks_on_neighbours[] = {
    {"abstract-socket", abstract_socket},
    {"abstract-datagram", abstract_datagram},
    {"path-socket", path_socket},
    {"loopback", loopback},
    {"sysv-shared-memory", shared_memory},
    {"sysv-semaphores", semaphores},
    {"sysv-messages", messages},
    {"posix-messages", posix_messages},
    {"dev-shm", shared_memory_file},
    {"keyrings", keyrings},
    {"keys-by-number", keys_by_number},
    {"notifications-of-files", watched},
    {"paths-of-the-host", host_paths},
    {"names-for-the-supervisor", names_for_the_supervisor},
    {0},
};
