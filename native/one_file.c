/* An image that is one file, SquashFS, and layers that are files: launcher/one_file.py,
 * launcher/file_server.py.  The server of FUSE is a process of the host, in Python.  This program
 * starts it outside of the container's namespaces, mounts in those, and passes the device on. */

static int channel[2]; /* to the server */

/* Open a file with SquashFS; return -1 for anything else. */
static long open_squashfs(const char *path)
{
    struct status status;
    char start[SIF_MAGIC_PLACE + sizeof SIF_MAGIC] = {0};
    if (status_of(AT_FDCWD, path, 0, &status) || !is_type(&status, S_IFREG)) return -1;
    long file = open_at(AT_FDCWD, path, READ);
    if (file < 0 || CALL(read, file, start, sizeof start - 1) < 0) return -1;
    if (begins(start + SIF_MAGIC_PLACE, SIF_MAGIC)
        || (begins(start, OLD_IMAGE_START) && begins(start + OLD_IMAGE_PLACE, SQUASHFS_MAGIC)))
        decline("a file of Apptainer");
    if (begins(start, SQUASHFS_MAGIC)) return file;
    CALL(close, file);
    return -1;
}

/* Open the image if it is one file.  A name in the storage takes precedence. */
static void find_one_file(struct image *image, const struct options *options)
{
    const char *path = options->operands[0];
    for (struct bind *bind = options->binds; bind < options->binds + options->bind_count; bind++)
        if (!equal(bind->source, bind->target) && open_squashfs(bind->source) >= 0)
            decline("a bind of SquashFS");
    image->file = open_squashfs(path);
    const char *name = image->file < 0 ? NULL : image_directory(path);
    long storage = name ? open_storage(image) : -1;
    if (storage < 0) return;
    if (CALL(faccessat, storage, JOINED("images/", name)) != -ENOENT
        || CALL(faccessat, storage, JOINED("platforms/", name)) != -ENOENT) image->file = -1;
    CALL(close, storage);
}

/* Return the interpreter beside this program in a virtual environment, or that of sundog-python. */
static const char *find_interpreter(void)
{
    struct status status, own;
    const char *ours = beside("python3"), *mark = beside("../pyvenv.cfg");
    /* In a container, by a link to /proc/self/exe, the path would lead to an image's program. */
    if (status_of(AT_FDCWD, itself, 0, &status) || status_of(AT_FDCWD, "/proc/self/exe", 0, &own)
        || status.inode != own.inode || status.device[0] != own.device[0]
        || status.device[1] != own.device[1])
        decline("a program of another root");
    if (!CALL(faccessat, AT_FDCWD, mark) && !CALL(faccessat, AT_FDCWD, ours, X_OK)) return ours;
    long script = open_at(AT_FDCWD, beside("sundog-python"), READ);
    const char *line = contents(script, "an interpreter", &status);
    if (!begins(line, "#!/") || begins(line, "#!/bin/sh")) decline("an interpreter");
    return interpreter_of(line + 2);
}

/* A server: a joined module, and what it gets: a descriptor, or the name of an image and NULL, and
 * shared stores. */
struct server { const char *module; long given; const char *name, **stores; };

/* Execute the server.  Its messages come by the channel.  Python starts faster without streams. */
static _Noreturn void execute_server(const struct server *server, char **strings)
{
    size_t count = 0;
    while (server->stores && server->stores[count]) count++;
    const char *first[] = {
        find_interpreter(), "-I", "-S", "-E", "-c", SERVER_PROGRAM, beside(""), server->module,
        decimal(must(CALL(fcntl, channel[1], F_DUPFD, 3), "fcntl")), /* open at the exec */
        server->name};
    if (!server->name)
        first[9] = decimal(must(CALL(fcntl, server->given, F_DUPFD, 3), "fcntl"));
    const char **words = allocate(sizeof first + (count + 1) * sizeof *words);
    memcpy(words, first, sizeof first);
    if (count) memcpy(words + sizeof first / sizeof *first, server->stores, count * sizeof *words);
    for (int fd = 0; fd < 3; fd++) CALL(close, fd);
    CALL(execve, *words, words, strings);
    leave(1);
}

/* Start the server in a session of its own.  The command does not know this process, because its
 * parent ends.  Both run on this stack, so use no local variable later. */
__attribute__((noinline)) static void start_server(const struct server *server, char **strings)
{
    must(CALL(socketpair, AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC, 0, channel), "socketpair");
    is_child = 1;
    long pid = VFORK(0);
    if (!pid) {
        must(CALL(setsid, 0), "setsid");
        if (!VFORK(0)) execute_server(server, strings);
        leave(0);
    }
    is_child = 0;
    await(must(pid, "clone"));
    CALL(close, channel[1]);
}

/* Make a detached mount of FUSE: fuse/device.py. */
static long mount_fuse(long device, const char *uid, const char *gid)
{
    const char *const settings[][2] = {
        {"source", "sundog"}, {"fd", decimal(device)}, {"rootmode", "40000"}, {"user_id", uid},
        {"group_id", gid}, {"default_permissions", NULL}, {"ro", NULL}};
    long context = must(CALL(fsopen, "fuse", FSOPEN_CLOEXEC), "fsopen");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        must(CALL(fsconfig, context, settings[i][1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                  settings[i][0], settings[i][1]), "fsconfig");
    must(CALL(fsconfig, context, FSCONFIG_CMD_CREATE), "fsconfig");
    const int attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    long tree = must(CALL(fsmount, context, FSMOUNT_CLOEXEC, attributes), "fsmount");
    CALL(close, context);
    return tree;
}

/* Read what the image has at a path in its root; return < 0 if there is nothing. */
#define open_inside(root, path, flags) \
    open_within(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/* Read the default command.  Decline an image whose programs need a start of their own. */
static void read_own_command(struct image *image, long root)
{
    static const char *const others[] = {SIF_RUN, SIF_RUNSCRIPT, ENROOT_ENTRY};
    struct status status;
    long stack = open_inside(root, OWN_COMMAND, READ);
    image->tree = "";
    if (stack >= 0) {
        read_stack(image, contents(stack, OWN_COMMAND, &status), &status);
        if (*image->tree || *image->layers) decline("layers in a file");
        image->in_files = 0; /* the image says so */
        return;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (open_inside(root, others[i], O_PATH) >= 0) decline("an image of another program");
}

/* Return a detached mount in the container's namespaces, whose server is ready. */
static long mount_served(const struct options *options)
{
    uint32_t request[4] = {0, options->uid, options->gid, 0};
    char answer[sizeof SERVER_READY] = {0};
    int device = (int)must(open_at(AT_FDCWD, FUSE_DEVICE, O_RDWR), FUSE_DEVICE);
    struct { uint64_t length; int level, type, fd, padding; } control = {
        20, SOL_SOCKET, SCM_RIGHTS, device, 0};
    struct part part = {(char *)request, sizeof request};
    struct message message = {0, 0, &part, 1, &control, sizeof control, 0};
    long tree = mount_fuse(device, decimal(options->uid), decimal(options->gid));
    must(CALL(sendmsg, channel[0], &message, MSG_NOSIGNAL), "the server of a file");
    CALL(close, device); /* only the server has it: if that ends, no program waits for it */
    if (CALL(read, channel[0], answer, sizeof answer) != sizeof answer - 1
        || !equal(answer, SERVER_READY))
        decline("the server of a file");
    return tree;
}

static void mount_one_file(struct image *image, const struct options *options)
{
    if (options->write) decline("-w with a file");
    image->storage_at = open_storage(image);
    image->shown = mount_served(options);
    read_own_command(image, image->shown);
}

/* Mount the layers of the store where "tree" of each leads: fuse/layer_server.py. */
static void show_layers(const struct image *image, const struct options *options)
{
    long tree = mount_served(options);
    must(CALL(move_mount, tree, "", image->layers_at, SHOWN, MOVE_MOUNT_F_EMPTY_PATH), SHOWN);
}
