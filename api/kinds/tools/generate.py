#!/usr/bin/python3
"""Turns api/kinds/<group>/<version>.yaml into const C tables for neap/kind.h.

    generate.py SOURCE_DIR OUT_DIR           writes OUT_DIR/*.c and OUT_DIR/kinds.h
    generate.py --list SOURCE_DIR OUT_DIR    prints the names of the .c files it would write

One C file a YAML file, so that a change compiles little; index.c has what spans groups. Equal
small tables (string lists, item shapes, protobuf paths) are shared within a file."""
import json
import os
import re
import sys

import yaml

SCALARS = {
    "string": "STRING", "int32": "INT32", "int64": "INT64", "double": "DOUBLE", "bool": "BOOL",
    "bytes": "BYTES", "time": "TIME", "microtime": "MICROTIME", "duration": "DURATION",
    "quantity": "QUANTITY", "intOrString": "INT_OR_STRING", "raw": "RAW", "fieldsV1": "FIELDS_V1",
}
FIELD_KEYS = {"t", "zero", "required", "must", "immutable", "milli", "enum", "open", "default",
              "defaultIn", "min", "max", "list", "keys", "patch", "mergeKey", "atomic", "granular", "pb", "pbType",
              "doc"}
TYPE_KEYS = {"fields", "atomic", "defaulter", "doc"}
KIND_KEYS = {"resource", "singular", "shortNames", "categories", "scope", "verbs", "virtual", "name",
             "createOnUpdate", "gracefulDelete", "unconditionalUpdate", "deleteReturnsObject",
             "deleteOrphans", "generation", "generationBumpedBy", "statusAtCreate", "resetOnWrite",
             "resetOnStatusWrite", "ttl", "storage", "convert", "notEnforced", "selectable", "columns",
             "subresources"}
PB_TYPES = {"bytes": 1, "int64": 2, "int32": 3}


class Bad(Exception):
    pass


def check(where, given, known):
    extra = set(given) - known
    if extra:
        raise Bad("%s: unknown key %s" % (where, ", ".join(sorted(extra))))


def c_string(s):
    if s is None:
        return "NULL"
    out = ""
    for b in s.encode():
        c = chr(b)
        out += {'"': '\\"', "\\": "\\\\", "\n": "\\n"}.get(c, c if 32 <= b < 127 else "\\%03o" % b)
    return '"' + out + '"'


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def symbol(text):
    return re.sub(r"[^A-Za-z0-9]+", "_", text)


class File:
    """One YAML file, and the C that comes of it."""

    def __init__(self, source, path):
        self.rel = os.path.relpath(path, source)
        self.key = self.rel[:-len(".yaml")]  # "apps/v1"
        self.c_name = "kinds_" + symbol(self.key) + ".c"
        with open(path) as f:
            self.data = yaml.safe_load(f)
        check(self.rel, self.data, {"group", "version", "package", "kinds", "types"})
        self.shared = {}
        self.lines = []

    def type_name(self, short):
        return short if "." in short else self.data["package"] + "." + short

    def type_symbol(self, short):
        return "neap_t_" + symbol(self.type_name(short))

    def share(self, prefix, decl, body):
        """A static table of this file, once for equal content."""
        at = self.shared.get((decl, body))
        if at is None:
            at = "%s%d" % (prefix, len(self.shared))
            self.shared[decl, body] = at
            self.lines.append("static const %s = %s;" % (decl % at, body))
        return at

    def strings(self, items):
        if not items:
            return "NULL"
        return self.share("s", "char *const %s[]",
                          "{" + ", ".join(c_string(x) for x in items) + ", NULL}")

    def shape(self, text, where):
        """C initialiser of a neap_shape."""
        m = re.fullmatch(r"(list|map) of (.*)", text)
        if m:
            item = self.share("h", "struct neap_shape %s", self.shape(m[2], where))
            return "{.value = NEAP_T_%s, .item = &%s}" % ("ARRAY" if m[1] == "list" else "MAP", item)
        if text in SCALARS:
            return "{.value = NEAP_T_%s}" % SCALARS[text]
        return "{.value = NEAP_T_STRUCT, .type = &%s}" % ALL.type_ref(self, text, where)

    def field(self, name, d, where):
        check(where, d, FIELD_KEYS)
        out = [".name = %s" % c_string(name), ".shape = " + self.shape(d["t"], where)]
        if len(name) < 256:
            out.append(".name_len = %d" % len(name))
        if "zero" in d:
            out.append(".zero = NEAP_ZERO_" + {"keep": "KEEP", "emit": "EMIT", "nil": "NULL"}[d["zero"]])
        if "list" in d:
            out.append(".list = NEAP_LIST_" + d["list"].upper())
        patch = d.get("patch", [])
        if patch:
            out.append(".patch = " + " | ".join({"merge": "NEAP_PATCH_MERGE", "replace": "NEAP_PATCH_REPLACE",
                                                 "retainKeys": "NEAP_PATCH_RETAIN_KEYS"}[p] for p in patch))
        flags = [c for k, c in (("required", "REQUIRED"), ("immutable", "IMMUTABLE"), ("must", "MUST"),
                                ("open", "ENUM_OPEN"), ("atomic", "MAP_ATOMIC"), ("granular", "MAP_GRANULAR"), ("milli", "MILLI"))
                 if d.get(k)]
        if isinstance(d.get("pb"), list):
            flags.append("INLINE_PB")
        if ALL.struct_below(self, d["t"]) in ALL.defaulting:
            flags.append("DEFAULTS")
        if flags:
            out.append(".flags = " + " | ".join("NEAP_F_" + f for f in flags))
        if "pb" in d:
            pb = d["pb"] if isinstance(d["pb"], list) else [d["pb"]]
            table = self.share("p", "uint16_t %s[]", "{" + ", ".join(map(str, pb)) + "}")
            out.append(".pb = %s, .pb_depth = %d" % (table, len(pb)))
        if "pbType" in d:
            out.append(".pb_type = %d" % PB_TYPES[d["pbType"]])
        if "mergeKey" in d:
            out.append(".merge_key = " + c_string(d["mergeKey"]))
        for key, member in (("keys", "list_keys"), ("enum", "enum_values"), ("defaultIn", "default_kinds")):
            if d.get(key):
                out.append(".%s = %s" % (member, self.strings(d[key])))
        if "default" in d:
            out.append(".default_json = " + c_string(compact(d["default"])))
        if "min" in d or "max" in d:
            r = self.share("r", "struct neap_range %s",
                           "{%s, %s}" % (d.get("min", "INT64_MIN"), d.get("max", "INT64_MAX")))
            out.append(".range = &" + r)
        if d.get("doc"):
            out.append(".doc = " + c_string(d["doc"]))
        return "    {%s}," % ", ".join(out)

    def type(self, short, d):
        where = "%s: %s" % (self.rel, short)
        check(where, d, TYPE_KEYS)
        fields = d.get("fields") or {}
        sym = self.type_symbol(short)
        members = ['.name = ' + c_string(self.type_name(short))]
        if fields:
            body = [self.field(n, f, where + "." + n) for n, f in fields.items()]
            names = list(fields)
            by_name = sorted(range(len(names)), key=lambda i: names[i].encode())
            self.lines += ["static const struct neap_field f_%s[] = {" % sym] + body + ["};"]
            order = self.share("o", "uint16_t %s[]", "{" + ", ".join(map(str, by_name)) + "}")
            members.append(".fields = f_%s, .field_count = %d, .by_name = %s" % (sym, len(names), order))
            numbers = [d["pb"] if isinstance(d.get("pb"), list) else [d["pb"]] if "pb" in d else []
                       for d in fields.values()]
            by_pb = sorted((i for i, n in enumerate(numbers) if n), key=lambda i: numbers[i])
            if by_pb:
                order = self.share("o", "uint16_t %s[]", "{" + ", ".join(map(str, by_pb)) + "}")
                members.append(".by_pb = %s, .pb_count = %d" % (order, len(by_pb)))
        if d.get("atomic"):
            members.append(".atomic = true")
        if d.get("doc"):
            members.append(".doc = " + c_string(d["doc"]))
        if d.get("defaulter"):
            members.append(".defaulter = neap_kind_default_" + d["defaulter"])
        self.lines.append("const struct neap_type %s = {%s};" % (sym, ", ".join(members)))

    def verbs(self, names):
        return " | ".join("NEAP_VERB_" + v.upper() for v in names) or "0"

    def subresource(self, kind, name, d, where):
        check(where, d, {"kind", "verbs", "body", "reset", "unconditionalUpdate"})
        out = [".name = %s, .kind = %s, .verbs = %s" % (c_string(name), c_string(d["kind"]), self.verbs(d["verbs"]))]
        home = self
        if "body" in d:
            group, _, version = d["body"].rpartition("/")
            out.append(".body_group = %s, .body_version = %s" % (c_string(group), c_string(version)))
            home = ALL.files.get((group or "core") + "/" + version)
        if home and d["kind"] in home.data["types"]:
            out.append(".type = &" + home.type_symbol(d["kind"]))
        if d.get("reset"):
            out.append(".reset_on_write = " + self.strings(d["reset"]))
        if d.get("unconditionalUpdate"):
            out.append(".unconditional_update = true")
        return "    {%s}," % ", ".join(out)

    def column(self, d, where):
        check(where, d, {"name", "type", "format", "wide", "path", "cell", "description"})
        if ("path" in d) == ("cell" in d):
            raise Bad("%s: column %s: either path or cell" % (where, d["name"]))
        out = [".%s = %s" % (k, c_string(d[k])) for k in ("name", "type", "format", "description", "path", "cell")
               if k in d]
        if d.get("wide"):
            out.append(".priority = 1")
        return "    {%s}," % ", ".join(out)

    def selectable(self, d, where):
        check(where, d, {"path", "from", "default"})
        return "    {%s, %s, %s}," % (c_string(d["path"]), c_string(d.get("from")), c_string(d.get("default", "")))

    def table(self, sym, c_type, rows):
        if rows:
            self.lines += ["static const %s %s[] = {" % (c_type, sym)] + rows + ["};"]
        return "%s, %d" % (sym, len(rows)) if rows else "NULL, 0"

    def kind(self, name, d):
        where = "%s: %s" % (self.rel, name)
        check(where, d, KIND_KEYS)
        sym = self.kind_symbol(name)
        m = [".group = %s, .version = %s" % (c_string(self.data["group"]), c_string(self.data["version"])),
             ".kind = %s, .list_kind = %s" % (c_string(name), c_string(name + "List")),
             ".resource = %s, .singular = %s" % (c_string(d["resource"]), c_string(d["singular"])),
             ".namespaced = %s" % ("true" if d["scope"] == "namespaced" else "false"),
             ".verbs = " + self.verbs(d["verbs"]),
             ".type = &" + self.type_symbol(name),
             ".name_style = NEAP_NAME_" + d.get("name", "subdomain").upper()]
        for key, member in (("shortNames", "short_names"), ("categories", "categories"),
                            ("generationBumpedBy", "generation_bumped_by"), ("resetOnWrite", "reset_on_write"),
                            ("resetOnStatusWrite", "reset_on_status_write")):
            if d.get(key):
                m.append(".%s = %s" % (member, self.strings(d[key])))
        for key, member, rows, c_type in (
                ("columns", "column", [self.column(c, where) for c in d.get("columns", [])], "struct neap_column"),
                ("subresources", "subresource", [self.subresource(name, n, s, where) for n, s in
                                                 (d.get("subresources") or {}).items()], "struct neap_subresource"),
                ("selectable", "selectable", [self.selectable(s, where) for s in d.get("selectable", [])],
                 "struct neap_selectable")):
            if rows:
                table, count = self.table("%s_%s" % (key, sym), c_type, rows).split(", ")
                m.append(".%s = %s, .%s_count = %s" % (key, table, member, count))
        for key, member in (("createOnUpdate", "create_on_update"), ("gracefulDelete", "graceful_delete"),
                            ("unconditionalUpdate", "unconditional_update"), ("virtual", "virtual_kind"),
                            ("deleteReturnsObject", "delete_returns_object"),
                            ("deleteOrphans", "delete_orphans_by_default")):
            if d.get(key):
                m.append(".%s = true" % member)
        if d.get("generation"):
            m.append(".generation_at_create = %d" % d["generation"])
        if "statusAtCreate" in d:
            s = d["statusAtCreate"]
            m.append(".status_at_create = " + c_string("" if s == "cleared" else compact(s)))
        if d.get("notEnforced"):
            m.append(".not_enforced = true, .not_enforced_note = " + c_string(d["notEnforced"]))
        if d.get("ttl"):
            m.append(".ttl_s = %d" % d["ttl"])
        m.append(".storage = &" + (ALL.kind_ref(d["storage"], where) if "storage" in d else sym))
        if d.get("convert"):
            m.append(".convert = " + c_string(d["convert"]))
        m.append(".index = %d" % ALL.kind_index(self, name, d))
        self.lines.append("const struct neap_kind %s = {\n    %s,\n};" % (sym, ",\n    ".join(m)))

    def kind_symbol(self, name):
        return "neap_k_%s_%s" % (symbol(self.key), name)

    def generate(self):
        self.lines = []
        for short, d in self.data["types"].items():
            self.type(short, d or {})
        for name, d in (self.data.get("kinds") or {}).items():
            self.kind(name, d)
        return '/* Generated from %s: do not edit. */\n#include "kinds.h"\n\n' % self.rel + \
            "\n".join(self.lines) + "\n"


class All:
    def __init__(self, source):
        self.files = {}
        for here, dirs, names in os.walk(source):
            dirs.sort()
            for n in sorted(names):
                if n.endswith(".yaml"):
                    f = File(source, os.path.join(here, n))
                    self.files[f.key] = f
        self.kinds = sorted(((f.data["group"], f.data["version"], d["resource"], f, name, d)
                             for f in self.files.values() for name, d in (f.data.get("kinds") or {}).items()),
                            key=lambda k: tuple(x.encode() for x in k[:3]))
        stored = [(f, name) for _, _, _, f, name, d in self.kinds if "storage" not in d]
        self.indexes = {(f.key, name): i for i, (f, name) in enumerate(stored)}

    def struct_below(self, here, text):
        """Symbol of the struct that a field holds, in lists and maps too; None: no struct."""
        base = re.sub(r"^((list|map) of )+", "", text)
        return None if base in SCALARS else self.type_ref(here, base, here.rel)

    def find_defaulting(self):
        """Types with a default in them or below: a fixed point, since types may be recursive."""
        found, grew = set(), True
        while grew:
            grew = False
            for f in self.files.values():
                for short, d in f.data["types"].items():
                    sym, fields = f.type_symbol(short), ((d or {}).get("fields") or {}).values()
                    if sym not in found and ((d or {}).get("defaulter") or any(
                            "default" in x or self.struct_below(f, x["t"]) in found for x in fields)):
                        found.add(sym)
                        grew = True
        self.defaulting = found

    def type_ref(self, here, text, where):
        file, _, short = text.rpartition(".")
        f = self.files.get(file) if file else here
        if not f or short not in f.data["types"]:
            raise Bad("%s: unknown type %s" % (where, text))
        return f.type_symbol(short)

    def kind_ref(self, text, where):
        file, _, name = text.rpartition("/")
        if file not in self.files or name not in self.files[file].data["kinds"]:
            raise Bad("%s: unknown kind %s" % (where, text))
        return self.files[file].kind_symbol(name)

    def kind_index(self, f, name, d):
        if "storage" in d:
            file, _, other = d["storage"].rpartition("/")
            return self.indexes[file, other]
        return self.indexes[f.key, name]

    def header(self):
        out = ["/* Generated: the tables of api/kinds refer to each other through this. */",
               "#include <neap/kind.h>", ""]
        hooks = set()
        for f in self.files.values():
            for short, d in f.data["types"].items():
                out.append("extern const struct neap_type %s;" % f.type_symbol(short))
                if (d or {}).get("defaulter"):
                    hooks.add(d["defaulter"])
            for name in f.data.get("kinds") or {}:
                out.append("extern const struct neap_kind %s;" % f.kind_symbol(name))
        out += ["void neap_kind_default_%s(struct neap_defaulting *d, yyjson_mut_val *o);" % h for h in sorted(hooks)]
        out += ["extern const struct neap_type *const neap_types[];", "extern const unsigned neap_type_count;",
                "extern const uint16_t neap_kinds_by_gvk[];"]
        return "\n".join(out) + "\n"

    def index(self):
        out = ["/* Generated: what spans groups. */", '#include "kinds.h"', "",
               "const struct neap_kind *const neap_kinds[] = {"]
        out += ["    &%s," % f.kind_symbol(name) for _, _, _, f, name, _ in self.kinds]
        out += ["};", "const unsigned neap_kind_count = %d;" % len(self.kinds), ""]
        gvk = sorted(range(len(self.kinds)), key=lambda i: tuple(
            x.encode() for x in (self.kinds[i][0], self.kinds[i][1], self.kinds[i][4])))
        out += ["/* indexes of neap_kinds, sorted by group, version, kind */",
                "const uint16_t neap_kinds_by_gvk[] = {%s};" % ", ".join(map(str, gvk)), ""]
        types = sorted((f.type_name(short), f.type_symbol(short)) for f in self.files.values()
                       for short in f.data["types"])
        out += ["/* sorted by name */", "const struct neap_type *const neap_types[] = {"]
        out += ["    &%s," % s for _, s in types]
        out += ["};", "const unsigned neap_type_count = %d;" % len(types)]
        return "\n".join(out) + "\n"


def write(path, text):
    if os.path.exists(path):
        with open(path) as f:
            if f.read() == text:
                return
    with open(path, "w") as f:
        f.write(text)


ALL = None


def main(args):
    global ALL
    only_list = args[:1] == ["--list"]
    source, out = args[-2:]
    ALL = All(source)
    ALL.find_defaulting()
    names = ["kinds_index.c"] + [f.c_name for f in ALL.files.values()]
    if only_list:
        print("\n".join(sorted(names)))
        return
    os.makedirs(out, exist_ok=True)
    write(os.path.join(out, "kinds.h"), ALL.header())
    write(os.path.join(out, "kinds_index.c"), ALL.index())
    for f in ALL.files.values():
        write(os.path.join(out, f.c_name), f.generate())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Bad as e:
        sys.exit("generate.py: %s" % e)
