/* What core/main.c starts. Outside the arrows: these files put the pieces together, nothing else. */
#ifndef NEAP_CORE_SERVER_H
#define NEAP_CORE_SERVER_H

#include <neap/config.h>
#include <neap/loop.h>

#define NEAP_VERSION "v1.37.2+neap.1"

/* Options of every command that opens a data directory. */
extern const struct neap_option neap_common_options[];
extern const struct neap_option neap_server_options[];
extern const struct neap_option neap_agent_options[];
extern const struct neap_option neap_image_options[];

/* `neap server`: serves until a signal; the exit code. blocks: yes. */
int neap_server_main(struct neap_config *config);
/* `neap agent`: the same for a node. */
int neap_agent_main(struct neap_config *config);
/* `neap up`: one of each, supervised. <argv>: the options to hand on, as they came. */
int neap_up_main(struct neap_config *config, int argc, char **argv);
/* `neap image import|list|pull`: drives the runtime plugin of DATA_DIR. */
int neap_image_main(struct neap_config *config, int argc, char **argv);

/* `neap store verify`: of a server that does not run. 0: sound; 1: problems, each on a line of its own. */
int neap_store_main(struct neap_config *config, int argc, char **argv);

/* `neap script test|check FILE...`: for authors of controllers and admission rules. */
int neap_script_main(struct neap_config *config, int argc, char **argv);

/* `neap get|apply|delete`: a thin client. */
int neap_thin_main(struct neap_config *config, const char *command, int argc, char **argv);

/* Where the program's plugins and scripts are: beside the binary, or the configured folder. <out> at
 * least PATH_MAX bytes. */
void neap_beside(const char *configured, const char *name, char *out, size_t size);
/* Six hex digits of the data directory's name: in every host-wide name. */
void neap_instance(const char *data_dir, char out[7]);
/* One clear line on stderr. Always returns 1. */
int neap_complain(const char *what, const struct neap_err *err);
/* "web1", the configured name, or the host's. <out> at least 256 bytes. */
void neap_node_name(const struct neap_config *config, char out[256]);
/* /run/netns/NAME of option netns; NULL: none is configured. errors: it does not exist. <out> PATH_MAX. */
int neap_netns_path(const struct neap_config *config, char *out, size_t size, const char **ret,
                    struct neap_err *err);
/* The address of the node that its pods reach: the first of the pod range (plugins/network/veth). */
void neap_pod_gateway(const struct neap_config *config, char out[46]);
/* pod_cidr and service_cidr: ranges of one family that do not overlap. errors: NEAP_ECONFIG. */
int neap_check_ranges(const struct neap_config *config, struct neap_err *err);
/* Makes the data directory and takes its lock; the lock's fd or -1 with a message. */
int neap_data_dir_lock(const char *dir, const char *lock, struct neap_err *err);

#endif
