# dnf, zypper, rpm: the RPM base image

## dnf-install-all
## image: rpm
## seconds: 200
## look: /usr
dnf -y -q install openssh openssh-clients openssh-server priv-owner priv-hard priv-post priv-su priv-sysusers priv-caps priv-dev 2>&1 | tail -n 3
rpm -qa | sort | grep priv
rpm -Va --nodeps 2>&1 | grep -v '^missing' | sort | head -n 30
## dnf-installroot
## image: rpm
## where: RUN
## seconds: 200
dnf -y -q --installroot=/w/root --releasever=8 --setopt=reposdir=/etc/yum.repos.d install rpmdistro-base priv-owner priv-hard 2>&1 | tail -n 5
rpm --root /w/root -qa | sort
find root -printf '%P %y %m %u:%g\n' | grep -v '^var/\(cache\|log\)' | sort
## dnf-installroot-ch-run
## image: rpm
## seconds: 200
dnf -y -q --installroot=/w/root --releasever=8 --setopt=reposdir=/etc/yum.repos.d install priv-caps priv-dev 2>&1 | tail -n 5
find root \( -type c -o -type b -o ! -user root \) -printf '%P %y %m %u:%g\n' | sort
getcap -r root
## zypper-install
## image: rpm
## seconds: 200
## look: /usr
zypper --quiet --non-interactive install priv-owner priv-post priv-su priv-caps priv-dev 2>&1 | tail -n 3
rpm -qa | grep priv | sort
rpm -V --nodeps priv-owner priv-caps priv-dev && echo verified
## rpm-install-erase
## image: rpm
f=$(find /srv/repo -name 'priv-owner*.rpm')
rpm -i --nodeps "$f"
rpm -qlvp --nosignature "$f" | awk '{print $1,$3,$4,$NF}'
rpm -ql priv-owner | xargs stat -c '%n %a %U:%G'
rpm -e --nodeps priv-owner
rpm -q priv-owner || echo "status $?"
## rpm-setperms
## image: rpm
f=$(find /srv/repo -name 'priv-owner*.rpm')
rpm -i --nodeps "$f"
rpm -ql priv-owner | xargs chown 77:88
rpm -V --nodeps priv-owner || echo "status $?"
rpm --setugids priv-owner
rpm --setperms priv-owner
rpm -V --nodeps priv-owner && echo verified
## rpm-devices
## image: rpm
f=$(find /srv/repo -name 'priv-dev*.rpm')
rpm -i --nodeps "$f"
rpm -ql priv-dev | xargs stat -c '%n %F %a %U:%G %t:%T'
rpm -V --nodeps priv-dev && echo verified
cd /
tar -cf /w/a $(rpm -ql priv-dev) 2>/dev/null
tar --numeric-owner -tvf /w/a | awk '{print $1,$2,$3,$NF}'
## rpm-caps
## image: rpm
f=$(find /srv/repo -name 'priv-caps*.rpm')
rpm -i --nodeps "$f"
rpm -q --filecaps priv-caps
rpm -ql priv-caps | xargs getcap
rpm -V --nodeps priv-caps && echo verified
for g in $(rpm -ql priv-caps); do setcap -r "$g" 2>/dev/null || true; done
rpm -V --nodeps priv-caps || echo "status $?"
## rpm-hardlinks
## image: rpm
f=$(find /srv/repo -name 'priv-hard*.rpm')
rpm -i --nodeps "$f"
rpm -ql priv-hard | xargs stat -c '%n %a %U:%G %h'
rpm -V --nodeps priv-hard && echo verified
## rpm-root
## image: rpm
mkdir -p r
f=$(find /srv/repo -name 'priv-*.rpm' | sort | grep -E 'owner|hard|caps|dev')
rpm --root /w/r --initdb
rpm --root /w/r -i --nodeps --noscripts $f 2>&1 | sort | head -n 20
find r \( -type c -o -type b -o ! -user root -o -perm /6000 \) -printf '%P %y %m %u:%g\n' | sort
## rpm-database
## image: rpm
rpm --initdb
find /var/lib/rpm -printf '%P %m %u:%g\n' | sort
chown -R bin /var/lib/rpm
rpm -qa | wc -l
dnf -q repolist 2>/dev/null | tail -n 1
dnf -q clean all | tail -n 1
## microdnf-history
## image: rpm
## seconds: 120
dnf -y -q install priv-post >/dev/null 2>&1
dnf -q history list 2>/dev/null | awk -F'|' 'NR>2 {print $2}' | head -n 2
dnf -y -q remove priv-post >/dev/null 2>&1
find /var/lib/dnf /var/cache/dnf -maxdepth 1 -printf '%P %y %m %u:%g\n' | sed 's/-[0-9a-f]\{16\}//' | sort
