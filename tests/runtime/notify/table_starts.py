"""Rows of ``table`` about programs that start: set-ID programs, whom they trust, and limits."""

from __future__ import annotations

import platform
import struct

_USER = "echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; chmod 777 ."

BUSYBOX = {
    "secure starts": f"""
        {_USER}
        is() {{ cp /bin/starts s; chown $2 s; chmod $1 s; echo "$1 $2"; }}
        for s in '755 0:0' '4755 0:0' '4755 107:108' '2755 0:108' '6755 107:108' '4755 104:106'; do
            is $s; ./s show; su user -c './s show'
        done
        is 6755 107:108; cp s root; chown 0:0 root; chmod 4755 root; : >bad; cp bad script
        echo 'below a program of other IDs'; su user -c './s vfork /bin/starts show'
        su user -c './root vfork ./s show'
        echo 'from a thread, and below vfork'; su user -c 'starts thread ./s show'
        su user -c 'starts vfork ./s show; starts vfork ./none show'
        echo '#!/tmp/w/s show' >script; chmod 4755 script; su user -c ./script
        echo traced; starts traced /tmp/w/s ids; su user -c 'starts traced /tmp/w/s ids'
        su user -c 'starts traced /tmp/w/root ids; ./root traced /tmp/w/s ids'
        echo 'no program'; printf '\\177ELF' >bad; chown 107:108 bad; chmod 6755 bad
        su user -c 'for i in 1 2 3; do starts vfork ./bad; done; starts thread ./bad; ./s show'
    """,
    "mounts without set-id": f"""
        {_USER}
        cp /bin/starts s; chown 107:108 s; mkdir m; mount -t tmpfs -o nosuid none m
        cp s m/s; chown 107:108 m/s; chmod 6755 s m/s; cp s m/root; chmod 4755 m/root
        try() {{ su user -c 'm/s show; m/root show; ./s show'; m/s show; }}
        try; mount -o remount,suid m; try; mount -o remount,bind,nosuid m; try; umount m
        mount -o bind . m; try; mount -o remount,bind,nosuid m; try; umount m
        mkdir r; cp -r /bin r/; cp s r/s; chown 107:108 r/s; chmod 6755 r/s
        cp /etc/passwd r/; mkdir r/etc r/m; cp /etc/passwd r/etc
        mount -t tmpfs -o nosuid none r/m; cp s r/m/s; chown 107:108 r/m/s; chmod 6755 r/m/s
        chroot r /bin/su user -c '/m/s show; /s show'; umount r/m
    """,
    "dumpable processes": "starts dumpable",
    "limits of file locks": f"""
        {_USER}
        starts limits; su user -c 'starts limits'
    """,
    "leases": f"""
        {_USER}
        : >f; : >g; chown 104:106 g; chmod 666 f; mkdir d; chown 104 d
        for file in f g d; do starts lease $file; su user -c "starts lease $file"; done
    """,
    "files that are not there": "starts looks; chown 5 d; chown 5 f; starts looks | grep -v found",
}

# i386: end with the sum of AT_EUID and AT_SECURE in the auxiliary vector.
_CODE = bytes.fromhex(
    "31db"  # xor ebx, ebx
    "89e6ad"  # mov esi, esp; lodsd: the number of arguments
    "ad85c075fb"  # arguments: lodsd; test eax, eax; jnz arguments
    "ad85c075fb"  # variables: lodsd; test eax, eax; jnz variables
    "ad89c2ad"  # vector: lodsd; mov edx, eax; lodsd
    "83fa0c740d"  # cmp edx, AT_EUID; je add
    "83fa177408"  # cmp edx, AT_SECURE; je add
    "85d275ee"  # test edx, edx; jnz vector
    "b001cd80"  # mov al, 1; int 0x80: exit(ebx)
    "01c3ebe6"  # add: add ebx, eax; jmp vector
)
_BASE, _HEADERS = 0x08048000, 84
_SIZE = _HEADERS + len(_CODE)
_NARROW = (
    struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\1\1\1",
        2,
        3,
        1,
        _BASE + _HEADERS,
        52,
        0,
        0,
        52,
        32,
        1,
        0,
        0,
        0,
    )
    + struct.pack("<8I", 1, 0, _BASE, _BASE, _SIZE, _SIZE, 5, 4096)
    + _CODE
)
_ESCAPED = "".join(rf"\{byte:o}" for byte in _NARROW)
if platform.machine() == "x86_64":
    BUSYBOX["32-bit set-id programs"] = f"""
        {_USER}
        printf '{_ESCAPED}' >s; chmod 755 s; ./s; echo $?
        chown 107:108 s
        for mode in 4755 2755 6755; do chmod $mode s; su user -c ./s; echo $?; ./s; echo $?; done
    """

_AS = "setpriv --reuid 104 --regid 106 --clear-groups"

DEBIAN = {
    "variables of the loader": f"""
        cp /usr/bin/env e; chown 107:108 e; no=/tmp/w/none
        set -- GCONV_PATH HOSTALIASES LD_AUDIT LD_DEBUG_OUTPUT LD_LIBRARY_PATH LD_PRELOAD \
            LD_PROFILE LOCALDOMAIN LOCPATH MALLOC_TRACE NLSPATH RESOLV_HOST_CONF RES_OPTIONS \
            TMPDIR TZDIR OTHER
        all=; for name; do all="$all $name=$no"; done
        for mode in 755 4755 2755 1755 6755; do
            chmod $mode e; echo $mode; {_AS} env -i $all /tmp/w/e 2>&1 | sort
            {_AS} env LD_SHOW_AUXV=1 ./e | grep -c ^AT_SECURE; env -i LD_PRELOAD=$no ./e
        done
        cp /bin/bash b; chown 107:108 b; chmod 6755 b
        TMPDIR=$no {_AS} ./b -pc "LD_LIBRARY_PATH=$no env" | grep -e LD_ -e TMP
    """,
    "limit of file locks": f"""
        bash -c 'ulimit -x 100; ulimit -x; ulimit -Hx; (ulimit -x); ulimit -Sx 50
            prlimit --locks --noheadings -o SOFT,HARD; grep locks /proc/self/limits
            prlimit --pid $$ --locks=20:40; ulimit -x; bash -c "ulimit -x"; id -u; : >f; chown 5 f
            {_AS} bash -c "ulimit -x; ulimit -Hx; id -u
                ulimit -Hx 30; ulimit -Hx 31; prlimit --pid $$ --locks=1:1
                grep locks /proc/self/limits"
            ulimit -x; stat -c %u f'
        grep locks /proc/self/limits
    """,
    "access times that stay": f"""
        echo x >f; echo x >g; chown 104:106 g; ln -s f l; ln -s g m; chmod 666 f; mkdir d
        echo 'for f; do dd if=$f iflag=noatime of=/dev/null status=none; echo $f $?; done' >use
        all='f g l m d none none/x'; sh use $all; {_AS} sh use $all /proc/self/stat
        chmod 4755 f; {_AS} sh use f
    """,
}
