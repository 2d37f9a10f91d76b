# Programs that make whole root file systems, in a RUN

## debootstrap
## where: RUN
## seconds: 400
debootstrap --no-check-gpg --variant=minbase trixie /w/tree file:///srv/debian >/tmp/log 2>&1 || {
    tail -n 20 /tmp/log
    cat /w/tree/debootstrap/debootstrap.log | tail
    exit 1
}
tail -n 1 /tmp/log
chroot /w/tree dpkg --audit
chroot /w/tree id
## mmdebstrap
## where: RUN
## seconds: 400
mmdebstrap --quiet --mode=root --variant=apt trixie /w/tree 'deb [trusted=yes] copy:///srv/debian trixie main' 2>&1 |
    sed '/^mount: .*permission denied/,/dmesg(1)/d' # a container can't mount another /proc or /sys
chroot /w/tree dpkg --audit
ls /w/tree
## mmdebstrap-tar
## seconds: 400
mmdebstrap --quiet --mode=root --variant=essential trixie /tmp/t.tar 'deb [trusted=yes] copy:///srv/debian trixie main' 2>&1 |
    sed '/^mount: .*permission denied/,/dmesg(1)/d' # a container can't mount another /proc or /sys
tar --numeric-owner -tvf /tmp/t.tar | awk '{print $1,$2,$6}' | sort -k3 | sha256sum
tar --numeric-owner -tvf /tmp/t.tar | awk '$2 != "0/0" {print $1,$2,$6}' | sort
## mmdebstrap-ch-run
## seconds: 400
mmdebstrap --quiet --mode=root --variant=essential trixie /w/tree 'deb [trusted=yes] copy:///srv/debian trixie main' 2>&1 |
    sed '/^mount: .*permission denied/,/dmesg(1)/d' # a container can't mount another /proc or /sys
rm -rf /w/tree/usr/share/locale
chroot /w/tree dpkg --audit
## mmdebstrap-fakechroot
## seconds: 400
chown alice .
su alice -c 'cd /w; mmdebstrap --quiet --mode=fakechroot --variant=essential trixie /w/t.tar "deb [trusted=yes] copy:///srv/debian trixie main"'
tar --numeric-owner -tvf t.tar | awk '$2 != "0/0" {print $1,$2,$6}' | sort
stat -c %U t.tar
## debootstrap-foreign
## seconds: 200
debootstrap --no-check-gpg --foreign --variant=minbase trixie /w/tree file:///srv/debian >log 2>&1
tail -n 1 log
find tree -maxdepth 2 -printf '%P %y %m %u:%g\n' | sort
## debootstrap-fakechroot
## seconds: 400
## long: yes
chown alice .
su alice -c 'cd /w; fakechroot fakeroot debootstrap --no-check-gpg --variant=fakechroot trixie t file:///srv/debian' >/tmp/log 2>&1 || tail -n 3 /tmp/log
ls t
## buildah-from-scratch
## where: RUN
## seconds: 120
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs "$@"; }
c=$(buildah from scratch)
m=$(buildah mount $c)
cp -a /bin/busybox $m/ 2>/dev/null || cp -a /usr/bin/busybox $m/
echo x >$m/f
chown alice:project $m/f
buildah config --entrypoint '["/busybox"]' $c
buildah commit -q $c out >/dev/null
buildah push -q out oci:/w/oci:x
for blob in oci/blobs/sha256/*; do tar -tvzf $blob --numeric-owner 2>/dev/null || true; done | awk '{print $1,$2,$3,$NF}' | sed 's/ [0-9]* busybox/ busybox/' | sort
# In a user namespace it stores no device, and keeps its state elsewhere.
rm -rf /run/containers /run/user /var/lib/containers /var/tmp/*
## buildah-bud
## where: RUN
## seconds: 200
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs "$@"; }
mkdir c
tar -C / -cf c/r.tar bin/busybox usr/bin/busybox 2>/dev/null || true
printf 'FROM scratch\nADD r.tar /\nADD --chown=33:44 Containerfile /cf\nRUN ["/usr/bin/busybox", "sh", "-c", "/usr/bin/busybox id; /usr/bin/busybox touch /made; /usr/bin/busybox chown 5:6 /made; /usr/bin/busybox stat -c %%u:%%g /cf"]\n' >c/Containerfile
buildah bud --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 -q -t out c 2>&1 | grep -v '^[0-9a-f]*$' || true
buildah push -q out oci:/w/oci:x
umoci unpack --image oci:x b
find b/rootfs -maxdepth 1 -printf '%P %y %m %u:%g\n' | sort
rm -rf /run/containers /run/user /var/lib/containers /var/tmp/*
## crun-spec
mkdir -p b/rootfs/bin
cp /usr/bin/busybox b/rootfs/bin/
cd b
crun spec
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/busybox","id"/' config.json
crun --root /w/r run c 2>&1 | tail -n 1
## bubblewrap-in
unshare --mount --pid --fork --mount-proc sh -c 'ps -o user=,pid=,args= -p 1 | cut -c1-20; mount -t tmpfs t /mnt; mkdir /mnt/d; chown alice /mnt/d; stat -c %U /mnt/d'
## chroot-into-tar
mkdir t
tar -C / -cf - bin lib lib64 usr/bin/busybox etc/passwd etc/group etc/shadow 2>/dev/null | tar -xpf - -C t
cp -a /usr/bin/busybox t/busybox
chroot t /busybox sh -c '/busybox ls -ln /etc; /busybox chown 33:33 /etc/passwd; /busybox stat -c "%u %g" /etc/passwd'
stat -c '%U' t/etc/passwd
## install-into-chroot
## where: RUN
## seconds: 200
## look: /usr
rm -f /etc/apt/apt.conf.d/05etckeeper
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends munge tor >/dev/null 2>&1
find / -xdev -user munge -o -xdev -user debian-tor | sort | xargs stat -c '%n %a %U:%G'
## run-services
## where: RUN
## seconds: 90
b=$(echo /usr/lib/postgresql/*/bin)
mkdir /w/data
chown postgres: /w/data
su postgres -c "$b/initdb -A peer -D /w/data >/dev/null && $b/pg_ctl -D /w/data -o '-c listen_addresses= -k /tmp' -l /tmp/pg.log -w start >/dev/null && psql -h /tmp -Atc 'select current_user' && $b/pg_ctl -D /w/data stop -m fast >/dev/null"
find data -maxdepth 1 -printf '%P %y %m %u:%g\n' | sort
## run-accounts-then-look
## where: RUN
useradd -m -u 2500 built
install -o built -m 6711 /bin/true /opt/true
setcap cap_net_raw+ep /opt/true
mknod /opt/null c 1 3
setfacl -m u:built:rw /opt
su built -c 'touch ~/mine; id'
getcap /opt/true
getfacl -pn /opt
stat -c '%a %U' /opt/true
## fuse-overlayfs
## image: more
mkdir lower upper work merged
echo one >lower/a
echo two >lower/b
fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work merged
ls merged
cat merged/a
echo three >merged/c
echo more >>merged/b
rm merged/a
mkdir merged/d
ln -s c merged/d/l
mv merged/c merged/d
test -e merged/none || echo none
(cd merged && find . -type f | sort)
umount merged
ls merged
find upper | sort
## fuse-overlayfs-owners
## image: more
## differs: the kernel translates the IDs between a FUSE daemon and programs, and does not know the emulated ones
mkdir lower upper work merged
echo one >lower/a
chown alice:bob lower/a
fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work merged
stat -c %U:%G merged/a
echo two >merged/b
chown bob merged/b || echo "status $?"
umount merged
stat -c %U:%G upper/b
## fuse-overlayfs-root
## image: more
mkdir -p lower/bin lower/etc upper work merged
cp /bin/sh /bin/ls /bin/cat /bin/mkdir /bin/rm lower/bin
for library in $(ldd /bin/sh /bin/ls /bin/cat | grep -o '/lib[^ ]*' | sort -u); do
    mkdir -p "lower${library%/*}"
    cp "$library" "lower$library"
done
echo root:x:0:0::/: >lower/etc/passwd
fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work merged
chroot merged /bin/sh -c 'cat /etc/passwd; echo x >/new; mkdir -p /d/e; ls /d; rm /etc/passwd; ls /etc; ls /bin'
umount merged
find upper ! -type c | sort
## squashfuse
## image: more
mkdir d m
echo x >d/f
ln -s f d/l
mksquashfs d d.squash -all-root -quiet -no-progress >/dev/null
squashfuse d.squash m
ls -ln m | awk 'NR>1 {print $1,$3,$4,$9}'
cat m/l
(cd m && stat -c '%F %u:%g' . f)
echo y >m/f || echo "status $?"
fusermount3 -u m
ls m
## svn-repository
## image: more
svnadmin create r
chown -R alice r
chmod -R o+rX r
su alice -c 'cd && svn -q co file:///w/r c && cd c && echo x >f && svn -q add f && svn -q propset svn:executable on f && svn -q ci -m m && svn -q up && svn log -q | grep -c alice'
su alice -c 'stat -c "%U %a" ~/c/f'
su bob -c 'cd && svn -q co file:///w/r c && cd c && echo y >>f && svn -q ci -m m' 2>/dev/null || echo refused
svn -q co file:///w/r d
stat -c '%U %a' d/f r/db/current
rm -rf r d /home/alice/c /home/bob/c /home/alice/.subversion /home/bob/.subversion /root/.subversion
## hg-trust
## image: more
chmod 777 .
su alice -c 'hg init /w/r && cd /w/r && printf "[ui]\nusername = alice\n[hooks]\npre-status = echo hook\n" >.hg/hgrc && echo x >f && hg -q add f && hg -q ci -m m'
hg -R r status 2>&1 || echo "status $?"
su alice -c 'hg -R /w/r status'
su bob -c 'hg -q clone /w/r /w/s && hg -R /w/s log -T "{author}\n"'
stat -c %U:%G s s/f s/.hg
rm -rf r s
