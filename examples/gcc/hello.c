/* Answers every HTTP request with a greeting. */
#define _POSIX_C_SOURCE 200809L
#include "greeting.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *variable(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static void answer(struct evhttp_request *request, void *unused)
{
    (void)unused;
    struct passwd *who = getpwuid(getuid());
    char *text = greeting(variable("NAME", "world"), who ? who->pw_name : "unknown");
    if (!text) {
        evhttp_send_error(request, HTTP_INTERNAL, NULL);
        return;
    }
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evbuffer_add_printf(evhttp_request_get_output_buffer(request), "%s\n", text);
    free(text);
    evhttp_send_reply(request, HTTP_OK, NULL, NULL);
}

static void end(evutil_socket_t number, short what, void *loop)
{
    (void)number, (void)what;
    event_base_loopexit(loop, NULL);
}

int main(void)
{
    int port = atoi(variable("PORT", "8080"));
    struct event_base *loop = event_base_new();
    struct evhttp *server = loop ? evhttp_new(loop) : NULL;
    if (!server || evhttp_bind_socket(server, "0.0.0.0", (ev_uint16_t)port) != 0) {
        fprintf(stderr, "cannot listen on port %d\n", port);
        return EXIT_FAILURE;
    }
    struct event *term = evsignal_new(loop, SIGTERM, end, loop), *interrupt = evsignal_new(loop, SIGINT, end, loop);
    event_add(term, NULL);
    event_add(interrupt, NULL);
    evhttp_set_gencb(server, answer, NULL);
    fprintf(stderr, "listening on port %d\n", port);
    event_base_dispatch(loop);
    evhttp_free(server);
    event_free(term);
    event_free(interrupt);
    event_base_free(loop);
    return EXIT_SUCCESS;
}
