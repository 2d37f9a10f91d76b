# Services that give up root, and their clients

## cron-user
printf '* * * * * id -un >/tmp/cron.%%\n' >/dev/null
echo '* * * * * id > /tmp/alice-ran' | crontab -u alice -
stat -c '%n %a %U:%G' /var/spool/cron/crontabs /var/spool/cron/crontabs/alice
su alice -c 'crontab -l'
su alice -c 'echo "@daily true" | crontab -; crontab -l'
su bob -c 'crontab -l' || echo "status $?"
crontab -u alice -r
ls /var/spool/cron/crontabs
## cron-runs
## seconds: 100
echo '* * * * * id > /tmp/alice-ran; touch /tmp/made' | crontab -u alice -
echo '* * * * * bob id > /tmp/bob-ran' >/etc/cron.d/b
cron
for i in $(seq 80); do
    test -s /tmp/alice-ran -a -s /tmp/bob-ran && break
    sleep 1
done
cat /tmp/alice-ran /tmp/bob-ran
stat -c '%n %U:%G' /tmp/alice-ran /tmp/bob-ran /tmp/made
## at-runs
atd
su alice -c 'cd /tmp; echo "id >/tmp/at-ran" | at now 2>/dev/null; atq | wc -l >/dev/null'
for i in $(seq 20); do
    test -s /tmp/at-ran && break
    sleep 0.5
done
cat /tmp/at-ran
stat -c '%U:%G' /tmp/at-ran
for i in $(seq 50); do ls /var/spool/cron/atjobs /var/spool/cron/atspool | grep -q '^[a=]' || break; sleep 0.1; done
find /var/spool/cron/at* -printf '%y %m %u:%g\n' | sort -u
## at-batch-refused
atd
echo alice >/etc/at.deny
su alice -c 'echo true | at now + 1 hour' 2>&1 | head -n 1
su bob -c 'echo true | at now + 1 hour 2>/dev/null; atq | wc -l'
atq | awk '{print $NF}'
atrm $(atq | cut -f1)
atq | wc -l
## incron
echo alice >/etc/incron.allow
incrond 2>/dev/null || true
su alice -c 'echo "/home/alice IN_CREATE touch /tmp/incron-ran" | incrontab -' 2>&1 | tail -n 1
sleep 0.5
su alice -c 'touch /home/alice/x'
sleep 1
stat -c %U /tmp/incron-ran 2>/dev/null || echo none
find /var/spool/incron -printf '%P %m %u:%g\n'
## logrotate
mkdir log
for u in alice bob; do
    echo x >log/$u
    chown $u:project log/$u
    chmod 640 log/$u
done
printf '/w/log/alice {\n su root root\n rotate 2\n compress\n create 0604 bob project\n}\n/w/log/bob {\n su bob project\n rotate 1\n copytruncate\n}\n' >c
chmod 644 c
chmod 777 log
logrotate -f -s /w/state c 2>&1 | sed 's/ .*error/error/'
find log -printf '%P %m %u:%g %s\n' | sort
## logrotate-su
mkdir log
chown alice:project log
chmod 775 log
echo x >log/a
chown alice:project log/a
printf '/w/log/a {\n su alice project\n rotate 2\n create\n}\n' >c
logrotate -f -s /w/state c
logrotate -f -s /w/state c
find log -printf '%P %m %u:%g\n' | sort
## rsyslog
printf 'module(load="imuxsock")\n$FileOwner alice\n$FileGroup adm\n$FileCreateMode 0640\n*.* /var/log/row\n' >c
sed -i 's/imuxsock"/imuxsock" SysSock.Name="\/w\/log"/' c
rsyslogd -f /w/c -i /w/pid
sleep 1
logger -u /w/log -t row hello
sleep 1
grep -o 'row: hello' /var/log/row
stat -c '%a %U:%G' /var/log/row log
kill "$(cat pid)"
sleep 0.5
## dbus-system
mkdir -p /run/dbus
dbus-daemon --system --fork
dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetConnectionUnixUser string:org.freedesktop.DBus | tail -n 1
ps -o user=,args= -C dbus-daemon | cut -c1-30
dbus-send --system --print-reply=literal --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames | wc -l
stat -c '%F %a %U:%G' /run/dbus/system_bus_socket
## dbus-other-user
mkdir -p /run/dbus
dbus-daemon --system --fork
su alice -c 'dbus-send --system --print-reply=literal --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetConnectionUnixUser string::1.0'
su alice -c 'dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetConnectionCredentials string::1.1' | grep -A1 UnixUserID | tail -n 1
## dbus-session
su alice -c 'dbus-run-session -- dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetConnectionUnixUser string:org.freedesktop.DBus' | tail -n 1
## gdbus-other-user
## image: services
mkdir -p /run/dbus
dbus-daemon --system --fork
call() {
    gdbus call --system --dest org.freedesktop.DBus --object-path / --method "org.freedesktop.DBus.$@"
}
export -f call
call GetConnectionUnixUser :1.0
su alice -c 'call GetConnectionUnixUser :1.1; call NameHasOwner org.freedesktop.DBus'
runuser -u bob -- gdbus introspect --system --dest org.freedesktop.DBus --object-path / | head -n 3
## polkit
## image: services
## differs: polkitd reads /proc/PID/status with O_CLOEXEC, and that shows the truth
mkdir -p /run/dbus
dbus-daemon --system --fork
pkaction --action-id org.freedesktop.policykit.exec --verbose
ps -o user= -C polkitd
pkcheck --action-id org.freedesktop.policykit.exec --process $$ && echo allowed
su alice -c 'pkcheck --action-id org.freedesktop.policykit.exec --process $$ 2>&1 || echo refused $?'
su bob -c 'pkaction | grep policykit'
kill "$(pidof polkitd)"
## nginx
## differs: reading and writing are not controlled without strict
printf 'user www-data;\nevents {}\nhttp { server { listen 127.0.0.1:8471; root /w/r; } }\n' >c
mkdir r
echo page >r/index.html
nginx -c /w/c
curl -s http://127.0.0.1:8471/
ps -o user=,args= -C nginx | sort | cut -c1-40
find /var/lib/nginx /var/log/nginx -printf '%p %y %m %u:%g\n' | sort
chmod 600 r/index.html
curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8471/
nginx -c /w/c -s stop
## apache2
sed -i 's/^Listen 80/Listen 127.0.0.1:8472/' /etc/apache2/ports.conf
echo page >/var/www/html/index.html
echo 'ServerName localhost' >>/etc/apache2/apache2.conf
apache2ctl start
sleep 1
curl -s http://127.0.0.1:8472/
ps -o user= -C apache2 | sort -u
find /var/log/apache2 /run/apache2 /run/lock/apache2 -printf '%p %y %m %u:%g\n' | sort
apache2ctl stop
for i in $(seq 50); do test -e /run/apache2/apache2.pid || break; sleep 0.1; done
## apache2-port-80
## image: services
## where: RUN
echo page >/var/www/html/index.html
echo 'ServerName localhost' >>/etc/apache2/apache2.conf
apache2ctl start
for host in localhost 127.0.0.1 '[::1]'; do
    curl -s --retry 20 --retry-connrefused "http://$host/"
done
su alice -c 'curl -s -o /dev/null -w "%{http_code} %{remote_port}\n" http://localhost/none'
apache2ctl stop
for i in $(seq 50); do test -e /run/apache2/apache2.pid || break; sleep 0.1; done
curl -s http://127.0.0.1/ || echo "refused $?"
## nginx-port-80
## image: services
## where: RUN
nginx -t 2>&1 | tail -n 1
nginx
curl -s -o /dev/null -w '%{http_code} %{remote_ip} %{remote_port}\n' http://127.0.0.1/
curl -s -o /dev/null -w '%{http_code} %{remote_ip} %{remote_port}\n' 'http://[::1]/'
cut -d' ' -f1,6-9 /var/log/nginx/access.log
nginx -s stop 2>/dev/null
for i in $(seq 50); do test -e /run/nginx.pid || break; sleep 0.1; done
## slapd-port-389
## image: services
## where: RUN
install -d -o openldap -g openldap /run/slapd
slapd -h 'ldap:/// ldapi:///' -u openldap -g openldap
for i in $(seq 50); do
    ldapsearch -x -LLL -H ldap://localhost -b '' -s base namingContexts && break
    sleep 0.1
done
su alice -c 'ldapwhoami -x -H ldap://127.0.0.1 -D cn=admin,dc=programs,dc=example -w secret'
ps -o user= -C slapd
kill "$(cat /run/slapd/slapd.pid)"
## sshd-port-22
## where: RUN
mkdir -p /run/sshd
/usr/sbin/sshd
su alice -c 'cd; mkdir -m 700 .ssh; ssh-keygen -q -t ed25519 -N "" -f .ssh/id && cat .ssh/id.pub >.ssh/authorized_keys'
su alice -c 'ssh -q -o StrictHostKeyChecking=no -i ~/.ssh/id 127.0.0.1 "id -un; echo \$SSH_CONNECTION | cut -d\  -f1,3,4"'
kill "$(cat /run/sshd.pid)"
## dnsmasq-port-53
## where: RUN
dnsmasq -u nobody -g nogroup -x /w/pid -C /dev/null --listen-address=127.0.0.1 --bind-interfaces --address=/row.test/10.1.2.3
sleep 0.3
busybox nslookup -type=a row.test 127.0.0.1 | grep -v '^$'
kill "$(cat pid)"
sleep 0.5
## lighttpd
printf 'server.document-root="/w/r"\nserver.port=8473\nserver.bind="127.0.0.1"\nserver.username="www-data"\nserver.groupname="www-data"\nserver.pid-file="/w/pid"\nindex-file.names=("index.html")\n' >c
mkdir r
echo page >r/index.html
lighttpd -f c
sleep 0.5
curl -s http://127.0.0.1:8473/
ps -o user=,group= -C lighttpd
kill "$(cat pid)"
sleep 0.5
## redis
setpriv --reuid=redis --regid=redis --init-groups redis-server --port 8474 --bind 127.0.0.1 --dir /var/lib/redis --daemonize yes --unixsocket /tmp/redis --pidfile /tmp/redis-pid >/dev/null
sleep 0.5
redis-cli -p 8474 set k v
redis-cli -p 8474 save
ps -o user= -C redis-server
stat -c '%n %a %U:%G' /var/lib/redis/dump.rdb /tmp/redis
redis-cli -p 8474 shutdown nosave
## memcached
memcached -d -u nobody -p 8475 -l 127.0.0.1 -P /tmp/memcached-pid
sleep 0.5
printf 'set k 0 0 1\r\nv\r\nget k\r\nquit\r\n' | nc -q1 127.0.0.1 8475 | tr -d '\r'
ps -o user= -C memcached
stat -c %U /tmp/memcached-pid
## dnsmasq
dnsmasq -p 8476 -u nobody -g nogroup -x /w/pid -C /dev/null --listen-address=127.0.0.1 --bind-interfaces --address=/row.test/10.1.2.3 --log-facility=/w/log
sleep 0.3
ps -o user=,group= -C dnsmasq
stat -c '%n %U:%G %a' pid log
kill "$(cat pid)"
sleep 0.5
## tinyproxy
printf 'User tinyproxy\nGroup tinyproxy\nPort 8477\nListen 127.0.0.1\nPidFile "/w/pid"\nLogFile "/w/log"\n' >c
touch log
chown tinyproxy log
tinyproxy -c c
sleep 0.5
ps -o user=,group= -C tinyproxy | sort -u
stat -c '%n %U:%G' pid log
kill "$(cat pid)"
sleep 0.5
## supervisor-user
printf '[supervisord]\nlogfile=/w/log\npidfile=/w/pid\nuser=root\n[unix_http_server]\nfile=/w/sock\nchmod=0770\nchown=alice:project\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=unix:///w/sock\n[program:p]\ncommand=/bin/sh -c "id >/w/out; sleep 60"\nuser=alice\nenvironment=HOME="/home/alice"\n' >c
chmod 777 .
supervisord -c c
sleep 3
supervisorctl -c c status | awk '{print $1,$2}'
cat out
stat -c '%n %F %a %U:%G' out sock log
kill "$(cat pid)"
sleep 0.5
sleep 1
## postfix-local
## seconds: 90
postconf -e 'inet_interfaces=127.0.0.1' 'mydestination=localhost,programs.example' 'inet_protocols=ipv4' 'maillog_file=/var/log/postfix.log'
sed -i 's/^smtp .*inet/8478 inet/' /etc/postfix/master.cf
newaliases
postfix start >/dev/null 2>&1
echo hello | sendmail alice@localhost
su bob -c 'echo hi | sendmail alice'
for i in $(seq 30); do
    test "$(grep -c ^From: /var/mail/alice 2>/dev/null)" = 2 && break
    sleep 0.5
done
grep -E '^(From|To|hello|hi)' /var/mail/alice | sort
stat -c '%n %a %U:%G' /var/mail/alice /var/spool/postfix/* | sort
postqueue -p | tail -n 1
postfix stop >/dev/null 2>&1
## postfix-check
postfix check 2>&1 | head
postfix set-permissions 2>&1 | head -n 3
find /var/spool/postfix /var/lib/postfix -maxdepth 1 -printf '%p %y %m %u:%g\n' | sort
postconf -n mail_owner setgid_group 2>/dev/null
postalias /etc/aliases
stat -c '%n %a %U:%G' /etc/aliases.db
stat -c '%n %a %U:%G' /usr/sbin/postdrop /usr/sbin/postqueue
## postfix-alias-pipe
## seconds: 90
postconf -e 'inet_interfaces=127.0.0.1' 'mydestination=localhost' 'inet_protocols=ipv4' 'maillog_file=/var/log/postfix.log'
sed -i 's/^smtp .*inet/8479 inet/' /etc/postfix/master.cf
echo 'pipe: "|id >/tmp/pipe-ran"' >>/etc/aliases
newaliases
postfix start >/dev/null 2>&1
echo x | sendmail pipe@localhost
su alice -c 'echo "\"|id >/tmp/forward-ran\"" >~/.forward; chmod 644 ~/.forward'
echo x | sendmail alice@localhost
for i in $(seq 30); do
    test -s /tmp/pipe-ran -a -s /tmp/forward-ran && break
    sleep 0.5
done
cat /tmp/pipe-ran /tmp/forward-ran
postfix stop >/dev/null 2>&1
## sshd-key-login
mkdir -p /run/sshd
su alice -c 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id; cp ~/.ssh/id.pub ~/.ssh/authorized_keys; chmod 600 ~/.ssh/*'
/usr/sbin/sshd -o Port=8480 -o ListenAddress=127.0.0.1 -o PidFile=/w/pid -E /w/log
sleep 0.3
o='-i /home/alice/.ssh/id -p 8480 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'
ssh $o alice@127.0.0.1 'id; pwd; echo $USER; touch made; stat -c %U:%G made'
ssh $o bob@127.0.0.1 id 2>&1 | grep -o 'Permission denied'
ssh $o -tt alice@127.0.0.1 'stat -c %U $(tty)' 2>/dev/null | tr -d '\r'
kill "$(cat pid)"
sleep 0.5
## sshd-strict-modes
mkdir -p /run/sshd
su alice -c 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id; cp ~/.ssh/id.pub ~/.ssh/authorized_keys'
chown bob /home/alice/.ssh/authorized_keys
/usr/sbin/sshd -o Port=8481 -o ListenAddress=127.0.0.1 -o PidFile=/w/pid -E /w/log
sleep 0.3
o='-i /home/alice/.ssh/id -p 8481 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'
ssh $o alice@127.0.0.1 id 2>&1 | grep -o 'Permission denied'
chown alice /home/alice/.ssh/authorized_keys
ssh $o alice@127.0.0.1 id -un
chmod 777 /home/alice
ssh $o alice@127.0.0.1 id 2>&1 | grep -o 'Permission denied'
kill "$(cat pid)"
sleep 0.5
## sshd-password
mkdir -p /run/sshd
echo alice:secret | chpasswd
/usr/sbin/sshd -o Port=8482 -o ListenAddress=127.0.0.1 -o PidFile=/w/pid -E /w/log
sleep 0.3
expect -c 'log_user 0; set timeout 20; spawn ssh -p 8482 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null alice@127.0.0.1 id; expect assword; send "secret\r"; expect eof; puts [regexp {uid=1000\(alice\)} $expect_out(buffer)]'
kill "$(cat pid)"
sleep 0.5
## sftp-scp
mkdir -p /run/sshd
mkdir -p -m 700 ~/.ssh
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
mkdir -p /home/alice/.ssh
cp ~/.ssh/id_ed25519.pub /home/alice/.ssh/authorized_keys
cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
chown -R alice: /home/alice/.ssh
/usr/sbin/sshd -o Port=8483 -o ListenAddress=127.0.0.1 -o PidFile=/w/pid
sleep 0.3
o='-P 8483 -o StrictHostKeyChecking=no -o LogLevel=ERROR'
echo x >f
chmod 640 f
scp -qp $o f alice@127.0.0.1:g
printf 'mkdir d\nput f d/f\nchmod 600 d/f\nsymlink d/f l\nchown 1001 g\nls -ln\n' | sftp -q $o -b - alice@127.0.0.1 2>&1 | grep -v '^sftp>' | awk '{print $1,$3,$4,$NF}'
printf 'chown 1001 /home/alice/g\nchgrp 1001 /home/alice/g\n' | sftp -q $o -b - root@127.0.0.1 >/dev/null
stat -c '%n %a %U:%G' /home/alice/g /home/alice/d/f
kill "$(cat pid)"
sleep 0.5
## sshd-chroot-sftp
mkdir -p /run/sshd /srv/jail/up
chown alice /srv/jail/up
su alice -c 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id; cp ~/.ssh/id.pub ~/.ssh/authorized_keys'
/usr/sbin/sshd -o Port=8484 -o ListenAddress=127.0.0.1 -o PidFile=/w/pid -o ChrootDirectory=/srv/jail -o 'Subsystem=sftp internal-sftp' -o ForceCommand=internal-sftp -E /w/log
sleep 0.3
echo x >/tmp/f
printf 'pwd\nput /tmp/f up/f\nls -ln /\n' | sftp -q -i /home/alice/.ssh/id -P 8484 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -b - alice@127.0.0.1 | grep -v '^sftp' | awk '{print $1,$3,$4,$NF}'
stat -c '%U:%G %a' /srv/jail/up/f
kill "$(cat pid)"
sleep 0.5
## ssh-agent-socket
su alice -c 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id; eval "$(ssh-agent -s)" >/dev/null; ssh-add -q ~/.ssh/id; ssh-add -l | wc -l; stat -c "%F %a %U:%G" $SSH_AUTH_SOCK; ssh-agent -k >/dev/null'
ssh-keygen -A
stat -c '%n %a %U:%G' /etc/ssh/*
## rsync-over-ssh
mkdir -p /run/sshd
mkdir -p -m 700 ~/.ssh
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
/usr/sbin/sshd -o Port=8485 -o ListenAddress=127.0.0.1 -o PidFile=/w/pid
sleep 0.3
mkdir s
echo x >s/f
chown alice:project s/f
mknod s/c c 1 3
rsync -aH -e 'ssh -p 8485 -o StrictHostKeyChecking=no -o LogLevel=ERROR' s/ 127.0.0.1:/w/t
find t -printf '%P %y %m %u:%g\n' | sort
kill "$(cat pid)"
sleep 0.5
## postgres-initdb
## seconds: 120
b=$(echo /usr/lib/postgresql/*/bin)
cd /tmp
initdb() { $b/initdb -D /tmp/x 2>&1 | tail -n 1; }
$b/initdb -D /tmp/x 2>&1 | head -n 1
mkdir /w/data
chown postgres: /w/data
su postgres -c "$b/initdb -A peer -D /w/data >/dev/null && $b/pg_ctl -D /w/data -o '-c listen_addresses= -k /tmp' -l /tmp/pg.log -w start >/dev/null"
su postgres -c "psql -h /tmp -Atc 'select current_user'"
su alice -c "psql -h /tmp -U postgres -c 'select 1'" 2>&1 | grep -o 'Peer authentication failed.*'
psql -h /tmp -U postgres -c 'select 1' 2>&1 | grep -o 'Peer authentication failed.*'
su postgres -c "createuser -h /tmp alice; createdb -h /tmp -O alice alice"
su alice -c "psql -h /tmp -Atc 'create table t (i int); select current_user'"
stat -c '%a %U:%G' /w/data /tmp/.s.PGSQL.5432
su postgres -c "$b/pg_ctl -D /w/data stop -m fast >/dev/null"
## postgres-cluster
## seconds: 120
sed -i 's/^#create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
v=$(ls /usr/lib/postgresql)
pg_dropcluster $v main 2>/dev/null || true
pg_createcluster -p 5488 $v row >/dev/null
sed -i "s/^listen_addresses.*//; s/^#listen_addresses.*/listen_addresses=''/" /etc/postgresql/$v/row/postgresql.conf
pg_ctlcluster $v row start
pg_lsclusters -h | awk '{print $2,$4,$5}'
su postgres -c 'psql -p 5488 -Atc "show data_directory"' | grep -c row
find /etc/postgresql /var/log/postgresql /run/postgresql -printf '%p %y %m %u:%g\n' | sort
pg_ctlcluster $v row stop
pg_dropcluster $v row
test ! -e /etc/postgresql/$v/row
## postgres-bad-owner
## differs: reading and writing are not controlled without strict
b=$(echo /usr/lib/postgresql/*/bin)
mkdir /w/data
chown postgres: /w/data
su postgres -c "$b/initdb -D /w/data >/dev/null"
chown alice /w/data
su postgres -c "$b/postgres -D /w/data -C port" 2>&1 | tail -n 2
chown postgres /w/data
chmod 755 /w/data
su postgres -c "$b/postgres -D /w/data -k /tmp" 2>&1 | grep -o 'FATAL.*'
id -u
$b/postgres -D /w/data 2>&1 | head -n 1
## mail-mailbox
touch /var/mail/alice
chown alice:mail /var/mail/alice
chmod 660 /var/mail/alice
printf 'From a Thu Jan  1 00:00:00 1970\nSubject: s\n\nb\n' >>/var/mail/alice
su alice -c 'mail -H </dev/null' 2>&1 | wc -l >/dev/null
stat -c '%a %U:%G' /var/mail/alice
## socat-user
socat TCP-LISTEN:8486,bind=127.0.0.1,reuseaddr EXEC:id,su=nobody &
sleep 0.5
nc -q1 127.0.0.1 8486 </dev/null | tail -n 1
socat UNIX-LISTEN:/w/s,user=alice,group=project,mode=660 - >/dev/null &
sleep 0.3
stat -c '%F %a %U:%G' s
## ping-capability
getcap /usr/bin/ping
stat -c '%a %U' /usr/bin/ping
su alice -c 'ping -c1 -q 127.0.0.1 2>&1' | grep -o '1 packets transmitted, 1 received' || echo no
## systemd-tools
systemd-id128 new | wc -c
systemd-escape 'a/b'
systemd-path system-state-logs
systemctl --root=/ is-enabled cron.service || true
systemctl --root=/ enable ssh.service 2>&1 | tail -n 1
systemctl --root=/ list-unit-files --no-legend ssh.service | awk '{print $2}'
journalctl --version | head -n 0
systemd-creds --version | head -n 0
## systemd-firstboot
systemd-firstboot --root=/w/r --hostname=h --timezone=UTC --root-password=x --force 2>/dev/null || {
    mkdir -p r/etc
    systemd-firstboot --root=/w/r --hostname=h --force
}
find r -printf '%P %y %m %u:%g\n' | sort
## log-socket-run
## where: RUN
printf 'module(load="imuxsock")\n$FileOwner alice\n*.* /var/log/row\n' >c
rsyslogd -f /w/c -i /w/pid
for i in $(seq 50); do test -S /dev/log && break; sleep 0.1; done
stat -c '%F %a %U:%G' /dev/log
su alice -c 'logger -t row hello'
logger -t row root
for i in $(seq 50); do grep -q 'row: root' /var/log/row 2>/dev/null && break; sleep 0.1; done
grep -o 'row: .*' /var/log/row
kill "$(cat pid)"
for i in $(seq 50); do test -e pid || break; sleep 0.1; done
rm c
## mariadb
## image: more
mariadb-install-db --user=mysql >/dev/null 2>&1
stat -c '%U:%G %a' /var/lib/mysql /var/lib/mysql/mysql
mkdir -p /run/mysqld
chown mysql:mysql /run/mysqld
mariadbd-safe --user=mysql --skip-networking --skip-syslog >/dev/null 2>&1 &
for i in $(seq 100); do mariadb-admin ping >/dev/null 2>&1 && break; sleep 0.2; done
mariadb -N -e 'select current_user()'
mariadb -e 'create user alice identified via unix_socket; create database d; grant all on d.* to alice'
su alice -c "mariadb -N -e 'select current_user(); create table d.t (n int); insert into d.t values (1); select * from d.t'"
su bob -c 'mariadb -N -e "select 1"' 2>&1 | sed 's/(.*)//' || true
su bob -c 'mariadb -u alice -N -e "select 1"' >/dev/null 2>&1 || echo refused
ps -o user= -C mariadbd
stat -c '%U:%G %a' /var/lib/mysql/d /run/mysqld/mysqld.sock
mariadb-admin shutdown
wait || true
## samba
## image: more
mkdir -p /run/samba share
printf '[global]\nsmb ports = 4450\nbind interfaces only = yes\ninterfaces = lo\nmap to guest = never\nstore dos attributes = no\n' >smb.conf
printf 'log file = /w/log\n[share]\npath = /w/share\nwritable = yes\n[homes]\nwritable = yes\n' >>smb.conf
chmod 777 share
printf 'secret\nsecret\n' | smbpasswd -c smb.conf -s -a alice >/dev/null
smbd -s smb.conf -D
for i in $(seq 50); do smbclient -p 4450 -U alice%secret //127.0.0.1/share -c ls >/dev/null 2>&1 && break; sleep 0.2; done
echo x >f
smbclient -p 4450 -U alice%secret //127.0.0.1/share -c 'put f; mkdir d; ls f' 2>/dev/null | awk '{print $1,$2,$3}' | head -n 1
smbclient -p 4450 -U alice%secret //127.0.0.1/alice -c 'put f' >/dev/null 2>&1
smbclient -p 4450 -U alice%wrong //127.0.0.1/share -c ls 2>&1 | grep -o NT_STATUS.*
stat -c '%F %U:%G %a %n' share/* /home/alice/f
pkill -x smbd
rm -rf log* smb.conf f /run/samba /var/cache/samba /var/lib/samba
## munge
## image: more
mkdir -p /run/munge
chown munge:munge /run/munge
runuser -u munge -- munged
munge -n | unmunge | grep -e '^UID' -e STATUS
su alice -c 'munge -n' | unmunge | grep -e '^UID' -e STATUS
su alice -c 'munge -n -u root' | su bob -c unmunge 2>/dev/null | grep STATUS || echo refused
ps -o user= -C munged
pkill -x munged
while pgrep -x munged >/dev/null; do sleep 0.1; done
rm -rf /run/munge /var/lib/munge/munged.seed
## haproxy
## image: more
printf 'global\n user haproxy\n group haproxy\n chroot /var/lib/haproxy\n stats socket /w/sock user alice group haproxy mode 660\n' >c
printf 'defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nfrontend f\n bind 127.0.0.1:8080\n http-request return status 200\n' >>c
haproxy -D -p /w/pid -f c
stat -c '%F %a %U:%G' sock
ps -o user= -C haproxy | sort -u
python3 -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:8080/").status)'
ls -l "/proc/$(cat pid)/root" | grep -o '> .*'
kill "$(cat pid)"
rm pid
## beanstalkd-user
## image: more
beanstalkd -u nobody -l 127.0.0.1 -p 11300 &
sleep 0.5
ps -o user= -C beanstalkd
kill $!
wait || true
## gunicorn-user
## image: more
printf 'import os\ndef app(env, start):\n    start("200 OK", [])\n    return [b"%%d %%d" %% (os.getuid(), os.getgid())]\n' >a.py
gunicorn --user alice --group bob --bind unix:/w/sock --pid /w/pid --worker-tmp-dir /dev/shm a:app >/dev/null 2>&1 &
for i in $(seq 50); do test -S sock && break; sleep 0.1; done
python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("/w/sock"); s.send(b"GET / HTTP/1.0\r\n\r\n"); print(s.makefile().read().split("\n")[-1])'
stat -c '%U:%G' sock
kill "$(cat pid)"
wait || true
rm -rf __pycache__
## php-fpm-pool
## image: more
printf '[global]\nerror_log = /w/log\npid = /w/pid\n[p]\nuser = alice\ngroup = bob\nlisten = /w/sock\nlisten.owner = bob\nlisten.group = alice\nlisten.mode = 0640\npm = static\npm.max_children = 2\n' >c
"$(ls /usr/sbin/php-fpm* | head -n 1)" -y c
for i in $(seq 50); do test "$(ps -e -o user=,args= | grep -c '^alice.*pool p')" = 2 && break; sleep 0.1; done
stat -c '%F %a %U:%G' sock
ps -e -o user=,args= | grep -e 'pool p' | grep -v grep | awk '{print $1}' | sort | uniq -c
kill "$(cat pid)"
sleep 0.5
rm -f log pid
## unbound-chroot
## image: more
mkdir -p root/etc
printf 'server:\n username: unbound\n chroot: /w/root\n directory: /etc\n pidfile: /w/root/pid\n interface: 127.0.0.1@5300\n use-syslog: no\n logfile: /etc/log\n local-data: "row. A 10.0.0.1"\n' >root/etc/c
chown unbound root/etc root
unbound-checkconf root/etc/c
unbound -c /w/root/etc/c
sleep 0.5
ps -o user= -C unbound
stat -c '%U:%G %n' root/etc/log root/pid
kill "$(cat root/pid)"
sleep 0.3
rm -f root/etc/log root/pid
## squid-cache
## image: more
printf 'cache_dir ufs /w/cache 10 4 4\ncache_effective_user proxy\ncache_effective_group proxy\npid_filename /w/pid\ncache_log /w/log\naccess_log none\nhttp_port 127.0.0.1:3128\n' >c
mkdir cache
touch log
chown proxy:proxy cache log
squid -f c -z --foreground >/dev/null 2>&1
stat -c '%U:%G %a' cache/00 cache/03/03
rm -f log
## named-update
## image: more
mkdir zone
printf '$TTL 60\n@ IN SOA ns.row. root.row. 1 60 60 60 60\n@ IN NS ns.row.\nns IN A 127.0.0.1\n' >zone/row
printf 'options { directory "/w/zone"; listen-on port 5300 { 127.0.0.1; }; listen-on-v6 { none; }; pid-file "/w/zone/pid"; session-keyfile "/w/zone/key"; recursion no; };\ncontrols { };\nzone "row" { type primary; file "row"; allow-update { any; }; };\n' >zone/c
chown -R bind:bind zone
named -u bind -c /w/zone/c
for i in $(seq 50); do dig +short +timeout=1 -p 5300 @127.0.0.1 ns.row >/dev/null 2>&1 && break; sleep 0.1; done
printf 'server 127.0.0.1 5300\nzone row\nupdate add new.row 60 A 10.0.0.2\nsend\n' | su alice -c nsupdate
dig +short -p 5300 @127.0.0.1 new.row
ps -o user= -C named
stat -c '%U:%G %a %n' zone/row.jnl zone/pid zone/key
pkill -x named
while pgrep -x named >/dev/null; do sleep 0.1; done
rm -rf zone
## systemctl-enable
systemctl disable cron 2>&1
systemctl is-enabled cron || true
systemctl enable cron 2>&1
systemctl is-enabled cron
systemctl mask cron 2>&1
ls -l /etc/systemd/system/cron.service | grep -o 'cron.*'
systemctl unmask cron 2>&1
su alice -c 'systemctl disable cron' >/dev/null 2>&1 || echo refused
