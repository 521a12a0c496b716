// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the attack module attacks, and what looks like an attack and is none.
 *
 * hp_task attack WORD [idle]   forks a child, has the module attack it, and says what the child could do after that:
 *                              opened (o), was denied (P: EPERM, A: EACCES), or was gone (-)
 * hp_task benign [NAME…]       lawful changes of credentials, namespaces, roots and seccomp: those named, or all
 * hp_task inject HOW          one child changes the memory of the other: ptrace, mem or vm
 * hp_task bpf NAME            loads a BPF program of type socket_filter with that name
 * hp_task traced COMMAND…     runs it to its end, and traces it as strace does, but not what it starts
 * hp_task ptrace PID          attaches to a process and lets it go
 * hp_task order WORD PID      hands that to the module
 * hp_task overlay             mounts layers at /tmp/overlay/all, for churn
 * hp_task churn N              forks N times; each child does a little of everything
 * hp_task many N               forks N times; each child ends at once, every tenth is asked something before
 * hp_task flood DIR COUNT     makes so many files that nobody signed, and tries to map or to run each
 * hp_task bomb COUNT DENIED   multiplies without end, runs so many programs, and DENIED in the middle
 * hp_task cost [few]         instructions of exec, fork, setuid and open+close; few: of exec only, and not often.
 *                            "floor": with empty LSM programs attached
 * hp_task programs           what each BPF program takes of a hundred of those, as the kernel counts
 * Build: cc -O1 -static -pthread -o hp-task hp_task.c hp_sandbox.c hp_uring.c
 */
#define _GNU_SOURCE
#include "hp_sandbox.h"
#include "hp_uring.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const char *self;

static void touch(void)
{
	int fd = open("/etc/passwd", O_RDONLY);
	if (fd >= 0)
		close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd >= 0)
		close(fd);
	kill(getpid(), 0);
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 1); /* asks for a capability */
}

static int failed;

static void must(int result, const char *what)
{
	if (result) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		failed = 1;
	}
}

static int filter(unsigned flags)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = 1, .filter = &all };
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int say(int to, char what)
{
	return write(to, &what, 1) == 1 ? 0 : -1;
}

static int hear(int from)
{
	char what;
	return read(from, &what, 1) == 1 ? what : -1;
}

static int order(const char *word, pid_t pid)
{
	char line[48];
	int length = snprintf(line, sizeof line, "%s %d", word, pid);
	int fd = open("/proc/hp_attack", O_WRONLY);
	if (fd < 0)
		return errno;
	int result = write(fd, line, length) < 0 ? errno : 0;
	close(fd);
	return result;
}

static int is_one_of(const char *word, const char *list)
{
	const char *at = strstr(list, word);
	size_t length = strlen(word);
	return at && (at == list || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ');
}

/* Becomes what an attack on it is worth while for. */
static void become(const char *word)
{
	if (is_one_of(word, "ns nsproxy"))
		must(unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC), "unshare");
	else if (!strcmp(word, "time"))
		must(unshare(CLONE_NEWTIME), "unshare");
	else if (!strcmp(word, "root")) {
		mkdir("/tmp/hp-root", 0755);
		must(chroot("/tmp/hp-root"), "chroot");
	}
	if (is_one_of(word, "ns nsproxy time root"))
		return;
	gid_t group = 1001;
	must(setgroups(!strcmp(word, "groups"), &group), "setgroups");
	must(setresgid(1001, 1001, 1001), "setresgid");
	must(setresuid(1001, 1001, 1001), "setresuid");
	if (!strcmp(word, "user-ns"))
		must(unshare(CLONE_NEWUSER), "unshare");
	/* Announces a change that is refused then. */
	if (!strcmp(word, "caps-noted") && !prctl(PR_SET_SECUREBITS, SECBIT_NOROOT))
		must(1, "securebits were not refused");
	if (is_one_of(word, "seccomp seccomp-flag")) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		must(filter(0), "seccomp");
	}
}

/* What the attack is good for: what only root may read, a namespace; or, where nothing was gained, what all may read. */
static char tries(const char *word)
{
	int done;
	if (is_one_of(word, "ns nsproxy time"))
		done = sethostname("hp", 2);
	else if (is_one_of(word, "ids caps swap swap-cred commit"))
		done = open("/root/secret", O_RDONLY);
	else
		done = open("/etc/passwd", O_RDONLY);
	return done >= 0 ? 'o' : errno == EPERM ? 'P' : errno == EACCES ? 'A' : '?';
}

/* The sacrifice. */
static void sacrifice(const char *word, int from, int to)
{
	become(word);
	say(to, 'r');
	if (hear(from) != 'g')
		_exit(0);
	if (!strcmp(word, "commit") && order(word, getpid()))
		say(to, 'c');
	say(to, tries(word));
	kill(getpid(), 0);
	/* A second try: a response that lasts denies it, too. */
	say(to, tries(word));
	hear(from);
	_exit(0);
}

/* Attacks a child and tells how it went, as lines NAME=VALUE. */
static int attack(const char *word, int idle)
{
	int down[2], up[2], status = 0;
	must(pipe(down) | pipe(up), "pipe");
	mkdir("/root", 0700);
	close(open("/root/secret", O_CREAT | O_WRONLY, 0600));
	pid_t child = fork();
	if (child == 0) {
		close(down[1]);
		close(up[0]);
		sacrifice(word, down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	signal(SIGPIPE, SIG_IGN);
	if (hear(up[0]) != 'r')
		return 3;
	if (strcmp(word, "commit")) {
		int error = order(word, child);
		if (error) {
			fprintf(stderr, "attack %s: %s\n", word, strerror(error));
			kill(child, SIGKILL);
			return 3;
		}
	}
	char first = '-', second = '-';
	if (idle) {
		/* What is dead a second later was noticed within it, or never. */
		usleep(1000 * 1000);
		kill(child, SIGKILL);
	} else {
		int got;
		say(down[1], 'g');
		if ((got = hear(up[0])) > 0)
			first = got;
		if ((got = hear(up[0])) > 0)
			second = got;
		if (!strcmp(word, "time"))
			order("time-back", child);
		say(down[1], 'e');
	}
	waitpid(child, &status, 0);
	printf("pid=%d\nfirst=%c\nsecond=%c\nended=%s%d\n", child, first, second,
	       WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 0;
}

/* Runs one lawful thing in a child of its own. */
static int in_child(const char *name, void (*act)(void))
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		touch();
		act();
		touch();
		_exit(failed);
	}
	int status = 0;
	waitpid(child, &status, 0);
	printf("%s: %s %d\n", name, WIFSIGNALED(status) ? "signal" : "exit",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return WIFEXITED(status) && WEXITSTATUS(status);
}

static void run_self(const char *mode)
{
	pid_t child = fork();
	if (child == 0) {
		execl(self, self, mode, (char *)NULL);
		_exit(9);
	}
	waitpid(child, NULL, 0);
}

static void user_ids(void)
{
	gid_t groups[] = { 4, 5 };
	/* As libcap asks: announced like a change, and none. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0);
	must(setgroups(2, groups), "setgroups");
	touch();
	must(setresgid(1001, 1002, 1003), "setresgid");
	touch();
	setfsgid(1003);
	touch();
	must(setresuid(1001, 1002, 1003), "setresuid");
	touch();
	must(setresuid(1002, 1003, 1001), "setresuid among its own");
	touch();
	setfsuid(1001);
	touch();
	must(setregid(1001, 1003), "setregid");
	must(setreuid(1002, 1001), "setreuid");
	touch();
	run_self("touch");
}

static void root_and_back(void)
{
	must(setresuid(0, 1001, 0), "seteuid");
	touch();
	access("/etc/passwd", R_OK); /* overrides credentials for a moment */
	faccessat(AT_FDCWD, "/root", R_OK, 0);
	touch();
	must(setresuid(0, 0, 0), "seteuid back");
	touch();
}

static void caps(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	syscall(SYS_capget, &head, data);
	data[0].inheritable |= 1 << CAP_NET_RAW;
	must(syscall(SYS_capset, &head, data), "capset inheritable");
	touch();
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0), "ambient");
	touch();
	must(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps");
	must(setresuid(1001, 1001, 1001), "setresuid");
	touch();
	data[0].effective = data[0].permitted;
	syscall(SYS_capset, &head, data);
	touch();
	must(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0), "bounding set");
	touch();
	must(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_KEEP_CAPS), "securebits");
	touch();
	run_self("touch");
	data[0].effective = data[0].permitted = data[0].inheritable = 0;
	data[1].effective = data[1].permitted = data[1].inheritable = 0;
	must(syscall(SYS_capset, &head, data), "capset nothing");
	touch();
	run_self("touch");
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		must(1, path);
	if (fd >= 0)
		close(fd);
}

static void user_namespace(void)
{
	must(setresuid(1001, 1001, 1001), "setresuid");
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (unshare(CLONE_NEWUSER))
		return;
	touch();
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	write_to("/proc/self/uid_map", "0 1001 1");
	write_to("/proc/self/setgroups", "deny");
	write_to("/proc/self/gid_map", "0 0 1");
	must(setresuid(0, 0, 0), "root inside");
	touch();
	must(unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID), "unshare all");
	touch();
	must(unshare(CLONE_NEWUSER), "unshare user again");
	touch();
	run_self("touch");
}

static void namespaces(void)
{
	must(unshare(CLONE_NEWNS), "mnt");
	touch();
	must(unshare(CLONE_NEWUTS | CLONE_NEWIPC), "uts ipc");
	must(unshare(CLONE_NEWNET), "net");
	must(unshare(CLONE_NEWCGROUP), "cgroup");
	must(unshare(CLONE_NEWPID), "pid");
	touch();
	if (unshare(CLONE_NEWTIME) == 0) {
		touch();
		run_self("touch");
		run_self("namespaces");
	}
	touch();
	for (int i = 0; i < 20; i++)
		unshare(CLONE_NEWUTS);
	touch();
}

static int container(void *unused)
{
	(void)unused;
	touch();
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	int program = open(self, O_RDONLY | O_CLOEXEC);
	char *words[] = { "hp_task", "touch", NULL }, *none[] = { NULL };
	/* The root file system of an initramfs can't be pivoted away from: two of our own. */
	mkdir("/tmp/root", 0755);
	must(mount("tmpfs", "/tmp/root", "tmpfs", 0, NULL), "tmpfs");
	mkdir("/tmp/root/new", 0755);
	must(mount("tmpfs", "/tmp/root/new", "tmpfs", 0, NULL), "tmpfs");
	mkdir("/tmp/root/new/old", 0755);
	must(chroot("/tmp/root"), "chroot");
	must(chdir("/"), "chdir");
	must(syscall(SYS_pivot_root, "/new", "/new/old"), "pivot_root");
	must(chdir("/"), "chdir");
	touch();
	pid_t child = fork();
	if (child == 0) {
		fexecve(program, words, none);
		_exit(9);
	}
	waitpid(child, NULL, 0);
	touch();
	return 0;
}

static void copy_self(const char *to, mode_t mode)
{
	char block[1 << 16];
	int in = open(self, O_RDONLY), out = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0700);
	ssize_t got;
	must(in < 0 || out < 0, to);
	while ((got = read(in, block, sizeof block)) > 0)
		must(write(out, block, got) != got, to);
	close(in);
	close(out);
	must(chmod(to, mode), "chmod");
}

static char stack[1 << 16] __attribute__((aligned(16)));

static void like_a_container(void)
{
	int flags[] = { CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
			CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS };
	for (int i = 0; i < 2; i++) {
		pid_t child = clone(container, stack + sizeof stack, flags[i] | SIGCHLD, NULL);
		if (child > 0)
			waitpid(child, NULL, 0);
		else
			must(1, "clone");
		touch();
	}
}

/* As a container engine does it: layers below, a file changed above, its root, a program in it. */
static void make_overlay(void)
{
	mkdir("/tmp/overlay", 0755);
	must(mount("tmpfs", "/tmp/overlay", "tmpfs", 0, NULL), "tmpfs");
	mkdir("/tmp/overlay/lower", 0755);
	mkdir("/tmp/overlay/upper", 0755);
	mkdir("/tmp/overlay/work", 0755);
	mkdir("/tmp/overlay/all", 0755);
	mkdir("/tmp/overlay/lower/old", 0755);
	copy_self("/tmp/overlay/lower/hp_task", 0755);
	close(open("/tmp/overlay/lower/file", O_CREAT | O_WRONLY, 0644));
	must(mount("overlay", "/tmp/overlay/all", "overlay", 0,
		   "lowerdir=/tmp/overlay/lower,upperdir=/tmp/overlay/upper,workdir=/tmp/overlay/work"), "overlay");
}

static int overlaid(void *unused)
{
	(void)unused;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	make_overlay();
	touch();
	must(chroot("/tmp/overlay") || chdir("/") || syscall(SYS_pivot_root, "/all", "/all/old") || chdir("/"), "pivot_root");
	for (int i = 0; i < 20; i++) {
		int fd = open("/file", i == 10 ? O_RDWR : O_RDONLY); /* is copied up */
		must(fd < 0, "/file");
		close(fd);
		must(access("/hp_task", X_OK), "access");
		struct stat about;
		stat("/hp_task", &about);
	}
	must(setgroups(0, NULL) || setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001), "setresuid");
	for (int i = 0; i < 20; i++) {
		close(open("/file", O_RDONLY));
		faccessat(AT_FDCWD, "/file", R_OK, 0);
	}
	pid_t child = fork();
	if (child == 0) {
		execl("/hp_task", "/hp_task", "touch", (char *)NULL);
		_exit(9);
	}
	int status = 0;
	waitpid(child, &status, 0);
	must(status, "program in the container");
	return failed;
}

static void overlay_container(void)
{
	int status = 0;
	pid_t child = clone(overlaid, stack + sizeof stack, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | SIGCHLD, NULL);
	waitpid(child, &status, 0);
	must(status, "container");
}

/* A program with a file capability, as ping has. */
static void file_capability(void)
{
	struct { unsigned magic, permitted, inheritable, permitted_high, inheritable_high; } value =
		{ 0x02000001, 1u << CAP_NET_RAW, 0, 0, 0 };
	copy_self("/tmp/hp_caps", 0755);
	must(setxattr("/tmp/hp_caps", "security.capability", &value, sizeof value, 0), "setxattr");
	must(setgroups(0, NULL) || setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001), "setresuid");
	pid_t child = fork();
	if (child == 0) {
		execl("/tmp/hp_caps", "/tmp/hp_caps", "pings", (char *)NULL);
		_exit(9);
	}
	int status = 0;
	waitpid(child, &status, 0);
	must(status, "raw socket");
}

static int idle(void *unused)
{
	(void)unused;
	pause();
	return 0;
}

static void enter(void)
{
	static const char *const names[] = { "user", "uts", "ipc", "net", "pid", "mnt" };
	pid_t child = clone(idle, stack + sizeof stack,
			    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | SIGCHLD, NULL);
	int fds[6];
	if (child < 0)
		return must(1, "clone");
	for (int i = 0; i < 6; i++) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/ns/%s", child, names[i]);
		fds[i] = open(path, O_RDONLY);
	}
	for (int i = 0; i < 6; i++) {
		must(setns(fds[i], 0), names[i]);
		touch();
	}
	run_self("touch");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static volatile int stop;

static void *opener(void *unused)
{
	(void)unused;
	while (!stop)
		touch();
	return NULL;
}

static void tsync(void)
{
	pthread_t threads[4];
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, opener, NULL);
	for (int i = 0; i < 40; i++) {
		must(filter(SECCOMP_FILTER_FLAG_TSYNC), "tsync");
		touch();
	}
	stop = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	run_self("touch");
}

static void killed_by_seccomp(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = rules };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "seccomp");
	touch();
	getppid();
}

static void keys(void)
{
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "hp");
	touch();
	syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 1);
	syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
	touch();
	if (fork() == 0) {
		syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "hp2");
		syscall(SYS_keyctl, KEYCTL_SESSION_TO_PARENT);
		_exit(0);
	}
	wait(NULL);
	touch();
}

static void *executes(void *unused)
{
	(void)unused;
	execl(self, self, "touch", (char *)NULL);
	return NULL;
}

static void exec_from_thread(void)
{
	pthread_t thread, other;
	stop = 0;
	pthread_create(&other, NULL, opener, NULL);
	pthread_create(&thread, NULL, executes, NULL);
	pthread_join(thread, NULL);
}

static void set_user_id_program(void)
{
	copy_self("/tmp/hp_suid", 04755);
	must(setgroups(0, NULL), "setgroups");
	must(setresgid(1001, 1001, 1001), "setresgid");
	must(setresuid(1001, 1001, 1001), "setresuid");
	pid_t child = fork();
	if (child == 0) {
		execl("/tmp/hp_suid", "/tmp/hp_suid", "raised", (char *)NULL);
		_exit(9);
	}
	waitpid(child, NULL, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (fork() == 0) {
		execl("/tmp/hp_suid", "/tmp/hp_suid", "touch", (char *)NULL);
		_exit(9);
	}
	wait(NULL);
}

static void asks_a_ring(void)
{
	must(uring_overrides(touch), "io_uring");
}

static void like_a_browser(void)
{
	must(sandboxed(touch), "sandbox");
}

static void dumps_core(void)
{
	struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	setrlimit(RLIMIT_CORE, &any);
	abort();
}

static void asks_for_a_module(void)
{
	socket(28, SOCK_DGRAM, 0); /* AF_MPLS: no such family here, the kernel runs modprobe */
	touch();
}

/* Without a policy contexts are the initial ones, by their names. */
static void sets_context(void)
{
	write_to("/proc/self/attr/current", "unlabeled");
	touch();
	run_self("touch");
	write_to("/proc/self/attr/current", "kernel");
	touch();
}

static void landlock(void)
{
	unsigned long long rights = 1;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int fd = syscall(444, &rights, sizeof rights, 0);
	if (fd >= 0)
		syscall(446, fd, 0);
	touch();
}

/* Traces what it started, and changes it. */
static void debugger(void)
{
	static volatile long word = 1;
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(word == 4 ? 0 : 7);
	}
	int status = 0;
	waitpid(child, &status, 0);
	must(ptrace(PTRACE_POKEDATA, child, &word, 4L) < 0, "poke");
	must(ptrace(PTRACE_DETACH, child, 0, 0) < 0, "detach");
	waitpid(child, &status, 0);
	must(status, "what was traced");
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	must(ptrace(PTRACE_ATTACH, child, 0, 0) < 0, "attach");
	waitpid(child, &status, 0);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

/* The exit status of what it runs and traces. */
static int traced(char **command)
{
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(command[0], command);
		_exit(127);
	}
	int status = 0;
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		int signal = WSTOPSIG(status);
		ptrace(PTRACE_CONT, child, 0, (long)(signal == SIGTRAP ? 0 : signal));
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Changes the memory of a process that it did not start: "ptrace", "mem" or "vm". */
static int load_bpf(const char *name)
{
	struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (unsigned long)nothing,
		.insn_cnt = 2,
		.license = (unsigned long)"GPL",
	};

	// Before 5.11 programs count as locked memory.
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	strncpy(attr.prog_name, name, sizeof(attr.prog_name) - 1);
	if (syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) < 0) {
		perror("bpf");
		return 1;
	}
	return 0;
}

static int attach_to(pid_t pid)
{
	if (ptrace(PTRACE_SEIZE, pid, 0, 0)) {
		perror("ptrace");
		return 1;
	}
	return 0;
}

static int inject(const char *how)
{
	static volatile long word = 1;
	long four = 4;
	int status = 0, done = -1;
	pid_t target = fork();
	if (target == 0) {
		while (word == 1)
			usleep(10000);
		_exit(word == 4 ? 44 : 7);
	}
	pid_t actor = fork();
	if (actor == 0) {
		if (!strcmp(how, "ptrace")) {
			done = ptrace(PTRACE_ATTACH, target, 0, 0);
			waitpid(target, &status, __WALL);
			done |= ptrace(PTRACE_POKEDATA, target, &word, 4L) | ptrace(PTRACE_DETACH, target, 0, 0);
		} else if (!strcmp(how, "mem")) {
			char path[64];
			snprintf(path, sizeof path, "/proc/%d/mem", target);
			int fd = open(path, O_RDWR);
			done = pwrite(fd, &four, sizeof four, (off_t)(unsigned long)&word) != sizeof four;
		} else {
			struct iovec local = { &four, sizeof four }, remote = { (void *)&word, sizeof four };
			done = process_vm_writev(target, &local, 1, &remote, 1, 0) != sizeof four;
		}
		_exit(done ? 1 : 0);
	}
	waitpid(actor, &status, 0);
	int injected = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (!injected)
		kill(target, SIGKILL);
	waitpid(target, &status, 0);
	printf("target=%d\nactor=%d\ninjected=%d\nended=%s%d\n", target, actor, injected,
	       WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 0;
}

static const struct {
	const char *name;
	void (*act)(void);
} lawful[] = {
	{ "user-ids", user_ids },
	{ "root-and-back", root_and_back },
	{ "set-user-id", set_user_id_program },
	{ "capabilities", caps },
	{ "file-capability", file_capability },
	{ "user-namespace", user_namespace },
	{ "namespaces", namespaces },
	{ "container", like_a_container },
	{ "overlay", overlay_container },
	{ "nsenter", enter },
	{ "tsync", tsync },
	{ "sandbox", like_a_browser },
	{ "killed-by-seccomp", killed_by_seccomp },
	{ "keyctl", keys },
	{ "thread-exec", exec_from_thread },
	{ "io-uring", asks_a_ring },
	{ "core-dump", dumps_core },
	{ "kernel-helper", asks_for_a_module },
	{ "set-context", sets_context },
	{ "landlock", landlock },
	{ "debugger", debugger },
};

static int benign(int count, char **names)
{
	int result = 0, ran = 0;
	for (size_t i = 0; i < sizeof lawful / sizeof *lawful; i++) {
		int wanted = count == 0;
		for (int at = 0; at < count; at++)
			wanted |= !strcmp(names[at], lawful[i].name);
		if (wanted) {
			result |= in_child(lawful[i].name, lawful[i].act);
			ran++;
		}
	}
	if (ran == 0 || (count && ran != count)) {
		fprintf(stderr, "%d of %d names are known\n", ran, count);
		return 2;
	}
	return result;
}

/* Forks that do a little of everything. */
static int churn(int forks)
{
	int done = 0;
	for (int i = 0; i < forks; i++) {
		pid_t child = fork();
		if (child == 0) {
			switch (i % 10) {
			case 0: (void)!setresuid(1001, 1001, 1001); break;
			case 1: unshare(CLONE_NEWUTS); break;
			case 2: prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); filter(0); break;
			case 3: execl(self, self, "nothing", (char *)NULL); break;
			case 4: (void)!setgid(7); prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0); break;
			case 5: unshare(CLONE_NEWNS | CLONE_NEWUSER); break;
			case 6: (void)!chroot("/tmp"); access("/", R_OK); break;
			case 7: close(open("/tmp/overlay/all/file", O_RDWR)); break;
			case 8: (void)!setresuid(0, 1001, 0); access("/tmp/overlay/all/file", R_OK); break;
			default: break;
			}
			int fd = open("/etc/passwd", O_RDONLY);
			(void)fd;
			_exit(0);
		}
		if (child > 0)
			done++;
		waitpid(child, NULL, 0);
	}
	printf("forks=%d\n", done);
	return 0;
}

/* Forks as cheap as they come: what is left behind by each adds up. */
static int many(int forks)
{
	int done = 0;
	for (int i = 0; i < forks; i++) {
		int status = 1;
		pid_t child = vfork();
		if (child == 0) {
			if (i % 10 == 0)
				close(open("/etc/passwd", O_RDONLY));
			_exit(0);
		}
		if (child > 0 && waitpid(child, &status, 0) == child && status == 0)
			done++;
	}
	printf("forks=%d\n", done);
	return done != forks;
}

/* Tries to run a program in a child: 0 it ran, 1 it was refused, -1 there is no room for a child, 2 something else. */
static int tried(const char *program)
{
	char *words[] = { (char *)program, "nothing", NULL }, *none[] = { NULL };
	int status = 0;
	pid_t child = vfork();
	if (child < 0)
		return -1;
	if (child == 0) {
		execve(program, words, none);
		_exit(errno == EPERM ? 7 : 9);
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 7)
		return 1;
	return status ? 2 : 0;
}

/* Files that nobody signed, each with a content of its own, mapped executable, each tenth executed: none may be let. At
 * most a thousand are there at a time. */
static int flood(const char *dir, int count)
{
	int refused = 0;
	char path[256], content[256] = "\177ELF nobody signed this";
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/%d", dir, i % 1000);
		unlink(path);
		memcpy(content + 64, &i, sizeof i);
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
		must(fd < 0 || write(fd, content, sizeof content) != sizeof content, path);
		close(fd);
		if (i % 10 == 0) {
			refused += tried(path) == 1;
			continue;
		}
		fd = open(path, O_RDONLY);
		refused += mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EPERM;
		close(fd);
	}
	printf("refused=%d\n", refused);
	return failed || refused != count;
}

/* Multiplies as far as it is let, and runs so many programs in all: in the middle one that must not be let. */
static int bomb(int count, const char *denied)
{
	struct { int next, ran, refused, other; } *all = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *words[] = { (char *)self, "nothing", NULL }, *none[] = { NULL };
	pid_t first = getpid();
	/* Whose parent has become something else is waited for here. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int at; (at = __sync_fetch_and_add(&all->next, 1)) < count;) {
		const char *program = at == count / 2 ? denied : self;
		int result;
		while ((result = tried(program)) < 0) {
			/* No room for another process: who is not the first becomes the program, which makes some. */
			if (getpid() != first && program == self) {
				__sync_fetch_and_add(&all->ran, 1);
				execve(self, words, none);
				_exit(1);
			}
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
			sched_yield();
		}
		__sync_fetch_and_add(result == 0 ? &all->ran : result == 1 ? &all->refused : &all->other, 1);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		/* Both go on with the next one. */
		(void)!fork();
	}
	while (wait(NULL) > 0)
		;
	if (getpid() != first)
		_exit(0);
	printf("ran=%d\nrefused=%d\n", all->ran, all->refused);
	return all->other || all->refused != 1 || all->ran != count - 1;
}

/* What an operation costs: nanoseconds, which are instructions where the machine counts those. */
static unsigned long long now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void exec_once(void)
{
	char *words[] = { "hp-task", "nothing", NULL }, *none[] = { NULL };
	pid_t child = vfork();
	if (child == 0) {
		execve("/usr/bin/hp-task", words, none);
		_exit(9);
	}
	waitpid(child, NULL, 0);
}

/* A dynamically linked program: the loader and each library are mapped executable. */
static void dynamic_once(void)
{
	char *words[] = { "kmod", "--version", NULL }, *none[] = { NULL };
	pid_t child = vfork();
	if (child == 0) {
		execve("/usr/bin/kmod", words, none);
		_exit(9);
	}
	waitpid(child, NULL, 0);
}

static void fork_once(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
}

static void setuid_once(void)
{
	(void)!setresuid(0, 1001, 0);
	(void)!setresuid(0, 0, 0);
}

static void open_once(void)
{
	close(open("/etc/passwd", O_RDONLY));
}

static const struct {
	const char *name;
	void (*act)(void);
	int times;
} loops[] = { { "exec", exec_once, 500 }, { "dynamic", dynamic_once, 300 }, { "fork", fork_once, 500 }, { "setuid", setuid_once, 2000 }, { "open", open_once, 4000 } };

/* Of few only what events tell of, so rarely that they find room where nobody takes them. */
static int cost(int few)
{
	int out = dup(1), null = open("/dev/null", O_WRONLY);
	dup2(null, 1);
	/* The first loop after a start is not representative: twice, and the second counts. */
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < (few ? 2 : sizeof loops / sizeof *loops); i++) {
			int times = few ? 200 : loops[i].times;
			/* Whoever watches catches up first. */
			sleep(2);
			unsigned long long best = ~0ull;
			/* The daemon's own work and timer ticks only ever add: the best of ten slices. */
			for (int slice = 0; slice < 10; slice++) {
				unsigned long long begun = now_ns();
				for (int at = 0; at < times / 10; at++)
					loops[i].act();
				unsigned long long took = (now_ns() - begun) / (times / 10);
				if (took < best)
					best = took;
			}
			if (round == 1)
				dprintf(out, "%s=%llu\n", loops[i].name, best);
		}
	return 0;
}

/* What each loaded BPF program ran and took: the kernel's own count. */
struct program {
	unsigned id;
	char name[BPF_OBJ_NAME_LEN];
	unsigned long long runs, ns;
};

static int read_programs(struct program *all, int room)
{
	int found = 0;
	union bpf_attr next = {};
	while (found < room && !syscall(SYS_bpf, BPF_PROG_GET_NEXT_ID, &next, sizeof next)) {
		union bpf_attr open = { .prog_id = next.next_id };
		int fd = syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &open, sizeof open);
		struct bpf_prog_info info = {};
		union bpf_attr ask = { .info = { .bpf_fd = fd, .info_len = sizeof info, .info = (unsigned long)&info } };
		if (fd >= 0 && !syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof ask)) {
			all[found].id = info.id;
			memcpy(all[found].name, info.name, sizeof info.name);
			all[found].runs = info.run_cnt;
			all[found++].ns = info.run_time_ns;
		}
		close(fd);
		next.start_id = next.next_id;
	}
	return found;
}

/* One line for each program that an operation runs: runs and nanoseconds of a hundred operations. Counting costs, too: a program
 * that does nothing shows 85. */
static int programs(void)
{
	enum { ROOM = 512, TIMES = 100 };
	static struct program before[ROOM], after[ROOM];
	union bpf_attr attr = { .enable_stats = { .type = BPF_STATS_RUN_TIME } };
	int stats = syscall(SYS_bpf, BPF_ENABLE_STATS, &attr, sizeof attr), null = open("/dev/null", O_WRONLY), out = dup(1);
	must(stats < 0, "counting what programs take");
	dup2(null, 1);
	for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
		for (int at = 0; at < TIMES; at++)
			loops[i].act();
		int count = read_programs(before, ROOM);
		for (int at = 0; at < TIMES; at++)
			loops[i].act();
		int now = read_programs(after, ROOM);
		for (int at = 0; at < count && at < now; at++)
			if (after[at].id == before[at].id && after[at].runs - before[at].runs >= TIMES / 2)
				dprintf(out, "%s %s %llu runs %llu instructions\n", loops[i].name, after[at].name,
					after[at].runs - before[at].runs, after[at].ns - before[at].ns);
	}
	close(stats);
	return failed;
}

/* Attaches an LSM program that does nothing to a hook: the floor of what any program there costs. */
static int type_of(const char *function)
{
	const size_t room = 16 << 20;
	char *bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int found = -1, fd = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	size_t size = 0;
	ssize_t got;
	while (fd >= 0 && (got = read(fd, bytes + size, room - size)) > 0)
		size += got;
	close(fd);
	struct { unsigned short magic; unsigned char version, flags; unsigned header, types, types_size, texts, texts_size; } *head = (void *)bytes;
	const char *at = bytes + head->header + head->types, *end = at + head->types_size;
	const char *texts = bytes + head->header + head->texts;
	for (int id = 1; size && at < end; id++) {
		const unsigned *type = (const void *)at;
		unsigned kind = type[1] >> 24 & 31, members = type[1] & 0xffff, extra = 0;
		if (kind == 12 && !strcmp(texts + type[0], function))
			found = id;
		switch (kind) {
		case 1: case 14: case 17: extra = 4; break; /* int, variable, declaration tag */
		case 3: extra = 12; break; /* array */
		case 4: case 5: case 15: case 19: extra = 12 * members; break; /* struct, union, section, 64-bit enum */
		case 6: case 13: extra = 8 * members; break; /* enum, prototype */
		}
		at += 12 + extra;
	}
	munmap(bytes, room);
	return found;
}

static void attach_nothing(const char *hook)
{
	char function[64];
	snprintf(function, sizeof function, "bpf_lsm_%s", hook);
	struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_LSM, .insn_cnt = 2, .insns = (unsigned long)nothing,
				.license = (unsigned long)"GPL", .expected_attach_type = BPF_LSM_MAC };
	int id = type_of(function);
	must(id < 0, function);
	load.attach_btf_id = id;
	int program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
	must(program < 0, "loading an empty program");
	union bpf_attr attach = { .raw_tracepoint.prog_fd = program };
	must(syscall(SYS_bpf, BPF_RAW_TRACEPOINT_OPEN, &attach, sizeof attach) < 0, "attaching an empty program");
}

/* Whoever holds the programs is not who is measured: each child would copy and close their descriptors. */
static int floor_cost(void)
{
	static const char *const hooks[] = { "file_open", "file_post_open", "capable", "bprm_check_security", "bprm_creds_from_file",
					     "mmap_file", "file_mprotect" };
	int up[2], status = 0;
	must(pipe(up), "pipe");
	pid_t holder = fork();
	if (holder == 0) {
		for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
			attach_nothing(hooks[i]);
		say(up[1], failed ? 'f' : 'r');
		pause();
	}
	if (hear(up[0]) != 'r')
		return 1;
	close(up[0]);
	close(up[1]);
	int result = cost(0);
	kill(holder, SIGKILL);
	waitpid(holder, &status, 0);
	return result;
}

int main(int count, char **words)
{
	static char path[256];
	if (readlink("/proc/self/exe", path, sizeof path - 1) > 0)
		self = path;
	else
		self = words[0];
	const char *mode = count > 1 ? words[1] : "";
	/* Where things lie in memory decides how many tables a fork copies: what is measured lies at the same place each time. */
	if ((!strcmp(mode, "cost") || !strcmp(mode, "floor") || !strcmp(mode, "programs")) && !(personality(~0u) & ADDR_NO_RANDOMIZE)) {
		personality(ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", words);
	}
	if (!strcmp(mode, "attack"))
		return attack(count > 2 ? words[2] : "", count > 3 && !strcmp(words[3], "idle"));
	if (!strcmp(mode, "benign"))
		return benign(count - 2, words + 2);
	if (!strcmp(mode, "churn"))
		return churn(count > 2 ? atoi(words[2]) : 1000);
	if (!strcmp(mode, "many"))
		return many(count > 2 ? atoi(words[2]) : 1000);
	if (!strcmp(mode, "inject"))
		return inject(count > 2 ? words[2] : "");
	if (!strcmp(mode, "bpf"))
		return load_bpf(count > 2 ? words[2] : "");
	if (!strcmp(mode, "traced") && count > 2)
		return traced(words + 2);
	if (!strcmp(mode, "ptrace"))
		return attach_to(count > 2 ? atoi(words[2]) : 0);
	if (!strcmp(mode, "overlay")) {
		make_overlay();
		return failed;
	}
	if (!strcmp(mode, "cut")) {
		/* By path, without a descriptor. */
		if (count > 2 && !truncate(words[2], 0))
			return 0;
		perror("truncate");
		return 1;
	}
	if (!strcmp(mode, "waits"))
		pause();
	if (!strcmp(mode, "order"))
		return count > 3 ? order(words[2], atoi(words[3])) : 2;
	if (!strcmp(mode, "flood"))
		return count > 3 ? flood(words[2], atoi(words[3])) : 2;
	if (!strcmp(mode, "bomb"))
		return count > 3 ? bomb(atoi(words[2]), words[3]) : 2;
	if (!strcmp(mode, "cost"))
		return cost(count > 2 && !strcmp(words[2], "few"));
	if (!strcmp(mode, "floor"))
		return floor_cost();
	if (!strcmp(mode, "programs"))
		return programs();
	if (!strcmp(mode, "namespaces"))
		namespaces();
	if (!strcmp(mode, "pings"))
		must(socket(AF_INET, SOCK_RAW, 1) < 0, "raw socket");
	if (!strcmp(mode, "raised")) {
		must(setresuid(0, 0, 0), "root by the file");
		touch();
	}
	if (strcmp(mode, "nothing"))
		touch();
	return failed;
}
