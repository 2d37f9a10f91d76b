/* /etc/passwd and /etc/group of the container: launcher/accounts.py.
 * The host's name service may be a daemon, and only a C library can ask it.  So the launcher in
 * Python writes the answer into the storage directory: the two texts, each ended by NUL. */

struct accounts { const char *passwd, *group; };

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
}
