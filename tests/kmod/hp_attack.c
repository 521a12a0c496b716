// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attacks on one sacrificial process, for Hardpan's tests. Never load it outside a test machine.
 *
 * insmod hp_attack.ko pid=PID, then write one word to /proc/hp_attack. Everything acts on that process only (and on
 * objects that belong to it alone); "commit" must be written by the process itself.
 */
#include <linux/cred.h>
#include <linux/ipc_namespace.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seccomp.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include <linux/version.h>

static int pid;
module_param(pid, int, 0400);
MODULE_PARM_DESC(pid, "the process that is attacked, in the initial PID namespace");

static struct nsproxy *kept_nsproxy;

static struct cred *writable(struct task_struct *task)
{
	return (struct cred *)rcu_access_pointer(task->real_cred);
}

static void edit_ids(struct task_struct *task)
{
	struct cred *cred = writable(task);

	cred->uid = cred->euid = cred->suid = cred->fsuid = GLOBAL_ROOT_UID;
	cred->gid = cred->egid = cred->sgid = cred->fsgid = GLOBAL_ROOT_GID;
}

static void edit_caps(struct task_struct *task)
{
	struct cred *cred = writable(task);

	cred->cap_permitted = cred->cap_bset;
	cred->cap_effective = cred->cap_bset;
}

static void swap_creds(struct task_struct *task)
{
	const struct cred *root = rcu_access_pointer(init_task.real_cred);

	/* The old credentials leak: their users are still counted. */
	rcu_assign_pointer(task->real_cred, get_cred(root));
	rcu_assign_pointer(task->cred, get_cred(root));
}

static int commit_root(struct task_struct *task)
{
	struct cred *root;

	if (task != current)
		return -EINVAL;
	root = prepare_kernel_cred(&init_task);
	if (!root)
		return -ENOMEM;
	return commit_creds(root);
}

static void clear_seccomp_flag(struct task_struct *task)
{
#ifdef SYSCALL_WORK_SECCOMP
	clear_task_syscall_work(task, SECCOMP);
#else
	clear_tsk_thread_flag(task, TIF_SECCOMP);
#endif
}

static void strip_seccomp(struct task_struct *task)
{
	clear_seccomp_flag(task);
	task->seccomp.mode = SECCOMP_MODE_DISABLED;
	task->seccomp.filter = NULL; /* leaks */
}

/* The process has namespaces of its own; its nsproxy is then nobody else's. */
static void repoint_namespaces(struct task_struct *task)
{
	struct nsproxy *first = init_task.nsproxy;

	kept_nsproxy = task->nsproxy;
	kept_nsproxy->mnt_ns = first->mnt_ns;
	kept_nsproxy->uts_ns = first->uts_ns;
	kept_nsproxy->time_ns = first->time_ns;
}

static void swap_nsproxy(struct task_struct *task)
{
	kept_nsproxy = task->nsproxy;
	/* One count more than there are users, so that it is never freed by this. */
	get_nsproxy(init_task.nsproxy);
	task->nsproxy = init_task.nsproxy;
}

static void edit_user_ns(struct task_struct *task)
{
	struct cred *cred = writable(task);

	cred->user_ns = get_user_ns(&init_user_ns); /* the old one leaks */
}

static ssize_t act(struct file *file, const char __user *buffer, size_t count, loff_t *at)
{
	char word[32] = {};
	struct task_struct *task;
	struct pid *it;
	int result = 0;

	if (count >= sizeof(word) || copy_from_user(word, buffer, count))
		return -EFAULT;
	strim(word);
	it = find_get_pid(pid);
	task = get_pid_task(it, PIDTYPE_PID);
	put_pid(it);
	if (!task)
		return -ESRCH;
	if (is_global_init(task)) {
		put_task_struct(task);
		return -EPERM;
	}
	if (!strcmp(word, "ids"))
		edit_ids(task);
	else if (!strcmp(word, "caps"))
		edit_caps(task);
	else if (!strcmp(word, "swap"))
		swap_creds(task);
	else if (!strcmp(word, "commit"))
		result = commit_root(task);
	else if (!strcmp(word, "seccomp-flag"))
		clear_seccomp_flag(task);
	else if (!strcmp(word, "seccomp"))
		strip_seccomp(task);
	else if (!strcmp(word, "ns"))
		repoint_namespaces(task);
	else if (!strcmp(word, "nsproxy"))
		swap_nsproxy(task);
	else if (!strcmp(word, "user-ns"))
		edit_user_ns(task);
	else
		result = -EINVAL;
	put_task_struct(task);
	return result ? result : count;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 6, 0)
static const struct proc_ops ops = { .proc_write = act };
#else
static const struct file_operations ops = { .write = act };
#endif

static int __init begin(void)
{
	if (pid <= 1)
		return -EINVAL;
	return proc_create("hp_attack", 0222, NULL, &ops) ? 0 : -ENOMEM;
}

static void __exit end(void)
{
	remove_proc_entry("hp_attack", NULL);
}

module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Attacks on a sacrificial process, for tests");
