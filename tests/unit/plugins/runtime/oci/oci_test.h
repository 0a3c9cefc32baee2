/* What the tests of the oci runtime share: a driver with the plugin in it, an image of busybox, and a
 * count of everything that could leak. */
#ifndef NEAP_OCI_TEST_H
#define NEAP_OCI_TEST_H

#include "neap_test.h"
#include "plugins/fake_host.h"
#include <neap/plugin/runtime.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define TURN_LIMIT_NS (INT64_C(30) * 1000000000)

struct driver {
    struct fake_host h;
    const struct neap_runtime_plugin *p;
    void *self;
    char changed[64][160]; /* container_changed so far */
    unsigned changed_count, sandbox_changed_count;
};

static char data_dir[64], instance[16], log_dir[128];

static inline void on_container(void *arg, const char *id)
{
    struct driver *d = arg;
    if (d->changed_count < 64)
        snprintf(d->changed[d->changed_count++], sizeof d->changed[0], "%s", id);
}
static inline void on_sandbox(void *arg, const char *id)
{
    ((struct driver *)arg)->sandbox_changed_count++;
}

static const struct fake_option *driver_options;

static inline void driver_open(struct driver *d)
{
    memset(d, 0, sizeof *d);
    fake_host_init(&d->h, data_dir, instance, driver_options);
    d->p = fake_plugin_load("runtime/oci");
    assert_non_null(d->p);
    struct neap_runtime_events events = {d, on_container, on_sandbox};
    if (d->p->configure(&d->h.host, &events, &d->self))
        fail_msg("configure: %s", d->h.failure);
    if (d->p->restore(d->self))
        fail_msg("restore: %s", d->h.failure);
    assert_op(&d->h, d->p->start(d->self, op));
}
static inline void driver_close(struct driver *d)
{
    assert_op(&d->h, d->p->stop(d->self, op));
    d->p->destroy(d->self);
    fake_host_done(&d->h);
}

/* Turns the loop until the container is in <state>. */
static inline struct neap_runtime_container_status driver_wait(struct driver *d, const char *id,
                                                               enum neap_runtime_state state)
{
    struct neap_runtime_container_status s = {0};
    int64_t end = fake_mono(&d->h) + TURN_LIMIT_NS;
    for (;;) {
        assert_int_equal(d->p->container_status(d->self, id, &s), 0);
        if (s.state == state)
            return s;
        if (fake_mono(&d->h) > end)
            fail_msg("%s stays in state %d", id, s.state);
        neap_loop_turn(d->h.loop, true);
    }
}

static inline void run_argv(const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

static inline void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A root with busybox in it. */
static inline void make_rootfs(const char *dir)
{
    static const char *const dirs[] = {"",     "/bin", "/etc", "/proc",
                                       "/sys", "/dev", "/tmp", "/home"};
    static const char *const tools[] = {
        "sh", "cat", "echo", "sleep", "true",   "false", "stty",  "tail", "id", "hostname", "env",
        "ls", "dd",  "kill", "ps",    "printf", "seq",   "mount", "wc",   "ip", "nc",       "ping"};
    char path[256];
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s%s", dir, dirs[i]);
        mkdir(path, 0755);
    }
    chmod(path, 0755);
    snprintf(path, sizeof path, "%s/tmp", dir);
    chmod(path, 01777);
    char target[256];
    snprintf(target, sizeof target, "%s/bin/busybox", dir);
    const char *cp[] = {"/bin/busybox", "cp", "/bin/busybox", target, NULL};
    run_argv(cp);
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        snprintf(path, sizeof path, "%s/bin/%s", dir, tools[i]);
        assert_int_equal(symlink("busybox", path), 0);
    }
    snprintf(path, sizeof path, "%s/etc/passwd", dir);
    write_text(path, "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home:/bin/sh\n");
    snprintf(path, sizeof path, "%s/etc/group", dir);
    write_text(path, "root:x:0:\nweb:x:1001:\nextra:x:2002:web\n");
}

static inline int rm_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    return remove(path);
}
static inline void rm_tree(const char *path)
{
    nftw(path, rm_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

/* ---- what could leak */
struct leaks {
    unsigned mounts, processes, cgroups;
};
static inline unsigned count_in_file(const char *path, const char *word)
{
    char *line = NULL;
    size_t cap = 0;
    unsigned n = 0;
    FILE *f = fopen(path, "r");
    while (f && getline(&line, &cap, f) > 0)
        n += strstr(line, word) != NULL;
    free(line);
    if (f)
        fclose(f);
    return n;
}
static unsigned cgroup_hits;
static inline int count_cgroup(const char *path, const struct stat *st, int type, struct FTW *f)
{
    char word[32];
    snprintf(word, sizeof word, "/neap-%s", instance);
    cgroup_hits += strstr(path, word) && type == FTW_D;
    return 0;
}
static inline struct leaks count_leaks(void)
{
    struct leaks l = {.mounts = count_in_file("/proc/self/mountinfo", data_dir)};
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d));) {
        char path[300], text[4096];
        snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
        int fd = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        text[n > 0 ? n : 0] = 0;
        if (n > 0 && memmem(text, (size_t)n, data_dir, strlen(data_dir)))
            l.processes++;
    }
    closedir(d);
    cgroup_hits = 0;
    nftw("/sys/fs/cgroup", count_cgroup, 16, FTW_PHYS);
    l.cgroups = cgroup_hits;
    return l;
}

#define IMAGE "neap-test/busybox"

static inline int group_setup(void **state)
{
    snprintf(data_dir, sizeof data_dir, "/tmp/neap-oci-XXXXXX");
    assert_non_null(mkdtemp(data_dir));
    snprintf(instance, sizeof instance, "%06x", (unsigned)getpid() & 0xffffff);
    snprintf(log_dir, sizeof log_dir, "%s/logs", data_dir);
    char rootfs[96];
    snprintf(rootfs, sizeof rootfs, "%s/root", data_dir);
    make_rootfs(rootfs);
    struct driver d;
    driver_open(&d);
    const char *command[] = {"/bin/sh", NULL};
    assert_op(&d.h, d.p->image_from_rootfs(d.self, rootfs, IMAGE, command, op));
    driver_close(&d);
    return 0;
}
/* After a failed test: whatever stands, goes. */
static char left_over[32][64];
static unsigned left_over_count;
static inline void note_sandbox(void *arg, const struct neap_runtime_sandbox_status *s)
{
    if (left_over_count < 32)
        snprintf(left_over[left_over_count++], sizeof left_over[0], "%s", s->id);
}
static inline void note_container(void *arg, const struct neap_runtime_container_status *s)
{
}
static inline void clean_up(void)
{
    struct driver d;
    driver_open(&d);
    d.p->list(d.self, note_sandbox, note_container, &d);
    for (unsigned i = 0; i < left_over_count; i++)
        assert_op(&d.h, d.p->sandbox_remove(d.self, left_over[i], op));
    driver_close(&d);
}
static inline int group_teardown(void **state)
{
    struct leaks l = count_leaks();
    if (l.mounts || l.processes || l.cgroups)
        fprintf(stderr, "leaked: %u mounts, %u processes, %u cgroups\n", l.mounts, l.processes,
                l.cgroups);
    if (l.mounts || l.processes || l.cgroups)
        clean_up();
    rm_tree(data_dir);
    return l.mounts || l.processes || l.cgroups ? -1 : 0;
}

/* ---- pods and containers by a few words */
struct pod {
    char id[64], cgroup[128];
    struct neap_runtime_sandbox_config c;
};
static inline void pod_run(struct driver *d, struct pod *p, const char *id)
{
    snprintf(p->id, sizeof p->id, "%s", id);
    snprintf(p->cgroup, sizeof p->cgroup, "/neap-%s/besteffort/pod%s", instance, id);
    p->c.id = p->c.uid = p->id;
    p->c.namespace_ = "default";
    p->c.pod = p->id;
    if (!p->c.hostname)
        p->c.hostname = "pod-one";
    p->c.log_dir = log_dir;
    p->c.cgroup_parent = p->cgroup;
    assert_op(&d->h, d->p->sandbox_run(d->self, &p->c, op));
}
struct box {
    char id[128], log[256];
    const char *command[4];
    struct neap_runtime_container_config c;
};
static inline void box_init(struct driver *d, struct box *b, struct pod *p, const char *name,
                            const char *script)
{
    const struct neap_runtime_image *image;
    memset(b, 0, sizeof *b);
    assert_int_equal(d->p->image_status(d->self, IMAGE, &image), 0);
    snprintf(b->id, sizeof b->id, "%s_%s_0", p->id, name);
    snprintf(b->log, sizeof b->log, "%s/%s/%s/0.log", log_dir, p->id, name);
    b->command[0] = "/bin/sh";
    b->command[1] = "-c";
    b->command[2] = script;
    b->c = (struct neap_runtime_container_config){.id = b->id,
                                                  .sandbox_id = p->id,
                                                  .name = name,
                                                  .image_id = image->id,
                                                  .command = b->command,
                                                  .log_path = b->log,
                                                  .security = {.uid = -1, .gid = -1}};
}
static inline void box_start(struct driver *d, struct box *b)
{
    assert_op(&d->h, d->p->container_create(d->self, &b->c, op));
    assert_op(&d->h, d->p->container_start(d->self, b->id, op));
}
static inline void pod_remove(struct driver *d, const char *id)
{
    char path[256];
    assert_op(&d->h, d->p->sandbox_stop(d->self, id, op));
    snprintf(path, sizeof path, "%s/sandboxes/%s/shim.log", data_dir, id);
    char *complaints = read_text(path);
    if (complaints && *complaints)
        fail_msg("the shim says: %s", complaints);
    free(complaints);
    assert_op(&d->h, d->p->sandbox_remove(d->self, id, op));
    struct neap_runtime_sandbox_status s;
    assert_int_equal(d->p->sandbox_status(d->self, id, &s), NEAP_ENOTFOUND);
    struct leaks l = count_leaks();
    assert_int_equal(l.mounts, 0);
    assert_int_equal(l.processes, 0);
    assert_int_equal(l.cgroups, 0);
}
static inline bool needs_root(void)
{
    if (geteuid() != 0)
        puts("root");
    else if (access("/sys/fs/cgroup/memory", F_OK) != 0 &&
             access("/sys/fs/cgroup/cgroup.controllers", F_OK) != 0)
        puts("cgroups");
    else
        return false;
    return true;
}

#endif
