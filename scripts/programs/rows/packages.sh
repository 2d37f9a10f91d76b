# dpkg, apt, debconf, rpm on Debian, and what makes packages

## dpkg-deb-build
mkdir -p p/DEBIAN p/opt/x
echo x >p/opt/x/f
chown -R alice:project p/opt/x
chmod 4755 p/opt/x/f
printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' >p/DEBIAN/control
dpkg-deb -b p >/dev/null
dpkg-deb -c p.deb | awk '{print $1,$2,$6}'
dpkg-deb --root-owner-group -b p q.deb >/dev/null
dpkg-deb -c q.deb | awk '{print $1,$2,$6}'
dpkg -i p.deb | tail -n 1
stat -c '%n %a %U:%G' /opt/x /opt/x/f
dpkg -P p >/dev/null
test ! -e /opt/x
## dpkg-postinst-users
mkdir -p p/DEBIAN p/var/lib/svc
printf 'Package: svc\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' >p/DEBIAN/control
printf '#!/bin/sh\nset -e\nadduser --system --group --quiet --home /var/lib/svc svc\nchown svc:adm /var/lib/svc\nchmod 2750 /var/lib/svc\nsu -s /bin/sh svc -c "touch /var/lib/svc/db"\n' >p/DEBIAN/postinst
printf '#!/bin/sh\nrm -rf /var/lib/svc; deluser --quiet --system svc\n' >p/DEBIAN/postrm
chmod 755 p/DEBIAN/post*
dpkg-deb --root-owner-group -b p >/dev/null
dpkg -i p.deb >/dev/null
stat -c '%n %a %U:%G' /var/lib/svc /var/lib/svc/db
dpkg -s svc | sed -n 2p
dpkg -P svc >/dev/null 2>&1
test ! -e /var/lib/svc
## dpkg-statoverride
mkdir d
touch d/f
dpkg-statoverride --add --update alice project 4750 /w/d/f
stat -c '%a %U:%G' d/f
dpkg-statoverride --list | sort
dpkg-statoverride --remove /w/d/f
stat -c '%a %U:%G' /var/lib/dpkg/statoverride
## dpkg-statoverride-install
mkdir -p p/DEBIAN p/opt/x
echo x >p/opt/x/f
printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' >p/DEBIAN/control
dpkg-deb -b p >/dev/null
dpkg-statoverride --add bob project 2711 /opt/x/f
dpkg -i p.deb >/dev/null
stat -c '%a %U:%G' /opt/x/f
## dpkg-divert
## look: /usr/bin
dpkg-divert --local --rename --add /usr/bin/wall
ls -l /usr/bin/wall.distrib | awk '{print $1,$3,$4}'
dpkg-divert --rename --remove /usr/bin/wall
ls -l /usr/bin/wall | awk '{print $1,$3,$4}'
## dpkg-conffile
mkdir -p p/DEBIAN p/etc/p
echo 1 >p/etc/p/c
chmod 640 p/etc/p/c
chgrp adm p/etc/p/c
echo /etc/p/c >p/DEBIAN/conffiles
printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' >p/DEBIAN/control
dpkg-deb -b p >/dev/null
dpkg -i p.deb >/dev/null
chown alice /etc/p/c
echo 2 >p/etc/p/c
sed -i 's/: 1/: 2/' p/DEBIAN/control
dpkg-deb -b p >/dev/null
dpkg -i --force-confnew p.deb >/dev/null
find /etc/p -printf '%P %m %u:%g\n' | sort
## dpkg-verify-audit
dpkg -V passwd sudo cron
dpkg --audit
chown alice /usr/bin/passwd
dpkg -V passwd
dpkg-query -S /usr/bin/passwd
dpkg -L sudo | wc -l
dpkg-query -W -f '${Status}\n' postgresql
## dpkg-reinstall
## look: /usr/bin /usr/sbin
cd /srv/debian/pool
chown alice /usr/bin/chage
dpkg -i passwd_*.deb >/dev/null
stat -c '%n %a %U:%G' /usr/bin/{passwd,chage,chsh,expiry} /etc/shadow
## dpkg-root-directory
mkdir -p r/var/lib/dpkg/updates
touch r/var/lib/dpkg/status
dpkg --root=/w/r --force-script-chrootless --force-depends -i /srv/debian/pool/munge_*.deb 2>&1 | tail -n 1 | sed 's/.*munge/munge/' || true
find r -printf '%P %y %m %u:%g\n' | grep -v ' 0*[67][54]*[54]* root:root$' | sort
## apt-install-munge
## look: /usr
## seconds: 120
rm -f /etc/apt/apt.conf.d/05etckeeper
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends munge >/dev/null 2>&1
id munge | sed 's/[0-9]*//g'
stat -c '%n %a %U:%G' /etc/munge /etc/munge/munge.key /var/lib/munge /var/log/munge
apt-get -qq -y purge munge >/dev/null 2>&1
test ! -e /etc/munge/munge.key
## apt-install-tor
## look: /usr
## seconds: 120
rm -f /etc/apt/apt.conf.d/05etckeeper
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends tor ntpsec >/dev/null 2>&1
find /var/lib/tor /var/log/tor /var/lib/ntpsec /etc/tor /etc/ntpsec -printf '%p %y %m %u:%g\n' | sort
dpkg -V tor ntpsec
dpkg --audit
## apt-install-man-db
## look: /usr
## seconds: 120
rm -f /etc/apt/apt.conf.d/05etckeeper
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends man-db >/dev/null 2>&1
stat -c '%n %a %U:%G' /usr/bin/man /usr/bin/mandb /var/cache/man
ls /var/cache/man | head -n 3
## apt-sandbox
## seconds: 120
rm -f /etc/apt/apt.conf.d/05etckeeper
apt-get -qq update
cd /tmp
apt-get -qq download munge 2>&1 | grep -c sandbox || true
ls -ln munge_* | awk '{print $1,$3,$4}'
find /var/lib/apt/lists /var/cache/apt -maxdepth 2 -printf '%p %y %m %u:%g\n' | sort
apt-cache policy munge | sed -n 1p
apt-mark hold munge
apt-mark showhold
## apt-sandbox-remote-file
## differs: reading and writing are not controlled without strict
chmod 700 /srv/debian
apt-get -qq update 2>&1 | tail -n 1 | cut -c1-40
ls /var/lib/apt/lists | wc -l
## apt-ftparchive-sources
cd /srv/debian
command -v apt-ftparchive >/dev/null && apt-ftparchive packages pool | grep -c ^Package || dpkg-scanpackages pool 2>/dev/null | grep -c '^Package'
apt-config dump | grep -c Sandbox || true
apt-key --version 2>/dev/null | head -n 0 || true
## debconf-communicate
echo 'postfix postfix/mailname string x.y' | debconf-set-selections
echo 'get postfix/mailname' | debconf-communicate
stat -c '%n %a %U:%G' /var/cache/debconf/*
debconf-show postfix | grep -c mailname
echo 'p p/x password s' | debconf-set-selections 2>/dev/null || true
## ucf-update-alternatives
echo 1 >n
ucf --debconf-ok n /etc/row.conf
chown alice:project /etc/row.conf
chmod 640 /etc/row.conf
echo 2 >n
UCF_FORCE_CONFFNEW=1 ucf n /etc/row.conf 2>/dev/null
stat -c '%a %U:%G' /etc/row.conf
update-alternatives --install /usr/local/bin/rowtool rowtool /bin/true 10 >/dev/null
readlink /etc/alternatives/rowtool
update-alternatives --list rowtool
update-rc.d cron defaults
## ldconfig-initramfs-like
ldconfig
stat -c '%a %U:%G' /etc/ld.so.cache
echo /opt/lib >/etc/ld.so.conf.d/row.conf
mkdir -p /opt/lib
ldconfig
chown alice /etc/ld.so.cache
ldconfig
stat -c '%a %U:%G' /etc/ld.so.cache /var/cache/ldconfig /var/cache/ldconfig/aux-cache
## ca-locale-like
install -d -m 2775 -g staff /usr/local/share/row
touch /usr/local/share/row/f
stat -c '%a %G' /usr/local/share/row/f
run-parts --test /etc/cron.daily
savelog -q -c 3 -m 640 -u alice -g adm /var/log/dpkg.log
find /var/log -maxdepth 1 -name 'dpkg*' -printf '%P %m %u:%g\n' | sort
tempfile 2>/dev/null || true
## dpkg-buildpackage
## seconds: 120
mkdir -p p-1/debian
cd p-1
printf 'Source: p\nMaintainer: a <a@b.c>\nBuild-Depends: debhelper-compat (= 13)\n\nPackage: p\nArchitecture: any\nDescription: d\n d\n' >debian/control
printf 'p (1) x; urgency=low\n\n  * x\n\n -- a <a@b.c>  Thu, 01 Jan 2024 00:00:00 +0000\n' >debian/changelog
printf '#!/usr/bin/make -f\n%%:\n\tdh $@\noverride_dh_auto_install:\n\tinstall -D -m 4750 -o root -g shadow /bin/true debian/p/usr/bin/t\n\tinstall -d -o alice debian/p/var/lib/p\noverride_dh_fixperms:\n\ttrue\n' >debian/rules
chmod 755 debian/rules
echo 3.0 '(native)' >/dev/null
mkdir debian/source
echo '3.0 (native)' >debian/source/format
dpkg-buildpackage -us -uc -b -d >../log 2>&1 || tail ../log
dpkg-deb -c ../p_1_*.deb | awk '{print $1,$2,$6}'
## dpkg-buildpackage-as-user
## seconds: 120
su alice -c 'cd; mkdir -p p-1/debian/source; cd p-1; printf "Source: p\nMaintainer: a <a@b.c>\nRules-Requires-Root: binary-targets\n\nPackage: p\nArchitecture: all\nDescription: d\n d\n" >debian/control; printf "p (1) x; urgency=low\n\n  * x\n\n -- a <a@b.c>  Thu, 01 Jan 2024 00:00:00 +0000\n" >debian/changelog; printf "#!/usr/bin/make -f\nbuild clean build-indep build-arch:\nbinary-arch:\nbinary binary-indep:\n\tmkdir -p debian/p/DEBIAN debian/p/opt\n\ttouch debian/p/opt/f\n\tchown -R root:root debian/p; chown 5:6 debian/p/opt/f\n\tdpkg-gencontrol -pp -Pdebian/p\n\tdpkg-deb -b debian/p ..\n" >debian/rules; chmod 755 debian/rules; dpkg-buildpackage -us -uc -b -d >../log 2>&1 || tail ../log; dpkg-deb -c ../p_1_all.deb | awk "{print \$1,\$2,\$6}"; stat -c "%U:%G" ../p_1_all.deb'
## fakeroot-inside
fakeroot sh -c 'touch a; chown 5:6 a; mknod c c 1 3; stat -c "%n %u:%g %F" a c; tar -cf t a c'
tar --numeric-owner -tvf t | awk '{print $1,$2,$NF}'
stat -c '%n %u:%g %F' a c
su alice -c 'cd; fakeroot sh -c "id -u; touch a; chown 5:6 a; stat -c %u:%g a; mknod b b 7 1; ls -l b | cut -c1"; stat -c %U:%F a b'
## fakeroot-save-load
fakeroot -s s sh -c 'touch a; chown 5:6 a; chmod 4700 a'
fakeroot -i s stat -c '%u:%g %a' a
stat -c '%u:%g %a' a
sed 's/ino=[0-9]*/ino=N/; s/dev=[^,]*/dev=D/' s
## rpmbuild-and-install
## seconds: 120
printf 'Name: p\nVersion: 1\nRelease: 1\nSummary: s\nLicense: l\nBuildArch: noarch\n%%description\nd\n%%install\nmkdir -p %%{buildroot}/opt/x\necho x >%%{buildroot}/opt/x/f\n%%files\n%%dir %%attr(2770,alice,project) /opt/x\n%%attr(4750,bob,adm) /opt/x/f\n%%dev(c,1,3) %%attr(640,root,disk) /opt/x/null\n%%post\nid -u\n' >p.spec
rpmbuild --quiet -bb --define '_topdir /w/t' p.spec >log 2>&1 || tail log
rpm -qp --qf '[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]' t/RPMS/noarch/*.rpm
rpm -i --nodeps t/RPMS/noarch/*.rpm
rpm -V --nodeps p && echo verified
find /opt/x -printf '%P %y %m %u:%g\n' | sort
chown alice /opt/x/f
rpm -V --nodeps p || echo "status $?"
rpm --restore p 2>/dev/null || rpm --setugids p
stat -c '%U' /opt/x/f
rpm -e p
## rpm2cpio
printf 'Name: p\nVersion: 1\nRelease: 1\nSummary: s\nLicense: l\nBuildArch: noarch\n%%description\nd\n%%install\nmkdir -p %%{buildroot}/opt/x\necho x >%%{buildroot}/opt/x/f\n%%files\n%%attr(4750,root,adm) /opt/x/f\n' >p.spec
rpmbuild --quiet -bb --define '_topdir /w/t' p.spec >log 2>&1 || tail log
rpm2cpio t/RPMS/noarch/*.rpm | cpio -idm --quiet
find opt -printf '%P %m %u:%g\n'
## make-install-destdir
printf 'install:\n\tinstall -d $(DESTDIR)/usr/bin\n\tinstall -o root -g shadow -m 2755 /bin/true $(DESTDIR)/usr/bin/x\n\tchown bob $(DESTDIR)/usr\n' >Makefile
make -s install DESTDIR=/w/d
find d -printf '%P %m %u:%g\n'
echo 'int main(void){return 0;}' >a.c
cc a.c -o a
install -o alice -m 6755 -s a b
stat -c '%U %a' b
strip b
stat -c '%U %a' b
objcopy b
stat -c '%U %a' b
## ccache-like-make-as-user
chown alice .
su alice -c 'cd /w; echo "int main(void){return 0;}" >a.c; cc -g -c a.c; ar rcs l.a a.o; cc -o a a.o; ./a; ls -l' | awk 'NR>1{print $1,$3,$4,$NF}'
## mandb
## image: more
mandb -q >/dev/null 2>&1 || true
stat -c '%U:%G %a' /var/cache/man
su alice -c 'man -w sudo' || echo "status $?"
## schroot-directory
## image: more
mkdir -p tree/bin tree/proc tree/tmp
cp /bin/sh /usr/bin/id tree/bin
for library in $(ldd /bin/sh /usr/bin/id | grep -o '/lib[^ ]*' | sort -u); do
    mkdir -p "tree${library%/*}"
    cp "$library" "tree$library"
done
printf '[row]\ntype=plain\ndirectory=/w/tree\nusers=alice\nroot-users=alice\n' >/etc/schroot/chroot.d/row
schroot -l
schroot -c row -d / -- id -u
su alice -c 'schroot -c row -d / -- id -u'
su alice -c 'schroot -c row -u root -d / -- id -u'
su bob -c 'schroot -c row -d / -- id -u' 2>/dev/null || echo "status $?"
## debsums
## image: more
debsums -s coreutils passwd sudo
echo x >>/usr/bin/cvtsudoers
debsums -a sudo 2>&1 | grep -v OK || true
