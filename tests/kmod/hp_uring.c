// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * io_uring acts with the credentials that were registered with it, not with those of who asks: lawful overrides, inline,
 * in worker threads and in the thread that polls.
 */
#define _GNU_SOURCE
#include "hp_uring.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DIR "/root/hp-uring"
#define FILE_OF_BOB DIR "/file"

struct ring {
	int fd;
	unsigned flags;
	char *submitted, *completed;
	struct io_uring_sqe *entries;
	struct io_uring_params about;
};

static int bad;

static void expects(int holds, const char *what, int got)
{
	if (!holds) {
		fprintf(stderr, "io_uring: %s: %d (%s)\n", what, got, strerror(got < 0 ? -got : 0));
		bad = 1;
	}
}

static void *mapped(int fd, size_t length, off_t what)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
}

static int begin(struct ring *ring, unsigned flags)
{
	memset(ring, 0, sizeof *ring);
	ring->flags = ring->about.flags = flags;
	ring->about.sq_thread_idle = 50;
	ring->fd = syscall(SYS_io_uring_setup, 4, &ring->about);
	if (ring->fd < 0)
		return -errno;
	ring->submitted = mapped(ring->fd, ring->about.sq_off.array + ring->about.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	ring->completed = mapped(ring->fd, ring->about.cq_off.cqes + ring->about.cq_entries * sizeof(struct io_uring_cqe),
				 IORING_OFF_CQ_RING);
	ring->entries = mapped(ring->fd, ring->about.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	return ring->submitted == MAP_FAILED || ring->completed == MAP_FAILED || ring->entries == MAP_FAILED ? -ENOMEM : 0;
}

static unsigned *word(char *base, unsigned offset)
{
	return (unsigned *)(base + offset);
}

/* One request, and what came of it. */
static int asks(struct ring *ring, const struct io_uring_sqe *what)
{
	const struct io_sqring_offsets *out = &ring->about.sq_off;
	const struct io_cqring_offsets *in = &ring->about.cq_off;
	unsigned tail = *word(ring->submitted, out->tail), slot = tail & *word(ring->submitted, out->ring_mask);
	ring->entries[slot] = *what;
	word(ring->submitted, out->array)[slot] = slot;
	__atomic_store_n(word(ring->submitted, out->tail), tail + 1, __ATOMIC_SEQ_CST);
	unsigned head = *word(ring->completed, in->head), enter = IORING_ENTER_GETEVENTS;
	if (ring->flags & IORING_SETUP_SQPOLL)
		enter |= IORING_ENTER_SQ_WAKEUP;
	for (unsigned submit = 1; __atomic_load_n(word(ring->completed, in->tail), __ATOMIC_ACQUIRE) == head; submit = 0)
		if (syscall(SYS_io_uring_enter, ring->fd, submit, 1, enter, NULL, 0) < 0 && errno != EINTR)
			return -errno;
	int result = ((struct io_uring_cqe *)(ring->completed + in->cqes))[head & *word(ring->completed, in->ring_mask)].res;
	__atomic_store_n(word(ring->completed, in->head), head + 1, __ATOMIC_RELEASE);
	return result;
}

static int opens(struct ring *ring, const char *path, int how, int personality, int flags)
{
	struct io_uring_sqe what = { .opcode = IORING_OP_OPENAT, .flags = flags, .fd = AT_FDCWD, .addr = (unsigned long)path,
				     .len = 0600, .open_flags = how, .personality = personality };
	return asks(ring, &what);
}

/* Who made what the ring creates. */
static int creates(struct ring *ring, int personality, int flags)
{
	struct statx about = {};
	int fd = opens(ring, DIR "/made", O_CREAT | O_EXCL | O_RDWR, personality, flags);
	if (fd < 0)
		return fd;
	close(fd);
	struct io_uring_sqe what = { .opcode = IORING_OP_STATX, .flags = flags, .fd = AT_FDCWD, .addr = (unsigned long)DIR "/made",
				     .len = STATX_UID, .off = (unsigned long)&about, .personality = personality };
	int result = asks(ring, &what);
	return result < 0 ? result : (int)about.stx_uid;
}

/* As root a file of somebody else is opened (which asks for a capability), without it not. */
static void acts(struct ring *ring, int root, int flags, void (*between)(void))
{
	char text[8] = "";
	int fd = opens(ring, FILE_OF_BOB, O_RDONLY, root, flags);
	expects(fd >= 0 && read(fd, text, sizeof text) == 6 && !memcmp(text, "secret", 6), "read with root's credentials", fd);
	close(fd);
	between();
	int made = creates(ring, root, flags);
	expects(made == 0, "created by root", made);
	between();
	/* Its own credentials are as they were. */
	fd = open(FILE_OF_BOB, O_RDONLY);
	expects(fd < 0 && errno == EACCES && geteuid() == 1001, "opened by itself", fd);
}

int uring_overrides(void (*between)(void))
{
	struct ring ring, polled;
	mkdir("/root", 0700);
	mkdir(DIR, 0700);
	int fd = open(FILE_OF_BOB, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	expects(fd >= 0 && write(fd, "secret", 6) == 6 && !fchown(fd, 1002, 1002), FILE_OF_BOB, fd);
	close(fd);
	expects(!begin(&ring, 0), "a ring", -errno);
	expects(!begin(&polled, IORING_SETUP_SQPOLL), "a ring that is polled", -errno);
	int root = syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	int root_polled = syscall(SYS_io_uring_register, polled.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	expects(root > 0 && root_polled > 0, "personality", root);
	if (bad)
		return 1;
	if (setgroups(0, NULL) || setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001))
		return 1;
	between();
	int user = syscall(SYS_io_uring_register, polled.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	expects(user > 0, "personality of a user", user);
	for (int i = 0; i < 20; i++) {
		/* Removed by root's credentials: the directory is root's. */
		struct io_uring_sqe removes = { .opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (unsigned long)DIR "/made" };
		int flags = i & 1 ? IOSQE_ASYNC : 0;
		int refused = opens(&ring, FILE_OF_BOB, O_RDONLY, 0, flags);
		expects(refused == -EACCES, "opened with its own credentials", refused);
		acts(&ring, root, flags, between);
		removes.personality = root;
		int removed = asks(&ring, &removes);
		expects(removed == 0, "removed", removed);
		/* The thread that polls acts as who made the ring. */
		acts(&polled, i & 2 ? root_polled : 0, flags, between);
		refused = opens(&polled, FILE_OF_BOB, O_RDONLY, user, flags);
		expects(refused == -EACCES, "opened with a user's credentials", refused);
		removes.personality = 0;
		removed = asks(&polled, &removes);
		expects(removed == 0, "removed by the thread that polls", removed);
		if (i % 4 == 3)
			/* It sleeps, and is woken. */
			usleep(70 * 1000);
	}
	close(ring.fd);
	close(polled.fd);
	between();
	return bad;
}
