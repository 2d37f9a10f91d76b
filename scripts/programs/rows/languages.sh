# Languages' own libraries, and CPython's tests of them

## python-os
python3 - <<'P'
import os, shutil, stat
open("a","w").close(); os.chown("a",1000,44); s=os.stat("a"); print(s.st_uid,s.st_gid,oct(s.st_mode)); shutil.chown("a","bob","project"); print(shutil.os.stat("a").st_uid)
os.mknod("n",stat.S_IFCHR|0o640,os.makedev(1,3)); print(os.lstat("n").st_rdev); os.mkfifo("p"); shutil.copy2("a","b"); print(os.stat("b").st_uid)
with os.scandir(".") as d: print(sorted((e.name,e.stat().st_uid,e.is_file()) for e in d))
P
## python-identity
python3 - <<'P'
import os
print(os.getresuid(),os.getresgid(),os.getgroups()); os.setgroups([5,6]); os.setegid(7); os.seteuid(8); print(os.getresuid(),os.getresgid(),os.getgroups())
try: os.setuid(9)
except OSError as e: print(e)
os.seteuid(0); os.setresgid(10,11,12); os.setresuid(13,14,15); print(os.getresuid(),os.getresgid())
for f in (lambda: os.seteuid(0), lambda: os.setgroups([]), lambda: os.chown("/etc/passwd",1,1)):
    try: f(); print("allowed")
    except OSError as e: print(e.strerror)
P
## python-tarfile
python3 - <<'P'
import tarfile, os, io
open("f","w").close(); os.chown("f",1000,44)
with tarfile.open("a.tar","w") as t: t.add("f"); i=tarfile.TarInfo("c"); i.type=tarfile.CHRTYPE; i.devmajor,i.devminor=1,3; i.uid=33; t.addfile(i)
os.unlink("f")
with tarfile.open("a.tar") as t: print([(m.name,m.uid,m.uname) for m in t]); t.extractall(".",filter="fully_trusted",numeric_owner=True)
P
stat -c '%n %u:%g %F' f c
## python-subprocess-user
python3 -c '
import subprocess
print(subprocess.run(["id"],user="alice",group="project",extra_groups=["audio",44],capture_output=True,text=True).stdout)
print(subprocess.run(["sh","-c","umask; touch f; stat -c %U f"],user=1001,cwd="/tmp",umask=0o27,capture_output=True,text=True).stdout)'
## python-venv
python3 -m venv --without-pip v 2>&1 | tail -n 1
chown -R alice v
v/bin/python -c 'import os,sys; print(os.stat(sys.prefix).st_uid)'
su alice -c '/w/v/bin/python -c "import getpass; print(getpass.getuser())"'
## python-test-os
## seconds: 200
chmod 777 /tmp
cd /tmp
python3 -m test -q test_os test_stat test_pwd test_grp 2>&1 | grep -vE '^(Using|0:0|Total dur|== |Raised|Executing)' | tail -n 25
## python-test-posix
## seconds: 200
cd /tmp
python3 -m test -q test_posix test_posixpath test_genericpath 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## python-test-shutil
## seconds: 200
cd /tmp
python3 -m test -q test_shutil test_glob test_filecmp test_tempfile 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## python-test-tarfile
## seconds: 200
cd /tmp
python3 -m test -q test_tarfile test_zipfile test_zipapp 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## python-test-pathlib
## seconds: 200
cd /tmp
python3 -m test -q test_pathlib test_fnmatch test_mailbox test_dbm 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## python-test-subprocess
## seconds: 300
cd /tmp
python3 -m test -q -i test_preexec_fork_failure test_subprocess test_pty test_fcntl test_resource 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## python-test-socket
## seconds: 300
cd /tmp
python3 -m test -q -i '*VSOCK*' -i test_sethostname test_socket test_socketserver 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## python-test-asyncio
## seconds: 900
## long: yes
cd /tmp
python3 -m test -q test_asyncio test_multiprocessing_fork >log 2>&1 || true
grep -E '^(Result|Total tests|    test_)' log
rm -rf /tmp/*
## python-test-import-fs
## seconds: 200
cd /tmp
python3 -m test -q test_fileio test_file test_largefile test_mmap test_netrc test_logging 2>&1 | grep -vE '^(Using|0:0|Total dur|== )' | tail -n 25
## perl-owners
perl -e 'open F,">a"; chown 1000,44,"a"; @s=stat "a"; printf "%o %d %d\n",@s[2,4,5]; print -O "a" ? "own":"other","\n"; chmod 04755,"a"; printf "%o\n",(stat "a")[2]; print "$< $> $( $)\n"; $)="33 33 44"; $>=33; print "$< $> $( $)\n"; open F,">/tmp/p"; print((stat "/tmp/p")[4],"\n"); chown 1,1,"a" or print "$!\n"; $>=0; print "$>\n"'
## perl-modules
mkdir d
touch d/f
chown -R alice:project d
perl -MFile::Find -MFile::Copy=cp -MArchive::Tar -MPOSIX -e 'find(sub{my @s=lstat; print "$File::Find::name $s[4]:$s[5]\n"},"d"); cp("d/f","g"); my $t=Archive::Tar->new; $t->add_files("d/f"); print map {$_->uid,":",$_->uname,"\n"} $t->get_files; print POSIX::getuid(),"\n"; POSIX::mkfifo("p",0600); print POSIX::setuid(33),POSIX::getuid(),"\n"'
## ruby-fileutils
ruby -rfileutils -retc -e 'FileUtils.touch "a"; FileUtils.chown "alice","project","a"; s=File.stat("a"); puts s.uid,s.gid,Etc.getpwuid(s.uid).name; FileUtils.cp "a","b",preserve: true; puts File.stat("b").uid; FileUtils.install "a","c",owner: "bob",mode: 04755; printf "%o\n",File.stat("c").mode; Process::UID.change_privilege(33); puts Process.uid,Process.euid; begin; File.chown(1,1,"a"); rescue => e; puts e.class; end'
## php-posix
php -r 'touch("a"); chown("a","alice"); chgrp("a","project"); clearstatcache(); print_r(array_intersect_key(stat("a"),["uid"=>1,"gid"=>1])); echo posix_getpwuid(fileowner("a"))["name"],"\n"; chmod("a",04750); printf("%o\n",fileperms("a")); posix_mknod("n",POSIX_S_IFCHR|0600,1,3); echo filetype("n"),"\n"; posix_setgid(33); posix_setuid(33); echo posix_getuid(),posix_geteuid(),"\n"; var_dump(@chown("a","bob"));'
## node-fs
UV_USE_IO_URING=0 node -e 'const fs=require("fs"); fs.writeFileSync("a",""); fs.chownSync("a",1000,44); const s=fs.statSync("a"); console.log(s.uid,s.gid); fs.cpSync("a","b",{preserveTimestamps:true}); console.log(fs.statSync("b").uid); console.log(process.getuid(),process.getgroups()); fs.promises.lchown("a",1001,44).then(()=>fs.promises.stat("a")).then(s=>{console.log(s.uid);})'
## node-spawn-uid
node -e 'const c=require("child_process"); console.log(c.spawnSync("id",[],{uid:1000,gid:1000}).stdout.toString())'
## java-files
printf 'import java.nio.file.*; import java.nio.file.attribute.*;\npublic class A { public static void main(String[] a) throws Exception { Path p=Path.of("f"); Files.writeString(p,"x"); var l=p.getFileSystem().getUserPrincipalLookupService(); Files.setOwner(p,l.lookupPrincipalByName("alice")); Files.getFileAttributeView(p,PosixFileAttributeView.class).setGroup(l.lookupPrincipalByGroupName("project")); System.out.println(Files.getOwner(p)+" "+Files.getAttribute(p,"unix:uid")+" "+Files.getAttribute(p,"unix:mode")); Files.copy(p,Path.of("g"),StandardCopyOption.COPY_ATTRIBUTES); System.out.println(Files.getOwner(Path.of("g"))); System.out.println(Files.isWritable(Path.of("/etc/shadow"))+" "+System.getProperty("user.name")+" "+System.getProperty("user.home")); System.out.println(new com.sun.security.auth.module.UnixSystem().getUid()); }}\n' >A.java
java A.java
su alice -c 'java -XshowSettings:properties -version 2>&1 | grep user.name'
## java-jar-hsperf
printf 'public class B { public static void main(String[] a) throws Exception { System.out.println(new java.io.File("/tmp/hsperfdata_"+System.getProperty("user.name")).isDirectory()); } }\n' >B.java
javac B.java
jar cf b.jar B.class
java -cp b.jar B
su alice -c 'java -cp /w/b.jar B'
stat -c '%n %a %U:%G' /tmp/hsperfdata_*
## lua-posix
lua5.4 -e 'local p=require"posix"; local u=require"posix.unistd"; io.open("a","w"):close(); print(u.chown("a",1000,44)); local s=require"posix.sys.stat".stat("a"); print(s.st_uid,s.st_gid); print(u.getuid(),u.setpid and u.setpid("u",33)); print(u.geteuid()); print(u.chown("a",1,1))'
## tcl-attributes
echo 'close [open a w]; file attributes a -owner alice -group project -permissions 04755; puts [file attributes a]; file stat a s; puts "$s(uid) $s(gid)"; puts [file owned a]; file copy a b; puts [file attributes b -owner]' | tclsh
## guile-posix
guile --no-auto-compile -c '(call-with-output-file "a" (lambda (p) #t)) (chown "a" 1000 44) (let ((s (stat "a"))) (display (list (stat:uid s) (stat:gid s))) (newline)) (mknod "n" (quote char-special) 384 259) (display (stat:type (lstat "n"))) (setgid 33) (setuid 33) (newline) (display (list (getuid) (geteuid)))'
## awk-shells
gawk -l filefuncs 'BEGIN { stat("/etc/shadow", s); print s["uid"], s["gid"], s["type"]; print PROCINFO["uid"], PROCINFO["euid"], PROCINFO["gid"] }'
bash -c 'echo $UID $EUID ${GROUPS[0]}'
su alice -s /bin/bash -c 'echo $UID $EUID; [[ -O /etc/passwd ]] || echo no'
dash -c 'test -O /etc/passwd && echo own'
## c-fts-nftw
cat >a.c <<'C'
#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <fcntl.h>
#include <unistd.h>
#include <grp.h>
#include <sys/stat.h>
static int show(const char *p, const struct stat *s, int f, struct FTW *w) { printf("%s %u:%u %o %d\n", p, s->st_uid, s->st_gid, s->st_mode, f); return 0; }
int main(void) { struct statx x; nftw("d", show, 8, FTW_PHYS); setfsgid(44); setfsuid(1000); close(open("/tmp/fs", O_CREAT | O_WRONLY, 0666)); printf("%d\n", setfsuid(-1)); setfsuid(0);
 statx(AT_FDCWD, "/tmp/fs", 0, STATX_MODE, &x); printf("%u %u\n", x.stx_uid, x.stx_gid); lchown("d", 7, -1); printf("%d\n", eaccess("/etc/shadow", R_OK)); if (seteuid(33) == 0) printf("%d\n", eaccess("/etc/shadow", R_OK)); return 0; }
C
mkdir d
touch d/f
chown -R alice:project d
cc -w a.c -o a
./a
cc -w -static a.c -o b
./b
## c-threads-setuid
## differs: identities belong to processes, as in POSIX, and not to threads
cat >a.c <<'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
static void *f(void *a) { sleep(1); printf("%d\n", getuid()); return 0; }
static void *g(void *a) { syscall(SYS_setresuid, 1000, 1000, 0); printf("%d\n", getuid()); return 0; }
int main(void) { pthread_t t, u; pthread_create(&t, 0, f, 0); setresuid(33, 33, 0); pthread_join(t, 0); setresuid(0, 0, 0); pthread_create(&u, 0, g, 0); pthread_join(u, 0); printf("%d\n", getuid()); return 0; }
C
cc -w a.c -o a -lpthread
./a
## python-directory-descriptors
cat >a.py <<'PY'
import os
d = os.open(".", os.O_RDONLY)
os.mkdir("d", dir_fd=d)
f = os.open("f", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=d)
os.chown("f", 1000, 1001, dir_fd=d)
os.chmod("f", 0o600, dir_fd=d)
os.symlink("f", "l", dir_fd=d)
os.chown("l", 3, 4, dir_fd=d, follow_symlinks=False)
os.link("f", "g", src_dir_fd=d, dst_dir_fd=d)
os.rename("g", "d/h", src_dir_fd=d, dst_dir_fd=d)
os.mknod("c", 0o20600, os.makedev(1, 3), dir_fd=d)
os.mkfifo("p", dir_fd=d)
os.utime("f", (1, 1), dir_fd=d)
os.fchown(f, 5, 6)
for name in ("f", "l", "d/h", "c", "p"):
    s = os.stat(name, dir_fd=d, follow_symlinks=False)
    print(name, s.st_uid, s.st_gid, oct(s.st_mode), s.st_rdev)
print(os.access("f", os.W_OK, dir_fd=d), [e.stat().st_uid for e in sorted(os.scandir(d), key=lambda e: e.name)])
t = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
os.fchown(t, 7, 8)
os.link(f"/proc/self/fd/{t}", "named", dst_dir_fd=d, follow_symlinks=True)
print(os.stat("named").st_uid)
PY
python3 a.py
## perl-makefile-as-user
mkdir -p p/lib
printf 'use ExtUtils::MakeMaker; WriteMakefile(NAME => "Row", VERSION_FROM => "lib/Row.pm");\n' >p/Makefile.PL
printf 'package Row; our $VERSION = "1.0"; sub hello { "hello" } 1;\n' >p/lib/Row.pm
chown -R alice p
su alice -c 'cd /w/p && perl Makefile.PL INSTALL_BASE=/home/alice/perl NO_PACKLIST=1 NO_PERLLOCAL=1 >/dev/null && make >/dev/null && make install >/dev/null'
find /home/alice/perl -name '*.pm' -exec stat -c '%U:%G %a %n' {} +
su alice -c 'perl -I/home/alice/perl/lib/perl5 -MRow -e "print Row::hello, qq{\n}"'
(cd p && perl Makefile.PL >/dev/null && make install DESTDIR=/w/image >/dev/null)
find image -name Row.pm -exec stat -c '%U:%G %a' {} +
rm -rf p
## php-drop-privileges
php -r 'posix_setgid(1001); posix_setuid(1000); echo posix_getuid(), " ", posix_getegid(), "\n"; var_dump(@posix_setuid(0)); file_put_contents("/tmp/f", "x"); echo fileowner("/tmp/f"), "\n"; unlink("/tmp/f");'
