/* Try to get out of a container, in every way of a table; print the outcome of each.
 *
 *     attacker [NAME=VALUE]...
 *
 * prints a line for each attack: its name, a colon, and one of these:
 *
 *     REACHED what      it reached something of the host
 *     refused what      the kernel refused, at least the last try
 *     absent            nothing exists that it could be tried on
 *     died, hung        what happened to the attack itself
 *
 * The arguments name the canaries outside: canary=PATH, victim=PID and so on; only=NAME,NAME picks
 * attacks.  Each is a process of its own, so that none spoils the next.
 */

#include "attacker.h"

#include <stdarg.h>

#define SECONDS 20
#define MOST_STRANGERS 20

static char **arguments;
static pid_t attacker;

static struct outcome {
    bool was_refused, was_reached;
    char what[400];
} *outcome;

const char *argument(const char *name) {
    size_t length = strlen(name);
    for (char **word = arguments; *word; word++)
        if (!strncmp(*word, name, length) && (*word)[length] == '=')
            return *word + length + 1;
    return NULL;
}

long number(const char *name) {
    const char *text = argument(name);
    return text ? atol(text) : -1;
}

void refused(const char *what) {
    outcome->was_refused = true;
    if (!outcome->was_reached)
        snprintf(outcome->what, sizeof outcome->what, "%s: %s", what, strerror(errno));
}

static void vreached(const char *format, va_list list) {
    if (!outcome->was_reached)
        vsnprintf(outcome->what, sizeof outcome->what, format, list);
    outcome->was_reached = true;
}

void reached(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vreached(format, list);
    va_end(list);
}

long tried(long result, const char *format, ...) {
    va_list list;
    va_start(list, format);
    if (result >= 0) {
        vreached(format, list);
    } else {
        char what[200];
        int error = errno;
        vsnprintf(what, sizeof what, format, list);
        errno = error;
        refused(what);
    }
    va_end(list);
    return result;
}

void loot(int directory, const char *how) {
    const char *canary = argument("canary");
    char secret[64] = "";
    if (!canary)
        return;
    int fd = openat(directory, canary + 1, O_RDONLY);
    if (fd < 0) {
        refused(how);
        return;
    }
    ssize_t got = read(fd, secret, sizeof secret - 1);
    reached("%s: %.*s", how, (int)got, secret);
    close(fd);
}

long contents(const char *path, char *buffer, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(fd, buffer + length, size - 1 - length)) > 0)
        length += got;
    close(fd);
    buffer[length] = 0;
    return length;
}

int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return written < 0 ? -1 : 0;
}

static int parent_of(int process) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    if (contents(path, text, sizeof text) < 0)
        return 0;
    char *after = strrchr(text, ')');
    int parent = 0;
    if (after)
        sscanf(after + 1, " %*c %d", &parent);
    return parent;
}

static bool is_own(int process) {
    for (int depth = 0; process > 0 && depth < 50; depth++) {
        if (process == attacker)
            return true;
        process = parent_of(process);
    }
    return false;
}

/* A process with this user's real user ID: other users' are out of reach in any case. */
static bool is_users(int process) {
    char path[64], text[2048];
    unsigned uid;
    snprintf(path, sizeof path, "/proc/%d/status", process);
    if (contents(path, text, sizeof text) < 0)
        return false;
    char *line = strstr(text, "\nUid:");
    return line && sscanf(line + 5, " %u", &uid) == 1 && uid == getuid();
}

void each_near(void (*act)(int process)) {
    for (int process = parent_of(attacker); process > 0; process = parent_of(process))
        act(process);
    if (argument("sees_victim"))
        act(number("victim"));
}

void each_stranger(void (*act)(int process)) {
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int count = 0;
    each_near(act); /* only these matter: a busy machine has many others */
    while (proc && (entry = readdir(proc)) && count < MOST_STRANGERS) {
        int process = atoi(entry->d_name);
        if (process <= 0 || is_own(process) || (process != 1 && !is_users(process)))
            continue;
        act(process);
        count++;
    }
    if (proc)
        closedir(proc);
}

bool enter_nested(int more) {
    char map[64];
    unsigned uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | more)) {
        refused("unshare");
        return false;
    }
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_file("/proc/self/uid_map", map);
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_file("/proc/self/gid_map", map);
    return true;
}

static bool is_wanted(const char *name) {
    const char *only = argument("only");
    size_t length = strlen(name);
    while (only && *only) {
        size_t word = strcspn(only, ",");
        if (word == length && !strncmp(only, name, length))
            return true;
        only += word + (only[word] == ',');
    }
    return !argument("only");
}

static void attack(const struct attack *each) {
    *outcome = (struct outcome){0};
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        setpgid(0, 0);
        each->run();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    kill(-child, SIGKILL);
    while (waitpid(-child, NULL, WNOHANG) > 0)
        ;
    const char *word = outcome->was_reached ? "REACHED"
        : WIFSIGNALED(status)               ? WTERMSIG(status) == SIGALRM ? "hung" : "died"
        : outcome->was_refused              ? "refused"
                                            : "absent";
    for (char *at = outcome->what; *at; at++)
        if (*at == '\n')
            *at = ' ';
    printf("%s: %s %s\n", each->name, word, outcome->what);
    fflush(stdout);
}

int main(int count, char **words) {
    static const struct attack *const tables[] = {
        attacks_on_descriptors, attacks_on_processes,  attacks_on_mounts,
        attacks_on_terminals,   attacks_on_the_kernel, attacks_on_neighbours,
    };
    (void)count;
    arguments = words + 1;
    attacker = getpid();
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* leftovers of attacks stay descendants */
    if (argument("stuck")) {
        be_stuck(argument("stuck"));
        return 0;
    }
    if (argument("silent")) {
        be_silent(argument("silent"));
        return 0;
    }
    if (argument("traced")) {
        printf("now\n");
        fflush(stdout);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
    }
    for (size_t table = 0; table < sizeof tables / sizeof *tables; table++)
        for (const struct attack *each = tables[table]; each->name; each++)
            if (is_wanted(each->name))
                attack(each);
    return 0;
}
