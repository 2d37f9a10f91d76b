/* Declarations for all attacks: see attacker.c. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 4096

struct attack {
    const char *name;
    void (*run)(void);
};

extern const struct attack attacks_on_descriptors[], attacks_on_processes[], attacks_on_mounts[],
    attacks_on_terminals[], attacks_on_the_kernel[], attacks_on_neighbours[];

/* An argument NAME=VALUE of the command line; NULL if it was not given. */
const char *argument(const char *name);
long number(const char *name);

/* The outcome of a try.  An attack that made no try is absent. */
void refused(const char *what);
void reached(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Reached if the result is not negative, refused otherwise.  Returns the result. */
long tried(long result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Look for the canary, a path of the host, below the directory; reached if it exists there. */
void loot(int directory, const char *how);

/* Call a function for each process that is neither this one nor one that it started; or only for
 * those that started this one, and the victim, if the container is to see it. */
void each_near(void (*act)(int process));
void each_stranger(void (*act)(int process));

/* Enter another user and mount namespace, as root there; false if the kernel refuses. */
bool enter_nested(int more);

/* Read a whole file; returns the length, or -1. */
long contents(const char *path, char *buffer, size_t size);
int write_file(const char *path, const char *text);

void be_stuck(const char *how);
void be_silent(const char *how);
