/* Memory that is never freed, strings, and files. */

#define MEMORY (1 << 20)     /* limit of one start; fail() has as much again */
#define FILE_LIMIT (1 << 17) /* bytes; larger files are declined */
#define READ (O_RDONLY | O_NONBLOCK | O_NOCTTY)
#define DIRECTORY (O_PATH | O_DIRECTORY)

static int is_child; /* a child only ends when it declines */
static _Noreturn void decline(const char *why); /* hand over to the launcher in Python */
static _Noreturn void fail(int status, const char *what, const char *why, long error);
static _Noreturn void leave(int status) { for (;;) CALL(exit, status); }
static void await(long child) { while (CALL(wait4, child, 0, WAIT_ALL) == -EINTR) continue; }

static long must(long result, const char *what) { if (result < 0) decline(what); return result; }
void *memset(void *to, int value, size_t size) /* the compiler adds calls of these two */
{
    for (size_t i = 0; i < size; i++) ((volatile char *)to)[i] = (char)value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    for (size_t i = 0; i < size; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

static size_t memory_limit = MEMORY;

/* Return memory filled with zeros. */
static void *allocate(size_t size)
{
    static char memory[2 * MEMORY] __attribute__((aligned(16)));
    static size_t used;
    if (size > memory_limit - used) decline("memory");
    void *found = memory + used;
    used += (size + 15) & ~(size_t)15;
    return found;
}

/* Return the first place of a character in a text, or NULL; 0 finds the end of the text. */
static char *find(const char *text, char character)
{
    while (*text != character && *text) text++;
    return *text == character ? (char *)text : NULL;
}

static int begins(const char *a, const char *b) { while (*b && *a == *b) a++, b++; return !*b; }
static size_t length(const char *text) { return (size_t)(find(text, 0) - text); }
static int equal(const char *a, const char *b) { return begins(a, b) && !a[length(b)]; }
static int begins_any(const char *text, const char *const *with)
{
    while (*with && !begins(text, *with)) with++;
    return *with != NULL;
}

/* Return the first place of an item in a text; both begin with the character before each item. */
static const char *search(const char *text, const char *item)
{
    while (text && !begins(text, item)) text = find(text + 1, *item);
    return text;
}

static char *copied(const char *text, size_t n) { return memcpy(allocate(n + 1), text, n); }

/* Return the concatenation of the arguments; NULL is the last argument. */
static char *joined(const char *first, ...)
{
    va_list list, again;
    size_t size = 1;
    va_start(list, first);
    va_copy(again, list);
    for (const char *part = first; part; part = va_arg(list, const char *)) size += length(part);
    char *text = allocate(size), *end = text;
    for (const char *part = first; part; part = va_arg(again, const char *))
        while (*part) *end++ = *part++;
    va_end(list);
    va_end(again);
    return text;
}
#define JOINED(...) joined(__VA_ARGS__, (char *)NULL)
static char *decimal(long number)
{
    char *at = (char *)allocate(21) + 20;
    do *--at = (char)('0' + number % 10); while (number /= 10);
    return at;
}

/* Return a short name for a text: base/record/hashed.py. */
static const char *hashed(const char *text)
{
    char *digits = allocate(17);
    uint64_t hash = HASH_START;
    for (; *text; text++) hash = (hash ^ (uint8_t)*text) * HASH_FACTOR;
    for (int i = 16; i--; hash >>= 4) digits[i] = "0123456789abcdef"[hash & 15];
    return digits;
}

/* Return the value of a text of decimal digits. */
static uint32_t number(const char *digits, uint32_t limit)
{
    uint64_t found = 0;
    do {
        found = found * 10 + (uint8_t)(*digits - '0');
        if (*digits < '0' || *digits > '9' || found > limit) decline("not a number that can be");
    } while (*++digits);
    return (uint32_t)found;
}

#define fd_path(fd, rest) JOINED("/proc/self/fd/", decimal(fd), rest)

static char itself[PATH_LIMIT], *own_name = "ch-run"; /* the path of this program; its end */

static void find_itself(void)
{
    long size = CALL(readlinkat, AT_FDCWD, "/proc/self/exe", itself, PATH_LIMIT - 1);
    if (size <= 0 || *itself != '/') fail(EXIT_RUN, "can't read /proc/self/exe", "", size);
    for (own_name = itself + size; own_name[-1] != '/'; own_name--) continue;
    if (find(own_name, ' ')) *find(own_name, ' ') = 0; /* " (deleted)": proc_pid_exe(5) */
}

static char *beside(const char *path)
{
    return JOINED(copied(itself, (size_t)(own_name - itself)), path);
}

#define open_at(directory, path, flags) CALL(openat, directory, path, (flags) | O_CLOEXEC, 0600)

/* Try a scoped look-up again if a concurrent rename disturbs it: openat2(2). */
static long open_within(long directory, const char *path, int flags, uint64_t resolve)
{
    uint64_t how[3] = {(uint64_t)(flags | O_CLOEXEC), 0, resolve};
    long result = -EAGAIN;
    for (int i = 0; i < OPENAT2_ATTEMPTS && (result == -EAGAIN || result == -EINTR); i++)
        result = CALL(openat2, directory, path, how, sizeof how);
    return result;
}
#define status_of(fd, path, flags, status) \
    CALL(statx, fd, path, (flags) | (*(path) ? 0 : AT_EMPTY_PATH), STATX_BASIC_STATS, status)
static int is_type(const struct status *found, int type) { return (found->mode & S_IFMT) == type; }

/* Write a text by one write(2), and close the file. */
static void write_all(long fd, const char *text)
{
    if (CALL(write, must(fd, "open"), text, length(text)) != (long)length(text)) decline("write");
    CALL(close, fd);
}

/* Return the contents of a small regular file, with a NUL at the end. */
static char *contents(long fd, const char *what, struct status *status)
{
    must(status_of(must(fd, what), "", 0, status), what);
    if (!is_type(status, S_IFREG) || status->size > FILE_LIMIT) decline(what);
    char *data = allocate(status->size + 2);
    size_t done = 0;
    for (long n = 1; n; done += (size_t)n) /* proc(5) reports size 0 for its files */
        n = must(CALL(read, fd, data + done, status->size + 1 - done), what);
    if (done != status->size) decline(what);
    return data;
}

/* Return the next of the texts that each end with NUL. */
static char *next_field(char **at, const char *end)
{
    char *found = *at;
    if (found >= end) decline("a file that was cut");
    *at += length(found) + 1;
    return found;
}
