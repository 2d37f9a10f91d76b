# Install what the rows of Debian's image use, in the tree $1, as real root.
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind -o ro /sys sys
export DEBIAN_FRONTEND=noninteractive
echo force-unsafe-io >etc/dpkg/dpkg.cfg.d/quick
echo 'postfix postfix/main_mailer_type select Local only' >root/answers
echo 'postfix postfix/mailname string programs.example' >>root/answers
install_() { chroot . apt-get -qq -y --no-install-recommends install "$@" >/dev/null; }

chroot . apt-get -qq update
chroot . apt-get -qq -y install debconf >/dev/null
chroot . debconf-set-selections /root/answers
rm root/answers

# Files, archives, and file systems in a file
install_ acl afio attr bc binutils bsdextrautils busybox-static btrfs-progs bzip2 cpio dosfstools \
    e2fsprogs erofs-utils fdisk file genisoimage inotify-tools libarchive-tools libcap2-bin lsof \
    moreutils mtree-netbsd p7zip-full patch pax rsync rust-coreutils squashfs-tools strace tree \
    toybox unzip xorriso xxd zip zstd
# Backups
install_ aide borgbackup etckeeper git metastore rdiff-backup restic rsnapshot
# Users and identities
install_ adduser daemontools expect gosu login opendoas passwd runit s6 sudo util-linux-extra whois
# Processes
install_ daemon procps psmisc screen supervisor tini tmux
# Services, and their clients
install_ apache2 at bsd-mailx cron curl dbus dnsmasq incron iproute2 iputils-ping logrotate lighttpd \
    memcached netcat-openbsd nginx-light openssh-client openssh-server openssh-sftp-server \
    openssh-tests postfix postgresql redis-server rsyslog socat systemd tinyproxy
# Packages, and the making of packages and of root file systems
install_ alien build-essential buildah crun debhelper debootstrap dpkg-dev fakechroot \
    fakeroot mmdebstrap netavark rpm ucf umoci
# Languages
install_ default-jdk-headless fontconfig guile-3.0 libpython3.13-testsuite lua5.4 lua-posix nodejs perl php-cli \
    python3 python3-venv ruby tcl gawk

# A static Go program. The compiler leaves no trace.
install_ golang-go
mkdir -p opt/source
cat >opt/source/owners.go <<'GO'
// Command owners shows what Go's own library sees of identities and owners, and changes them.
package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
)

func show(path string, info os.FileInfo) {
	status := info.Sys().(*syscall.Stat_t)
	fmt.Println(path, info.Mode(), status.Uid, status.Gid, status.Rdev)
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
	}
}

func main() {
	switch os.Args[1] {
	case "walk":
		check(filepath.Walk(os.Args[2], func(path string, info os.FileInfo, err error) error {
			check(err)
			show(path, info)
			return nil
		}))
	case "chown":
		var uid, gid int
		fmt.Sscan(os.Args[2], &uid)
		fmt.Sscan(os.Args[3], &gid)
		check(os.Lchown(os.Args[4], uid, gid))
	case "mknod":
		check(syscall.Mknod(os.Args[2], syscall.S_IFCHR|0640, 1<<8|3))
		check(syscall.Mknod(os.Args[2]+".block", syscall.S_IFBLK|0600, 7<<8))
		check(syscall.Mkfifo(os.Args[2]+".fifo", 0644))
	case "run":
		var uid, gid uint32
		fmt.Sscan(os.Args[2], &uid)
		fmt.Sscan(os.Args[3], &gid)
		command := exec.Command(os.Args[4], os.Args[5:]...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		command.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{gid, 44}}}
		check(command.Run())
	case "identity":
		groups, err := os.Getgroups()
		check(err)
		fmt.Println(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups)
		who, err := user.Current()
		check(err)
		fmt.Println(who.Username, who.HomeDir)
		check(syscall.Setgid(33))
		check(syscall.Setuid(33))
		fmt.Println(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
		check(syscall.Setuid(0))
		check(os.WriteFile(os.Args[2], []byte("x"), 0o644))
	case "tar":
		w := tar.NewWriter(os.Stdout)
		check(filepath.Walk(os.Args[2], func(path string, info os.FileInfo, err error) error {
			check(err)
			header, err := tar.FileInfoHeader(info, "")
			check(err)
			header.Name = path
			check(w.WriteHeader(header))
			if info.Mode().IsRegular() {
				file, err := os.Open(path)
				check(err)
				io.Copy(w, file)
			}
			return nil
		}))
		check(w.Close())
	}
}
GO
chroot . env CGO_ENABLED=0 HOME=/root GOCACHE=/root/.cache GOFLAGS=-mod=mod \
    sh -c 'cd /opt/source && go mod init owners && go build -o /usr/local/bin/go-owners . '
chroot . apt-get -qq -y purge --auto-remove golang-go >/dev/null
rm -rf root/.cache root/go opt/source/go.mod

# Users for the rows
for name in alice bob; do
    chroot . useradd -m -s /bin/bash "$name"
done
chroot . groupadd project

# A mirror of what debootstrap needs, and packages to install
pool=srv/debian/pool
lists=srv/debian/dists/trixie/main/binary-$(dpkg --print-architecture)
mkdir -p "$pool" "$lists"
chroot . apt-get clean
chroot . apt-get -qq --no-install-recommends --download-only -y install \
    man-db munge ntpsec tor >/dev/null
mv var/cache/apt/archives/*.deb "$pool"
mirror=$(grep -Ehos 'https?://[^ ]*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/* |
    head -n 1)
debootstrap --variant=minbase --no-check-gpg --download-only trixie srv/part "$mirror" >/dev/null
cp srv/part/var/cache/apt/archives/*.deb "$pool"
rm -rf srv/part
cd srv/debian
dpkg-scanpackages -m pool >"../../$lists/Packages" 2>/dev/null
cd dists/trixie
{
    printf 'Suite: trixie\nCodename: trixie\nComponents: main\n'
    printf 'Architectures: %s\nSHA256:\n' "$(dpkg --print-architecture)"
    for file in main/*/Packages; do
        printf ' %s %s %s\n' "$(sha256sum "$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$file"
    done
} >Release
cd "$1"
rm -rf var/lib/apt/lists/* etc/apt/sources.list.d/* etc/dpkg/dpkg.cfg.d/quick
echo 'deb [trusted=yes] file:/srv/debian trixie main' >etc/apt/sources.list
chroot . apt-get clean
