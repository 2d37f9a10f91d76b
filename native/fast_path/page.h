/* What the supervisor tells the programs of its container: see notify/state/page.py. */
struct record {
    uint64_t inode, birth;
    uint32_t device, uid, gid, special;
    uint16_t kept_mode, more_mode;
    uint32_t signs;
};
_Static_assert(sizeof(struct record) == RECORD_SIZE, "the layout of page.py");
struct page {
    char magic[16];
    uint32_t state, sequence, device_count;
    char to_devices[DEVICES_PLACE - 28];
    uint64_t devices[DEVICE_LIMIT];
    char to_set[WORDS_SIZE - DEVICES_PLACE - 8 * DEVICE_LIMIT];
    unsigned char set[(1 << SET_BITS) / 8];
    struct record records[1 << RECORD_BITS];
};
_Static_assert(sizeof(struct page) == PAGE_SIZE, "the layout of page.py");

/* The bytes come from the file, so the supervisor's changes of the file show. */
__attribute__((section(".page"), aligned(4096), used))
static const volatile struct page page = {.magic = PAGE_MAGIC};

/* Keep the order of the accesses to memory before and after; the processor keeps that of reads. */
#define ORDERED __asm__ volatile("" : : : "memory")

/* Whether the process has a filter of its own, which may forbid the calls that only this library
 * makes: see filter.c. */
__attribute__((visibility("hidden"))) char is_filtered;

/* The state; 0 if the loader has put the library elsewhere, where the filter does not know it. */
static inline uint32_t state(void)
{
    return (long)fast_call == FAST_PLACE && !is_filtered ? page.state : 0;
}

static int is_recorded(uint64_t inode)
{
    uint64_t product = inode * SET_FACTOR;
    for (int part = 1; part <= 2; part++) {
        uint64_t place = product >> (64 - part * SET_BITS) & ((1 << SET_BITS) - 1);
        if (!(page.set[place >> 3] >> (place & 7) & 1)) return 0;
    }
    return 1;
}

/* The record of an inode number that ``is_recorded``, or NULL if only the supervisor knows it.  The
 * file may be gone, and another one have its number: see ``birth``. */
static const volatile struct record *record_of(uint64_t inode, uint64_t device)
{
    uint64_t place = inode * SET_FACTOR >> (64 - RECORD_BITS);
    for (int other = 0; other < 2; other++) {
        const volatile struct record *record = &page.records[place ^ other];
        if (record->inode == inode && record->device == device) return record;
    }
    return 0;
}

/* Whether a device is a file system whose files without a record are root's. */
static int is_plain(uint64_t device)
{
    uint32_t count = page.device_count;
    for (uint32_t at = 0; at < count && at < DEVICE_LIMIT; at++)
        if (page.devices[at] == device) return 1;
    return 0;
}

/* Whether this process is root with all capabilities.  The kernel keeps the index of its identity,
 * and tells it to this one instruction: notify/tracee/tag.py. */
static int is_root(void)
{
    uint32_t now = state();
    uint64_t limit[2];
    if (!(now & SERVED)) return 0;
    if (!(now & HAS_USERS)) return 1;
    if (FAST(getrlimit, RLIMIT_LOCKS, limit)) return 0;
    return limit[0] >> 32 != TAG_MARK || !(limit[0] & TAG_INDEX);
}
