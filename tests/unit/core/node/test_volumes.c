/* What a pod refers to (ConfigMaps, Secrets, tokens), and the folders that its containers write: nothing in there may
 * lead the agent out of them. The tests of mounts need root and are in a mount namespace of their own. */
#include "world.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define VOLUME(v, mount)                                                                           \
    "\"volumes\":[{\"name\":\"v\"," v "}],\"containers\":[{\"name\":\"c\",\"image\":\"i\","        \
    "\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"" mount "}]}]"

static bool alone; /* in a mount namespace of our own */

static const char *mount_of(struct world *w, const char *target)
{
    size_t n = strlen(target);
    for (int i = 0; i < MOUNTS_MAX; i++)
        if (strncmp(w->machine.mounts[i], target, n) == 0 && w->machine.mounts[i][n] == '=')
            return w->machine.mounts[i] + n + 1;
    return "";
}

/* A path below the pod's folder. */
static const char *in_pod(struct world *w, const char *path)
{
    char *buf = next_buf();
    snprintf(buf, 512, "%s/pods/u-1/%s", w->dir, path);
    return buf;
}

static const char *content(const char *path)
{
    char *buf = next_buf();
    NEAP_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, buf, 511);
    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void close_gone(struct world *w)
{
    if (api_object(&w->api, "pods", "p"))
        world_delete(w, "p", 0);
    world_pass(w, 60);
    world_assert_empty(w, "the end");
    world_close(w);
}

/* ---- references ---- */

static void test_missing_then_there(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(
        &w, "p",
        VOLUME("\"configMap\":{\"name\":\"m\",\"items\":[{\"key\":\"k\",\"path\":\"k\"}]}", ""));
    world_pass(&w, 20);
    assert_string_equal(world_of(&w, "p", "c", "state.waiting.reason"), "ContainerCreating");
    assert_non_null(world_told(&w, "FailedMount"));
    world_config(&w, "configmaps", "m", "{\"other\":\"x\"}"); /* there, but not the key */
    world_pass(&w, 20);
    assert_false(world_runs(&w, "c"));
    assert_non_null(strstr(world_told(&w, "FailedMount")->message, "non-existent config key: k"));
    world_config(&w, "configmaps", "m", "{\"k\":\"a..b\"}");
    world_pass(&w, 20);
    assert_true(world_runs(&w, "c"));
    assert_string_equal(content(in_pod(&w, "volumes/v/k")), "a..b");
    close_gone(&w);
}

static void test_optional(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", VOLUME("\"configMap\":{\"name\":\"m\",\"optional\":true}", ""));
    assert_true(world_runs(&w, "c"));
    world_config(&w, "configmaps", "m", "{\"a..b\":\"1\",\"c\":\"2\"}"); /* it comes later */
    world_pass(&w, 61);
    assert_string_equal(content(in_pod(&w, "volumes/v/a..b")), "1");
    world_config(&w, "configmaps", "m", "{\"c\":\"2\"}");
    world_pass(&w, 61);
    assert_string_equal(content(in_pod(&w, "volumes/v/a..b")), "");
    assert_string_equal(content(in_pod(&w, "volumes/v/c")), "2");
    close_gone(&w);
}

static void test_env_missing_then_there(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p",
              "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"K\","
              "\"valueFrom\":{\"secretKeyRef\":{\"name\":\"m\",\"key\":\"k\"}}}]}]");
    world_pass(&w, 300);
    assert_string_equal(world_of(&w, "p", "c", "state.waiting.reason"),
                        "CreateContainerConfigError");
    assert_string_equal(world_of(&w, "p", "c", "state.waiting.message"), "secret \"m\" not found");
    assert_string_equal(world_told(&w, "Failed")->message, "Error: secret \"m\" not found");
    world_config(&w, "secrets", "m", "{\"k\":\"dg==\"}");
    world_pass(&w, 11);
    assert_true(world_runs(&w, "c"));
    assert_string_equal(world_of(&w, "p", "c", "restartCount"), "0");
    close_gone(&w);
}

#define TOKEN_OF(s)                                                                                \
    "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"token\","                    \
    "\"expirationSeconds\":" s "}}]}"

/* At four fifths of its life; while no new one is given the old one stays. */
static void test_tokens_are_renewed(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.api.token_life_s = 600;
    world_pod(&w, "p", VOLUME(TOKEN_OF("600"), ""));
    assert_string_equal(content(in_pod(&w, "volumes/v/token")), "token-1");
    world_pass(&w, 470);
    assert_int_equal(w.api.tokens, 1);
    w.api.rules[TOKEN].fail = 1;
    w.api.rules[TOKEN].code = NEAP_EUNAVAILABLE;
    world_pass(&w, 30);
    assert_string_equal(content(in_pod(&w, "volumes/v/token")), "token-1");
    world_pass(&w, 60);
    assert_string_equal(content(in_pod(&w, "volumes/v/token")), "token-2");
    assert_true(world_runs(&w, "c"));
    close_gone(&w);
}

/* Adopted by a new agent, its token is asked for anew. */
static void test_adopted_volumes_are_kept_up(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", VOLUME(TOKEN_OF("3600"), ""));
    world_agent_end(&w);
    w.api.rules[GET].never = w.api.rules[TOKEN].never = true;
    world_agent(&w);
    w.machine.things[0].code = 0;
    world_exit(&w, "c", 1); /* not started again before what it needs is there */
    assert_int_equal(w.machine.slots[CREATE].calls, 1);
    api_answer(&w.api, TOKEN);
    world_pass(&w, 1);
    assert_true(world_runs(&w, "c"));
    assert_string_equal(content(in_pod(&w, "volumes/v/token")), "token-2");
    close_gone(&w);
}

static void test_volumes_of_the_api_are_read_only(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_config(&w, "configmaps", "m", "{\"k\":\"v\"}");
    w.uids = 0; /* the pod is u-1 */
    world_pod(&w, "p", VOLUME("\"configMap\":{\"name\":\"m\"}", ""));
    assert_non_null(strstr(mount_of(&w, "/v"), " ro"));
    close_gone(&w);
}

/* Should somebody write there all the same: what ..data names is removed only within the volume. */
static void test_data_link_does_not_lead_out(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_config(&w, "configmaps", "m", "{\"k\":\"v\"}");
    w.uids = 0;
    NEAP_CLEANUP_FREE char *precious = neap_asprintf("%s/precious", w.dir);
    NEAP_CLEANUP_FREE char *file = neap_asprintf("%s/file", precious);
    mkdir(precious, 0700);
    put(file, "x");
    world_pod(&w, "p", VOLUME("\"configMap\":{\"name\":\"m\"}", ""));
    unlink(in_pod(&w, "volumes/v/..data"));
    assert_int_equal(symlink("../../../../precious", in_pod(&w, "volumes/v/..data")), 0);
    world_pass(&w, 61);
    assert_string_equal(content(in_pod(&w, "volumes/v/k")), "v");
    assert_string_equal(content(file), "x");
    close_gone(&w);
}

/* ---- folders that containers write ---- */

static void test_removal_follows_nothing(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    NEAP_CLEANUP_FREE char *precious = neap_asprintf("%s/precious", w.dir);
    NEAP_CLEANUP_FREE char *file = neap_asprintf("%s/file", precious);
    mkdir(precious, 0700);
    put(file, "x");
    world_pod(&w, "p", VOLUME("\"emptyDir\":{}", ""));
    assert_int_equal(symlink(precious, in_pod(&w, "volumes/v/link")), 0);
    world_delete(&w, "p", 0);
    world_pass(&w, 10);
    world_assert_empty(&w, "a link inside");
    assert_string_equal(content(file), "x");
    world_close(&w);
}

/* Deeper than files can be open, and than the stack is. */
static void test_removal_of_deep_folders(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", VOLUME("\"emptyDir\":{}", ""));
    int fd = open(in_pod(&w, "volumes/v"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(mkdirat(fd, "d", 0700), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    close_gone(&w);
}

static void test_sub_path(void **state)
{
    struct world w;
    struct stat st;
    (void)state;
    if (!alone)
        skip();
    world_open(&w);
    world_pod(&w, "p", VOLUME("\"emptyDir\":{}", ",\"subPath\":\"a..b/deep\""));
    assert_true(world_runs(&w, "c"));
    assert_int_equal(stat(in_pod(&w, "volumes/v/a..b/deep"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0777); /* as the volume's */
    put(in_pod(&w, "volumes/v/a..b/deep/f"), "x");
    NEAP_CLEANUP_FREE char *file = neap_asprintf("%s/f", mount_of(&w, "/v"));
    assert_string_equal(content(file), "x");
    world_exit(&w, "c", 1); /* mounted again for the next run */
    assert_string_equal(content(file), "x");
    close_gone(&w);
}

/* A container has put a link where another one's subPath is. */
static void test_sub_path_does_not_lead_out(void **state)
{
    static const char *const targets[] = {NULL, "../../../../precious", "../../containers"};
    (void)state;
    if (!alone)
        skip();
    for (size_t i = 0; i < NEAP_ARRAY_LEN(targets); i++) {
        struct world w;
        world_open(&w);
        NEAP_CLEANUP_FREE char *precious = neap_asprintf("%s/precious", w.dir);
        mkdir(precious, 0700);
        w.machine.slots[ATTACH].hold = true;
        world_pod(&w, "p", VOLUME("\"emptyDir\":{}", ",\"subPath\":\"link/new\""));
        const char *to = targets[i] ? targets[i] : precious; /* as a whole path */
        assert_int_equal(symlink(to, in_pod(&w, "volumes/v/link")), 0);
        machine_release(&w.machine, ATTACH, 0);
        world_pass(&w, 1);
        assert_int_equal(w.machine.slots[CREATE].calls, 0);
        assert_string_equal(world_of(&w, "p", "c", "state.waiting.reason"),
                            "CreateContainerConfigError");
        assert_int_equal(entries(w.dir, "precious"), 0);
        unlink(in_pod(&w, "volumes/v/link")); /* one that stays inside is followed */
        mkdir(in_pod(&w, "volumes/v/real"), 0700);
        assert_int_equal(symlink("real", in_pod(&w, "volumes/v/link")), 0);
        world_pass(&w, 11);
        assert_true(world_runs(&w, "c"));
        assert_int_equal(access(in_pod(&w, "volumes/v/real/new"), F_OK), 0);
        close_gone(&w);
    }
}

/* What a container mounted in there (Bidirectional) is let go of, not emptied. */
static void test_removal_keeps_what_is_mounted(void **state)
{
    struct world w;
    (void)state;
    if (!alone)
        skip();
    world_open(&w);
    NEAP_CLEANUP_FREE char *precious = neap_asprintf("%s/precious", w.dir);
    NEAP_CLEANUP_FREE char *file = neap_asprintf("%s/file", precious);
    mkdir(precious, 0700);
    put(file, "x");
    world_pod(&w, "p", VOLUME("\"emptyDir\":{}", ""));
    mkdir(in_pod(&w, "volumes/v/m"), 0700);
    assert_int_equal(mount(precious, in_pod(&w, "volumes/v/m"), NULL, MS_BIND, NULL), 0);
    world_delete(&w, "p", 0);
    world_pass(&w, 10);
    world_assert_empty(&w, "a mount inside");
    assert_string_equal(content(file), "x");
    world_close(&w);
}

/* A memory volume whose pod is deleted while the agent is away, and one after a start of the machine. */
static void test_memory_volumes(void **state)
{
    struct world w;
    struct stat own, up;
    (void)state;
    if (!alone)
        skip();
    world_open(&w);
    world_pod(&w, "p", VOLUME("\"emptyDir\":{\"medium\":\"Memory\"}", ""));
    world_agent_end(&w);
    assert_int_equal(umount(in_pod(&w, "volumes/v")), 0);
    world_agent(&w);
    assert_int_equal(stat(in_pod(&w, "volumes/v"), &own), 0);
    assert_int_equal(stat(in_pod(&w, "volumes"), &up), 0);
    assert_int_not_equal(own.st_dev, up.st_dev);
    world_agent_end(&w);
    world_force(&w, "p");
    world_agent(&w);
    world_pass(&w, 5);
    world_assert_empty(&w, "deleted while away");
    world_close(&w);
}

/* ---- what a container leaves ---- */

static void test_termination_message(void **state)
{
    struct world w;
    char large[9000];
    (void)state;
    memset(large, 'a', sizeof(large) - 1);
    memcpy(large + sizeof(large) - 5, "\"end", 5);
    world_open(&w);
    world_pod(&w, "p",
              "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\","
              "\"terminationMessagePath\":\"/dev/termination-log\"}]");
    put(in_pod(&w, "containers/c-0"), large); /* the last 4096 bytes are told */
    world_exit(&w, "c", 1);
    struct neap_object *o = api_object(&w.api, "pods", "p");
    yyjson_doc *doc = neap_object_parse(o, NULL);
    const char *message =
        yyjson_get_str(neap_json_val_at(yyjson_arr_get_first(neap_json_val_at(
                                            yyjson_doc_get_root(doc), "status.containerStatuses")),
                                        "state.terminated.message"));
    assert_non_null(message);
    assert_int_equal(strlen(message), 4096);
    assert_string_equal(message + 4092, "\"end");
    yyjson_doc_free(doc);
    close_gone(&w);
}

#define T(test) cmocka_unit_test(test)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_missing_then_there),
        T(test_optional),
        T(test_env_missing_then_there),
        T(test_tokens_are_renewed),
        T(test_adopted_volumes_are_kept_up),
        T(test_volumes_of_the_api_are_read_only),
        T(test_data_link_does_not_lead_out),
        T(test_removal_follows_nothing),
        T(test_removal_of_deep_folders),
        T(test_sub_path),
        T(test_sub_path_does_not_lead_out),
        T(test_removal_keeps_what_is_mounted),
        T(test_memory_volumes),
        T(test_termination_message),
    };
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){256, 256}); /* for test_removal_of_deep_folders */
    alone = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
