/* The parts of the compiled ch-run that parse untrusted data, as a server for tests.
 *
 * A request on standard input is a letter, the length of the data in 4 bytes, and the data.  The
 * answer is lines of hexadecimal numbers, or a line "declined".  The last line is "end" and a wait
 * status.  Some requests change global variables.  A child process serves these, and the status
 * tells how it ended. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define memcpy native_memcpy
#define memset native_memset
#include "kernel.h"
#undef IMAGE_ENVIRONMENT
#define IMAGE_ENVIRONMENT "image-environment" /* in the working directory */

static jmp_buf answered;

static _Noreturn void decline(const char *)
{
    puts("declined"); /* the reason may be a file name with a newline */
    longjmp(answered, 1);
}

#include "text.c"

#include "environment.c"
#include "settings.c"
#include "options.c"
#include "image.c"
#include "program.c"
#include "one_file.c"

static void tell(const char *what, const char *text)
{
    printf("%s ", what);
    for (; text && *text; text++) printf("%02x", (unsigned char)*text);
    puts(text ? "" : "-");
}

/* Split strings that end with NUL.  Each copy has its exact size: the sanitizer sees overruns. */
static char **split(const char *data, size_t size)
{
    char **strings = calloc(size + 1, sizeof *strings), **string = strings;
    for (size_t at = 0; at < size; at += length(*string++) + 1) {
        size_t n = length(data + at) + 1;
        *string = malloc(n);
        for (size_t i = 0; i < n; i++) string[0][i] = data[at + i];
    }
    return strings;
}

static size_t count(char **strings)
{
    size_t n = 0;
    while (strings[n]) n++;
    return n;
}

static struct options options;

static void command_line(char **words)
{
    read_options(&options, words, count(words) + 1);
    for (char **word = options.operands; *word; word++) tell("operand", *word);
    for (int i = 0; i < options.bind_count; i++) {
        tell("source", options.binds[i].source);
        tell("target", options.binds[i].target);
    }
    for (int i = 1; i < change_count; i++) {
        printf("change %d %d\n", (int)changes[i].kind, changes[i].delimiter);
        tell("text", changes[i].text);
    }
    tell("storage", options.storage);
    tell("directory", options.directory);
    tell("size", options.overlay_size);
    printf("ids %u %u\n", options.uid, options.gid);
    printf("flags %d %d %d %d %d\n", options.expand, options.passwd, options.private_tmp,
           options.seccomp, options.write);
}

static void environment(char **strings)
{
    for (; **strings != '\n'; strings++) add_slot(*strings);
    options.uid = options.gid = 0;
    read_options(&options, strings + 1, count(strings));
    change_environment(options.expand);
    for (char **string = environment_strings(); *string; string++)
        tell("string", *string);
}

static void stack(const char *data, size_t size)
{
    struct image image = {0};
    struct status status = {.size = size};
    char *copy = malloc(size + 1);
    for (size_t i = 0; i < size; i++) copy[i] = data[i];
    copy[size] = 0;
    read_stack(&image, copy, &status);
    tell("tree", image.tree);
    tell("workdir", image.workdir);
    for (char **layer = image.layers; *layer; layer++) tell("layer", *layer);
    for (char **word = image.command; *word; word++) tell("word", *word);
}

static FILE *written(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "w");
    if (!file || fwrite(data, 1, size, file) != size) abort();
    return file;
}

/* The files are in the working directory. */
static void record(const char *data, size_t size)
{
    const char *file = SETTINGS_FILE;
    if (fclose(written(RECORD_NAME, data, size))) abort();
    read_record(RECORD_NAME, getuid(), &file, 1);
    for (uint32_t i = 0; i < KEY_COUNT; i++)
        for (char **value = said[i]; value && *value; value++) tell(keys[i].path, *value);
}

static void serve(char what, const char *data, size_t size)
{
    char **strings = what == 'c' || what == 'e' || what == 'u' ? split(data, size) : NULL;
    char *exact;
    switch (what) {
    case 'c': command_line(strings); break;
    case 'e': environment(strings); break;
    case 's': stack(data, size); break;
    case 'q':
        exact = "image"; /* in the working directory */
        if (fclose(written(exact, data, size))) abort();
        printf("squashfs %d\n", open_squashfs(exact) >= 0);
        break;
    case 'r': record(data, size); break;
    case 'n': tell("name", image_directory(data)); break;
    case 'u':
        add_change(UNSET_MATCHING, strings[0], 0);
        printf("matches %d\n", matches(strings[0], strings[1]));
        break;
    case 'l':
        exact = malloc(size ? size : 1);
        for (size_t i = 0; i < size; i++) exact[i] = data[i];
        tell("loader", loader_of(exact, size));
        break;
    default: tell("interpreter", interpreter_of(copied(data, SCRIPT_BYTES)));
    }
}

int main(void)
{
    char head[5];
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        uint32_t size = 0;
        for (int i = 4; i; i--) size = size << 8 | (unsigned char)head[i];
        char *data = calloc(1, size + SCRIPT_BYTES + 1);
        if (fread(data, 1, size, stdin) != size) return 1;
        int status = 0, forks = head[0] == 'c' || head[0] == 'e' || head[0] == 'q'
                               || head[0] == 'r';
        pid_t child = forks ? fork() : 0;
        memory_used = 0, change_count = 1;
        if (!child && !setjmp(answered)) serve(head[0], data, size);
        fflush(stdout);
        if (forks && !child) _exit(0);
        if (forks) waitpid(child, &status, 0);
        printf("end %d\n", status);
        fflush(stdout);
        free(data);
    }
    return 0;
}
