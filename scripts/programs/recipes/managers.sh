# Package managers of languages, in the tree $1, as real root.
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
export DEBIAN_FRONTEND=noninteractive
echo force-unsafe-io >etc/dpkg/dpkg.cfg.d/quick
chroot . apt-get -qq update
chroot . apt-get -qq -y --no-install-recommends install cpanminus make npm passwd perl procps python3 >/dev/null
for name in alice bob; do chroot . useradd -m -s /bin/bash "$name"; done
rm -rf var/lib/apt/lists/* etc/dpkg/dpkg.cfg.d/quick
chroot . apt-get clean
