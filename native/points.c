/* The mount points that a read-only root of layers lacks, in one more layer on top of it.
 * Directories that lead there have the modes and times of the root: container/missing_points.py. */

static struct { const char *path; struct status status; } copies[PATH_LIMIT / 2];
static int copy_count;

static void note_copy(long root, const char *path)
{
    if (copy_count == PATH_LIMIT / 2) decline("many mount points");
    copies[copy_count].path = path;
    must(status_of(root, path, 0, &copies[copy_count++].status), path);
}

static int is_below_another(const struct operation *operation)
{
    for (EACH_OPERATION)
        if (o == operation) break;
        else if (lies_in(operation->target, o->target)) return 1;
    return 0;
}

/* Make a mount point in the layer, and what leads to it, unless a link is there. */
static void reserve(long root, long layer, const char *path, int is_directory)
{
    struct status status;
    char *here = copied(path + 1, length(path + 1)), *end = here;
    if (!is_plain(path)) decline("a mount point with another name");
    while ((end = find(end, '/'))) {
        *end = 0;
        int is_missing = status_of(root, here, AT_SYMLINK_NOFOLLOW, &status) != 0;
        if (!is_missing && !is_type(&status, S_IFDIR)) decline("a mount point below a link");
        if (!CALL(mkdirat, layer, here, 0755)) {
            if (!is_missing) note_copy(root, copied(here, length(here)));
            else must(CALL(fchmodat, layer, here, 0755), here);
        }
        *end++ = '/';
    }
    long made = is_directory ? CALL(mkdirat, layer, here, 0755)
                             : CALL(openat, layer, here, O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (made != -EEXIST) must(made, here); /* another one is below it */
}

static long add_missing_points(const struct image *image, long root, long scratch)
{
    const uint64_t inside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    struct status status;
    long layer = -1;
    for (EACH_OPERATION) {
        if (o->need != CREATED || is_below_another(o)) continue;
        long there = open_within(root, o->target, O_PATH, inside);
        if (there >= 0) CALL(close, there);
        else if (there != -ENOENT) decline(o->target);
        if (there >= 0 || !status_of(root, o->target + 1, AT_SYMLINK_NOFOLLOW, &status)) continue;
        if (layer < 0) {
            must(CALL(mkdirat, scratch, "missing", 0777), "missing");
            must(CALL(mkdirat, scratch, "stack", 0777), "stack");
            must(CALL(mkdirat, scratch, "below", 0777), "below");
            layer = must(open_at(scratch, "missing", DIRECTORY), "missing");
            note_copy(root, ".");
        }
        must(status_of(o->tree, "", 0, &status), o->target);
        reserve(root, layer, o->target, is_type(&status, S_IFDIR));
    }
    if (layer < 0) return root;
    for (int i = copy_count; i--;) {
        const struct status *old = &copies[i].status;
        const int64_t *a = old->accessed, *m = old->modified; /* nanoseconds have half a word */
        const int shift = ELF_MACHINE == 22 ? 32 : 0;
        const int64_t times[] = {a[0], a[1] >> shift, m[0], m[1] >> shift};
        must(CALL(fchmodat, layer, copies[i].path, old->mode & 07777), copies[i].path);
        must(CALL(utimensat, layer, copies[i].path, times), copies[i].path);
    }
    const char *stack = fd_path(scratch, "/stack");
    const char *lowers = JOINED(":", first_layer(image), enter_layers(image), ",xino=on");
    mount_overlay(stack, fd_path(scratch, "/missing"), lowers, -1);
    must(CALL(move_mount, root, "", scratch, "below", MOVE_MOUNT_F_EMPTY_PATH), "below");
    must(CALL(move_mount, AT_FDCWD, stack, AT_FDCWD, "/"), "/");
    return must(open_at(AT_FDCWD, "/..", DIRECTORY), "/..");
}
