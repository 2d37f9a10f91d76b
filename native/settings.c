/* The configuration of the site and of the user, as their compiled records have it:
 * base/configuration/level.py, compiled.py.  Whatever a record does not say is left to Python. */

static const struct { const char *path; int is_obeyed, adds; } keys[] = {KEYS};
static char **said[KEY_COUNT]; /* the values of each key; NULL ends them */
static int is_user_named;      /* a path has $USER, which may be another's */
static uint32_t host_uid;      /* the user's ID in the host's namespaces */
static const char *records;    /* the directory of the user's record, with a slash */
static uint64_t seen;          /* the keys that a record has had so far, as bits */

/* Return what a file has otherwise when it has changed. */
static const char *stamp_of(const char *path)
{
    struct status status;
    const int shift = ELF_MACHINE == 22 ? 32 : 0; /* nanoseconds have half a word */
    long error = status_of(AT_FDCWD, path, 0, &status);
    if (error == -ENOENT || error == -ENOTDIR || error == -EACCES) return NO_STAMP;
    must(error, path);
    const int64_t *m = status.modified, *c = status.changed;
    return JOINED(decimal(status.inode & INT64_MAX), ".", decimal((long)status.size), ".",
                  decimal(m[0]), ".", decimal(m[1] >> shift), ".", decimal(c[0]), ".",
                  decimal(c[1] >> shift));
}

/* Take the values of a key, or add them to those of another level. */
static void take_values(const char *path, char **at, const char *end)
{
    uint32_t known = 0, old = 0, count = 0;
    while (known < KEY_COUNT && !equal(keys[known].path, path)) known++;
    if (known == KEY_COUNT || seen >> known & 1) decline(path);
    seen |= UINT64_C(1) << known;
    if (said[known] && keys[known].adds) while (said[known][old]) old++;
    count = number(next_field(at, end), FILE_LIMIT);
    char **values = allocate((old + count + 1) * sizeof *values);
    if (old) memcpy(values, said[known], old * sizeof *values);
    for (uint32_t i = 0; i < count; i++) values[old + i] = next_field(at, end);
    if (keys[known].is_obeyed) said[known] = values;
}

/* Read the record of files of which the first "count" are known; nothing if none is there. */
static void read_record(const char *record, uint32_t writer, const char **files, uint32_t count)
{
    struct status status;
    const char *stamps[2];
    int is_there = 0;
    for (uint32_t i = 0; i < count; i++)
        is_there |= !equal(stamps[i] = stamp_of(files[i]), NO_STAMP);
    if (!is_there) return;
    char *start = contents(open_at(AT_FDCWD, record, READ | O_NOFOLLOW), record, &status);
    char *at = start, *end = at + status.size;
    if (status.uid != writer || status.mode & OTHERS_WRITE_RECORD || !status.size || end[-1]
        || !equal(next_field(&at, end), RECORD_MARK))
        decline(record);
    seen = 0;
    uint32_t left = number(next_field(&at, end), FILE_LIMIT);
    if (left < count) decline(record);
    for (uint32_t i = 0; i < left; i++) {
        const char *file = next_field(&at, end), *stamp = next_field(&at, end);
        if (i < count ? !equal(file, files[i]) || !equal(stamp, stamps[i])
                      : !equal(stamp, stamp_of(file)))
            decline("a configuration that has changed");
    }
    for (left = number(next_field(&at, end), FILE_LIMIT); left; left--) {
        const char *path = next_field(&at, end);
        next_field(&at, end); /* its source, for people */
        take_values(path, &at, end);
    }
    uint64_t sum = 0;
    for (const char *byte = start; byte < at - 1; byte++)
        sum = (sum << 8 | (uint8_t)*byte) % RECORD_PRIME;
    if (number(next_field(&at, end), UINT32_MAX) != sum || at != end) decline(record);
}

/* Return a directory of the user: $NAME, else the usual one in the home; "" if there is none. */
static const char *user_directory(const char *name, const char *usual)
{
    const char *given = variable(name), *own = variable("HOME");
    if (!given || !*given) given = own && *own ? JOINED(own, usual) : "";
    return *given == '/' ? JOINED(given, "/sundog/") : "";
}

static void read_settings(uint32_t uid)
{
    const char *site[] = {SITE_SETTINGS "/" SETTINGS_FILE, SITE_SETTINGS "/" SETTINGS_PARTS};
    const char *off = variable(SETTINGS_SWITCH);
    host_uid = uid, records = user_directory("XDG_CACHE_HOME", "/.cache");
    if (!*records) records = "/sundog/";
    if (off && equal(off, SETTINGS_NONE)) return;
    if (off && *off) decline(SETTINGS_SWITCH);
    if (!equal(stamp_of(SITE_SETTINGS), NO_STAMP))
        read_record(SITE_SETTINGS "/" RECORD_NAME, 0, site, 2);
    const char *own = user_directory("XDG_CONFIG_HOME", "/.config");
    const char *file = JOINED(own, SETTINGS_FILE);
    if (*own) read_record(JOINED(records, RECORD_NAME), uid, &file, 1);
}

/* Return the path that a text of the configuration stands for, or NULL: templates.py. */
static const char *place_for(const char *text)
{
    const char *user = variable("USER"), *path = "";
    for (size_t n; *text; text += n) {
        char sign = *text == '%' ? text[1] : *text;
        n = *text == '%' && sign ? 2 : 1;
        if (*text == '$') {
            while (text[n] == '_' || (text[n] >= '0' && text[n] <= '9')
                   || ((text[n] | 32) >= 'a' && (text[n] | 32) <= 'z')) n++;
            const char *value = variable(copied(text + 1, n - 1));
            if (!value || !*value) return NULL;
            path = JOINED(path, value);
        } else if (n == 2 && sign == 'u') {
            if (!user || !*user || find(user, '/')) decline("$USER");
            path = JOINED(path, user), is_user_named = 1;
        } else if (n == 2 && sign == 'U') path = JOINED(path, decimal(host_uid));
        else path = JOINED(path, copied(&sign, 1));
    }
    size_t size = length(path);
    while (size > 1 && path[size - 1] == '/') size--;
    return *path == '/' ? copied(path, size) : NULL;
}

/* Return the storage directory of the configuration that is there; NULL if it names none. */
static const char *configured_storage(void)
{
    char **text = said[STORAGE_DIRECTORY];
    for (; text && *text; text++) {
        const char *path = place_for(*text);
        if (path && !CALL(faccessat, AT_FDCWD, path)) return path;
    }
    if (text) decline("a storage that is not there");
    return NULL;
}
