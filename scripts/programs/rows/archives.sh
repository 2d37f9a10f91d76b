# Archives, copies and file systems in a file

## tar-round
mkdir -p s/d
echo x >s/f
ln s/f s/h
ln -s f s/l
mkfifo s/p
mknod s/c c 1 3
mknod s/b b 7 0
chown -h alice:project s s/*
chmod 6711 s/f
tar -cf a.tar s
tar --numeric-owner -tvf a.tar | awk '{print $1, $2, $6, $7, $8}'
mkdir o
tar -xpf a.tar -C o
find o -printf '%P %y %m %u:%g %n\n' | sort
## tar-same-owner
touch f
chown alice f
tar -cf a f
mkdir x y z
tar -xf a -C x
tar -xf a --no-same-owner -C y
tar -xf a --owner=bob -C z
stat -c '%n %U' */f
## tar-numeric-unknown
touch f
chown 7777:8888 f
tar -cf a f
tar -tvf a | awk '{print $1,$2}'
rm f
tar -xf a
stat -c %u:%g f
## tar-xattrs-acls
cp /bin/true f
setcap cap_net_raw=ep f
touch g
setfacl -m u:alice:rw g
setfattr -n user.a -v b g
tar --xattrs --xattrs-include='*' --acls -cf a f g
rm f g
tar --xattrs --xattrs-include='*' --acls -xpf a
getcap f
getfacl -n g
getfattr -d g
## tar-as-user
mkdir d
chmod 777 d
touch f
chown bob:project f
chmod 644 f
tar -cf a f
su alice -s /bin/sh -c 'cd d && tar -xpf ../a && stat -c "%U:%G %a" f'
## tar-owner-map
touch f g
chown alice f
chown bob g
printf 'alice postgres:4000\n' >map
tar --owner-map=map -cf a f g
tar --numeric-owner -tvf a | awk '{print $2,$NF}'
## tar-incremental
mkdir d
touch d/a
chown alice d/a
tar -g snap -cf 0 d
touch d/b
chown bob d/b
tar -g snap -cf 1 d
tar -tvf 1 | awk '{print $2, $NF}'
## tar-overwrite-unlink
echo 1 >f
chown alice f
tar -cf a f
chown bob f
ln f g
tar -xpf a --overwrite
stat -c '%n %U %h' f g
tar -xpf a --unlink-first
stat -c '%n %U %h' f g
## tar-system
tar -C / -cf - etc var/mail var/lib/postgresql 2>/dev/null | tar --numeric-owner -tvf - | awk '$2 != "0/0" {print $1, $2, $6}' | sort
## bsdtar-round
mkdir s
echo x >s/f
mknod s/c c 1 3
mkfifo s/p
chown -R alice:project s
chmod 4755 s/f
bsdtar -cf a s
bsdtar -tvf a | awk '{print $1,$3,$4,$NF}'
rm -r s
bsdtar -xpf a
find s -printf '%P %y %m %u:%g\n' | sort
## bsdtar-formats
touch f
chown alice:project f
for t in pax ustar cpio newc mtree; do bsdtar --format $t -cf a.$t f; done
bsdtar -tvf a.newc | awk '{print $3,$4}'
grep -o 'uid=[0-9]*' a.mtree
## bsdtar-acls
touch f
setfacl -m u:alice:rw,d:u:bob:r .
setfacl -m u:alice:rw f
bsdtar -cf a --acls f
rm f
bsdtar --acls -xpf a
getfacl -n f
## cpio-round
mkdir s
echo x >s/f
mknod s/b b 7 2
chown -R alice:project s
chmod 2755 s/f
for h in newc crc odc ustar; do find s | cpio -o -H $h -F a.$h --quiet; done
cpio -tv --quiet -F a.newc | awk '{print $1,$3,$4,$NF}'
rm -r s
cpio -i --quiet -F a.odc
find s -printf '%P %y %m %u:%g\n' | sort
## cpio-pass
mkdir s t
echo x >s/f
ln s/f s/g
chown -R alice:project s
cd s
find . | cpio -pdm --quiet ../t
find . | cpio -pdml --quiet --owner=bob: ../u
cd ..
find t u -printf '%p %m %u:%g %n\n' | sort
## pax-round
mkdir s
echo x >s/f
mkfifo s/p
chown -R alice:project s
pax -w -f a s
pax -v -f a 2>/dev/null | awk '{print $1,$3,$4,$NF}'
rm -r s
pax -r -pe -f a
mkdir t
pax -rw -pe s t
find s t -printf '%p %y %m %u:%g\n' | sort
## afio-round
mkdir s
echo x >s/f
chown -R alice:project s
find s | afio -o a
afio -tv a | awk '{print $1,$3,$4,$NF}'
rm -r s
afio -i a
find s -printf '%P %m %u:%g\n' | sort
## zip-unzip
mkdir s
echo x >s/f
chown alice:project s/f
chmod 4755 s/f
zip -qr a.zip s
rm -r s
unzip -qX a.zip
find s -printf '%P %m %u:%g\n' | sort
7z x -so a.zip | wc -c
## ar-deterministic
echo x >f
chown alice:project f
ar rcU a f
ar tv a | awk '{print $1,$2}'
ar xo a
stat -c %U f
## rsync-archive
mkdir s
echo x >s/f
ln s/f s/g
ln -s f s/l
mkfifo s/p
mknod s/c c 1 3
chown -h alice:project s/*
chmod 4711 s/f
rsync -aHAXi s/ t
find t -printf '%P %y %m %u:%g %n\n' | sort
chown bob s/f
rsync -aHi s/ t
## rsync-chown-usermap
touch f g
chown alice f
rsync -a --chown=bob:project f a
rsync -a --usermap=alice:postgres f g b/
rsync -a --numeric-ids f c
stat -c '%n %U:%G' a b/* c
## rsync-fake-super
touch f
chown alice:project f
mknod c c 1 3
rsync -a --fake-super --specials --devices f c t/
getfattr -d t/f t/c
rsync -a --rsync-path='rsync --fake-super' t/ u
stat -c '%n %U:%G %F' u/f u/c
## rsync-acls-xattrs
touch f
setfacl -m u:alice:rwx,g:project:r f
setfattr -n user.x -v y f
cp /bin/true t
setcap cap_chown+ep t
rsync -aAX f t d/
getfacl -n d/f
getfattr -d d/f
getcap d/t
## rsync-daemon
mkdir m
touch m/f
chown alice m/f
printf 'uid=nobody\ngid=nogroup\nuse chroot=no\nport=2873\npid file=/w/pid\n[m]\npath=/w/m\nread only=no\n' >conf
chmod 777 m
rsync --daemon --config=conf
sleep 0.5
rsync -a rsync://localhost:2873/m/ got
stat -c '%n %U' got/f
echo x >n
rsync n rsync://localhost:2873/m/
stat -c '%n %U:%G' m/n
kill "$(cat pid)"
## squashfs-round
mkdir s
echo x >s/f
mknod s/c c 1 3
mkfifo s/p
chown -R alice:project s
chmod 4755 s/f
setfattr -n user.a -v b s/f
mksquashfs s a -quiet -no-progress -comp gzip >/dev/null
unsquashfs -lln a | awk '{print $1,$2,$NF}' | grep squashfs
unsquashfs -q -n -d o a
find o -printf '%P %y %m %u:%g\n' | sort
getfattr -d o/f
## squashfs-all-root
touch f
chown alice f
mksquashfs f a -quiet -no-progress -all-root >/dev/null
unsquashfs -lln a | awk '{print $1,$2}' | tail -n 1
mksquashfs f b -quiet -no-progress -p 'dev c 600 33 44 5 1' -force-uid bob >/dev/null
unsquashfs -lln b | awk '{print $1,$2,$NF}' | grep squashfs-root/
## squashfs-tar
touch f
chown alice:project f
mknod c c 1 8
tar -cf - f c | mksquashfs - a -tar -quiet -no-progress >/dev/null
unsquashfs -lln a | awk '{print $1,$2,$NF}' | grep root/
sqfs2=$(unsquashfs -pf - a | grep -v '^#' | cut -c1-40 | sort)
echo "$sqfs2" | cut -d' ' -f1-2,4-6
## xorriso-rock-ridge
mkdir s
echo x >s/f
chown alice:project s/f
chmod 640 s/f
xorriso -as mkisofs -quiet -R -o a.iso s 2>/dev/null
xorriso -indev a.iso -lsl -- 2>/dev/null | awk '{print $1,$3,$4,$NF}'
xorriso -osirrox on -indev a.iso -extract /f g 2>/dev/null
stat -c '%U:%G %a' g
## genisoimage
mkdir s
echo x >s/f
mknod s/c c 1 3
chown alice:project s/*
genisoimage -quiet -R -o a s
isoinfo -l -R -i a | awk '{print $1,$3,$4}' | grep -v '^ *$'
## mke2fs-directory
mkdir s
echo x >s/f
mknod s/c c 1 3
chown alice:project s/*
setfattr -n user.a -v b s/f
mke2fs -q -t ext4 -d s a 4M
debugfs -R 'ls -l /' a 2>/dev/null | awk '{print $2,$4,$5,$NF}'
debugfs -R 'stat /c' a 2>/dev/null | grep -E 'Type|User|Device'
## mkfs-btrfs-rootdir
mkdir s
echo x >s/f
chown alice:project s/f
mkfs.btrfs -q --rootdir s a
mkdir o
btrfs restore -mS a o >/dev/null
stat -c '%U:%G %a' o/f
## erofs-round
mkdir s
echo x >s/f
mknod s/c c 1 3
chown alice:project s/*
mkfs.erofs --quiet a s >/dev/null
dump.erofs --path=/f a | grep -E 'Uid'
dump.erofs --ls --path=/ a | tail -n 5
fsck.erofs --extract=o --preserve a >/dev/null
stat -c '%n %U:%G' o/*
## mkfs-vfat
mkfs.vfat -C a 1024 >/dev/null
stat -c '%U %s' a
fsck.vfat -n a | tail -n 1
## sfdisk-image
truncate -s 8M a
echo ',4M,83' | sfdisk -q a
sfdisk -d a | grep -E 'type'
chown alice a
fdisk -l a | grep -c Linux
## borg-round
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
mkdir s
echo x >s/f
mknod s/c c 1 3
chown -R alice:project s
setfacl -m u:bob:r s/f
borg init -e none r
borg create r::a s
borg list --format '{mode} {user}:{group} {uid}:{gid} {path}{NL}' r::a
rm -r s
borg extract r::a
find s -printf '%P %y %m %u:%g\n' | sort
getfacl -n s/f
## restic-round
export RESTIC_PASSWORD=x
mkdir s
echo x >s/f
mknod s/c c 1 3
ln -s f s/l
chown -Rh alice:project s
chmod 4755 s/f
restic -q init -r r
restic -q -r r backup s
restic -q -r r ls --json latest | grep -o '"path":"[^"]*","uid":[0-9]*,"gid":[0-9]*' | sort
restic -q -r r restore latest --target o
find o/w/s -printf '%P %y %m %u:%g\n' | sort
## rdiff-backup
mkdir s
echo x >s/f
chown alice:project s/f
mknod s/c c 1 3
rdiff-backup --api-version 201 backup s r
rdiff-backup restore r o
find o -printf '%P %y %m %u:%g\n' | sort
## rsnapshot
mkdir s
echo x >s/f
chown alice:project s/f
printf 'config_version\t1.2\nsnapshot_root\t/w/r/\ncmd_rsync\t/usr/bin/rsync\ncmd_cp\t/bin/cp\nretain\talpha\t3\nbackup\t/w/s/\there/\n' >conf
rsnapshot -c conf alpha
rsnapshot -c conf alpha
find r -printf '%p %m %u:%g %n\n' | sort
## git-as-root
git init -q r
cd r
git config user.email a@b
git config user.name a
echo x >f
chmod 755 f
git add f
git commit -qm one
git status --short
chown alice f
git status --short
git -C . log --format=%s
stat -c %U f
git checkout -q -f HEAD
stat -c %U f
## git-safe-directory
git init -q r
chown -R alice r
git -C r status 2>&1 | head -n 1
su alice -c 'git -C /w/r status --short && echo ok'
su bob -c 'git -C /w/r status' 2>&1 | head -n 1
## git-clone-shared
git init -q --bare --shared=group r
chgrp -R project r
git clone -q r c 2>/dev/null
cd c
git config user.email a@b
git config user.name a
echo x >f
git add f
git commit -qm m
git push -q origin HEAD
find ../r -type d -printf '%P %m %u:%g\n' | grep -v 'objects/' | sort
## etckeeper
git config --global user.email a@b
git config --global user.name a
mkdir e
touch e/f
chown alice:project e/f
chmod 640 e/f
etckeeper init -d /w/e >/dev/null 2>&1 || echo "status $?"
grep -E 'alice|project|0640' e/.etckeeper || true
## umoci-unpack
## differs: umoci reads /proc/self/uid_map, and makes no device in a user namespace
umoci init --layout i
umoci new --image i:a
umoci unpack --image i:a b 2>/dev/null
echo x >b/rootfs/f
mknod b/rootfs/c c 1 3
chown alice:project b/rootfs/f
umoci repack --image i:b b 2>/dev/null
umoci unpack --image i:b o 2>/dev/null
find o/rootfs -printf '%P %y %m %u:%g\n' | sort
