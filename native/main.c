/* ch-run: execute a command in a container, or else the launcher in Python.
 * A child process makes the container in namespaces of its own.  It shares memory and descriptors
 * with this process, which waits.  Then this process joins the namespaces and executes the command.
 * If the child fails or meets a rare case, this process is unchanged.  It executes the launcher
 * with the same arguments, and the launcher makes the container or reports the error. */
#include "kernel.h"
#include "text.c"
#include "environment.c"
#include "settings.c"
#include "options.c"
#include "image.c"
#include "apptainer.c"
#include "accounts.c"
#include "running.c"
#include "container.c"
#include "points.c"
#include "program.c"
#include "join.c"
#include "one_file.c"

static struct {
    size_t count;            /* of the arguments */
    char **words, **strings; /* the original arguments and environment */
    struct options options;
    struct image image;
    int is_made, is_asked, is_exec; /* is_asked: never hand over; is_exec: of apptainer.c */
    int is_served;                  /* a server has been started */
    long users, mounts, directory; /* descriptors: namespaces, working directory */
    long last_step;                /* of a command in a group */
    const char *program, *declined;
    char **environment;
} self = {.image = {.file = -1, .shown = -1}};

/* Return an error's line.  An image may choose the text, so control characters become "?". */
static char *error_line(const char *what, const char *why, const char *more)
{
    memory_limit = 2 * MEMORY;
    char *start = JOINED(own_name, "[", decimal(CALL(getpid, 0)), "]: error: ");
    char *line = JOINED(home ? FATAL_START : start, what, why ? why : "?", more, "\n");
    for (char *at = line; at[1]; at++) *at = *at < ' ' || *at > '~' ? '?' : *at;
    return line;
}

/* Print an error and exit. */
static _Noreturn void fail(int status, const char *what, const char *why, long error)
{
    const char *line = error_line(what, why, error ? JOINED(": error ", decimal(-error)) : "");
    CALL(write, 2, line, length(line));
    leave(home ? EXIT_FATAL : status);
}

static _Noreturn void execute_other(void);

/* Execute the stub of the command.  "/bin/sh" overwrites the number of arguments on the stack. */
static _Noreturn void decline(const char *why)
{
    self.declined = why;
    if (is_child) leave(1);
    if (self.is_asked) fail(EXIT_RUN, "declined: ", why, 0);
    memory_limit = 2 * MEMORY; /* the arena may be full */
    if (self.is_exec) self.is_exec = 0, execute_other();
    self.words[-1] = "/bin/sh", self.words[0] = JOINED(beside(STUBS), own_name);
    long error = CALL(execve, self.words[-1], self.words - 1, self.strings);
    fail(EXIT_RUN, "can't start the launcher by /bin/sh: ", self.words[0], error);
}

/* Execute a command that is another one than ch-run, without a shell: packaging/start. */
static _Noreturn void execute_other(void)
{
    const char *first[] = {find_interpreter(), "-I", "-S", beside(START_PROGRAM), itself, ""};
    const char *words[self.count + 6];
    memcpy(words, first, sizeof first);
    memcpy(words + 6, self.words + 1, self.count * sizeof *words); /* and the NULL */
    CALL(execve, *words, words, self.strings);
    decline("an interpreter");
}

/* Find what the command needs.  The child is in the container. */
static _Noreturn void finish(const char *directory)
{
    if (home) use_variables();
    else change_environment(self.options.expand);
    self.environment = environment_strings();
    self.directory = -1;
    if (!equal(directory, "/")) {
        self.directory = open_within(AT_FDCWD, directory, DIRECTORY, RESOLVE_NO_MAGICLINKS);
        must(CALL(fchdir, must(self.directory, "-c")), "-c");
    }
    self.program = find_program(self.options.operands[1]);
    self.is_made = 1;
    leave(0);
}

/* Make the container, or enter that of the group.  The child runs this. */
static _Noreturn void make(uint32_t uid, uint32_t gid)
{
    struct options *options = &self.options;
    struct image *image = &self.image;
    struct accounts accounts = {0};
    const char *directory = options->directory ? options->directory : "/";
    is_child = 1;
    if (options->join) {
        must(CALL(setns, self.users, CLONE_NEWUSER), "setns");
        must(CALL(setns, self.mounts, CLONE_NEWNS), "setns");
        if (image->file >= 0) read_own_command(image, must(open_at(AT_FDCWD, "/", DIRECTORY), "/"));
        finish(directory);
    }
    enter_namespaces(options->uid, options->gid, uid, gid);
    if (image->file < 0) find_image(image, options);
    else mount_one_file(image, options);
    /* A server can't be started here, nor the owners of shared stores seen. */
    if (home && image->is_missing) decline(NOT_THERE);
    if (image->is_missing || (image->in_files && !self.is_served)) leave(0);
    if (image->in_files) show_layers(image, options);
    if (home && (image->own < 0 || *image->tree)) decline("an image without layers");
    if (home) find_variables(image, options->operands[0]);
    find_accounts(&accounts, image->storage_at, options);
    if (image->file < 0) find_note(image);
    if (!options->operands[1]) {
        if (!image->command || !*image->command) decline("no command");
        options->operands = image->command - 1, put("PATH=" ENGINE_PATH);
        if (!options->directory && *image->workdir) directory = image->workdir;
        first_change = image->shown >= 0 && open_inside(image->shown, OWN_VARIABLES, O_PATH) < 0;
        changes[0].kind = SET_FROM_IMAGE, changes[0].delimiter = '\n';
    }
    long proc = must(open_at(AT_FDCWD, "/proc/self", DIRECTORY), "/proc/self");
    make_container(image, options, &accounts, uid);
    if (!options->uid) /* root's capabilities must not reach the mounts */
        enter_namespaces(options->uid, options->gid, options->uid, options->gid);
    self.users = must(open_at(proc, "ns/user", O_RDONLY), "ns/user");
    self.mounts = must(open_at(proc, "ns/mnt", O_RDONLY), "ns/mnt");
    finish(directory);
}

/* Start the child like vfork(2).  The child runs on this stack, so use no local variable later. */
__attribute__((noinline)) static void attempt(uint32_t uid, uint32_t gid)
{
    long pid = VFORK(CLONE_FILES);
    if (!pid) make(uid, gid);
    await(must(pid, "clone"));
    is_child = 0;
}

static void serve(struct server server)
{
    start_server(&server, self.strings);
    self.is_served = 1;
}

/* Start the server of an image that the first child has found or missed; tell whether there is one.
 * A look before would be calls more for each start. */
static int start_late_server(void)
{
    struct image *image = &self.image;
    struct options *options = &self.options;
    if (self.is_served || self.declined) return 0;
    if (image->is_missing) {
        char *found = allocate(FILE_LIMIT + 1);
        serve((struct server){"ch_run_shared_layers", -1, *options->operands, options->stores});
        read_shared(image, found, CALL(read, channel[0], found, FILE_LIMIT));
    } else if (image->in_files)
        serve((struct server){"ch_run_layers", must(open_at(image->held, "layers", DIRECTORY),
                                                    "layers"), NULL, NULL});
    return self.is_served;
}

/* Set no_new_privs, so that execve(2) adds no privileges, and install the filters. */
static void confine(int typing_is_possible)
{
    static const struct filter_line fake_root[] = {FAKE_ROOT}, no_typing[] = {NO_TYPING};
    static const struct { uint16_t n; const struct filter_line *lines; } programs[] = {
        {sizeof fake_root / sizeof *fake_root, fake_root},
        {sizeof no_typing / sizeof *no_typing, no_typing}};
    const int flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    must(CALL(prctl, PR_SET_NO_NEW_PRIVS, 1), "no_new_privs");
    for (int i = !self.options.seccomp; i <= typing_is_possible; i++) {
        must(CALL(seccomp, SECCOMP_SET_MODE_FILTER, flags, programs + i), "seccomp");
        if (!i && CALL(kexec_load, 0)) decline("a filter without effect");
    }
}

/* The entry point.  The stack holds the number of arguments, the arguments, NULL, the environment,
 * NULL, and the auxiliary vector: System V ABI, getauxval(3). */
__attribute__((used)) static _Noreturn void begin(long *stack)
{
    struct options *options = &self.options;
    uint32_t uid = options->uid = (uint32_t)CALL(geteuid, 0);
    uint32_t gid = options->gid = (uint32_t)CALL(getegid, 0);
    struct status status;
    uint64_t limits[2] = {0};
    self.count = (size_t)*stack, self.words = (char **)(stack + 1);
    char **string = self.strings = self.words + self.count + 1;
    for (; *string; string++) self.is_asked |= equal(*string, "SUNDOG_START=compiled");
    for (long *auxiliary = (long *)string + 1; *auxiliary; auxiliary += 2)
        if (*auxiliary == AT_SECURE && auxiliary[1]) fail(EXIT_RUN, SET_ID_REFUSAL, "", 0);
    if (!self.count) fail(EXIT_RUN, "no arguments", "", 0);
    find_itself();
    self.is_exec = equal(own_name, "sundog") && is_exec(self.words, self.count);
    if (!self.is_exec && !equal(own_name, "ch-run")) execute_other();
    for (string = self.strings; *string; string++)
        if (equal(*string, "SUNDOG_START=python")) decline("asked to");
        else add_slot(*string);
    if (self.count < 2 || variable("POSIXLY_CORRECT")) decline("a rare start");
    must(CALL(prlimit64, 0, RLIMIT_FSIZE, NULL, limits), "prlimit");
    if (*limits < FILE_LIMIT) decline("files that may not be written"); /* Python gets no SIGXFSZ */
    read_settings(uid);
    char **log = said[LOG_PLACE];
    if (log && *log && !equal(*log, NO_LOG)) decline("a log");
    if (self.is_exec) read_exec(options, self.words, self.count);
    else read_options(options, self.words + 1, self.count);
    if (said[RUN_TMPFS] && *said[RUN_TMPFS]) decline("a tmpfs of the configuration");
    if (options->uid != uid && variable("PMIX_SECURITY_MODE")) decline("a warning");
    if (options->join) {
        if (!options->operands[1]) decline("a group and the image's command");
        join_group(options->operands[0], uid, options->tag, &self.users, &self.mounts);
        must(CALL(prctl, PR_SET_DUMPABLE, 0), "dumpable"); /* programs in the container see it */
        self.last_step = open_last_step();
        /* The first of the group has read the file.  An open is a call to a shared file system. */
        if (!status_of(AT_FDCWD, options->operands[0], 0, &status) && is_type(&status, S_IFREG))
            self.image.file = 0; /* a file, which nothing reads */
    } else {
        find_storage(&self.image, options, uid);
        find_one_file(&self.image, options);
        if (self.image.file >= 0)
            serve((struct server){"ch_run_fuse", self.image.file, NULL, NULL});
    }
    char allowed = '1';
    long sysctl = open_at(AT_FDCWD, LEGACY_TIOCSTI, O_RDONLY);
    attempt(uid, gid);
    if (start_late_server()) attempt(uid, gid);
    if (!self.is_made) decline(self.declined);
    if (sysctl >= 0) CALL(read, sysctl, &allowed, 1);
    confine(allowed != '0');
    must(CALL(setns, self.users, CLONE_NEWUSER), "setns");
    /* This process has changed.  From here on it can't hand over to the launcher. */
    long error = CALL(setns, self.mounts, CLONE_NEWNS);
    if (error == 0 && self.directory >= 0) error = CALL(fchdir, self.directory);
    if (error < 0) fail(EXIT_RUN, "can't join the container", "", error);
    char **words = options->operands + 1;
    if (self.last_step) { /* programs in the container could make a link of self.program */
        *--words = (char *)self.program;
        *--words = "";
        *--words = JOINED((char[]){EXIT_EXEC, 0}, error_line("can't execve(2): ", self.program,
                                                             ": " LATE_FAILURE));
        error = CALL(execveat, self.last_step, "", words, self.environment, AT_EMPTY_PATH);
    } else error = CALL(execve, self.program, words, self.environment);
    fail(EXIT_EXEC, "can't execve(2): ", options->operands[1], error);
}

__asm__(".globl _start\n_start: " START);
