/* snapshot DIR [SKIP...]: print what each file below DIR is, one line of NUL-free text each.
 *
 * path TAB type and mode, owner, group, device number, links, device:inode, then name=value of
 * every extended attribute, sorted, in hexadecimal.  Names below DIR that are SKIPped are left out
 * with all below them.  Blanks, backslashes and control characters in paths are escaped. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static char **skips;
static dev_t device;

static void print_name(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == '\\' || *s == 127)
            printf("\\%03o", (unsigned char)*s);
        else
            putchar(*s);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_attributes(const char *path)
{
    char list[65536], value[65536], *names[1024];
    int count = 0;
    ssize_t length = llistxattr(path, list, sizeof list);
    for (ssize_t at = 0; at < length && count < 1024; at += strlen(list + at) + 1)
        names[count++] = list + at;
    qsort(names, count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        ssize_t size = lgetxattr(path, names[i], value, sizeof value);
        printf(" %s=", names[i]);
        if (size < 0)
            printf("?%d", errno);
        for (ssize_t j = 0; j < size; j++)
            printf("%02x", (unsigned char)value[j]);
    }
}

static void walk(char *path, size_t root)
{
    struct stat st;
    if (lstat(path, &st) < 0 || st.st_dev != device)
        return;
    for (char **skip = skips; *skip; skip++)
        if (path[root] && strcmp(path + root + 1, *skip) == 0)
            return;
    print_name(path[root] ? path + root + 1 : ".");
    printf("\t%o %u %u %u:%u %lu %llu", st.st_mode, st.st_uid, st.st_gid, major(st.st_rdev),
           minor(st.st_rdev), S_ISDIR(st.st_mode) ? 1 : (unsigned long)st.st_nlink,
           (unsigned long long)st.st_ino);
    print_attributes(path);
    putchar('\n');
    if (!S_ISDIR(st.st_mode))
        return;
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    size_t length = strlen(path);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") && strcmp(name, "..") && length + strlen(name) + 2 < 65536) {
            path[length] = '/';
            strcpy(path + length + 1, name);
            walk(path, root);
            path[length] = 0;
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

int main(int argc, char **argv)
{
    static char path[65536];
    struct stat st;
    if (argc < 2 || strlen(argv[1]) >= sizeof path || stat(argv[1], &st) < 0)
        return 2;
    strcpy(path, strcmp(argv[1], "/") ? argv[1] : "");
    skips = argv + 2;
    device = st.st_dev;
    if (!*path) {
        strcpy(path, "/");
        /* The root's own line, then its entries without a double slash. */
        printf(".\t%o %u %u 0:0 1 0", st.st_mode, st.st_uid, st.st_gid);
        print_attributes("/");
        putchar('\n');
        struct dirent **entries;
        int count = scandir("/", &entries, NULL, alphasort);
        for (int i = 0; i < count; i++) {
            const char *name = entries[i]->d_name;
            if (strcmp(name, ".") && strcmp(name, "..")) {
                sprintf(path, "/%s", name);
                walk(path, 0);
            }
        }
        return 0;
    }
    walk(path, strlen(path));
    return 0;
}
