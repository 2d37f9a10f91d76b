/* The environment, and the changes that the command line makes to it: launcher/environment.py.
 * A string that is unset leaves its place empty.  A string that is set again returns to it. */

enum { STRINGS_LIMIT = 4096, CHANGES_LIMIT = 1024 };
enum change { SET_VARIABLE, SET_FROM_IMAGE, UNSET_MATCHING };

static struct slot { const char *text; size_t name; int gone; } slots[STRINGS_LIMIT],
    *slots_end = slots;
static struct { enum change kind; const char *text; char delimiter; } changes[CHANGES_LIMIT];
static int first_change = 1, change_count = 1; /* 0: kept for the command of the image */
#define EACH_SLOT struct slot *slot = slots; slot < slots_end; slot++

static size_t name_length(const char *text)
{
    return find(text, '=') ? (size_t)(find(text, '=') - text) : length(text);
}

static void add_slot(const char *text)
{
    if (slots_end == slots + STRINGS_LIMIT) decline("many variables");
    *slots_end++ = (struct slot){text, name_length(text), 0};
}

/* Return the value of the first variable of this name; NULL if there is none. */
static const char *variable(const char *name)
{
    size_t size = length(name);
    for (EACH_SLOT)
        if (!slot->gone && slot->name == size && begins(slot->text, name) && slot->text[size])
            return slot->text + size + 1;
    return NULL;
}

/* Make NAME=VALUE the only string of its name; NAME alone removes all strings of that name. */
static void put(const char *text)
{
    size_t size = name_length(text);
    const char *name = copied(text, size);
    struct slot *first = NULL;
    for (EACH_SLOT) {
        if (slot->name != size || !begins(slot->text, name)) continue;
        slot->gone = 1;
        first = first ? first : slot;
    }
    if (!first) add_slot(text), first = slots_end - 1;
    first->text = text, first->gone = !text[size];
}

static void add_change(enum change kind, const char *text, char delimiter)
{
    if (kind == SET_VARIABLE && (!find(text, '=') || *text == '=')) decline("not NAME=VALUE");
    for (const char *at = text; kind == UNSET_MATCHING && (*at || at == text); at++)
        if (!*at || *at & 0x80 || find("?[\\(", *at)) decline("a pattern for fnmatch(3)");
    if (change_count == CHANGES_LIMIT) decline("many changes of the environment");
    changes[change_count].kind = kind, changes[change_count].text = text;
    changes[change_count++].delimiter = delimiter;
}

/* Replace each item $NAME of a value (colons separate items); drop it if NAME is unset or empty. */
static const char *expanded(const char *value)
{
    const char *text = NULL;
    for (const char *item = value, *colon; item; item = colon ? colon + 1 : NULL) {
        colon = find(item, ':');
        const char *found = copied(item, colon ? (size_t)(colon - item) : length(item));
        if (*found == '$' && found[1] && (!(found = variable(found + 1)) || !*found)) continue;
        text = text ? JOINED(text, ":", found) : found;
    }
    return text ? text : "";
}

/* Set NAME=VALUE; remove a pair of single quotes around the value. */
static void set_variable(const char *text, int expand)
{
    size_t name = name_length(text) + 1, size = length(text + name);
    const char *value = text + name;
    if (size > 1 && *value == '\'' && value[size - 1] == '\'') value = copied(value + 1, size - 2);
    put(JOINED(copied(text, name), expand && find(value, '$') ? expanded(value) : value));
}

/* Set the variables of a file now, or append the changes to the list. */
static void read_variables(long fd, char delimiter, int now, int expand)
{
    struct status status;
    char *at = contents(fd, "a file of variables", &status), *end = at + status.size;
    for (char *next; at < end; at = next) {
        for (next = at; next < end && *next != delimiter; next++)
            if (!*next) decline("a NUL byte in a file of variables");
        *next++ = 0;
        if (*at && next[-2] == '\n') next[-2] = 0;
        if (!*at) continue;
        if (!find(at, '=') || *at == '=') decline("not NAME=VALUE in a file");
        if (now) set_variable(at, expand);
        else add_change(SET_VARIABLE, at, 0);
    }
}

/* Tell whether a name matches a pattern, in which only "*" is special. */
static int matches(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    while (*name) {
        if (*name & 0x80) decline("a name that is not ASCII");
        if (*pattern == '*') star = ++pattern, retry = name;
        else if (*pattern == *name) pattern++, name++;
        else if (star) pattern = star, name = ++retry;
        else return 0;
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

/* Make the slots those of the command.  This process is in the container. */
static void change_environment(int expand)
{
    static const char *const kept[] = {LAUNCHER_PREFIXES, NULL};
    static const char *const appended[] = {APPENDED_PATHS, NULL};
    const char *path = variable("PATH");
    if (!path) decline("no $PATH");
    put(CALL(faccessat, AT_FDCWD, HOME_DEFAULT) == 0 ? "HOME=" HOME_DEFAULT : "HOME=/");
    for (int i = 0; appended[i]; i++)
        if (!search(JOINED(":", variable("PATH")), appended[i]))
            put(JOINED("PATH=", variable("PATH"), appended[i]));
    put("TMPDIR");
    for (int i = first_change; i < change_count; i++) {
        if (changes[i].kind == SET_VARIABLE) set_variable(changes[i].text, expand);
        if (changes[i].kind == SET_FROM_IMAGE)
            read_variables(open_within(AT_FDCWD, IMAGE_ENVIRONMENT, READ, RESOLVE_NO_MAGICLINKS),
                           changes[i].delimiter, 1, expand);
        if (changes[i].kind != UNSET_MATCHING) continue;
        for (EACH_SLOT) {
            const char *name = copied(slot->text, slot->name);
            if (equal(changes[i].text, "*") && begins_any(slot->text, kept)) continue;
            if (!slot->gone && matches(changes[i].text, name)) put(name);
        }
    }
    put("CH_RUNNING=" CH_RUNNING);
}

static char **environment_strings(void)
{
    char **strings = allocate((STRINGS_LIMIT + 1) * sizeof *strings), **string = strings;
    for (EACH_SLOT)
        if (!slot->gone) *string++ = (char *)slot->text;
    return strings;
}
