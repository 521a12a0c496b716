// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the attack module attacks, and what looks like an attack and is none.
 *
 * hp_task victim plain|user|seccomp|ns   prints its pid, reads lines from standard input: "open" opens a file and
 *                                        says how it went, a word beginning with "!" is written to /proc/hp_attack,
 *                                        "sleep" sleeps for two seconds, end of input ends it
 * hp_task benign [ROUNDS]                every lawful change of credentials, namespaces and seccomp it knows
 * Build: cc -O1 -static -o hp_task hp_task.c -lpthread
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

static int filter(unsigned flags)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = 1, .filter = &all };
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int victim(const char *kind)
{
	char line[64];
	if (!strcmp(kind, "seccomp")) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		filter(0);
	} else if (!strcmp(kind, "ns")) {
		if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC))
			perror("unshare");
	} else if (!strcmp(kind, "userns")) {
		if (setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001) || unshare(CLONE_NEWUSER))
			perror("unshare");
	}
	if (!strcmp(kind, "user") && (setgroups(0, NULL) || setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001)))
		perror("setresuid");
	printf("victim %d\n", getpid());
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "open")) {
			int fd = open("/root/secret", O_RDONLY);
			printf("open: %s uid %d\n", fd < 0 ? strerror(errno) : "ok", getuid());
			if (fd >= 0)
				close(fd);
		} else if (!strcmp(line, "sleep")) {
			sleep(2);
		} else if (line[0] == '!') {
			int fd = open("/proc/hp_attack", O_WRONLY);
			if (fd < 0 || write(fd, line + 1, strlen(line + 1)) < 0)
				perror("/proc/hp_attack");
			if (fd >= 0)
				close(fd);
		}
		fflush(stdout);
	}
	return 0;
}

/* Runs one lawful thing in a child of its own. */
static void in_child(const char *name, void (*act)(void))
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		touch();
		act();
		touch();
		_exit(0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	if (getenv("HP_TELL"))
		printf("benign %s: %x\n", name, status);
}

static void must(int result, const char *what)
{
	if (result)
		printf("benign: %s: %s\n", what, strerror(errno));
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
	must(setregid(1003, 1001), "setregid");
	must(setreuid(1003, 1001), "setreuid");
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
		printf("benign: %s: %s\n", path, strerror(errno));
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

static void landlock(void)
{
	unsigned long long rights = 1;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int fd = syscall(444, &rights, sizeof rights, 0);
	if (fd >= 0)
		syscall(446, fd, 0);
	touch();
}

static int benign(int rounds)
{
	must(0, "");
	for (int i = 0; i < rounds; i++) {
		in_child("user ids", user_ids);
		in_child("root and back", root_and_back);
		in_child("capabilities", caps);
		in_child("user namespace", user_namespace);
		in_child("namespaces", namespaces);
		in_child("container", like_a_container);
		in_child("nsenter", enter);
		in_child("seccomp tsync", tsync);
		in_child("killed by seccomp", killed_by_seccomp);
		in_child("keyctl", keys);
		in_child("exec from a thread", exec_from_thread);
		in_child("set-user-id program", set_user_id_program);
		in_child("core dump", dumps_core);
		in_child("kernel helper", asks_for_a_module);
		in_child("landlock", landlock);
	}
	printf("benign done: %d rounds\n", rounds);
	return 0;
}

/* Forks that do a little of everything. */
static int churn(int forks)
{
	for (int i = 0; i < forks; i++) {
		pid_t child = fork();
		if (child == 0) {
			switch (i % 8) {
			case 0: (void)!setresuid(1001, 1001, 1001); break;
			case 1: unshare(CLONE_NEWUTS); break;
			case 2: prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); filter(0); break;
			case 3: execl(self, self, "nothing", (char *)NULL); break;
			case 4: (void)!setgid(7); prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0); break;
			default: break;
			}
			int fd = open("/etc/passwd", O_RDONLY);
			(void)fd;
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	printf("churn done: %d\n", forks);
	return 0;
}

int main(int count, char **words)
{
	static char path[256];
	if (readlink("/proc/self/exe", path, sizeof path - 1) > 0)
		self = path;
	else
		self = words[0];
	const char *mode = count > 1 ? words[1] : "";
	if (!strcmp(mode, "victim"))
		return victim(count > 2 ? words[2] : "plain");
	if (!strcmp(mode, "benign"))
		return benign(count > 2 ? atoi(words[2]) : 1);
	if (!strcmp(mode, "churn"))
		return churn(count > 2 ? atoi(words[2]) : 1000);
	if (!strcmp(mode, "namespaces"))
		namespaces();
	if (!strcmp(mode, "raised")) {
		must(setresuid(0, 0, 0), "root by the file");
		touch();
	}
	if (strcmp(mode, "nothing"))
		touch();
	return 0;
}
