"""Rows of ``table`` about what surrounds an image's files: the host's files, processes, devices."""

from __future__ import annotations

STAT = "stat -c '%u:%g %a %F %t:%T %n'"

BUSYBOX = {
    "files of the host's root": f"""
        {STAT} /proc /proc/sys /proc/sys/kernel/hostname /proc/meminfo /dev /dev/null /dev/full
        cp -a /proc/sys/kernel/ostype o; {STAT} o; cd /proc/sys/kernel; {STAT} . ostype; cd -
        chown 5:6 /dev/null; chown 0:0 /dev/null; {STAT} /dev/null
        tar cf t.tar /proc/sys/kernel/ostype 2>/dev/null; tar tvf t.tar | tr -s ' ' | cut -d' ' -f2
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; find /dev -user user
        su user -c 'chmod 600 /dev/null; chown user /dev/null' 2>&1; {STAT} /dev/null
    """,
    "files of processes": """
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd
        show() { stat -c %u:%g /proc/$1 /proc/$1/ /proc/$1/stat /proc/$1/task /proc/$1/task/$1; }
        show $$; su user -c 'exec sleep 60' & p=$!; until pidof sleep >/dev/null; do :; done
        show $p; cd /proc/$p
        stat -c %u:%g . stat fd ../self .. ../1 ../version; cd /proc; ls -lnd $p | tr -s ' ' |
            cut -d' ' -f3,4
        cd /tmp/w; mkdir 1; mount -t proc proc 1; stat -c %u:%g 1 1/$p 1/1; umount 1
        mount -t tmpfs t 1; mkdir 1/$p; stat -c %u:%g 1/$p; umount 1
        mount -t proc proc 1; stat -c %u:%g 1/$p; umount 1; kill $p
        su user -c 'stat -c %u:%g /proc/self/ /proc/self /proc/self/fd/1'
    """,
    "status of processes": r"""
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; echo 'adm:x:4:user' >>/etc/group
        show() {
            grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs):' $1 | sed 's/^\(Cap.*:\).*\(...\)$/\1 \2/'
        }
        show /proc/self/status; su user -c 'exec sleep 60' & p=$!
        until grep -q sleep /proc/$p/comm; do :; done; show /proc/$p/status; cd /proc/$p/task/$p
        show status; kill $p
    """,
    "calls that few programs make": """
        for call in masks fsuid events; do mkdir $call; cd $call; kernel $call; cd ..; done
    """,
    "owners of keys": "kernel keys",
    "mounts with owners": """
        mkdir p t e; mount -t devpts -o gid=5,mode=620,newinstance,ptmxmode=666 devpts p; echo $?
        ls p; mount -t tmpfs -o uid=7,gid=8,mode=750 tmp t; echo $?; stat -c '%u:%g %a' t t/.
        : >t/f; stat -c %u:%g t/f; umount t; stat -c %u:%g t; mount -t tmpfs -o gid=8,bogus tmp t
        mount -t tmpfs -o uid=7 tmp nonexistent; mount -t proc -o gid=5 proc e; echo $?; ls -d e/1
        unshare -m sh -c 'mount -t tmpfs -o uid=9 tmp t; stat -c %u:%g t; : >t/g'
        stat -c %u:%g t; ls t; mkdir -p r/bin r/d; cp /bin/busybox r/bin
        chroot r /bin/busybox mount -t tmpfs -o uid=3 x /d; stat -c %u:%g r/d; umount r/d p e
        mount -t ramfs -o uid=7 ram t; stat -c %u:%g t; umount t
        mount -t tmpfs -o uid=4294967296 tmp t; echo $?; stat -c %u:%g t
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; chmod 777 t
        su user -c 'mount -t tmpfs -o uid=3 x t; mount -t tmpfs x t; mount -t tmpfs x none'
    """,
    "devices that are written": """
        mknod null c 1 3; mknod zero c 1 5; mknod full c 1 7; mknod random c 1 8; mknod tape c 9 0
        echo x >null; echo $?; echo x >>zero; echo $?; echo x >full; echo $?; ln null hard
        echo x | tee null zero hard | cat; : >full; echo $?; ls -l null | cut -c1-10
        dd if=null of=null count=1 2>/dev/null; stat -c '%F %t:%T' null zero full
        mkdir -p r/dev r/bin; cp /bin/busybox r/bin; mknod r/dev/null c 1 3; mknod r/dev/full c 1 7
        chroot r /bin/busybox sh -c 'echo x >/dev/null; echo $?; echo x >/dev/full; echo $?' 2>&1
        ln -s null soft; echo x >soft; stat -L -c '%F %t:%T' soft
    """,
}

DEBIAN = {
    "what processes show": r"""
        cut() {
            grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs):' $1 | sed 's/^\(Cap.*:\).*\(...\)$/\1 \2/'
        }
        as='setpriv --reuid 104 --regid 106'
        cut /proc/self/status; $as --groups 4,5 sleep 60 & p=$!
        until grep -q sleep /proc/$p/comm; do :; done
        cut /proc/$p/status; cut /proc/$p/task/$p/status; cd /proc/$p; cut status; cd /tmp/w
        wc -l </proc/$p/status >a; wc -l </proc/$$/status >b; cmp a b; kill $p
        $as --clear-groups --inh-caps +chown --ambient-caps +chown --bounding-set -kill \
            --no-new-privs cat /proc/self/status >c; cut c
        echo mine >status; cat status; mkdir g; mkfifo g/status; cat g/status & echo x >g/status
        wait $!; mknod zero c 1 5; head -c 3 zero | od -An -c; mknod null c 1 3; cat null
        mkdir -p r/dev; mknod r/dev/zero c 1 5; cp -a /bin /lib* /usr r 2>/dev/null
        chroot r head -c 2 /dev/zero | od -An -c
    """,
    "set-id files that are written in place": """
        try() { m=$1; shift; chmod $m f; "$@"; echo "$m $*: $(stat -c '%u:%g %a' f)"; }
        as='setpriv --reuid 104 --regid 106 --clear-groups'; echo x >f; chmod 777 .
        for o in 0:0 104:106; do
            chown $o f
            for m in 4755 4644 2755 2644 6711; do
                try $m perl -e 'open F, "+<f"; syswrite F, "a"'; try $m perl -e 'open F, "+<f"'
                try $m perl -e 'truncate "f", 1'; try $m perl -e 'open F, "f"; sysread F, $x, 1'
                chmod 4777 f; perl -e 'open F, "+<f"; syswrite F, "a"'
                $as perl -e 'open F, "+<f"; syswrite F, 1'
                stat -c '%u:%g %a' f; chmod 6777 f
                $as perl -e 'truncate "f", 0'
                stat -c '%u:%g %a' f
            done
        done
    """,
}

TOOLS = {
    "ps and top": """
        setpriv --reuid 5 --regid 6 --clear-groups sleep 60 & p=$!
        until grep -q sleep /proc/$p/comm; do :; done
        ps -o user,ruser,group,uid,fuid,gid,supgrp,comm -p $p; ps -u games -o comm; pgrep -c -u 5
        pgrep -c -U games; pgrep -c -G 6; ps -eo user:6,comm | grep sleep
        top -b -n1 -p $p | tail -1 | xargs | cut -d' ' -f2
        fuser -v $(readlink -f /usr/bin/sleep) 2>&1 | grep -c games
        status() { start-stop-daemon --$1 --user $2 --exec /usr/bin/sleep; echo $?; }
        status status mail; status status games; status stop mail; pkill -u mail sleep; echo $?
        killall -u mail sleep; echo $?; pkill -u games sleep; echo $?; wait; status status games
    """,
}
