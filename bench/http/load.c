/* Sends requests over keep-alive connections, one at a time on each, and keeps every response.

   load PORT CONNECTIONS MILLISECONDS REQUESTS PLAN RESPONSES

   PLAN holds lengths of four bytes, each followed by as many bytes: the text that stands before the
   number in a response, then for each key its request and what its response has to contain. The
   keys come in turn, until the time is over or so many requests are sent. RESPONSES gets six
   integers of eight bytes for each request: connection, key, number, fault, and the nanoseconds
   when it was sent and when its response was there. At the end the requests in flight are waited
   for. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 18)
#define DRAIN_NANOSECONDS 10000000000

/* As `Fault` in load.py. */
enum { NONE, REFUSED, OTHER, BROKEN, UNKNOWN };

typedef struct {
    char *bytes;
    uint32_t length;
} Text;

typedef struct {
    Text request, expected;
} Key;

typedef struct {
    int64_t connection, key, number, fault, began, ended;
} Response;

typedef struct {
    int descriptor, waits;
    uint32_t received;
    Response response;
    char buffer[BUFFER + 1];
} Connection;

static Text marker;
static Key *keys;
static uint32_t key_count;
static Response *responses;
static size_t response_count, response_space;
static int64_t sent;
static int shown;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void *checked(void *pointer) {
    if (pointer == NULL) err(1, "memory");
    return pointer;
}

static int read_text(FILE *file, Text *text) {
    if (fread(&text->length, 4, 1, file) != 1) return 0;
    text->bytes = checked(malloc(text->length + 1));
    if (fread(text->bytes, 1, text->length, file) != text->length) errx(1, "a plan cut short");
    return 1;
}

static void read_plan(const char *path) {
    FILE *file = checked(fopen(path, "r"));
    Key key;
    read_text(file, &marker);
    while (read_text(file, &key.request) && read_text(file, &key.expected)) {
        keys = checked(realloc(keys, (key_count + 1) * sizeof key));
        keys[key_count++] = key;
    }
    fclose(file);
    if (!key_count) errx(1, "a plan without requests");
}

static void keep(Connection *connection, int fault) {
    if (response_count == response_space) {
        response_space = response_space ? 2 * response_space : 1 << 18;
        responses = checked(realloc(responses, response_space * sizeof *responses));
    }
    connection->response.fault = fault;
    connection->response.ended = now();
    connection->waits = 0;
    responses[response_count++] = connection->response;
    if (fault && !shown++)
        fprintf(stderr, "the first fault: %.*s\n", (int)connection->received, connection->buffer);
}

static void lose(Connection *connection, int fault) {
    keep(connection, fault);
    close(connection->descriptor);
    connection->descriptor = -1;
}

static void send_next(Connection *connection) {
    uint32_t key = sent++ % key_count;
    Text request = keys[key].request;
    connection->response.key = key;
    connection->response.number = 0;
    connection->response.began = now();
    connection->received = 0;
    connection->waits = 1;
    if (send(connection->descriptor, request.bytes, request.length, MSG_NOSIGNAL) != request.length)
        lose(connection, BROKEN);
}

/* The number behind the last marker. */
static int find_number(Connection *connection, const char *body) {
    for (const char *at = connection->buffer + connection->received - marker.length; at >= body; at--)
        if (!memcmp(at, marker.bytes, marker.length)) {
            connection->response.number = strtoll(at + marker.length, NULL, 10);
            return 1;
        }
    return 0;
}

/* Whether the whole response is there; then its fault is known. */
static int is_whole(Connection *connection, int *fault) {
    char *buffer = connection->buffer;
    buffer[connection->received] = 0;
    char *body = strstr(buffer, "\r\n\r\n");
    if (body == NULL) return 0;
    *body = 0;
    char *length = strcasestr(buffer, "\r\ncontent-length:");
    *body = '\r';
    body += 4;
    *fault = OTHER;
    if (length == NULL) return 1;
    int64_t wanted = atoll(length + 17);
    int64_t present = buffer + connection->received - body;
    if (present < wanted && body - buffer + wanted <= BUFFER) return 0;
    Text expected = keys[connection->response.key].expected;
    if (strncmp(buffer, "HTTP/1.1 2", 10))
        *fault = REFUSED;
    else if (present == wanted && memmem(body, wanted, expected.bytes, expected.length) != NULL)
        *fault = marker.length && !find_number(connection, body) ? OTHER : NONE;
    return 1;
}

static void receive(Connection *connection) {
    uint32_t received = connection->received;
    int fault;
    ssize_t count = recv(connection->descriptor, connection->buffer + received, BUFFER - received, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return lose(connection, BROKEN);
    connection->received += count;
    if (is_whole(connection, &fault)) keep(connection, fault);
}

static void open_connection(Connection *connection, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->descriptor = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->descriptor, (struct sockaddr *)&address, sizeof address))
        err(1, "connect");
}

int main(int count, char **arguments) {
    if (count != 7) errx(2, "PORT CONNECTIONS MILLISECONDS REQUESTS PLAN RESPONSES");
    int size = atoi(arguments[2]), poll = epoll_create1(0), waiting = 0;
    Connection *connections = checked(calloc(size, sizeof *connections));
    struct epoll_event *events = checked(calloc(size, sizeof *events));
    read_plan(arguments[5]);
    for (int i = 0; i < size; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        connections[i].response.connection = i;
        open_connection(&connections[i], atoi(arguments[1]));
        epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].descriptor, &event);
    }
    int64_t end = now() + atoll(arguments[3]) * 1000000, most = atoll(arguments[4]);
    for (int i = 0; i < size && sent < most; i++) {
        send_next(&connections[i]);
        waiting += connections[i].waits;
    }
    while (waiting) {
        int ready = epoll_wait(poll, events, size, 1000);
        int64_t time = now();
        if (time > end + DRAIN_NANOSECONDS) break;
        for (int i = 0; i < ready; i++) {
            Connection *connection = events[i].data.ptr;
            if (connection->descriptor < 0 || !connection->waits) continue;
            receive(connection);
            if (connection->waits) continue;
            if (connection->descriptor >= 0 && time < end && sent < most) send_next(connection);
            waiting -= !connection->waits;
        }
    }
    for (int i = 0; i < size; i++)
        if (connections[i].waits) keep(&connections[i], UNKNOWN);
    FILE *file = checked(fopen(arguments[6], "w"));
    if (fwrite(responses, sizeof *responses, response_count, file) != response_count || fclose(file))
        err(1, "%s", arguments[6]);
}
