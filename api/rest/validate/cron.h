/* Cron expressions: five fields or an @descriptor. */
#ifndef NEAP_API_REST_VALIDATE_CRON_H
#define NEAP_API_REST_VALIDATE_CRON_H

#include <stdbool.h>
#include <stddef.h>

/* False: not one; <why> says so in the real server's words. */
bool rest_cron_check(const char *schedule, char *why, size_t size);
/* Is <name> in the system's time zone database? */
bool rest_time_zone_known(const char *name);

#endif
