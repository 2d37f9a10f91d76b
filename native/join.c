/* The group of --join: launcher/join.py.  This program joins a group that has a keeper.
 * If there is no group, it binds the group's socket and hands over.  The launcher finds the socket
 * among its descriptors, and becomes the first process of the group. */

struct address { uint16_t family; char name[NAME_LIMIT + 1]; };

static uint64_t inode_of(const char *path)
{
    struct status status;
    must(status_of(AT_FDCWD, path, 0, &status), path);
    return status.inode;
}

/* Write the address of the group's socket; return its length. */
static size_t group_address(struct address *address, uint32_t uid, const char *tag)
{
    static const char *const groups[] = {GROUPS}; /* names of tags and jobs: local_ranks.py */
    const char *job = NULL;
    for (size_t i = 0; !tag && !job && i < sizeof groups / sizeof *groups; i += 2) {
        if (*groups[i]) tag = variable(groups[i]);
        if (tag || !*groups[i]) job = variable(groups[i + 1]);
    }
    if (!tag) tag = decimal(CALL(getppid, 0));
    if (!*tag) decline("an empty tag");
    const char *name = JOINED(NAME_PREFIX "/", decimal(uid), "/",
                              decimal((long)inode_of("/proc/self/ns/user")), "/",
                              decimal((long)inode_of("/proc/self/ns/pid")), "/",
                              job && *job ? hashed(job) : "", "/", tag);
    if (length(name) > NAME_LIMIT) decline("a long tag");
    address->family = AF_UNIX;
    memcpy(address->name + 1, name, length(name));
    return sizeof address->family + 1 + length(name);
}

/* Decline unless the listening process belongs to this user, and is in this user namespace. */
static void check_keeper(long connection, uint32_t uid)
{
    struct { uint32_t pid, uid, gid; } peer = {0};
    int pidfd = -1;
    uint32_t size = sizeof peer, pidfd_size = sizeof pidfd;
    must(CALL(getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &peer, &size), "SO_PEERCRED");
    if (CALL(getsockopt, connection, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &pidfd_size) < 0)
        pidfd = (int)must(CALL(pidfd_open, peer.pid), "pidfd_open");
    uint64_t users = inode_of(JOINED("/proc/", decimal(peer.pid), "/ns/user"));
    must(CALL(pidfd_send_signal, pidfd, 0), "a keeper that has ended"); /* users is about it */
    if (peer.uid != uid || users != inode_of("/proc/self/ns/user")) decline("a strange keeper");
    CALL(close, pidfd);
}

/* Receive the namespaces, perhaps after a while; return 0 if the group is over. */
static int receive_namespaces(long connection, const char *image, long *users, long *mounts)
{
    struct { uint64_t length; int level, type, fds[2]; } control = {0};
    char *answer = allocate(IMAGE_LIMIT + 2);
    struct part part = {answer, IMAGE_LIMIT + 1};
    struct message message = {0, 0, &part, 1, &control, sizeof control, 0};
    long size = CALL(recvmsg, connection, &message, MSG_CMSG_CLOEXEC);
    if (size == 0 || size == -ECONNRESET) return 0;
    if (size < 0 || message.control_length != sizeof control || control.length != sizeof control
        || control.level != SOL_SOCKET || control.type != SCM_RIGHTS)
        decline("an answer without namespaces");
    if (!equal(answer, JOINED(PEER_ACCEPTED, image))) decline("a group with another image");
    *users = control.fds[0], *mounts = control.fds[1];
    return 1;
}

/* Join the group, and return descriptors of the namespaces of its container; or decline. */
static void join_group(const char *image, uint32_t uid, const char *tag, long *users, long *mounts)
{
    static const int64_t pause[2] = {0, 1000000};
    static struct address address;
    size_t size = group_address(&address, uid, tag);
    for (int i = 0; i < SILENCES; i++) {
        long connection = must(CALL(socket, AF_UNIX, SOCK_SEQPACKET), "socket");
        long error = CALL(bind, connection, &address, size);
        if (error != -EADDRINUSE) decline(error ? "bind" : "the first of its group");
        error = CALL(connect, connection, &address, size);
        if (!error) {
            check_keeper(connection, uid);
            if (receive_namespaces(connection, image, users, mounts)) i = SILENCES;
        } else if (error == -ECONNREFUSED) CALL(nanosleep, pause);
        else decline("connect");
        CALL(close, connection);
    }
    if (!*users) decline("a group without a keeper");
}
