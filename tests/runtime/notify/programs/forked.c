/* forked: a child of a process with threads opens a file, while another thread looks at the libraries.
 * Then fork(2) has copied a lock of glibc's loader. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int begun[2], ended[2];

static int wait_here(struct dl_phdr_info *library, size_t size, void *data)
{
    char byte;
    (void)library, (void)size, (void)data;
    return write(begun[1], "x", 1) == 1 && read(ended[0], &byte, 1) == 1;
}

static void *look(void *data)
{
    dl_iterate_phdr(wait_here, data);
    return NULL;
}

int main(void)
{
    pthread_t other;
    char byte;
    int status;
    if (pipe(begun) || pipe(ended) || pthread_create(&other, NULL, look, NULL)) return 2;
    if (read(begun[0], &byte, 1) != 1) return 2;
    pid_t child = fork();
    if (!child) {
        alarm(10);
        _exit(open("/none", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0);
    }
    waitpid(child, &status, 0);
    puts(WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : strsignal(WTERMSIG(status)));
    return write(ended[1], "x", 1) != 1 || pthread_join(other, NULL);
}
