// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attacks on one sacrificial process, for Hardpan's tests. Never load it outside a test machine.
 *
 * Write "WORD PID" to /proc/hp_attack. Everything acts on that process only, and on objects that belong to it alone:
 * "commit" must be written by the process itself, "suid" changes the inode of the executable that the process runs,
 * "helper" starts the program /tmp/hp-helper as the kernel starts modprobe.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/ipc_namespace.h>
#include <linux/kmod.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seccomp.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include <linux/utsname.h>

/* Address of SELinux's table of sizes, whose first member says where its part of credentials begins. */
static unsigned long selinux_blobs;
module_param(selinux_blobs, ulong, 0);

static struct cred *writable(struct task_struct *task)
{
	return (struct cred *)rcu_access_pointer(task->real_cred);
}

static int edit_ids(struct task_struct *task)
{
	struct cred *cred = writable(task);

	cred->uid = cred->euid = cred->suid = cred->fsuid = GLOBAL_ROOT_UID;
	cred->gid = cred->egid = cred->sgid = cred->fsgid = GLOBAL_ROOT_GID;
	return 0;
}

static int edit_caps(struct task_struct *task)
{
	struct cred *cred = writable(task);

	cred->cap_permitted = cred->cap_bset;
	cred->cap_effective = cred->cap_bset;
	return 0;
}

static int edit_securebits(struct task_struct *task)
{
	writable(task)->securebits ^= 1;
	return 0;
}

/* The list must be the process's own: one that it has set itself. */
static int edit_groups(struct task_struct *task)
{
	struct group_info *groups = writable(task)->group_info;

	if (!groups->ngroups)
		return -EINVAL;
	groups->gid[0] = GLOBAL_ROOT_GID;
	return 0;
}

/* Its second number is the security id; 2 is an initial one. */
static int edit_context(struct task_struct *task)
{
	char *blob = writable(task)->security;

	if (!selinux_blobs || !blob)
		return -EOPNOTSUPP;
	((u32 *)(blob + *(int *)selinux_blobs))[1] = 2;
	return 0;
}

/* The old credentials leak: their users are still counted. */
static int swap_creds(struct task_struct *task)
{
	const struct cred *root = rcu_access_pointer(init_task.real_cred);

	rcu_assign_pointer(task->real_cred, get_cred(root));
	rcu_assign_pointer(task->cred, get_cred(root));
	return 0;
}

/* Only what the task acts with, not what others see of it. Put back by "swap-back", or the next commit is a BUG. */
static int swap_subjective(struct task_struct *task)
{
	rcu_assign_pointer(task->cred, get_cred(rcu_access_pointer(init_task.real_cred)));
	return 0;
}

static int swap_back(struct task_struct *task)
{
	rcu_assign_pointer(task->cred, rcu_access_pointer(task->real_cred));
	return 0;
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

static int clear_seccomp_flag(struct task_struct *task)
{
#ifdef SYSCALL_WORK_SECCOMP
	clear_task_syscall_work(task, SECCOMP);
#else
	clear_tsk_thread_flag(task, TIF_SECCOMP);
#endif
	return 0;
}

/* The filter leaks. */
static int strip_seccomp(struct task_struct *task)
{
	clear_seccomp_flag(task);
	task->seccomp.mode = SECCOMP_MODE_DISABLED;
	task->seccomp.filter = NULL;
	return 0;
}

/* The process has namespaces of its own; its nsproxy is then nobody else's. The old ones leak, the new are counted. */
static int repoint_namespaces(struct task_struct *task)
{
	struct nsproxy *own = task->nsproxy;

	if (own == init_task.nsproxy)
		return -EINVAL;
	get_uts_ns(init_task.nsproxy->uts_ns);
	own->uts_ns = init_task.nsproxy->uts_ns;
	get_ipc_ns(init_task.nsproxy->ipc_ns);
	own->ipc_ns = init_task.nsproxy->ipc_ns;
	return 0;
}

/* Time namespaces: no count is taken, so "time-back" must come before the process ends. */
static struct time_namespace *kept_time;

static int repoint_time(struct task_struct *task)
{
	if (task->nsproxy == init_task.nsproxy)
		return -EINVAL;
	kept_time = task->nsproxy->time_ns_for_children;
	task->nsproxy->time_ns_for_children = init_task.nsproxy->time_ns;
	return 0;
}

static int time_back(struct task_struct *task)
{
	task->nsproxy->time_ns_for_children = kept_time;
	return 0;
}

static int swap_nsproxy(struct task_struct *task)
{
	/* One count more than there are users, so that it is never freed by this. */
	get_nsproxy(init_task.nsproxy);
	get_nsproxy(init_task.nsproxy);
	task->nsproxy = init_task.nsproxy;
	return 0;
}

static int edit_user_ns(struct task_struct *task)
{
	writable(task)->user_ns = get_user_ns(&init_user_ns); /* the old one leaks */
	return 0;
}

/* The process was moved by chroot; its root becomes that of process 1 again. The old one leaks. */
static int move_root(struct task_struct *task)
{
	struct fs_struct *fs = task->fs, *first = init_task.fs;

	if (!fs || fs == first)
		return -EINVAL;
	path_get(&first->root);
	fs->root = first->root;
	return 0;
}

/* Makes the process's own executable set-user-id root, in memory only. */
static int make_set_user_id(struct task_struct *task)
{
	struct mm_struct *mm = get_task_mm(task);
	struct file *file;

	if (!mm)
		return -EINVAL;
	rcu_read_lock();
	file = rcu_dereference(mm->exe_file);
	if (file) {
		file_inode(file)->i_mode |= S_ISUID;
		file_inode(file)->i_uid = GLOBAL_ROOT_UID;
	}
	rcu_read_unlock();
	mmput(mm);
	return file ? 0 : -EINVAL;
}

static int run_helper(struct task_struct *task)
{
	char *words[] = { "/tmp/hp-helper", NULL };
	char *env[] = { "HOME=/", "PATH=/usr/bin:/usr/sbin", NULL };

	return call_usermodehelper(words[0], words, env, UMH_WAIT_PROC) < 0 ? -ENOENT : 0;
}

/* Up to 5.9 system calls let a task read and write kernel memory whose limit is the end of memory. */
static int lift_limit(struct task_struct *task)
{
#ifdef HP_ADDRESS_LIMIT
	task->thread.addr_limit.seg = -1UL;
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static const struct {
	const char *word;
	int (*act)(struct task_struct *task);
} attacks[] = {
	{ "ids", edit_ids },
	{ "caps", edit_caps },
	{ "caps-noted", edit_caps },
	{ "securebits", edit_securebits },
	{ "groups", edit_groups },
	{ "context", edit_context },
	{ "swap", swap_creds },
	{ "swap-cred", swap_subjective },
	{ "swap-back", swap_back },
	{ "commit", commit_root },
	{ "seccomp-flag", clear_seccomp_flag },
	{ "seccomp", strip_seccomp },
	{ "ns", repoint_namespaces },
	{ "time", repoint_time },
	{ "time-back", time_back },
	{ "nsproxy", swap_nsproxy },
	{ "user-ns", edit_user_ns },
	{ "root", move_root },
	{ "suid", make_set_user_id },
	{ "helper", run_helper },
	{ "limit", lift_limit },
};

static ssize_t act(struct file *file, const char __user *buffer, size_t count, loff_t *at)
{
	char line[48] = {}, word[24] = {};
	struct task_struct *task;
	struct pid *it;
	int pid, i, result = -EINVAL;

	if (count >= sizeof(line) || copy_from_user(line, buffer, count))
		return -EFAULT;
	if (sscanf(line, "%23s %d", word, &pid) != 2 || pid <= 1)
		return -EINVAL;
	it = find_get_pid(pid);
	task = get_pid_task(it, PIDTYPE_PID);
	put_pid(it);
	if (!task)
		return -ESRCH;
	for (i = 0; i < ARRAY_SIZE(attacks) && !is_global_init(task); i++)
		if (!strcmp(word, attacks[i].word))
			result = attacks[i].act(task);
	put_task_struct(task);
	return result ? result : count;
}

static const struct proc_ops ops = { .proc_write = act };

static int __init begin(void)
{
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
