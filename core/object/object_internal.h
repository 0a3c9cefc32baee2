/* Private to core/object. */
#ifndef NEAP_CORE_OBJECT_INTERNAL_H
#define NEAP_CORE_OBJECT_INTERNAL_H

#include "core/object/head.h"

#define NEAP_OBJECT_LABELS_MAX   1024 /* of one object; metadata is bounded to 256 KiB by the API */
#define NEAP_OBJECT_OWNERS_MAX   1024
#define NEAP_OBJECT_VALUES_MAX   64
#define NEAP_OBJECT_BYTES_MAX    (64u << 20)
#define NEAP_OBJECT_KEY_MAX      1024 /* bytes of a key */
#define NEAP_SELECTOR_BYTES_MAX  (256u << 10)
#define NEAP_SELECTOR_VALUES_MAX 65536 /* requirements and their values together */

/* What extract.c has read from a text: the head (counts, scalars and owned strings) and its tables. */
struct neap_extract {
    struct neap_object head;
    struct neap_owner *owners;
    struct neap_label *labels;
    struct neap_str **values;
};
/* Takes the strings of <x>; its arrays stay the caller's. */
struct neap_object *neap_object_make(const struct neap_extract *x, const char *json, size_t len,
                                     uint64_t revision);
void neap_owner_unref(const struct neap_owner *w);
const struct neap_label *neap_object_labels(const struct neap_object *o);

enum neap_op_kind {
    NEAP_OP_IN,
    NEAP_OP_NOT_IN,
    NEAP_OP_EXISTS,
    NEAP_OP_NOT_EXISTS,
    NEAP_OP_GT,
    NEAP_OP_LT,
};

struct neap_requirement {
    struct neap_str *key;
    enum neap_op_kind op;
    struct neap_str **values;
    unsigned value_count;
    int64_t number; /* GT, LT */
};

enum { NEAP_FIELD_NAME = -1, NEAP_FIELD_NAMESPACE = -2 };

struct neap_field_requirement {
    struct neap_str *path, *value;
    int field; /* index of kind->selectable, or NEAP_FIELD_* */
    bool not_equal;
};

struct neap_selector {
    bool nothing;
    struct neap_requirement *labels;
    size_t label_count, label_cap;
    struct neap_field_requirement *fields;
    size_t field_count, field_cap;
};

/* "=", "in" and the like as the grammar's operators; exact-match forms have one value. */
enum neap_token_op {
    NEAP_TOKEN_IN,
    NEAP_TOKEN_NOT_IN,
    NEAP_TOKEN_EQUALS,
    NEAP_TOKEN_NOT_EQUALS,
    NEAP_TOKEN_EXISTS,
    NEAP_TOKEN_NOT_EXISTS,
    NEAP_TOKEN_GT,
    NEAP_TOKEN_LT,
};
struct neap_text {
    const char *s;
    size_t len;
};
/* Checks key and values with the real server's words and adds the requirement. */
int neap_selector_add(struct neap_selector *s, struct neap_text key, enum neap_token_op op,
                      const struct neap_text *values, size_t count, struct neap_err *err);
/* "<nil>: Invalid value: ..." when <path> is "<nil>". */
int neap_selector_check_key(struct neap_text key, const char *path, struct neap_err *err);
int neap_selector_parse_labels(struct neap_selector *s, const char *text, struct neap_err *err);
int neap_selector_parse_fields(struct neap_selector *s, const struct neap_kind *kind,
                               const char *text, struct neap_err *err);

#endif
