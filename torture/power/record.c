/* What a program writes and syncs below one directory, in one log; preloaded into it.
 *
 * RECORD_ROOT is the directory, an absolute path without links; RECORD_LOG the log, which is there.
 * Threads and processes do what is recorded one after the other, so that the order in the log is
 * the order in which it was done. A sync does not reach the disk: it takes SYNC_NANOSECONDS, as
 * those who wait for one are done together, and is written down.
 *
 * A record is a `struct record` and `length` bytes; the numbers are those of the machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, MKDIR, RENAME, UNLINK, WRITE, WRITE_SYNCED, TRUNCATE, EXTEND, SYNC, MAP };
enum { SYNC_NANOSECONDS = 100000 };

struct record {
    int64_t kind;
    int64_t inode;
    int64_t offset; /* of WRITE; the new size of TRUNCATE and EXTEND; whether OPEN empties it */
    int64_t length;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static dev_t device;
static int journal = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((noreturn)) static void give_up(const char *what)
{
    perror(what);
    abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RECORD_LOG");
    struct stat found;
    root = getenv("RECORD_ROOT");
    if (!root || !path)
        return;
    if (stat(root, &found))
        give_up(root);
    device = found.st_dev;
    journal = REAL(open)(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (journal < 0)
        give_up(path);
}

/* The lock is of a process and a thread; the kernel's ends with its process. */
static void lock(void)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    pthread_mutex_lock(&mutex);
    while (fcntl(journal, F_SETLKW, &whole))
        if (errno != EINTR)
            give_up("lock");
}

static void unlock(void)
{
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    int error = errno;
    fcntl(journal, F_SETLK, &whole);
    pthread_mutex_unlock(&mutex);
    errno = error;
}

static void keep(int kind, ino_t inode, int64_t offset, const struct iovec *parts, int count,
                 size_t length)
{
    struct record record = {kind, (int64_t)inode, offset, (int64_t)length};
    struct iovec all[1 + count];
    size_t left = length;
    int n = 0;
    all[n++] = (struct iovec){&record, sizeof record};
    for (int i = 0; i < count && left; i++) {
        size_t size = parts[i].iov_len < left ? parts[i].iov_len : left;
        all[n++] = (struct iovec){parts[i].iov_base, size};
        left -= size;
    }
    if (REAL(writev)(journal, all, n) != (ssize_t)(sizeof record + length))
        give_up("the log");
}

static void keep_paths(int kind, ino_t inode, int64_t offset, const char *one, const char *other)
{
    struct iovec parts[3] = {{(void *)one, strlen(one)}, {"", 1}, {(void *)other, 0}};
    size_t length = parts[0].iov_len;
    if (other) {
        parts[2].iov_len = strlen(other);
        length += 1 + parts[2].iov_len;
    }
    keep(kind, inode, offset, parts, 3, length);
}

static int is_below(const char *path)
{
    size_t length = root ? strlen(root) : 0;
    return journal >= 0 && path && !strncmp(path, root, length) &&
           (path[length] == '/' || !path[length]);
}

/* Which of the files are of the directory is known to the reader of the log. */
static int is_recorded(int fd, struct stat *found)
{
    return journal >= 0 && fd >= 0 && !fstat(fd, found) && found->st_dev == device &&
           (S_ISREG(found->st_mode) || S_ISDIR(found->st_mode));
}

/* Names. */

static int opened(int fd, const char *path, int flags)
{
    struct stat found;
    if (fd >= 0 && !fstat(fd, &found))
        keep_paths(OPEN, found.st_ino, !!(flags & O_TRUNC), path, NULL);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    int makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
    return makes ? va_arg(arguments, mode_t) : 0;
}

#define OPENS(name)                                                                                \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        if (!is_below(path))                                                                       \
            return REAL(name)(path, flags, mode);                                                  \
        lock();                                                                                    \
        int fd = opened(REAL(name)(path, flags, mode), path, flags);                               \
        unlock();                                                                                  \
        return fd;                                                                                 \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                             \
    int name(int directory, const char *path, int flags, ...)                                      \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_of(flags, arguments);                                                   \
        va_end(arguments);                                                                         \
        if (!is_below(path))                                                                       \
            return REAL(name)(directory, path, flags, mode);                                       \
        lock();                                                                                    \
        int fd = opened(REAL(name)(directory, path, flags, mode), path, flags);                    \
        unlock();                                                                                  \
        return fd;                                                                                 \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int mkdir(const char *path, mode_t mode)
{
    struct stat found;
    if (!is_below(path))
        return REAL(mkdir)(path, mode);
    lock();
    int result = REAL(mkdir)(path, mode);
    if (!result && !stat(path, &found))
        keep_paths(MKDIR, found.st_ino, 0, path, NULL);
    unlock();
    return result;
}

int rename(const char *old, const char *new)
{
    if (!is_below(old) && !is_below(new))
        return REAL(rename)(old, new);
    lock();
    int result = REAL(rename)(old, new);
    if (!result)
        keep_paths(RENAME, 0, 0, old, new);
    unlock();
    return result;
}

int unlink(const char *path)
{
    if (!is_below(path))
        return REAL(unlink)(path);
    lock();
    int result = REAL(unlink)(path);
    if (!result)
        keep_paths(UNLINK, 0, 0, path, NULL);
    unlock();
    return result;
}

/* Contents. */

static int kind_of_write(int fd)
{
    return fcntl(fd, F_GETFL) & O_DSYNC ? WRITE_SYNCED : WRITE;
}

static ssize_t written(int fd, ino_t inode, off64_t offset, const struct iovec *parts, int count,
                       ssize_t size)
{
    if (size > 0) {
        if (offset < 0)
            offset = lseek64(fd, 0, SEEK_CUR) - size;
        keep(kind_of_write(fd), inode, offset, parts, count, (size_t)size);
    }
    return size;
}

#define WRITES(call, offset, parts, count)                                                         \
    struct stat found;                                                                             \
    if (!is_recorded(fd, &found))                                                                  \
        return call;                                                                               \
    lock();                                                                                        \
    ssize_t size = written(fd, found.st_ino, offset, parts, count, call);                          \
    unlock();                                                                                      \
    return size;

ssize_t write(int fd, const void *data, size_t length)
{
    struct iovec part = {(void *)data, length};
    WRITES(REAL(write)(fd, data, length), -1, &part, 1)
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    WRITES(REAL(writev)(fd, parts, count), -1, parts, count)
}

#define WRITES_AT(name, offset_type)                                                               \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset)                      \
    {                                                                                              \
        struct iovec part = {(void *)data, length};                                                \
        WRITES(REAL(name)(fd, data, length, offset), offset, &part, 1)                             \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

#define WRITES_PARTS_AT(name, offset_type)                                                         \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset)                 \
    {                                                                                              \
        WRITES(REAL(name)(fd, parts, count, offset), offset, parts, count)                         \
    }
WRITES_PARTS_AT(pwritev, off_t)
WRITES_PARTS_AT(pwritev64, off64_t)

#define RESIZES(name, parameters, arguments, kind, size)                                           \
    int name parameters                                                                            \
    {                                                                                              \
        struct stat found;                                                                         \
        if (!is_recorded(fd, &found))                                                              \
            return REAL(name) arguments;                                                           \
        lock();                                                                                    \
        int result = REAL(name) arguments;                                                         \
        if (!result)                                                                               \
            keep(kind, found.st_ino, size, NULL, 0, 0);                                            \
        unlock();                                                                                  \
        return result;                                                                             \
    }
RESIZES(ftruncate, (int fd, off_t size), (fd, size), TRUNCATE, size)
RESIZES(ftruncate64, (int fd, off64_t size), (fd, size), TRUNCATE, size)
RESIZES(posix_fallocate, (int fd, off_t from, off_t size), (fd, from, size), EXTEND, from + size)
RESIZES(posix_fallocate64, (int fd, off64_t from, off64_t size), (fd, from, size), EXTEND,
        from + size)

#define SYNCS(name)                                                                                \
    int name(int fd)                                                                               \
    {                                                                                              \
        struct timespec time = {.tv_nsec = SYNC_NANOSECONDS};                                      \
        struct stat found;                                                                         \
        if (!is_recorded(fd, &found))                                                              \
            return REAL(name)(fd);                                                                 \
        nanosleep(&time, NULL);                                                                    \
        lock();                                                                                    \
        keep(SYNC, found.st_ino, 0, NULL, 0, 0);                                                   \
        unlock();                                                                                  \
        return 0;                                                                                  \
    }
SYNCS(fsync)
SYNCS(fdatasync)

/* What is written to a mapped file cannot be seen: the reader knows that it may hold anything. */
#define MAPS(name, offset_type)                                                                    \
    void *name(void *address, size_t length, int protection, int flags, int fd,                    \
               offset_type offset)                                                                 \
    {                                                                                              \
        struct stat found;                                                                         \
        if ((flags & MAP_SHARED) && (protection & PROT_WRITE) && is_recorded(fd, &found)) {        \
            lock();                                                                                \
            keep(MAP, found.st_ino, 0, NULL, 0, 0);                                                \
            unlock();                                                                              \
        }                                                                                          \
        return REAL(name)(address, length, protection, flags, fd, offset);                         \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)
