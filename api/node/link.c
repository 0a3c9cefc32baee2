#include "link.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

bool node_link_tls(struct node_link *l)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        return false;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    l->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx); /* the connection keeps it */
    if (!l->ssl || SSL_set_fd(l->ssl, l->fd) != 1)
        return false;
    SSL_set_connect_state(l->ssl);
    return true;
}

static ssize_t outcome(struct node_link *l, int n)
{
    int e = errno, what = SSL_get_error(l->ssl, n);
    ERR_clear_error();
    if (n > 0)
        return n;
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (what == SSL_ERROR_ZERO_RETURN)
        return 0;
    return what == SSL_ERROR_SYSCALL && e ? -e : -EPROTO;
}

/* OpenSSL's counts are int; what is sent at once is far less. */
enum { MOST = 1 << 20 };

ssize_t node_link_send(struct node_link *l, const void *data, size_t len)
{
    if (l->ssl)
        return outcome(l, SSL_write(l->ssl, data, (int)(len < MOST ? len : MOST)));
    ssize_t n = send(l->fd, data, len, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

ssize_t node_link_recv(struct node_link *l, void *data, size_t len)
{
    if (l->ssl)
        return outcome(l, SSL_read(l->ssl, data, (int)(len < MOST ? len : MOST)));
    ssize_t n = recv(l->fd, data, len, 0);
    return n < 0 ? -errno : n;
}

bool node_link_wants_write(const struct node_link *l)
{
    return l->ssl && SSL_want_write(l->ssl);
}

void node_link_close(struct node_link *l)
{
    SSL_free(l->ssl);
    l->ssl = NULL;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}
