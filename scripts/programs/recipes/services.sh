# Services that the image of most rows lacks, in the tree $1, as real root.
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
export DEBIAN_FRONTEND=noninteractive
echo 'slapd slapd/password1 password secret' >root/answers
echo 'slapd slapd/password2 password secret' >>root/answers
echo 'slapd slapd/domain string programs.example' >>root/answers
chroot . apt-get -qq update
chroot . apt-get -qq -y install debconf >/dev/null
chroot . debconf-set-selections /root/answers
rm root/answers
chroot . apt-get -qq -y --no-install-recommends install apache2 curl dbus ldap-utils libglib2.0-bin \
    nginx-light pkexec polkitd procps python3 slapd >/dev/null
for name in alice bob; do chroot . useradd -m -s /bin/bash "$name"; done
rm -rf var/lib/apt/lists/*
chroot . apt-get clean
