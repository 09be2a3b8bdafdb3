/*
 * interrupt.c
 *		For LD_PRELOAD: while the file that CLARI_INTERRUPT names exists, whoever
 *		opens a directory or removes a file of the cache is canceled just then,
 *		as by pg_cancel_backend().
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
interrupt(const char *path)
{
	const char *flag = getenv("CLARI_INTERRUPT");

	if (flag != NULL && strstr(path, "clari_cache") != NULL && access(flag, F_OK) == 0)
		raise(SIGINT);
}

DIR *
opendir(const char *path)
{
	DIR *(*real)(const char *) = (DIR * (*) (const char *) ) dlsym(RTLD_NEXT, "opendir");

	interrupt(path);
	return real(path);
}

int
unlink(const char *path)
{
	int (*real)(const char *) = (int (*)(const char *)) dlsym(RTLD_NEXT, "unlink");

	interrupt(path);
	return real(path);
}
