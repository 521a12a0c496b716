// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a browser's sandbox does: a user namespace of its own, a root directory that a process takes away which shares it,
 * no capabilities, filters for all threads at once, and a thread that a filter kills while the others go on.
 */
#define _GNU_SOURCE
#include "hp_sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int bad;
static volatile int over;

static void must(int result, const char *what)
{
	if (result) {
		fprintf(stderr, "sandbox: %s: %s\n", what, strerror(errno));
		bad = 1;
	}
}

static void written(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	must(fd < 0 || write(fd, text, strlen(text)) < 0, path);
	close(fd);
}

static int filters(unsigned call, unsigned answer, unsigned flags)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = rules };
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int no_root(void *unused)
{
	(void)unused;
	/* The directory is gone with this process. */
	_exit(chroot("/proc/self/fdinfo/") || chdir("/"));
}

static void *works(void *between)
{
	while (!over)
		((void (*)(void))between)();
	return NULL;
}

static void *is_killed(void *unused)
{
	(void)unused;
	syscall(SYS_getppid);
	bad = 1; /* not reached */
	return NULL;
}

static char stack[2][1 << 16] __attribute__((aligned(16)));

static int zygote(void *between_steps)
{
	void (*between)(void) = (void (*)(void))between_steps;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};
	pthread_t threads[3], victim;
	int status = 0;
	written("/proc/self/setgroups", "deny");
	written("/proc/self/gid_map", "1001 1001 1");
	written("/proc/self/uid_map", "1001 1001 1");
	between();
	pid_t child = clone(no_root, stack[1] + sizeof stack[1], CLONE_FS | SIGCHLD, NULL);
	must(child < 0 || waitpid(child, &status, 0) != child || status, "chroot by another");
	between();
	must(open("/etc/passwd", O_RDONLY) >= 0, "the old root is there");
	must(syscall(SYS_capset, &head, none), "capset");
	between();
	for (int i = 0; i < 3; i++)
		must(pthread_create(&threads[i], NULL, works, between_steps), "thread");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	for (int i = 0; i < 10; i++) {
		must(filters(SYS_ptrace, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_FILTER_FLAG_TSYNC), "filter");
		between();
	}
	must(syscall(SYS_ptrace, 0, 0, 0, 0) != -1 || errno != ENOSYS, "ptrace is filtered");
	must(filters(SYS_getppid, SECCOMP_RET_KILL_THREAD, SECCOMP_FILTER_FLAG_TSYNC), "filter that kills");
	for (int i = 0; i < 10; i++) {
		must(pthread_create(&victim, NULL, is_killed, NULL), "thread");
		must(pthread_join(victim, NULL), "join");
		between();
		/* A renderer. */
		child = fork();
		if (child == 0) {
			between();
			_exit(0);
		}
		must(waitpid(child, &status, 0) != child || status, "renderer");
	}
	over = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return bad;
}

int sandboxed(void (*between)(void))
{
	int status = 0;
	if (setgroups(0, NULL) || setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001))
		return 1;
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	pid_t child = clone(zygote, stack[0] + sizeof stack[0], CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, between);
	must(child < 0 || waitpid(child, &status, 0) != child || status, "zygote");
	return bad;
}
