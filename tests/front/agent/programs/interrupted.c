/* Make inodes while a timer interrupts the calls.  Print the calls that fail, by errno. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t interruptions;
static mode_t kind = S_IFCHR;

static void interrupt(int number)
{
    (void)number;
    interruptions++;
}

static int make(int round, const char *name)
{
    switch (round % 4) {
    case 0:
        return mkdir(name, 0755);
    case 1:
        return mknod(name, kind | 0600, makedev(1, 3));
    case 2:
        return symlink("target", name);
    default: {
        int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        return fd < 0 ? fd : close(fd);
    }
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1000, failures[256] = {0};
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 61}, {0, 61}};

    if (geteuid())
        kind = S_IFIFO; /* only root may make devices */
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int round = 0; round < rounds; round++) {
        char name[32];
        snprintf(name, sizeof name, "made%d", round);
        if (make(round, name))
            failures[errno & 255]++;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    for (int number = 0; number < 256; number++)
        if (failures[number])
            printf("errno %d: %d\n", number, failures[number]);
    printf("%s\n", interruptions > rounds / 100 ? "interrupted" : "quiet");
    return 0;
}
