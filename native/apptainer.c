/* ``sundog apptainer exec docker://NAME COMMAND`` without options: front/apptainer/plan.py.
 * The build checks that this makes the same plan: packaging/native_header.py.  A setting of the
 * site, a variable of Apptainer, and an image that is not in storage are left to Python. */

static const char *home, *here; /* of an exec: the home and the working directory */
static const char *found[STRINGS_LIMIT], **found_end = found; /* variables, in their order */
#define EACH_FOUND const char **place = found; place < found_end; place++

static int is_exec(char **words, size_t count)
{
    return count > 4 && equal(words[1], "apptainer") && equal(words[2], "exec")
           && begins(words[3], STORED);
}

static int lies_in(const char *path, const char *top)
{
    return begins(path, top) && (!path[length(top)] || path[length(top)] == '/');
}

static int is_among(const char *name, const char *const *names)
{
    while (*names && !equal(name, *names)) names++;
    return *names != NULL;
}

static int is_plain(const char *path) /* absolute, and as posixpath.normpath leaves it */
{
    const char *whole = JOINED(path, "/");
    return *path == '/' && path[1] && !search(whole, "//") && !search(whole, "/./")
           && !search(whole, "/../");
}

static int is_ignored(long signal) /* Python can't know it, and restores the default action */
{
    long action[16] = {0};
    return must(CALL(rt_sigaction, signal, NULL, action, 8), "rt_sigaction") || *action == 1;
}

/* Read the words; show the home, temporary files and the working directory. */
static void read_exec(struct options *options, char **words, size_t count)
{
    static const char *const unbound[] = {UNBOUND, NULL}, *const below[] = {UNBOUND_BELOW, NULL};
    static const char *const others[] = {APPTAINER_PREFIXES, NULL};
    struct status status;
    char *directory = allocate(PATH_LIMIT);
    size_t size = 0;
    for (EACH_SLOT) {
        if (begins_any(slot->text, others) || !slot->name) decline("a variable of Apptainer");
        size += length(slot->text);
    }
    if (size > FILE_LIMIT) decline("large variables");
    if (is_ignored(SIGPIPE) || is_ignored(SIGXFSZ)) decline("signals that are ignored");
    if (CALL(faccessat, AT_FDCWD, SITE_FILE) != -ENOENT) decline("the settings of a site");
    if (CALL(getcwd, directory, PATH_LIMIT) < 0 || *directory != '/') decline("getcwd");
    home = variable("HOME"), here = directory;
    if (!home || !is_plain(home) || find(home, '\n') || find(JOINED(home, here), ':')
        || !variable("PATH"))
        decline("the home, or no $PATH");
    options->operands = (char **)allocate((count + 1) * sizeof(char *)) + 2;
    options->binds = allocate(3 * sizeof(struct bind));
    options->passwd = 1, options->directory = here;
    memcpy(options->operands, words + 3, (count - 3) * sizeof *words);
    options->operands[0] += sizeof STORED - 1;
    add_bind(options, home);
    if (!status_of(AT_FDCWD, VAR_TMP, AT_SYMLINK_NOFOLLOW, &status)) add_bind(options, VAR_TMP);
    int is_shown = lies_in(here, "/tmp") || is_among(here, unbound);
    for (int i = 0; i < options->bind_count; i++)
        is_shown |= lies_in(here, options->binds[i].target);
    for (int i = 0; below[i]; i++) is_shown |= lies_in(here, below[i]);
    if (!is_shown) add_bind(options, here);
}

/* Return the place of the variable with the name of NAME=VALUE, or a free one. */
static const char **place_of(const char *text)
{
    const char *name = copied(text, name_length(text) + 1);
    for (EACH_FOUND) if (begins(*place, name)) return place;
    if (found_end == found + STRINGS_LIMIT) decline("many variables");
    *found_end = "";
    return found_end;
}

static void set(const char *text, int anew)
{
    const char **place = place_of(text);
    if (place == found_end) found_end++, anew = 1;
    if (anew) *place = text;
}

/* Set a variable of the container itself: the header says what stands for what in it. */
static void set_own(const char *text, const char *image)
{
    const char *value = "", *slash = image = JOINED(STORED, image);
    for (const char *at = image; (at = find(at, '/')); at++) slash = at;
    for (; *text; text++)
        value = JOINED(value, *text == '\1' ? home : *text == '\2' ? here : *text == '\4'
                       ? slash + 1 : *text == '\5' ? copied(image, (size_t)(slash - image))
                       : copied(text, 1));
    set(value, 0);
}

/* Find the variables as front/apptainer/variables.py does. */
static void find_variables(const struct image *image, const char *name)
{
    static const char *const left[] = {HOSTS_OWN, NULL}, *const starts[] = {OWN_STARTS, NULL};
    static const char *const own[] = {OWN_VARIABLES_OF_EXEC, NULL};
    static const char *const paths[] = {DEFAULT_PATHS, NULL};
    struct status status = {0};
    long root = open_at(image->own, "root", DIRECTORY);
    long file = open_within(root, OWN_VARIABLES, READ, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    char *at = file == -ENOENT ? "" : contents(file, OWN_VARIABLES, &status), *next;
    if (length(at) != status.size) decline("a NUL in the image's variables");
    set("PATH=" DEFAULT_PATH_OF_EXEC, 1);
    for (; *at; at = next) {
        next = find(at, '\n') ? find(at, '\n') : at + length(at);
        if (*next) *next++ = 0;
        size_t size = find(at, '=') ? name_length(at) + 1 : 0, rest = length(at + size);
        if (rest > 1 && at[size] == '\'' && at[size + rest - 1] == '\'')
            at = JOINED(copied(at, size), copied(at + size + 1, rest - 2));
        if (size > 1) set(at, 1);
    }
    const char *path = *place_of("PATH=") + 5;
    path = *path ? path : DEFAULT_PATH_OF_EXEC;
    for (int i = 0; paths[i]; i++)
        if (!search(JOINED(":", path, ":"), JOINED(":", paths[i], ":")))
            path = JOINED(path, ":", paths[i]);
    set(JOINED("PATH=", path), 1);
    for (EACH_SLOT) { /* one of the host has its place also for a value of the container's own */
        if (!slot->text[slot->name] || begins_any(slot->text, starts)
            || is_among(copied(slot->text, slot->name), left))
            continue;
        for (int i = 0; own[i]; i++)
            if (begins(own[i], copied(slot->text, slot->name + 1))) set_own(own[i], name);
        set(slot->text, 0);
    }
    for (int i = 0; own[i]; i++) set_own(own[i], name);
    const char *libraries = *place_of(LIBRARY_PATH "=");
    libraries = *libraries ? libraries + sizeof LIBRARY_PATH : "";
    if (!search(JOINED(":", libraries, ":"), ":" LIBRARIES ":"))
        set(JOINED(LIBRARY_PATH "=", libraries, *libraries ? ":" : "", LIBRARIES), 1);
}

static int steers(const char *text)
{
    static const char *const starts[] = {STEERING_PREFIXES, NULL};
    static const char *const names[] = {STEERING, NULL};
    return begins_any(text, starts) || is_among(copied(text, name_length(text)), names);
}

/* Make the slots those of the command, in the order in which ``ch-run`` would leave them: the
 * caller's that steer it, all that do not, and others that do, but $TMPDIR before these. */
static void use_variables(void)
{
    static struct slot passed[STRINGS_LIMIT];
    struct slot *end = passed;
    for (EACH_SLOT) {
        const char **place = slot->text[slot->name] ? place_of(slot->text) : found_end;
        if (place == found_end || !steers(*place) || begins(*place, "TMPDIR=")) continue;
        *end++ = (struct slot){*place, slot->name, 0}, *place = "";
    }
    for (int kind = 0; kind < 3; kind++)
        for (EACH_FOUND)
            if (**place && kind == steers(*place) * (2 - begins(*place, "TMPDIR=")))
                *end++ = (struct slot){*place, name_length(*place), 0};
    memcpy(slots, passed, sizeof slots);
    slots_end = slots + (end - passed);
    put("CH_RUNNING=" CH_RUNNING);
}
