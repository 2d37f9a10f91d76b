/* The fast path of notify: a library that makes a system call itself where the supervisor would
 * leave the call to the kernel.  Programs of the container load it before their C library.
 *
 * It needs no C library, and no memory beside the stack.  What it does not know for sure, it leaves
 * to the supervisor, by the same call from any other place.  So it decides nothing: without it, all
 * programs get the same answers. */
#include "call.h"
#include "page.h"
#include "next.c"
#include "status.c"
#include "names.c"
#include "attributes.c"
#include "open.c"
#include "walk.c"
#include "filter.c"
#include "execute.c"
