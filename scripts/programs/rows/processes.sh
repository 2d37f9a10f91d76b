# procps, psmisc, util-linux: processes, and whose they are

## ps-user
su alice -c 'sleep 30' &
sleep 0.4
ps -o user=,ruser=,group=,uid=,gid=,args= -C sleep
ps -u alice -o args= | sort
ps -U bob -o args= | sort
ps -G alice -o args= | sort
## ps-ids-all
setpriv --ruid=1000 --euid=1001 --clear-groups --rgid 1000 --egid 1001 sleep 30 &
sleep 0.3
ps -o ruser=,euser=,suser=,fuser=,rgroup=,egroup= -C sleep
ps -o supgid=,supgrp= -C sleep
## pgrep-pkill
su alice -c 'sleep 31' &
setpriv --reuid=bob --regid=bob --clear-groups sleep 32 &
sleep 0.4
pgrep -c -u alice sleep
pgrep -c -U bob
pgrep -c -G bob sleep
pgrep -c -u root sleep || echo "status $?"
pkill -u bob sleep
wait %2 || echo "status $?"
pgrep -c -u alice sleep
## top-user
setpriv --reuid=alice --regid=alice --clear-groups sleep 30 &
sleep 0.3
top -bn1 -u alice | awk '/sleep$/ {print $2,$NF}'
top -bn1 -p $! | awk '/sleep$/ {print $2,$NF}'
## fuser-kill
setpriv --reuid=alice --regid=alice --clear-groups tail -f /etc/passwd >/dev/null &
sleep 0.3
fuser -u /etc/passwd 2>&1 | grep -o '(.*)'
fuser -v /etc/passwd 2>&1 | awk '/tail/ {print $2,$NF}'
fuser -sk /etc/passwd
wait $! || echo "status $?"
## pstree-uid
su alice -c 'sleep 30; true' &
sleep 0.3
pstree -u $! | sed 's/-*sleep/ sleep/'
killall -u alice sleep
wait || true
killall -u bob sleep || echo "status $?"
## proc-owner
setpriv --reuid=alice --regid=project --clear-groups sleep 30 &
sleep 0.3
stat -c '%U:%G' /proc/$! /proc/$!/status /proc/$!/fd /proc/self /proc/$$
grep -E '^(Uid|Gid|Groups)' /proc/$!/status
## proc-status-caps
grep -E '^(Uid|Gid|Groups|CapInh)' /proc/self/status
setpriv --reuid=alice --regid=alice --init-groups grep -E '^(Uid|Gid|Groups|CapEff|CapPrm)' /proc/self/status
## proc-no-new-privileges
## differs: the filter of a user needs no_new_privs, and the kernel shows it
grep NoNewPrivs /proc/self/status
## proc-host-owners
cat /proc/self/uid_map >/dev/null
cat /proc/self/attr/current 2>/dev/null | head -c 0
stat -c '%n %u:%g %a' /proc /proc/sys /proc/sys/kernel/hostname /proc/version /proc/meminfo /sys /sys/class /dev /dev/pts /dev/shm
## host-files-copied
cp -a /proc/version v
cp -a /proc/sys/kernel/ostype o
cp -p /sys/kernel/mm/transparent_hugepage/enabled e 2>/dev/null || true
tar -C / -cf - proc/version | tar -xpf -
stat -c '%n %u:%g' v o e proc/version
## w-uptime-free
uptime -p >/dev/null
free -b | wc -l
vmstat | wc -l
w -h | wc -l
sysctl -n kernel.ostype
sysctl -n fs.protected_hardlinks >/dev/null
## pidof-pwdx-pmap
setpriv --reuid=alice --regid=alice --clear-groups sleep 30 &
sleep 0.3
test "$(pidof sleep)" = $!
pwdx $! | cut -d: -f2
pmap $! | grep -c sleep >/dev/null
ls -l /proc/$!/exe | awk '{print $3,$4,$NF}'
readlink /proc/$!/cwd
## prlimit-ulimit
prlimit --pid $$ --nofile --noheadings -o RESOURCE
ulimit -n 512
ulimit -n
su alice -c 'ulimit -n; ulimit -Hn 2>/dev/null'
prlimit --nofile=100:200 sh -c 'ulimit -n; ulimit -Hn'
ulimit -x
## prlimit-locks
ulimit -x 100
ulimit -x
su alice -c 'ulimit -x; ulimit -Hx 50; prlimit --locks --noheadings -o SOFT,HARD; ulimit -Hx 60' 2>&1 || echo "status $?"
prlimit --locks=20:40 grep locks /proc/self/limits
prlimit --pid $$ --locks=30:70
ulimit -x
su bob -c "prlimit --pid $$ --locks=1:1" || echo "status $?"
## access-times
echo x >a
su alice -c 'dd if=/w/a iflag=noatime status=none' || echo "status $?"
su alice -c 'tar --atime-preserve=system -cf /dev/null /w/a' || echo "status $?"
chown alice a
su alice -c 'dd if=/w/a iflag=noatime status=none'
## renice-other
## differs: setpriority(2) looks for processes of the kernel's user, and all belong to one
setpriv --reuid=alice --regid=alice --clear-groups sleep 30 &
sleep 0.2
renice -n 5 -p $! | sed 's/^[0-9]*//'
renice -n 6 -u alice | sed 's/^[0-9]*//'
ps -o ni= -p $!
## kill-signals
setpriv --reuid=alice --regid=alice --clear-groups sleep 30 &
p=$!
sleep 0.2
kill -0 $p && echo may
setpriv --reuid=bob --regid=bob --clear-groups kill -0 $p || echo "bob may not"
setpriv --reuid=alice --regid=alice --clear-groups kill $p
wait $p || echo "status $?"
## kill-all-of-user
for i in 1 2 3; do setpriv --reuid=alice --regid=alice --clear-groups sleep 30 & done
sleep 30 &
sleep 0.3
setpriv --reuid=alice --regid=alice --clear-groups sh -c 'kill -9 -1' || echo "status $?"
sleep 0.2
jobs -r | wc -l
## kill-group
set -m
setpriv --reuid=alice --regid=alice --clear-groups sh -c 'sleep 30 & sleep 30' &
g=$!
sleep 0.3
setpriv --reuid=bob --regid=bob --clear-groups kill -- -$g || echo "status $?"
kill -- -$g
wait || true
pgrep -c sleep || echo none
## flock-lock
## differs: reading and writing are not controlled without strict
touch l
chown alice l
chmod 600 l
flock l id -u
flock -n l true
su alice -c 'flock /w/l true && echo got'
su bob -c 'flock /w/l true' 2>&1 | head -n 1
## ipcs-owners
ipcmk -M 100 >/dev/null
su alice -c 'ipcmk -M 100 -p 600 >/dev/null; ipcmk -S 2 >/dev/null; ipcmk -Q >/dev/null'
ipcs -m | awk 'NR>3 && NF {print $3,$4,$5}'
ipcs -s | awk 'NR>3 && NF {print $3,$4}'
ipcs -q | awk 'NR>3 && NF {print $3,$4}'
ipcs -m -c | awk 'NR>3 && NF {print $2,$3,$4,$5,$6}'
## ipcrm-refused
ipcmk -M 100 -p 600 >/dev/null
i=$(ipcs -m | awk 'NR>3 && NF {print $2}')
su alice -c "ipcrm -m $i" 2>refused || echo "status $?"
tr -d 0-9 <refused
ipcrm -m "$i"
ipcs -m | awk 'NR>3 && NF' | wc -l
## posix-shared-memory
python3 -c '
from multiprocessing import shared_memory as s
m=s.SharedMemory("row",create=True,size=64); import os
st=os.stat("/dev/shm/row"); print(oct(st.st_mode),st.st_uid,st.st_gid); m.close(); m.unlink()'
## keyctl-python
python3 - <<'P'
import ctypes
c=ctypes.CDLL(None,use_errno=True)
k=c.syscall(248,b"user",b"row",b"x",ctypes.c_size_t(1),-2)
print(k>0, c.syscall(250,4,k,1000,1000), ctypes.get_errno())
b=ctypes.create_string_buffer(200); n=c.syscall(250,6,k,b,200); print(b.value.decode())
P
## unix-socket-peer
socat UNIX-LISTEN:s,fork,mode=777 SYSTEM:'id -u' 2>/dev/null &
for i in $(seq 50); do
    test -S s && break
    sleep 0.1
done
chmod 777 .
python3 - <<'P'
import os,socket,struct
a=socket.socket(socket.AF_UNIX); a.connect("s"); print(struct.unpack("3i",a.getsockopt(1,17,12))[1:])
l=socket.socket(socket.AF_UNIX); l.bind("t"); l.listen(); os.chmod("t",0o777)
if os.fork()==0:
    os.setgid(1000); os.setuid(1000); b=socket.socket(socket.AF_UNIX); b.connect("t"); b.recv(1); os._exit(0)
c,_=l.accept(); print(struct.unpack("3i",c.getsockopt(1,17,12))[1:]); c.send(b"x"); os.wait()
P
stat -c '%n %F %U' s t
## unix-socket-passcred
python3 - <<'P'
import os,socket,struct
a,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM); b.setsockopt(1,16,1)
if os.fork()==0:
    os.setgid(1000); os.setuid(1000); a.send(b"x"); os._exit(0)
os.wait(); d,c,*_=b.recvmsg(9,99); print(struct.unpack("3i",c[0][2])[1:])
P
## dmesg-hostname
su alice -c 'hostname x' 2>/dev/null || echo refused
unshare --uts sh -c 'hostname rows; hostname'
su alice -c 'date -s 12:00' 2>/dev/null || echo refused
cal >/dev/null 2>&1 || true
uname -s
## setarch-taskset
setarch --uname-2.6 uname -r | cut -c1-4
taskset -c 0 nproc
chrt -o 0 id -u
su alice -c 'chrt -f 1 true' 2>/dev/null || echo refused
## mountpoint-findmnt
mountpoint -q /proc && echo proc
findmnt -no FSTYPE /proc
findmnt -no TARGET /
mount -t tmpfs t /mnt
touch /mnt/a
chown alice /mnt/a
stat -c %U /mnt/a
umount /mnt
## swapfile-losetup
dd if=/dev/zero of=s bs=1M count=1 status=none
chmod 600 s
mkswap s >/dev/null 2>&1
stat -c '%a %U' s
swaplabel s | wc -l
su alice -c 'swapon /w/s' 2>/dev/null || echo refused
## hexdump-column-misc
mcookie | wc -c
rev <<<abc
look alice /etc/passwd | cut -d: -f1
getopt ab: -a -b c
lsns -t user -n -o NPROCS | wc -l >/dev/null
lscpu >/dev/null
lslogins -u -o USER,UID --noheadings | sort
lslogins alice | sed -n 1,4p
## gdb-as-user
## image: more
printf '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%%d %%d\\n", getuid(), geteuid()); return 3; }\n' >a.c
gcc -g -o a a.c
chmod 755 .
su alice -c 'gdb -nx -batch -ex "break main" -ex run -ex "print (int)getuid()" -ex continue -ex "print \$_exitcode" ./a' 2>&1 | grep -v -e '^\[' -e warning
gdb -nx -batch -ex run -ex 'print $_exitcode' ./a 2>&1 | grep -v -e '^\[' -e warning
## gdb-attach
## image: more
su alice -c 'exec sleep 30' &
sleep 0.5
p=$(pgrep -u alice -x sleep)
gdb -nx -batch -p "$p" -ex 'print (int)getuid()' 2>/dev/null | grep '^\$1'
kill "$p"
wait || true
## strace-forms
## image: more
su alice -c 'strace -f -e trace=chown,fchownat,setuid -o /dev/stdout chown alice /etc/hostname' || echo "status $?"
strace -qq -e trace=fchownat,geteuid -o out chown alice /w
grep -o 'fchownat.*= 0' out
stat -c %U .
strace -c -o out true
grep -c execve out
## python-spawn
cat >a.py <<'PY'
import os
for uid in (1000, 0):
    if uid == 0:
        os.setresuid(1000, 0, 0)
    child = os.fork()
    if child == 0:
        if uid:
            os.setresuid(uid, uid, uid)
        for reset in (False, True):
            pid = os.posix_spawn("/usr/bin/id", ["id", "-u"], os.environ, resetids=reset)
            os.waitpid(pid, 0)
        os._exit(0)
    os.waitpid(child, 0)
PY
python3 a.py
## identities-at-once
chmod 777 .
i=1
while [ $i -le 64 ]; do
    setpriv --reuid=$((2000 + i)) --regid=$((3000 + i)) --clear-groups sh -c "echo x >f$i; sleep 0.2; id -u >>f$i" &
    i=$((i + 1))
done
wait
stat -c '%u:%g' f* | sort -u | wc -l
cat f* | sort -u | wc -l
## threads-setresuid
printf '#define _GNU_SOURCE\n#include <pthread.h>\n#include <stdio.h>\n#include <unistd.h>\nstatic pthread_barrier_t all;\n' >a.c
printf 'static void *look(void *n) { (void)n; pthread_barrier_wait(&all); pthread_barrier_wait(&all); return (void *)(long)getuid(); }\n' >>a.c
printf 'int main(void) { pthread_t t[32]; long seen = 0; pthread_barrier_init(&all, 0, 33);\n' >>a.c
printf 'for (int i = 0; i < 32; i++) pthread_create(&t[i], 0, look, 0);\n' >>a.c
printf 'pthread_barrier_wait(&all); if (setresuid(1000, 1000, 1000)) return 1; pthread_barrier_wait(&all);\n' >>a.c
printf 'for (int i = 0; i < 32; i++) { void *uid; pthread_join(t[i], &uid); seen += (long)uid; } printf("%%ld\\n", seen); }\n' >>a.c
gcc -pthread -o a a.c
./a
