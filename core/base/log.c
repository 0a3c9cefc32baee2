/* Structured logs: see neap/log.h. */
#include <neap/log.h>

#include <neap/clock.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static _Atomic int least = NEAP_LOG_INFO;
static _Atomic int log_fd = STDERR_FILENO;

void neap_log_set(enum neap_log_level level, int fd)
{
    least = (int)level;
    log_fd = fd;
}

bool neap_log_enabled(enum neap_log_level level)
{
    return (int)level >= least;
}

const char *neap_log_quote(const char *text)
{
    static _Thread_local char out[1024];
    char *p = out, *end = out + sizeof(out) - 3;
    *p++ = '"';
    for (; text && *text && p < end; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            *p++ = '\\';
        *p++ = c < 0x20 ? ' ' : (char)c;
    }
    *p++ = '"';
    *p = '\0';
    return out;
}

void neap_log(enum neap_log_level level, const char *component, const char *msg, const char *fmt,
              ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (!neap_log_enabled(level))
        return;
    char ts[32], line[LINE_MAX_BYTES];
    neap_time_format_micro(neap_clock_wall(&neap_clock_system), ts);
    int n = snprintf(line, sizeof(line) - 1, "%s %s %s \"%s\" ", ts, names[level], component, msg);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;
    va_list ap;
    va_start(ap, fmt);
    n = vsnprintf(line + len, sizeof(line) - 1 - len, fmt, ap);
    va_end(ap);
    if (n > 0)
        len = len + (size_t)n < sizeof(line) - 1 ? len + (size_t)n : sizeof(line) - 2;
    for (size_t i = 0; i < len; i++) /* one line, whatever the values hold */
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    while (len && line[len - 1] == ' ')
        len--;
    line[len++] = '\n';
    (void)!write(log_fd, line, len);
}
