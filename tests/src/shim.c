/*
 * Preloaded into the product's binaries by the torture and by tests of storage and time. It changes what the C library
 * returns: the wall clock, syncs and reads of team databases, and the boot id. The file named by
 * AGENT_TEAM_TEST_SHIM holds the settings and is mapped, so that a test changes them while the process runs. With
 * AGENT_TEAM_TEST_SHIM_ALONE the process's children are not preloaded.
 * The layout is that of `Shim` in shim.rs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct settings {
    int64_t clock_s;    /* added to the wall clock */
    int64_t fail_syncs; /* syncs of a team's files fail with EIO */
    int64_t fail_reads; /* reads of a team's files fail with EIO */
    int64_t other_boot; /* the boot id is read from the file whose name is this file's with `.boot` added */
};

static volatile struct settings *settings;
static char boot_id[4096];

__attribute__((constructor)) static void map_settings(void)
{
    const char *path = getenv("AGENT_TEAM_TEST_SHIM");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof(struct settings), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return;
    snprintf(boot_id, sizeof boot_id, "%s.boot", path);
    settings = map;
    if (getenv("AGENT_TEAM_TEST_SHIM_ALONE")) {
        unsetenv("AGENT_TEAM_TEST_SHIM_ALONE");
        unsetenv("AGENT_TEAM_TEST_SHIM");
        unsetenv("LD_PRELOAD");
    }
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int is_of_a_team(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/teams/") && strstr(path, "team.db");
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    REAL(clock_gettime);
    int result = real(clock, time);
    if (result == 0 && settings && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += settings->clock_s;
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    REAL(gettimeofday);
    int result = real(time, zone);
    if (result == 0 && settings)
        time->tv_sec += settings->clock_s;
    return result;
}

time_t time(time_t *into)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    if (settings && settings->fail_syncs && is_of_a_team(fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fsync(int fd)
{
    REAL(fsync);
    if (settings && settings->fail_syncs && is_of_a_team(fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

ssize_t read(int fd, void *into, size_t count)
{
    REAL(read);
    if (settings && settings->fail_reads && is_of_a_team(fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd, into, count);
}

ssize_t pread64(int fd, void *into, size_t count, off64_t offset)
{
    REAL(pread64);
    if (settings && settings->fail_reads && is_of_a_team(fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd, into, count, offset);
}

ssize_t pread(int fd, void *into, size_t count, off_t offset)
{
    return pread64(fd, into, count, offset);
}

static const char *redirected(const char *path)
{
    int is_boot_id = path && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0;
    return is_boot_id && settings && settings->other_boot ? boot_id : path;
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return real(redirected(path), flags, mode);
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return real(redirected(path), flags, mode);
}
