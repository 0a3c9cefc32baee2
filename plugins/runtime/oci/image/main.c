/* neap-image VERB DATA/images ARGUMENT NAME [COMMAND...] (pull: a file of certificates for NAME): run by the oci plugin only. */
#include "image.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int image_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return code;
}

static int run(struct image_store *s, char **argv)
{
    const char *verb = argv[1], *name = argv[4][0] ? argv[4] : NULL;
    if (!strcmp(verb, "import"))
        return image_import(s, argv[3], name);
    if (!strcmp(verb, "rootfs"))
        return image_from_rootfs(s, argv[3], name ? name : "", argv + 5);
    if (!strcmp(verb, "pull"))
        return image_pull(s, argv[3], name);
    if (!strcmp(verb, "remove"))
        return image_store_remove(s, argv[3]);
    return image_fail(2, "neap-image: unknown verb %s", verb);
}

int main(int argc, char **argv)
{
    if (argc < 5 || argv[2][0] != '/') {
        fprintf(stderr, "usage: neap-image import|rootfs|pull|remove DIR ARGUMENT NAME "
                        "[COMMAND...] (run by neap's oci runtime)\n");
        return 2;
    }
    close_range(3, ~0U, 0);
    umask(0);
    setlocale(LC_CTYPE, "C.UTF-8"); /* names in archives are UTF-8 */
    struct image_store s;
    int r = image_store_open(&s, argv[2]);
    if (!r)
        r = run(&s, argv);
    image_store_close(&s);
    return r;
}
