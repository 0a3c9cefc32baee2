/* Folders of scripts that are watched (inotify): editors write in several steps, so what comes within a
 * moment is told once. */
#include "script_internal.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { SETTLE_MS = 200 };

struct neap_script_folders {
    struct neap_loop *loop;
    int fd;
    struct neap_fd *poll;
    struct neap_timer *timer;
    bool
        settling; /* the timer runs: a folder where there is always something must not put it off for ever */
    char *top;
    const char *const *below;
    void (*changed)(void *arg);
    void *arg;
};

/* Folders that are not there yet are found when they come: the one above is watched. */
static void add_watches(struct neap_script_folders *f)
{
    enum { EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE };
    char path[4096];
    inotify_add_watch(f->fd, f->top, EVENTS | IN_ONLYDIR);
    for (const char *const *b = f->below; *b; b++) {
        snprintf(path, sizeof(path), "%s/%s", f->top, *b);
        inotify_add_watch(f->fd, path, EVENTS | IN_ONLYDIR);
    }
}

static void settled(void *arg)
{
    struct neap_script_folders *f = arg;
    f->settling = false;
    add_watches(f);
    f->changed(f->arg);
}

static void on_event(void *arg, int events)
{
    struct neap_script_folders *f = arg;
    char buf[8192] __attribute__((aligned(8)));
    (void)events;
    while (read(f->fd, buf, sizeof(buf)) > 0)
        continue;
    if (!f->settling)
        neap_timer_start(f->timer, SETTLE_MS, 0);
    f->settling = true;
}

bool neap_script_is_one(const char *name)
{
    return name[0] != '.' && neap_endswith(name, ".lua") && !neap_endswith(name, "_test.lua");
}

struct neap_script_folders *neap_script_folders_watch(struct neap_loop *loop, const char *top,
                                                      const char *const *below,
                                                      void (*changed)(void *arg), void *arg)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) {
        NEAP_WARN("script", "changed files are not noticed", "err=%s",
                  neap_log_quote(strerror(errno)));
        return NULL;
    }
    struct neap_script_folders *f = neap_calloc(1, sizeof(*f));
    f->loop = loop;
    f->fd = fd;
    f->top = neap_strdup(top);
    f->below = below;
    f->changed = changed;
    f->arg = arg;
    f->timer = neap_timer_new(loop, settled, f);
    f->poll = neap_fd_new(loop, fd, on_event, f);
    neap_fd_set(f->poll, NEAP_READABLE);
    add_watches(f);
    return f;
}

struct neap_script_folders *neap_script_folders_close(struct neap_script_folders *f)
{
    if (!f)
        return NULL;
    neap_fd_close(f->poll);
    neap_timer_close(f->timer);
    close(f->fd);
    free(f->top);
    free(f);
    return NULL;
}
