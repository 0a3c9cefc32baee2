/* A user's controllers: a neap_control of their own inside the first, replaced as a whole when a file changes.
 * The new ones are loaded before the old ones end, so that a slip of the pen stops nothing. */
#include "control_internal.h"

#include <unistd.h>

static int load_user(const struct neap_control *c, struct neap_control **ret, struct neap_err *err)
{
    char dir[4096];
    struct neap_control *user = control_new(&c->options);
    int rc = control_load(user, c->options.user_script_dir, NULL, err);
    snprintf(dir, sizeof(dir), "%s/controllers", c->options.user_script_dir);
    if (!rc && access(dir, F_OK) == 0)
        rc = control_load(user, dir, NULL, err);
    if (rc)
        control_free(user);
    else
        *ret = user;
    return rc;
}

/* ---- the end: <done> comes when the user's are gone ---- */

static void user_ended(void *arg)
{
    struct neap_control *c = arg;
    c->user = NULL;
    c->user_done(c);
}

void control_user_stop(struct neap_control *c, void (*done)(void *arg))
{
    c->folders = neap_script_folders_close(c->folders);
    c->user_done = done;
    if (c->replacing) /* the old ones are ending; replaced() goes on */
        c->user_stopping = true;
    else if (c->user)
        control_end(c->user, user_ended, c);
    else
        done(c);
}

/* ---- changes ---- */

static void changed(void *arg);

static void replaced(void *arg)
{
    struct neap_control *c = arg;
    c->user = c->next;
    c->next = NULL;
    c->replacing = false;
    if (c->user_stopping) { /* nothing of the new ones runs yet */
        control_free(c->user);
        user_ended(c);
        return;
    }
    control_begin(c->user);
    NEAP_INFO("controller", "scripts loaded", "dir=%s", neap_log_quote(c->options.user_script_dir));
    if (c->changed_again)
        changed(c);
}

static void changed(void *arg)
{
    struct neap_control *c = arg;
    struct neap_err err = NEAP_ERR_INIT;
    c->changed_again = c->replacing;
    if (c->replacing)
        return;
    if (load_user(c, &c->next, &err)) {
        NEAP_ERROR("controller", "scripts not loaded; those before go on", "err=%s",
                   neap_log_quote(err.message));
        neap_err_done(&err);
        return;
    }
    struct neap_control *old = c->user;
    c->user = NULL;
    c->replacing = true;
    control_end(old, replaced, c);
}

int control_user_open(struct neap_control *c, struct neap_err *err)
{
    return load_user(c, &c->user, err);
}

void control_user_begin(struct neap_control *c)
{
    static const char *const folders[] = {"controllers", "lib", NULL};
    if (!c->user)
        return;
    control_begin(c->user);
    c->folders =
        neap_script_folders_watch(c->options.loop, c->options.user_script_dir, folders, changed, c);
}
