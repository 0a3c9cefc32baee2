#include "validate.h"

void rest_invalid(struct rest_validation *v, const char *field, const char *value, const char *fmt,
                  ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    neap_err_cause(v->err, "FieldValueInvalid", field, "Invalid value: %s: %s", value, text);
}

void rest_invalid_string(struct rest_validation *v, const char *field, const char *value,
                         const char *why)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_json_string(&b, value, strlen(value));
    rest_invalid(v, field, b.data, "%s", why);
    neap_buf_done(&b);
}

void rest_required(struct rest_validation *v, const char *field, const char *why)
{
    neap_err_cause(v->err, "FieldValueRequired", field, "Required value%s%s", *why ? ": " : "",
                   why);
}

void rest_forbidden(struct rest_validation *v, const char *field, const char *why)
{
    neap_err_cause(v->err, "FieldValueForbidden", field, "Forbidden: %s", why);
}
