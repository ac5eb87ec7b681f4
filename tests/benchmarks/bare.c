/* The bare baseline: starts programs with a pipe for each standard stream, reads these to their end
 * and throws away what comes, without Python and without anything that a run is for.
 *
 *     bare sequence COUNT PROGRAM WORD...   so many, one after the other
 *     bare crowd COUNT PROGRAM WORD...      so many at once, under one epoll; each gets its number as
 *                                           its last word. An answer that is a time of the monotonic
 *                                           clock, in nanoseconds, is compared with now.
 *
 * Prints JSON: seconds (wall, and CPU with that of the programs), peak KiB, and milliseconds from
 * write to read at p50 and p99.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char buffer[1 << 20];
static double *delays;
static size_t heard;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Start a program; the reading ends of its standard output and error. */
static pid_t start(char **words, int ends[2])
{
    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
        fail("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    pid_t child;
    if ((errno = posix_spawn(&child, words[0], &actions, NULL, words, environ)))
        fail(words[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]), close(out[1]), close(err[1]);
    if (write(in[1], "{}", 2) < 0 && errno != EPIPE)
        fail("write");
    close(in[1]);
    ends[0] = out[0], ends[1] = err[0];
    return child;
}

static void watch(int epoll, int ends[2])
{
    for (int which = 0; which < 2; which++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = ends[which]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, ends[which], &event))
            fail("epoll_ctl");
    }
}

static void note(ssize_t size, size_t room)
{
    static const char key[] = "\"result\":\"";
    if (size > 4096)
        return;
    buffer[size] = 0;
    for (char *at = buffer; (at = strstr(at, key)); ) {
        at += sizeof key - 1;
        unsigned long long then = strtoull(at, NULL, 10);
        if (then > 0 && heard < room)
            delays[heard++] = 1000 * (now() - then / 1e9);
    }
}

/* Read what is there; how many streams have ended. */
static int hear(int epoll, int timeout, size_t room)
{
    struct epoll_event events[64];
    int ended = 0, count = epoll_wait(epoll, events, 64, timeout);
    for (int at = 0; at < count; at++) {
        ssize_t size = read(events[at].data.fd, buffer, sizeof buffer - 1);
        if (size > 0 && room > 0)
            note(size, room);
        if (size <= 0 && ++ended)
            close(events[at].data.fd);
    }
    return ended;
}

static void sequence(int count, char **words)
{
    while (count-- > 0) {
        int ends[2], epoll = epoll_create1(EPOLL_CLOEXEC), open = 2;
        pid_t child = start(words, ends);
        fcntl(ends[0], F_SETPIPE_SZ, sizeof buffer);
        fcntl(ends[1], F_SETPIPE_SZ, sizeof buffer);
        watch(epoll, ends);
        while (open > 0)
            open -= hear(epoll, -1, 0);
        waitpid(child, NULL, 0);
        close(epoll);
    }
}

static void crowd(int count, char **words, size_t room)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), open = 0, last = 0;
    while (words[last])
        last++;
    for (int index = 0; index < count; index++, open += 2) {
        char number[16];
        int ends[2];
        sprintf(number, "%d", index);
        words[last] = number;
        start(words, ends);
        watch(epoll, ends);
        open -= hear(epoll, 0, room);
    }
    while (open > 0)
        open -= hear(epoll, -1, room);
    while (wait(NULL) > 0)
        ;
}

static int compare(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double seconds(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
           + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int words, char **word)
{
    if (words < 4)
        return 2;
    int count = atoi(word[2]);
    size_t room = 1 << 20;
    char **command = calloc(words + 2, sizeof *command);
    memcpy(command, word + 3, (words - 3) * sizeof *command);
    delays = calloc(room, sizeof *delays);
    signal(SIGPIPE, SIG_IGN);
    double began = now();
    if (!strcmp(word[1], "sequence"))
        sequence(count, command);
    else
        crowd(count, command, room);
    double wall = now() - began;
    qsort(delays, heard, sizeof *delays, compare);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = seconds(RUSAGE_SELF) + seconds(RUSAGE_CHILDREN);
    printf("{\"wall\": %f, \"cpu\": %f, \"peak\": %ld", wall, cpu, usage.ru_maxrss);
    if (heard > 0)
        printf(", \"heard\": %zu, \"p50\": %f, \"p99\": %f", heard, delays[heard / 2],
               delays[heard * 99 / 100]);
    printf("}\n");
    return 0;
}
