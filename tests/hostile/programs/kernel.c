/* The machine: settings of the kernel, devices, and calls for its administrator. */

#include "attacker.h"

#include <linux/io_uring.h>
#include <linux/net.h>
#include <net/if.h>
#include <sys/reboot.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>

static void settings_of_the_kernel(void) {
    static const char *const files[] = {
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/domainname",
        "/proc/sys/kernel/hotplug",
        "/proc/sys/kernel/poweroff_cmd",
        "/proc/sys/kernel/randomize_va_space",
        "/proc/sys/kernel/sysrq",
        "/proc/sys/kernel/yama/ptrace_scope",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/fs/suid_dumpable",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/dev/tty/legacy_tiocsti",
        "/proc/sysrq-trigger",
        "/proc/acpi/wakeup",
        "/proc/mtrr",
        "/proc/irq/default_smp_affinity",
        "/proc/timer_list",
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/vmallocinfo",
        "/proc/bus/pci/devices",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        int fd = open(files[i], O_WRONLY);
        if (fd < 0)
            refused(files[i]);
        else
            reached("%s", files[i]);
        close(fd);
    }
    int fd = open("/proc/kcore", O_RDONLY);
    tried(fd, "/proc/kcore");
}

static int depth;

static void walk(const char *path) {
    struct dirent *entry;
    DIR *directory = opendir(path);
    if (!directory)
        return;
    while ((entry = readdir(directory))) {
        char below[PATH_SIZE];
        if (entry->d_name[0] == '.' || entry->d_type == DT_LNK)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR) {
            if (depth < 4) {
                depth++;
                walk(below);
                depth--;
            }
            tried(mkdirat(dirfd(directory), "sundog-canary", 0700), "%s/sundog-canary", path);
            continue;
        }
        int fd = openat(dirfd(directory), entry->d_name, O_WRONLY | O_NONBLOCK);
        if (fd >= 0)
            reached("%s for writing", below);
        else
            refused(below);
        close(fd);
    }
    closedir(directory);
}

static void sys_files(void) {
    walk("/sys/fs");
    walk("/sys/kernel");
    walk("/sys/power");
    walk("/sys/module");
}

static void names_of_the_machine(void) {
    tried(sethostname("attacked", 8), "sethostname");
    tried(setdomainname("attacked", 8), "setdomainname");
    if (!unshare(CLONE_NEWUSER))
        tried(sethostname("attacked", 8), "sethostname");
}

static void administrators_calls(void) {
    struct timex clock = {.modes = ADJ_OFFSET};
    char text[64];
    tried(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL), "reboot");
    tried(syscall(SYS_syslog, 3, text, sizeof text), "syslog");
    tried(adjtimex(&clock), "adjtimex");
    tried(swapon("/dev/null", 0), "swapon");
    tried(syscall(SYS_init_module, text, 0, ""), "init_module");
    tried(syscall(SYS_finit_module, 0, "", 0), "finit_module");
    tried(syscall(SYS_delete_module, "loop", O_NONBLOCK), "delete_module");
    tried(syscall(SYS_acct, "/tmp/acct"), "acct");
    tried(syscall(SYS_quotactl, 0x800002, NULL, 0, NULL), "quotactl");
    tried(syscall(SYS_vhangup), "vhangup");
#ifdef __x86_64__
    tried(syscall(SYS_iopl, 3), "iopl");
    tried(syscall(SYS_ioperm, 0x80, 1, 1), "ioperm");
#endif
    /* BPF_MAP_CREATE and BPF_PROG_LOAD of nothing: EINVAL comes after the right to do it. */
    char attributes[128] = {0};
    for (int command = 0; command <= 5; command += 5)
        if (syscall(SYS_bpf, command, attributes, sizeof attributes) && errno != EINVAL)
            refused("bpf");
}

static void network_settings(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(fd, SIOCGIFMTU, &request) == 0)
        tried(ioctl(fd, SIOCSIFMTU, &request), "MTU of lo");
    tried(socket(AF_INET, SOCK_RAW, 1), "a raw socket");
    tried(socket(AF_PACKET, SOCK_RAW, 0), "a packet socket");
    tried(setsockopt(fd, SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, &fd, sizeof fd), "SO_RCVBUFFORCE");
}

static void try_device(const char *path, mode_t kind, int major, int minor) {
    unlink(path);
    if (mknod(path, kind | 0600, makedev(major, minor))) {
        refused("mknod");
        return;
    }
    /* Emulation may show an empty file as a device. */
    char byte;
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        refused("a device of one's own");
    else if (read(fd, &byte, 1) == 1)
        reached("device %d:%d at %s", major, minor, path);
    close(fd);
    unlink(path);
}

static void devices_made(void) {
    static const char *const places[] = {"/dev/x", "/x", "/tmp/x", "/dev/shm/x"};
    for (int nested = 0; nested < 2; nested++) {
        if (nested && !enter_nested(0))
            return;
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            try_device(places[i], S_IFCHR, 1, 1);
            try_device(places[i], S_IFCHR, 1, 9);
            try_device(places[i], S_IFCHR, 5, 0);
            try_device(places[i], S_IFBLK, 8, 0);
            try_device(places[i], S_IFBLK, 254, 0);
        }
    }
}

static void devices_of_the_host(void) {
    static const char *const expected[] = {"null", "zero",  "full",   "random", "urandom",
                                           "tty",  "fuse",  "fd",     "stdin",  "stdout",
                                           "stderr", "ptmx", "pts",   "shm"};
    DIR *directory = opendir("/dev");
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        bool is_known = entry->d_name[0] == '.';
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
            is_known |= !strcmp(entry->d_name, expected[i]);
        if (!is_known)
            reached("/dev/%s", entry->d_name);
    }
    errno = ENOENT;
    refused("other devices");
}

static void memory_and_disks(void) {
    static const char *const names[] = {
        "/dev/mem", "/dev/kmem", "/dev/port", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0",
        "/dev/mapper/control", "/dev/uinput", "/dev/vcs", "/dev/cpu/0/msr",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int mode = 0; mode <= 2; mode++)
            tried(open(names[i], mode | O_NONBLOCK), "%s", names[i]);
}

/* io_uring: a filter for system calls does not see its requests. */
static int ring_open(const char *path, int flags) {
    struct io_uring_params parameters = {0};
    int ring = syscall(SYS_io_uring_setup, 4, &parameters);
    if (ring < 0) {
        refused("io_uring_setup");
        return -1;
    }
    char *sq = mmap(NULL, parameters.sq_off.array + 16, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
                    IORING_OFF_SQ_RING);
    char *cq = mmap(NULL, parameters.cq_off.cqes + 8 * sizeof(struct io_uring_cqe),
                    PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqes = mmap(NULL, 4 * sizeof *sqes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                     ring, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
        return -1;
    memset(sqes, 0, sizeof *sqes);
    sqes->opcode = IORING_OP_OPENAT;
    sqes->fd = AT_FDCWD;
    sqes->addr = (uintptr_t)path;
    sqes->open_flags = flags;
    ((uint32_t *)(sq + parameters.sq_off.array))[0] = 0;
    __atomic_store_n((uint32_t *)(sq + parameters.sq_off.tail), 1, __ATOMIC_RELEASE);
    int result = syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    if (result >= 0)
        result = ((struct io_uring_cqe *)(cq + parameters.cq_off.cqes))->res;
    munmap(sqes, 4 * sizeof *sqes);
    close(ring);
    if (result < 0)
        errno = -result;
    return result;
}

static void open_by_ring(int process) {
    static const char *const below[] = {"mem", "root", "cwd", "fd/3", "fd/4", "fd/5", "exe"};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "/proc/%d/%s", process, below[i]);
        tried(ring_open(path, i ? O_PATH : O_RDWR), "%s", path);
    }
}

static void io_uring(void) {
    const char *canary = argument("canary");
    if (canary)
        tried(ring_open(canary, O_RDONLY), "%s", canary);
    int fd = ring_open("/proc/self/root/../..", O_PATH);
    loot(fd, "above the root");
    each_near(open_by_ring);
}

static void core_dumped(void) {
    struct rlimit most;
    getrlimit(RLIMIT_CORE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_CORE, &most);
    if (fork() == 0) {
        signal(SIGSEGV, SIG_DFL);
        kill(getpid(), SIGSEGV);
    }
    int status;
    wait(&status);
    /* The test looks at the host's directories. */
    errno = ENOENT;
    refused("a core outside");
}

const struct attack attacks_on_the_kernel[] = {
    {"proc-sys", settings_of_the_kernel},
    {"sys-files", sys_files},
    {"sethostname", names_of_the_machine},
    {"administrators-calls", administrators_calls},
    {"network-settings", network_settings},
    {"devices-made", devices_made},
    {"devices-of-the-host", devices_of_the_host},
    {"memory-and-disks", memory_and_disks},
    {"io-uring", io_uring},
    {"core-dump", core_dumped},
    {0},
};
