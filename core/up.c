/* `neap up`: a server and an agent, supervised. A part that dies is started again and takes over what runs.
 * SIGTERM: the pods are stopped and everything is taken off the host. Each part is a process of its own, so
 * that one's fault is not the other's, and dies with this one (PR_SET_PDEATHSIG), so that the next start finds
 * no stranger in its data directory. */
#include "server.h"

#include <neap/log.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RESTART_MS = 200, RESTART_MAX_MS = 10000, ARGUMENTS_EXTRA = 6, LINE = 256 };

enum { SERVER, AGENT, PARTS };

struct part {
    struct up *up;
    const char *name, *ready_line;
    char **argv; /* NULL-terminated; [0] is the program */
    pid_t pid;   /* 0: does not run */
    int out;
    struct neap_fd *watch;
    struct neap_timer *timer;
    uint64_t backoff_ms;
    char line[LINE];
    size_t line_len;
    bool ready;
};

struct up {
    struct neap_loop *loop;
    struct part parts[PARTS];
    struct neap_signal *term, *interrupt, *child;
    int64_t started_ns;
    int code, stop_signal;
    bool told, stopping, clean;
};

/* ---- starting ---- */

static void run_child(struct part *p, int out, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);  /* it died in between */
    setpgid(0, 0); /* a terminal's ^C is ours to answer */
    dup2(out, STDOUT_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv("/proc/self/exe", p->argv);
    _exit(127);
}

static void on_output(void *arg, int events);

static void start(struct part *p)
{
    int pipes[2];
    pid_t self = getpid();
    if (p->pid || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
        return;
    fcntl(pipes[1], F_SETFL, 0);
    pid_t pid = fork();
    if (pid == 0)
        run_child(p, pipes[1], self);
    close(pipes[1]);
    if (pid < 0) {
        close(pipes[0]);
        neap_timer_start(p->timer, RESTART_MAX_MS, 0);
        return;
    }
    p->pid = pid;
    p->out = pipes[0];
    p->line_len = 0;
    p->watch = neap_fd_new(p->up->loop, p->out, on_output, p);
    neap_fd_set(p->watch, NEAP_READABLE);
}

static void on_timer(void *arg)
{
    struct part *p = arg;
    if (!p->up->stopping)
        start(p);
}

/* ---- what they say ---- */

static void tell_ready(struct up *u)
{
    if (u->told || !u->parts[SERVER].ready || !u->parts[AGENT].ready)
        return;
    u->told = true;
    printf("neap: ready in %lld ms\n",
           (long long)((neap_clock_mono(&neap_clock_system) - u->started_ns) / 1000000));
    fflush(stdout);
}

static void take_line(struct part *p)
{
    struct up *u = p->up;
    p->line[p->line_len] = '\0';
    p->line_len = 0;
    if (strncmp(p->line, p->ready_line, strlen(p->ready_line)) != 0) {
        printf("%s\n", p->line);
        fflush(stdout);
        return;
    }
    p->ready = true;
    p->backoff_ms = 0;
    if (p == &u->parts[SERVER])
        start(&u->parts[AGENT]);
    tell_ready(u);
}

static void close_output(struct part *p)
{
    p->watch = neap_fd_close(p->watch);
    if (p->out >= 0)
        close(p->out);
    p->out = -1;
}

static void on_output(void *arg, int events)
{
    struct part *p = arg;
    char block[1024];
    (void)events;
    ssize_t n = read(p->out, block, sizeof(block));
    if (n <= 0 && errno != EAGAIN) {
        close_output(p);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (block[i] == '\n' || p->line_len == LINE - 1)
            take_line(p);
        if (block[i] != '\n')
            p->line[p->line_len++] = block[i];
    }
}

/* ---- their ends ---- */

/* An agent that died when all was to end left its pods: another one takes them away. */
static void start_cleanup(struct part *agent)
{
    size_t n = 0;
    while (agent->argv[n])
        n++;
    agent->argv[n] = neap_strdup("--cleanup");
    start(agent);
}

/* The agent first: it still says to the API what it does. */
static void stop_next(struct up *u)
{
    struct part *agent = &u->parts[AGENT], *server = &u->parts[SERVER];
    if (agent->pid) {
        kill(agent->pid, SIGUSR2);
    } else if (u->told && !u->clean) {
        u->clean = true;
        start_cleanup(agent);
    } else if (server->pid)
        kill(server->pid, SIGTERM);
    else
        neap_loop_stop(u->loop);
}

static void stop(struct up *u)
{
    if (u->stopping)
        return;
    u->stopping = true;
    stop_next(u);
}

static void ended(struct part *p, int status)
{
    struct up *u = p->up;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    bool was_ready = p->ready;
    if (p->out >= 0)
        on_output(p, 0);
    close_output(p);
    p->pid = 0;
    p->ready = false;
    if (u->stopping && p == &u->parts[AGENT] && code == 0)
        u->clean = true;
    if (u->stopping) {
        stop_next(u);
        return;
    }
    if (!u->told ||
        (!was_ready && code == 1)) { /* it has said why: a part that can't start ends us all */
        u->code = code ? code : 1;
        stop(u);
        return;
    }
    p->backoff_ms = p->backoff_ms ? p->backoff_ms * 2 : RESTART_MS;
    if (p->backoff_ms > RESTART_MAX_MS)
        p->backoff_ms = RESTART_MAX_MS;
    NEAP_WARN("up", "a part ended, it is started again", "part=%s code=%d", p->name, code);
    neap_timer_start(p->timer, p->backoff_ms, 0);
}

static void on_child(void *arg)
{
    struct up *u = arg;
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &u->parts[i];
        int status;
        if (p->pid && waitpid(p->pid, &status, WNOHANG) == p->pid)
            ended(p, status);
    }
}

static void on_signal(void *arg)
{
    stop(arg);
}

/* ---- */

static char **arguments(const char *command, int argc, char **argv, char *extra)
{
    char **out = neap_calloc((size_t)argc + ARGUMENTS_EXTRA, sizeof(*out));
    int n = 0;
    out[n++] = neap_strdup("neap");
    out[n++] = neap_strdup(command);
    for (int i = 0; i < argc; i++)
        out[n++] = neap_strdup(argv[i]);
    if (extra)
        out[n++] = extra;
    return out;
}

static void part_done(struct part *p)
{
    p->timer = neap_timer_close(p->timer);
    for (char **a = p->argv; a && *a; a++)
        free(*a);
    free(p->argv);
}

int neap_up_main(struct neap_config *config, int argc, char **argv)
{
    struct up u = {.started_ns = neap_clock_mono(&neap_clock_system)};
    static const char *const names[PARTS] = {"server", "agent"};
    static const char *const lines[PARTS] = {"neap: ready in ", "neap: agent ready in "};
    struct neap_err err = NEAP_ERR_INIT;
    char gateway[46];
    if (geteuid() != 0)
        neap_err_set(&err, NEAP_ECONFIG, "a node needs root (neap server alone does not)");
    if (!err.code)
        neap_check_ranges(config, &err);
    int lock = err.code ? -1
                        : neap_data_dir_lock(neap_config_string(config, NULL, "data_dir"),
                                             "up.lock", &err);
    if (lock < 0) {
        int code = neap_complain("up", &err);
        neap_err_done(&err);
        return code;
    }
    neap_pod_gateway(config, gateway);
    u.loop = neap_loop_new("up", NULL);
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &u.parts[i];
        bool advertise = i == SERVER && !neap_config_string(config, NULL, "advertise");
        *p = (struct part){.up = &u, .name = names[i], .ready_line = lines[i], .out = -1};
        p->argv = arguments(names[i], argc, argv,
                            advertise ? neap_asprintf("--advertise=%s", gateway) : NULL);
        p->timer = neap_timer_new(u.loop, on_timer, p);
    }
    u.term = neap_signal_new(u.loop, SIGTERM, on_signal, &u);
    u.interrupt = neap_signal_new(u.loop, SIGINT, on_signal, &u);
    u.child = neap_signal_new(u.loop, SIGCHLD, on_child, &u);
    start(&u.parts[SERVER]);
    neap_loop_run(u.loop);
    for (int i = 0; i < PARTS; i++)
        part_done(&u.parts[i]);
    neap_signal_close(u.term);
    neap_signal_close(u.interrupt);
    neap_signal_close(u.child);
    neap_loop_free(u.loop);
    close(lock);
    return u.code;
}
