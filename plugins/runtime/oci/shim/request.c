/* The verbs. Each is repeatable: asked twice it answers as if it had been asked once. */
#include "shim.h"

#include <neap/err.h> /* the codes only */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV_MAX 64

/* What a command's end needs; owned by the command. */
struct call {
    struct process *p; /* busy: alive */
    uint64_t client;
    int64_t seq;
    char prefix[OCI_PATH_MAX]; /* of the files that the command was given */
};

static const char *str(yyjson_val *root, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(root, key));
}

static bool flag(yyjson_val *root, const char *key)
{
    return yyjson_get_bool(yyjson_obj_get(root, key));
}

static int64_t num(yyjson_val *root, const char *key)
{
    return yyjson_get_sint(yyjson_obj_get(root, key));
}

static struct client *client_by_number(struct shim *s, uint64_t number)
{
    for (struct client *c = s->clients; c; c = c->next)
        if (c->number == number)
            return c;
    return NULL;
}

static void argv_free(char **argv)
{
    for (char **a = argv; a && *a; a++)
        free(*a);
    free(argv);
}

/* "@pid", "@log", "@process" become files beside <prefix>; "@console" the terminal's socket. */
static char *argument(const char *s, const char *prefix, const char *console)
{
    if (!strcmp(s, "@console"))
        return oci_strdup(console ? console : "");
    if (s[0] == '@')
        return oci_printf("%s%s", prefix, s + 1);
    return oci_strdup(s);
}

static char **argv_get(yyjson_val *root, const char *prefix, const char *console)
{
    yyjson_val *list = yyjson_obj_get(root, "argv"), *v;
    size_t n = yyjson_arr_size(list), i, max;
    if (!n || n > ARGV_MAX)
        return NULL;
    char **argv = oci_alloc((n + 1) * sizeof *argv);
    yyjson_arr_foreach(list, i, max, v)
    {
        const char *s = yyjson_get_str(v);
        if (!s || (i == 0 && s[0] != '/')) {
            argv_free(argv);
            return NULL;
        }
        argv[i] = argument(s, prefix, console);
    }
    return argv;
}

/* The last line that the runtime logged, without its time; owned. */
static char *why(const char *prefix, int status)
{
    char *path = oci_printf("%slog", prefix), *text = NULL, *ret = NULL;
    if (!oci_read_file(path, 1u << 20, &text, NULL)) {
        size_t n = strlen(text);
        while (n && text[n - 1] == '\n')
            text[--n] = 0;
        char *line = strrchr(text, '\n');
        line = line ? line + 1 : text;
        char *msg = strstr(line, "msg=\"");
        char *after = strstr(line, "Z: ");
        if (*line)
            ret = oci_strdup(msg ? msg + 5 : after ? after + 3 : line);
        size_t m = ret ? strlen(ret) : 0;
        if (msg && m && ret[m - 1] == '"')
            ret[m - 1] = 0;
    }
    free(text);
    free(path);
    if (!ret && WIFEXITED(status))
        ret = oci_printf("the runtime ended with code %d", WEXITSTATUS(status));
    return ret ? ret : oci_printf("the runtime was killed by signal %d", WTERMSIG(status));
}

static int run(struct process *p, struct client *c, int64_t seq, char **argv, const char *prefix,
               bool hide, void (*done)(struct command *, int))
{
    struct call *call = oci_alloc(sizeof *call);
    *call = (struct call){.p = p, .client = c ? c->number : 0, .seq = seq};
    strncpy(call->prefix, prefix, sizeof call->prefix - 1);
    struct command_options o = {.argv = argv,
                                .stdio = {p->child_end[0], p->child_end[1], p->child_end[2]},
                                .hide_unified = hide};
    char *log = oci_printf("%slog", prefix);
    unlink(log);
    free(log);
    int r = shim_command(p->shim, &o, done, call);
    if (r < 0)
        free(call);
    else
        p->busy++;
    return r;
}

static void answer(struct call *call, int code, const char *message)
{
    shim_client_reply(client_by_number(call->p->shim, call->client), call->seq, code, message);
}

/* ---- create */
static void created(struct command *c, int status)
{
    struct call *call = c->arg;
    struct process *p = call->p;
    p->busy--;
    shim_process_child_ends(p);
    int r = status ? -EIO : shim_process_read_pid(p);
    if (!r) {
        p->state = SHIM_CREATED;
        p->created = oci_now_wall();
        r = shim_process_record(p);
    }
    if (!r) {
        answer(call, 0, NULL);
        return;
    }
    char *text = status ? why(call->prefix, status) : oci_printf("%s", strerror(-r));
    answer(call, r == -ENOSPC ? NEAP_ENOSPACE : NEAP_EINTERNAL, text);
    free(text);
    if (p->pid_known)
        kill(p->pid, SIGKILL);
    shim_process_free(p);
}

static void do_create(struct client *c, int64_t seq, yyjson_val *root)
{
    const char *id = str(root, "id"), *dir = str(root, "dir"), *log = str(root, "log");
    if (!oci_id_ok(id) || !dir || dir[0] != '/' || strlen(dir) > OCI_PATH_MAX / 2) {
        shim_client_reply(c, seq, NEAP_EBADREQUEST, "create: id or dir");
        return;
    }
    if (shim_process_find(c->shim, id)) {
        shim_client_reply(c, seq, 0, NULL);
        return;
    }
    struct process *p = shim_process_new(c->shim, false, id);
    p->dir = oci_strdup(dir);
    p->oom_file = oci_strdup(str(root, "oom_file"));
    p->tty = flag(root, "tty");
    p->stdin_once = flag(root, "stdin_once");
    char *prefix = oci_printf("%s/runtime.", dir), *console = NULL;
    p->pid_file = oci_printf("%spid", prefix);
    unlink(p->pid_file);
    int r = log ? shim_log_open(&p->log, log, num(root, "log_max_bytes"),
                                (unsigned)num(root, "log_max_files"))
                : 0;
    if (!r)
        r = shim_process_stdio(p, flag(root, "stdin"), true, &console);
    char **argv = argv_get(root, prefix, console);
    if (!r)
        r = argv ? run(p, c, seq, argv, prefix, flag(root, "hide_unified"), created) : -EINVAL;
    argv_free(argv);
    free(prefix);
    free(console);
    if (r < 0) {
        shim_client_reply(c, seq, r == -ENOSPC ? NEAP_ENOSPACE : NEAP_EINTERNAL, strerror(-r));
        shim_process_free(p);
    }
}

/* ---- start */
static void run_delete(struct process *p);

static void started(struct command *c, int status)
{
    struct call *call = c->arg;
    struct process *p = call->p;
    p->busy--;
    if (status) {
        free(p->error);
        p->error = why(call->prefix, status);
        if (p->state != SHIM_EXITED)
            kill(p->pid, SIGKILL);
        answer(call, NEAP_EINTERNAL, p->error);
    } else {
        if (p->state == SHIM_CREATED) { /* it may have ended already */
            p->state = SHIM_RUNNING;
            shim_process_record(p);
        }
        answer(call, 0, NULL);
    }
    if (p->state == SHIM_EXITED && p->delete_argv)
        run_delete(p);
}

static void do_start(struct client *c, int64_t seq, struct process *p, yyjson_val *root)
{
    if (p->state != SHIM_CREATED || p->busy) {
        int code = p->state == SHIM_RUNNING || p->state == SHIM_EXITED ? 0 : NEAP_ECONFLICT;
        shim_client_reply(c, seq, code, code ? "it is not ready to be started" : NULL);
        return;
    }
    char *prefix = oci_printf("%s/runtime.", p->dir);
    char **argv = argv_get(root, prefix, NULL);
    p->started = oci_now_wall();
    int r = argv ? run(p, c, seq, argv, prefix, false, started) : -EINVAL;
    argv_free(argv);
    free(prefix);
    if (r < 0)
        shim_client_reply(c, seq, NEAP_EINTERNAL, strerror(-r));
}

/* ---- delete */
static void deleted(struct command *c, int status)
{
    struct call *call = c->arg;
    struct process *p = call->p;
    p->busy--;
    if (status) {
        char *text = why(call->prefix, status);
        answer(call, NEAP_EINTERNAL, text);
        free(text);
        return;
    }
    answer(call, 0, NULL);
    shim_process_free(p);
}

static void run_delete(struct process *p)
{
    char *prefix = oci_printf("%s/runtime.", p->dir);
    char **argv = p->delete_argv;
    p->delete_argv = NULL;
    struct client *c = client_by_number(p->shim, p->delete_client);
    int r = run(p, c, p->delete_seq, argv, prefix, false, deleted);
    if (r < 0)
        shim_client_reply(c, p->delete_seq, NEAP_EINTERNAL, strerror(-r));
    argv_free(argv);
    free(prefix);
}

static void do_delete(struct client *c, int64_t seq, struct process *p, yyjson_val *root)
{
    char *prefix = oci_printf("%s/runtime.", p->dir);
    char **argv = argv_get(root, prefix, NULL);
    free(prefix);
    if (!argv || p->delete_argv || (p->busy && p->state != SHIM_CREATED)) {
        argv_free(argv);
        shim_client_reply(c, seq, argv ? NEAP_ECONFLICT : NEAP_EBADREQUEST,
                          "delete is under way already");
        return;
    }
    p->delete_argv = argv;
    p->delete_client = c->number;
    p->delete_seq = seq;
    if (p->state == SHIM_EXITED)
        run_delete(p);
    else if (p->pid_known)
        kill(p->pid, SIGKILL); /* goes on when it has been reaped */
}

/* ---- exec */
static void remove_files(const char *prefix)
{
    static const char *const names[] = {"pid", "log", "process"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = oci_printf("%s%s", prefix, names[i]);
        unlink(path);
        free(path);
    }
}

static void exec_ran(struct command *cmd, int status)
{
    struct call *call = cmd->arg;
    struct process *p = call->p;
    struct client *c = client_by_number(p->shim, call->client);
    p->busy--;
    shim_process_child_ends(p);
    int r = status ? -EIO : shim_process_read_pid(p);
    if (!r)
        p->state = SHIM_RUNNING;
    if (!r && p->abandoned)
        kill(p->pid, SIGKILL);
    if (r) {
        char *text = status ? why(call->prefix, status) : oci_strdup("the process has no id");
        shim_client_reply(c, call->seq, NEAP_EINTERNAL, text);
        free(text);
        if (c)
            shim_client_finish(c);
        shim_process_free(p);
    } else {
        shim_client_reply(c, call->seq, 0, NULL);
    }
    remove_files(call->prefix);
}

static int write_process_file(yyjson_val *root, const char *prefix)
{
    size_t n = 0;
    char *text = yyjson_val_write(yyjson_obj_get(root, "process"), 0, &n);
    if (!text)
        return -EINVAL;
    char *path = oci_printf("%sprocess", prefix);
    int r = oci_write_durable(path, text, n);
    free(path);
    free(text);
    return r;
}

static void do_exec(struct client *c, int64_t seq, struct process *container, yyjson_val *root)
{
    if (container->state != SHIM_RUNNING || c->process) {
        shim_client_reply(c, seq, NEAP_ECONFLICT, "the container is not running");
        return;
    }
    struct process *p = shim_process_new(c->shim, true, container->id);
    char *prefix = oci_printf("%s/exec%u.", container->dir, ++c->shim->counter), *console = NULL;
    p->tty = flag(root, "tty");
    p->columns = (unsigned)num(root, "columns");
    p->rows = (unsigned)num(root, "rows");
    p->pid_file = oci_printf("%spid", prefix);
    int r = shim_process_stdio(p, flag(root, "stdin"), true, &console);
    if (!r)
        r = write_process_file(root, prefix);
    char **argv = argv_get(root, prefix, console);
    if (!r)
        r = argv ? run(p, c, seq, argv, prefix, false, exec_ran) : -EINVAL;
    argv_free(argv);
    if (r < 0) {
        remove_files(prefix);
        shim_client_reply(c, seq, NEAP_EINTERNAL, strerror(-r));
        shim_process_free(p);
    } else {
        c->process = p;
        c->stream = true;
        c->gave_stdin = flag(root, "stdin");
        c->wants_out = flag(root, "stdout");
        c->wants_err = flag(root, "stderr");
    }
    free(prefix);
    free(console);
}

/* ---- attach */
static void send_exit(struct client *c, struct process *p)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = shim_process_json(p, d);
    yyjson_mut_obj_add_str(d, o, "event", "exit");
    yyjson_mut_doc_set_root(d, o);
    shim_client_json(c, d);
    shim_client_finish(c);
}

static void do_attach(struct client *c, int64_t seq, struct process *p, yyjson_val *root)
{
    c->stream = true;
    shim_client_reply(c, seq, 0, NULL);
    if (p->state == SHIM_EXITED) {
        send_exit(c, p);
        return;
    }
    c->process = p;
    c->gave_stdin = flag(root, "stdin");
    c->wants_out = flag(root, "stdout");
    c->wants_err = flag(root, "stderr");
    if (num(root, "columns"))
        shim_process_resize(p, (unsigned)num(root, "columns"), (unsigned)num(root, "rows"));
}

void shim_request_exited(struct process *p)
{
    for (struct client *c = p->shim->clients; c; c = c->next) {
        if (c->process != p)
            continue;
        c->process = NULL;
        send_exit(c, p);
    }
    if (p->is_exec)
        shim_process_free(p);
    else if (p->delete_argv && !p->busy)
        run_delete(p);
}

/* An exec ends with the connection that asked for it: nobody else could see its end. */
void shim_request_left(struct client *c)
{
    struct process *p = c->process;
    if (!p)
        return;
    c->process = NULL;
    if (p->is_exec) {
        p->abandoned = true;
        if (p->pid_known)
            kill(p->pid, SIGKILL);
        shim_process_output_resume(p);
    } else if (c->gave_stdin && p->stdin_once) {
        shim_process_close_stdin(p);
    }
}

/* ---- the rest */
static void do_list(struct client *c, int64_t seq)
{
    /* who killed before asking sees the ends */
    shim_reap(c->shim);
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(d), *list = yyjson_mut_arr(d);
    yyjson_mut_doc_set_root(d, o);
    yyjson_mut_obj_add_sint(d, o, "seq", seq);
    yyjson_mut_obj_add_int(d, o, "code", 0);
    for (struct process *p = c->shim->processes; p; p = p->next)
        if (!p->is_exec)
            yyjson_mut_arr_append(list, shim_process_json(p, d));
    yyjson_mut_obj_add_val(d, o, "containers", list);
    shim_client_json(c, d);
}

static void do_signal(struct client *c, int64_t seq, struct process *p, yyjson_val *root)
{
    int n = (int)num(root, "signal");
    int r = 0;
    if (n < 1 || n > 64)
        r = NEAP_EBADREQUEST;
    else if (p->state != SHIM_EXITED && p->pid_known && kill(p->pid, n) < 0 && errno != ESRCH)
        r = NEAP_EINTERNAL;
    shim_client_reply(c, seq, r, r ? "signal" : NULL);
}

/* Requests on a connection that carries an exec or attach. */
static void on_stream(struct client *c, const char *op, yyjson_val *root)
{
    if (!c->process)
        return;
    if (!strcmp(op, "resize"))
        shim_process_resize(c->process, (unsigned)num(root, "columns"),
                            (unsigned)num(root, "rows"));
    else if (!strcmp(op, "close_stdin") && c->gave_stdin)
        shim_process_close_stdin(c->process);
}

typedef void verb(struct client *c, int64_t seq, struct process *p, yyjson_val *root);

static void do_log_reopen(struct client *c, int64_t seq, struct process *p, yyjson_val *root)
{
    int r = shim_log_reopen(&p->log);
    shim_client_reply(c, seq, r ? NEAP_EIO : 0, r ? strerror(-r) : NULL);
}

static const struct {
    const char *name;
    verb *run;
} verbs[] = {{"start", do_start}, {"signal", do_signal}, {"delete", do_delete},
             {"exec", do_exec},   {"attach", do_attach}, {"log_reopen", do_log_reopen}};

void shim_request(struct client *c, yyjson_val *root)
{
    const char *op = str(root, "op"), *id = str(root, "id");
    int64_t seq = num(root, "seq");
    if (!op) {
        shim_client_reply(c, seq, NEAP_EBADREQUEST, "no op");
    } else if (c->stream) {
        on_stream(c, op, root);
    } else if (!strcmp(op, "exit")) {
        shim_client_reply(c, seq, 0, NULL);
        c->shim->quit = true;
    } else if (!strcmp(op, "list")) {
        do_list(c, seq);
    } else if (!strcmp(op, "create")) {
        do_create(c, seq, root);
    } else {
        struct process *p = id ? shim_process_find(c->shim, id) : NULL;
        for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
            if (strcmp(op, verbs[i].name))
                continue;
            if (p)
                verbs[i].run(c, seq, p, root);
            else
                shim_client_reply(c, seq, NEAP_ENOTFOUND, "no such container");
            return;
        }
        shim_client_reply(c, seq, NEAP_ENOTSUPPORTED, "this shim does not know the verb");
    }
}
