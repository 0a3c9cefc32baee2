/* The error type: see neap/err.h. */
#include <neap/err.h>

#include <errno.h>
#include <neap/base.h>

struct code_fact {
    int http;
    const char *reason, *name;
};

static const struct code_fact facts[NEAP_ERR_N_END] = {[0] = {200, "", "OK"},
#define X(name, http, reason) [NEAP_ERR_N_##name] = {http, reason, #name},
                                                       NEAP_ERR_CODES(X)
#undef X
};

static const struct code_fact *fact_of(int code)
{
    int n = -code;
    return n < 0 || n >= NEAP_ERR_N_END ? &facts[NEAP_ERR_N_INTERNAL] : &facts[n];
}

int neap_err_http_status(int code)
{
    return fact_of(code)->http;
}

const char *neap_err_reason(int code)
{
    return fact_of(code)->reason;
}

const char *neap_err_name(int code)
{
    return fact_of(code)->name;
}

static char *format(const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        return neap_strdup(fmt);
    return text;
}

void neap_err_done(struct neap_err *err)
{
    if (!err)
        return;
    for (unsigned i = 0; i < err->cause_count; i++) {
        free(err->causes[i].reason);
        free(err->causes[i].message);
        free(err->causes[i].field);
    }
    free(err->causes);
    free(err->message);
    free(err->details.name);
    free(err->details.group);
    free(err->details.kind);
    free(err->details.uid);
    *err = (struct neap_err)NEAP_ERR_INIT;
}

int neap_err_vset(struct neap_err *err, int code, const char *fmt, va_list ap)
{
    if (!err)
        return code;
    char *text = format(fmt, ap); /* before done: arguments may point into err */
    neap_err_done(err);
    err->code = code;
    err->message = text;
    return code;
}

int neap_err_set(struct neap_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    neap_err_vset(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int neap_err_wrap(struct neap_err *err, const char *fmt, ...)
{
    if (!err)
        return NEAP_EINTERNAL;
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    char *whole = neap_asprintf("%s: %s", text, err->message ? err->message : "");
    free(text);
    free(err->message);
    err->message = whole;
    return err->code;
}

int neap_err_cause(struct neap_err *err, const char *reason, const char *field, const char *fmt,
                   ...)
{
    if (!err)
        return NEAP_EINVALID;
    if (!err->code)
        err->code = NEAP_EINVALID;
    if (err->cause_count == NEAP_ERR_CAUSES_MAX)
        return err->code;
    if ((err->cause_count & (err->cause_count - 1)) == 0) { /* 0, 1, 2, 4, ...: grow */
        size_t cap = err->cause_count ? 2 * (size_t)err->cause_count : 1;
        err->causes = neap_realloc(err->causes, cap * sizeof(*err->causes));
    }
    va_list ap;
    va_start(ap, fmt);
    struct neap_cause *c = &err->causes[err->cause_count++];
    c->reason = neap_strdup(reason);
    c->field = field ? neap_strdup(field) : NULL;
    c->message = format(fmt, ap);
    va_end(ap);
    return err->code;
}

static void replace(char **slot, const char *value)
{
    if (!value)
        return;
    char *copy = neap_strdup(value);
    free(*slot);
    *slot = copy;
}

void neap_err_about(struct neap_err *err, const char *group, const char *kind, const char *name)
{
    if (!err)
        return;
    replace(&err->details.group, group);
    replace(&err->details.kind, kind);
    replace(&err->details.name, name);
}

int neap_err_move(struct neap_err *to, struct neap_err *from)
{
    int code = from->code;
    if (to) {
        neap_err_done(to);
        *to = *from;
        *from = (struct neap_err)NEAP_ERR_INIT;
    } else {
        neap_err_done(from);
    }
    return code;
}

int neap_err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return NEAP_OK;
    case ENOSPC:
    case EDQUOT:
        return NEAP_ENOSPACE;
    case ENOENT:
    case ESRCH:
        return NEAP_ENOTFOUND;
    case EEXIST:
        return NEAP_EALREADYEXISTS;
    case EACCES:
    case EPERM:
        return NEAP_EFORBIDDEN;
    case EAGAIN:
        return NEAP_EAGAIN;
    case ETIMEDOUT:
        return NEAP_ETIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
        return NEAP_EUNAVAILABLE;
    case ECANCELED:
        return NEAP_ECANCELLED;
    default:
        return NEAP_EIO;
    }
}

int neap_err_errno(struct neap_err *err, int errnum, const char *fmt, ...)
{
    int code = neap_err_from_errno(errnum);
    if (!err)
        return code;
    va_list ap;
    va_start(ap, fmt);
    neap_err_vset(err, code, fmt, ap);
    va_end(ap);
    char *whole = neap_asprintf("%s: %s", err->message, strerrordesc_np(errnum));
    free(err->message);
    err->message = whole;
    return code;
}
