"""Rows of ``table`` about the objects of System V IPC, which have owners."""

from __future__ import annotations

import platform

BUSYBOX = {
    "System V objects": "sysv",
}
if platform.machine() == "x86_64":
    BUSYBOX["System V objects of i386"] = "sysv narrow"

STRICT_BUSYBOX = {"use of System V objects": "sysv strict"}

DEBIAN = {
    "ipcs and ipcrm": r"""
        as='setpriv --reuid 5 --regid 6 --clear-groups'; ipcmk -M 100 -p 600 >ids
        for x in '-M 100 -p 640' '-S 2' '-Q'; do $as ipcmk $x >>ids; done
        set -- $(grep -o '[0-9]*$' ids)
        ipcs -m | awk 'NR > 3 && NF {print $3, $4, $5}'; ipcs -q | awk 'NR > 3 && NF {print $3, $4}'
        ipcs -s | awk 'NR > 3 && NF {print $3, $4, $5}'; ipcs -ls | head -3
        for x in -m -s -q; do ipcs $x -c | awk 'NR > 3 && NF {print $2, $3, $4, $5, $6}'; done
        ipcs -m -p | awk 'NR > 3 && NF {print $2, $3 > 0}'; ipcs -m -i $1 | grep uid=
        $as ipcs -m -i $1 2>&1 | grep -v -e time= -e shmid -e pid=
        $as ipcs -m -i $2 | grep uid=
        $as ipcrm -m $1 2>&1 | tr -d 0-9; $as ipcrm -m $2; ipcrm -s $3; ipcs -m | grep -c games
        setpriv --reuid 7 --clear-groups ipcrm -q $4 2>&1 | tr -d 0-9
        for kind in shm msg sem; do ipcrm --all=$kind; done 2>/dev/null; ipcs | wc -l
    """,
}
