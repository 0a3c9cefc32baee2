#include "image.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

void image_hash_start(struct image_hash *h)
{
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
        abort();
}

void image_hash_add(struct image_hash *h, const void *p, size_t n)
{
    if (EVP_DigestUpdate(h->ctx, p, n) != 1)
        abort();
}

void image_hash_end(struct image_hash *h, char ret_hex[65])
{
    unsigned char d[32];
    if (EVP_DigestFinal_ex(h->ctx, d, NULL) != 1)
        abort();
    EVP_MD_CTX_free(h->ctx);
    h->ctx = NULL;
    for (int i = 0; i < 32; i++)
        snprintf(ret_hex + i * 2, 3, "%02x", d[i]);
}

void image_hash_of(const void *p, size_t n, char ret_hex[65])
{
    struct image_hash h;
    image_hash_start(&h);
    image_hash_add(&h, p, n);
    image_hash_end(&h, ret_hex);
}
