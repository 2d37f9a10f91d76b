# Accounts: shadow, adduser, systemd-sysusers, libc's tools

## useradd-all
useradd -m -u 3000 -G project,audio -c 'Some One' -s /bin/sh one
getent passwd one
id one
stat -c '%n %a %U:%G' /home/one /home/one/.* /etc/passwd /etc/shadow /etc/group /etc/gshadow
useradd one || echo "status $?"
## useradd-system
useradd -r -M -d /nonexistent -s /usr/sbin/nologin daemon1
getent passwd daemon1 | cut -d: -f6-
test ! -e /home/daemon1
id -un daemon1
## useradd-mail-skel
touch /etc/skel/extra
chmod 600 /etc/skel/extra
ln -s extra /etc/skel/link
useradd -m -N -g project -K UMASK=077 -k /etc/skel two
find /home/two -printf '%P %m %U:%G\n' | sort
ls -l /var/mail | awk '{print $1,$3,$4,$NF}'
## userdel-remove
useradd -m three
touch /home/three/f
userdel -r three || echo "status $?"
test -e /home/three || echo gone
getent passwd three || echo "status $?"
## usermod-forms
useradd -m four
usermod -l five -d /home/five -m four
usermod -aG audio,video five
usermod -u 4321 five
stat -c '%n %u' /home/five
id five
usermod -L five
grep ^five /etc/shadow | cut -c1-7
usermod -e 2030-01-01 five
chage -l five | tail -n 4
## groupadd-forms
groupadd -g 5000 club
groupmod -n team club
gpasswd -a alice team
gpasswd -d alice team
gpasswd -M alice,bob team
getent group team
groupdel team
getent group team || echo "status $?"
groupadd -r sys1
stat -c '%a %U:%G' /etc/group /etc/gshadow
## passwd-chpasswd
echo alice:secret | chpasswd
passwd -S alice | cut -d' ' -f1,2
passwd -l alice
passwd -S alice | cut -d' ' -f2
passwd -u alice
passwd -d bob
passwd -S bob | cut -d' ' -f2
passwd -e bob
stat -c '%a %U:%G' /etc/shadow
## passwd-as-user
echo alice:oldsecret1 | chpasswd
expect -c 'log_user 0; spawn su alice -c passwd; expect "urrent"; send "oldsecret1\r"; expect "New"; send "Xk29fjw_q\r"; expect "etype"; send "Xk29fjw_q\r"; expect eof; catch wait r; puts "exit [lindex $r 3]"'
stat -c '%a %U:%G' /etc/shadow /etc/passwd
## chage-chfn-chsh
chage -M 90 -m 1 -W 7 alice
chage -l alice | tail -n 3
chsh -s /bin/sh alice
getent passwd alice
chfn -f 'Alice A' alice 2>/dev/null || usermod -c 'Alice A' alice
getent passwd alice
su alice -c 'chsh -s /bin/dash' </dev/null 2>&1 | head -n 1
## newusers-batch
printf 'n1:x:6001:6001:N One:/home/n1:/bin/sh\nn2:y:6002:6001::/home/n2:/bin/sh\n' | newusers
getent passwd n1 n2
stat -c '%n %a %u:%g' /home/n1 /home/n2
## vipw-pwck
EDITOR=true vipw
EDITOR=true vigr -s
pwck -r || echo "status $?"
grpck -r || echo "status $?"
pwconv
grpconv
stat -c '%n %a %U:%G' /etc/passwd* /etc/shadow* /etc/group* /etc/gshadow*
## pwunconv
pwunconv
grpunconv
test ! -e /etc/shadow
stat -c '%n %a %U:%G' /etc/passwd /etc/group
pwconv
stat -c '%n %a %U:%G' /etc/shadow
## newgrp-sg
gpasswd -a alice project >/dev/null
su alice -c 'sg project "id -gn; touch /tmp/f"; stat -c "%U:%G" /tmp/f'
su bob -c 'sg project id' </dev/null || echo "status $?"
sg project 'id -gn'
## adduser-debian
adduser --quiet --disabled-password --comment '' six
adduser --quiet six audio
addgroup --quiet --gid 7000 seven
adduser --system --group --quiet eight
id six
id -u eight >/dev/null
stat -c '%n %a %U:%G' /home/six
deluser --quiet six audio
deluser --quiet --remove-home six
delgroup --quiet seven
## adduser-system-home
adduser --system --home /var/lib/nine --ingroup project --quiet nine
stat -c '%n %a %U:%G' /var/lib/nine
getent passwd nine | cut -d: -f6,7
deluser --quiet --system nine
## sysusers
printf 'u svc1 - "Service" /var/lib/svc1\ng grp1 7777\nm alice grp1\nu svc2 7778:grp1 - /run\n' >c.conf
systemd-sysusers /w/c.conf
getent passwd svc2
getent group grp1
id alice
stat -c '%n %a %U:%G' /etc/passwd /etc/shadow /etc/group /etc/gshadow
## sysusers-all
systemd-sysusers
getent passwd | wc -l
systemd-sysusers --cat-config | grep -c '^u' >/dev/null
stat -c '%a %U:%G' /etc/shadow
## tmpfiles-forms
printf 'd /w/d 2770 alice project\nf /w/d/f 0640 alice - - text\nL /w/l - - - - d/f\np /w/p 0600 alice\nc /w/c 0660 root project - 1:3\nb /w/b 0600 root - - 7:9\nZ /w/d - - project\nC /w/h - - - - /etc/skel\na+ /w/d/f - - - - u:alice:r\nt /w/d/f - - - - user.k=v\n' >c.conf
systemd-tmpfiles --create /w/c.conf
find . -printf '%P %y %m %u:%g %l\n' | sort
getfacl -n d/f
getfattr -d d/f
## tmpfiles-clean-remove
mkdir d
touch -d 2001-01-01 d/old
touch d/new
chown alice d/old
printf 'd /w/d 0755 alice - 1d\nr /w/gone\nR /w/tree\n' >c.conf
mkdir -p tree/x
touch gone
chown -R bob tree
systemd-tmpfiles --clean --remove --create /w/c.conf
find . | sort
stat -c %U d
## tmpfiles-system
systemd-tmpfiles --create --exclude-prefix=/dev --exclude-prefix=/proc --exclude-prefix=/sys 2>&1 | sort | head
find /run /var/log -maxdepth 2 -printf '%p %y %m %u:%g\n' | grep -v pid | sort
## tmpfiles-copy-host
printf 'C /w/hosts - - - - /etc/hosts\nC /w/version - - - - /proc/version\n' >c.conf
systemd-tmpfiles --create /w/c.conf
stat -c '%n %a %u:%g' /w/hosts /w/version
## nologin-shells
su -s /usr/sbin/nologin alice || echo "status $?"
usermod -s /usr/sbin/nologin bob
su bob -c id || echo "status $?"
su postgres -c 'id -un'
## getent-ids
getent passwd root alice 1000
getent group project
getent shadow alice | cut -d: -f1-2
id -nG www-data
getent initgroups alice || echo "status $?"
## mkhomedir-copy
cp -rT /etc/skel /home/x
chown -R alice:alice /home/x
chmod 700 /home/x
find /home/x -printf '%P %m %U:%G\n' | sort
cp -a /home/alice /home/y
find /home/y -printf '%P %m %U:%G\n' | sort
## subids
usermod -v 100000-165535 -w 100000-165535 alice
cat /etc/subuid /etc/subgid
stat -c '%a %U:%G' /etc/subuid
## useradd-prefix
mkdir -p tree/etc
cp /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/login.defs tree/etc
useradd -P /w/tree -M -u 4000 carol
grep carol tree/etc/passwd tree/etc/group
stat -c '%U:%G %a %n' tree/etc/passwd tree/etc/shadow
grep -c carol /etc/passwd || true
## usermod-everything
touch /home/bob/file
usermod -l robert -d /home/robert -m -u 4100 bob
groupmod -n robert -g 4200 bob
id robert
stat -c '%u:%g %n' /home/robert /home/robert/file
su robert -c 'touch ~/new; stat -c %U:%G ~/new'
