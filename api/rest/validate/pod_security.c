/* Security contexts of pods and containers, and what an operating system rules out. */
#include "validate.h"

static const char ID_TEXT[] = "must be between 0 and 2147483647, inclusive";

static void check_id(struct rest_validation *v, path p, json *id)
{
    if (id && (yyjson_mut_get_sint(id) < 0 || yyjson_mut_get_sint(id) > INT32_MAX))
        rest_invalid(v, p, id, "%s", ID_TEXT);
}

static const char *const profile_types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};

static void check_seccomp(struct rest_validation *v, path p, json *s)
{
    json *profile = get(s, "localhostProfile");
    path at = AT(p, "localhostProfile");
    if (!s)
        return;
    if (!*text(s, "type"))
        rest_required(v, AT(p, "type"), "type is required when seccompProfile is set");
    else
        rest_check_one_of(v, AT(p, "type"), text(s, "type"), false, profile_types);
    if (is(s, "type", "Localhost") && !profile)
        rest_required(v, at, "must be set when seccomp type is Localhost");
    else if (is(s, "type", "Localhost"))
        rest_check_descending_path(v, at, string_of(profile));
    else if (profile)
        rest_invalid_go(v, at, s, "SeccompProfile",
                        "can only be set when seccomp type is Localhost");
}

static bool padded(const char *s)
{
    size_t n = strlen(s);
    return n && (strchr(" \t\n\v\f\r", s[0]) || strchr(" \t\n\v\f\r", s[n - 1]));
}

static void check_apparmor(struct rest_validation *v, path p, json *s)
{
    json *profile = get(s, "localhostProfile");
    path at = AT(p, "localhostProfile");
    if (!s)
        return;
    if (!*text(s, "type")) {
        rest_required(v, AT(p, "type"), "type is required when appArmorProfile is set");
    } else if (!rest_check_one_of(v, AT(p, "type"), text(s, "type"), false, profile_types)) {
        return;
    } else if (!is(s, "type", "Localhost")) {
        if (profile)
            rest_invalid(v, at, profile, "can only be set when AppArmor type is Localhost");
    } else {
        if (padded(string_of(profile)))
            rest_invalid(v, at, profile, "must not be padded with whitespace");
        else if (!*string_of(profile))
            rest_required(v, at, "must be set when AppArmor type is Localhost");
        if (yyjson_mut_get_len(profile) > 4095)
            rest_too_long(v, at, 4095);
    }
}

static void check_windows(struct rest_validation *v, path p, json *w)
{
    json *spec = get(w, "gmsaCredentialSpec");
    if (has(w, "gmsaCredentialSpecName"))
        rest_check_words(v, AT(p, "gmsaCredentialSpecName"), text(w, "gmsaCredentialSpecName"),
                         rest_words_dns_subdomain);
    if (spec && !yyjson_mut_get_len(spec))
        rest_invalid(v, AT(p, "gmsaCredentialSpec"), spec,
                     "gmsaCredentialSpec cannot be an empty string");
    else if (yyjson_mut_get_len(spec) > 64 << 10)
        rest_invalid(v, AT(p, "gmsaCredentialSpec"), spec,
                     "gmsaCredentialSpec size must be under 64 KiB");
    if (has(w, "runAsUserName") && !*text(w, "runAsUserName"))
        rest_invalid(v, AT(p, "runAsUserName"), get(w, "runAsUserName"),
                     "runAsUserName cannot be an empty string");
}

static void check_escalation(struct rest_validation *v, path p, json *sc)
{
    if (!has(sc, "allowPrivilegeEscalation") || flag(sc, "allowPrivilegeEscalation"))
        return;
    if (flag(sc, "privileged"))
        rest_invalid_go(v, p, sc, "SecurityContext",
                        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    EACH(e, get(get(sc, "capabilities"), "add"))
    if (strcmp(string_of(e.item), "CAP_SYS_ADMIN") == 0)
        rest_invalid_go(v, p, sc, "SecurityContext",
                        "cannot set `allowPrivilegeEscalation` to false and "
                        "`capabilities.Add` CAP_SYS_ADMIN");
}

void rest_check_security_context(struct rest_pod *pod, path p, json *sc)
{
    static const char *const mounts[] = {"Default", "Unmasked", NULL};
    struct rest_validation *v = pod->v;
    json *host_users = get(pod->spec, "hostUsers");
    if (!sc)
        return;
    check_id(v, AT(p, "runAsUser"), get(sc, "runAsUser"));
    check_id(v, AT(p, "runAsGroup"), get(sc, "runAsGroup"));
    if (has(sc, "procMount")) {
        rest_check_one_of(v, AT(p, "procMount"), text(sc, "procMount"), false, mounts);
        if (is(sc, "procMount", "Unmasked") && (!host_users || yyjson_mut_get_bool(host_users)))
            rest_invalid(v, AT(p, "procMount"), get(sc, "procMount"),
                         "`hostUsers` must be false to use `Unmasked`");
    }
    check_seccomp(v, AT(p, "seccompProfile"), get(sc, "seccompProfile"));
    check_escalation(v, p, sc);
    check_windows(v, AT(p, "windowsOptions"), get(sc, "windowsOptions"));
    check_apparmor(v, AT(p, "appArmorProfile"), get(sc, "appArmorProfile"));
}

/* ---- the pod's ---- */

/* Segments of a sysctl's name: [a-z0-9]([-_a-z0-9]*[a-z0-9])?, with '.' or '/' between. */
static bool sysctl_name(const char *s)
{
    static const char ends[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    if (strlen(s) > 253)
        return false;
    for (;;) {
        size_t n = strcspn(s, "./");
        if (!n || !strchr(ends, s[0]) || !strchr(ends, s[n - 1]))
            return false;
        if (strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") < n)
            return false;
        if (!s[n])
            return true;
        s += n + 1;
    }
}

static void check_host_sysctl(struct rest_pod *pod, path p, const char *name)
{
    static const char *const ipc[] = {"kernel/shm", "kernel/msg", "fs/mqueue/"};
    char plain[32];
    bool is_ipc = strcmp(name, "kernel.sem") == 0;
    snprintf(plain, sizeof(plain), "%s", name);
    for (char *s = plain; *s; s++)
        *s = *s == '.' ? '/' : *s;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(ipc); i++)
        is_ipc = is_ipc || strncmp(plain, ipc[i], strlen(ipc[i])) == 0;
    if (flag(pod->spec, "hostNetwork") && strncmp(plain, "net/", 4) == 0)
        rest_invalid_string(pod->v, p, name, "may not be specified when 'hostNetwork' is true");
    else if (flag(pod->spec, "hostIPC") && is_ipc)
        rest_invalid_string(pod->v, p, name, "may not be specified when 'hostIPC' is true");
}

static void check_sysctls(struct rest_pod *pod, path p, json *list)
{
    struct rest_validation *v = pod->v;
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, list)
    {
        path at = AT(ITEM(p, e.i), "name");
        const char *name = text(e.item, "name");
        if (!*name)
            rest_required(v, at, NO_WHY);
        else if (!sysctl_name(name))
            rest_invalid_string(v, at, name,
                                "must have at most 253 characters and match regex "
                                "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*"
                                "[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        else if (neap_map_get(&seen, name))
            rest_duplicate_string(v, at, name);
        check_host_sysctl(pod, at, name);
        rest_set_add(&seen, name);
    }
    neap_map_done(&seen, NULL);
}

static void check_policy(struct rest_validation *v, path p, json *sc, const char *name,
                         const char *const *values)
{
    if (has(sc, name))
        rest_check_one_of(v, AT(p, name), text(sc, name), false, values);
}

void rest_check_pod_security_context(struct rest_pod *pod, path p)
{
    static const char *const change[] = {"Always", "OnRootMismatch", NULL};
    static const char *const groups[] = {"Merge", "Strict", NULL};
    static const char *const selinux[] = {"MountOption", "Recursive", NULL};
    struct rest_validation *v = pod->v;
    json *sc = get(pod->spec, "securityContext");
    path list = AT(p, "supplementalGroups");
    if (!sc)
        return;
    check_id(v, AT(p, "fsGroup"), get(sc, "fsGroup"));
    check_id(v, AT(p, "runAsUser"), get(sc, "runAsUser"));
    check_id(v, AT(p, "runAsGroup"), get(sc, "runAsGroup"));
    EACH(e, get(sc, "supplementalGroups"))
    check_id(v, ITEM(list, e.i), e.item);
    check_sysctls(pod, AT(p, "sysctls"), get(sc, "sysctls"));
    check_policy(v, p, sc, "fsGroupChangePolicy", change);
    check_seccomp(v, AT(p, "seccompProfile"), get(sc, "seccompProfile"));
    check_windows(v, AT(p, "windowsOptions"), get(sc, "windowsOptions"));
    check_apparmor(v, AT(p, "appArmorProfile"), get(sc, "appArmorProfile"));
    check_policy(v, p, sc, "supplementalGroupsPolicy", groups);
    check_policy(v, p, sc, "seLinuxChangePolicy", selinux);
}

/* ---- operating systems ---- */

static void forbid(struct rest_validation *v, path p, json *o, const char *const *fields,
                   const char *why)
{
    for (; *fields; fields++)
        if (has(o, *fields))
            rest_forbidden(v, AT(p, *fields), "%s", why);
}

static void forbid_in_containers(struct rest_pod *pod, path spec_path, const char *const *fields,
                                 const char *why)
{
    static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++) {
        path p = AT(spec_path, lists[i]);
        EACH(e, get(pod->spec, lists[i]))
        forbid(pod->v, AT(ITEM(p, e.i), "securityContext"), get(e.item, "securityContext"), fields,
               why);
    }
}

static void check_for_windows(struct rest_pod *pod, path p)
{
    static const char why[] = "cannot be set for a windows pod";
    static const char *const context[] = {"appArmorProfile",     "seLinuxOptions",
                                          "seccompProfile",      "fsGroup",
                                          "fsGroupChangePolicy", "sysctls",
                                          "runAsUser",           "runAsGroup",
                                          "supplementalGroups",  "supplementalGroupsPolicy",
                                          "seLinuxChangePolicy", NULL};
    static const char *const spec[] = {"hostUsers", "hostPID", "hostIPC", "shareProcessNamespace",
                                       NULL};
    static const char *const container[] = {"appArmorProfile",
                                            "seLinuxOptions",
                                            "seccompProfile",
                                            "capabilities",
                                            "readOnlyRootFilesystem",
                                            "privileged",
                                            "allowPrivilegeEscalation",
                                            "procMount",
                                            "runAsUser",
                                            "runAsGroup",
                                            NULL};
    forbid(pod->v, AT(p, "securityContext"), get(pod->spec, "securityContext"), context, why);
    forbid(pod->v, p, pod->spec, spec, why);
    forbid_in_containers(pod, p, container, why);
}

void rest_check_pod_os(struct rest_pod *pod, path spec_path)
{
    static const char *const names[] = {"linux", "windows", NULL};
    static const char *const options[] = {"windowsOptions", NULL};
    static const char why[] = "windows options cannot be set for a linux pod";
    json *os = get(pod->spec, "os");
    if (!os)
        return;
    if (!*text(os, "name"))
        rest_required(pod->v, AT(AT(spec_path, "os"), "name"), NO_WHY);
    else if (!rest_check_one_of(pod->v, AT(spec_path, "os"), text(os, "name"), false, names))
        return;
    else if (is(os, "name", "windows"))
        check_for_windows(pod, spec_path);
    else {
        forbid(pod->v, AT(spec_path, "securityContext"), get(pod->spec, "securityContext"), options,
               why);
        forbid_in_containers(pod, spec_path, options, why);
    }
}
