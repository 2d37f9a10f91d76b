/* Make the supervisor wait while it looks something up: `stuck=userfault`, `stuck=fuse`.
 *
 * It makes an emulated call, chown(2), on a name in memory that nobody fills, or in a file system
 * whose daemon does not answer.  It ends if nothing makes it wait itself.
 */

#include "attacker.h"

#include <linux/userfaultfd.h>

static const char *unfilled_page(void) {
    static const int flags[] = {O_CLOEXEC, O_CLOEXEC | UFFD_USER_MODE_ONLY};
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        int fd = syscall(SYS_userfaultfd, flags[i]);
        struct uffdio_api api = {.api = UFFD_API};
        struct uffdio_register range = {.range = {(uintptr_t)page, 4096},
                                        .mode = UFFDIO_REGISTER_MODE_MISSING};
        if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &range))
            return page;
    }
    printf("no userfaultfd: %s\n", strerror(errno));
    return "/";
}

static const char *dead_file_system(void) {
    char options[128];
    int fd = open("/dev/fuse", O_RDWR);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    /* Below the root of its mount namespace: so the supervisor sees it. */
    if (fd < 0 || mount("fuse", "/tmp", "fuse", 0, options)) {
        printf("no fuse: %s\n", strerror(errno));
        return "/";
    }
    return "/tmp/x";
}

void be_stuck(const char *how) {
    const char *name = strcmp(how, "fuse") ? unfilled_page() : dead_file_system();
    printf("now\n");
    fflush(stdout);
    chown(name, 5, 5);
    printf("answered: %s\n", strerror(errno));
}
