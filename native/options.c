/* The command line, as launcher/options.py defines it.  This program declines rare options. */

struct bind { const char *source, *target; };
struct options {
    const char *storage, *directory, *overlay_size;
    char **operands; /* the image, then the command; NULL at the end */
    const char **stores; /* those of --image-store; NULL at the end */
    struct bind *binds;
    uint32_t uid, gid;
    int bind_count, store_count, join; /* join: take part in a group, whose tag is "tag" or NULL */
    const char *tag;
    int expand, passwd, private_tmp, seccomp, write;
};

static void add_bind(struct options *options, const char *value)
{
    const char *colon = find(value, ':'), *target = colon ? colon + 1 : value, *rest = target;
    while (*rest == '/' || *rest == '.') rest++;
    if (colon == value || *target != '/' || !*rest || find(target, ':') || begins(value, "/proc"))
        decline("a bind that can't be, of this process, or with :ro");
    options->binds[options->bind_count++] =
        (struct bind){colon ? copied(value, (size_t)(colon - value)) : value, target};
}

static void set_environment(const char *value, char delimiter)
{
    struct status status; /* opening a FIFO would wake its writer */
    if (!value) add_change(SET_FROM_IMAGE, NULL, delimiter);
    else if (find(value, '=')) add_change(SET_VARIABLE, value, 0);
    else if (status_of(AT_FDCWD, value, 0, &status) || !is_type(&status, S_IFREG)) decline(value);
    else read_variables(open_at(AT_FDCWD, value, READ), delimiter, 0, 0);
}

/* Return the default size of -W, unless a control group limits it: container/memory_share.py. */
static const char *overlay_share(void)
{
    static const char *const limits[] = {LIMITS}; /* two of version 2, then one of version 1 */
    char *line = allocate(FILE_LIMIT), *next;
    CALL(read, must(open_at(AT_FDCWD, "/proc/self/cgroup", READ), "cgroup"), line, FILE_LIMIT - 1);
    for (; *line; line = next) {
        next = find(line, '\n');
        if (*next) *next++ = 0;
        char *kind = find(line, ':') + 1, *path = find(kind, ':') + 1, *end;
        int is_old = begins(kind, "memory:"), is_left = is_old || *kind == ':';
        while (is_left) { /* from the group up to the root */
            for (int i = is_old ? 4 : 0; i < (is_old ? 6 : 4); i += 2) {
                char number[24] = {0};
                long fd = open_at(AT_FDCWD, JOINED(limits[i], path, limits[i + 1]), READ);
                if (fd >= 0 && CALL(read, fd, number, 23) > 0 && *number != 'm' && !number[16])
                    decline("a limit of memory");
                CALL(close, fd);
            }
            is_left = *path != 0;
            for (end = path + length(path); end > path && *end != '/'; end--) continue;
            *end = 0;
        }
    }
    return OVERLAY_SHARE;
}

static void take(struct options *options, enum option option, const char *value)
{
    switch (option) {
    case BIND: add_bind(options, value); break;
    case CD: options->directory = value; break; case WRITE: options->write = 1; break;
    case ENV_NO_EXPAND: options->expand = 0; break; case NO_PASSWD: options->passwd = 0; break;
    case IMAGE_STORE:
        if (!*value) decline("no store");
        options->stores[options->store_count++] = value;
        break;
    case NO_SITE_BINDS: said[RUN_BIND] = said[RUN_TMPFS] = NULL; break;
    case JOIN_TAG: options->tag = value; /* fall through */ case JOIN: options->join = 1; break;
    case PRIVATE_TMP: options->private_tmp = 1; break; case SECCOMP: options->seccomp = 1; break;
    case SET_ENV: set_environment(value, '\n'); break;
    case SET_ENV0: set_environment(value, 0); break; case STORAGE: options->storage = value; break;
    case UID: options->uid = number(value, ID_LIMIT); break;
    case GID: options->gid = number(value, ID_LIMIT); break;
    case UNSET_ENV: add_change(UNSET_MATCHING, value, 0); break;
    case WRITE_FAKE:
        if (!value || !*value)
            value = said[RUN_WRITE_FAKE] ? *said[RUN_WRITE_FAKE] : overlay_share();
        options->overlay_size = value;
        break;
    default: decline("a rare option");
    }
}

/* Read an option, and the next word if it is the argument; return the last word read. */
static char **read_option(struct options *options, char **word)
{
    static const struct { char letter; enum argument argument; char name[16]; } known[] = {OPTIONS};
    int is_long = word[0][1] == '-';
    for (size_t i = 0; !options->operands[1] && i < sizeof known / sizeof *known; i++) {
        const char *value = *word + 2 + (is_long ? length(known[i].name) : 0);
        if (is_long ? !begins(*word + 2, known[i].name) || (*value && *value != '=')
                    : word[0][1] != known[i].letter)
            continue;
        value = *value ? value + is_long : NULL; /* skip the "=" of a long option */
        if (value && known[i].argument == NONE) decline("several letters, or an argument too many");
        if (!value && known[i].argument == WANTED && !(value = *++word)) decline("no argument");
        take(options, (enum option)i, value);
        return word;
    }
    decline("an option that is abbreviated, wrong, or behind the command's first word");
}

/* Read the words of the command line.  Options may follow operands; "--" ends the options. */
static void read_options(struct options *options, char **words, size_t count)
{
    options->operands = (char **)allocate((count + 3) * sizeof(char *)) + 2; /* for the last step */
    options->binds = allocate((count + 1) * sizeof(struct bind));
    options->stores = allocate((count + 1) * sizeof(char *));
    options->expand = options->passwd = 1;
    char **operand = options->operands;
    for (; *words && !equal(*words, "--"); words++)
        if (words[0][0] == '-' && words[0][1]) words = read_option(options, words);
        else *operand++ = *words;
    while (*words && *++words) *operand++ = *words;
    if (!options->operands[0]) decline("no image");
}
