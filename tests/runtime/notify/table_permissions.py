"""Rows of ``table``: what other users than root may not do to files and processes.

STRICT_BUSYBOX and STRICT_TOOLS run under ``strict``, which also controls reading and writing.
"""

from __future__ import annotations

USERS = """
    echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; echo 'adm:x:4:user' >>/etc/group
    echo 'other:x:105:107::/tmp:/bin/sh' >>/etc/passwd
    try() { su user -c "$1" 2>&1; echo "$?: $1"; }
"""

BUSYBOX = {
    "files of others": rf"""{USERS}
        mkdir roots shared closed mine; chgrp 4 shared; chmod 775 shared; chmod 700 closed
        chown user mine; echo x >roots/f; echo x >roots/w; chmod 666 roots/w; echo x >mine/f
        mkdir mine/roots; echo x >closed/f; chmod 666 closed/f; mkdir roots/d
        for d in roots shared closed mine; do
            try "mkdir $d/dir"; try "mkfifo $d/fifo"; try "ln -s x $d/link"; try "echo >$d/new"
            test $d = closed && continue
            try "mv $d/new $d/moved"; try "rm -f $d/moved"; try "rmdir $d/dir"; try "mkdir roots"
        done
        for f in roots/f roots/w mine/f closed/f; do
            try "echo y >>$f"; try "echo y >$f"; test $f = closed/f && continue
            try "touch $f"; try "touch -d 2020-01-01 $f"
            try "chmod 666 $f"; try "chown user $f"; try "ln $f mine/hard"; try "rm -f $f"
        done
        try 'mv roots/f mine/g'; try 'mv mine/roots roots/moved'; try 'mv mine/roots shared/moved'
        try 'rmdir roots/d'; find . -exec stat -c '%u:%g %a %n' {{}} + | sort -k3
        mkdir bin; cp /bin/busybox bin/busybox; chown user bin
        try 'rm bin/busybox; ls bin'; try 'mkdir /proc/x'; try 'echo 1 >/proc/self/comm'
        try 'echo x >/dev/null'; try 'echo x >/dev/full'
    """,
    "sticky directories": rf"""{USERS}
        mkdir t u; chmod 1777 t; chown other u; chmod 1777 u; : >t/roots; : >t/others; : >u/roots
        chown other t/others; try ': >t/mine'; try ': >u/mine'; mkdir t/d; chown other t/d
        for f in t/roots t/others t/mine u/roots u/mine t/d; do
            try "mv $f $f.moved"; try "rm -f $f.moved"; try "rm -f $f"; try "rmdir $f"
        done
        try ': >t/a; : >t/b; mv t/a t/b'; try ': >t/a; mv t/a t/roots'
        su other -c 'rm -f u/roots t/others; ls t u'; rm -f t/b; try 'mkdir t/e; rmdir t/e'; ls t u
    """,
    "signals to others": rf"""{USERS}
        chmod 777 .
        alive() {{ kill -0 $1 2>/dev/null && echo alive || echo dead; }}
        began() {{ until test -s $1; do :; done; }}
        sleep 300 & roots=$!; su other -c 'echo >o; exec sleep 300' & others=$!
        su user -c 'echo >m; exec sleep 300' & mine=$!; began o; began m
        try "kill $roots" | sed "s/$roots/N/g"; try "kill -0 $others" | sed "s/$others/N/g"
        try "kill -0 $mine" | sed "s/$mine/N/g"; try 'kill -9 99999'; try 'kill -0 $$'
        alive $roots; alive $others; try "kill $mine" | sed "s/$mine/N/g"
        {{ wait $mine; }} 2>/dev/null; echo $?
        su user -c 'sleep 300 & sleep 300 & {{ kill -9 -1; wait; }} 2>/dev/null; echo survived'
        alive $roots; alive $others
        {{ su other -c 'kill -9 -1'; wait $others; }} 2>/dev/null; echo $?; alive $roots
        setsid sh -c 'echo $$ >group
            su user -c "sleep 300 & echo \$! >mine; wait" & exec sleep 300' &
        began mine; group=$(cat group); try "kill -TERM -$group" | sed "s/$group/N/g"
        alive $group; until ! kill -0 $(cat mine) 2>/dev/null; do :; done
        su other -c "kill -TERM -$group" 2>&1 | sed "s/$group/N/g"; kill $group $roots
        unshare -p -f sh -c '
            sleep 300 & su other -c "echo >p; exec sleep 300" & until test -s p; do :; done
            su user -c "kill 2; kill 3" 2>&1; su other -c "kill 2; kill 3" 2>&1; kill 2; wait
            echo over'
    """,
    "read-only file systems": rf"""{USERS}
        mkdir m; mount -t tmpfs -o mode=755 t m; : >m/f; chmod 666 m/f; mount -o remount,ro m
        for c in 'chown user' 'chgrp 4' 'chmod 600' 'touch' 'rm -f' 'truncate -s 0' 'echo >>'; do
            try "$c m/f"
        done
        try 'mkdir m/d'; try 'ln m/f m/g'; try 'mv m/f m/g'; refused m/f; umount m
    """,
    "calls of others that few programs make": "refused",
    "read-only mounts": rf"""{USERS}
        mkdir m; : >m/f; : >m/w; chmod 666 m/w; mkfifo m/p m/q; chmod 666 m/q; mkdir m/d m/e
        chmod 777 m/e; mount --bind m m; mount -o remount,bind,ro m
        for f in m/f m/w m/p; do
            try "echo >>$f"; try "dd if=/dev/zero of=$f bs=1 count=1 conv=notrunc 2>&1 | head -1"
        done
        for f in m/f m/w; do try "echo >$f"; try "touch $f"; try "rm -f $f"; done
        for f in m/f m/w m/p m/q m/d m/e; do try "test -w $f"; done; umount m
    """,
}

DEBIAN = {
    "choices by access": r"""
        mkdir closed mine p q; chmod 700 closed; : >closed/f; chmod 666 closed/f; chown 104 mine
        for n in 600 644 640 604 666 711 000; do : >$n; chmod $n $n; done; chgrp 4 640
        : >mine/f; chmod 0 mine/f; chown 104 mine/f; ln -s closed/f link; ln -s /nowhere dangling
        cat >look <<'P'
            BEGIN { $^H |= 0x00400000 } # use filetest "access", which this image lacks
            sub say_ { print " $_[0]", $_[1] ? "+" : "-" . ($! + 0) }
            for (@ARGV) {
                print; say_("r", -r); say_("w", -w); say_("x", -x); print ", real:";
                say_("r", -R); say_("w", -W); say_("x", -X); print "\n"
            }
P
        files='600 644 640 604 666 711 000 closed mine mine/f dangling . /root
            /etc /etc/passwd /dev/null /proc/self/fd/0 none/f 644/f'
        echo root; perl look $files </dev/null
        over='--inh-caps +dac_override --ambient-caps +dac_override'
        search='--inh-caps +dac_read_search --ambient-caps +dac_read_search'
        for who in '--reuid 104' '--reuid 105' '--ruid 104' '--euid 104' "--reuid 105 $over" \
            "--reuid 105 $search" '--reuid 0 --bounding-set -dac_override,-dac_read_search' \
            '--reuid 0 --bounding-set -all --inh-caps -all'; do
            echo "$who"; setpriv $who --regid 106 --groups 4 perl look $files </dev/null
        done
        for m in 700 710 644 311 755; do
            printf "#!/bin/sh\necho $m\n" >p/tool$m; chmod $m p/tool$m
            printf '#!/bin/sh\necho another\n' >q/tool$m; chmod 755 q/tool$m
        done
        for who in 0 104 105; do
            setpriv --reuid $who --regid 106 --clear-groups env PATH=/tmp/w/p:/tmp/w/q:$PATH sh -c '
                for way in readable writable executable; do
                    find . -maxdepth 1 -$way | sort | xargs
                done
                for f in closed closed/f mine mine/f; do
                    bash -c "test -r $f; echo -n \$?; test -w $f; echo -n \$?; test -x $f; echo \$?"
                done
                for m in 700 710 644 755; do env tool$m; command -v tool$m; done' 2>&1
        done
    """,
}

TOOLS = {
    "permissions of users": r"""
        chmod 777 .; echo x >f; echo x >w; chmod 666 w; mkdir d m; chmod 777 m; chmod 1777 d; : >d/f
        as() { setpriv --reuid 104 --regid 106 --groups 4 "$@"; }
        as perl -e '
            sub say_ { print "$_[0]: ", $_[1] ? "ok" : "$!", "\n" }
            say_("truncate", truncate "f", 0); say_("truncate", truncate "w", 0);
            say_("utime", utime 1, 1, "f"); say_("utime", utime 1, 1, "w");
            say_("utime", utime undef, undef, "f"); say_("utime", utime undef, undef, "w");
            say_("link", link "f", "h"); say_("link", link "w", "m/h");
            say_("unlink", unlink "d/f"); say_("rename", rename "d/f", "m/f");
            say_("mkdir", mkdir "/etc/x");
            say_("rmdir", rmdir "/mnt"); say_("symlink", symlink "x", "/usr/x");
            say_("chmod", chmod 0777, "/root"); say_("kill", kill 0, getppid);
            say_("kill", kill 0, $$); say_("sysopen", open F, ">>", "/etc/passwd");
            say_("mkdir", mkdir "/root/x"); say_("unlink", unlink "/nonexistent/f");'
        setfacl -m u:104:rw f; as sh -c 'echo y >>f'; install -o 104 -g 4 -m 2770 -d g
        as sh -c 'echo x >g/f; stat -c "%u:%g" g/f; mkdir g/d; mv g/f g/d; rm -r g/d; rmdir g'
        for c in dac_override fowner dac_read_search; do
            setpriv --reuid 104 --regid 106 --clear-groups --inh-caps +$c --ambient-caps +$c sh -c '
                : >/etc/x; rm -f d/f; touch -d 2020-01-01 f; mkdir /root/x' 2>&1; ls /etc/x d /root
            rm -rf /etc/x /root/x; : >d/f
        done
        capsh --drop=cap_dac_override -- -c 'chown 5 f; chmod 600 f; echo y >f; rm f; ls' 2>&1
        setpriv --bounding-set -all --inh-caps -all sh -c 'chown 5 w; rm w; ls /root' 2>&1
    """,
}

STRICT_BUSYBOX = {
    "reading by others": rf"""{USERS}
        mkdir closed listed mine; chmod 700 closed; chmod 744 listed; chown user mine
        for d in . closed listed mine; do
            for m in 600 644 640 604 666 711 000; do echo $m >$d/$m; chmod $m $d/$m; done
        done
        chown user mine/*; chgrp 4 640; cp 644 mine/roots; chmod 600 mine/roots
        for f in 600 644 640 604 666 closed/644 listed/644 mine/600 mine/000 mine/roots; do
            try "cat $f"; try "test -r $f"; try "test -w $f"; try "test -x $f"; try "echo >>$f"
            try "dd if=/dev/zero of=$f bs=1 count=1 conv=notrunc 2>/dev/null"
        done
        try 'ls closed'; try 'ls listed | head -1'; try 'cd closed'; try 'cd listed'; try 'ls mine'
        cp /bin/busybox tool
        for m in 755 700 711 644; do chmod $m tool; try './tool echo ran'; done
        chgrp 4 tool; chmod 710 tool; try './tool echo ran'
        printf '#!/tmp/w/tool sh\necho ran\n' >s
        chmod 755 s; try './s'; chmod 700 tool; try './s'
        chmod 311 s tool; try 'cat s'; cat s | wc -l
        try 'cat /proc/self/comm'; try 'echo x >/dev/null'; try 'cat /dev/null'; cat mine/000 600
    """,
}

STRICT_TOOLS = {
    "reading with capabilities": r"""
        echo x >f; chmod 600 f; mkdir d; echo y >d/f; chmod 700 d; chown 105 f
        echo 'id -u; cat f d/f; test -r f; echo $?; find d; echo z >>f; echo $?' >look
        as() { setpriv --reuid "$@" --regid 106 --clear-groups sh ./look 2>&1; }
        as 104; as 105; as 0; for c in dac_override dac_read_search; do
            as 104 --inh-caps +$c --ambient-caps +$c
        done
        as 0 --bounding-set -dac_override,-dac_read_search
        as 0 --bounding-set -all --inh-caps -all
        su -s /bin/sh -c 'cat /etc/shadow; head -1 /etc/passwd; ls /root' daemon 2>&1
        su -s /bin/sh nobody \
            -c 'perl -e "print -r q(/etc/shadow) ? 1 : 0, -w q(/tmp) ? 1 : 0, qq(\n)"'
        runuser -u daemon -g shadow -- sh -c 'head -c 5 /etc/shadow; echo >>/etc/shadow' 2>&1
        setfacl -m u:104:r f; as 104; runuser -u games -- tar cf /tmp/t.tar f d 2>&1
    """,
}

# Base, name, script, and whether the row needs ``strict``.
ACCESS = [
    (base, name, script, strict)
    for base, strict, rows in (
        ("busybox", False, BUSYBOX),
        ("busybox", True, STRICT_BUSYBOX),
        ("debian", False, DEBIAN),
        ("tools", False, TOOLS),
        ("tools", True, STRICT_TOOLS),
    )
    for name, script in rows.items()
]
