/* Processes that the container did not start: Sundog's own, and the user's other ones. */

#include "attacker.h"

#include <linux/perf_event.h>

static const char *file; /* below /proc/PID */
static int mode;

static void open_file(int process) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/proc/%d/%s", process, file);
    int fd = open(path, mode | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        refused(path);
        return;
    }
    /* A zombie's files exist, and are empty; no process has a page at address 0. */
    char byte;
    ssize_t got = mode == O_WRONLY ? 1 : read(fd, &byte, 1);
    if (got > 0 || (got < 0 && errno == EIO))
        reached("%s", path);
    else
        refused(path);
    close(fd);
}

/* Each entry of a directory of links: reads its target, and opens it. */
static void open_links(int process) {
    static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_PATH};
    char path[PATH_SIZE], link[PATH_SIZE], target[PATH_SIZE];
    snprintf(path, sizeof path, "/proc/%d/%s", process, file);
    DIR *directory = opendir(path);
    if (!directory)
        refused(path);
    struct dirent *entry;
    /* If the list is refused, the names can still be guessed. */
    for (int guess = 0; directory ? (entry = readdir(directory)) != NULL : guess < 32; guess++) {
        char name[300];
        snprintf(name, sizeof name, "%d", guess);
        if (directory && entry->d_name[0] == '.')
            continue;
        if (snprintf(link, sizeof link, "%s/%s", path, directory ? entry->d_name : name) < 0)
            continue;
        tried(readlink(link, target, sizeof target), "readlink of %s", link);
        for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
            int fd = open(link, modes[i] | O_NONBLOCK | O_NOCTTY);
            tried(fd, "%s with mode 0%o", link, modes[i]);
            /* A message between Sundog's processes: here, that a function returned None. */
            if (fd >= 0 && modes[i] == O_WRONLY && write(fd, "t\0\0\0\2s\0\0\0\10returnedN", 19) > 0)
                reached("wrote an answer to %s", link);
            loot(fd, link);
            close(fd);
        }
    }
    if (directory)
        closedir(directory);
}

static void open_place(int process) {
    char path[PATH_SIZE], target[PATH_SIZE];
    snprintf(path, sizeof path, "/proc/%d/%s", process, file);
    tried(readlink(path, target, sizeof target), "readlink of %s", path);
    int fd = open(path, O_PATH);
    tried(fd, "%s", path);
    loot(fd, path);
    close(fd);
}

#define OPENS(function, path, how, act)      \
    static void function(void) {             \
        file = path, mode = how;             \
        each_stranger(act);                  \
    }

OPENS(proc_fd, "fd", 0, open_links)
OPENS(proc_task_fd, "task/1/fd", 0, open_links)
OPENS(proc_fdinfo, "fdinfo", 0, open_links)
OPENS(proc_map_files, "map_files", 0, open_links)
OPENS(proc_ns, "ns", 0, open_links)
OPENS(proc_root, "root", 0, open_place)
OPENS(proc_cwd, "cwd", 0, open_place)
OPENS(proc_exe, "exe", 0, open_place)

static void proc_exe_overwritten(void) {
    file = "exe", mode = O_WRONLY;
    each_stranger(open_file);
}

static void proc_memory(void) {
    static const char *const files[] = {"mem", "pagemap", "maps", "smaps", "auxv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        file = files[i], mode = O_RDONLY;
        each_stranger(open_file);
        mode = O_RDWR;
        each_stranger(open_file);
    }
}

static void proc_secrets(void) {
    static const char *const files[] = {"environ", "stack", "syscall", "io", "personality"};
    mode = O_RDONLY;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        file = files[i];
        each_stranger(open_file);
    }
}

/* Writes the present value, if it can be read. */
static void write_back(int process) {
    char path[PATH_SIZE], text[256] = "1\n";
    snprintf(path, sizeof path, "/proc/%d/%s", process, file);
    contents(path, text, sizeof text);
    tried(write_file(path, text), "%s", path);
}

static void proc_settings(void) {
    static const char *const files[] = {
        "oom_score_adj", "coredump_filter", "clear_refs", "timerslack_ns", "comm", "attr/current",
        "uid_map", "gid_map", "setgroups", "loginuid", "make-it-fail",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        file = files[i];
        each_near(write_back);
    }
}

static void attach(int process) {
    if (tried(ptrace(PTRACE_ATTACH, process, 0, 0), "ptrace of %d", process) == 0)
        ptrace(PTRACE_DETACH, process, 0, 0);
}
static void ptrace_attach(void) { each_stranger(attach); }

static void seize(int process) {
    if (tried(ptrace(PTRACE_SEIZE, process, 0, 0), "ptrace of %d", process) == 0)
        ptrace(PTRACE_DETACH, process, 0, 0);
}
static void ptrace_seize(void) { each_stranger(seize); }

static void get_descriptors(int process) {
    int pidfd = syscall(SYS_pidfd_open, process, 0);
    for (int fd = 0; fd < 32; fd++)
        tried(syscall(SYS_pidfd_getfd, pidfd, fd, 0), "descriptor %d of %d", fd, process);
    close(pidfd);
}
static void pidfd_getfd_(void) { each_stranger(get_descriptors); }

static void transfer(int process) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    for (int i = 0; i < 2; i++) {
        /* EFAULT comes only after the kernel has found the right to do it. */
        ssize_t got = syscall(i ? SYS_process_vm_writev : SYS_process_vm_readv, process, &here, 1,
                              &there, 1, 0);
        if (got >= 0 || errno == EFAULT)
            reached("memory of %d", process);
        else
            refused("process_vm");
    }
}
static void process_memory(void) { each_stranger(transfer); }

static void advise(int process) {
    struct iovec there = {(void *)0x400000, 4096};
    int pidfd = syscall(SYS_pidfd_open, process, 0);
    tried(syscall(SYS_process_madvise, pidfd, &there, 1, MADV_COLD, 0), "madvise of %d", process);
    close(pidfd);
}
static void process_advice(void) { each_stranger(advise); }

static void look(int process) {
    void *head;
    size_t length;
    tried(syscall(SYS_kcmp, process, process, 0, 0, 0), "kcmp of %d", process);
    tried(syscall(SYS_get_robust_list, process, &head, &length), "robust list of %d", process);
    tried(syscall(SYS_move_pages, process, 0, 0, 0, 0, 0), "move_pages of %d", process);
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event};
    event.exclude_kernel = event.exclude_hv = 1;
    tried(syscall(SYS_perf_event_open, &event, process, -1, -1, 0), "perf of %d", process);
}
static void process_looked_at(void) { each_stranger(look); }

static void join(int process) {
    static const char *const names[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
    int pidfd = syscall(SYS_pidfd_open, process, 0);
    tried(setns(pidfd, CLONE_NEWUSER | CLONE_NEWNS), "namespaces of %d", process);
    tried(setns(pidfd, CLONE_NEWNS), "mount namespace of %d", process);
    tried(setns(pidfd, CLONE_NEWNET), "net namespace of %d", process);
    close(pidfd);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/%s", process, names[i]);
        tried(setns(open(path, O_RDONLY), 0), "%s", path);
    }
}
static void namespaces_joined(void) { each_stranger(join); }

static void parent_namespaces(void) {
    static const char *const names[] = {"user", "mnt", "pid", "net", "ipc", "uts"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        int fd = open(path, O_RDONLY);
        for (unsigned request = 0xb701; request <= 0xb702; request++) { /* owner, parent */
            int up = ioctl(fd, request);
            struct stat ours, theirs;
            if (up < 0) {
                refused(path);
            } else if (!fstat(open("/proc/self/ns/user", O_RDONLY), &ours) && !fstat(up, &theirs) &&
                       (request == 0xb702 || ours.st_ino != theirs.st_ino)) {
                reached("above %s", path);
                tried(setns(up, 0), "joined what is above %s", path);
            }
        }
    }
}

static void limit(int process) {
    struct rlimit now;
    /* The present limits, and again: a change without effect. */
    if (tried(prlimit(process, RLIMIT_CORE, NULL, &now), "limits of %d", process) == 0)
        tried(prlimit(process, RLIMIT_CORE, &now, NULL), "limits of %d set", process);
}
static void limits(void) { each_near(limit); }

static void schedule(int process) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    tried(sched_setaffinity(process, sizeof set, &set), "affinity of %d", process);
    tried(setpriority(PRIO_PROCESS, process, getpriority(PRIO_PROCESS, process)), "nice of %d",
          process);
    tried(syscall(SYS_ioprio_set, 1, process, 0), "I/O priority of %d", process);
}
static void scheduling(void) { each_near(schedule); }

static void signal_nothing(int process) {
    tried(kill(process, 0), "kill(%d, 0)", process);
    int pidfd = syscall(SYS_pidfd_open, process, 0);
    tried(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0), "pidfd of %d", process);
    tried(syscall(SYS_tgkill, process, process, 0), "tgkill(%d)", process);
    siginfo_t info = {.si_signo = 0, .si_code = SI_QUEUE};
    tried(syscall(SYS_rt_sigqueueinfo, process, 0, &info), "sigqueue(%d)", process);
    close(pidfd);
}
static void signal_zero(void) { each_stranger(signal_nothing); }

/* In earnest only at the victim, and at the processes that started this one. */
static const int signals[] = {SIGCONT, SIGSTOP, SIGTERM, SIGKILL};

static void signal_victim(void) {
    int victim = number("victim");
    for (size_t i = 0; victim > 0 && i < sizeof signals / sizeof *signals; i++)
        tried(kill(victim, signals[i]), "kill(victim, %d)", signals[i]);
}

static void signal_by_a_pipe(void) {
    int victim = number("victim"), ends[2];
    if (victim <= 0 || pipe(ends))
        return;
    fcntl(ends[0], F_SETSIG, SIGKILL);
    fcntl(ends[0], F_SETOWN, victim);
    fcntl(ends[0], F_SETFL, O_ASYNC);
    if (write(ends[1], "x", 1) < 0)
        return;
    /* Nothing tells the sender the outcome: the victim does, if it is alive. */
    errno = EPERM;
    refused("F_SETSIG");
}

static void signal_ours(void) {
    if (!argument("kill_ours"))
        return;
    for (int process = getppid(), depth = 0; process > 1 && depth < 10; depth++) {
        char path[64], text[512];
        snprintf(path, sizeof path, "/proc/%d/stat", process);
        if (contents(path, text, sizeof text) < 0)
            return;
        sscanf(strrchr(text, ')') + 1, " %*c %d", &process);
        if (process == number("kill_ours"))
            return;
        for (size_t i = 0; process > 0 && i < sizeof signals / sizeof *signals; i++)
            tried(kill(process, signals[i]), "kill(%d, %d)", process, signals[i]);
    }
}

const struct attack attacks_on_processes[] = {
    {"proc-fd", proc_fd},
    {"proc-task-fd", proc_task_fd},
    {"proc-fdinfo", proc_fdinfo},
    {"proc-map-files", proc_map_files},
    {"proc-ns", proc_ns},
    {"proc-root", proc_root},
    {"proc-cwd", proc_cwd},
    {"proc-exe", proc_exe},
    {"proc-exe-overwritten", proc_exe_overwritten},
    {"proc-memory", proc_memory},
    {"proc-secrets", proc_secrets},
    {"proc-settings", proc_settings},
    {"ptrace-attach", ptrace_attach},
    {"ptrace-seize", ptrace_seize},
    {"pidfd-getfd", pidfd_getfd_},
    {"process-vm", process_memory},
    {"process-madvise", process_advice},
    {"process-looked-at", process_looked_at},
    {"setns", namespaces_joined},
    {"setns-to-parents", parent_namespaces},
    {"limits", limits},
    {"scheduling", scheduling},
    {"signal-zero", signal_zero},
    {"signal-victim", signal_victim},
    {"signal-by-a-pipe", signal_by_a_pipe},
    {"signal-ours", signal_ours},
    {0},
};
