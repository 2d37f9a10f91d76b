/* Find the function that this library hides: the C library's own, by which some calls must be made.
 * dlsym(3) would do, but before glibc 2.34 it is in a library that few programs have.
 * Sources: elf(5), dl_iterate_phdr(3), and the GNU hash table as GNU ld writes it. */
struct segment { uint32_t type, flags; uint64_t offset, place, physical, size, room, alignment; };
struct object { uint64_t base; const char *name; const struct segment *segments; uint16_t count; };
struct symbol { uint32_t name; unsigned char type, other; uint16_t section; uint64_t place, size; };
struct entry { int64_t tag; uint64_t value; };
enum { PT_DYNAMIC = 2, DT_STRTAB = 5, DT_SYMTAB = 6, SHN_UNDEF = 0, STT_FUNC = 2 };
enum { DT_HASH = 4, DT_GNU_HASH = 0x6ffffef5, DT_VERSYM = 0x6ffffff0, VERSION_IS_OLD = 0x8000 };
extern int dl_iterate_phdr(int (*)(struct object *, size_t, void *), void *) WEAK;
/* This library's own table of names: layout.ld. */
extern const uint32_t own_table[] __attribute__((visibility("hidden")));
struct wanted { const char *name; void *found; uint64_t size; };

static int is_same(const char *one, const char *other)
{
    while (*one && *one == *other) one++, other++;
    return *one == *other;
}

/* Whether a symbol is the wanted one, in its present version, and not in this library. */
static int is_wanted(struct object *object, const struct symbol *symbols, const char *names,
                     const uint16_t *versions, uint32_t at, struct wanted *wanted)
{
    const struct symbol *symbol = symbols + at;
    uint64_t found = object->base + symbol->place;
    if (symbol->section == SHN_UNDEF || (symbol->type & 15) != STT_FUNC
        || (versions && versions[at] & VERSION_IS_OLD)
        || found - (uint64_t)&fast_call < PAGE_PLACE - FAST_PLACE
        || !is_same(names + symbol->name, wanted->name)) return 0;
    wanted->found = (void *)found, wanted->size = symbol->size;
    return 1;
}

static int look_into(struct object *object, size_t size, void *data)
{
    struct wanted *wanted = data;
    const struct entry *entry = 0;
    const char *names = 0;
    const struct symbol *symbols = 0;
    const uint32_t *table = 0;
    const uint16_t *versions = 0;
    const uint32_t *old_table = 0;
    (void)size;
    for (int at = 0; at < object->count; at++)
        if (object->segments[at].type == PT_DYNAMIC)
            entry = (const void *)(object->base + object->segments[at].place);
    for (; entry && entry->tag; entry++) {
        /* glibc adds the base to what it has loaded. */
        uint64_t base = entry->value < object->base ? object->base : 0;
        const void *place = (void *)(entry->value + base);
        if (entry->tag == DT_STRTAB) names = place;
        if (entry->tag == DT_SYMTAB) symbols = place;
        if (entry->tag == DT_GNU_HASH) table = place;
        if (entry->tag == DT_HASH) old_table = place;
        if (entry->tag == DT_VERSYM) versions = place;
    }
    if (!names || !symbols) return 0;
    if (table && table[0]) {
        uint32_t hash = 5381;
        for (const char *at = wanted->name; *at; at++) hash = hash * 33 + (unsigned char)*at;
        const uint32_t *buckets = table + 4 + 2 * table[2], *chain = buckets + table[0];
        uint32_t at = buckets[hash % table[0]], end = at < table[1];
        for (; !end; at++) {
            end = chain[at - table[1]] & 1;
            if (is_wanted(object, symbols, names, versions, at, wanted)) return 1;
        }
    } else if (old_table)
        for (uint32_t at = 0; at < old_table[1]; at++)
            if (is_wanted(object, symbols, names, versions, at, wanted)) return 1;
    return 0;
}

/* The C library's function of this name; NULL if there is none. */
static struct wanted find(const char *name)
{
    struct wanted wanted = {name, 0, 0};
    if (dl_iterate_phdr) dl_iterate_phdr(look_into, &wanted);
    return wanted;
}
static void *next(const char *name, void **kept)
{
    if (!*kept) *kept = find(name).found;
    return *kept;
}
