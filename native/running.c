/* Notes for other nodes of what this node runs: record/running.py.  The launcher writes them. */

static int is_shared(long storage, const struct status *status)
{
    static const uint64_t local[] = {OF_ONE_NODE};
    union { uint64_t type; uint32_t type_of_s390x; uint64_t all[32]; } state = {0}; /* statfs(2) */
    if (status->device[0]) return 0;
    must(CALL(fstatfs, storage, &state), "fstatfs");
    uint64_t type = ELF_MACHINE == 22 ? state.type_of_s390x : state.type;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) if (type == local[i]) return 0;
    return 1;
}

/* Hand over if other nodes may have the storage, and the note of this image is missing or old. */
static void find_note(const struct image *image)
{
    struct status status;
    char node[6][65]; /* struct utsname */
    int64_t now[2] = {0};
    if (image->own < 0 || !is_shared(image->storage_at, &image->storage_status)) return;
    const char *text = image->tree;
    for (char **layer = image->layers; !*image->tree && *layer; layer++)
        text = JOINED(text, *text ? "," : "", *layer);
    must(CALL(uname, node), "uname");
    text = JOINED(RUNNING_DIRECTORY "/", node[1], "/", hashed(text));
    must(status_of(image->storage_at, text, AT_SYMLINK_NOFOLLOW, &status), "no note for others");
    must(CALL(clock_gettime, 0, now), "clock_gettime");
    if (now[0] - status.modified[0] > NOTE_FRESH) decline("an old note for others");
}
