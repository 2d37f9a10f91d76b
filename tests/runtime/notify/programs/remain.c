/* remain: give files to 5:6, and keep their inodes without a name in all possible ways.  Then make
 * the supervisor forget thousands of other files, and print the owners of the kept files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static int make(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
    must(fd >= 0, "open");
    must(chown(name, 5, 6) == 0, "chown");
    return fd;
}

static void show(const char *how, int fd)
{
    struct stat st;
    must(fd >= 0 && fstat(fd, &st) == 0, how);
    printf("%s %u:%u\n", how, st.st_uid, st.st_gid);
    close(fd);
}

static void show_name(const char *how, const char *name)
{
    show(how, open(name, O_RDONLY | O_NOFOLLOW | O_PATH));
}

static union {
    char buffer[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
} control;

static struct msghdr message(struct iovec *byte)
{
    memset(&control, 0, sizeof control);
    return (struct msghdr){.msg_iov = byte,
                           .msg_iovlen = 1,
                           .msg_control = control.buffer,
                           .msg_controllen = sizeof control.buffer};
}

static void send_away(int channel, int fd)
{
    struct iovec byte = {.iov_base = "", .iov_len = 1};
    struct msghdr out = message(&byte);
    struct cmsghdr *head = CMSG_FIRSTHDR(&out);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    must(sendmsg(channel, &out, 0) == 1, "sendmsg");
    close(fd);
}

static int take_back(int channel)
{
    char space;
    int fd;
    struct iovec byte = {.iov_base = &space, .iov_len = 1};
    struct msghdr in = message(&byte);
    must(recvmsg(channel, &in, 0) == 1 && CMSG_FIRSTHDR(&in), "recvmsg");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&in)), sizeof fd);
    return fd;
}

int main(void)
{
    int channel[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0, "socketpair");
    must(mkdir("deep", 0755) == 0 && mkdir("deep/deeper", 0755) == 0, "mkdir");

    close(make("plain"));
    close(make("old"));
    must(rename("old", "deep/deeper/new") == 0, "rename");
    close(make("first"));
    must(link("first", "second") == 0 && unlink("first") == 0, "link");
    int unlinked = make("unlinked");
    must(unlink("unlinked") == 0, "unlink");
    send_away(channel[0], make("sent"));
    must(unlink("sent") == 0, "unlink");
    int unnamed = open(".", O_TMPFILE | O_RDWR, 0644);
    must(unnamed >= 0 && fchown(unnamed, 5, 6) == 0, "fchown");
    close(make("mounted"));
    close(make("below"));
    must(mount("mounted", "below", NULL, MS_BIND, NULL) == 0, "mount");
    must(unlink("mounted") == 0, "unlink");
    must(symlink("nowhere", "symlink") == 0 && lchown("symlink", 5, 6) == 0, "symlink");
    must(mkdir("moved", 0755) == 0 && chown("moved", 5, 6) == 0, "chown");
    must(rename("moved", "deep/moved") == 0, "rename");
    int left = open("deep/moved", O_PATH);
    must(rmdir("deep/moved") == 0, "rmdir");

    for (int i = 0; i < 3000; i++) {
        close(make("gone"));
        must(unlink("gone") == 0, "unlink");
    }
    show_name("plain", "plain");
    show_name("renamed", "deep/deeper/new");
    show_name("linked", "second");
    show("open", unlinked);
    show("sent", take_back(channel[1]));
    show("unnamed", unnamed);
    show_name("mounted", "below");
    show_name("symlink", "symlink");
    show("removed directory", left);
    return 0;
}
