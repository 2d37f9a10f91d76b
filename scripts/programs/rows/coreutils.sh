# GNU coreutils

## chown-forms
touch a b c d e
chown alice a
chown alice:project b
chown :project c
chown alice: d
chown 1234:4321 e
stat -c '%n %U:%G %u:%g' *
ls -ln | awk '{print $1, $3, $4, $9}'
## chown-recursive
mkdir -p t/a/b
touch t/f t/a/g t/a/b/h
ln -s /etc/passwd t/link
chown -Rv alice:project t
stat -c '%n %u:%g' /etc/passwd
## chown-recursive-follow
mkdir -p t out
touch out/x
ln -s ../out t/o
chown -RLv alice t
chown -RHv bob t
ls -ln out | awk '{print $1, $3, $4, $9}'
## chown-symlink
ln -s nowhere l
chown -h bob l
stat -c '%u %g %F' l
chown bob l || echo "status $?"
## chown-from
touch a b
chown bob a
chown --from=bob alice a b
stat -c '%n %U' a b
chown --reference=a b
stat -c %U b
## chown-clears-set-id
touch a
chmod 6755 a
stat -c %a a
chown alice a
stat -c %a a
chmod 2644 a
chown bob a
stat -c %a a
## chown-large-ids
touch a b
chown 4294967294:70000 a
stat -c '%u %g' a
chown 4294967295 b || echo "status $?"
## chown-verbose-changes
touch a
chown -c alice a
chown -c alice a
chown -v alice a
chgrp -c project a
chgrp -v project a
## chown-unknown-user
touch a
chown nobody-at-all a || echo "status $?"
chgrp no-group a || echo "status $?"
## chmod-forms
touch a
for m in 0 600 4755 2755 1777 u+s g+s,o+t a=r u=rwX,g-s; do
    chmod $m a
    stat -c "$m %a %A" a
done
## chmod-recursive
mkdir -p d/e
touch d/e/f
chown -R alice:project d
chmod -Rv g+sw,o-rwx d
## chmod-setgid-directory
mkdir d
chgrp project d
chmod 2775 d
touch d/a
mkdir d/b
touch d/b/c
cp /etc/hostname d/x 2>/dev/null || cp /etc/passwd d/x
find d -printf '%p %m %u:%g\n' | sort
## install-owner
install -o alice -g project -m 4750 /bin/true p
install -d -o bob -m 1770 q/r
install -D -o alice /etc/passwd q/s/t
stat -c '%n %a %U:%G' p q q/r q/s q/s/t
## install-preserve
echo x >a
chown alice a
touch -d 2001-02-03 a
install -p a b
install -C -o bob a c
install -C -o bob a c
stat -c '%n %U %y' a b c
## cp-archive
mkdir -p s/d
echo x >s/f
ln s/f s/g
ln -s f s/l
mkfifo s/p
mknod s/c c 1 3
mknod s/b b 7 0
chown -h alice:project s/* s
chmod 4711 s/f
cp -a s t
find t -printf '%P %y %m %u:%g %n %l\n' | sort
stat -c '%n %t:%T' t/b t/c
## cp-preserve-parts
echo x >a
chown alice:project a
chmod 6751 a
cp a b
cp -p a c
cp --preserve=mode a d
cp --preserve=ownership a e
cp --no-preserve=all a f
cp --attributes-only -p a g
stat -c '%n %a %U:%G %s' ?
## cp-xattr-acl
echo x >a
setfattr -n user.k -v v a
setfacl -m u:alice:rw,g:project:r a
cp -a a b
cp -p a c
cp a d
getfacl -n a b c d
getfattr -d a b c d
## cp-capability
cp /bin/true a
setcap cap_net_raw+ep a
cp a b
cp -a a c
cp --preserve=xattr a d
getcap a b c d
## cp-from-etc
cp -a /etc/shadow /etc/gshadow /etc/sudoers /var/mail .
find . -printf '%P %m %u:%g\n' | sort
## cp-onto-other
echo x >a
chown alice a
chmod 4755 a
echo yy >b
cp b a
stat -c '%n %U %a %s' a b
cp --remove-destination b a
stat -c '%n %U %a' a
## mv-between-filesystems
mkdir -p d/e
echo x >d/e/f
mknod d/c c 5 1
chown -R alice:project d
chmod 4755 d/e/f
mv d /tmp/moved
find /tmp/moved -printf '%P %m %u:%g\n' | sort
mv /tmp/moved back
find back -printf '%P %y %m %u:%g\n' | sort
## mv-rename-keeps
touch a b
chown alice a
chown bob b
mv a c
mv -f c b
stat -c '%n %U' *
mkdir d
mv b d
stat -c '%n %U' d/b
## mv-exchange
touch a b
chown alice a
chown bob b
mv --exchange a b
stat -c '%n %U' a b
## ln-hard
touch a
chown alice a
ln a b
ln -P b c
chown bob c
stat -c '%n %U %h' a b c
rm a
chown 77 b
stat -c '%n %u %h' b c
## ln-symbolic
ln -s a l
chown -h alice l
ln -sf b l
stat -c '%n %U %N' l
ln -sr /etc/passwd p
readlink p
## mkdir-mknod-modes
mkdir -m 2775 a
mkdir -p -m 700 b/c
mkfifo -m 604 f
mknod -m 640 c c 1 3
mknod -m 660 b/b b 8 1
umask 027
mkdir d
mknod e p
stat -c '%n %F %a %U:%G %t:%T' a b b/* f c d e
## mknod-all
mknod null c 1 3
mknod loop b 7 200
mknod pipe p
mknod big c 511 1048575
mknod null c 1 3 || echo "status $?"
ls -ln | awk '{print $1, $3, $4, $5, $6}'
rm null loop
ls
## device-types
mknod n c 1 3
mknod b b 8 0
mkfifo p
test -c n
test -b b
test -p p
! test -f n
file n b p
stat -c '%F %t %T %A' n b p
find . -type c -o -type b
## touch-times-of-others
touch a
chown alice a
touch -d '2020-01-02 03:04:05' a
stat -c '%U %y' a
touch -r a b
stat -c '%U %y' b
touch -h -d 2011-01-01 a
## truncate-dd-other
echo hello >a
chown alice:project a
truncate -s 2 a
dd if=/dev/zero of=a bs=1 count=3 conv=notrunc,fsync status=none
stat -c '%U:%G %s %a' a
## shred-owner
echo hello >a
chown alice a
shred -n 1 a
stat -c '%U %a' a
shred -u a
ls
## sort-output-in-place
printf 'b\na\n' >a
chown alice a
chmod 640 a
sort -o a a
stat -c '%U %a' a
cat a
## tee-append
echo x >a
chown alice a
chmod 4755 a
echo y | tee -a a >/dev/null
stat -c '%U %a' a
echo z >>a
stat -c '%U %a' a
echo z >a
stat -c '%U %a' a
## id-groups-whoami
id
id -u
id -G
whoami
groups
logname || echo "status $?"
id alice
id -Gn postgres
groups alice bob
## id-in-chroot
chroot --userspec=alice:project --groups=33,44 / id
chroot --userspec=1234:5 / id
chroot --skip-chdir / pwd
## chroot-tree
mkdir -p t/bin t/d
cp /bin/busybox t/bin/ 2>/dev/null || cp /usr/bin/busybox t/bin/
touch t/d/f
chown alice:project t/d/f
mknod t/null c 1 3
chroot t /bin/busybox ls -ln /d | awk '{print $1, $3, $4, $9}'
chroot t /bin/busybox stat -c '%n %u %t' /null
chroot --userspec=1000:1000 t /bin/busybox id -u
## ls-forms
touch a
mkdir b
mknod c c 4 64
chown alice:project a b c
chmod 4755 a
chmod 1777 b
ls -l --time-style=+
ls -ln --time-style=+
ls -lo --time-style=+
ls -ld --author --time-style=+ a
ls -lZ a | cut -d' ' -f5-6
## stat-forms
touch a
chown alice:project a
chmod 2640 a
stat -c '%a %A %f %u %U %g %G %h %F' a
stat -f -c %T . >/dev/null
stat -Lc '%U' /dev/stdin >/dev/null
stat -c '%U:%G %a' / /etc /tmp /var /root /etc/shadow
## stat-dev
stat -c '%n %F %a %u:%g %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/tty
## df-du
du -s --apparent-size -B1 /etc/passwd | cut -f1 >/dev/null
mkdir d
head -c 5000 /dev/zero >d/f
chown -R alice d
du -sb d/f
df --output=target / | tail -n 1
## test-operators
touch a
chown alice a
for o in -O -G -r -w -x -u -g -k -e -s; do test $o a && echo "$o yes" || echo "$o no"; done
test -O /etc/passwd && echo mine
test -w /etc/shadow && echo writable
## tail-follow-owner
echo x >a
chown alice a
timeout 1 tail -f a || echo "status $?"
wc -c a
nl a
stat -c %U a
## split-csplit
seq 1 9 >a
chown alice a
split -l 3 a s.
csplit -s a 4
chgrp project s.*
stat -c '%n %U:%G %s' *
## mktemp-modes
f=$(mktemp)
d=$(mktemp -d)
stat -c '%a %U:%G' "$f" "$d"
chown alice "$f"
rm "$f"
rmdir "$d"
## sync-realpath
touch a
chown alice a
sync a
realpath a
readlink -f a
basename "$(pwd)"
pathchk a
unlink a
ls
## nice-priority
nice
nice -n 5 nice
chrt -p $$ | sed s/[0-9]*\'s//
ionice -c 2 -n 3 ionice
## nice-negative
## differs: nothing emulates the right to raise a priority; the kernel refuses it
nice -n -5 nice
## runcon-nohup-env
nohup id -u </dev/null
env -i /usr/bin/id -un
stdbuf -o0 id -g
timeout 5 id -un
timeout --signal=KILL 1 sleep 9 || echo "status $?"
## rm-other-owners
mkdir -p d/e
touch d/e/f
chown -R alice d
chmod 500 d/e
chmod 000 d/e/f
rm -r d
ls
mkdir k
chown bob k
chmod 1777 k
touch k/f
chown alice k/f
rm -f k/f
ls k
## dir-permissions-root
mkdir d
touch d/f
chown -R alice d
chmod 000 d
ls d
echo x >d/g
cat d/g
stat -c '%a %U' d d/g
## read-unreadable
echo x >a
chmod 000 a
cat a
chown bob a
cat a
chmod 200 a
cat a
echo y >>a
cat a
sh ./a || echo "status $?"
./a || echo "status $?"
