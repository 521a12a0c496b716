// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A file system in user space with one file, "it", whose bytes are its server's business: those of one file until somebody
 * has read it to its end, those of another from then on. Both are of the same size. Reads go past the page cache
 * (FOPEN_DIRECT_IO), mappings do not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IT = 2 };

static int device;
static struct stat size;
static const char *contents[2];
static size_t told_from; /* what was read of the first in one go, from the beginning on */
static int which;

static void answer(const struct fuse_in_header *in, int error, const void *data, size_t length)
{
	struct fuse_out_header out = { sizeof(out) + (error ? 0 : length), -error, in->unique };
	struct iovec parts[] = { { &out, sizeof(out) }, { (void *)data, error ? 0 : length } };
	writev(device, parts, 2);
}

static struct fuse_attr about(uint64_t node)
{
	struct fuse_attr attr = { .ino = node, .nlink = 1, .blksize = 4096, .mtime = 1, .ctime = 1 };
	attr.mode = node == IT ? S_IFREG | 0755 : S_IFDIR | 0755;
	attr.size = node == IT ? size.st_size : 0;
	return attr;
}

static void tell(const struct fuse_in_header *in, const struct fuse_read_in *asked)
{
	size_t length = 0;
	if (asked->offset < (uint64_t)size.st_size)
		length = size.st_size - asked->offset < asked->size ? size.st_size - asked->offset : asked->size;
	answer(in, 0, contents[which] + asked->offset, length);
	if (!asked->offset)
		told_from = 0;
	if (asked->offset == told_from)
		told_from += length;
	if (told_from >= (size_t)size.st_size)
		which = 1;
}

static int serve(void)
{
	static char buffer[1 << 18];
	for (;;) {
		ssize_t got = read(device, buffer, sizeof(buffer));
		if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (got < 0)
			return errno != ENODEV;
		struct fuse_in_header *in = (struct fuse_in_header *)buffer;
		void *body = buffer + sizeof(*in);
		struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 4096, .max_write = 4096 };
		struct fuse_entry_out entry = { .nodeid = IT, .attr = about(IT) };
		struct fuse_attr_out attr = { .attr = about(in->nodeid) };
		struct fuse_open_out open = { .open_flags = in->nodeid == IT ? FOPEN_DIRECT_IO : 0 };
		struct fuse_statfs_out statfs = { .st = { .bsize = 4096, .namelen = 255 } };
		switch (in->opcode) {
		case FUSE_INIT:
			answer(in, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			answer(in, strcmp(body, "it") ? ENOENT : 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			answer(in, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
		case FUSE_OPENDIR:
			answer(in, 0, &open, sizeof(open));
			break;
		case FUSE_READ:
			tell(in, body);
			break;
		case FUSE_STATFS:
			answer(in, 0, &statfs, sizeof(statfs));
			break;
		case FUSE_READDIR:
		case FUSE_FLUSH:
		case FUSE_RELEASE:
		case FUSE_RELEASEDIR:
			answer(in, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(in, ENOSYS, NULL, 0);
		}
	}
}

static char *content(const char *file)
{
	int fd = open(file, O_RDONLY);
	char *bytes = fd < 0 || fstat(fd, &size) ? NULL : malloc(size.st_size);
	if (!bytes || read(fd, bytes, size.st_size) != size.st_size) {
		perror(file);
		exit(2);
	}
	close(fd);
	return bytes;
}

int fuse(const char *dir, const char *file, const char *other)
{
	char options[128];
	contents[1] = content(other);
	contents[0] = content(file);
	device = open("/dev/fuse", O_RDWR);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other", device, getuid(), getgid());
	if (device < 0 || mount("hp", dir, "fuse", 0, options)) {
		perror("hp-file: not tried: mounting");
		return 2;
	}
	/* Until it is unmounted. */
	pid_t server = fork();
	if (server < 0)
		return 2;
	if (!server) {
		setsid();
		int null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		_exit(serve());
	}
	return 0;
}
