/* The variable LD_PRELOAD, by which programs get this library: no program sees it.  It is taken out
 * of the environment at the start, and put back for a program that can load the library. */
static const char sanitizer[] = "libasan.so";
enum { ENTRIES_LIMIT = 64, PT_LOAD = 1, PT_INTERP = 3, DT_NEEDED = 1, DT_STRSZ = 10 };
enum { HEAD_SIZE = 1024, NAME_ROOM = 256, SCRIPTS_LIMIT = 4, PROGRAMS = 61, STRINGS_LIMIT = 4096 };
enum { NAMES_LIMIT = 4096, HASH_OF_NOTHING = 5381 }; /* of symbols: 3 KB in ls(1) */
enum { ELF_64_BITS = 2, X86_64 = 62, PATH_LIMIT = 4096, NAME_LIMIT = 255 };
enum { ENOEXEC = 8, EACCES = 13, ENODEV = 19, ENOTDIR = 20, ENAMETOOLONG = 36, ETIMEDOUT = 110 };
enum { ESTALE = 116, SETTING_ROOM = 128 };
#define SHELL "/bin/sh"
static const char variable[] = PRELOAD_VARIABLE "=", last_name[] = "/" LIBRARY_NAME;
/* The variable and its value as this program got them; a copy, because a program may write a title
 * over its arguments and its environment. */
static char setting[SETTING_ROOM];

static size_t length_of(const char *text)
{
    size_t length = 0;
    while (text[length]) length++;
    return length;
}
static int begins(const char *text, const char *with)
{
    while (*with && *text == *with) text++, with++;
    return !*with;
}

__attribute__((constructor)) static void hide(void)
{
    if (!&environ || !environ) return;
    for (char **at = environ; *at; at++) {
        size_t length = length_of(*at), end = sizeof last_name - 1;
        if (!begins(*at, variable) || length < end || length >= sizeof setting
            || !begins(*at + length - end, last_name)) continue;
        for (size_t copied = 0; copied < length; copied++) setting[copied] = (*at)[copied];
        for (; *at; at++) *at = at[1];
        return;
    }
}

/* The program headers in the first bytes of a file; NULL if they are elsewhere: elf(5). */
static const struct segment *segments_in(const char *head, long size, int *count)
{
    const uint64_t table = *(const uint64_t *)(head + 32);
    *count = *(const uint16_t *)(head + 56);
    if (table > HEAD_SIZE || table + *count * sizeof(struct segment) > (uint64_t)size) return 0;
    return (const void *)(head + table);
}

/* Whether a program has one of the loaders that take this library. */
static int has_loader(const char *head, long size)
{
    static const char loaders[][24] = {"/ld-linux-x86-64.so.2", "/ld-musl-x86_64.so.1"};
    int count;
    const struct segment *segments = segments_in(head, size, &count);
    for (int at = 0; segments && at < count; at++) {
        uint64_t begin = segments[at].offset, length = segments[at].size;
        if (segments[at].type != PT_INTERP || begin > HEAD_SIZE || length > HEAD_SIZE
            || begin + length > (uint64_t)size || !length || head[begin + length - 1]) continue;
        for (int which = 0; which < 2; which++) {
            size_t end = length_of(loaders[which]) + 1;
            if (length >= end && is_same(head + begin + length - end, loaders[which])) return 1;
        }
    }
    return 0;
}

/* Whether a name of this hash is a function of this library.  Two names of one hash do no harm. */
static int is_replaced(uint32_t hash)
{
    const uint32_t *buckets = own_table + 4 + 2 * own_table[2];
    const uint32_t *chain = buckets + own_table[0] - own_table[1];
    uint32_t at = buckets[hash % own_table[0]];
    for (int is_last = !at; !is_last; at++) {
        if ((chain[at] | 1) == (hash | 1)) return 1;
        is_last = chain[at] & 1;
    }
    return 0;
}

/* Whether a program uses functions that this library replaces, by the names of its symbols. */
static int has_use(long fd, uint64_t offset, uint64_t size)
{
    char names[NAMES_LIMIT];
    uint32_t hash = HASH_OF_NOTHING;
    if (size > sizeof names) return 1;
    if (SLOW(pread64, fd, names, size, offset) != (long)size) return 1;
    for (uint64_t at = 0; at < size; at++) {
        if (names[at]) hash = hash * 33 + (unsigned char)names[at];
        else if (is_replaced(hash)) return 1;
        else hash = HASH_OF_NOTHING;
    }
    return 0;
}

/* Whether this library is of use in a program.  Not if the program insists on being loaded with
 * another library first, as one of gcc -fsanitize=address does.  A program that needs none but the
 * C library, and uses none of the functions, would only start later. */
static int is_useful(long fd, const char *head, long size)
{
    struct entry entries[ENTRIES_LIMIT];
    uint64_t names = 0, names_size = 0, first = 0, offset = 0;
    char name[sizeof sanitizer - 1];
    int count, needed = 0;
    const struct segment *segments = segments_in(head, size, &count);
    if (!segments) return 0;
    for (int at = 0; at < count; at++)
        if (segments[at].type == PT_DYNAMIC) {
            long got = SLOW(pread64, fd, entries, sizeof entries, segments[at].offset);
            for (long each = 0; (each + 1) * (long)sizeof *entries <= got; each++) {
                if (!entries[each].tag) break;
                if (entries[each].tag == DT_NEEDED && !needed++) first = entries[each].value;
                if (entries[each].tag == DT_STRTAB) names = entries[each].value;
                if (entries[each].tag == DT_STRSZ) names_size = entries[each].value;
            }
        }
    if (!first || !names) return 1;
    for (int at = 0; at < count; at++)
        if (segments[at].type == PT_LOAD && names - segments[at].place < segments[at].size)
            offset = names - segments[at].place + segments[at].offset;
    if (SLOW(pread64, fd, name, sizeof name, offset + first) != sizeof name) return 1;
    for (size_t at = 0; at < sizeof name; at++)
        if (name[at] != sanitizer[at]) return needed > 1 || has_use(fd, offset, names_size);
    return 0;
}

/* Whether an open program shall be loaded with this library; -1 for a script.  ``head`` gets how
 * the program begins, and a zero.  Other loaders print a message, and a static program hands the
 * variable on. */
static int is_taken(long fd, char *head)
{
    long size = SLOW(pread64, fd, head, HEAD_SIZE - 1, 0);
    for (long at = size < 0 ? 0 : size; at < HEAD_SIZE; at++) head[at] = 0;
    if (begins(head, "#!")) return -1;
    return size >= 64 && begins(head, "\177ELF") && head[4] == ELF_64_BITS && head[18] == X86_64
           && !head[19] && has_loader(head, size) && is_useful(fd, head, size);
}

/* What is known of programs that the process has executed before, if the children share its memory
 * (vfork): a number for each, whose lowest bit tells whether the program takes the library. */
static uint64_t known_programs[PROGRAMS];
static uint64_t number_of(const struct status *found)
{
    const uint64_t words[] = {found->device, found->inode, found->rest[1], found->rest[8],
                              found->rest[9]}; /* size, and the time of the last change */
    uint64_t number = 0;
    for (size_t at = 0; at < sizeof words / sizeof *words; at++)
        number = (number ^ words[at]) * SET_FACTOR, number ^= number >> 32;
    return number | 2;
}

/* Whether a program can load this library, which is there unless this process has another root.
 * ``is_plain`` gets whether the supervisor would leave the start of the program to the kernel: root
 * stays root by each one without a record. */
static int takes_library(const char *path, int *is_plain)
{
    char head[HEAD_SIZE] __attribute__((aligned(8))), name[NAME_ROOM];
    struct status found;
    *is_plain = 0;
    if (!*setting || !path || is_filtered) return 0;
    for (int scripts = 0; scripts < SCRIPTS_LIMIT; scripts++) {
        size_t at = 2, length = 0;
        if (FAST(newfstatat, AT_FDCWD, path, &found, 0)) return 0;
        if (!scripts) *is_plain = is_root() && !is_recorded(found.inode);
        uint64_t number = number_of(&found) & ~1ull, *known = &known_programs[number % PROGRAMS];
        int taken = *known & 1;
        if ((*known & ~1ull) != number) {
            long fd = SLOW(openat, AT_FDCWD, path, O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
            if (fd < 0) return 0;
            taken = is_taken(fd, head);
            SLOW(close, fd);
            if (taken >= 0) *known = number | taken;
        }
        if (taken >= 0)
            return taken
                   && !FAST(newfstatat, AT_FDCWD, setting + sizeof variable - 1, &found, 0);
        while (head[at] == ' ' || head[at] == '\t') at++;
        for (; head[at] && head[at] != ' ' && head[at] != '\t' && head[at] != '\n'; at++) {
            if (length == NAME_ROOM - 1) return 0;
            name[length++] = head[at];
        }
        name[length] = 0;
        path = name;
    }
    return 0;
}

/* How many strings the environment of a program has with the variable; 0 if it gets none, because
 * it has one of its own, or can't load the library. */
static size_t room_for(const char *path, char *const strings[], int *is_plain)
{
    size_t count = 0;
    if (!takes_library(path, is_plain) || !strings) return 0;
    for (; strings[count]; count++)
        if (count == STRINGS_LIMIT || begins(strings[count], variable)) return 0;
    return count + 1;
}
static char *const *with_setting(const char **more, char *const strings[])
{
    size_t count = 0;
    for (; strings[count]; count++) more[count] = strings[count];
    more[count] = setting, more[count + 1] = 0;
    return (char *const *)more;
}

static long execute(const char *path, char *const words[], char *const strings[])
{
    int is_plain;
    size_t room = room_for(path, strings, &is_plain);
    const char *more[room + 1];
    char *const *given = room ? with_setting(more, strings) : strings;
    return is_plain ? FAST(execve, path, words, given) : SLOW(execve, path, words, given);
}

SHOWN int execve(const char *path, char *const words[], char *const strings[])
{
    return returned(execute(path, words, strings));
}
SHOWN int execv(const char *path, char *const words[])
{
    return returned(execute(path, words, environ));
}

/* A file of unknown format is a script for a shell in glibc, and a failure in musl. */
static long execute_found(const char *path, char *const words[], char *const strings[])
{
    long result = execute(path, words, strings);
    if (result != -ENOEXEC || !gnu_get_libc_version) return result;
    size_t count = 0;
    while (words[count]) count++;
    const char *more[count + 3];
    more[0] = SHELL, more[1] = path;
    for (size_t at = 1; at < count; at++) more[at + 1] = words[at];
    more[count ? count + 1 : 2] = 0;
    return execute(SHELL, (char *const *)more, strings);
}

/* Try a program in the directories of the caller's $PATH, as execvp(3) does. */
typedef long try(const char *, char *const[], char *const[]);
static long search(const char *name, char *const words[], char *const strings[], try *act)
{
    char path[PATH_LIMIT];
    const char *at = "PATH=" DEFAULT_PATH;
    long denied = 0;
    size_t size = length_of(name);
    if (!*name) return -ENOENT;
    for (const char *place = name; *place; place++)
        if (*place == '/') return act(name, words, strings);
    if (size > NAME_LIMIT) return -ENAMETOOLONG;
    for (char **each = environ; each && *each; each++)
        if (begins(*each, "PATH=")) {
            at = *each;
            break;
        }
    for (at += 5;; at++) {
        size_t length = 0;
        for (; *at && *at != ':'; at++, length++)
            if (length < PATH_LIMIT - NAME_LIMIT - 2) path[length] = *at;
        if (length < PATH_LIMIT - NAME_LIMIT - 2) {
            if (length) path[length++] = '/';
            for (size_t copied = 0; copied <= size; copied++) path[length++] = name[copied];
            long result = act(path, words, strings);
            if (result == -EACCES) denied = result;
            else if (result != -ENOENT && result != -ENOTDIR && result != -ESTALE
                     && result != -ENODEV && result != -ETIMEDOUT) return result;
        }
        if (!*at) return denied ? denied : -ENOENT;
    }
}

SHOWN int execvp(const char *name, char *const words[])
{
    return returned(search(name, words, environ, execute_found));
}
SHOWN int execvpe(const char *name, char *const words[], char *const strings[])
{
    return returned(search(name, words, strings, execute_found));
}

/* The words of a call with a list, and the environment that may follow the list. */
#define LISTED(first, act) \
    va_list more; \
    size_t count = 1; \
    va_start(more, first); \
    if (first) while (va_arg(more, char *)) count++; \
    va_end(more); \
    char *words[count + 1]; \
    words[0] = (char *)first; \
    va_start(more, first); \
    if (first) for (size_t at = 1; at <= count; at++) words[at] = va_arg(more, char *); \
    long result = act; \
    va_end(more); \
    return returned(result)

SHOWN int execl(const char *path, const char *word, ...)
{
    LISTED(word, execute(path, words, environ));
}
SHOWN int execlp(const char *name, const char *word, ...)
{
    LISTED(word, search(name, words, environ, execute_found));
}
SHOWN int execle(const char *path, const char *word, ...)
{
    LISTED(word, execute(path, words, va_arg(more, char **)));
}

/* posix_spawn(3).  The parent waits until the child has its program, so that the environment may be
 * on the stack. */
static long room_at(const char *path, char *const words[], char *const strings[])
{
    struct status found;
    int is_plain;
    long failure = FAST(newfstatat, AT_FDCWD, path, &found, 0);
    (void)words;
    return failure ? failure : (long)room_for(path, strings, &is_plain);
}
#define SPAWN(function, room_found) \
    static void *kept; \
    int (*own)(int *, const char *, const void *, const void *, char *const[], char *const[]) = \
        next(#function, &kept); \
    long room = room_found; \
    if (room < 0) room = 0; \
    const char *more[room + 1]; \
    if (!own) return ENOSYS; \
    return own(process, name, actions, attributes, words, \
               room ? with_setting(more, strings) : strings)

SHOWN int posix_spawn(int *process, const char *name, const void *actions, const void *attributes,
                      char *const words[], char *const strings[])
{
    SPAWN(posix_spawn, room_at(name, words, strings));
}
SHOWN int posix_spawnp(int *process, const char *name, const void *actions, const void *attributes,
                       char *const words[], char *const strings[])
{
    SPAWN(posix_spawnp, search(name, words, strings, room_at));
}
