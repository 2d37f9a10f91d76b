/* messages: send messages that say who sent them, receive them, and print what they say.
 *
 * Run it as root, in an empty directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static int ends[2], go[2];

/* Pass no credentials with this one, and no descriptor with -1. */
static const struct ucred nobody = {.pid = -1};
#define NONE (-1)

static union {
    char bytes[128];
    struct cmsghdr aligned;
} control;

/* musl's structures have fields between these. */
static void set(struct cmsghdr *part, size_t size, int type)
{
    part->cmsg_len = (socklen_t)CMSG_LEN(size);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = type;
}

static struct msghdr with_room(struct iovec *parts, int count, void *found, size_t room)
{
    return (struct msghdr){.msg_iov = parts, .msg_iovlen = count, .msg_control = found,
                           .msg_controllen = (socklen_t)room};
}

static size_t make_control(struct ucred who, int fd)
{
    struct msghdr message = {.msg_control = control.bytes, .msg_controllen = sizeof control};
    size_t used = 0;
    memset(&control, 0, sizeof control);
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (fd != NONE) {
        set(part, sizeof fd, SCM_RIGHTS);
        memcpy(CMSG_DATA(part), &fd, sizeof fd);
        used += CMSG_SPACE(sizeof fd);
        part = CMSG_NXTHDR(&message, part);
    }
    if (who.pid != nobody.pid) {
        set(part, sizeof who, SCM_CREDENTIALS);
        memcpy(CMSG_DATA(part), &who, sizeof who);
        used += CMSG_SPACE(sizeof who);
    }
    return used;
}

static void send_control(const char *what, int to, size_t size)
{
    struct iovec text = {(char *)what, strlen(what)};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_controllen = size};
    message.msg_control = size ? control.bytes : NULL;
    /* A C library may send a copy. */
    if (syscall(SYS_sendmsg, to, &message, 0) < 0)
        printf("%s: can't send: %s\n", what, strerror(errno));
    fflush(stdout);
}

static void send_as(const char *what, struct ucred who, int fd)
{
    send_control(what, ends[1], make_control(who, fd));
}

static struct ucred me(uid_t uid, gid_t gid) { return (struct ucred){getpid(), uid, gid}; }

static void show(struct msghdr *message, ssize_t length)
{
    printf("%zd bytes, flags %x, control %u", length, message->msg_flags,
           (unsigned)message->msg_controllen);
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        size_t size = part->cmsg_len - CMSG_LEN(0);
        if (part->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who = {0, 0, 0};
            memcpy(&who, CMSG_DATA(part), size);
            const char *name = who.pid == child ? "child" : who.pid == getpid() ? "itself" : "other";
            printf(", %s %u:%u (%zu)", name, who.uid, who.gid, size);
        } else {
            int fds[8];
            memcpy(fds, CMSG_DATA(part), size);
            for (unsigned i = 0; i < size / sizeof *fds; i++) {
                struct stat st;
                int flags = fcntl(fds[i], F_GETFD);
                printf(", a file of mode %o, flags %d", fstat(fds[i], &st) ? 0 : st.st_mode, flags);
                close(fds[i]);
            }
        }
    }
    printf("\n");
    fflush(stdout);
}

static void receive_into(int from, size_t room, int flags, size_t first)
{
    char text[2][64] = {"", ""};
    union {
        char bytes[128];
        struct cmsghdr aligned;
    } found;
    struct sockaddr_un name = {0};
    struct iovec parts[] = {{text[0], first}, {text[1], sizeof text[1] - 1}};
    struct msghdr message = with_room(parts, 2, found.bytes, room);
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    struct pollfd ready = {from, POLLIN, 0};
    if (!(flags & MSG_DONTWAIT))
        poll(&ready, 1, 20000);
    ssize_t length = recvmsg(from, &message, flags);
    if (length < 0) {
        printf("can't receive: %s\n", strerror(errno));
        return;
    }
    printf("\"%s\" \"%s\" from %u \"%s\": ", text[0], text[1], message.msg_namelen, name.sun_path);
    show(&message, length);
}

static void receive(void) { receive_into(ends[0], 128, 0, 63); }

static void pair(int type)
{
    int yes = 1;
    close(ends[0]);
    close(ends[1]);
    socketpair(AF_UNIX, type, 0, ends);
    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
}

/* Have a child of this user send, and end when the parent has received; or first, if it is quick. */
static void as(uid_t uid, gid_t gid, void (*sends)(void), int messages, int is_quick)
{
    pipe(go);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        char byte;
        close(go[1]);
        setresgid(gid, gid, gid);
        setresuid(uid, uid, uid);
        sends();
        if (!is_quick)
            read(go[0], &byte, 1);
        _exit(0);
    }
    close(go[0]);
    if (is_quick)
        waitpid(child, NULL, 0);
    while (messages--)
        receive();
    close(go[1]);
    if (!is_quick)
        waitpid(child, NULL, 0);
}

static void plain(void) { send_as("plain", nobody, NONE); }

static void own(void) { send_as("own", me(getuid(), getgid()), NONE); }

static void become_others(void)
{
    setresgid(106, 107, 108);
    setresuid(104, 105, 109);
}

static void real(void)
{
    become_others();
    send_as("real", nobody, NONE);
}

static void effective(void)
{
    become_others();
    send_as("effective", me(105, 107), NONE);
}

static void saved(void)
{
    become_others();
    send_as("saved", me(109, 108), NONE);
}

static void refused(void)
{
    send_as("root", me(0, 0), NONE);
    send_as("root's group", me(104, 0), NONE);
    send_as("another", me(1000, 106), NONE);
    send_as("no user", me(-1, 106), NONE);
    send_as("the parent", (struct ucred){getppid(), 104, 106}, NONE);
    send_as("nothing", (struct ucred){99999999, 104, 106}, NONE);
    send_as("all is well", me(104, 106), NONE);
}

static void twice(void)
{
    size_t size = make_control(me(104, 106), NONE);
    send_control("first", ends[1], size);
    send_control("second", ends[1], size);
}

static void with_file(void) { send_as("file", me(104, 106), ends[1]); }

static void four_files(void)
{
    for (int i = 0; i < 4; i++)
        send_as("file", me(104, 106), ends[1]);
}

static void two(void)
{
    send_as("0123456789", nobody, NONE);
    send_as("abcdefghij", nobody, NONE);
}

static void to_name(void)
{
    int from = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un ours = {AF_UNIX, "from"}, theirs = {AF_UNIX, "to"};
    bind(from, (struct sockaddr *)&ours, sizeof ours);
    sendto(from, "named", 5, 0, (struct sockaddr *)&theirs, sizeof theirs);
}

static void many(void)
{
    struct iovec texts[] = {{"m1", 2}, {"m2", 2}};
    struct mmsghdr messages[2] = {0};
    size_t size = make_control(me(104, 106), NONE);
    for (int i = 0; i < 2; i++) {
        messages[i].msg_hdr.msg_iov = &texts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    messages[1].msg_hdr.msg_control = control.bytes;
    messages[1].msg_hdr.msg_controllen = size;
    if (sendmmsg(ends[1], messages, 2, 0) != 2)
        printf("sendmmsg: %s\n", strerror(errno));
}

static void receive_many(void)
{
    for (int left = 2; left > 0;) {
        char text[2][8] = {"", ""}, rooms[2][64];
        struct iovec parts[] = {{text[0], 7}, {text[1], 7}};
        struct mmsghdr messages[2] = {0};
        for (int i = 0; i < 2; i++)
            messages[i].msg_hdr = with_room(&parts[i], 1, rooms[i], sizeof rooms[i]);
        struct pollfd ready = {ends[0], POLLIN, 0};
        poll(&ready, 1, 20000);
        int got = recvmmsg(ends[0], messages, left, MSG_WAITFORONE, NULL);
        if (got <= 0)
            break;
        for (int i = 0; i < got; i++) {
            printf("\"%s\": ", text[i]);
            show(&messages[i].msg_hdr, messages[i].msg_len);
        }
        left -= got;
    }
}

static void nothing(void) {}

int main(void)
{
    alarm(60);
    pair(SOCK_STREAM);
    child = getpid();
    puts("root, while there is nobody else");
    send_as("root", nobody, NONE);
    receive();
    send_as("a user", me(1000, 1001), NONE);
    receive();
    send_as("root again", me(0, 0), NONE);
    receive();
    send_as("no such process", (struct ucred){99999999, 0, 0}, NONE);
    puts("users");
    as(104, 106, plain, 1, 0);
    as(104, 106, own, 1, 0);
    as(104, 106, own, 1, 1);
    as(0, 0, real, 1, 0);
    as(0, 0, effective, 1, 1);
    as(0, 0, saved, 1, 0);
    as(104, 106, refused, 1, 0);
    puts("root names a child");
    as(104, 106, nothing, 0, 0);
    pipe(go);
    child = fork();
    if (child == 0) {
        close(go[1]);
        _exit((int)read(go[0], &child, 1));
    }
    send_as("the child", (struct ucred){child, 104, 106}, NONE);
    receive();
    close(go[1]);
    waitpid(child, NULL, 0);
    puts("descriptors, and too little room");
    as(104, 106, with_file, 1, 0);
    pipe(go);
    as(104, 106, four_files, 0, 1);
    receive_into(ends[0], 128, MSG_CMSG_CLOEXEC, 63);
    receive_into(ends[0], CMSG_SPACE(sizeof(struct ucred)), 0, 63);
    receive_into(ends[0], CMSG_LEN(5), 0, 63);
    receive_into(ends[0], 7, 0, 63);
    puts("a look, and parts");
    as(104, 106, own, 0, 1);
    receive_into(ends[0], 128, MSG_PEEK, 2);
    receive_into(ends[0], 128, 0, 2);
    receive_into(ends[0], 128, MSG_DONTWAIT, 63);
    puts("datagrams");
    pair(SOCK_DGRAM);
    as(104, 106, two, 2, 0);
    as(104, 106, own, 0, 1);
    receive_into(ends[0], 128, MSG_PEEK | MSG_TRUNC, 1);
    receive();
    pair(SOCK_SEQPACKET);
    as(104, 106, twice, 2, 0);
    as(104, 106, with_file, 1, 0);
    as(104, 106, many, 0, 1);
    receive_many();
    puts("without SO_PASSCRED");
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    as(104, 106, own, 1, 0);
    puts("names");
    chmod(".", 0777);
    ends[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un name = {AF_UNIX, "to"};
    bind(ends[0], (struct sockaddr *)&name, sizeof name);
    chmod("to", 0777);
    int yes = 1;
    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
    as(104, 106, to_name, 1, 0);
    return 0;
}
