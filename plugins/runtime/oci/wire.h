/* The shim's protocol: frames on a unix stream socket.
 *   u32 big-endian: length of what follows (1..OCI_WIRE_MAX); u8 kind; bytes
 * kind OCI_WIRE_JSON: a request {"op","seq",...}, a reply {"seq","code",...} or an event {"event",...};
 * kinds 0, 1, 2: bytes of stdin, stdout, stderr on a connection that runs an exec or an attach.
 * The first frame each way is {"neap_shim": OCI_WIRE_VERSION}: new agents speak to old shims, so
 * requests only grow by optional members. No I/O here. */
#ifndef OCI_WIRE_H
#define OCI_WIRE_H

#include "common.h"

#define OCI_WIRE_VERSION 1
#define OCI_WIRE_MAX     (4u << 20)
#define OCI_WIRE_CHUNK   (32u << 10)
enum { OCI_WIRE_STDIN = 0, OCI_WIRE_STDOUT = 1, OCI_WIRE_STDERR = 2, OCI_WIRE_JSON = 'J' };

void oci_wire_put(struct oci_buf *out, int kind, const void *p, size_t n);
/* 1: a frame (borrowed from <in>, *used bytes); 0: not complete yet; -EPROTO: not ours. */
int oci_wire_get(const struct oci_buf *in, size_t at, int *kind, const char **p, size_t *n,
                 size_t *used);

#endif
