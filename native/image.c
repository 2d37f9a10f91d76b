/* The image: its storage directory, its name, and the file "stack" that describes it. */

#define NOT_THERE "an image that is not there"

struct image {
    const char *storage, *path;   /* paths of the storage, and of a directory image or NULL */
    struct status storage_status; /* mode 0: there is no storage */
    long held, storage_at, own;   /* descriptors of the storage (of the host, then of the
                                     container's namespaces) and of images/NAME, or < 0 */
    long file, shown;             /* of an image that is one file, and of its mount, or < 0 */
    int is_seen;                  /* perhaps each container sees the storage, or another one */
    int in_files, is_missing;     /* some of the layers are files; no such name or path here */
    char **shared;                /* the path, device and inode of the shared store, or NULL */
    long layers_at;               /* the directory with layers/, in the container's namespaces */
    const char *tree, *workdir;
    char **layers, **command;     /* NULL ends both */
};

/* Return the directory below images/ for a reference: record/names.py.  NULL: it is a path.
 * This does not check references.  A text that is invalid finds no image: two texts without "%"
 * and "+" never have the same name. */
static const char *image_directory(const char *reference)
{
    const char *slash = find(reference, '/'), *at = find(reference, '@'), *tag = NULL;
    if (*reference == '/' || *reference == '.' || find(reference, '=')) return NULL;
    if (find(reference, '%') || find(reference, '+') || !*reference || length(reference) == 64)
        decline("a rare name"); /* 64 digits name a blob */
    if (begins(reference, "index.docker.io/")) decline("a registry's old name");
    int has_registry = begins(reference, "localhost/");
    for (const char *p = reference; slash && p < slash; p++)
        has_registry |= *p == '.' || *p == ':' || (*p >= 'A' && *p <= 'Z');
    for (const char *p = reference; *p && p != at; p++)
        tag = *p == ':' ? p : *p == '/' ? NULL : tag;
    int is_default = !has_registry || begins(reference, "docker.io/");
    const char *repository = has_registry ? slash + 1 : reference;
    const char *registry = copied(reference, (size_t)(repository - reference));
    char *name = JOINED(is_default ? "docker.io/" : registry,
                        is_default && !find(repository, '/') ? "library/" : "", repository,
                        tag || at ? "" : ":latest");
    for (char *p = name; *p; p++) *p = *p == '/' ? '%' : *p == ':' ? '+' : *p;
    return name;
}

static char **read_list(char **to, char **at, const char *end)
{
    for (uint32_t left = number(next_field(at, end), FILE_LIMIT); left; left--)
        *to++ = next_field(at, end);
    return to;
}

/* Read the fields of the file "stack": record/stack.py.  A NUL follows the data. */
static void read_stack(struct image *image, char *data, const struct status *status)
{
    size_t size = status->size;
    char *at = data, *end = data + size, *magic = next_field(&at, end);
    image->in_files = equal(magic, STACK_MAGIC_4);
    int is_marked = image->in_files || equal(magic, STACK_MAGIC_3);
    if (end[-1] || !(is_marked || equal(magic, STACK_MAGIC))) decline("an unknown stack");
    image->tree = next_field(&at, end), image->workdir = next_field(&at, end);
    next_field(&at, end); /* USER */
    image->layers = allocate((size + 1) * sizeof(char *));
    image->command = (char **)allocate((size + 2) * sizeof(char *)) + 1; /* [-1]: the image */
    read_list(image->layers, &at, end);
    read_list(read_list(image->command, &at, end), &at, end);
    if (is_marked) next_field(&at, end); /* whose owners are guessed: for --notify */
    if (at != end) decline("a stack with more in it");
}

/* Find the storage directory: launcher/storage.py.  This process must be in the host's namespaces:
 * in the container's all users except one have the same ID. */
static void find_storage(struct image *image, const struct options *options, uint32_t uid)
{
    struct status *status = &image->storage_status;
    const char *path = options->storage, *user = variable("USER");
    if (!path) path = variable(STORAGE_VARIABLE);
    if (!options->storage && (!path || !*path)) path = configured_storage();
    if (!path || !*path) {
        if (options->storage || !user || !*user || find(user, '/')) decline("$USER");
        path = JOINED(STORAGE_PARENT, user, STORAGE_SUFFIX);
    } else if (!options->storage && *path != '/') decline("a relative storage");
    size_t size = length(path);
    while (size > 1 && path[size - 1] == '/') size--; /* "link/" would follow the link */
    image->storage = path = copied(path, size);
    long held = open_within(AT_FDCWD, path, DIRECTORY, RESOLVE_NO_SYMLINKS); /* keeps the inode */
    image->is_seen = held == -ELOOP || begins(path, "/tmp/") || begins(path, "/dev/")
                     || begins(records, "/tmp/") || begins(records, "/dev/")
                     || (options->storage && variable(STORAGE_VARIABLE))
                     || (said[STORAGE_DIRECTORY] && said[STORAGE_DIRECTORY][1])
                     || (said[STORAGE_DIRECTORY]
                         && (options->storage || variable(STORAGE_VARIABLE)));
    if (held == -ENOENT && !options->storage) return;
    if (held == -ELOOP) {
        must(status_of(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, status), "a storage that is not there");
        if (status->uid && status->uid != uid) decline("a link of another user");
        held = open_at(AT_FDCWD, path, DIRECTORY);
    }
    must(status_of(must(held, "a storage that is not there"), "", 0, status), "the storage");
    if (status->uid != uid || status->mode & OPEN_TO_OTHERS) decline("a storage for others");
    image->held = held;
}

/* Open the same directory in this mount namespace; return -1 if there is no storage. */
static long open_storage(struct image *image)
{
    struct status now, *before = &image->storage_status;
    if (!before->mode) return -1;
    long storage = must(open_at(AT_FDCWD, image->storage, DIRECTORY), "the storage");
    must(status_of(storage, "", 0, &now), "the storage");
    if (now.inode != before->inode || now.device[0] != before->device[0]
        || now.device[1] != before->device[1])
        decline("a storage that was replaced");
    return storage;
}

static const char *find_directory(const char *path)
{
    struct status status;
    char *here = allocate(PATH_LIMIT);
    must(status_of(AT_FDCWD, path, 0, &status), NOT_THERE);
    if (!*path || !is_type(&status, S_IFDIR)) decline("an image of another kind");
    must(CALL(faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS), "a closed directory");
    if (*path != '/' && (CALL(getcwd, here, PATH_LIMIT) < 0 || *here != '/')) decline("getcwd");
    path = *path == '/' ? path : JOINED(here, "/", path);
    for (const char *whole = JOINED(path, "/"), *at = whole; (at = find(at, '/')); at++)
        if (begins(at, "/images/") || begins(at, "/layers/") || begins(at, "/trees/")
            || (begins(at, "/img/") && !status_of(AT_FDCWD, JOINED(copied(whole,
                (size_t)(at - whole)), "/version"), 0, &status)))
            decline("perhaps a directory of the storage");
    return path;
}

/* Read what launcher/shared_program.py has found: a shared store, and the stack of the image. */
static void read_shared(struct image *image, char *data, long size)
{
    struct status status = {0};
    char *at = data;
    if (size <= 0 || size == FILE_LIMIT) decline(NOT_THERE);
    image->shared = allocate(4 * sizeof(char *));
    for (int i = 0; i < 4; i++) image->shared[i] = next_field(&at, data + size);
    status.size = (uint64_t)(data + size - at);
    read_stack(image, at, &status);
    if (*image->tree) decline("a flat image of a shared store");
    image->in_files = 1, image->is_missing = 0;
}

/* Open the shared store in this mount namespace. */
static long open_shared(const struct image *image)
{
    struct status now;
    long store = must(open_at(AT_FDCWD, image->shared[0], DIRECTORY), "the shared store");
    must(status_of(store, "", 0, &now), "the shared store");
    if (!equal(image->shared[1], decimal(now.device[0])) || now.inode >> 63
        || !equal(image->shared[2], decimal(now.device[1]))
        || !equal(image->shared[3], decimal((long)now.inode)))
        decline("a shared store that was replaced");
    return store;
}

/* Find the image: an image in the storage takes precedence over a directory.  This process is in
 * the container's namespaces, but still has the host's root. */
static void find_image(struct image *image, const struct options *options)
{
    const char *reference = options->operands[0], *name = image_directory(reference);
    struct status status;
    image->own = -ENOENT, image->layers_at = image->storage_at = open_storage(image);
    if (image->shared) {
        image->layers_at = open_shared(image);
        return;
    }
    if (name && image->storage_at >= 0
        && (image->own = open_at(image->storage_at, JOINED("images/", name), DIRECTORY)) < 0
        && ((image->own != -ENOENT && image->own != -ENOTDIR)
            || !CALL(faccessat, image->storage_at, JOINED("platforms/", name))))
        decline("the image, or its platform"); /* record/stored_entry.py */
    if (image->own >= 0 && options->write) decline("-w with an image by name");
    image->is_missing = image->own < 0 && name
                        && status_of(AT_FDCWD, reference, 0, &status) == -ENOENT;
    if (image->is_missing) return;
    if (image->own < 0) { image->path = find_directory(reference); return; }
    int64_t now[2] = {0};
    long stack = open_at(image->own, "stack", READ);
    read_stack(image, contents(stack, "stack", &status), &status);
    must(CALL(clock_gettime, 0, now), "clock_gettime"); /* note the use: record/stack.py */
    if (now[0] - status.modified[0] > USE_FRESH) CALL(utimensat, stack, NULL, NULL, 0);
}
