# GNU findutils, tree, mtree, file, lsof and other programs that look

## find-user-group
touch a b c
mkdir d
chown alice a d
chgrp project b d
find . -user alice
find . -group project
find . -uid 1000
find . -gid +999 | sort
find . ! -user root
## find-nouser
touch a b
chown 5555 a
chgrp 6666 b
find . -nouser
find . -nogroup
## find-perm
touch a b c
chmod 4755 a
chmod 2755 b
chmod 1644 c
find . -perm -4000
find . -perm /6000 | sort
find . -perm 1644
## find-printf
touch a
ln -s a l
mknod c c 1 3
chown -h alice:project a l c
find . -mindepth 1 -printf '%f %y %Y %m %M %u %g %U %G %n %l\n' | sort
## find-ls
touch a
chown alice:project a
find . -ls | awk '{print $3, $4, $5, $6, $NF}'
## find-system-set-id
find / -xdev \( -perm -4000 -o -perm -2000 \) -type f -printf '%p %m %u:%g\n' | sort
## find-system-not-root
find / -xdev ! -user root -printf '%p %y %m %u:%g\n' | grep -v '^/\(w\|proc\|sys\|dev\|srv\)' | sort
## find-access
touch a
chmod 000 a
chown alice a
find . -readable
find . -writable
find . -executable
## find-newer-exec
touch a
chown alice a
find . -name a -exec chown bob {} + -exec stat -c '%n %U' {} \;
find . -type f -delete
ls
## xargs-chown
touch a b c
printf '%s\0' a b c | xargs -0 -P 2 -n 1 chown alice
stat -c '%n %U' a b c
## find-devices
mknod a c 1 3
mknod b b 7 1
mkfifo p
find . -type c
find . -type b
find . -type p
find . -type f
## tree-owners
mkdir -p d/e
touch d/e/f
chown -R alice:project d
mknod d/n c 1 3
tree -ugp --noreport d
## mtree-specification
mkdir -p d/e
echo x >d/e/f
mknod d/n c 1 5
chown -R alice:project d
chmod 4755 d/e/f
mtree -c -k uid,gid,mode,type,device,link,nlink -p d | grep -v '^#' >spec
cat spec
chown bob d/e/f
mtree -p d -f spec || echo "status $?"
## mtree-update
mkdir d
touch d/f
chown alice:project d/f
mtree -c -k uid,gid,mode,type -p d >spec
chown root:root d/f
chmod 600 d/f
mtree -U -p d -f spec || echo "status $?"
stat -c '%U:%G %a' d/f
## aide-check
mkdir d
touch d/f
chown alice d/f
printf 'database_in=file:/w/db\ndatabase_out=file:/w/new\n/w/d p+u+g+acl+xattrs\n' >conf
aide -c conf --init >/dev/null || true
mv new db
chown bob d/f
aide -c conf --check | grep -E '^ *(Uid|Gid|Perm|f )' || true
## metastore-apply
mkdir d
touch d/f
chown alice:project d/f
chmod 640 d/f
metastore -s -f meta d
chown root:root d/f
chmod 600 d/f
metastore -c -f meta d || true
metastore -a -f meta d
stat -c '%U:%G %a' d/f
## file-special
mknod c c 1 3
mknod b b 7 1
mkfifo p
touch e
chmod 4755 e
chmod 1777 .
file c b p e .
## namei-long
mkdir -p a/b
ln -s a/b l
chown alice a
chown -h bob l
namei -l l/.. | sed 1d
namei -mo /etc/shadow
## lsof-user
su alice -s /bin/sh -c 'exec 9>/tmp/open; sleep 1' &
sleep 0.3
lsof -a -c sleep -d 9 -F un | grep -v '^p'
wait
## inotify-watch
mkdir d
(
    sleep 0.5
    touch d/a
    chown alice d/a
    chmod 600 d/a
    mv d/a d/b
    rm d/b
) &
timeout 3 inotifywait -q -m -t 2 -e create,moved_to,delete --format '%e %f' d || true
## inotify-attrib
touch a
(
    sleep 0.5
    chown alice a
    chmod 600 a
) &
timeout 2 inotifywait -q -m -e attrib --format '%e' . a || echo "status $?"
## moreutils-sponge
echo b >a
chown alice:project a
chmod 640 a
sed s/b/c/ a | sponge a
stat -c '%U:%G %a' a
cat a
## sed-in-place
echo b >a
chown alice:project a
chmod 4750 a
sed -i s/b/c/ a
stat -c '%U:%G %a' a
setfacl -m u:bob:r a
sed -i s/c/d/ a
getfacl -n a
## perl-in-place
echo b >a
chown alice:project a
perl -pi -e s/b/c/ a
stat -c '%U:%G %a' a
## patch-owner
printf 'a\n' >f
printf -- '--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b\n' >p
chown alice f
chmod 4755 f
patch f <p
stat -c '%U %a' f
## gzip-xz-owner
for z in gzip bzip2 xz zstd; do
    echo x >f-$z
    chown alice:project f-$z
    chmod 640 f-$z
    $z -qf f-$z
done
stat -c '%n %U:%G %a' *
gunzip -f f-gzip.gz
stat -c '%n %U:%G %a' f-gzip
## strace-chown
touch a
strace -e trace=fchownat,chown,geteuid -o log chown alice a
grep -c chown log
stat -c %U a
## attributes-lsattr
touch a
lsattr a | awk '{print $NF}'
chattr +d a 2>&1 | sed 's/ while.*//' || true
