# Access control lists, capabilities, extended attributes

## acl-set-get
touch a
setfacl -m u:alice:rw,u:4711:r,g:project:rx,m::rx,o::- a
getfacl a
getfacl -n a
stat -c '%a %A' a
## acl-default
mkdir d
setfacl -d -m u:alice:rwx,g:project:rx,o::- d
touch d/f
mkdir d/e
getfacl -n d d/f d/e
(
    umask 077
    touch d/g
)
stat -c %a d/g
## acl-mask-chmod
touch a
setfacl -m u:alice:rwx a
chmod 640 a
getfacl -n a
chmod g+x a
getfacl -n a
chown bob:project a
getfacl -n a
## acl-remove
touch a
setfacl -m u:alice:rw,g:project:r a
setfacl -x u:alice a
getfacl -n a
setfacl -b a
getfacl -n a
stat -c %A a
mkdir d
setfacl -d -m u:bob:r d
setfacl -k d
getfacl -n d
## acl-restore
touch a b
chown alice:project a
chmod 4750 a
setfacl -m u:bob:r a
getfacl a b >l
setfacl -b a
chown root:root a
chmod 600 a
setfacl --restore=l
getfacl a
stat -c '%a %U:%G' a
## acl-recursive
mkdir -p d/e
touch d/e/f
setfacl -R -m u:alice:rwX,d:u:alice:rwX d
getfacl -R -n d
## acl-copy
touch a b
setfacl -m u:alice:r a
getfacl a | setfacl --set-file=- b
getfacl -n b
getfacl --omit-header a | setfacl -M- b
ls -l b | cut -c1-11
## acl-chacl
touch a
chacl 'u::rw-,u:alice:r--,g::r--,m::r--,o::---' a
chacl -l a
chacl -B a
chacl -l a
## acl-as-user
touch a
chmod 644 a
su alice -c 'setfacl -m u:bob:r /w/a' || echo "status $?"
chmod 777 .
su alice -c 'touch m; setfacl -m u:bob:rw m; getfacl -n m'
## acl-minimal
touch a
setfacl -m u::rwx,g::r,o::- a
stat -c %A a
getfattr -m- -d a
## setcap-getcap
cp /bin/true a
setcap cap_net_bind_service,cap_sys_admin+eip a
getcap a
setcap -v cap_net_bind_service,cap_sys_admin+eip a
getfattr -e hex -n security.capability a
setcap -r a
getcap a
## caps-of-a-namespace
## differs: a program in a user namespace can't give capabilities that hold in another one
cp /bin/true b
setcap -n 1000 cap_chown+ep b
getcap -n b
## caps-lost
cp /bin/true a
setcap cap_chown+p a
chown alice a
getcap a
setcap cap_chown+p a
echo x >>a
getcap a
setcap cap_chown+p a
chmod 700 a
getcap a
mv a b
ln b c
getcap b c
## caps-recursive
mkdir d
cp /bin/true d/a
setcap cap_kill=ep d/a
getcap -r d
getcap -r /usr/bin /usr/sbin /usr/lib | sort
## caps-program-root
/usr/sbin/capsh --print | grep -E '^(uid|gid|groups|Securebits)'
capsh --has-p=cap_chown && echo held
## caps-program-drop
capsh --drop=cap_chown -- -c 'touch a; chown alice a || echo refused'
capsh --user=alice -- -c 'id -u; grep CapEff /proc/self/status'
capsh --keep=1 --uid=1000 --caps=cap_chown+eip -- -c 'touch /w/b 2>/dev/null; id -u'
## caps-inheritable-ambient
capsh --keep=1 --gid=1000 --uid=1000 --inh=cap_net_raw --addamb=cap_net_raw -- -c 'capsh --has-a=cap_net_raw && echo ambient; id -u; getpcaps $$ 2>&1 | sed "s/^[0-9]*: //"'
## caps-file-run
cp /usr/sbin/capsh c
setcap cap_setuid,cap_setgid+ep c
chmod 755 c
su alice -c '/w/c --uid=0 -- -c "id -u"'
su alice -c '/w/c --print' | grep -E 'Current:|^uid'
## caps-pscap
filecap=$(command -v filecap || true)
echo "${filecap:-none}"
setpriv --dump | grep -vE 'Capability bounding'
## xattr-user
touch a
setfattr -n user.one -v 1 a
setfattr -n user.two -v 0x00ff a
getfattr -d -m- a
setfattr -x user.one a
getfattr -d a
ln -s a l
setfattr -h -n user.x -v y l || echo "status $?"
## xattr-trusted
touch a
setfattr -n trusted.k -v v a
getfattr -n trusted.k a
getfattr -d -m trusted a
su alice -c 'getfattr -n trusted.k /w/a' || echo "status $?"
setfattr -x trusted.k a
mkdir d
setfattr -n trusted.d -v e d
ln -s d l
setfattr -h -n trusted.l -v m l
getfattr -h -n trusted.l l
## xattr-security
touch a
setfattr -n security.test -v v a
getfattr -n security.test a
su alice -c 'getfattr --only-values -n security.test /w/a' || echo "status $?"
su alice -c 'setfattr -n security.test -v w /w/a' || echo "status $?"
## xattr-python-attr
touch a
attr -s key -V value a
attr -g key a
attr -l a
attr -r key a
attr -l a
attr -q -R -s top -V v a
attr -q -R -g top a
## xattr-restore
touch a b
setfattr -n user.a -v 1 a
setfattr -n trusted.b -v 2 b
getfattr -d -m- a b >dump
setfattr -x user.a a
setfattr --restore=dump
getfattr -d a
## xattr-large
touch a
setfattr -n user.big -v "$(head -c 2000 /dev/zero | tr '\0' x)" a
getfattr --only-values -n user.big a | wc -c
setfattr -n user.huge -v "$(head -c 66000 /dev/zero | tr '\0' x)" a || echo "status $?"
## acl-and-owner-copy-up
setfacl -m u:alice:r /etc/shadow
getfacl -n -p /etc/shadow
chgrp alice /etc/gshadow
stat -c '%n %a %u:%g' /etc/shadow /etc/gshadow
