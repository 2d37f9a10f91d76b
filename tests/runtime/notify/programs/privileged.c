/* privileged: make the calls that take a privilege over the machine, and print what each says.
 *
 * Run it as root.  None of them has an effect if a privilege is all that it lacks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* linux/fs.h, which musl does not have */
#define FS_IOC_SETFLAGS _IOW('f', 2, long)
#define FS_IOC_FSSETXATTR _IOW('X', 32, uint32_t[7])
#define FS_XFLAG_IMMUTABLE 0x8
#define FS_IMMUTABLE_FL 0x10
#define FS_APPEND_FL 0x20

static void result(const char *name, long value)
{
    printf("%s: %s\n", name, value < 0 ? strerror(errno) : "done");
    fflush(stdout);
}

static void set_flags(int flags)
{
    int fd = open("file", O_CREAT | O_RDONLY, 0644);
    result("FS_IOC_SETFLAGS", ioctl(fd, FS_IOC_SETFLAGS, &flags));
    close(fd);
}

static void set_scheduler(int policy, unsigned priority)
{
    struct sched_param parameter = {.sched_priority = priority};
    struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority;
             uint64_t runtime, deadline, period; }
        attributes = {48, policy, 0, 0, priority, 0, 0, 0};
    result("sched_setscheduler", syscall(SYS_sched_setscheduler, 0, policy, &parameter));
    result("sched_setattr", syscall(SYS_sched_setattr, 0, &attributes, 0));
}

int main(void)
{
    static char memory[1 << 20];
    struct rlimit small = {1 << 18, 1 << 18};
    struct timespec now;
    int plain = 0;

    /* Calls that everybody may make. */
    prctl(PR_SET_NAME, "harmless");
    setrlimit(RLIMIT_MEMLOCK, &small);
    set_scheduler(SCHED_OTHER, 0);
    result("setpriority", setpriority(PRIO_PROCESS, 0, 1));
    result("mlock", mlock(memory, 1 << 17));
    munlock(memory, 1 << 17);
    result("mlockall", mlockall(MCL_FUTURE));
    munlockall();
    result("ioprio_set", syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4));
    result("clock_gettime", clock_gettime(CLOCK_REALTIME, &now));
    result("TIOCGWINSZ", ioctl(0, TIOCGWINSZ, &plain));
    mkdir("m", 0755);
    result("mount of tmpfs", mount("none", "m", "tmpfs", 0, NULL));
    umount("m");
    result("mount of proc", mount("none", "m", "proc", 0, NULL)); /* of its own PID namespace */
    umount("m");

    result("datagrams", socket(AF_INET, SOCK_DGRAM, 0));
    result("netlink", socket(AF_NETLINK, SOCK_RAW, 0));

    prctl(PR_SET_NAME, "privileged");
    set_flags(FS_IMMUTABLE_FL);
    int fd = open("file", O_RDONLY);
    uint32_t extended[7] = {FS_XFLAG_IMMUTABLE};
    result("FS_IOC_FSSETXATTR", ioctl(fd, FS_IOC_FSSETXATTR, extended));
    set_scheduler(SCHED_FIFO, 1);
    result("setpriority", setpriority(PRIO_PROCESS, 0, -5));
    result("mlock", mlock(memory, 1 << 19));
    result("mlockall", mlockall(MCL_CURRENT));
    result("ioprio_set", syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4));
    result("clock_settime", clock_settime(CLOCK_REALTIME, &(struct timespec){-1, 0}));
    result("swapon", swapon("file", 0));
    result("swapoff", swapoff("file"));
    result("sethostname", sethostname("x", -1));
    result("finit_module", syscall(SYS_finit_module, -1, "", 0));
    result("delete_module", syscall(SYS_delete_module, "sundog_none", O_NONBLOCK));
    result("mount of devtmpfs", mount("none", "m", "devtmpfs", 0, NULL));
    result("fsopen of sysfs", syscall(SYS_fsopen, "sysfs", 0));
    result("raw socket", socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1));

    prctl(PR_SET_NAME, "another");
    if (setgid(106) || setuid(104))
        return 1;
    set_flags(FS_APPEND_FL);
    set_scheduler(SCHED_RR, 1);
    result("swapon", swapon("file", 0));
    result("sethostname", sethostname("x", -1));
    result("fsopen of sysfs", syscall(SYS_fsopen, "sysfs", 0));
    result("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
    return 0;
}
