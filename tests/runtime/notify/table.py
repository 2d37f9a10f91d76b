"""Programs that check whether they are root, and whether their files have the right owners.

Each row is a script.  Real root has run it once in a chroot of the same base image, and its output
is in ``expected/`` (``record``).  Under notify the script must print the same.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from tests.runtime.notify import surroundings, table_starts, table_sysv
from tests.runtime.notify.surroundings import STAT
from tests.runtime.notify.table_permissions import ACCESS


@dataclass(frozen=True)
class Row:
    """One script; ``base`` is the image in which it runs, perhaps under ``strict``."""

    name: str
    base: str
    script: str
    strict: bool = False


BUSYBOX = {
    "processes": "processes",
    "senders of messages": "messages",
    "ports below 1024": "ports",
    "chown": f"""
        echo x >f; ln -s f l; mkdir d
        chown 5:6 f; chown -h 7:8 l; chown 9:10 d; chown 11 d/; chgrp 12 d
        {STAT} f l d; ls -ln | tr -s ' ' | cut -d' ' -f1,3,4
        chown nobody f; {STAT} f; chown 0:0 f; {STAT} f
        chown 5 nonexistent; chown 5 ''; chown -R 3:3 .; {STAT} f l d
    """,
    "set-id bits": f"""
        cp /bin/busybox s; chmod 6755 s; {STAT} s; chown 5:6 s; {STAT} s
        chmod 6755 s; {STAT} s; chown 0:0 s; {STAT} s; chmod 4711 s; {STAT} s
    """,
    "owners of set-id files": """
        try() { m=$1; shift; chmod $m f d; "$@"; echo "$m $*: $(stat -c '%u:%g %a' f d | xargs)"; }
        mkdir d; : >f
        for m in 4755 4644 4611 2755 2644 2711 2745 6755 6644 6711 7777; do
            for o in 5:6 0:0 5 :6 5:6 :0 0; do try $m chown $o f d; done
        done
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; echo 'adm:x:4:user' >>/etc/group
        chmod 777 .; chown 104:106 f d
        for m in 4755 4644 2755 2644 2711 2745 6755 6644; do
            try $m su user -c 'chgrp 4 f d'; try $m su user -c 'chown user f d'
            try $m su user -c 'chgrp 106 f d'; try $m su user -c 'chmod u+s,g+s f d'
        done
    """,
    "set-id files that root writes": """
        try() { m=$1; shift; chmod $m f; "$@"; echo "$m $*: $(stat -c '%u:%g %a' f)"; }
        echo x >f; echo y >g
        for o in 0:0 104:106; do
            chown $o f
            for m in 4755 4644 2755 2644 6711; do
                try $m cp g f; try $m sh -c 'cat g >f'; try $m sh -c 'cat g >>f'
                try $m truncate -s 1 f; try $m sh -c ': >>f'
                try $m dd if=/dev/zero of=f bs=1 count=1 conv=notrunc 2>/dev/null
                try $m sh -c 'cat g >f; cat g >>f; ln f h; mv h f; cat g >>f'
                try $m sh -c 'echo >f; chmod 755 f; echo >>f'; try $m sh -c 'echo >f; chmod 2711 f'
                try $m cp -p g f; try $m sh -c 'echo >f; chmod 600 f; stat -c %a f; chmod 4755 f'
                try $m sh -c 'echo >f; chown 5 f; echo >>f; chown '$o' f'
                try $m sh -c 'exec 3>>f; echo a >&3; stat -c %a f; echo b >&3'
            done
        done
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; chmod 777 .
        cp /bin/busybox id; chown 107:108 id; chmod 6755 id; cat /bin/busybox >id; stat -c %a id
        su user -c ./id; cp -p id id2; stat -c %a id2; tar cf t.tar id; tar xf t.tar; stat -c %a id
        chown user id; chmod 4755 id; cat /bin/busybox >id; su user -c 'echo >>id'; stat -c %a id
    """,
    "set-id files of a user who writes": """
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; chmod 777 .
        try() { chmod $1 f; su user -c "$2"; echo "$1 $2: $(stat -c '%u:%g %a' f)"; }
        echo x >f; chown 104:106 f
        for m in 4755 4644 2755 2644 6711; do
            try $m 'echo y >>f'; try $m 'echo y >f'; try $m 'truncate -s 1 f'
            try $m 'dd if=/dev/zero of=f bs=1 count=1 conv=notrunc 2>/dev/null'; try $m ': >>f'
        done
    """,
    "links": f"""
        echo x >f; chown 5:6 f; ln f hard; mv f moved; ln -s hard soft; cp hard copy
        {STAT} hard moved soft copy; {STAT} -L soft; rm hard; {STAT} moved
        echo y >moved; {STAT} moved; rm moved; echo z >moved; {STAT} moved
    """,
    "devices": f"""
        mknod c c 1 3; mknod b b 7 300; mknod -m 640 m c 200 70000; mknod p p; mkfifo q
        chown 0:6 b; chmod 600 c; {STAT} c b m p q; mv c d; ln d e; {STAT} d e
        find . -type c | sort; find . -type b; find . -type f
        ls -l | tr -s ' ' | cut -d' ' -f1,5,6 | sed 's/ [A-Z][a-z][a-z]$//'
        mkdir in; tar cf t.tar b d e m p; tar xf t.tar -C in; {STAT} in/*
        test -b b -a -c d; echo $?; rm b; mknod b b 1 2; {STAT} b; echo >b2; {STAT} b2
    """,
    "archives": f"""
        mkdir -p d/e; echo x >d/f; ln -s f d/l; ln d/f d/h; chown -R 5:6 d; chown -h 7:8 d/l
        chmod 2750 d/e; chmod 4755 d/f
        tar cf t.tar d; mkdir in; tar xf t.tar -C in; {STAT} in/d in/d/*; cp -a d c; {STAT} c c/*
        tar tvf t.tar | tr -s ' ' | cut -d' ' -f1,2,3
    """,
    "set-group-ID directories": f"""
        umask 022; mkdir d; chown 0:60 d; chmod 2775 d; cd d
        echo x >f; mkdir s; mkdir s/t; ln -s f l; mkfifo p; mknod c c 1 3; cp f g; mv g h
        {STAT} f s s/t l p c h; echo x >../out; mv ../out in; {STAT} in; ln -s d/new ../dangling
        echo x >../dangling; {STAT} new
    """,
    "another user": f"""
        echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd; echo 'adm:x:4:user' >>/etc/group
        chmod 777 .; echo x >roots; mkdir sub; chmod 777 sub
        su user -c 'id; echo x >f; mkdir d; ln -s f l; mkfifo p; umask 077; echo y >g; cd sub; : >h'
        {STAT} f d l p g sub/h
        su user -c 'chown 0 f; chown 104:4 f; chown 104:5 f; chmod 600 f; chmod 600 roots
            chown 5 roots; mknod c c 1 3; chroot . /bin/true; ls -ln f' |
            tr -s ' ' | cut -d' ' -f1-5
        {STAT} f roots; find . -user user | sort; find . -group adm
    """,
    "another root": f"""
        mkdir -p r/bin r/proc r/etc r/tmp; cp /bin/busybox r/bin; ln -s /etc/target r/etc/link
        echo x >r/etc/target; : >/etc/target
        chroot r /bin/busybox sh -c 'chown 5:6 /etc/link; cd /tmp; echo x >f; chown 7:8 f
            /bin/busybox stat -c "%U:%g %n" f /etc/target ../etc/link /tmp/../../etc/target
            /bin/busybox mkdir r; /bin/busybox chroot . /busybox true
            cd ..; /bin/busybox chown 9 etc/link; /bin/busybox stat -c "%u:%g %n" /etc/target' 2>&1
        {STAT} r/etc/target r/tmp/f /etc/target
    """,
    "another mount namespace": f"""
        mkdir m n; chown 5:6 m; echo x >m/f; chown 7:8 m/f
        unshare -m sh -c 'mount -t tmpfs t m; : >m/f; stat -c "%u:%g %n" m m/f; chown 9:10 m/f m
            stat -c "%u:%g %n" m m/f; mount --bind /bin n; chroot n /busybox stat -c %u:%g /busybox
            umount n; umount m; stat -c "%u:%g %n" m m/f; chown 11:12 m/f'
        {STAT} m m/f
        unshare -p -f sh -c ': >g; chown 13:14 g; stat -c %u:%g g; echo $$'
    """,
    "many owners": """
        i=1; while [ $i -lt 300 ]; do : >f$i; chown $i:$((i + 1000)) f$i; i=$((i + 1)); done
        ls -ln | tr -s ' ' | cut -d' ' -f3,4,9
    """,
    "inodes used again": """
        i=0; while [ $i -lt 200 ]; do : >f; chown 5:6 f; rm f; : >f; stat -c '%u:%g' f; rm f
        i=$((i + 1)); done | sort | uniq -c | tr -s ' '
    """,
}

# What programs of another ABI of the machine see.
if Path("/proc/net/if_inet6").exists():
    BUSYBOX["ports below 1024 of IPv6"] = "ports 6"
if platform.machine() == "x86_64":
    BUSYBOX["32-bit programs"] = "narrow"

DEBIAN = {
    "set-id files that root changes by descriptor": """
        for o in 0:0 104:106; do
            for m in 4755 2755 6711 2644; do
                echo x >f; chown $o f; chmod $m f
                perl -e 'open F, ">>f"; syswrite F, "a"; chmod 02711, *F'
                stat -c '%u:%g %a' f; chmod $m f
                perl -e 'open F, ">>f"; syswrite F, "a"; chown 0, 0, *F; syswrite F, "b"'
                stat -c '%u:%g %a' f; chmod $m f; echo >f
                perl -e 'open F, "f"; chown -1, 0, *F'; stat -c '%u:%g %a' f
                perl -e 'open F, ">f"; chmod oct shift, *F; syswrite F, "a"' $m
                stat -c '%u:%g %a' f; sed -i s/a/b/ f; stat -c '%u:%g %a' f
                chown 0:0 f; chmod 755 f
            done
        done
        setpriv --reuid 104 --regid 106 --clear-groups \
            perl -e 'open F, ">/tmp/g"; chmod 06755, *F; syswrite F, "a"'
        stat -c '%u:%g %a' /tmp/g
    """,
    "su": """
        su -s /bin/sh -c 'id; cd /tmp; : >su-file; stat -c %U:%G su-file' nobody
        su -s /bin/sh -c 'id' daemon; su -c 'id' root
        su -s /bin/sh -c 'su root -c id </dev/null' nobody; echo $?
    """,
    "runuser": """
        runuser -u daemon -- id; runuser -u daemon -g adm -G tty -- id
        runuser -u nobody -- runuser -u root -- id; echo $?
        runuser -u mail -- sh -c ': >/tmp/m; stat -c %U:%G /tmp/m; chown root /tmp/m; echo $?'
    """,
    "setpriv": """
        setpriv --reuid 104 --regid 106 --clear-groups id
        setpriv --reuid 104 --regid 106 --groups 4,5 setpriv --reuid 0 true; echo $?
        setpriv --reuid 104 --regid 106 --clear-groups --inh-caps +chown --ambient-caps +chown \
            sh -c ': >/tmp/a; chown 5:6 /tmp/a; stat -c %u:%g /tmp/a'
        setpriv --bounding-set -chown --reuid 0 chown 5 /etc/hostname; echo $?
        setpriv --no-new-privs --reuid 104 --clear-groups su root -c id </dev/null; echo $?
    """,
    "install": """
        echo x >f; install -o daemon -g adm -m 4750 f g; install -d -o mail -g mail -m 2775 d
        stat -c '%U:%G %a %n' g d; install -o 1234 -g 5678 f d/h; stat -c '%u:%g %a %n' d/h
    """,
    "cp -a": """
        mkdir d; echo x >d/f; ln d/f d/h; ln -s f d/l; mknod d/c c 1 3; mkfifo d/p
        chown daemon:adm d/f; chown -h mail:mail d/l; chown 5:6 d; chmod 4750 d/f
        cp -a d e; stat -c '%U:%G %a %h %F %n' d d/* e e/*; cp d/f g; stat -c '%U:%G %a %n' g
        cp -p d/f h; stat -c '%U:%G %a %n' h; mv d/f .; stat -c '%U:%G %a %n' f
    """,
    "tar": """
        mkdir d; echo x >d/f; ln d/f d/h; ln -s f d/l; mknod d/c c 1 3; mknod d/b b 7 1; mkfifo d/p
        chown daemon:adm d/f; chown -h 7:8 d/l; chown 1:6 d/b; chmod 6755 d/f
        tar --numeric-owner --sort=name -cf t.tar d
        tar --numeric-owner -tvf t.tar | sed 's/ ....-..-.. ..:../ /' | tr -s ' '
        mkdir in; tar -xpf t.tar -C in --numeric-owner
        stat -c '%u:%g %a %h %F %t:%T %n' in/d in/d/*
        mkdir no; tar -xf t.tar -C no --no-same-owner; stat -c '%u:%g %a %n' no/d/*
    """,
    "dpkg": """
        dpkg --verify | grep -v '^missing'
        dpkg-statoverride --add --update daemon adm 2750 /usr/bin/chfn
        stat -c '%U:%G %a %n' /usr/bin/chfn; dpkg-statoverride --list | grep chfn
        mkdir -p p/DEBIAN p/srv/x; cd p/DEBIAN; echo 'Package: p\nVersion: 1' >control
        echo 'Architecture: all\nMaintainer: x <x@x>\nDescription: x' >>control; cd ../..
        echo x >p/srv/x/f; chown 5:6 p/srv/x/f; chmod 2750 p/srv/x; chown 7:8 p/srv/x
        dpkg-deb -b p p.deb >/dev/null; dpkg -i p.deb >/dev/null
        stat -c '%u:%g %a %n' /srv/x /srv/x/f
        dpkg --verify p; echo $?
    """,
    "find": """
        find / -xdev \\( -path /proc -o -path /dev -o -path /sys -o -path /tmp \\) -prune \
            -o ! -name hosts ! -name resolv.conf \\( ! -user root -o ! -group root \\) \\
            -printf '%u:%g %m %y %p\\n' | sort -k4
        find / -xdev \\( -path /proc -o -path /dev -o -path /sys -o -path /tmp \\) -prune \
            -o -perm /6000 -printf '%u:%g %m %p\\n' | sort -k3
    """,
    "test": """
        : >mine; : >theirs; chown 5:6 theirs; chmod 644 *
        for f in mine theirs; do for o in O G; do test -$o $f; echo $f $o $?; done; done
        bash -c '[[ -O mine ]] && [[ ! -O theirs ]] && [[ -G mine ]]'; echo $?
        chmod 777 .
        setpriv --reuid 5 --regid 6 --clear-groups sh -c 'test -O theirs && test -G theirs; echo $?'
    """,
    "dropping privileges": r"""
        perl -e '
            use POSIX; $) = "104 105 106"; $( = 104; POSIX::setuid(104) or die;
            print "$< $> $( $)\n"; print POSIX::setuid(0) ? "regained\n" : "cannot: $!\n";
            $> = 0; print "$>\n"; open my $f, ">", "/tmp/p"; my @s = stat "/tmp/p";
            print "@s[4,5]\n";'
        perl -e '$> = 104; print "$< $>\n"; $> = 0; print "$< $>\n"; $< = $> = 104; $> = 0;
            print "$< $>\n"'
        chmod 777 .; cp /usr/bin/id suid-id; chown 107:108 suid-id; chmod 6755 suid-id; ./suid-id
        setpriv --reuid 104 --regid 104 --clear-groups ./suid-id
        cp /usr/bin/id root-id; chmod 4755 root-id
        setpriv --reuid 104 --regid 104 --clear-groups ./root-id
    """,
    "mounts of the host": """
        chmod 666 /dev/null; echo $?; chown 0:0 /dev/null; echo $?; chmod 1777 /dev/shm; echo $?
        stat -c '%a' /dev/null
    """,
}

RPM = {
    "rpm": """
        rpm -i $(find /srv/repo -name 'priv-*.rpm'); rpm -V -a | sort
        find /usr/share/privileged -printf '%U:%G %m %y %l %p\\n' | sort -k5
        getcap -r /usr/share/privileged; stat -c '%F %t:%T %n' /usr/share/privileged/zero
        chown 5 /usr/share/privileged/one; chmod 700 /usr/share/privileged/numeric
        rm /usr/share/privileged/zero; setcap -r /usr/share/privileged/ping
        rpm -V -a | sort; rpm --restore priv-owner priv-hard; rpm -V -a | sort
        rpm -e priv-owner; ls /usr/share/privileged
    """,
}

# Rows in Debian with these additional packages.
PACKAGES = (
    *("passwd", "acl", "attr", "libcap2-bin", "sudo", "rsync", "cpio", "libarchive-tools"),
    *("procps", "psmisc"),
)

TOOLS = {
    "apt": """
        apt-config dump APT::Sandbox::User; apt-get -qq update; echo $?
        stat -c '%U:%G %a %n' /var/lib/apt/lists/partial /var/lib/apt/lists
        chmod 777 .; apt-get -qq download base-passwd; echo $?
        stat -c '%U:%G %a' base-passwd_*.deb
    """,
    "installed": """
        dpkg --verify | grep -v '^missing'
        find / -xdev \\( -path /proc -o -path /dev -o -path /sys -o -path /tmp -o -path /run \\) \\
            -prune -o ! -name hosts ! -name resolv.conf \\
            \\( ! -user root -o ! -group root -o -perm /6000 \\) \\
            -printf '%u:%g %m %y %p\\n' | sort -k4
        getcap -r /usr
    """,
    "useradd": """
        useradd -m -G adm,mail -s /bin/bash tester; id tester; stat -c '%U:%G %a %n' /home/tester
        stat -c '%U:%G %a %n' /home/tester/.bashrc /etc/passwd /etc/shadow /etc/gshadow
        stat -c '%U:%G %a %n' /var/mail/tester
        groupadd -g 777 team; usermod -aG team tester; id tester
        install -d -o tester -g team -m 2770 /srv/team
        runuser -u tester -- sh -c 'umask 002; : >/srv/team/f; mkdir /srv/team/d'
        stat -c '%U:%G %a %n' /srv/team /srv/team/f /srv/team/d
        echo tester:secret | chpasswd; grep -c '^tester:\\$' /etc/shadow
        userdel -r tester 2>&1; ls /home; stat -c '%u:%g %n' /srv/team/f
    """,
    "login files": """
        touch /var/log/btmp; stat -c '%U:%G %a %n' /var/log/btmp /etc/shadow
        echo >>/etc/shadow; sed -i '$d' /etc/shadow; stat -c '%U:%G %a %n' /etc/shadow
        pwck -r -q >/dev/null 2>&1; echo $?
        passwd -l daemon >/dev/null; passwd -S daemon | cut -d' ' -f1,2
        stat -c '%U:%G %a %n' /etc/shadow /etc/shadow-
        chage -d 19000 daemon; chage -l daemon | head -1
    """,
    "sudo": """
        useradd -m tester; echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester
        chmod 440 /etc/sudoers.d/tester; export SUDO_ASKPASS=/bin/false
        su -s /bin/sh -c 'sudo -n id; sudo -n -u daemon id -un; sudo -n -u daemon -g adm id' tester
        su -s /bin/sh -c 'sudo -n id' daemon; echo $?
        sudo -u tester sh -c ': >/tmp/f; stat -c %U:%G /tmp/f; sudo -n chown daemon /tmp/f'
        stat -c %U:%G /tmp/f
    """,
    "access control lists": """
        : >f; mkdir d; setfacl -m u:daemon:rw,g:adm:r f; getfacl -p f; stat -c %a f
        chmod 604 f; getfacl -p f; setfacl -m m::rwx f; ls -l f | cut -c1-11
        setfacl -d -m u:mail:rwx,g:adm:rx d; getfacl -p d; umask 077; : >d/f; mkdir d/e; : >d/e/g
        getfacl -p d/f d/e d/e/g; stat -c '%a %n' d/f d/e d/e/g
        cp -a d c; getfacl -p c c/e; cp -p f g; getfacl -p g; mv f h; getfacl -p h
        getfacl -R d >saved; setfacl -R -b d; getfacl -p d d/f; setfacl --restore=saved
        getfacl -p d
        setfacl -x u:daemon h; getfacl -p h; setfacl -b h; getfacl -p h; ls -l h | cut -c1-11
        setfacl -m u:root:rwx h; getfacl -p h; chown daemon:adm h; getfacl -p h
        setpriv --reuid 8 --regid 8 --clear-groups setfacl -m u:9:r h; echo $?
        chmod 755 .; setpriv --reuid 1 --regid 1 --clear-groups setfacl -m u:9:r h; getfacl -pn h
    """,
    "extended attributes": """
        : >f; ln -s f l; setfattr -n user.a -v 1 f; setfattr -n trusted.b -v 2 f
        setfattr -n security.c -v 3 f; setfattr -h -n trusted.d -v 4 l; getfattr -d -m - f
        getfattr -h -d -m - l; cp -a f g; getfattr -d -m - g; rsync -aX f h; getfattr -d -m - h
        setfattr -x trusted.b f; setfattr -x security.c f; setfattr -x trusted.b f; echo $?
        getfattr -d -m - f; mknod c c 1 3; setfattr -n user.a -v 1 c; setfattr -n trusted.a -v 1 c
        getfattr -d -m - c; chmod 755 .; chmod 666 g
        setpriv --reuid 1 --regid 1 --clear-groups getfattr -d -m - g
        setpriv --reuid 1 --regid 1 --clear-groups setfattr -n trusted.x -v 1 g; echo $?
        tar --xattrs --xattrs-include='*' -cf t.tar g; mkdir in
        tar --xattrs --xattrs-include='*' -xf t.tar -C in; getfattr -d -m - in/g
    """,
    "capabilities": """
        cp /usr/bin/id p; setcap cap_net_raw,cap_chown+ep p; getcap p; cp -a p q; getcap q
        chown 5 p; getcap p; setcap -r q; getcap q; cp /bin/chown mychown
        setcap cap_chown+ep mychown; chmod 777 .; : >f; stat -c %u:%g f
        setpriv --reuid 1 --regid 1 --clear-groups ./mychown 5:6 f; stat -c %u:%g f
        capsh --print | grep -v -e Current -e Bounding -e IAB | head -20
        capsh --drop=cap_chown -- -c 'chown 7 f'; stat -c %u f
        capsh --keep=1 --user=daemon --inh=cap_chown --addamb=cap_chown -- -c 'chown 8 f; id -un'
        stat -c %u f; getpcaps $$ 2>&1 | sed 's/[0-9]*: //' | grep -c =ep
        capsh --keep=1 --user=daemon --inh=cap_chown --addamb=cap_chown -- -c 'exec sleep 300' |
            { until p=$(pgrep -x sleep); do :; done; getpcaps $p 2>&1 | sed 's/[0-9]*: //'
            capsh --user=mail -- -c "getpcaps 0 $p" 2>&1 | sed 's/[0-9]*: //'; kill $p; }
    """,
    "rsync": """
        mkdir d; echo x >d/f; ln d/f d/h; ln -s f d/l; mknod d/c c 1 3; mkfifo d/p
        chown daemon:adm d/f; chown -h mail:mail d/l; chmod 6755 d/f; setfacl -m u:mail:r d/f
        rsync -aHAXD d/ e; stat -c '%U:%G %a %h %F %t:%T %n' e/*; getfacl -p e/f
        rsync -aHAXD --delete --itemize-changes d/ e; rsync -a --chown=5:6 d/f g; stat -c %u:%g g
        rsync -rlpt d/ n 2>&1; stat -c '%u:%g %a %n' n/*
    """,
    "postgres": """
        export DEBIAN_FRONTEND=noninteractive PGDATABASE=postgres
        apt-get install -qy --no-install-recommends postgresql >log 2>&1 || cat log
        data=$(echo /var/lib/postgresql/*/main); version=$(ls /etc/postgresql); cd /
        stat -c '%U:%G %a %n' $data/base $data/PG_VERSION $data/.. /var/run/postgresql \\
            /etc/postgresql/*/main/pg_hba.conf | sed s,/$version,,
        find $data ! -user postgres -o ! -group postgres
        pg_ctlcluster $version main start; pg_lsclusters -h | tr -s ' ' | cut -d' ' -f2-5
        ask() { who=$1; shift; runuser -u $who -- psql -At "$@" 2>&1 | sed 's/.*FATAL/FATAL/'; }
        ask postgres -c 'select current_user'; ask root -c 'select 1'
        ask root -U postgres -c 'select 1'; ask daemon -U postgres -c 'select 1'
        useradd tester; su postgres -c 'createuser tester'
        su tester -c "psql -Atc 'select current_user'"
        ask tester -c 'select current_user'
        ask postgres -c 'create table t (x text)' -c "copy t from program 'id -un'" \\
            -c 'select x from t' -c "copy t to '/var/tmp/t'"
        stat -c '%U:%G %a' /var/tmp/t
        pg_ctlcluster $version main stop; pg_lsclusters -h | tr -s ' ' | cut -d' ' -f4
        find $data ! -user postgres -o ! -group postgres
        /usr/lib/postgresql/*/bin/initdb -D /var/tmp/db | sed 2q
        install -d -o tester /var/tmp/db
        runuser -u tester -- /usr/lib/postgresql/*/bin/initdb -D /var/tmp/db >/dev/null
        stat -c '%U:%G %a' /var/tmp/db /var/tmp/db/base
    """,
    "cpio and bsdtar": """
        mkdir d; echo x >d/f; ln -s f d/l; mknod d/c c 1 3; chown 5:6 d/f; chown -h 7:8 d/l
        find d | sort | cpio -o 2>/dev/null >c.cpio
        mkdir in; cd in; cpio -idm <../c.cpio 2>/dev/null
        stat -c '%u:%g %a %F %t:%T %n' d/*; cd ..; bsdtar -cf b.tar d; mkdir bsd
        bsdtar -xpf b.tar -C bsd; stat -c '%u:%g %a %F %t:%T %n' bsd/d/*
    """,
}

ROWS = [
    *(
        Row(name.replace(" ", "-"), "busybox", script)
        for name, script in {
            **BUSYBOX,
            **surroundings.BUSYBOX,
            **table_sysv.BUSYBOX,
            **table_starts.BUSYBOX,
        }.items()
    ),
    *(
        Row(name.replace(" ", "-"), "debian", script)
        for name, script in {
            **DEBIAN,
            **surroundings.DEBIAN,
            **table_sysv.DEBIAN,
            **table_starts.DEBIAN,
        }.items()
    ),
    *(
        Row(name.replace(" ", "-"), "tools", script)
        for name, script in {**TOOLS, **surroundings.TOOLS}.items()
    ),
    *(Row(name.replace(" ", "-"), "rpm", script) for name, script in RPM.items()),
    *(Row(name.replace(" ", "-"), base, script, strict) for base, name, script, strict in ACCESS),
    *(
        Row(name.replace(" ", "-"), "busybox", script, strict=True)
        for name, script in table_sysv.STRICT_BUSYBOX.items()
    ),
]

INSTALL = f"apt-get -q update && apt-get install -qy --no-install-recommends {' '.join(PACKAGES)}"


def row_script(row: Row) -> str:
    """Return a script that runs ``row`` in an empty directory, and also prints its errors."""
    return f"exec 2>&1; umask 022; rm -rf /tmp/w; mkdir /tmp/w; cd /tmp/w\n{row.script}\nexit 0"
