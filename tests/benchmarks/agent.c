/* Agents for the benchmarks: small enough that what they cost themselves doesn't matter.
 *
 *     agent true                          ends at once
 *     agent frames COUNT                  COUNT small frames, each written by itself
 *     agent frame BYTES                   one frame with an answer of so many bytes
 *     agent noise BYTES 1|2               lines that are no frame, on standard output or error
 *     agent flood COUNT BYTES             COUNT frames of so many bytes each
 *     agent chatty COUNT MS BYTES INDEX   reads its input to the end; then COUNT frames, each after
 *                                         a random time of up to 2 * MS milliseconds. The answer is
 *                                         the monotonic clock in nanoseconds at the write.
 *                                         With BYTES, number 0 writes one frame of that size at half
 *                                         of that time instead.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START "---NANOCLAW_OUTPUT_START---\n"
#define END "\n---NANOCLAW_OUTPUT_END---\n"

static char block[1 << 20];

static void put(int stream, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(stream, data, size);
        if (done <= 0)
            _exit(1);
        data += done;
        size -= done;
    }
}

static void put_text(const char *text)
{
    put(1, text, strlen(text));
}

static void put_blocks(int stream, size_t bytes)
{
    for (size_t size; bytes > 0; bytes -= size) {
        size = bytes < sizeof block ? bytes : sizeof block;
        put(stream, block, size);
    }
}

static void put_frame(size_t bytes)
{
    memset(block, 'x', sizeof block);
    put_text(START "{\"status\":\"success\",\"result\":\"");
    put_blocks(1, bytes);
    put_text("\",\"newSessionId\":\"s\"}" END);
}

static void put_small_frame(unsigned long long answer)
{
    char text[256];
    int size = snprintf(text, sizeof text,
                        START "{\"status\":\"success\",\"result\":\"%llu\",\"newSessionId\":\"s\"}" END,
                        answer);
    put(1, text, size);
}

static void put_noise(size_t bytes, int stream)
{
    static const char line[] = "a line of what a program says when nobody listens to it at all\n";
    for (size_t at = 0; at < sizeof block; at++)
        block[at] = line[at % (sizeof line - 1)];
    put_blocks(stream, bytes);
}

static unsigned long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void chat(int count, double milliseconds, size_t bytes, int index)
{
    char input[4096];
    while (read(0, input, sizeof input) > 0)
        ;
    srandom(index + 1);
    if (bytes > 0 && index == 0) {
        usleep(1000 * milliseconds * count / 2);
        put_frame(bytes);
        return;
    }
    for (int frame = 0; frame < count; frame++) {
        usleep(2000 * milliseconds * random() / RAND_MAX);
        put_small_frame(now());
    }
}

int main(int count, char **words)
{
    const char *kind = count > 1 ? words[1] : "";
    long first = count > 2 ? atol(words[2]) : 0, second = count > 3 ? atol(words[3]) : 0;
    if (!strcmp(kind, "frames"))
        for (long frame = 0; frame < first; frame++)
            put_small_frame(frame);
    else if (!strcmp(kind, "frame"))
        put_frame(first);
    else if (!strcmp(kind, "noise"))
        put_noise(first, second);
    else if (!strcmp(kind, "flood"))
        for (long frame = 0; frame < first; frame++)
            put_frame(second);
    else if (!strcmp(kind, "chatty") && count > 5)
        chat(first, second, atol(words[4]), atoi(words[5]));
    else if (strcmp(kind, "true"))
        return 2;
    return 0;
}
