/* A disk that fails when told to, for one directory of one process: preloaded, it stands before libc's calls.

   FAILING_DISK         the directory
   FAILING_DISK_SWITCH  a file; as long as it is there, its first word says what fails:
     full      writing and growing: ENOSPC
     readonly  everything that changes something: EROFS
     fsync     fsync and fdatasync: EIO, and what was written since the last good one is gone, as where
               a kernel drops the pages that it could not write */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault { NONE, FULL, READONLY, FSYNC };

struct undo {
    struct undo *before;
    dev_t device;
    ino_t inode;
    off_t offset, size; /* of the file before the write */
    size_t length;      /* of what stood there */
    char old[];
};

static struct undo *undone;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static enum fault fault(void) {
    char word[16] = "";
    const char *path = getenv("FAILING_DISK_SWITCH");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0) return NONE;
    if (syscall(SYS_read, fd, word, sizeof word - 1) < 0) word[0] = 0;
    syscall(SYS_close, fd);
    return !strncmp(word, "full", 4)       ? FULL
           : !strncmp(word, "readonly", 8) ? READONLY
           : !strncmp(word, "fsync", 5)    ? FSYNC
                                           : NONE;
}

static int is_ours(const char *path) {
    const char *place = getenv("FAILING_DISK");
    size_t length = place ? strlen(place) : 0;
    return length && !strncmp(path, place, length) && (path[length] == '/' || !path[length]);
}

static enum fault fault_of(int fd) {
    char name[64], path[4096];
    int before = errno;
    enum fault found = NONE;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (is_ours(path)) found = fault();
    }
    errno = before;
    return found;
}

static int fails(enum fault found) {
    if (found == FULL) errno = ENOSPC;
    if (found == READONLY) errno = EROFS;
    return found == FULL || found == READONLY;
}

/* Remembers what a write or truncation is about to replace, from offset on. */
static void remember(int fd, off_t offset, size_t length) {
    struct stat file;
    struct undo *made = malloc(sizeof *made + length);
    if (!made || fstat(fd, &file)) {
        free(made);
        return;
    }
    ssize_t got = length ? syscall(SYS_pread64, fd, made->old, length, offset) : 0;
    made->device = file.st_dev;
    made->inode = file.st_ino;
    made->offset = offset;
    made->size = file.st_size;
    made->length = got > 0 ? (size_t)got : 0;
    pthread_mutex_lock(&lock);
    made->before = undone;
    undone = made;
    pthread_mutex_unlock(&lock);
}

/* Forgets what was remembered of a file, or puts it back, the last first. */
static void settle(int fd, int put_back) {
    struct stat file;
    if (fstat(fd, &file)) return;
    pthread_mutex_lock(&lock);
    for (struct undo **place = &undone; *place;) {
        struct undo *each = *place;
        if (each->device != file.st_dev || each->inode != file.st_ino) {
            place = &each->before;
            continue;
        }
        if (put_back) {
            if (each->length && syscall(SYS_pwrite64, fd, each->old, each->length, each->offset) < 0) abort();
            if (syscall(SYS_ftruncate, fd, each->size)) abort();
        }
        *place = each->before;
        free(each);
    }
    pthread_mutex_unlock(&lock);
}

static int synced(int fd, long call) {
    if (fault_of(fd) == FSYNC) {
        settle(fd, 1);
        errno = EIO;
        return -1;
    }
    int result = (int)syscall(call, fd);
    if (!result) settle(fd, 0);
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static ssize_t written(int fd, const void *data, size_t length, off_t offset) {
    enum fault found = fault_of(fd);
    if (fails(found)) return -1;
    if (found == FSYNC) remember(fd, offset, length);
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return written(fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return written(fd, data, length, at); }

ssize_t write(int fd, const void *data, size_t length) {
    enum fault found = fault_of(fd);
    if (fails(found)) return -1;
    if (found == FSYNC) remember(fd, lseek(fd, 0, SEEK_CUR), length);
    return syscall(SYS_write, fd, data, length);
}

static int truncated(int fd, off_t size) {
    enum fault found = fault_of(fd);
    struct stat file;
    if (found == READONLY || (found == FULL && !fstat(fd, &file) && size > file.st_size)) {
        fails(found);
        return -1;
    }
    if (found == FSYNC && !fstat(fd, &file))
        remember(fd, size, file.st_size > size ? (size_t)(file.st_size - size) : 0);
    return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

static int opened(int at, const char *path, int flags, mode_t mode) {
    if (is_ours(path)) {
        enum fault found = fault();
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
        int creates = flags & O_CREAT && access(path, F_OK);
        if ((found == READONLY && writes) || (found == FULL && creates)) {
            fails(found);
            return -1;
        }
    }
    return (int)syscall(SYS_openat, at, path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return opened(AT_FDCWD, path, flags, mode);                                                                    \
    }
OPEN(open)
OPEN(open64)

static int changed(const char *path) { return is_ours(path) && fault() == READONLY ? fails(READONLY) : 0; }

int unlink(const char *path) { return changed(path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
int rename(const char *from, const char *to) {
    return changed(from) || changed(to) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
