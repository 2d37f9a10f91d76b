# Other implementations of the same programs: busybox, toybox, uutils

## busybox-chown-ls
busybox touch a
busybox chown alice:project a
busybox ls -ln a | awk '{print $1,$3,$4}'
busybox chmod 4755 a
busybox stat -c '%n %a %U:%G %h' a
busybox mkdir -m 2770 d
busybox chgrp -R project d
busybox mknod n c 1 3
busybox mkfifo p
busybox ls -l | awk '{print $1,$3,$4}'
## busybox-cp-mv-tar
mkdir s
touch s/f
mknod s/c c 1 3
chown -R alice:project s
busybox cp -a s t
busybox tar -cf a.tar t
busybox tar -tvf a.tar | awk '{print $1,$2,$NF}'
busybox rm -r t
busybox tar -xpf a.tar
busybox find t -exec busybox stat -c '%n %u:%g %t:%T' {} +
busybox mv t /tmp/u
busybox stat -c %U /tmp/u/f
## busybox-cpio-install
mkdir s
touch s/f
chown alice s/f
busybox find s | busybox cpio -o -H newc >a 2>/dev/null
rm -r s
busybox cpio -id <a 2>/dev/null
busybox stat -c %U s/f
busybox install -o bob -g project -m 4711 s/f g
busybox stat -c '%U:%G %a' g
## busybox-mv-sed-gzip
echo x >a
busybox chown alice:project a
busybox chmod 4640 a
busybox sed -i s/x/y/ a
busybox stat -c '%U:%G %a' a
busybox gzip a
busybox gunzip a.gz
busybox cp -p a b
busybox mv a c
busybox stat -c '%n %U:%G %a' b c
## busybox-identity
busybox id
busybox whoami
busybox su alice -c 'busybox id'
busybox id bob
busybox chroot / /bin/busybox id -u 2>/dev/null || busybox chroot / /usr/bin/busybox id -u
busybox start-stop-daemon -S -b -m -p /tmp/pid -c alice:project -x /bin/sleep -- 30
sleep 0.3
busybox ps -o user,args | grep '[s]leep 30'
busybox start-stop-daemon -K -p /tmp/pid
## busybox-find-xargs
touch a b
chown alice a
busybox find . -user alice
busybox find . -group 0 -type f
busybox find . -perm /111 -type f
busybox find . -type f | busybox xargs busybox chown bob
busybox stat -c '%n %U' a b
## busybox-crond
## seconds: 100
mkdir -p cr
echo '* * * * * id -u >/tmp/ran' >cr/alice
busybox crond -b -c /w/cr -L /dev/null
for i in $(seq 75); do
    test -s /tmp/ran && break
    sleep 1
done
cat /tmp/ran
stat -c %U /tmp/ran
## busybox-httpd-inetd
mkdir r
echo page >r/index.html
busybox httpd -p 127.0.0.1:8490 -u nobody -h r
sleep 0.3
curl -s http://127.0.0.1:8490/index.html
ps -o user= -C busybox | sort -u
## busybox-ln-rm
busybox touch a
busybox chown alice a
busybox ln a b
busybox ln -s a c
busybox chown -h bob c
busybox ls -l | awk '{print $1,$2,$3,$4}'
busybox rm a
busybox stat -c '%U %h' b
## toybox-files
toybox touch a
toybox chown alice:project a
toybox stat -c '%n %a %U:%G' a
toybox chmod 4755 a
toybox mknod n c 1 3
toybox ls -ln | awk '{print $1,$3,$4}'
toybox cp -a a b
toybox stat -c '%U %a' b
toybox install -o bob a c
toybox stat -c %U c
toybox find . -user alice | sort
## toybox-tar-cpio
mkdir s
touch s/f
mknod s/c c 1 3
chown -R alice:project s
toybox tar -cf a s
toybox tar -tvf a | awk '{print $1,$2,$NF}'
rm -r s
toybox tar -xpf a
find s -printf '%P %y %m %u:%g\n' | sort
find s | toybox cpio -o -H newc >c
tar --version >/dev/null
cpio -tv --quiet <c | awk '{print $1,$3,$4,$NF}'
## toybox-identity
toybox id
toybox groups alice
toybox logname 2>&1 | head -n 1
toybox setsid toybox id -u
toybox whoami
toybox chroot / id -u
## uutils-files
p=$(dirname $(dpkg -L rust-coreutils | grep -m1 'bin/.*stat$'))
ls $p | wc -l >/dev/null
u() {
    c=$1
    shift
    if test -x /usr/lib/cargo/bin/coreutils/$c; then /usr/lib/cargo/bin/coreutils/$c "$@"; else coreutils $c "$@"; fi
}
u touch a
u chown alice:project a
u stat -c '%n %a %U:%G' a
u chmod 4755 a
u mknod n c 1 3
u mkfifo p
u ls -ln | awk '{print $1,$3,$4}'
u cp -a a b
u stat -c '%U %a' b
u install -o bob -m 2755 a c
u stat -c '%U %a' c
u mv c /tmp/d
u stat -c %U /tmp/d
u id
u whoami
u groups
u chgrp -R project .
u stat -c %G .
## uutils-du-test
u() {
    c=$1
    shift
    if test -x /usr/lib/cargo/bin/coreutils/$c; then /usr/lib/cargo/bin/coreutils/$c "$@"; else coreutils $c "$@"; fi
}
touch a
chown alice a
u test -O a || echo other
u test -O /etc/passwd && echo own
u chroot --userspec=alice / id -u
u chown -v --from=alice bob a
u chown -Rc alice .
u dir -l | awk '{print $1,$3}'
## mc-like-7z
touch f
chown alice f
7z a -ttar a.tar f >/dev/null
tar -tvf a.tar | awk '{print $2}'
rm f
7z x -y a.tar >/dev/null
stat -c %U f
