"""Messages between the server of layers and the process that fetches what is not here.

All are FETCH_MESSAGE: the kind, the number of the layer, the first block, the number of blocks.
The server sends

    TELL_UNTIL      with a pidfd: tell the user no more when that process has ended
    ADD_LAYER       with a descriptor of the directory of the layer with the next number, and the
                    number of all layers so far as that of blocks
    WANT_BLOCKS     readers wait for these blocks
    DISCARD_BLOCKS  the bytes of these blocks were wrong: fetch them again
    PREFER_BLOCKS   readers will probably want these blocks: fetch them by one request, before what
                    nobody wants

and gets

    BLOCKS_ARRIVED  the blocks are in the layer file
    BLOCK_KEPT      the block can't be written, for the disk is full; with a descriptor of its bytes
    BLOCK_LOST      the block can't be had; the process has told the user why, or the disk is full

for each block that it wants.  The process ends with the channel, or with status 0 when nothing is
left to fetch.
"""

from __future__ import annotations

from sundog.base.cpython import Struct

FETCH_MESSAGE = Struct("=4I")
TELL_UNTIL, ADD_LAYER, WANT_BLOCKS, DISCARD_BLOCKS, PREFER_BLOCKS = range(1, 6)
BLOCKS_ARRIVED, BLOCK_KEPT, BLOCK_LOST = range(6, 9)
# The descriptor of the channel in the process that fetches.
FETCH_CHANNEL = 3
