/* Kills the process that has $CUT_WORD on its command line before it syncs, renames, links or removes a file for the
 * $CUT_BEFOREth time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int steps;

static int is_meant(void)
{
    char line[4096];
    const char *word = getenv("CUT_WORD");
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(file, line, sizeof line - 1);
    close(file);
    if (word == NULL || length <= 0) {
        return 0;
    }
    line[length] = 0;
    for (char *at = line; at < line + length; at += strlen(at) + 1) {
        if (strcmp(at, word) == 0) {
            return 1;
        }
    }
    return 0;
}

static void step(void)
{
    const char *before = getenv("CUT_BEFORE");
    if (before != NULL && is_meant() && atomic_fetch_add(&steps, 1) + 1 == atoi(before)) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

int fsync(int file)
{
    step();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int rename(const char *from, const char *to)
{
    step();
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    step();
    return ((int (*)(int, const char *, int, const char *, int))dlsym(RTLD_NEXT, "linkat"))(from_at, from, to_at, to, flags);
}

int unlink(const char *path)
{
    step();
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}
