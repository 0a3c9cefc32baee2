/* Names of images: "busybox" is "docker.io/library/busybox:latest". No I/O. */
#ifndef OCI_IMAGE_NAME_H
#define OCI_IMAGE_NAME_H

#include <stdbool.h>

#define OCI_NAME_MAX 512

/* The full name, owned; NULL: not a name. "x@sha256:..." keeps its digest and gets no tag. */
char *oci_name_normalise(const char *name);
/* True for "sha256:" and 64 hex digits. */
bool oci_digest_ok(const char *s);

#endif
