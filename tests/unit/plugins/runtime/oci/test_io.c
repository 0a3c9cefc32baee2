/* exec and attach, with and without a terminal; back-pressure; ends. */
#include "oci_test.h"

struct io {
    struct neap_runtime_io *io;
    char out[1 << 16], err[4096], error[256];
    size_t out_len, err_len, total;
    int code;
    bool done, writable;
};

static void io_output(void *arg, int fd, const void *data, size_t len)
{
    struct io *i = arg;
    char *to = fd == 1 ? i->out : i->err;
    size_t *n = fd == 1 ? &i->out_len : &i->err_len;
    size_t max = fd == 1 ? sizeof i->out - 1 : sizeof i->err - 1;
    i->total += len;
    if (len > max - *n)
        len = max - *n;
    memcpy(to + *n, data, len);
    *n += len;
}
static void io_writable(void *arg)
{
    ((struct io *)arg)->writable = true;
}
static void io_done(void *arg, int code, const char *error)
{
    struct io *i = arg;
    assert_false(i->done);
    i->done = true;
    i->code = code;
    snprintf(i->error, sizeof i->error, "%s", error ? error : "");
}
static const struct neap_runtime_io_events io_events = {io_output, io_writable, io_done};

static struct io *io_start(struct driver *d, const char *id, const char *script, bool tty, bool in)
{
    struct io *i = calloc(1, sizeof *i);
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct neap_runtime_exec_config c = {.container_id = id,
                                         .argv = script ? argv : NULL,
                                         .tty = tty,
                                         .stdin_ = in,
                                         .stdout_ = true,
                                         .stderr_ = !tty};
    i->io = d->p->exec(d->self, &c, &io_events, i);
    if (!i->io)
        fail_msg("exec: %s", d->h.failure);
    return i;
}
static void io_wait(struct driver *d, struct io *i)
{
    int64_t end = fake_mono(&d->h) + TURN_LIMIT_NS;
    while (!i->done && fake_mono(&d->h) < end)
        neap_loop_turn(d->h.loop, true);
    assert_true(i->done);
}
static void io_until(struct driver *d, struct io *i, const char *text)
{
    int64_t end = fake_mono(&d->h) + TURN_LIMIT_NS;
    while (!strstr(i->out, text) && !i->done && fake_mono(&d->h) < end)
        neap_loop_turn(d->h.loop, true);
    if (!strstr(i->out, text))
        fail_msg("no \"%s\" in \"%s\" (%s)", text, i->out, i->error);
}
static void io_end(struct driver *d, struct io *i)
{
    d->p->io_close(d->self, i->io);
    free(i);
}

static void test_exec(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "11111111-io");
    box_init(&d, &b, &p, "main", "sleep 1000");
    box_start(&d, &b);
    struct io *i = io_start(&d, b.id, "echo out; echo err >&2; exit 5", false, false);
    io_wait(&d, i);
    assert_int_equal(i->code, 5);
    assert_string_equal(i->out, "out\n");
    assert_string_equal(i->err, "err\n");
    io_end(&d, i);
    i = io_start(&d, b.id, "cat; echo end", false, true);
    assert_true(d.p->io_write(d.self, i->io, "one\ntwo\n", 8));
    d.p->io_close_stdin(d.self, i->io);
    io_wait(&d, i);
    assert_int_equal(i->code, 0);
    assert_string_equal(i->out, "one\ntwo\nend\n");
    io_end(&d, i);
    i = io_start(&d, b.id, "kill -9 $$", false, false);
    io_wait(&d, i);
    assert_int_equal(i->code, 137);
    io_end(&d, i);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_exec_terminal(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "22222222-io");
    box_init(&d, &b, &p, "main", "sleep 1000");
    box_start(&d, &b);
    struct io *i =
        io_start(&d, b.id, "stty -echo; read a; stty size; read b; stty size; exit 4", true, true);
    d.p->io_resize(d.self, i->io, 120, 40);
    d.p->io_write(d.self, i->io, "x\n", 2);
    io_until(&d, i, "40 120");
    d.p->io_resize(d.self, i->io, 90, 33);
    d.p->io_write(d.self, i->io, "y\n", 2);
    io_wait(&d, i);
    assert_non_null(strstr(i->out, "33 90"));
    assert_int_equal(i->code, 4);
    io_end(&d, i);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_exec_bulk(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    char chunk[8192];
    const size_t total = 4 << 20;
    driver_open(&d);
    pod_run(&d, &p, "33333333-io");
    box_init(&d, &b, &p, "main", "sleep 1000");
    box_start(&d, &b);
    struct io *i = io_start(&d, b.id, "dd if=/dev/zero bs=64k count=64", false, false);
    io_wait(&d, i);
    assert_int_equal(i->code, 0);
    assert_true(i->total >= total);
    io_end(&d, i);
    i = io_start(&d, b.id, "wc -c", false, true);
    memset(chunk, 'x', sizeof chunk);
    unsigned waits = 0;
    for (size_t sent = 0; sent < total;) {
        i->writable = false;
        bool more = d.p->io_write(d.self, i->io, chunk, sizeof chunk);
        sent += sizeof chunk;
        for (waits += !more; !more && !i->writable && !i->done;)
            neap_loop_turn(d.h.loop, true);
    }
    assert_true(waits > 0);
    d.p->io_close_stdin(d.self, i->io);
    io_wait(&d, i);
    assert_string_equal(i->out, "4194304\n");
    io_end(&d, i);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_exec_ends(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "44444444-io");
    box_init(&d, &b, &p, "main", "while :; do ps -o args; sleep 1; done");
    box_start(&d, &b);
    const char *argv[] = {"/no/such", NULL};
    struct neap_runtime_exec_config c = {.container_id = b.id, .argv = argv, .stdout_ = true};
    struct io bad = {0};
    bad.io = d.p->exec(d.self, &c, &io_events, &bad);
    io_wait(&d, &bad);
    assert_int_equal(bad.code, -1);
    assert_true(bad.error[0]);
    d.p->io_close(d.self, bad.io);
    const char *slow[] = {"/bin/sleep", "777", NULL};
    c.argv = slow;
    c.timeout_ms = 300;
    struct io late = {0};
    late.io = d.p->exec(d.self, &c, &io_events, &late);
    io_wait(&d, &late);
    assert_int_equal(late.code, -1);
    assert_non_null(strstr(late.error, "timed out"));
    d.p->io_close(d.self, late.io);
    /* its process goes with it: asked until ps shows none */
    bool gone = false;
    for (int tries = 0; tries < 200 && !gone; tries++) {
        struct io *i = io_start(&d, b.id, "ps -o args", false, false);
        io_wait(&d, i);
        gone = !strstr(i->out, "sleep 777");
        io_end(&d, i);
    }
    assert_true(gone);
    struct io *left = io_start(&d, b.id, "sleep 888", false, false);
    io_end(&d, left); /* before it even ran */
    c.container_id = "44444444-io_none_0";
    assert_null(d.p->exec(d.self, &c, &io_events, &late));
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_attach(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "55555555-io");
    box_init(&d, &b, &p, "main", "while read l; do echo got $l; done; echo eof; exit 6");
    b.c.stdin_open = b.c.stdin_once = true;
    box_start(&d, &b);
    struct io *watcher = io_start(&d, b.id, NULL, false, false);
    struct io *i = io_start(&d, b.id, NULL, false, true);
    d.p->io_write(d.self, i->io, "one\n", 4);
    io_until(&d, i, "got one\n");
    io_until(&d, watcher, "got one\n");
    io_end(&d, i); /* stdin_once: the container sees the end */
    struct neap_runtime_container_status s = driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 6);
    io_wait(&d, watcher);
    assert_int_equal(watcher->code, 6);
    assert_non_null(strstr(watcher->out, "eof\n"));
    io_end(&d, watcher);
    box_init(&d, &b, &p, "tty", "stty size; read l; echo you said $l");
    b.c.tty = b.c.stdin_open = true;
    box_start(&d, &b);
    i = io_start(&d, b.id, NULL, true, true);
    d.p->io_write(d.self, i->io, "hey\n", 4);
    io_until(&d, i, "you said hey");
    io_wait(&d, i);
    assert_int_equal(i->code, 0);
    io_end(&d, i);
    driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    char *log = read_text(b.log);
    assert_non_null(strstr(log, "you said hey"));
    free(log);
    pod_remove(&d, p.id);
    driver_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exec),      cmocka_unit_test(test_exec_terminal),
        cmocka_unit_test(test_exec_bulk), cmocka_unit_test(test_exec_ends),
        cmocka_unit_test(test_attach),
    };
    if (needs_root())
        return 0;
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
