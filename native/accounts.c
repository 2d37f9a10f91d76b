/* /etc/passwd and /etc/group of the container: launcher/accounts.py.
 * The host's name service may be a daemon, and only a C library can ask it.  So the launcher in
 * Python writes the answer into the storage directory: the two texts, each ended by NUL. */

struct accounts { const char *passwd, *group; };

static const char *third_field(const char *line) /* "" if there is none */
{
    const char *at = find(line, ':');
    size_t n = 0;
    if (!at || !(at = find(at + 1, ':'))) return "";
    while (at[n + 1] && at[n + 1] != ':') n++;
    return copied(at + 1, n);
}

/* Return passwd(5) or group(5) of an image with the last line of a text as the only entry with its
 * ID, which an exec shows; the text if the image has none. */
static const char *with_account(long root, const char *path, const char *text)
{
    struct status status;
    long fd = open_within(root, path, READ, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    const char *line = text + length(text) - 1;
    if (fd == -ENOENT) return text;
    while (line > text && line[-1] != '\n') line--;
    char *data = contents(fd, path, &status), *at = data, *next;
    char *result = allocate(status.size + length(line) + 2), *end = result;
    for (const char *id = third_field(line); at < data + status.size; at = next) {
        for (next = at; *next && *next != '\n'; next++) continue;
        if (!*next && next < data + status.size) decline("a NUL byte in accounts");
        size_t n = (size_t)(next - at);
        *next++ = 0;
        if (!n || equal(third_field(at), id)) continue;
        memcpy(end, at, n), end[n] = '\n', end += n + 1;
    }
    memcpy(end, line, length(line));
    return result;
}

static void find_accounts(struct accounts *accounts, long storage, const struct options *options)
{
    struct status status;
    int64_t now[2] = {0};
    if (!options->passwd) return;
    if (storage < 0) decline("accounts are kept in the storage");
    char *name = JOINED(ACCOUNTS_DIRECTORY "/", decimal(options->uid), ".", decimal(options->gid));
    accounts->passwd = contents(open_at(storage, name, READ | O_NOFOLLOW), "accounts", &status);
    accounts->group = accounts->passwd + length(accounts->passwd) + 1;
    const char *end = accounts->passwd + status.size;
    if (accounts->group >= end || accounts->group + length(accounts->group) + 1 != end)
        decline("damaged accounts");
    must(CALL(clock_gettime, 0, now), "clock_gettime");
    uint64_t age = (uint64_t)(now[0] - status.modified[0]);
    if (status.mode != (S_IFREG | 0600) || age >= ACCOUNTS_FRESH) decline("old accounts");
    if (!home) return;
    size_t size = length(accounts->passwd) - (sizeof PASSWD_END - 1);
    if (!equal(accounts->passwd + size, PASSWD_END)) decline("accounts with a home");
    accounts->passwd = JOINED(copied(accounts->passwd, size), ":", home, PASSWD_SHELL);
}
