/* neap-shim: one small process a pod. It is the subreaper of the pod's containers, holds their stdio,
 * writes their logs and exit records, and serves the agent on a unix socket. One thread, one epoll.
 * It never decides anything: what to run comes as argument lists from the plugin.
 *
 *   client.c   connections and frames      process.c  containers and execs
 *   request.c  the verbs                   log.c      CRI logs, rotation
 *   command.c  runs crun or runc           launch.c   namespaces, daemon, pause */
#ifndef OCI_SHIM_H
#define OCI_SHIM_H

#include "../common.h"
#include "../wire.h"
#include <sys/epoll.h>
#include <yyjson.h>

#define SHIM_LINE_MAX    16384 /* longer lines are logged in parts */
#define SHIM_CLIENTS_MAX 128
#define SHIM_ATTACH_MAX  (4u << 20)   /* an attached client this far behind is let go */
#define SHIM_EXEC_HIGH   (256u << 10) /* an exec's output waits for its client above this */
#define SHIM_COMMAND_MS  120000       /* crun must answer within */
#define SHIM_DRAIN_MAX   (1u << 20)   /* read from a dead process's pipe at most */

struct shim;
struct client;
struct process;

/* Something epoll watches. Events are taken one at a time, so a callback may free any source. */
struct source {
    int fd; /* -1: none */
    uint32_t events;
    bool registered;
    void (*ready)(struct source *s, uint32_t events);
    void *owner;
};

struct command { /* a run of the runtime program */
    struct command *next;
    struct shim *shim;
    pid_t pid;
    int64_t deadline;
    void (*done)(struct command *c, int status); /* wait status */
    void *arg;                                   /* from malloc; freed with the command */
};

struct shim {
    int epoll, dir_fd;
    char *dir; /* DATA/sandboxes/<id> */
    struct source signals, listener;
    struct client *clients;
    unsigned client_count, counter;
    uint64_t client_number;
    struct process *processes;
    struct command *commands;
    bool quit;
};

/* ---- loop (main.c) */
void shim_watch(struct shim *s, struct source *src, int fd, uint32_t events,
                void (*ready)(struct source *, uint32_t), void *owner);
void shim_events(struct shim *s, struct source *src, uint32_t events); /* 0: paused */
void shim_unwatch(struct shim *s, struct source *src, bool close_fd);

/* ---- command.c */
struct command_options {
    char **argv;
    int stdio[3];      /* -1: /dev/null */
    bool hide_unified; /* crun create on a hybrid cgroup host */
};
/* 0 or -errno. <done> is called from the loop, with the wait status. */
int shim_command(struct shim *s, const struct command_options *o,
                 void (*done)(struct command *c, int status), void *arg);
void shim_commands_done(struct shim *s);
void shim_reap(struct shim *s);
int shim_timeout_ms(struct shim *s); /* for epoll; kills what is late */

/* ---- log.c */
struct shim_log {
    char *path;
    int fd;
    int64_t size, max_bytes;
    unsigned max_files;
    struct oci_buf line[2]; /* not yet ended, stdout and stderr */
    uint64_t lost;          /* writes that failed */
};
int shim_log_open(struct shim_log *l, const char *path, int64_t max_bytes, unsigned max_files);
int shim_log_reopen(struct shim_log *l);
void shim_log_write(struct shim_log *l, int stream, const char *p, size_t n); /* stream 1, 2 */
void shim_log_flush(struct shim_log *l);
void shim_log_done(struct shim_log *l);

/* ---- process.c */
enum shim_state { SHIM_CREATING, SHIM_CREATED, SHIM_RUNNING, SHIM_EXITED };
struct process {
    struct process *next;
    struct shim *shim;
    bool is_exec, tty, stdin_open, stdin_once, pid_known;
    enum shim_state state;
    char *id, *dir; /* dir: the container's folder, or the exec's temporary files' prefix */
    char *oom_file, *pid_file;
    char *error; /* why it did not run */
    pid_t pid;
    int64_t created, started, finished;
    int exit_code, signal;
    bool oom;
    struct source out[2]; /* stdout or the pty's master; stderr */
    struct source in;
    struct source console;  /* listens for the pty's master */
    int child_end[3];       /* given to the runtime program, then closed */
    struct oci_buf in_buf;  /* stdin not yet taken */
    bool in_closing;        /* close stdin when in_buf is empty */
    unsigned columns, rows; /* asked for before the terminal was there */
    struct shim_log log;
    unsigned busy;      /* commands that run for it: not freed meanwhile */
    bool abandoned;     /* an exec whose client left before it ran */
    char **delete_argv; /* delete is wanted when it has exited; for: */
    uint64_t delete_client;
    int64_t delete_seq;
};
struct process *shim_process_new(struct shim *s, bool is_exec, const char *id);
struct process *shim_process_find(struct shim *s, const char *id);
/* Pipes or console; fills child_end and *ret_console (a path to give to the runtime, or NULL). */
int shim_process_stdio(struct process *p, bool with_in, bool with_err, char **ret_console);
void shim_process_child_ends(struct process *p); /* closes our copies */
int shim_process_read_pid(struct process *p);
int shim_process_record(struct process *p); /* status.json, durable */
yyjson_mut_val *shim_process_json(struct process *p, yyjson_mut_doc *d);
void shim_process_exited(struct process *p, int status);
int shim_process_stdin(struct process *p, const char *data, size_t n); /* 1: wait, call again */
void shim_process_close_stdin(struct process *p);
void shim_process_resize(struct process *p, unsigned columns, unsigned rows);
void shim_process_output_resume(struct process *p);
void shim_process_free(struct process *p);

/* ---- client.c */
struct client {
    struct client *next;
    struct shim *shim;
    struct source conn;
    struct oci_buf in, out;
    struct process *process; /* of an exec or attach */
    uint64_t number;         /* replies that come later look it up */
    bool stream;             /* exec or attach: no events but its own */
    bool wants_out, wants_err, gave_stdin, greeted, gone, closing, paused, kicked;
};
void shim_client_accept(struct source *s, uint32_t events);
void shim_client_send(struct client *c, int kind, const void *p, size_t n);
/* takes <d> */
void shim_client_json(struct client *c, yyjson_mut_doc *d);
void shim_client_reply(struct client *c, int64_t seq, int code, const char *message);
void shim_client_finish(struct client *c); /* closes when all is sent */
void shim_client_close(struct client *c);
void shim_client_unpause(struct client *c);
void shim_broadcast(struct shim *s, yyjson_mut_doc *d); /* takes <d>: to every control connection */

/* ---- request.c */
void shim_request(struct client *c, yyjson_val *root);
void shim_request_exited(struct process *p); /* its output is all sent; frees an exec */
void shim_request_left(struct client *c);    /* its connection closes */

/* ---- launch.c */
int shim_launch(const char *dir);
int shim_pause(void);
int shim_serve(const char *dir, int ready_fd); /* main.c */

#endif
