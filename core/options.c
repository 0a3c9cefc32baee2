/* The option tables and what the commands share. */
#include "server.h"

#include <neap/ip.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <unistd.h>

const struct neap_option neap_common_options[] = {
    {"data_dir", NEAP_OPTION_STRING, "/var/lib/neap", 0, 0, "where everything is kept (0700)"},
    {"log_level", NEAP_OPTION_STRING, "info", 0, 0, "debug, info, warn or error"},
    {"plugin_dir", NEAP_OPTION_STRING, NULL, 0, 0, "plugins; default: beside the program"},
    {"netns", NEAP_OPTION_STRING, NULL, 0, 0,
     "name of a network namespace: the node's network, ports and sysctls live there"},
    {"service_cidr", NEAP_OPTION_STRING, "10.96.0.0/16", 0, 0, "addresses of Services"},
    {"pod_cidr", NEAP_OPTION_STRING, "10.244.0.0/16", 0, 0, "addresses of pods"},
    {"node_ports", NEAP_OPTION_STRING, "30000-32767", 0, 0, "ports of NodePort Services"},
    {"cluster_domain", NEAP_OPTION_STRING, "cluster.local", 0, 0, "the cluster's DNS domain"},
    {"node_name", NEAP_OPTION_STRING, NULL, 0, 0, "this node's name; default: the host's"},
    {0},
};

const struct neap_option neap_server_options[] = {
    {"listen", NEAP_OPTION_STRING, "127.0.0.1:6443", 0, 0, "ADDR:PORT of the API"},
    {"store", NEAP_OPTION_STRING, "sqlite", 0, 0, "store plugin: sqlite or memory"},
    {"history", NEAP_OPTION_DURATION, "5m", 1000, 86400000, "watch history kept in memory"},
    {"history_bytes", NEAP_OPTION_INT, "67108864", 1 << 20, INT64_MAX,
     "memory that the watch history may use"},
    {"bookmark_interval", NEAP_OPTION_DURATION, "1m", 1000, 3600000, "time between bookmarks"},
    {"service_account_max_token_expiration", NEAP_OPTION_DURATION, "8760h", 1000, 31536000000,
     "no ServiceAccount token lives longer, whatever is asked for"},
    {"request_memory", NEAP_OPTION_INT, "67108864", 1 << 20, INT64_MAX,
     "memory that one request may use"},
    {"protobuf_cache", NEAP_OPTION_INT, "16777216", 0, INT64_MAX,
     "memory for objects that were lately listed as protobuf (what is larger is encoded each "
     "time)"},
    {"certificate_lifetime", NEAP_OPTION_DURATION, "8760h", 10000, 315360000000,
     "life of the certificates that this server makes; they are renewed after two thirds of it"},
    {"max_connections", NEAP_OPTION_INT, "10000", 1, 1000000,
     "connections at the same time: more are closed at once"},
    {"max_streams", NEAP_OPTION_INT, "250", 1, 100000,
     "requests at the same time on one HTTP/2 connection"},
    {"max_resets", NEAP_OPTION_INT, "1000", 1, 1000000,
     "requests that a client may break off at once on an HTTP/2 connection, then 33 a second"},
    {"max_header_bytes", NEAP_OPTION_INT, "65536", 4096, 1 << 20, "all headers of a request"},
    {"max_body_bytes", NEAP_OPTION_INT, "3145728", 1024, 1 << 30, "the body of a request"},
    {"max_bodies_bytes", NEAP_OPTION_INT, "268435456", 1024, INT64_MAX,
     "bodies of all requests that are being received together"},
    {"max_message_bytes", NEAP_OPTION_INT, "1048576", 1024, 1 << 30,
     "a websocket message from a client"},
    {"handshake_timeout", NEAP_OPTION_DURATION, "10s", 100, 3600000, "time for a TLS handshake"},
    {"header_timeout", NEAP_OPTION_DURATION, "10s", 100, 3600000,
     "time for the headers of a request, from its first byte"},
    {"body_timeout", NEAP_OPTION_DURATION, "1m", 100, 3600000, "time for the body of a request"},
    {"idle_timeout", NEAP_OPTION_DURATION, "3m", 100, 86400000,
     "time without a request after which a connection is closed"},
    {"write_stall_timeout", NEAP_OPTION_DURATION, "1m", 100, 3600000,
     "time in which a client takes nothing of its answer after which that is ended"},
    {"list_timeout", NEAP_OPTION_DURATION, "5m", 100, 86400000,
     "time for a client to take a list: it holds old objects in memory"},
    {"script_dir", NEAP_OPTION_STRING, NULL, 0, 0, "built-in scripts; default: beside the program"},
    {"user_script_dir", NEAP_OPTION_STRING, NULL, 0, 0,
     "a folder of your own controllers and admission rules"},
    {"scheduler", NEAP_OPTION_BOOL, "true", 0, 0,
     "whether pods get nodes; false: another scheduler (kube-scheduler) does it"},
    {"scheduler_name", NEAP_OPTION_STRING, "default-scheduler", 0, 0,
     "pods with another schedulerName are left alone"},
    {"scheduler_plugins", NEAP_OPTION_STRING, "image_locality", 0, 0,
     "scheduler plugins to load, beside the built-in ones: NAME,NAME"},
    {"scheduler_disabled", NEAP_OPTION_STRING, NULL, 0, 0,
     "scheduler plugins not to use: InterPodAffinity,ImageLocality"},
    {"scheduler_weights", NEAP_OPTION_STRING, NULL, 0, 0,
     "weights of scores other than the default: NodeResourcesFit=5,ImageLocality=2"},
    {"scheduler_nodes_percent", NEAP_OPTION_INT, "0", 0, 100,
     "part of the nodes that a pod is tried on until enough fit; 0: by their number"},
    {"scheduler_script_dir", NEAP_OPTION_STRING, NULL, 0, 0,
     "a folder of your own score and filter policies in Lua"},
    {"scheduler_script_budget", NEAP_OPTION_DURATION, "50ms", 1, 10000,
     "time that one call of a policy may take"},
    {"controllers", NEAP_OPTION_BOOL, "true", 0, 0,
     "false: no controller runs here (another controller manager's, or tests)"},
    {"advertise", NEAP_OPTION_STRING, NULL, 0, 0,
     "address at which pods reach the API: served as well; default: the listening one"},
    {0},
};

const struct neap_option neap_agent_options[] = {
    {"node_ip", NEAP_OPTION_STRING, NULL, 0, 0,
     "this node's address; default: the network plugin's"},
    {"runtime", NEAP_OPTION_STRING, "oci", 0, 0, "runtime plugin"},
    {"network", NEAP_OPTION_STRING, "veth", 0, 0, "network plugin"},
    {"proxy", NEAP_OPTION_STRING, "nft", 0, 0, "proxy plugin"},
    {"kubeconfig", NEAP_OPTION_STRING, NULL, 0, 0,
     "how the agent reaches the API; default: DATA_DIR/agent.kubeconfig"},
    {"agent_port", NEAP_OPTION_INT, "10250", 0, 65535, "the agent's port; 0: any free one"},
    {"volume_refresh", NEAP_OPTION_DURATION, "1m", 100, 3600000,
     "how often the files of ConfigMaps and Secrets are read anew (the kubelet: 1m)"},
    {"hollow_nodes", NEAP_OPTION_INT, "1", 1, 100000,
     "nodes in this process, NAME-0 and so on: tests of scale with runtime hollow"},
    {"cleanup", NEAP_OPTION_BOOL, "false", 0, 0,
     "neap agent: stops all pods of the data directory, takes everything off the host and ends"},
    {"max_pods", NEAP_OPTION_INT, "110", 1, 10000, "pods on this node"},
    {"min_free_memory", NEAP_OPTION_INT, "104857600", 0, INT64_MAX,
     "bytes: with less the node has MemoryPressure and takes no new pods; 0: never"},
    {"min_free_disk", NEAP_OPTION_INT, "536870912", 0, INT64_MAX,
     "bytes of the data directory's disk: with less the node has DiskPressure; 0: never"},
    {"min_free_pids", NEAP_OPTION_INT, "1000", 0, INT64_MAX,
     "processes that can still be made: with less the node has PIDPressure; 0: never"},
    {0},
};

void neap_beside(const char *configured, const char *name, char *out, size_t size)
{
    char self[PATH_MAX];
    if (configured && *configured) {
        snprintf(out, size, "%s", configured);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    snprintf(out, size, "%.*s/%s", slash ? (int)(slash - self) : 0, self, name);
    if (access(out, F_OK) == 0)
        return;
    /* installed: PREFIX/bin/neap and PREFIX/lib/neap/NAME */
    snprintf(out, size, "%.*s/../lib/neap/%s", slash ? (int)(slash - self) : 0, self, name);
}

void neap_node_name(const struct neap_config *config, char out[256])
{
    const char *name = neap_config_string(config, NULL, "node_name");
    snprintf(out, 256, "%s", name ? name : "");
    if (!*out && gethostname(out, 255) != 0)
        snprintf(out, 256, "localhost");
    for (char *p = out; *p; p++) /* an object's name is lower case */
        *p = (char)tolower((unsigned char)*p);
}

int neap_netns_path(const struct neap_config *config, char *out, size_t size, const char **ret,
                    struct neap_err *err)
{
    const char *name = neap_config_string(config, NULL, "netns");
    *ret = NULL;
    if (!name || !*name)
        return 0;
    if (strchr(name, '/'))
        return neap_err_set(err, NEAP_ECONFIG, "netns: %s is a name, no path", name);
    snprintf(out, size, "/run/netns/%s", name);
    if (access(out, F_OK) != 0)
        return neap_err_set(err, NEAP_ECONFIG,
                            "netns: there is no network namespace %s (ip netns add %s)", name,
                            name);
    *ret = out;
    return 0;
}

void neap_pod_gateway(const struct neap_config *config, char out[46])
{
    neap_cidr_text_at(neap_config_string(config, NULL, "pod_cidr"), 1, out);
}

int neap_check_ranges(const struct neap_config *config, struct neap_err *err)
{
    return neap_cidr_check_cluster(neap_config_string(config, NULL, "pod_cidr"),
                                   neap_config_string(config, NULL, "service_cidr"), err);
}

void neap_instance(const char *data_dir, char out[7])
{
    char real[PATH_MAX];
    const char *path = realpath(data_dir, real) ? real : data_dir;
    snprintf(out, 7, "%06x", (unsigned)(neap_hash(path, strlen(path)) & 0xffffff));
}

int neap_complain(const char *what, const struct neap_err *err)
{
    fprintf(stderr, "neap: %s%s%s\n", what, err && err->message ? ": " : "",
            err && err->message ? err->message : "");
    return 1;
}

int neap_data_dir_lock(const char *dir, const char *lock, struct neap_err *err)
{
    char path[PATH_MAX];
    int rc = neap_mkdir_p(dir, 0700);
    if (rc < 0)
        return neap_err_errno(err, -rc, "data directory %s", dir), -1;
    snprintf(path, sizeof(path), "%s/%s", dir, lock);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return neap_err_errno(err, errno, "%s", path), -1;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        neap_err_set(err, NEAP_EALREADYEXISTS, "%s is in use by another neap", dir);
        close(fd);
        return -1;
    }
    return fd;
}
