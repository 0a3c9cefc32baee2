/* Between server.c and conn.c. */
#ifndef NEAP_API_HTTP_CONN_H
#define NEAP_API_HTTP_CONN_H

#include "http_internal.h"
#include <sys/socket.h>

void http_conn_new(struct neap_http_server *s, int fd, const struct sockaddr_storage *from);
void http_conn_tick(struct http_conn *c, int64_t now);
void http_conn_drain(struct http_conn *c);
void http_server_conn_gone(struct neap_http_server *s);

#endif
