/* The container's file systems, in the three phases of container/operations.py: acquire the trees
 * of the host, generate the others, and attach all of them after the change of root. */

/* CREATED: make a missing mount point; WISHED: also do without a missing source. */
enum need { OPTIONAL, REQUIRED, CREATED, WISHED };

/* Shows a file or directory of the host, or a text, or (without both) an empty tmpfs. */
struct operation {
    const char *source, *text, *target;
    enum need need;
    int read_only;
    long tree;
    int covers_link; /* it covers a link, and not what that leads to */
};
static struct operation *operations, *last_operation;
#define EACH_OPERATION struct operation *o = operations; o < last_operation; o++

static void add(const char *source, const char *text, const char *target, enum need need)
{
    *last_operation++ = (struct operation){source, text, target, need, 0, -1, 0};
}

/* Move this process into a user and a mount namespace of its own: user_namespaces(7). */
static void enter_namespaces(uint32_t uid, uint32_t gid, uint32_t outer_uid, uint32_t outer_gid)
{
    const char *users = JOINED(decimal(uid), " ", decimal(outer_uid), " 1\n");
    const char *groups = JOINED(decimal(gid), " ", decimal(outer_gid), " 1\n");
    must(CALL(unshare, CLONE_NEWUSER | CLONE_NEWNS), "unshare");
    write_all(open_at(AT_FDCWD, "/proc/self/uid_map", O_WRONLY), users);
    write_all(open_at(AT_FDCWD, "/proc/self/setgroups", O_WRONLY), "deny\n");
    write_all(open_at(AT_FDCWD, "/proc/self/gid_map", O_WRONLY), groups);
}

/* Add a bind of the configuration: launcher/configured.py. */
static void add_configured(const char *text, enum need need)
{
    const char *colon = find(text, ':'), *rest = colon ? colon + 1 : "", *end = find(rest, ':');
    const char *source = colon ? copied(text, (size_t)(colon - text)) : text;
    const char *target = end ? copied(rest, (size_t)(end - rest)) : rest;
    source = place_for(source), target = *target ? place_for(target) : source;
    if (!source || !target) return;
    if (begins(target, "/proc") || !is_plain(target)) decline("a bind of the configuration");
    add(source, NULL, target, need);
    last_operation[-1].read_only = end && equal(end, ":ro");
}

/* Make the same plan as launcher/run_plan.py; tell whether it may show Sundog's own directories. */
static int plan(const struct image *image, const struct options *options,
                const struct accounts *accounts)
{
    static const char *const paths[] = {REQUIRED_BINDS, OPTIONAL_BINDS, CRAY_BINDS};
    static const char *const sessions[] = {SESSION_VARIABLES, "PMIX_SECURITY_MODE=munge", NULL};
    enum need need = options->overlay_size || home ? CREATED : REQUIRED;
    size_t known = sizeof paths / sizeof *paths, most = known + 5 + (size_t)options->bind_count;
    for (char **bind = said[RUN_BIND]; bind && *bind; bind++) most++;
    operations = last_operation = allocate(most * sizeof *operations);
    if (!image->path && *image->tree) {
        add(fd_path(image->own, "/root/ch"), NULL, "/ch", REQUIRED);
        operations->read_only = 1;
    }
    if (CALL(faccessat, AT_FDCWD, CRAY_DIRECTORY) < 0) known -= CRAY_COUNT;
    for (size_t i = 0; i < known; i++)
        add(paths[i], NULL, paths[i], i < REQUIRED_COUNT ? need : OPTIONAL);
    if (home && !CALL(faccessat, AT_FDCWD, LOCAL_TIME)) {
        add(LOCAL_TIME, NULL, LOCAL_TIME, CREATED);
        last_operation[-1].covers_link = 1;
    }
    if (accounts->passwd) add(NULL, accounts->passwd, "/etc/passwd", need);
    if (accounts->group) add(NULL, accounts->group, "/etc/group", need);
    if (home && (said[RUN_BIND] || said[RUN_TMPDIR])) decline("a configuration of containers");
    const char *tmp = home ? NULL : variable("TMPDIR");
    if (said[RUN_TMPDIR] && !(tmp && *tmp)) tmp = place_for(*said[RUN_TMPDIR]);
    const char *at = JOINED("=", tmp && !CALL(faccessat, AT_FDCWD, tmp) ? tmp : "/tmp");
    int is_usual = equal(at, "=/tmp") && !options->private_tmp;
    for (EACH_SLOT) { /* launcher/host_places.py, launcher/mpi.py */
        const char *value = slot->text + slot->name;
        if (!options->private_tmp && !is_usual && begins(value, at) && !equal(value, at))
            decline("a file in $TMPDIR");
        if (begins_any(slot->text, sessions) && !(is_usual && begins(value, "=/tmp/")))
            decline("files of an MPI session");
    }
    add(options->private_tmp ? NULL : at + 1, NULL, "/tmp", need);
    for (char **bind = said[RUN_BIND]; bind && *bind; bind++)
        add_configured(*bind, options->write ? OPTIONAL : WISHED);
    for (struct bind *bind = options->binds; bind < options->binds + options->bind_count; bind++)
        add(bind->source, NULL, bind->target, CREATED);
    return image->is_seen || !(is_usual || options->private_tmp) || options->bind_count
           || options->write || said[RUN_BIND];
}

/* Decline if $USER is not the name of the account "own" of the host. */
static void check_user(const char *passwd, uint32_t own)
{
    struct status status;
    const char *line = JOINED("\n", variable("USER"), ":x:", decimal(own), ":");
    if (passwd && search(JOINED("\n", passwd), line)) return;
    passwd = contents(open_at(AT_FDCWD, "/etc/passwd", READ), "/etc/passwd", &status);
    if (!search(JOINED("\n", passwd), line)) decline("another account's $USER");
}

/* Return the account's storage directory: configuration/storage.py.  The account is "uid" here, and
 * "own" on the host.  Decline if only a name service can tell its name. */
static const char *usual_storage(const char *passwd, uint32_t uid, uint32_t own)
{
    struct status status;
    const char *user = variable("USER"), *path = JOINED(STORAGE_PARENT, user, STORAGE_SUFFIX);
    if (!user || !*user || find(user, '/')) decline("$USER");
    if (status_of(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &status) || status.uid != uid)
        check_user(passwd, own);
    return path;
}

/* Mount a directory on itself, so that no process can rename it, unless it is a mount already. */
static void pin(const char *path)
{
    struct status status;
    must(status_of(AT_FDCWD, path, 0, &status), path);
    if (status.attributes & STATX_ATTR_MOUNT_ROOT) return;
    must(CALL(mount, path, path, NULL, MS_BIND | MS_REC), path);
}

/* Pin each directory above the open one that this user can rename; return the path of that. */
static const char *pinned(long at)
{
    char *path = allocate(PATH_LIMIT), *end = path;
    const char *parent = "/";
    long size = CALL(readlinkat, AT_FDCWD, fd_path(at, ""), path, PATH_LIMIT - 1);
    if (size <= 0 || *path != '/') decline("a directory of Sundog's own");
    for (; (end = find(end + 1, '/')); *end = '/') {
        *end = 0;
        if (!CALL(faccessat, AT_FDCWD, parent, W_OK)) pin(path);
        parent = copied(path, length(path));
    }
    return path;
}

/* Cover a directory, or NULL, that has "mark" in all that is copied from now on: hidden.py. */
static void hide(const char *path, const char *mark)
{
    long at = path ? open_at(AT_FDCWD, path, DIRECTORY) : -1;
    if (at < 0 || CALL(faccessat, at, mark)) return;
    path = path == records ? path : pinned(at);
    must(CALL(mount, "sundog", path, "tmpfs", COVER_FLAGS, COVER_OPTIONS), "a cover");
}

static long copy_tree(const char *path, int read_only)
{
    static const uint64_t attributes[4] = {MOUNT_ATTR_RDONLY};
    const int link = equal(path, "/tmp") ? AT_SYMLINK_NOFOLLOW : 0; /* which can't be attached */
    long tree = CALL(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE | link);
    if (tree >= 0 && read_only)
        must(CALL(mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attributes, 32), path);
    return tree;
}

static void generate(struct operation *o, long scratch)
{
    char *place = JOINED("mount-", o->target + 1);
    for (char *p = place; *p; p++) *p = *p == '/' ? '%' : *p;
    must(CALL(mkdirat, scratch, place, 0777), place);
    if (o->text) {
        place = JOINED(place, "/file");
        long fd = must(open_at(scratch, place, O_WRONLY | O_CREAT | O_EXCL), place);
        must(CALL(fchmod, fd, 0644), place);
        write_all(fd, o->text);
    } else {
        const char *path = fd_path(scratch, JOINED("/", place));
        must(CALL(mount, "sundog", path, "tmpfs", MS_NOSUID | MS_NODEV), place);
    }
    o->tree = must(CALL(open_tree, scratch, place, OPEN_TREE_CLONE | O_CLOEXEC), place);
}

/* Make an empty file or directory and its parents, but only on the mount of the root itself. */
static void make_mount_point(const char *path, int is_directory)
{
    char *here = copied(path, length(path)), *end = here;
    long parent = must(open_within(AT_FDCWD, "/", DIRECTORY, INSIDE), "/");
    for (char *name = here; *end; name = end) {
        while (*name == '/') name++;
        for (end = name; *end && *end != '/'; end++) continue;
        if (end == name) break;
        char saved = *end;
        *end = 0;
        long child = open_within(AT_FDCWD, here, O_PATH, INSIDE);
        if (child == -ENOENT) {
            if (saved || is_directory) must(CALL(mkdirat, parent, name, 0755), here);
            else must(CALL(openat, parent, name, O_CREAT | O_EXCL | O_CLOEXEC, 0644), here);
            child = open_at(parent, name, O_PATH | O_NOFOLLOW);
        }
        parent = must(child, here);
        *end = saved;
    }
}

static void attach(const struct operation *o)
{
    const int flags = MOVE_MOUNT_F_EMPTY_PATH | (o->covers_link ? 0 : MOVE_MOUNT_T_SYMLINKS);
    struct status status;
    long result = CALL(move_mount, o->tree, "", AT_FDCWD, o->target, flags);
    if (result == -ENOENT && o->need == CREATED) {
        must(status_of(o->tree, "", 0, &status), o->target);
        make_mount_point(o->target, is_type(&status, S_IFDIR));
        result = CALL(move_mount, o->tree, "", AT_FDCWD, o->target, flags);
    }
    if (o->need != OPTIONAL) must(result, o->target);
}

static const char *escaped(const char *name)
{
    char *text = allocate(2 * length(name) + 1), *end = text;
    for (; *name; *end++ = *name++)
        if (*name == '\\' || *name == ':' || *name == ',') *end++ = '\\';
    return text;
}

/* Mount an overlay over "place"; its upper is in "scratch"; -1: the overlay has none. */
static void mount_overlay(const char *place, const char *first, const char *more, long scratch)
{
    const char *upper = "";
    if (scratch >= 0) {
        struct status status;
        must(status_of(AT_FDCWD, first, 0, &status), first);
        must(CALL(mkdirat, scratch, "upper", 0777), "upper");
        must(CALL(mkdirat, scratch, "work", 0777), "work");
        must(CALL(fchmodat, scratch, "upper", status.mode & 07777), "upper");
        upper = JOINED(",upperdir=", fd_path(scratch, "/upper"),
                       ",workdir=", fd_path(scratch, "/work"), ",volatile,xino=on");
    }
    char *data = JOINED("userxattr,index=off,lowerdir=", escaped(first), more, upper);
    if (length(data) >= PATH_LIMIT) decline("many layers");
    must(CALL(mount, "sundog", place, "overlay", scratch < 0 ? MS_RDONLY : 0, data), "overlay");
}

/* Return the first layer of an image: its own files. */
static const char *first_layer(const struct image *image)
{
    return image->shared ? JOINED(*image->layers, LAYER_TREE) : fd_path(image->own, "/root");
}

/* Return the layers of an image below the first one, for an overlay; this enters layers/. */
static const char *enter_layers(const struct image *image)
{
    char *more = "", **layer = image->layers + !!image->shared;
    for (; *layer && length(more) < PATH_LIMIT; layer++)
        more = JOINED(more, ":", escaped(*layer), LAYER_TREE);
    if (!image->shared) /* "../skeleton" is covered */
        more = JOINED(more, ":", fd_path(image->storage_at, "/skeleton"));
    must(CALL(chdir, fd_path(image->layers_at, "/layers")), "layers");
    return JOINED(more, image->in_files ? ",xino=on" : "");
}

/* Mount a directory below a tmpfs.  Only Python makes the mount points that the directory lacks. */
static void mount_overlaid(const char *directory, long scratch)
{
    long lower = must(open_at(AT_FDCWD, directory, DIRECTORY), directory);
    for (EACH_OPERATION) if (o->need == CREATED)
            must(open_within(lower, o->target, O_PATH, INSIDE | RESOLVE_IN_ROOT), o->target);
    must(CALL(chdir, "/"), "/");
    mount_overlay("/", directory, "", scratch);
}

/* Mount a file below a tmpfs.  Only what is attached can be a layer: container/squash_root.py. */
static void mount_overlaid_file(long file, long scratch)
{
    must(CALL(mkdirat, scratch, SQUASH_PLACE, 0777), SQUASH_PLACE);
    must(CALL(move_mount, file, "", scratch, SQUASH_PLACE, MOVE_MOUNT_F_EMPTY_PATH), SQUASH_PLACE);
    mount_overlay("/", fd_path(file, ""), "", scratch);
}

static long add_missing_points(const struct image *image, long root, long scratch);

/* Make the container, and change the root of this process to its root: container/plan.py. */
static void make_container(const struct image *image, const struct options *options,
                           const struct accounts *accounts, uint32_t uid)
{
    const char *directory = image->path, *size = options->overlay_size;
    struct status status;
    int may_show = plan(image, options, accounts);
    const char *state = may_show && said[RUN_STATE] ? place_for(*said[RUN_STATE]) : NULL;
    if (is_user_named) check_user(accounts->passwd, uid);
    if (state && CALL(mkdirat, AT_FDCWD, state, 0700) == -ENOENT) decline(state);
    if (may_show) {
        const char *named = variable(STORAGE_VARIABLE);
        hide(fd_path(image->storage_at, "/."), STORAGE_VERSION);
        if (options->storage && named) hide(named, STORAGE_VERSION);
        for (char **text = said[STORAGE_DIRECTORY]; text && *text; text++)
            hide(place_for(*text), STORAGE_VERSION);
        if (options->storage || (named && *named) || image->storage_at < 0
            || said[STORAGE_DIRECTORY])
            hide(usual_storage(accounts->passwd, options->uid, uid), STORAGE_VERSION);
        const char *runtime = variable(RUNTIME_VARIABLE);
        const char *usual = JOINED("/run/user/", decimal(uid));
        if (runtime && !equal(runtime, usual)) hide(JOINED(runtime, "/" RUNTIME_NAME), ".");
        hide(JOINED(usual, "/" RUNTIME_NAME), ".");
        hide(records, ".");
        hide(state, ".");
    }
    for (EACH_OPERATION) {
        if (o->source && (o->tree = copy_tree(o->source, o->read_only)) < 0 && o->need != OPTIONAL
            && !(o->need == WISHED && o->tree == -ENOENT))
            decline(o->source);
        if (o->need == WISHED) o->need = o->tree < 0 ? OPTIONAL : CREATED;
        if (o >= last_operation - options->bind_count && !status_of(o->tree, "", 0, &status)
            && status.mode == (S_IFDIR | COVER_MODE)) decline("a directory of Sundog's own");
    }
    if (image->in_files && !image->shared) /* below the cover, "tree" would lead to it by ".." */
        CALL(umount2, image->storage, MNT_DETACH);
    if (!directory && *image->tree)
        directory = fd_path(image->storage_at, JOINED("/trees/", image->tree));
    long root = directory && !size ? must(copy_tree(directory, !options->write), directory) : -1;
    if (!size && image->shown >= 0) root = image->shown;
    if (size && find(size, ',')) decline("the size of -W");
    const char *data = JOINED("mode=755,size=", size ? size : SCRATCH_SIZE);
    must(CALL(mount, "sundog", "/", "tmpfs", MS_NOSUID | MS_NODEV, data), "tmpfs");
    long scratch = must(open_at(AT_FDCWD, "/..", DIRECTORY), "/..");
    for (EACH_OPERATION) if (!o->source && !home) generate(o, scratch);
    if (root >= 0) must(CALL(move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), "/");
    else if (directory) mount_overlaid(directory, scratch);
    else if (image->shown >= 0) mount_overlaid_file(image->shown, scratch);
    else mount_overlay("/", first_layer(image), enter_layers(image), size ? scratch : -1);
    int may_add = root < 0 && !size; /* only layers can have one more */
    if (root < 0) root = must(open_at(AT_FDCWD, "/..", DIRECTORY), "/..");
    for (EACH_OPERATION) if (o->text && home) {
            o->text = with_account(root, o->target, o->text);
            generate(o, scratch);
        }
    if (may_add) root = add_missing_points(image, root, scratch);
    must(CALL(fchdir, root), "fchdir");
    must(CALL(pivot_root, ".", "."), "pivot_root");
    for (int i = 0; i < 2; i++) must(CALL(umount2, ".", MNT_DETACH), "umount2");
    for (EACH_OPERATION) if (o->tree >= 0) attach(o);
}
