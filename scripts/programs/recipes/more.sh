# Programs that the images of the other rows lack, in the tree $1, as real root.
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
export DEBIAN_FRONTEND=noninteractive
echo force-unsafe-io >etc/dpkg/dpkg.cfg.d/quick
chroot . apt-get -qq update
chroot . apt-get -qq -y --no-install-recommends install acl attr beanstalkd bind9 bind9-dnsutils bubblewrap \
    debsums fuse-overlayfs fuse3 gdb gcc gunicorn haproxy libc6-dev libcap2-bin man-db mariadb-client \
    mariadb-server mercurial munge php-fpm procps python3 samba schroot smbclient squashfs-tools \
    squashfuse squid-openssl strace subversion sudo unbound >/dev/null
for name in alice bob; do chroot . useradd -m -s /bin/bash "$name"; done
rm -rf var/lib/apt/lists/* etc/dpkg/dpkg.cfg.d/quick
chroot . apt-get clean
