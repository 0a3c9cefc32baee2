/* Operations: one at a time for a pod, so that no step ever sees another's half-done work. */
#include "oci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int oci_code(int e)
{
    switch (-e) {
    case 0:
        return 0;
    case ENOENT:
        return NEAP_ENOTFOUND;
    case ENOSPC:
    case EDQUOT:
        return NEAP_ENOSPACE;
    case ETIMEDOUT:
        return NEAP_ETIMEOUT;
    case EINVAL:
        return NEAP_EINVALID;
    default:
        return NEAP_EIO;
    }
}

struct oci_task *oci_task_new(struct oci *o, struct neap_op *op, const char *key, const char *id,
                              void (*run)(struct oci_task *t))
{
    struct oci_task *t = oci_alloc(sizeof *t);
    t->o = o;
    t->op = op;
    t->key = oci_strdup(key);
    t->id = oci_strdup(id);
    t->run = run;
    return t;
}

static void task_free(struct oci_task *t)
{
    free(t->key);
    free(t->id);
    free(t->message);
    free(t->extra);
    free(t->out);
    free(t);
}

static void run_now(void *arg)
{
    struct oci_task *t = arg;
    if (t->op && (t->o->stopping || t->op->cancelled)) {
        oci_task_fail(t, NEAP_ECANCELLED, "cancelled");
        oci_task_finish(t);
        return;
    }
    t->run(t);
}

static void start_next(struct oci *o, const char *key)
{
    for (struct oci_task *t = o->tasks; t; t = t->next) {
        if (strcmp(t->key, key))
            continue;
        if (!t->running) {
            t->running = true;
            o->host->loop->post(o->host->ctx, run_now, t);
        }
        return; /* the oldest of this key runs */
    }
}

void oci_task_submit(struct oci_task *t)
{
    struct oci_task **at = &t->o->tasks;
    while (*at)
        at = &(*at)->next;
    *at = t;
    start_next(t->o, t->key);
}

static void on_work(void *arg)
{
    struct oci_task *t = arg;
    t->work(t);
}

static void on_worked(void *arg)
{
    struct oci_task *t = arg;
    t->then(t);
}

void oci_task_work(struct oci_task *t, void (*work)(struct oci_task *),
                   void (*then)(struct oci_task *))
{
    t->work = work;
    t->then = then;
    t->o->host->loop->work(t->o->host->ctx, on_work, on_worked, t);
}

/* The last line of what a program complained. */
static char *last_line(const char *p, size_t n)
{
    while (n && (p[n - 1] == '\n' || p[n - 1] == ' '))
        n--;
    size_t start = n;
    while (start && p[start - 1] != '\n')
        start--;
    return n > start ? oci_printf("%.*s", (int)(n - start > 1000 ? 1000 : n - start), p + start)
                     : NULL;
}

static void on_child(void *arg, const struct neap_host_child_result *r)
{
    struct oci_task *t = arg;
    t->status = r->status;
    free(t->out);
    t->out = oci_printf("%.*s", (int)r->out_len, r->out ? r->out : "");
    if (r->status != 0) {
        char *line = last_line(r->err, r->err_len);
        if (line)
            oci_task_fail(t, NEAP_EINTERNAL, "%s", line);
        else if (r->status < 0)
            oci_task_fail(t, NEAP_EINTERNAL, "could not start: %s", strerror(-r->status));
        else
            oci_task_fail(t, NEAP_EINTERNAL, "ended with code %d", r->status);
        free(line);
    }
    t->then(t);
}

void oci_task_child(struct oci_task *t, const char *const *argv, const char *input, int timeout_ms,
                    void (*then)(struct oci_task *))
{
    t->then = then;
    t->o->host->loop->child(t->o->host->ctx, argv, input, input ? strlen(input) : 0,
                            (uint64_t)timeout_ms, on_child, t);
}

static void on_reply(void *arg, int code, const char *message, yyjson_val *root)
{
    struct oci_task *t = arg;
    if (code)
        oci_task_fail(t, code, "%s", message ? message : "the shim refused");
    t->then(t);
}

void oci_task_request(struct oci_task *t, struct oci_link *l, yyjson_mut_doc *d,
                      void (*then)(struct oci_task *))
{
    t->then = then;
    if (l) {
        oci_link_request(l, d, on_reply, t);
        return;
    }
    yyjson_mut_doc_free(d);
    oci_task_fail(t, NEAP_EUNAVAILABLE, "the pod's shim is gone");
    then(t);
}

void oci_task_fail(struct oci_task *t, int code, const char *fmt, ...)
{
    va_list ap;
    free(t->message);
    va_start(ap, fmt);
    if (vasprintf(&t->message, fmt, ap) < 0)
        abort();
    va_end(ap);
    t->code = code;
}

static void check_stopped(struct oci *o)
{
    if (!o->stop_op || o->tasks)
        return;
    struct neap_op *op = o->stop_op;
    o->stop_op = NULL;
    op->done(op, 0, NULL);
}

static void finish(void *arg)
{
    struct oci_task *t = arg;
    struct oci *o = t->o;
    for (struct oci_task **at = &o->tasks; *at; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    start_next(o, t->key);
    if (t->op)
        t->op->done(t->op, t->code, t->code ? t->message : NULL);
    task_free(t);
    check_stopped(o);
}

void oci_task_finish(struct oci_task *t)
{
    t->o->host->loop->post(t->o->host->ctx, finish, t);
}
