/* Walks over directories.  opendir(3) and readdir(3) of glibc call fstat and getdents64 of glibc,
 * and localtime(3), which prints the times of files, calls stat.  No loader puts others in their
 * place.  So the first opendir(3) or pthread_create(3) of a process overwrites the entries of these
 * three, if the process has one thread until then, and the system lets it (SELinux: execmod).
 * Other programs pay nothing. */
enum { PROT_READ_EXEC = 5, PROT_ALL = 7, ENTRY_SIZE = 12, SIG_SETMASK = 2 };

SHOWN long getdents64(int fd, void *to, size_t size)
{
    CHOSEN((state() & (SERVED | HAS_DEVICES)) == SERVED, getdents64, fd, to, size);
}

/* Let a function of glibc begin with a jump. */
static void redirect(const char *name, void *target)
{
    static const unsigned char marker[] = {0xf3, 0x0f, 0x1e, 0xfa}; /* endbr64 */
    struct wanted own = find(name);
    unsigned char *at = own.found;
    if (!at || own.size < sizeof marker + ENTRY_SIZE) return;
    if (*(const uint32_t *)at == *(const uint32_t *)marker) at += sizeof marker;
    uint64_t first = (uint64_t)at & -4096ul, end = ((uint64_t)at + ENTRY_SIZE + 4095) & -4096ul;
    if (SLOW(mprotect, first, end - first, PROT_ALL)) return;
    at[0] = 0x48, at[1] = 0xb8; /* mov $target, %rax */
    for (int byte = 0; byte < 8; byte++) at[2 + byte] = (uint64_t)target >> (8 * byte);
    at[10] = 0xff, at[11] = 0xe0; /* jmp *%rax */
    SLOW(mprotect, first, end - first, PROT_READ_EXEC);
}

static void prepare_walk(void)
{
    static int is_prepared;
    uint64_t all = ~0ull, before;
    if (is_prepared || !(state() & SERVED) || !has_one_thread()) return;
    is_prepared = 1;
    if (SLOW(rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all)) return;
    redirect("fstat64", fstat);
    redirect("stat64", stat);
    redirect("getdents64", getdents64);
    SLOW(rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof all);
}

SHOWN void *opendir(const char *path)
{
    static void *kept;
    void *(*own)(const char *) = next("opendir", &kept);
    prepare_walk();
    if (own) return own(path);
    returned(-ENOSYS);
    return 0;
}
SHOWN void *fdopendir(int fd)
{
    static void *kept;
    void *(*own)(int) = next("fdopendir", &kept);
    prepare_walk();
    if (own) return own(fd);
    returned(-ENOSYS);
    return 0;
}
SHOWN int pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *given)
{
    static void *kept;
    int (*own)(void *, const void *, void *(*)(void *), void *) = next("pthread_create", &kept);
    prepare_walk();
    return own ? own(thread, attributes, start, given) : ENOSYS;
}
