/* What core/object and core/registry share of an object: its counted strings and its head. No other
 * folder includes this.
 *
 * A string is interned (equal text: equal pointer; labels, namespaces, selectable values) or plain (an
 * object's key, shared by the versions of the object and by index entries). thread: any; the counts
 * are atomic. */
#ifndef NEAP_CORE_OBJECT_HEAD_H
#define NEAP_CORE_OBJECT_HEAD_H

#include <neap/object.h>
#include <stdatomic.h>

struct neap_str {
    _Atomic uint32_t refs;
    uint32_t len;
    uint32_t hash;
    bool interned;
    struct neap_str *next; /* in its bucket of the intern table */
    char s[];
};

struct neap_str *neap_str_intern(const char *s, size_t len);
struct neap_str *neap_str_new(const char *s, size_t len); /* plain */
struct neap_str *neap_str_ref(struct neap_str *s);
struct neap_str *neap_str_unref(struct neap_str *s); /* accepts NULL, returns NULL */
/* Strings in the intern table now: tests see leaks by it. */
size_t neap_str_interned_count(void);

struct neap_label {
    struct neap_str *key, *value;
};

/* One allocation: the head, its arrays, the JSON text. */
struct neap_object {
    _Atomic uint32_t refs;
    uint32_t json_len;
    const struct neap_kind *kind;
    struct neap_str *key, *namespace_, *uid;
    uint64_t revision;
    int64_t expires, created, generation;
    uint32_t splice; /* where `,"resourceVersion":"N"` stands, or would */
    uint16_t splice_len;
    uint16_t head_len;
    uint16_t name_at; /* of the name in the key */
    uint16_t label_count, owner_count, value_count;
    bool deleting, finalizers;
    _Atomic uint32_t
        protobuf_len; /* of neap_object_set_protobuf_len(); fills what would be padding */
    /* then: owners, labels, values (struct neap_str *), JSON and a NUL */
    void *tail[];
};

/* As neap_object_at_revision(), sharing the key string of <same_key> when that is not NULL. */
struct neap_object *neap_object_publish(const struct neap_object *o, uint64_t revision,
                                        const struct neap_object *same_key);
struct neap_str *neap_object_value_str(const struct neap_object *o, unsigned i);
struct neap_str *neap_object_owner_uid_str(const struct neap_object *o, unsigned i);

#endif
