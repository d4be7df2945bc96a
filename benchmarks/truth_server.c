/* The server of the benchmarks: answers like an OpenAI-compatible engine, at a known pace, and records when it sent
 * each token. One thread, one epoll loop: it must not be the bottleneck.
 *
 *   truth_server LEDGER      prints its port; on SIGTERM, or when its parent ends, it writes the rest of the ledger and ends
 *
 * The path's first part is the mode, /COUNTxEVERY+AFTER (milliseconds): /32x10+50/v1/chat/completions streams 32 tokens
 * 10 ms apart, the first 50 to 60 ms after the request (the fraction is random, so that streams do not synchronise);
 * /32x0+50 sends all of them at once. "stream": false gives one JSON object after the same delay. The headers and the
 * empty role delta go out with the first token, as from a gateway that must be able to fall back.
 *
 * The ledger, for each answer in native byte order: char id[32] (x-request-id), int64 received, int64 count, int64
 * sent[count]; nanoseconds of CLOCK_MONOTONIC, each read right before its write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 8192, TOKENS = 1000, IN_BYTES = 32768, OUT_BYTES = 512 * (TOKENS + 8), EVENTS = 256 };

struct connection {
    int fd, in_length, place; /* place: in the heap of timers; -1: none is set */
    int64_t due;
    int count, every_ms, stream;
    struct { char id[32]; int64_t received, count, sent[TOKENS]; } record;
    char in[IN_BYTES + 1];
};

static struct connection *all[CONNECTIONS], *heap[CONNECTIONS];
static int timers;
static FILE *ledger;
static volatile sig_atomic_t over;
static char out[OUT_BYTES];

static void leave(int signal_number) { (void)signal_number; over = 1; }

static void must(int good, const char *what) {
    if (!good) { perror(what); exit(1); }
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Timers: a binary heap, the earliest on top. */
static void put(int place, struct connection *c) { heap[place] = c; c->place = place; }

static void settle(int place, struct connection *c) {
    while (place && heap[(place - 1) / 2]->due > c->due) {
        put(place, heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (int below; (below = 2 * place + 1) < timers; place = below) {
        if (below + 1 < timers && heap[below + 1]->due < heap[below]->due) below++;
        if (heap[below]->due >= c->due) break;
        put(place, heap[below]);
    }
    put(place, c);
}

static void arm(struct connection *c, int64_t due) {
    c->due = due;
    settle(timers++, c);
}

static void disarm(struct connection *c) {
    int place = c->place;
    if (place < 0) return;
    c->place = -1;
    struct connection *last = heap[--timers];
    if (last != c) settle(place, last);
}

/* Bodies. */
static int chunk(char *to, const char *data) { return sprintf(to, "%zx\r\n%s\r\n", strlen(data), data); }

static int event(char *to, const char *choices, const char *usage) {
    char data[512];
    snprintf(data, sizeof data,
             "data: {\"id\":\"chatcmpl-7d1f0a9c2b3e4f5a6b7c8d9e\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
             "\"model\":\"tiny\",\"system_fingerprint\":null,\"choices\":[%s]%s}\n\n", choices, usage);
    return chunk(to, data);
}

static int first(char *to) {
    int n = sprintf(to, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                        "x-litellm-model-group: tiny\r\nTransfer-Encoding: chunked\r\n\r\n");
    return n + event(to + n, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}", "");
}

static int token(char *to) {
    return event(to, "{\"index\":0,\"delta\":{\"content\":\" word\"},\"logprobs\":null,\"finish_reason\":null}", "");
}

static int last(char *to, int count) {
    char usage[128];
    snprintf(usage, sizeof usage, ",\"usage\":{\"prompt_tokens\":60,\"completion_tokens\":%d,\"total_tokens\":%d}", count, count + 60);
    int n = event(to, "{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}", "");
    n += event(to + n, "", usage);
    n += chunk(to + n, "data: [DONE]\n\n");
    return n + sprintf(to + n, "0\r\n\r\n");
}

static int plain(char *to, int count) {
    char body[512];
    int n = snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-7d1f0a9c2b3e4f5a6b7c8d9e\",\"object\":\"chat.completion\",\"created\":1764000000,\"model\":\"tiny\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"word word word\"},\"finish_reason\":\"length\"}],"
        "\"usage\":{\"prompt_tokens\":60,\"completion_tokens\":%d,\"total_tokens\":%d}}", count, count + 60);
    return sprintf(to, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-litellm-model-group: tiny\r\n"
                       "Content-Length: %d\r\n\r\n%s", n, body);
}

static void drop(struct connection *c) {
    disarm(c);
    close(c->fd);
    all[c->fd] = NULL;
    free(c);
}

/* Send what is due on a connection. 0: it was lost, or its client reads too slowly for true send times. */
static int speak(struct connection *c) {
    int n = 0, done = c->record.count, upto = c->every_ms && c->stream ? done + 1 : c->count;
    if (!c->stream) n = plain(out, c->count);
    else {
        if (!done) n = first(out);
        for (int i = done; i < upto; i++) n += token(out + n);
        if (upto == c->count) n += last(out + n, c->count);
    }
    int64_t at = now();
    for (int i = done; i < upto; i++) c->record.sent[i] = at;
    c->record.count = upto;
    if (send(c->fd, out, n, MSG_NOSIGNAL) != n) return 0;
    if (upto < c->count) arm(c, c->due + c->every_ms * 1000000LL);
    else fwrite(&c->record, (char *)&c->record.sent[upto] - (char *)&c->record, 1, ledger);
    return 1;
}

/* Begin the answer to a whole request. 0: the request is not valid. */
static int take(struct connection *c) {
    char *end = strstr(c->in, "\r\n\r\n"), *length, *id;
    int after_ms, bytes;
    if (c->place >= 0) return 1; /* still answering */
    if (!end) return c->in_length < IN_BYTES;
    length = strcasestr(c->in, "\ncontent-length:");
    bytes = (int)(end - c->in) + 4 + (length && length < end ? atoi(length + 16) : 0);
    if (c->in_length < bytes) return bytes <= IN_BYTES;
    if (sscanf(c->in, "POST /%dx%d+%d/", &c->count, &c->every_ms, &after_ms) != 3 || c->count < 1 || c->count > TOKENS) return 0;
    memset(c->record.id, 0, sizeof c->record.id);
    if ((id = strcasestr(c->in, "\nx-request-id:")) && id < end) sscanf(id + 14, " %31[^\r\n]", c->record.id);
    c->record.received = now();
    c->record.count = 0;
    char kept = c->in[bytes];
    c->in[bytes] = 0;
    c->stream = !strstr(end, "\"stream\": false");
    c->in[bytes] = kept;
    memmove(c->in, c->in + bytes, c->in_length - bytes + 1);
    c->in_length -= bytes;
    arm(c, c->record.received + after_ms * 1000000LL + (int64_t)(c->every_ms * 1e6 * drand48()));
    return 1;
}

static int hear(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->in_length, IN_BYTES - c->in_length, 0);
    if (n < 0 && errno == EAGAIN) return 1;
    if (n <= 0) return 0;
    c->in[c->in_length += (int)n] = 0;
    return take(c);
}

static void welcome(int listener, int poll) {
    int fd, one = 1, bytes = OUT_BYTES;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= CONNECTIONS || !(all[fd] = calloc(1, sizeof **all))) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        all[fd]->fd = fd;
        all[fd]->place = -1;
        must(!epoll_ctl(poll, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {.fd = fd}}), "epoll_ctl");
    }
}

int main(int argc, char **argv) {
    must(argc == 2 && (ledger = fopen(argv[1], "wb")), "truth_server LEDGER");
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = leave}, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    must(!bind(listener, (struct sockaddr *)&address, size) && !listen(listener, 4096), "listen");
    must(!getsockname(listener, (struct sockaddr *)&address, &size), "getsockname");
    must(!epoll_ctl(poll, EPOLL_CTL_ADD, listener, &(struct epoll_event){EPOLLIN, {.fd = listener}}), "epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    struct epoll_event events[EVENTS];
    while (!over) {
        int64_t left = timers ? heap[0]->due - now() : 1000000000LL;
        if (left < 0) left = 0;
        int n = epoll_pwait2(poll, events, EVENTS, &(struct timespec){left / 1000000000LL, left % 1000000000LL}, NULL);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) welcome(listener, poll);
            else if (all[fd] && !hear(all[fd])) drop(all[fd]);
        }
        for (int64_t at = now(); timers && heap[0]->due <= at;) {
            struct connection *c = heap[0];
            disarm(c);
            if (!speak(c) || !take(c)) drop(c);
        }
    }
    fclose(ledger);
    return 0;
}
