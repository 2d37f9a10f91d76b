/* attribute set NAME VALUE FILE | get NAME FILE | remove NAME FILE: an attribute of FILE.  Does not
 * follow a symbolic link.  A VALUE that begins with 0x is hexadecimal.
 * attribute write FILE: opens it by openat2(2).  attribute flag FILE: what chattr +d does. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* linux/fs.h */
#define FS_IOC_GETFLAGS _IOR('f', 1, long)
#define FS_IOC_SETFLAGS _IOW('f', 2, long)
enum { FS_NODUMP_FL = 0x40 };

int main(int argc, char **argv)
{
    char value[4096];
    ssize_t size;
    if (argc == 5 && strcmp(argv[1], "set") == 0) {
        const char *text = argv[3];
        size = strlen(text);
        if (strncmp(text, "0x", 2) == 0) {
            size = size / 2 - 1;
            for (ssize_t at = 0; at < size; at++) {
                char digits[3] = {text[2 + 2 * at], text[3 + 2 * at], 0};
                value[at] = strtoul(digits, NULL, 16);
            }
            text = value;
        }
        size = lsetxattr(argv[4], argv[2], text, size, 0);
    } else if (argc == 4 && strcmp(argv[1], "get") == 0) {
        size = lgetxattr(argv[3], argv[2], value, sizeof value);
        if (size >= 0)
            printf("%.*s\n", (int)size, value);
    } else if (argc == 4 && strcmp(argv[1], "remove") == 0) {
        size = lremovexattr(argv[3], argv[2]);
    } else if (argc == 3 && strcmp(argv[1], "write") == 0) {
        long how[] = {O_WRONLY, 0, 0};
        size = syscall(SYS_openat2, AT_FDCWD, argv[2], how, sizeof how);
    } else if (argc == 3 && strcmp(argv[1], "flag") == 0) {
        int flags, fd = open(argv[2], O_RDONLY | O_CLOEXEC);
        size = ioctl(fd, FS_IOC_GETFLAGS, &flags);
        flags |= FS_NODUMP_FL;
        if (!size)
            size = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    } else {
        return 2;
    }
    if (size < 0)
        perror(argv[argc - 1]);
    return size < 0;
}
