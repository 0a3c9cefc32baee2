/* What every unit test includes: cmocka with its prerequisites, and a few assertions that print more. */
#ifndef NEAP_TEST_H
#define NEAP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <neap/base.h>
#include <neap/err.h>

/* Runs <expr>, which returns 0 or a code with <e> set; prints the message when it fails. */
#define assert_ok(expr, e)                                                                         \
    do {                                                                                           \
        int code_ = (expr);                                                                        \
        if (code_)                                                                                 \
            fail_msg("%s: %d %s", #expr, code_, (e).message ? (e).message : "");                   \
    } while (0)

#endif
