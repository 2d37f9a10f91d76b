/* The user's terminals: typing into them, reading from them, taking them over. */

#include "attacker.h"

#define STI 0x5412UL
#define LINUX_PASTE 0x541CUL
#define IN_HIGH_BITS 0x100000000UL

/* Through the entry for 32-bit programs, and with the bit of x32 in the number. */
static long call_int80(int fd, unsigned long request, char *text) {
#ifdef __x86_64__
    static char *low;
    long result;
    if (!low)
        low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
                   0);
    *low = *text;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(54), "b"((long)fd), "c"(request), "d"((long)low)
                     : "memory", "r8", "r9", "r10", "r11");
    errno = -result;
    return result < 0 ? -1 : result;
#else
    (void)fd, (void)request, (void)text;
    errno = ENOSYS;
    return -1;
#endif
}

static long call_x32(int fd, unsigned long request, char *text) {
    return syscall(0x40000000 + 514, fd, request, text);
}

static long call_native(int fd, unsigned long request, char *text) {
    return syscall(SYS_ioctl, fd, request, text);
}

static void each_terminal(void (*act)(int fd, const char *name)) {
    static const char *const names[] = {"/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2",
                                        "/dev/tty",        "/dev/console",    "/dev/tty0",
                                        "/dev/tty1",       "/dev/ttyS0"};
    for (int fd = 0; fd <= 2; fd++)
        if (isatty(fd))
            act(fd, "a standard stream");
    for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
        const char *name = i < sizeof names / sizeof *names ? names[i] : argument("pts");
        if (!name)
            break;
        int fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
        if (fd < 0) {
            refused(name);
            continue;
        }
        if (isatty(fd))
            act(fd, name);
        close(fd);
    }
}

static unsigned long request;

static void type(int fd, const char *name) {
    static long (*const entries[])(int, unsigned long, char *) = {call_native, call_int80, call_x32};
    /* TIOCLINUX's first byte is a function: 3 pastes. */
    char text = request == STI ? 'x' : 3;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        tried(entries[i](fd, request, &text), "%s by entry %zu", name, i);
        tried(entries[i](fd, request | IN_HIGH_BITS, &text), "%s by entry %zu with high bits", name,
              i);
    }
}

static void take(int fd, const char *name) {
    tried(ioctl(fd, TIOCSCTTY, 0), "%s taken", name);
    tried(ioctl(fd, TIOCSCTTY, 1), "%s stolen", name);
}

static void typed(void) {
    request = STI;
    each_terminal(type);
}

static void pasted(void) {
    request = LINUX_PASTE;
    each_terminal(type);
}

/* If a session leader opens a terminal that no session has, the session gets it. */
static void typed_in_a_session(void) {
    if (fork() == 0) {
        setsid();
        each_terminal(take);
        request = STI;
        each_terminal(type);
        _exit(0);
    }
    wait(NULL);
}

static void taken(void) {
    if (fork() == 0) {
        setsid();
        each_terminal(take);
        _exit(0);
    }
    wait(NULL);
}

static void read_one(int fd, const char *name) {
    char text;
    tried(read(fd, &text, 1), "read from %s", name);
}
static void read_(void) { each_terminal(read_one); }

static void named(void) {
    if (argument("pts"))
        tried(open(argument("pts"), O_RDWR | O_NOCTTY), "%s", argument("pts"));
}

static void multiplexed(void) {
    /* The container's own terminals are allowed; the host's are different. */
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY), index = -1;
    struct stat ours, lists;
    char path[64];
    if (fd < 0 || ioctl(fd, TIOCGPTN, &index)) {
        refused("/dev/ptmx");
        return;
    }
    snprintf(path, sizeof path, "/dev/pts/%d", index);
    if (!stat(path, &ours) && !stat("/dev/pts", &lists) && argument("pts") &&
        !access(argument("pts"), F_OK) && index != atoi(strrchr(argument("pts"), '/') + 1))
        reached("%s is beside %s", path, argument("pts"));
    else
        errno = ENOENT, refused("the user's terminal");
}

const struct attack attacks_on_terminals[] = {
    {"tiocsti", typed},
    {"tioclinux", pasted},
    {"tiocsti-in-a-session", typed_in_a_session},
    {"tiocsctty", taken},
    {"terminal-read", read_},
    {"terminal-by-name", named},
    {"ptmx", multiplexed},
    {0},
};
