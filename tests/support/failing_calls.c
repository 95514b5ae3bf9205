/* Preloaded, it makes the n-th call of one kind fail on files whose path contains a word, with any
 * errno: what a shared file system, or a disk, may answer at any moment. A test arms it:
 *   failing_calls_arm("fsync", 3, ESTALE, "/checkpoints/");   failing_calls_left() -> 0 once it failed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char armed_call[16], armed_word[256];
static int armed_errno;
static int calls_left; /* 0: nothing fails */

void failing_calls_arm(const char *call, int nth, int error, const char *word) {
  snprintf(armed_call, sizeof armed_call, "%s", call);
  snprintf(armed_word, sizeof armed_word, "%s", word);
  armed_errno = error;
  __atomic_store_n(&calls_left, nth, __ATOMIC_SEQ_CST);
}

int failing_calls_left(void) { return __atomic_load_n(&calls_left, __ATOMIC_SEQ_CST); }

static int fails(const char *call, const char *path) {
  if (failing_calls_left() <= 0 || strcmp(call, armed_call) != 0) return 0;
  if (path == NULL || strstr(path, armed_word) == NULL) return 0;
  if (__atomic_sub_fetch(&calls_left, 1, __ATOMIC_SEQ_CST) != 0) return 0;
  errno = armed_errno;
  return 1;
}

static int fails_fd(const char *call, int fd) {
  char link[64], path[4096];
  ssize_t length;
  if (failing_calls_left() <= 0 || strcmp(call, armed_call) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return fails(call, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
  return fails_fd("write", fd) ? -1 : NEXT(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  return fails_fd("write", fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  return fails_fd("write", fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}
ssize_t read(int fd, void *data, size_t size) {
  return fails_fd("read", fd) ? -1 : NEXT(read)(fd, data, size);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
  return fails_fd("read", fd) ? -1 : NEXT(pread64)(fd, data, size, at);
}
int fsync(int fd) { return fails_fd("fsync", fd) ? -1 : NEXT(fsync)(fd); }
int ftruncate(int fd, off_t size) {
  return fails_fd("truncate", fd) ? -1 : NEXT(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
  return fails_fd("truncate", fd) ? -1 : NEXT(ftruncate64)(fd, size);
}
int rename(const char *from, const char *to) {
  return fails("rename", from) ? -1 : NEXT(rename)(from, to);
}
int mkdir(const char *path, mode_t mode) {
  return fails("mkdir", path) ? -1 : NEXT(mkdir)(path, mode);
}
int open(const char *path, int flags, ...) {
  va_list rest;
  mode_t mode;
  va_start(rest, flags);
  mode = (mode_t)va_arg(rest, int);
  va_end(rest);
  return fails("open", path) ? -1 : NEXT(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  va_list rest;
  mode_t mode;
  va_start(rest, flags);
  mode = (mode_t)va_arg(rest, int);
  va_end(rest);
  return fails("open", path) ? -1 : NEXT(open64)(path, flags, mode);
}
