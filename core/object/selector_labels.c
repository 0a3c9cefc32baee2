/* The string form of label selectors: a lexer and a recursive descent over
 *   selector := requirement (',' requirement)*
 *   requirement := ['!'] KEY | KEY ('=' | '==' | '!=' | '>' | '<') [VALUE] | KEY ('in' | 'notin') set
 *   set := '(' VALUE? (',' VALUE?)* ')'
 * Source: Kubernetes "Labels and Selectors"; error texts from recorded answers. */
#include "core/object/object_internal.h"

enum token {
    T_END,
    T_NAME,
    T_IN,
    T_NOT_IN,
    T_NOT,
    T_OPEN,
    T_CLOSE,
    T_COMMA,
    T_EQUALS,
    T_DOUBLE_EQUALS,
    T_NOT_EQUALS,
    T_GT,
    T_LT,
};

struct lexer {
    const char *p;
    enum token token; /* the one ahead */
    struct neap_text text;
};

static const struct {
    const char *text;
    enum token token;
} symbols[] = {
    {"==", T_DOUBLE_EQUALS}, {"!=", T_NOT_EQUALS}, {"=", T_EQUALS}, {"!", T_NOT}, {"(", T_OPEN},
    {")", T_CLOSE},          {",", T_COMMA},       {">", T_GT},     {"<", T_LT}};

static void advance(struct lexer *l)
{
    l->p += strspn(l->p, " \t\r\n");
    for (unsigned i = 0; i < NEAP_ARRAY_LEN(symbols); i++) {
        if (!neap_startswith(l->p, symbols[i].text))
            continue;
        l->token = symbols[i].token;
        l->text = (struct neap_text){symbols[i].text, strlen(symbols[i].text)};
        l->p += l->text.len;
        return;
    }
    l->text = (struct neap_text){l->p, strcspn(l->p, "=!(),<> \t\r\n")};
    l->p += l->text.len;
    if (!l->text.len)
        l->token = T_END;
    else if (l->text.len == 2 && memcmp(l->text.s, "in", 2) == 0)
        l->token = T_IN;
    else if (l->text.len == 5 && memcmp(l->text.s, "notin", 5) == 0)
        l->token = T_NOT_IN;
    else
        l->token = T_NAME;
}

/* Where a name may stand, "in" and "notin" are names too. */
static bool at_name(const struct lexer *l)
{
    return l->token == T_NAME || l->token == T_IN || l->token == T_NOT_IN;
}

static int unexpected(const struct lexer *l, const char *rest, struct neap_err *err)
{
    return neap_err_set(err, NEAP_EBADREQUEST, "found '%.*s'%s", (int)l->text.len, l->text.s, rest);
}

struct values {
    struct neap_text *at;
    size_t count, cap;
    bool has_empty;
};

static void put_value(struct values *v, struct neap_text text)
{
    if (!text.len && v->has_empty)
        return; /* noted once, however many commas */
    v->has_empty |= !text.len;
    v->at = neap_grow(v->at, &v->cap, v->count, sizeof(*v->at));
    v->at[v->count++] = text;
}

static int read_set_items(struct lexer *l, struct values *v, struct neap_err *err)
{
    static const struct neap_text none = {"", 0};
    for (;;) {
        if (at_name(l)) {
            put_value(v, l->text);
            advance(l);
            if (l->token == T_CLOSE)
                return 0;
            if (l->token != T_COMMA)
                return unexpected(l, ", expected: ',' or ')'", err);
            continue;
        }
        if (l->token != T_COMMA)
            return unexpected(l, ", expected: ',', or identifier", err);
        advance(l);
        if (!v->count)
            put_value(v, none);
        if (l->token == T_CLOSE) {
            put_value(v, none);
            return 0;
        }
        if (l->token == T_COMMA) {
            advance(l);
            put_value(v, none);
        }
    }
}

static int read_set(struct lexer *l, struct values *v, struct neap_err *err)
{
    if (l->token != T_OPEN)
        return unexpected(l, " expected: '('", err);
    advance(l);
    if (!at_name(l) && l->token != T_COMMA && l->token != T_CLOSE)
        return unexpected(l, ", expected: ',', ')' or identifier", err);
    int code = 0;
    if (l->token == T_CLOSE)
        put_value(v, (struct neap_text){"", 0}); /* () is the empty value, as in Kubernetes */
    else
        code = read_set_items(l, v, err);
    if (!code && l->token != T_CLOSE)
        return unexpected(l, ", expected: ')'", err);
    if (!code)
        advance(l);
    return code;
}

static int read_exact(struct lexer *l, struct values *v, struct neap_err *err)
{
    if (l->token == T_END || l->token == T_COMMA) {
        put_value(v, (struct neap_text){"", 0});
        return 0;
    }
    if (!at_name(l))
        return unexpected(l, ", expected: identifier", err);
    put_value(v, l->text);
    advance(l);
    return 0;
}

static int read_operator(struct lexer *l, enum neap_token_op *ret, struct neap_err *err)
{
    static const struct {
        enum token token;
        enum neap_token_op op;
    } ops[] = {{T_IN, NEAP_TOKEN_IN},
               {T_NOT_IN, NEAP_TOKEN_NOT_IN},
               {T_EQUALS, NEAP_TOKEN_EQUALS},
               {T_DOUBLE_EQUALS, NEAP_TOKEN_EQUALS},
               {T_GT, NEAP_TOKEN_GT},
               {T_LT, NEAP_TOKEN_LT},
               {T_NOT_EQUALS, NEAP_TOKEN_NOT_EQUALS}};
    for (unsigned i = 0; i < NEAP_ARRAY_LEN(ops); i++) {
        if (ops[i].token != l->token)
            continue;
        *ret = ops[i].op;
        advance(l);
        return 0;
    }
    return unexpected(l, ", expected: in, notin, =, ==, !=, gt, lt", err);
}

static int read_requirement(struct lexer *l, struct neap_selector *s, struct neap_err *err)
{
    bool not = l->token == T_NOT;
    if (not )
        advance(l);
    if (!at_name(l))
        return unexpected(l, ", expected: identifier", err);
    struct neap_text key = l->text;
    int code = neap_selector_check_key(key, "<nil>", err);
    if (code)
        return code;
    advance(l);
    if (not || l->token == T_END || l->token == T_COMMA)
        return neap_selector_add(s, key, not ? NEAP_TOKEN_NOT_EXISTS : NEAP_TOKEN_EXISTS, NULL, 0,
                                 err);
    enum neap_token_op op = 0;
    code = read_operator(l, &op, err);
    if (code)
        return code;
    struct values v = {0};
    bool set = op == NEAP_TOKEN_IN || op == NEAP_TOKEN_NOT_IN;
    code = set ? read_set(l, &v, err) : read_exact(l, &v, err);
    if (!code)
        code = neap_selector_add(s, key, op, v.at, v.count, err);
    free(v.at);
    return code;
}

int neap_selector_parse_labels(struct neap_selector *s, const char *text, struct neap_err *err)
{
    if (strlen(text) > NEAP_SELECTOR_BYTES_MAX)
        return neap_err_set(err, NEAP_EBADREQUEST, "selector is too large");
    struct lexer l = {.p = text};
    advance(&l);
    while (l.token != T_END) {
        if (!at_name(&l) && l.token != T_NOT)
            return unexpected(&l, ", expected: !, identifier, or 'end of string'", err);
        struct neap_err cause = NEAP_ERR_INIT;
        if (read_requirement(&l, s, &cause)) {
            neap_err_wrap(&cause, "unable to parse requirement");
            return neap_err_move(err, &cause);
        }
        if (l.token == T_END)
            break;
        if (l.token != T_COMMA)
            return unexpected(&l, ", expected: ',' or 'end of string'", err);
        advance(&l);
        if (!at_name(&l) && l.token != T_NOT)
            return unexpected(&l, ", expected: identifier after ','", err);
    }
    return 0;
}
