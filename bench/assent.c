/* Run a program under a supervisor that leaves every call to the kernel, and does nothing else: what
 * user notifications cost, whatever answers them.  Notified are the calls that PROGRAM's kind makes
 * most of, as under `notify`: stat(2) and its family, getdents(2), execve(2).
 *
 * usage: assent PROGRAM ARGUMENT...
 */

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYNC_WAKE_UP 1
#define SET_FLAGS _IOW('!', 4, __u64)
#define FLAGS                                                          \
  (SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW | \
   SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
#define ALL (sizeof notified / sizeof *notified)

static const int notified[] = {SYS_stat,  SYS_lstat,      SYS_fstat,  SYS_newfstatat,
                               SYS_statx, SYS_getdents64, SYS_execve, SYS_execveat};

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int install(void) {
  struct sock_filter filter[ALL + 3];
  filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < ALL; i++)
    filter[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, notified[i], ALL - i, 0);
  filter[ALL + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[ALL + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  struct sock_fprog program = {ALL + 3, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("PR_SET_NO_NEW_PRIVS");
  int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, FLAGS, &program);
  if (listener < 0) die("seccomp");
  return listener;
}

/* The descriptor travels beside one byte. */
union control {
  char space[CMSG_SPACE(sizeof(int))];
  struct cmsghdr header;
};

static void pass(int channel, int listener) {
  union control control = {{0}};
  struct iovec byte = {"", 1};
  struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                           .msg_controllen = sizeof control};
  control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
                                    .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &listener, sizeof listener);
  if (sendmsg(channel, &message, 0) < 0) die("sendmsg");
}

static int take(int channel) {
  union control control = {{0}};
  char nothing;
  int listener;
  struct iovec byte = {&nothing, 1};
  struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                           .msg_controllen = sizeof control};
  if (recvmsg(channel, &message, 0) <= 0 || !message.msg_controllen) die("recvmsg");
  memcpy(&listener, CMSG_DATA(&control.header), sizeof listener);
  return listener;
}

static void assent(int listener) {
  struct seccomp_notif call;
  struct seccomp_notif_resp response = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  ioctl(listener, SET_FLAGS, SYNC_WAKE_UP);
  for (;;) {
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
      /* A caller may have died before its call could be read; or nobody is left (Linux 6.11). */
      struct pollfd state = {.fd = listener, .events = POLLIN};
      if (errno != EINTR && poll(&state, 1, 0) == 1 && state.revents & POLLHUP) return;
      continue;
    }
    response.id = call.id;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
  }
}

int main(int argc, char **argv) {
  int channel[2], status;
  if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, channel)) die("usage: assent PROGRAM");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    int listener = install();
    pass(channel[1], listener);
    close(listener);
    execvp(argv[1], argv + 1);
    die(argv[1]);
  }
  close(channel[1]);
  assent(take(channel[0]));
  if (waitpid(child, &status, 0) < 0) die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
