/* Continue tokens: where the next page of a list starts, and in which snapshot. */
#ifndef NEAP_API_REST_TOKEN_H
#define NEAP_API_REST_TOKEN_H

#include "internal.h"

struct rest_token {
    uint64_t revision; /* 0: the newest */
    const char *key;   /* after it; in the call's arena; NULL: from the start */
    int64_t remaining; /* objects behind it; -1: not known */
};
/* Unpadded base64url of JSON. */
void rest_token_write(struct neap_buf *out, uint64_t revision, const char *key, int64_t remaining);
/* NULL or "": an empty token. errors: NEAP_EBADREQUEST; a key outside what is listed is refused. */
int rest_token_parse(struct neap_call *c, const char *text, struct rest_token *ret,
                     struct neap_err *err);

#endif
