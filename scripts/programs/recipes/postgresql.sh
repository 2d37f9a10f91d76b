# PostgreSQL's server and its own regression tests, in the tree $1, as real root.
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
export DEBIAN_FRONTEND=noninteractive
sed -i 's/^Types: deb$/Types: deb deb-src/' etc/apt/sources.list.d/*.sources
chroot . apt-get -qq update
chroot . apt-get -qq -y --no-install-recommends install build-essential diffutils dpkg-dev postgresql \
    postgresql-server-dev-all python3 >/dev/null
chroot . useradd -m -s /bin/bash alice
chroot . sh -ec '
    cd /opt
    apt-get -qq source --download-only postgresql-17
    tar -xf postgresql-17_*.orig.tar.*
    mv postgresql-17*/src/test/regress /opt/regress
    rm -rf postgresql-17*
    cd regress
    cc -w -shared -fPIC -I"$(pg_config --includedir-server)" regress.c -o regress.so'
chown -R 1000:1000 opt/regress
rm -rf var/lib/apt/lists/*
chroot . apt-get clean
