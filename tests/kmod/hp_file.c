// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Ways to get code to run that are not a plain execution: mappings made executable afterwards, files without a name, files
 * that are written to at the wrong moment, names that lead elsewhere. Attack or not is a matter of the file that it is given.
 *
 * hp-file protect FILE HOW     maps the file without PROT_EXEC, which mprotect adds: private, shared, written (a private copy),
 *                              judged (mapped executable once before)
 * hp-file map FILE HOW         maps it executable: plain; implied (by READ_IMPLIES_EXEC); remapped (by remap_file_pages)
 * hp-file shm                  attaches shared memory with SHM_EXEC
 * hp-file jit                  writes code into anonymous memory, makes it executable, and calls it
 * hp-file tmpfile FILE DIR HOW a copy in a file that never had a name (O_TMPFILE), run: fd (execveat), proc (/proc/self/fd),
 *                              held (while it can still be written to)
 * hp-file deleted FILE HOW     opens the file, removes its name, and runs it: fd, proc
 * hp-file again                removes the name of its own program, and executes /proc/self/exe, which says "again"
 * hp-file held FILE WHEN HOW   opens the file for writing (WHEN: cold, or warm: it ran before), runs it, changes it (HOW: write,
 *                              shared: a mapping whose descriptor is closed; punch; splice), runs it, closes, runs it
 * hp-file opened FILE          has it open for writing, changes nothing, and maps it executable
 * hp-file below FILE UPPER     runs UPPER, a file of an overlay, while FILE, what it is made of, is open for writing
 * hp-file under FILE UPPER     the same, opened while UPPER runs: FILE is what it maps by then
 * hp-file swap LINK A B MARK   executes LINK, which leads to A or to B and is changed all the time, as "hp-file mark MARK",
 *                              until it often ran and often did not
 * hp-file race FILE SECONDS    maps FILE, whose last byte is changed and put back all the time, from a process that is held up
 *                              wherever it is just then; says how often the signed content was mapped, and the other one was not
 * hp-file fuse DIR FILE [OTHER]  mounts a file system of its own at DIR with the file "it", which has FILE's bytes until it
 *                              was read to its end once, then OTHER's
 * hp-file mark FILE            creates it
 * Succeeds if what it was to do was done; 1: it was refused, and says by what; 2: it could not be tried.
 * Build: cc -O1 -static -o hp-file hp_file.c hp_fuse.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int fuse(const char *dir, const char *file, const char *other);

enum { DONE, REFUSED, UNTRIED };
#define PAGE 4096

static int is(const char *word, const char *other)
{
	return !strcmp(word, other);
}

/* What was to be refused: says why it was. */
static int refused(const char *what)
{
	fprintf(stderr, "hp-file: %s: %s\n", what, strerror(errno));
	return errno == EPERM || errno == EACCES ? REFUSED : UNTRIED;
}

/* What only leads there: without it nothing was tried. */
static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "hp-file: not tried: %s: %s\n", what, strerror(errno));
		exit(UNTRIED);
	}
	return result;
}

static char *mapped(int fd, int prot, int flags)
{
	char *at = mmap(NULL, PAGE, prot, flags, fd, 0);
	must(at == MAP_FAILED ? -1 : 0, "mmap");
	return at;
}

static int protect(const char *file, const char *how)
{
	int fd = must(open(file, O_RDONLY), file);
	int written = is(how, "written");
	if (is(how, "judged"))
		mapped(fd, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	char *at = mapped(fd, written ? PROT_READ | PROT_WRITE : PROT_READ, is(how, "shared") ? MAP_SHARED : MAP_PRIVATE);
	if (written)
		at[1] ^= 1;
	return mprotect(at, PAGE, PROT_READ | PROT_EXEC) ? refused("mprotect") : DONE;
}

/* Whether a process has code of a file mapped, by the kernel's own account. */
static int executable(pid_t pid, const char *file)
{
	char line[512], path[32], real[PATH_MAX];
	int found = 0;
	must(realpath(file, real) ? 0 : -1, file);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "r");
	while (maps && fgets(line, sizeof(line), maps)) {
		char prot[5] = "", name[256] = "";
		sscanf(line, "%*s %4s %*s %*s %*s %255s", prot, name);
		found |= is(name, real) && prot[2] == 'x';
	}
	if (maps)
		fclose(maps);
	return found;
}

static int map(const char *file, const char *how)
{
	/* Only of what can be written to is a mapping really shared, and can be mapped anew. */
	int fd = must(open(file, is(how, "remapped") ? O_RDWR : O_RDONLY), file);
	if (is(how, "remapped")) {
		char *at = mapped(fd, PROT_READ, MAP_SHARED);
		must(personality(READ_IMPLIES_EXEC), "personality");
		if (syscall(SYS_remap_file_pages, at, PAGE, 0, 0, 0))
			return refused("remap_file_pages");
	} else {
		int implied = is(how, "implied");
		if (implied)
			must(personality(READ_IMPLIES_EXEC), "personality");
		if (mmap(NULL, PAGE, implied ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			return refused("mmap");
	}
	if (executable(getpid(), file))
		return DONE;
	fprintf(stderr, "hp-file: it is mapped, and not executable\n");
	return UNTRIED;
}

static int shm(void)
{
	int id = must(shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0700), "shmget");
	void *at = shmat(id, NULL, SHM_EXEC);
	int error = errno;
	shmctl(id, IPC_RMID, NULL);
	errno = error;
	return at == (void *)-1 ? refused("shmat") : DONE;
}

static int jit(void)
{
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
	char *at = mapped(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	memcpy(at, code, sizeof(code));
	if (mprotect(at, PAGE, PROT_READ | PROT_EXEC))
		return refused("mprotect");
	return ((int (*)(void))at)() == 42 ? DONE : UNTRIED;
}

/* Executes a descriptor. Comes back only with a refusal. */
static int run_fd(int fd, const char *how, const char *name)
{
	char path[32], *args[] = { (char *)name, NULL }, *env[] = { NULL };
	if (is(how, "proc")) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		execve(path, args, env);
	} else {
		syscall(SYS_execveat, fd, "", args, env, AT_EMPTY_PATH);
	}
	return refused("execve");
}

static void copy(int to, const char *file)
{
	char bytes[65536];
	int from = must(open(file, O_RDONLY), file);
	ssize_t got;
	while ((got = must(read(from, bytes, sizeof(bytes)), file)) > 0)
		must(write(to, bytes, got) == got ? 0 : -1, "write");
	close(from);
}

static int run_tmpfile(const char *file, const char *dir, const char *how)
{
	char path[32];
	int writer = must(open(dir, O_TMPFILE | O_RDWR, 0700), dir);
	copy(writer, file);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", writer);
	int fd = must(open(path, O_RDONLY), path);
	if (!is(how, "held"))
		close(writer);
	return run_fd(fd, how, file);
}

static int run_deleted(const char *file, const char *how)
{
	int fd = must(open(file, O_RDONLY), file);
	must(unlink(file), "unlink");
	return run_fd(fd, how, file);
}

static int again(void)
{
	char name[256];
	ssize_t length = must(readlink("/proc/self/exe", name, sizeof(name) - 1), "readlink");
	name[length] = 0;
	must(unlink(name), name);
	execl("/proc/self/exe", name, "said", NULL);
	return refused("execve");
}

/* Runs a program, and gives what became of it: "ran", "busy", "denied". */
static const char *outcome(const char *file, char *const args[])
{
	int status, *error = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*error = 0;
	pid_t child = must(fork(), "fork");
	if (!child) {
		execv(file, args);
		*error = errno;
		_exit(127);
	}
	must(waitpid(child, &status, 0), "waitpid");
	int came = *error;
	munmap(error, PAGE);
	return came == ETXTBSY ? "busy" : came == EPERM || came == EACCES ? "denied" : came ? strerror(came) :
		status ? "failed" : "ran";
}

static int held(const char *file, const char *when, const char *how)
{
	char *args[] = { (char *)file, NULL };
	if (is(when, "warm") && !is(outcome(file, args), "ran"))
		must(-1, "running it first");
	int fd = must(open(file, O_RDWR), file);
	struct stat about;
	must(fstat(fd, &about), "fstat");
	int shared = is(how, "shared");
	char *at = shared ? mapped(fd, PROT_READ | PROT_WRITE, MAP_SHARED) : NULL;
	if (shared)
		close(fd);
	const char *opened = outcome(file, args);
	/* Padding, or the section headers, which nobody reads: what is changed would run. */
	int pipes[2];
	if (shared) {
		at[9] ^= 1;
	} else if (is(how, "punch")) {
		must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, about.st_size - 64, 64), "fallocate");
	} else if (is(how, "splice")) {
		loff_t offset = 9;
		must(pipe(pipes), "pipe");
		must(write(pipes[1], "x", 1), "write");
		must(splice(pipes[0], NULL, fd, &offset, 1, 0), "splice");
	} else {
		must(pwrite(fd, "x", 1, 9), "pwrite");
	}
	const char *changed = outcome(file, args);
	if (shared)
		munmap(at, PAGE);
	else
		close(fd);
	printf("opened: %s, changed: %s, closed: %s\n", opened, changed, outcome(file, args));
	return DONE;
}

static int opened(const char *file)
{
	must(open(file, O_RDWR), file);
	return map(file, "plain");
}

/* Changes what a running program is mapped from, past the overlay that it was executed from. */
static int under(const char *file, const char *upper, int before)
{
	char *args[] = { (char *)upper, "1000", NULL };
	int writer = -1, status;
	if (before)
		writer = must(open(file, O_RDWR), file);
	pid_t child = must(fork(), "fork");
	if (!child) {
		execv(upper, args);
		_exit(errno == EPERM ? REFUSED : UNTRIED);
	}
	/* It runs when it has mapped its code: before that the opening would be noticed by the mapping, not the other way round. */
	do {
		usleep(10000);
		if (waitpid(child, &status, WNOHANG)) {
			errno = WEXITSTATUS(status) == REFUSED ? EPERM : EIO;
			return refused("execve");
		}
	} while (!executable(child, upper));
	if (!before)
		writer = open(file, O_RDWR);
	int error = errno;
	if (writer >= 0)
		must(pwrite(writer, "x", 1, 9), "pwrite");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	errno = error;
	return writer < 0 ? refused("open for writing") : DONE;
}

static int swap(const char *link, const char *first, const char *second, char *mark)
{
	enum { ENOUGH = 20, MOST = 3000 };
	char other[256], *args[] = { "hp-file", "mark", mark, NULL };
	snprintf(other, sizeof(other), "%s.new", link);
	must(symlink(first, link), link);
	pid_t swapper = must(fork(), "fork");
	for (int turn = 0; !swapper; turn++) {
		symlink(turn & 1 ? first : second, other);
		rename(other, link);
	}
	int ran = 0, not = 0, all = 0;
	while ((ran < ENOUGH || not < ENOUGH) && all++ < MOST)
		*(is(outcome(link, args), "ran") ? &ran : &not) += 1;
	kill(swapper, SIGKILL);
	waitpid(swapper, NULL, 0);
	unlink(other);
	unlink(link);
	printf("ran: %d, did not: %d\n", ran, not);
	return ran >= ENOUGH && not >= ENOUGH ? DONE : UNTRIED;
}

static int maps(const char *file)
{
	int fd = must(open(file, O_RDONLY), file);
	void *at = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (at != MAP_FAILED)
		munmap(at, PAGE);
	close(fd);
	return at != MAP_FAILED;
}

static void put_last(const char *file, off_t at, char byte)
{
	struct timespec moment = { 0, 10000 };
	int fd;
	/* As long as the other one has it mapped, it may not be written to. */
	while ((fd = open(file, O_WRONLY)) < 0 && errno == EPERM)
		nanosleep(&moment, NULL);
	must(fd, file);
	must(pwrite(fd, &byte, 1, at), "pwrite");
	close(fd);
}

/* Both on one processor: a sleep that ends takes it from the other one in the middle of whatever it does. */
static int race(const char *file, int seconds)
{
	struct stat stat;
	char last = 0;
	cpu_set_t one;
	int fd = must(open(file, O_RDONLY), file);
	must(fstat(fd, &stat), "fstat");
	must(pread(fd, &last, 1, stat.st_size - 1), "pread");
	close(fd);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	pid_t mapper = must(fork(), "fork");
	if (!mapper) {
		struct sched_param none = { 0 };
		sched_setscheduler(0, SCHED_IDLE, &none);
		for (;;)
			maps(file);
	}
	int mapped = 0, refused = 0, through = 0;
	time_t end = time(NULL) + seconds;
	while (time(NULL) < end) {
		struct timespec while_it_looks = { 0, 20000 + rand() % 200000 };
		put_last(file, stat.st_size - 1, last);
		nanosleep(&while_it_looks, NULL);
		put_last(file, stat.st_size - 1, last ^ 1);
		for (int turn = 0; turn < 3; turn++) {
			*(maps(file) ? &through : &refused) += 1;
			nanosleep(&while_it_looks, NULL);
		}
		put_last(file, stat.st_size - 1, last);
		mapped += maps(file);
	}
	kill(mapper, SIGKILL);
	waitpid(mapper, NULL, 0);
	printf("signed: mapped %d times; not signed: refused %d times, mapped %d times\n", mapped, refused, through);
	return through ? DONE : mapped && refused ? REFUSED : UNTRIED;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "", *a = argc > 2 ? argv[2] : "", *b = argc > 3 ? argv[3] : "";
	const char *c = argc > 4 ? argv[4] : "";
	if (is(word, "protect"))
		return protect(a, b);
	if (is(word, "map"))
		return map(a, b);
	if (is(word, "shm"))
		return shm();
	if (is(word, "jit"))
		return jit();
	if (is(word, "tmpfile"))
		return run_tmpfile(a, b, c);
	if (is(word, "deleted"))
		return run_deleted(a, b);
	if (is(word, "again"))
		return again();
	if (is(word, "said"))
		return puts("again") < 0;
	if (is(word, "held"))
		return held(a, b, c);
	if (is(word, "opened"))
		return opened(a);
	if (is(word, "below") || is(word, "under"))
		return under(a, b, is(word, "below"));
	if (is(word, "swap"))
		return swap(a, b, c, argc > 5 ? argv[5] : argv[0]);
	if (is(word, "race"))
		return race(a, atoi(b));
	if (is(word, "fuse"))
		return fuse(a, b, argc > 4 ? c : b);
	if (is(word, "mark"))
		return must(open(a, O_CREAT | O_WRONLY, 0666), a) < 0;
	fprintf(stderr, "hp-file: what is \"%s\"?\n", word);
	return UNTRIED;
}
