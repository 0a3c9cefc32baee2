/* Structured logs: one line `ts level component msg key=value...` to stderr or a given fd.
 * Objects are named kind/ns/name; no secret and no body, ever. thread: any; one write(2) a line. */
#ifndef NEAP_LOG_H
#define NEAP_LOG_H

#include <neap/base.h>
#include <neap/err.h>

enum neap_log_level { NEAP_LOG_DEBUG, NEAP_LOG_INFO, NEAP_LOG_WARN, NEAP_LOG_ERROR };

/* <fmt> makes the key=value part ("" for none). A line over 4 KiB is cut. */
void neap_log(enum neap_log_level level, const char *component, const char *msg, const char *fmt,
              ...) __attribute__((format(printf, 4, 5)));
void neap_log_set(enum neap_log_level least, int fd);
bool neap_log_enabled(enum neap_log_level level);
/* err="..." with the text quoted, for <fmt>'s place: a static buffer per thread. */
const char *neap_log_quote(const char *text);

#define NEAP_DEBUG(component, msg, ...)                                                            \
    (neap_log_enabled(NEAP_LOG_DEBUG) ? neap_log(NEAP_LOG_DEBUG, component, msg, __VA_ARGS__)      \
                                      : (void)0)
#define NEAP_INFO(component, msg, ...)  neap_log(NEAP_LOG_INFO, component, msg, __VA_ARGS__)
#define NEAP_WARN(component, msg, ...)  neap_log(NEAP_LOG_WARN, component, msg, __VA_ARGS__)
#define NEAP_ERROR(component, msg, ...) neap_log(NEAP_LOG_ERROR, component, msg, __VA_ARGS__)

#endif
