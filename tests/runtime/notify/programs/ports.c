/* ports [6]: bind ports below 1024, talk to them, and print what is seen; 6: by IPv6, too.
 *
 * Run it as root. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address at(const char *host, int port, socklen_t *size)
{
    union address found = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    *size = sizeof found.v4;
    if (inet_pton(AF_INET, host, &found.v4.sin_addr) != 1) {
        found.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        inet_pton(AF_INET6, host, &found.v6.sin6_addr);
        *size = sizeof found.v6;
    }
    return found;
}

static void say(const char *what, int result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "ok");
    fflush(stdout);
}

/* Print an address; of a port that the kernel chose, only that. */
static void show(const char *what, const union address *who)
{
    char host[64] = "";
    int is_v6 = who->any.sa_family == AF_INET6;
    int port = ntohs(is_v6 ? who->v6.sin6_port : who->v4.sin_port);
    inet_ntop(who->any.sa_family, is_v6 ? (void *)&who->v6.sin6_addr : (void *)&who->v4.sin_addr, host, 64);
    if (port >= 1024)
        printf("%s: %s, a port\n", what, host);
    else
        printf("%s: %s %d\n", what, host, port);
    fflush(stdout);
}

static void name(const char *what, int fd, int (*call)(int, struct sockaddr *, socklen_t *))
{
    union address found = {0};
    socklen_t size = sizeof found;
    if (call(fd, &found.any, &size))
        say(what, -1);
    else
        show(what, &found);
}

static int option(int fd, int level, int which)
{
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(fd, level, which, &value, &size);
    return value;
}

static int bound(const char *what, int type, const char *host, int port)
{
    socklen_t size;
    union address where = at(host, port, &size);
    int fd = socket(where.any.sa_family, type, 0);
    say(what, bind(fd, &where.any, size));
    return fd;
}

static int connected(const char *what, int type, const char *host, int port)
{
    socklen_t size;
    union address where = at(host, port, &size);
    int fd = socket(where.any.sa_family, type, 0);
    say(what, connect(fd, &where.any, size));
    return fd;
}

/* Accept one connection, and answer what comes. */
static void serve(int fd)
{
    fflush(stdout);
    if (fork())
        return;
    union address from;
    socklen_t size = sizeof from;
    char text[16] = "";
    int peer = accept(fd, &from.any, &size);
    read(peer, text, 15);
    write(peer, "answer", 6);
    _exit(0);
}

static void talk(const char *what, int fd)
{
    char text[16] = "";
    write(fd, "hello", 5);
    if (read(fd, text, 15) < 0)
        say(what, -1);
    printf("%s: %s\n", what, text);
    name("  peer", fd, getpeername);
    name("  own", fd, getsockname);
    close(fd);
    while (wait(NULL) > 0)
        ;
}

static void streams(void)
{
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size;
    union address where = at("0.0.0.0", 801, &size);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    int before = option(fd, SOL_SOCKET, SO_SNDBUF), buffer = 70000;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    say("bind 801", bind(fd, &where.any, size));
    printf("options %d %d %d %d %d\n", option(fd, SOL_SOCKET, SO_REUSEADDR), option(fd, 6, TCP_NODELAY),
           option(fd, SOL_SOCKET, SO_KEEPALIVE), option(fd, SOL_SOCKET, SO_SNDBUF) == before,
           option(fd, SOL_SOCKET, SO_RCVBUF));
    printf("flags %x %d\n", fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE), fcntl(fd, F_GETFD));
    name("own", fd, getsockname);
    fcntl(fd, F_SETFL, 0);
    say("listen", listen(fd, 5));
    close(bound("bind 801 again", SOCK_STREAM, "127.0.0.1", 801));
    serve(fd), talk("stream", connected("connect 801", SOCK_STREAM, "127.0.0.1", 801));
    serve(fd), talk("another address", connected("connect 801", SOCK_STREAM, "127.1.2.3", 801));
    serve(fd), talk("any address", connected("connect 801", SOCK_STREAM, "0.0.0.0", 801));
    serve(fd);
    int slow = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    where = at("127.0.0.1", 801, &size);
    connect(slow, &where.any, size);
    struct pollfd ready = {slow, POLLOUT, 0};
    poll(&ready, 1, 20000);
    printf("in the end: %d\n", option(slow, SOL_SOCKET, SO_ERROR));
    fcntl(slow, F_SETFL, 0);
    talk("without waiting", slow);
    close(connected("connect 802", SOCK_STREAM, "127.0.0.1", 802));
    serve(fd);
    fflush(stdout);
    if (fork() == 0) {
        setuid(104);
        close(bound("a user binds 803", SOCK_STREAM, "127.0.0.1", 803));
        talk("a user", connected("connect 801", SOCK_STREAM, "127.0.0.1", 801));
        _exit(0);
    }
    wait(NULL), wait(NULL);
    close(fd);
    close(connected("connect when it is closed", SOCK_STREAM, "127.0.0.1", 801));
    int shared[2];
    for (int i = 0; i < 2; i++) {
        shared[i] = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(shared[i], SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
        where = at("127.0.0.1", 804, &size);
        say("bind 804, shared", bind(shared[i], &where.any, size));
        say("listen", listen(shared[i], 5));
    }
    int other = socket(AF_INET, SOCK_STREAM, 0), client = bound("bind 805", SOCK_STREAM, "0.0.0.0", 805);
    listen(other, 5);
    union address found;
    size = sizeof found;
    getsockname(other, &found.any, &size);
    serve(other);
    found.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    say("connect from 805", connect(client, &found.any, size));
    char text[16] = "";
    write(client, "hello", 5), read(client, text, 15), puts(text);
    wait(NULL);
}

static void datagrams(void)
{
    char text[16] = "";
    union address from;
    socklen_t size = sizeof from;
    int fd = bound("bind 806", SOCK_DGRAM, "127.0.0.1", 806);
    int client = connected("connect 806", SOCK_DGRAM, "127.0.0.1", 806);
    send(client, "hello", 5, 0);
    recvfrom(fd, text, 15, 0, &from.any, &size), puts(text), show("from", &from);
    say("answer", sendto(fd, "answer", 6, 0, &from.any, size));
    memset(text, 0, 16), recv(client, text, 15, 0), puts(text), name("peer", client, getpeername);
    int loose = bound("a port of the kernel's", SOCK_DGRAM, "0.0.0.0", 0);
    union address where = at("127.0.0.1", 806, &size);
    say("sendto", sendto(loose, "loose", 5, 0, &where.any, size));
    memset(text, 0, 16), size = sizeof from;
    recvfrom(fd, text, 15, 0, &from.any, &size), puts(text), show("from", &from);
    sendto(fd, "answer", 6, 0, &from.any, size);
    recvfrom(loose, text, 15, 0, &from.any, &size), puts(text), show("from", &from);
    struct iovec part = {"parted", 6};
    struct mmsghdr many[2] = {0};
    for (int i = 0; i < 2; i++) {
        many[i].msg_hdr.msg_iov = &part, many[i].msg_hdr.msg_iovlen = 1;
        many[i].msg_hdr.msg_name = &where, many[i].msg_hdr.msg_namelen = sizeof where.v4;
    }
    say("sendmsg", (int)sendmsg(socket(AF_INET, SOCK_DGRAM, 0), &many[0].msg_hdr, 0));
    say("sendmmsg", sendmmsg(socket(AF_INET, SOCK_DGRAM, 0), many, 2, 0));
    for (int i = 0; i < 3; i++)
        memset(text, 0, 16), recv(fd, text, 15, 0), puts(text);
}

/* An address of this machine with which it reaches others; if there is none, one of loopback. */
static void own_address(void)
{
    socklen_t size;
    char host[64] = "127.0.0.1";
    union address where = at("192.0.2.1", 9, &size);
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(any, &where.any, size) == 0 && getsockname(any, &where.any, &size) == 0)
        inet_ntop(AF_INET, &where.v4.sin_addr, host, sizeof host);
    int fd = bound("bind 809", SOCK_STREAM, host, 809);
    say("listen", listen(fd, 5));
    serve(fd);
    int client = connected("connect 809", SOCK_STREAM, host, 809);
    char text[16] = "";
    write(client, "hello", 5), read(client, text, 15), puts(text);
    wait(NULL);
    close(fd), close(client);
    close(connected("connect when it is closed", SOCK_STREAM, host, 809));
}

static void six(void)
{
    int fd = bound("bind 807", SOCK_STREAM, "::", 807);
    say("listen", listen(fd, 5));
    name("own", fd, getsockname);
    serve(fd), talk("IPv6", connected("connect 807", SOCK_STREAM, "::1", 807));
    serve(fd), talk("IPv4", connected("connect 807", SOCK_STREAM, "127.0.0.1", 807));
    serve(fd), talk("mapped", connected("connect 807", SOCK_STREAM, "::ffff:127.0.0.1", 807));
    int alone = socket(AF_INET6, SOCK_STREAM, 0), yes = 1;
    socklen_t size;
    union address where = at("::", 808, &size);
    setsockopt(alone, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    say("bind 808", bind(alone, &where.any, size));
    close(bound("bind 808 of IPv4", SOCK_STREAM, "0.0.0.0", 808));
}

int main(int count, char **words)
{
    (void)words;
    alarm(60);
    if (count > 1) {
        six();
        return 0;
    }
    streams();
    datagrams();
    own_address();
    return 0;
}
