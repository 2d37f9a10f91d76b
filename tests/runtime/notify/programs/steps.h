/* What programs share that take random steps as random users. */
#include <stdint.h>

/* From linux/capability.h; the C library's headers lack them. */
#define _LINUX_CAPABILITY_VERSION_3 0x20080522
struct __user_cap_header_struct {
    uint32_t version;
    int pid;
};
struct __user_cap_data_struct {
    uint32_t effective, permitted, inheritable;
};
enum {
    CAP_CHOWN = 0,
    CAP_DAC_OVERRIDE = 1,
    CAP_DAC_READ_SEARCH = 2,
    CAP_FOWNER = 3,
    CAP_KILL = 5,
    CAP_SETGID = 6,
    CAP_SYS_RESOURCE = 24
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t state;

static unsigned pick(unsigned bound)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33) % bound;
}
