/* Checksums of records and counters: against disks that change bits, not against people. Every step is a bijection of
 * the state, so that one changed bit, byte or word is always seen. */
#include "sqlite_internal.h"

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

static uint64_t mix_bytes(uint64_t h, const char *data, size_t len)
{
    uint64_t word;
    h = mix(h, len);
    for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        h = mix(h, word);
    }
    word = 0;
    memcpy(&word, data, len);
    return mix(h, word);
}

int64_t sqlite_store_sum(const struct sqlite_store_row *row)
{
    uint64_t h = mix((uint64_t)row->id, row->value != NULL);
    h = mix(mix(h, (uint64_t)row->expires), (uint64_t)row->prev);
    h = mix_bytes(h, row->key, row->key_len);
    if (row->value)
        h = mix_bytes(h, row->value, row->value_len);
    return (int64_t)h;
}

int64_t sqlite_store_meta_sum(uint64_t revision, uint64_t compacted)
{
    return (int64_t)mix(mix(mix(0, SQLITE_STORE_FORMAT), revision), compacted);
}

static void sum_of(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct sqlite_store_row row = {.id = sqlite3_value_int64(argv[0]),
                                   .key = (const char *)sqlite3_value_text(argv[1]),
                                   .value = (const char *)sqlite3_value_text(argv[2]),
                                   .key_len = (size_t)sqlite3_value_bytes(argv[1]),
                                   .value_len = (size_t)sqlite3_value_bytes(argv[2]),
                                   .expires = sqlite3_value_int64(argv[3]),
                                   .prev = sqlite3_value_int64(argv[4])};
    if (row.key)
        sqlite3_result_int64(ctx, sqlite_store_sum(&row));
}

int sqlite_store_sum_function(sqlite3 *db)
{
    return sqlite3_create_function(db, "neap_sum", 5, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                   sum_of, NULL, NULL);
}
