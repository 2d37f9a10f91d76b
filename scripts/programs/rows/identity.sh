# Programs that change who a process is

## su-forms
su alice -c 'id; pwd; echo $HOME'
su - alice -c 'id -un; pwd; echo $HOME $USER'
su -s /bin/sh postgres -c 'id -un'
su -g project alice -c id 2>/dev/null || su -G project alice -c id
su -m bob -c 'echo $HOME'
## su-files
chmod 777 .
su alice -c 'touch a; mkdir b; ln -s a c; mkfifo d; ln a e; umask 077; echo x >f'
ls -ln | awk 'NR>1 {print $1,$3,$4,$9}'
## su-refused
su alice -c 'su bob -c id </dev/null' || echo "status $?"
su alice -c 'chown bob /home/alice' || echo "status $?"
su alice -c 'chmod 777 /etc' || echo "status $?"
su alice -c 'mknod /tmp/n c 1 3' || echo "status $?"
su alice -c 'chgrp project /home/alice' || echo "status $?"
su alice -c 'chroot /' || echo "status $?"
## su-refused-directories
su alice -c 'mkdir /etc/x' || echo "status $?"
su alice -c 'touch /root/x' || echo "status $?"
su alice -c 'ln -s a /usr/x' || echo "status $?"
su alice -c 'rm /etc/passwd' || echo "status $?"
su alice -c 'mv /etc/hostname /etc/x' 2>/dev/null || echo refused
su alice -c 'rmdir /home/bob' || echo "status $?"
## su-refused-files
su alice -c 'echo x >>/etc/passwd' || echo "status $?"
su alice -c ': >/etc/passwd' || echo "status $?"
su alice -c 'touch /etc/passwd' || echo "status $?"
su alice -c 'truncate -s 0 /etc/group' || echo "status $?"
su alice -c 'setfattr -n user.x -v y /etc/passwd' || echo "status $?"
## su-refused-reading
## differs: reading and writing are not controlled without strict
su alice -c 'cat /etc/shadow' || echo "status $?"
su alice -c 'ls /root' || echo "status $?"
## su-sticky
chmod 1777 .
su alice -c 'touch a; mkdir d'
su bob -c 'rm a' || echo "status $?"
su bob -c 'mv a b' || echo "status $?"
su bob -c 'rmdir d' || echo "status $?"
su alice -c 'rm a; rmdir d'
ls
## su-kill
sleep 30 &
p=$!
su alice -c "kill $p" || echo "status $?"
su alice -c 'sleep 30 & kill $! && echo own'
kill $p
## su-own-files
cd /home/alice
su alice -c 'touch f; chmod 4755 f; stat -c %a f; chgrp alice f; mkdir d; chmod 2700 d; rm f; rmdir d'
gpasswd -a alice project >/dev/null
su alice -c 'touch g; chgrp project g; chmod 2755 g; stat -c "%a %G" g'
## runuser-forms
runuser -u alice -- id
runuser -l alice -c 'id -un; pwd'
runuser -u bob -g project -- id
runuser -u bob -G project -G audio -- id -G
runuser alice -c 'runuser -u bob id' || echo "status $?"
## setpriv-forms
setpriv --reuid=alice --regid=project --clear-groups id
setpriv --reuid=1000 --regid=1000 --init-groups id
setpriv --reuid=33 --regid=33 --groups=1,2,3 id
setpriv --ruid=1000 --clear-groups --rgid 1000 id
setpriv --euid=1000 --keep-groups id
## setpriv-caps
setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=+chown --ambient-caps=+chown sh -c 'touch /tmp/f; chown bob /tmp/f; stat -c %U /tmp/f; grep CapEff /proc/self/status'
setpriv --no-new-privs --reuid=alice --regid=alice --clear-groups sudo id || echo "status $?"
## setpriv-nnp
chmod u+s /usr/bin/id
setpriv --reuid=alice --regid=alice --clear-groups id
setpriv --no-new-privs --reuid=alice --regid=alice --clear-groups id
## sudo-forms
echo 'alice ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/a
chmod 440 /etc/sudoers.d/a
su alice -c 'sudo id; sudo -u bob id; sudo -g project id -gn; sudo -u postgres touch /tmp/f; stat -c "%U:%G" /tmp/f; sudo sh -c "echo \$SUDO_USER \$SUDO_UID \$HOME"'
sudo -l -U alice | tail -n 1
## sudo-refused
su bob -c 'sudo -n id' || echo "status $?"
su alice -c 'sudo -n -u bob id' || echo "status $?"
chmod 666 /etc/sudoers
su alice -c 'sudo -n id' 2>&1 | head -n 2
chown alice /etc/sudoers
chmod 440 /etc/sudoers
sudo -n true 2>&1 | head -n 2
## sudo-edit-visudo
visudo -c
echo 'bob ALL=(root) NOPASSWD: /bin/cat' >/etc/sudoers.d/b
chmod 440 /etc/sudoers.d/b
visudo -cq && echo fine
su bob -c 'sudo cat /etc/shadow' | wc -l >/dev/null
su bob -c 'sudo -n ls' || echo "status $?"
## sudo-timestamp
echo alice:secret | chpasswd
gpasswd -a alice sudo >/dev/null
su alice -c 'echo secret | sudo -S -p "" id -u; sudo -n id -u' || echo "status $?"
find /run/sudo -printf '%P %y %m %u:%g\n' | sort
echo wrong | su alice -c 'sudo -k; sudo -S -p "" id' 2>&1 | tail -n 1
## doas
printf 'permit nopass alice as root\npermit nopass keepenv alice as bob\n' >/etc/doas.conf
chmod 600 /etc/doas.conf
su alice -c 'doas id; doas -u bob id -un'
su bob -c 'doas -n id' || echo "status $?"
## gosu
gosu alice id
gosu 1234:5678 id
gosu bob:project sh -c 'touch /tmp/f; stat -c "%U:%G" /tmp/f'
gosu nobody id -un
## go-static
go-owners identity /tmp/f || echo "status $?"
touch a
go-owners chown 1000 44 a
go-owners mknod n
go-owners walk .
go-owners run 1000 1000 id
go-owners tar . | tar --numeric-owner -tvf - | awk '{print $1,$2,$NF}'
## daemontools-setuidgid
setuidgid alice id
envuidgid bob env | grep -E '^(UID|GID)=' | sort
envuidgid bob setuidgid alice id -u
## runit-chpst
chpst -u alice:project id
chpst -u :1234:5678 id
chpst -U bob env | grep ID= | sort
## s6-setuidgid
s6-setuidgid alice id
s6-envuidgid bob s6-applyuidgid -Uz id
s6-applyuidgid -u 5 -g 6 -G 7,8 id
## start-stop-daemon
start-stop-daemon --start --background --make-pidfile --pidfile /run/x.pid --chuid alice:project --exec /bin/sleep -- 30
sleep 0.3
ps -o user=,group=,args= -p "$(cat /run/x.pid)"
start-stop-daemon --status --pidfile /run/x.pid --user alice
start-stop-daemon --stop --pidfile /run/x.pid --user bob --retry 1 || echo "status $?"
start-stop-daemon --stop --pidfile /run/x.pid --user alice --retry 1 && echo stopped
## start-stop-daemon-user
start-stop-daemon --start --background --chuid alice --exec /bin/sleep -- 30
sleep 0.3
start-stop-daemon --stop --user bob --exec /bin/sleep || echo "status $?"
start-stop-daemon --stop --user alice --exec /bin/sleep --retry 1 && echo stopped
## daemon-user
daemon -u alice -n d -P /tmp -- sleep 30
sleep 0.5
ps -o user=,args= -C sleep
daemon -n d -P /tmp --stop
for i in $(seq 50); do test -e /tmp/d.pid || break; sleep 0.1; done
stat -c '%U' /tmp/d.pid 2>/dev/null || echo 'no file'
## screen-tmux
chmod 755 /run
mkdir -p /run/screen
chgrp utmp /run/screen
chmod 1777 /run/screen
TERM=xterm screen -dmS s sleep 5
sleep 0.5
find /run/screen -printf '%P %y %m %u:%g\n' | sed 's/[0-9]*\.s/N.s/'
tmux -S /w/sock new-session -d 'sleep 5'
stat -c '%F %a %U' /w/sock
tmux -S /w/sock ls | cut -c1-12
tmux -S /w/sock kill-server
## script-tty
## differs: a terminal that the container makes belongs to the user of the container
TERM=dumb script -qec 'stat -c "%a %U:%G" $(tty); id -u' /dev/null | tr -d '\r'
su alice -c "script -qec 'stat -c \"%U\" \$(tty)' /dev/null" | tr -d '\r'
## expect-su-password
echo bob:secret | chpasswd
su alice -c "expect -c 'log_user 0; set timeout 10; spawn su bob -c {id -un}; expect ssword; send secret\\r; expect eof; puts [regexp bob \$expect_out(buffer)]'"
## set-user-id-programs
cp /usr/bin/id a
chown bob:project a
chmod 6755 a
su alice -c '/w/a'
chmod 755 a
su alice -c '/w/a'
cp /bin/bash s
chmod 4755 s
su alice -c '/w/s -c "id -u"'
su alice -c '/w/s -pc "id -u"'
## set-user-id-loader
cp /usr/bin/env e
cp "$(readlink -f /usr/bin/python3)" p
chown bob:project e p
chmod 4755 e p
su alice -c 'LD_PRELOAD=/nope.so LD_LIBRARY_PATH=/nope GCONV_PATH=/nope TMPDIR=/nope OTHER=kept /w/e' | grep -e nope -e kept
su alice -c 'LD_SHOW_AUXV=1 /w/e | grep -c ^AT_' || echo "status $?"
su alice -c "/w/p -c 'import ctypes; print(*map(ctypes.CDLL(None).getauxval, (11, 12, 13, 14, 23)))'"
echo 'alice ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/a
chmod 440 /etc/sudoers.d/a
su alice -c 'LD_PRELOAD=/nope.so sudo id -u'
## set-user-id-nosuid
mkdir m
mount -t tmpfs -o nosuid none m
cp /usr/bin/id m
chown bob:project m/id
chmod 6755 m/id
setcap cap_net_raw+ep /usr/bin/env && cp -a /usr/bin/env m
su alice -c '/w/m/id; /w/m/env grep CapEff /proc/self/status'
mount -o remount,suid m
su alice -c '/w/m/id'
## set-user-id-strace
cp /usr/bin/id a
chown bob:project a
chmod 6755 a
su alice -c 'strace -o /dev/null /w/a; gdb -q -batch -ex run /w/a' 2>&1 | grep ^uid=
## set-group-id-programs
cp /usr/bin/id a
chgrp shadow a
chmod 2755 a
su alice -c '/w/a -G; /w/a -g; /w/a -rg'
mount --version >/dev/null
stat -c '%n %a %U:%G' /usr/bin/{su,mount,passwd,sudo,crontab,chage} 2>/dev/null
## unshare-map-root
unshare --user --map-root-user id
unshare -r sh -c 'touch /w/a; stat -c %u /w/a'
unshare --mount sh -c 'mount -t tmpfs t /mnt && touch /mnt/a && stat -c %U /mnt/a'
## unshare-map-root-as-user
## differs: the kernel lets a user of the container map only the one user that the container has
su alice -c 'unshare -r id -u'
## mount-namespaces
## differs: a tmpfs belongs to root if fsconfig(2), as in mount(8), named its owner
unshare --mount sh -c 'mount --bind /etc/skel /mnt; ls -A /mnt | wc -l; mount -t tmpfs -o uid=1000,gid=1000,mode=711 t /mnt; stat -c "%a %U:%G" /mnt'
## mount-devpts
mkdir d
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts d
stat -c '%a %U:%G' d d/ptmx
umount d
## mount-overlay
## differs: an overlay that is mounted in the container has inode numbers of its own, without records
mkdir l u w m
touch l/f
chown alice:project l/f
mount -t tmpfs t w 2>/dev/null
mkdir w/u w/w
mount -t overlay -o lowerdir=l,upperdir=w/u,workdir=w/w o m
stat -c '%n %U' m/f
chown bob m/f
touch m/g
chown bob m/g
stat -c '%n %U' m/f m/g l/f
umount m
## unshare-map-user
unshare --user --map-user=1000 --map-group=1000 sh -c 'id -u; id -g; id -G; stat -c "%u:%g" /etc/passwd /home/alice'
unshare --user --map-user=1000 --map-group=1000 sh -c 'grep ^[UG]id /proc/self/status; touch /w/a; stat -c %u:%g /w/a'
stat -c %u:%g a
unshare --user id -u
unshare --user --map-root-user chown alice a || echo "status $?"
## bubblewrap
## image: more
bwrap --unshare-user --uid 1000 --gid 1000 --ro-bind / / sh -c 'id -u; id -g; id -G; stat -c %u:%g /etc/passwd /home/alice'
bwrap --unshare-all --bind / / --tmpfs /mnt --dev /dev --proc /proc sh -c 'id -u; touch /mnt/a /w/b; stat -c %u:%g /mnt/a /w/b; ps -e -o user=,args= | head -n 1'
chown alice b
bwrap --bind / / --chdir /w stat -c %U:%g b
## sudo-numeric
printf 'alice ALL=(bob:project) NOPASSWD: /usr/bin/id\nDefaults !requiretty\n' >/etc/sudoers.d/row
chmod 440 /etc/sudoers.d/row
sudo -u '#1000' id -u
sudo -u '#4321' id -u || echo "status $?"
sudo -g project id -G
sudo -u alice -g project id
su alice -c 'sudo -n -u bob id -un; sudo -n -u bob -g project id -gn'
su alice -c 'sudo -n -u root id' 2>/dev/null || echo "status $?"
su bob -c 'sudo -n -l' 2>/dev/null || echo "status $?"
rm /etc/sudoers.d/row
## sudo-background
sudo -b -u alice sh -c 'id -un >/tmp/out'
for i in $(seq 50); do test -s /tmp/out && break; sleep 0.1; done
cat /tmp/out
stat -c %U:%G /tmp/out
rm /tmp/out
## chroot-userspec
chroot --userspec=alice:project --groups=bob,audio / id
chroot --userspec=alice / id
chroot --userspec=1234:5678 --skip-chdir / sh -c 'id -u; id -g; id -G; pwd'
chroot --userspec=alice / sh -c 'touch /etc/x' || echo "status $?"
## gpasswd-administrator
gpasswd -A alice project
su alice -c 'gpasswd -a bob project'
su bob -c 'gpasswd -a alice project' 2>&1 || echo "status $?"
getent group project
grep ^project: /etc/gshadow
stat -c '%U:%G %a' /etc/group /etc/gshadow
## setpriv-securebits
setpriv --securebits=+noroot,+noroot_locked sh -c 'setpriv -d | grep -i securebits; chown alice /w' || echo "status $?"
setpriv --bounding-set=-chown,-fowner sh -c 'chown alice /w' || echo "status $?"
setpriv --reuid=alice --regid=alice --init-groups --reset-env sh -c 'id -un; echo $HOME $USER; pwd'
setpriv --reuid=alice --regid=alice --clear-groups --inh-caps=+net_raw --ambient-caps=+net_raw grep ^Cap[IPEA] /proc/self/status
setpriv --no-new-privs setpriv -d | grep -i no_new
## pam-umask-exec
printf 'session optional pam_umask.so umask=0027\nsession optional pam_exec.so /w/hook\n' >>/etc/pam.d/su
printf '#!/bin/sh\necho "$PAM_TYPE $PAM_USER $(id -u)" >>/tmp/hooks\n' >hook
chmod 755 . hook
su alice -c 'umask; touch /tmp/made; stat -c %a /tmp/made'
cat /tmp/hooks
stat -c %U /tmp/hooks /tmp/made
rm /tmp/hooks /tmp/made
## pam-wheel
groupadd -f wheel
sed -i '1i auth sufficient pam_wheel.so trust use_uid' /etc/pam.d/su
su alice -c 'su root -c id </dev/null' >/dev/null 2>&1 || echo refused
gpasswd -a alice wheel >/dev/null
su alice -c 'su root -c "id -u"'
## sudo-log
printf 'Defaults log_output\nDefaults iolog_dir=/var/log/row\nDefaults iolog_user=alice\nDefaults iolog_file=%%{seq}\n' >/etc/sudoers.d/row
chmod 440 /etc/sudoers.d/row
sudo -u bob id -un
sudo sh -c 'exit 3' || echo "status $?"
stat -c '%F %U:%G %a' /var/log/row /var/log/row/00 2>/dev/null
sudoreplay -d /var/log/row -l | grep -o 'USER=.*' | sed 's/TSID.*COMMAND/COMMAND/'
rm -rf /etc/sudoers.d/row /var/log/row
