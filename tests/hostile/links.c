/* Names that lead each process to itself must not lead the supervisor to itself.

   links DIR [UID]: makes every call with a path, by every spelling of the directory of the caller's
   own descriptors, for numbers that the caller does not have open.  The kernel says ENOENT to each,
   and EACCES to the directories of other processes.  Any other answer comes from a supervisor that
   has found a file of its own, and is printed.  DIR is a directory in which to make links.  */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

enum { FIRST = 3, LAST = 18, RACES = 300 };

static const char *spelling;
static long tried;
static const char *own; /* a file of the caller's */
static int fds = AT_FDCWD;
static int is_link; /* what a path names is a link, which everybody may look at */

/* An access control list that names the user 5. */
static const unsigned acl[] = {2,           1 | 7 << 16, ~0u, 2 | 7 << 16,    5,           4 | 5 << 16,
			       ~0u,         0x10 | 7 << 16, ~0u, 0x20 | 5 << 16, ~0u};

static void judge(const char *call, const char *path, long result)
{
	int error = errno;

	tried++;
	if (result >= 0)
		printf("REACHED %s: %s: %s\n", spelling, call, path);
	else if (error != ENOENT && error != EACCES && error != ENOTDIR)
		printf("REACHED %s: %s: %s: %s\n", spelling, call, path, strerror(error));
}

static long bound(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	long result;

	if (strlen(path) >= sizeof address.sun_path) {
		close(fd);
		errno = ENOENT;
		return -1;
	}
	strcpy(address.sun_path, path);
	result = bind(fd, (struct sockaddr *)&address, sizeof address);
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static long opened(long fd)
{
	if (fd >= 0)
		close(fd);
	return fd;
}

static long executed(const char *path)
{
	char *argv[] = {"x", NULL};

	return execve(path, argv, argv + 1);
}

/* Each call with the path of a file. */
static void use(const char *path)
{
	struct stat status;
	char buffer[512];
	struct timespec times[2] = {{1, 0}, {1, 0}};

#ifdef SYS_chown
	judge("chown", path, syscall(SYS_chown, path, 5, 5));
	judge("chmod", path, syscall(SYS_chmod, path, 0777));
	judge("utimes", path, syscall(SYS_utimes, path, NULL));
	judge("access", path, syscall(SYS_access, path, R_OK));
#endif
	judge("fchownat", path, fchownat(fds, path, 5, 5, 0));
	judge("fchmodat", path, syscall(SYS_fchmodat, fds, path, 06777));
	judge("stat", path, stat(path, &status));
	judge("fstatat", path, fstatat(fds, path, &status, 0));
	judge("statx", path, syscall(SYS_statx, fds, path, 0, STATX_BASIC_STATS, buffer));
	judge("setxattr", path, setxattr(path, "system.posix_acl_default", acl, sizeof acl, 0));
	judge("setxattr access", path, setxattr(path, "system.posix_acl_access", acl, sizeof acl, 0));
	judge("setxattr trusted", path, setxattr(path, "trusted.x", "x", 1, 0));
	judge("setxattr user", path, setxattr(path, "user.x", "x", 1, 0));
	judge("getxattr", path, getxattr(path, "trusted.x", buffer, sizeof buffer));
	judge("listxattr", path, listxattr(path, buffer, sizeof buffer));
	judge("removexattr", path, removexattr(path, "trusted.x"));
	judge("truncate", path, truncate(path, 1));
	judge("utimensat", path, utimensat(fds, path, times, 0));
	judge("open to write", path, opened(open(path, O_WRONLY)));
	judge("open to read", path, opened(open(path, O_RDONLY)));
	judge("unnamed", path, opened(open(path, O_TMPFILE | O_RDWR, 0600)));
	judge("execve", path, executed(path));
	judge("chroot", path, chroot(path));
	judge("chdir", path, chdir(path));
	judge("mount", path, mount("none", path, "tmpfs", 0, "uid=1000"));
	if (is_link)
		return;
#ifdef SYS_lchown
	judge("lchown", path, syscall(SYS_lchown, path, 5, 5));
#endif
	judge("fchownat nofollow", path, fchownat(fds, path, 5, 5, AT_SYMLINK_NOFOLLOW));
	judge("lstat", path, lstat(path, &status));
	judge("lsetxattr", path, lsetxattr(path, "trusted.x", "x", 1, 0));
	judge("unlink", path, unlink(path));
	judge("rmdir", path, rmdir(path));
	judge("link from", path, link(path, "links-made"));
	if (rename(path, "links-made") == 0 || errno != EXDEV)
		judge("rename from", path, rename(path, "links-made"));
}

/* Each call that makes a file at a path. */
static void make(const char *path)
{
	struct open_how how = {.flags = O_CREAT | O_RDWR | O_EXCL, .mode = 0644};

	judge("creat", path, opened(open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644)));
	judge("open", path, opened(open(path, O_CREAT | O_EXCL | O_RDWR, 0644)));
	judge("openat2", path, opened(syscall(SYS_openat2, fds, path, &how, sizeof how)));
	how.resolve = RESOLVE_NO_XDEV;
	how.flags = O_CREAT | O_RDWR;
	long fd = syscall(SYS_openat2, fds, path, &how, sizeof how);
	if (fd >= 0 || errno != EXDEV)
		judge("openat2 with resolve", path, opened(fd));
	judge("mkdir", path, mkdir(path, 0755));
	judge("symlink", path, symlink("x", path));
	judge("mknod", path, mknod(path, S_IFCHR | 0600, makedev(1, 3)));
	judge("mkfifo", path, mknod(path, S_IFIFO | 0600, 0));
	judge("bind", path, bound(path));
	judge("link", path, link(own, path));
	judge("rename", path, rename(own, path));
}

static void attack(const char *name, const char *prefix)
{
	char path[400];

	spelling = name;
	for (int fd = FIRST; fd < LAST; fd++) {
		snprintf(path, sizeof path, "%s/%d", prefix, fd);
		use(path);
		snprintf(path, sizeof path, "%s/%d/..", prefix, fd);
		use(path);
		snprintf(path, sizeof path, "%s/%d/made", prefix, fd);
		make(path);
		snprintf(path, sizeof path, "%s/%d/../../made", prefix, fd);
		make(path);
	}
}

/* The same in a child that `begin` has put elsewhere. */
static void attack_from(const char *name, const char *prefix, int (*begin)(void))
{
	int status, ends[2];
	pid_t child;

	fflush(stdout);
	if (pipe(ends) < 0)
		abort();
	child = fork();
	if (child == 0) {
		int end = dup2(ends[1], LAST + 1);

		close(ends[0]);
		close(ends[1]);
		fcntl(end, F_SETFD, FD_CLOEXEC);
		tried = 0;
		if (begin() < 0) {
			printf("skipped %s: %s\n", name, strerror(errno));
		} else {
			attack(name, prefix);
		}
		fflush(stdout);
		if (write(end, &tried, sizeof tried) != sizeof tried)
			abort();
		_exit(0);
	}
	long more = 0;
	close(ends[1]);
	if (read(ends[0], &more, sizeof more) != sizeof more)
		printf("died %s\n", name);
	close(ends[0]);
	waitpid(child, &status, 0);
	tried += more;
}

static int in_proc(void) { return chdir("/proc"); }
static int below_proc(void) { return chroot("/proc") < 0 ? -1 : chdir("/"); }
static int in_self(void) { return chdir("/proc/self"); }
static int in_fd(void) { return chdir("/proc/self/fd"); }

static const char *directory;

static int with_bind(void)
{
	char path[300];

	snprintf(path, sizeof path, "%s/bound", directory);
	if (unshare(CLONE_NEWNS) < 0)
		return -1;
	mkdir(path, 0755);
	return mount("/proc", path, NULL, MS_BIND | MS_REC, NULL);
}

/* A descriptor of /proc for calls with one. */
static int with_descriptor(void)
{
	int fd = open("/proc", O_PATH | O_DIRECTORY);

	fds = dup2(fd, LAST + 2);
	close(fd);
	return fds < 0 ? -1 : chdir("/proc");
}

static const char *linked(const char *name, const char *target)
{
	char path[300];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	unlink(path);
	if (symlink(target, path) < 0) {
		printf("skipped %s: %s\n", name, strerror(errno));
		return NULL;
	}
	return strdup(path);
}

/* Attack the directories of processes near this one: its parent's, and those of its siblings. */
static void attack_neighbours(void)
{
	static const char *const places[] = {"cwd", "root", "exe", "fd/0", "task/%d/fd/4", "ns/mnt"};
	char path[300], children[200] = "";
	pid_t pids[9] = {getppid()};
	int count = 1, fd;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", getppid(), getppid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, children, sizeof children - 1) < 0)
			children[0] = 0;
		close(fd);
	}
	for (char *word = strtok(children, " "); word && count < 9; word = strtok(NULL, " "))
		if (atoi(word) != getpid())
			pids[count++] = atoi(word);
	for (int i = 0; i < count; i++) {
		if (pids[i] <= 0)
			continue;
		snprintf(path, sizeof path, "/proc/%d/fd", pids[i]);
		if (access(path, X_OK) == 0)
			continue; /* a process of the container, which is open to this one */
		attack("another process", path);
		for (unsigned place = 0; place < sizeof places / sizeof *places; place++) {
			int length = snprintf(path, sizeof path, "/proc/%d/", pids[i]);

			snprintf(path + length, sizeof path - length, places[place], pids[i]);
			spelling = "another process";
			is_link = 1;
			use(path);
			is_link = 0;
			strcat(path, "/made");
			make(path);
		}
	}
}

/* Make files through a link that another process exchanges for one to /proc/self/fd. */
static void race(void)
{
	char safe[300], first[300], second[300], path[400];
	pid_t child;

	spelling = "exchanged";
	snprintf(safe, sizeof safe, "%s/safe", directory);
	mkdir(safe, 0777);
	for (int fd = FIRST; fd < LAST; fd++) {
		snprintf(path, sizeof path, "%s/%d", safe, fd);
		mkdir(path, 0777);
	}
	snprintf(first, sizeof first, "%s/first", directory);
	snprintf(second, sizeof second, "%s/second", directory);
	if (symlink(safe, first) < 0 || symlink("/proc/self/fd", second) < 0) {
		printf("skipped exchanged: %s\n", strerror(errno));
		return;
	}
	fflush(stdout);
	child = fork();
	if (child == 0)
		for (;;)
			syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE);
	for (int at = 0; at < RACES; at++) {
		snprintf(path, sizeof path, "%s/%d", first, FIRST + at % (LAST - FIRST));
		if (chown(path, 5, 5) == 0)
			setxattr(path, "system.posix_acl_default", acl, sizeof acl, 0);
		snprintf(path, sizeof path, "%s/%d/raced", first, FIRST + at % (LAST - FIRST));
		opened(open(path, O_CREAT | O_WRONLY, 0644));
		tried++;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	judge("race", "/raced", access("/raced", F_OK));
	judge("race", "/ch/raced", access("/ch/raced", F_OK));
}

int main(int argc, char **argv)
{
	char path[300];

	if (argc < 2)
		return 2;
	for (int fd = FIRST; fd < 256; fd++)
		close(fd);
	directory = argv[1];
	snprintf(path, sizeof path, "%s/own", directory);
	own = strdup(path);
	opened(open(own, O_CREAT | O_WRONLY, 0644));
	/* Directories that pass on a group make the supervisor look at where files are made. */
	snprintf(path, sizeof path, "%s/passes-on", directory);
	mkdir(path, 0755);
	if (chown(path, 0, 7) == 0)
		chmod(path, 02777);
	const char *straight = linked("straight", "/proc/self/fd");
	const char *twice = linked("twice", "straight");
	const char *self = linked("self", "/proc/self");
	const char *thread = linked("thread", "/proc/thread-self");
	const char *proc = linked("proc-link", "/proc/.//");
	if (argc > 2 && (setgid(atoi(argv[2])) < 0 || setuid(atoi(argv[2])) < 0)) {
		perror("links: setuid");
		return 1;
	}
	attack("plain", "/proc/self/fd");
	attack("thread-self", "/proc/thread-self/fd");
	attack("dot", "/proc/./self/fd");
	attack("slashes", "//proc///self//fd/");
	attack("up", "/proc/self/../self/fd");
	attack("task", "/proc/self/task/../fd");
	attack("/dev/fd", "/dev/fd");
	attack("root", "/proc/self/root/proc/self/fd");
	if (straight) {
		attack("a link", straight);
		attack("links", twice);
		snprintf(path, sizeof path, "%s/fd", self);
		attack("a link to self", path);
		snprintf(path, sizeof path, "%s/fd", thread);
		attack("a link to thread-self", path);
		snprintf(path, sizeof path, "%s/self/fd", proc);
		attack("a link to /proc", path);
	}
	attack_from("in /proc", "self/fd", in_proc);
	attack_from("in /proc/self", "fd", in_self);
	attack_from("in /proc/self/fd", ".", in_fd);
	attack_from("a descriptor", "self/fd", with_descriptor);
	attack_from("chroot", "/self/fd", below_proc);
	snprintf(path, sizeof path, "%s/bound/self/fd", directory);
	attack_from("a bind", path, with_bind);
	attack_neighbours();
	race();
	printf("tried %ld\n", tried);
	return 0;
}
