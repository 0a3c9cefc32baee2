/* Base64 of websocket subprotocols (RFC 4648). */
#ifndef NEAP_API_HTTP_BASE64_H
#define NEAP_API_HTTP_BASE64_H

#include <neap/buf.h>

void http_base64_encode(struct neap_buf *out, const void *data, size_t len);
/* Padding may be absent. False: not base64 (what <out> holds then is of no use). */
bool http_base64_decode(struct neap_buf *out, const char *text, size_t len);
bool http_base64url_decode(struct neap_buf *out, const char *text, size_t len);

#endif
