/* The one error type, end to end: a code, a message, and the causes (field by field) that a
 * Kubernetes Status shows. It is made where the failure is seen, wrapped on the way up, and becomes
 * a Status or a log line once, at the top.
 *
 * Conventions (everywhere in neap):
 *  - a function that can fail returns 0 or a negative NEAP_E* and takes `struct neap_err *err` last;
 *  - success leaves `err` untouched; start with `struct neap_err err = NEAP_ERR_INIT;`
 *  - `err` may be NULL only where the function's comment says so.
 *
 * Source of codes and reasons: Kubernetes API conventions, "Response Status Kind". */
#ifndef NEAP_ERR_H
#define NEAP_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* name, HTTP status, Kubernetes reason ("" has none) */
#define NEAP_ERR_CODES(X)                                                                          \
    X(BADREQUEST, 400, "BadRequest")                                                               \
    X(UNAUTHORIZED, 401, "Unauthorized")                                                           \
    X(FORBIDDEN, 403, "Forbidden")                                                                 \
    X(NOTFOUND, 404, "NotFound")                                                                   \
    X(METHODNOTALLOWED, 405, "MethodNotAllowed")                                                   \
    X(NOTACCEPTABLE, 406, "NotAcceptable")                                                         \
    X(ALREADYEXISTS, 409, "AlreadyExists")                                                         \
    X(CONFLICT, 409, "Conflict")                                                                   \
    X(GONE, 410, "Gone")                                                                           \
    X(EXPIRED, 410, "Expired")                                                                     \
    X(TOOLARGE, 413, "RequestEntityTooLarge")                                                      \
    X(UNSUPPORTEDMEDIATYPE, 415, "UnsupportedMediaType")                                           \
    X(INVALID, 422, "Invalid")                                                                     \
    X(TOOMANYREQUESTS, 429, "TooManyRequests")                                                     \
    X(INTERNAL, 500, "InternalError")                                                              \
    X(UNAVAILABLE, 503, "ServiceUnavailable")                                                      \
    X(TIMEOUT, 504, "Timeout")                                                                     \
    X(NOSPACE, 507, "InsufficientStorage")                                                         \
    X(PLAIN, 500, "")                                                                              \
    /* never leave the process */                                                                  \
    X(IO, 500, "InternalError")                                                                    \
    X(CANCELLED, 500, "InternalError")                                                             \
    X(NOTSUPPORTED, 500, "InternalError")                                                          \
    X(AGAIN, 500, "InternalError")                                                                 \
    X(CONFIG, 500, "InternalError")

enum neap_err_code {
    NEAP_OK = 0,
#define X(name, http, reason) NEAP_ERR_N_##name,
    NEAP_ERR_CODES(X)
#undef X
        NEAP_ERR_N_END
};
enum {
#define X(name, http, reason) NEAP_E##name = -(int)NEAP_ERR_N_##name,
    NEAP_ERR_CODES(X)
#undef X
};

struct neap_cause {
    char *reason; /* a Kubernetes cause type: FieldValueInvalid, FieldValueRequired, ... */
    char *message;
    char *field; /* "spec.containers[0].name"; NULL: none */
};

/* What a Status says of the object it is about; owned strings, NULL: absent. */
struct neap_err_details {
    char *name, *group, *kind, *uid;
    int retry_after_s;
};

struct neap_err {
    int code; /* 0 or NEAP_E* */
    char *message;
    struct neap_cause *causes;
    unsigned cause_count;
    struct neap_err_details details;
};
#define NEAP_ERR_INIT                                                                              \
    {                                                                                              \
        0                                                                                          \
    }

/* Sets <err> (releasing what it held) and returns <code>, so `return neap_err_set(err, ...)` reads
 * well. <err> may be NULL: only the code is returned. thread: any. */
int neap_err_set(struct neap_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int neap_err_vset(struct neap_err *err, int code, const char *fmt, va_list ap);

/* Puts "<text>: " before the message; returns the code that <err> holds. <err> may be NULL
 * (then NEAP_EINTERNAL is returned). */
int neap_err_wrap(struct neap_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds a cause. An <err> without a code becomes NEAP_EINVALID. At most NEAP_ERR_CAUSES_MAX are kept.
 * <field> may be NULL. Returns the code. */
#define NEAP_ERR_CAUSES_MAX 256
int neap_err_cause(struct neap_err *err, const char *reason, const char *field, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));

/* Details of the Status; copies its arguments, NULL keeps what is there. */
void neap_err_about(struct neap_err *err, const char *group, const char *kind, const char *name);

/* Moves <from> into <to> (releasing what it held); <from> is empty after. Returns the code. */
int neap_err_move(struct neap_err *to, struct neap_err *from);
/* Releases; <err> is as after NEAP_ERR_INIT. Accepts NULL. */
void neap_err_done(struct neap_err *err);

/* Facts of a code; unknown codes answer as NEAP_EINTERNAL. */
int neap_err_http_status(int code);
const char *neap_err_reason(int code);
const char *neap_err_name(int code);
/* The code for an errno value: ENOSPC NEAP_ENOSPACE, ENOENT NEAP_ENOTFOUND, ... else NEAP_EIO. */
int neap_err_from_errno(int errnum);
/* neap_err_set(code of errnum, "<text>: strerror"). */
int neap_err_errno(struct neap_err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define NEAP_CLEANUP_ERR __attribute__((cleanup(neap_err_done)))

#endif
