/* The command's program: find it, and check that the kernel will execute it.
 * After setns(2) this program can't hand over to the launcher.  So it checks before whether
 * execve(2) may fail, by the rules of container/execute.py and process/executable.py. */

/* The kernel reads SCRIPT_BYTES behind "#!": linux/binfmts.h. */
enum { FIRST_BYTES = 4096, SCRIPT_BYTES = 253, INTERPRETERS_LIMIT = 5 };

/* Return the dynamic loader that an ELF program for this machine names, "" if it names none. */
static const char *loader_of(const char *data, size_t size)
{
    enum { TYPE = 8, MACHINE = 9, SIZE = 27, COUNT = 28, TABLE = 4, INTERPRETER = 3 }; /* elf(5) */
    const uint16_t *half = (const void *)data;
    uint64_t at = size < 64 ? size : ((const uint64_t *)half)[TABLE];
    if (size < 64 || data[4] != 2 || half[MACHINE] != ELF_MACHINE || half[SIZE] != 56
        || half[TYPE] < 2 || half[TYPE] > 3)
        decline("a program of another kind");
    for (int left = half[COUNT]; left; left--, at += 56) {
        if (at % 8 || at > size - 56) decline("a program that begins otherwise");
        const uint64_t *segment = (const void *)(data + at), offset = segment[1], n = segment[4];
        if (*(const uint32_t *)segment != INTERPRETER) continue;
        if (!n || offset > size || n > size - offset || data[offset + n - 1])
            decline("a loader's name that is far away, or has no end");
        return copied(data + offset, n);
    }
    return "";
}

/* Return the interpreter in the first line of a script; "" if its end is missing: execve(2). */
static const char *interpreter_of(const char *line)
{
    while (*line == ' ' || *line == '\t') line++;
    size_t n = 0;
    while (line[n] && !find(" \t\n", line[n])) n++;
    return line[n] ? copied(line, n) : "";
}

/* Tell whether a program exists; decline unless the kernel will certainly execute it. */
static int is_program(const char *path, int depth)
{
    struct status status;
    char *data = allocate(FIRST_BYTES);
    long fd = open_within(AT_FDCWD, path, READ, RESOLVE_NO_MAGICLINKS);
    if (fd == -ENOENT || fd == -ENOTDIR) return 0;
    must(status_of(must(fd, "a program that can't be read"), "", 0, &status), path);
    if (!is_type(&status, S_IFREG)) decline("a program that is no file");
    must(CALL(faccessat2, fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS), "no permission to execute");
    long size = must(CALL(read, fd, data, FIRST_BYTES), path);
    const char *next = "";
    int is_script = begins(data, "#!");
    if (is_script) next = interpreter_of(copied(data + 2, SCRIPT_BYTES));
    else if (size < 4 || !begins(data, "\177ELF")) decline("a script for the shell");
    else if (!*(next = loader_of(data, (size_t)size))) return 1;
    if (!*next || depth == INTERPRETERS_LIMIT
        || !is_program(next, is_script ? depth + 1 : INTERPRETERS_LIMIT)) /* a loader needs none */
        decline("an interpreter that is missing");
    return 1;
}

/* Search the $PATH of the command for its program; return the path. */
static const char *find_program(const char *name)
{
    const char *path = variable("PATH") ? variable("PATH") : DEFAULT_PATH;
    const char *item = find(name, '/') ? NULL : path;
    if (*name && !item && is_program(name, 0)) return name;
    for (const char *colon; *name && item; item = colon ? colon + 1 : NULL) {
        colon = find(item, ':');
        size_t size = colon ? (size_t)(colon - item) : length(item);
        const char *found = size ? JOINED(copied(item, size), "/", name) : name;
        if (is_program(found, 0)) return found;
    }
    decline("a command that is not there");
}

/* Return the program that executes a command that others can change: process/last_step.py. */
static long open_last_step(void)
{
    const int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    long fd = CALL(memfd_create, "ch-run", flags | MFD_EXEC);
    if (fd == -EINVAL) fd = CALL(memfd_create, "ch-run", flags); /* before Linux 6.3 */
    if (CALL(write, must(fd, "memfd_create"), LAST_STEP, sizeof LAST_STEP - 1)
        != sizeof LAST_STEP - 1)
        decline("memory for the last step");
    must(CALL(fcntl, fd, F_ADD_SEALS, seals), "seals");
    return fd;
}
