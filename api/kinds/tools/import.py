#!/usr/bin/python3
"""Writes api/kinds/<group>/<version>.yaml from a folder of published facts. It ran once: since then
the YAML files are edited by hand, and the build reads nothing but them.

    import.py FACTS OUT

FACTS holds types.json, resources.tsv, rules.tsv, columns.json, zero.tsv, enums.tsv,
field-defaults.tsv, validation.tsv and roundtrip.jsonl (each published Kubernetes 1.37 fact, one a
row). api/kinds/README.md explains what the YAML says."""
import csv
import json
import os
import re
import sys

LEFT_OUT = ("apiextensions", "kube-aggregator")
SCALARS = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "fieldsV1",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intOrString",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
}
PACKAGES = {  # package (less io.k8s.api.) -> API group
    "admissionregistration": "admissionregistration.k8s.io", "apps": "apps",
    "authentication": "authentication.k8s.io", "authorization": "authorization.k8s.io",
    "autoscaling": "autoscaling", "batch": "batch", "certificates": "certificates.k8s.io",
    "coordination": "coordination.k8s.io", "core": "", "discovery": "discovery.k8s.io",
    "events": "events.k8s.io", "flowcontrol": "flowcontrol.apiserver.k8s.io",
    "networking": "networking.k8s.io", "node": "node.k8s.io", "policy": "policy",
    "rbac": "rbac.authorization.k8s.io", "resource": "resource.k8s.io",
    "scheduling": "scheduling.k8s.io", "storage": "storage.k8s.io",
    "storagemigration": "storagemigration.k8s.io",
}
NOT_ENFORCED = {
    "admissionregistration.k8s.io/*": "stored, but no webhook or admission policy runs",
    "networking.k8s.io/networkpolicies": "stored, but traffic is not filtered",
    "networking.k8s.io/ingresses": "stored, but no ingress traffic is served",
    "networking.k8s.io/ingressclasses": "stored, but no ingress traffic is served",
    "/resourcequotas": "stored, but no quota is enforced",
    "/limitranges": "stored, but no limits are applied",
    "/persistentvolumes": "stored, but volumes are not bound",
    "/persistentvolumeclaims": "stored, but volumes are not bound",
    "policy/poddisruptionbudgets": "stored, but disruptions are not limited",
    "flowcontrol.apiserver.k8s.io/*": "stored, but requests are not queued by it",
    "batch/jobs": "stored, but no pods are made for it",
    "batch/cronjobs": "stored, but no jobs are made for it",
    "apps/daemonsets": "stored, but no pods are made for it",
    "apps/statefulsets": "stored, but no pods are made for it",
    "autoscaling/horizontalpodautoscalers": "stored, but nothing is scaled by it",
    "storage.k8s.io/*": "stored, but no storage is managed by it",
    "certificates.k8s.io/*": "stored, but nothing is signed or distributed",
    "resource.k8s.io/*": "stored, but no devices are allocated",
    "storagemigration.k8s.io/*": "stored, but no migration runs",
    "node.k8s.io/runtimeclasses": "stored, but every pod runs with the node's own runtime",
}
# Defaults that hold only under a condition: functions in core/kind/default_*.c, by type.
CONDITIONAL = {
    ("DaemonSetUpdateStrategy", "rollingUpdate"), ("DeploymentStrategy", "rollingUpdate"),
    ("StatefulSetUpdateStrategy", "rollingUpdate"), ("JobSpec", "completions"),
    ("JobSpec", "parallelism"), ("JobSpec", "podReplacementPolicy"),
    ("NetworkPolicySpec", "policyTypes"), ("Container", "imagePullPolicy"),
    ("EphemeralContainer", "imagePullPolicy"), ("ImageVolumeSource", "pullPolicy"),
    ("ServiceSpec", "internalTrafficPolicy"),
}
DEFAULTERS = {
    "DaemonSetUpdateStrategy": "rolling_update", "DeploymentStrategy": "rolling_update",
    "StatefulSetUpdateStrategy": "rolling_update", "JobSpec": "job_spec",
    "NetworkPolicySpec": "network_policy_spec", "Container": "container",
    "EphemeralContainer": "container", "ImageVolumeSource": "image_volume",
    "ServiceSpec": "service_spec", "PodSpec": "pod_spec", "Pod": "pod", "Namespace": "namespace",
    "Secret": "secret", "ReplicationController": "replication_controller",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior": "hpa_behavior",
}
# Columns that are one value of the object; all others are cell functions of api/rest/cells.
AGE = "metadata.creationTimestamp"
PATHS = {
    "*": {"Name": "metadata.name", "Age": AGE, "Created At": AGE},
    "namespaces": {"Status": "status.phase"},
    "nodes": {"Version": "status.nodeInfo.kubeletVersion"},
    "secrets": {"Type": "type"},
    "services": {"Type": "spec.type"},
    "serviceaccounts": {},
    "replicationcontrollers": {"Desired": "spec.replicas", "Current": "status.replicas",
                               "Ready": "status.readyReplicas"},
    "controllerrevisions": {"Revision": "revision"},
    "daemonsets": {"Desired": "status.desiredNumberScheduled",
                   "Current": "status.currentNumberScheduled", "Ready": "status.numberReady",
                   "Up-to-date": "status.updatedNumberScheduled",
                   "Available": "status.numberAvailable"},
    "deployments": {"Up-to-date": "status.updatedReplicas", "Available": "status.availableReplicas"},
    "replicasets": {"Desired": "spec.replicas", "Current": "status.replicas",
                    "Ready": "status.readyReplicas"},
    "cronjobs": {"Schedule": "spec.schedule", "Suspend": "spec.suspend"},
    "certificatesigningrequests": {"SignerName": "spec.signerName", "Requestor": "spec.username"},
    "clustertrustbundles": {"SignerName": "spec.signerName"},
    "podcertificaterequests": {"PodName": "spec.podName", "NodeName": "spec.nodeName",
                               "ServiceAccountName": "spec.serviceAccountName",
                               "SignerName": "spec.signerName"},
    "ingressclasses": {"Controller": "spec.controller"},
    "poddisruptionbudgets": {"Allowed Disruptions": "status.disruptionsAllowed"},
    "csidrivers": {"AttachRequired": "spec.attachRequired", "PodInfoOnMount": "spec.podInfoOnMount",
                   "StorageCapacity": "spec.storageCapacity",
                   "RequiresRepublish": "spec.requiresRepublish"},
    "storageclasses": {"Provisioner": "provisioner", "ReclaimPolicy": "reclaimPolicy",
                       "VolumeBindingMode": "volumeBindingMode"},
    "volumeattachments": {"Attacher": "spec.attacher", "Node": "spec.nodeName",
                          "Attached": "status.attached"},
    "volumeattributesclasses": {"DriverName": "driverName"},
    "mutatingadmissionpolicybindings": {"PolicyName": "spec.policyName"},
    "validatingadmissionpolicybindings": {"PolicyName": "spec.policyName"},
    "priorityclasses": {"Value": "value", "Global-Default": "globalDefault",
                        "PreemptionPolicy": "preemptionPolicy"},
    "leases": {"Holder": "spec.holderIdentity"},
    "runtimeclasses": {"Handler": "handler"},
    "endpointslices": {"AddressType": "addressType"},
    "devicetaintrules": {"Key": "spec.taint.key", "Value": "spec.taint.value",
                         "Effect": "spec.taint.effect"},
    "resourceslices": {"Driver": "spec.driver", "Pool": "spec.pool.name"},
    "flowschemas": {"PriorityLevel": "spec.priorityLevelConfiguration.name",
                    "MatchingPrecedence": "spec.matchingPrecedence"},
    "prioritylevelconfigurations": {"Type": "spec.type"},
}
# Selectors whose value is elsewhere in the stored object, or that are not "" when absent.
SELECT_FROM = {"spec.host": "spec.nodeName", "source": "source.component|reportingComponent",
               "status.successful": "status.succeeded"}
SELECT_DEFAULT = {"spec.hostNetwork": "false", "spec.unschedulable": "false",
                  "status.replicas": "0", "status.successful": "0"}
# Where the written order is not that of protobuf numbers and golden objects do not show all of it.
ORDER = {
    "PodSecurityContext": "seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot "
                          "supplementalGroups supplementalGroupsPolicy fsGroup",
    "SecurityContext": "capabilities privileged seLinuxOptions windowsOptions runAsUser",
    "PodStatus": "observedGeneration phase conditions message reason nominatedNodeName hostIP hostIPs "
                 "podIP podIPs startTime initContainerStatuses containerStatuses qosClass",
    "PodCondition": "type observedGeneration status",
    "DeploymentCondition": "type status lastUpdateTime lastTransitionTime reason message",
    "DeploymentStatus": "observedGeneration replicas updatedReplicas readyReplicas availableReplicas "
                        "unavailableReplicas terminatingReplicas conditions collisionCount",
    "ReplicaSetStatus": "replicas fullyLabeledReplicas readyReplicas availableReplicas "
                        "terminatingReplicas observedGeneration conditions",
    "ReplicaSetSpec": "replicas minReadySeconds selector template",
    "CertificateSigningRequestSpec": "request signerName expirationSeconds usages username uid groups",
    "JobStatus": "conditions startTime completionTime active succeeded failed terminating "
                 "completedIndexes failedIndexes uncountedTerminatedPods ready",
    "NodeSpec": "podCIDR podCIDRs providerID unschedulable taints configSource externalID",
    "EphemeralContainer": "ports envFrom env resources resizePolicy restartPolicy restartPolicyRules "
                          "volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle "
                          "terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext "
                          "stdin stdinOnce tty",
    "Container": "ports envFrom env resources resizePolicy restartPolicy restartPolicyRules "
                 "volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle "
                 "terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext "
                 "stdin stdinOnce tty",
}
STORAGE = {("events.k8s.io", "v1", "events"): ("core/v1/Event", "event"),
           ("autoscaling", "v1", "horizontalpodautoscalers"):
               ("autoscaling/v2/HorizontalPodAutoscaler", "hpa")}


def rows(folder, name):
    with open(os.path.join(folder, name), newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def split(text):
    return [x for x in (text or "").split(",") if x]


class Facts:
    def __init__(self, folder):
        self.types = json.load(open(os.path.join(folder, "types.json")))
        self.zero = {r["type"]: r for r in rows(folder, "zero.tsv")}
        self.enums = {(r["type"], r["field"]): r for r in rows(folder, "enums.tsv")}
        self.defaults = {}
        for r in rows(folder, "field-defaults.tsv"):
            self.defaults.setdefault((r["type"], r["field"]), r)
        self.rules = {(r["group"], r["version"], r["resource"]): r for r in rows(folder, "rules.tsv")}
        self.validation = {(r["type"], r["field"]): r["rules"].split("; ")
                           for r in rows(folder, "validation.tsv")}
        self.resources = rows(folder, "resources.tsv")
        self.columns = json.load(open(os.path.join(folder, "columns.json")))
        with open(os.path.join(folder, "roundtrip.jsonl")) as f:
            self.golden = [json.loads(line) for line in f]
        self.order = self.learn_order()

    def learn_order(self):
        """(type, field) pairs that golden objects show one after the other."""
        by_gvk = {g: n for n, t in self.types.items() for g in t.get("gvk", [])}
        after = {}

        def walk(value, spec):
            t = spec["t"]
            if t == "array" and isinstance(value, list):
                for v in value:
                    walk(v, spec["items"])
            elif t == "map" and isinstance(value, dict):
                for v in value.values():
                    walk(v, spec["items"])
            elif t in self.types and isinstance(value, dict) and self.types[t].get("fields"):
                keys = [k for k in value if k in self.types[t]["fields"]]
                for a, b in zip(keys, keys[1:]):
                    after.setdefault(t, {}).setdefault(a, set()).add(b)
                for k in keys:
                    walk(value[k], self.types[t]["fields"][k])

        for case in self.golden:
            for o in [case.get("returned")] + [r["returned"] for r in case.get("read", [])]:
                if isinstance(o, dict) and "kind" in o:
                    n = by_gvk.get(o["apiVersion"] + "/" + o["kind"])
                    if n:
                        walk(o, {"t": n})
        return after


def in_order(facts, name, fields):
    """Protobuf order, corrected by what golden objects show."""
    def key(f):
        pb = fields[f].get("pb")
        if pb is None:
            return ([{"kind": 0, "apiVersion": 1}.get(f, 2)], f) if f in ("kind", "apiVersion") else ([99999], f)
        return ([10 + x for x in (pb if isinstance(pb, list) else [pb])], f)
    after = dict(facts.order.get(name, {}))
    hint = ORDER.get(short(name), "").split()
    if name.startswith("io.k8s.api.") and set(hint) <= set(fields):
        for f, g in zip(hint, hint[1:]):
            after[f] = after.get(f, set()) | {g}
    before = {f: {a for a, bs in after.items() if f in bs and a in fields} for f in fields}
    out, seen = [], set()

    def place(f):  # what must come before f is pulled forward
        if f in seen:
            return
        seen.add(f)
        for g in sorted(before[f], key=key):
            place(g)
        out.append(f)
    for f in sorted(fields, key=key):
        place(f)
    for a, bs in facts.order.get(name, {}).items():
        for g in bs:
            if out.index(a) > out.index(g):
                print("order of %s: %s after %s" % (name, a, g), file=sys.stderr)
    return out


def home(name):
    """(group folder, version, package) of a type."""
    m = re.match(r"io\.k8s\.api\.([a-z0-9]+)\.(v[0-9a-z]+)\.", name)
    if m:
        return (PACKAGES[m[1]] or "core", m[2], "io.k8s.api.%s.%s" % (m[1], m[2]))
    return "meta", "v1", "io.k8s.apimachinery.pkg.apis.meta.v1"


def short(name):
    return name.rsplit(".", 1)[1]


def type_text(here, spec):
    t = spec["t"]
    if t == "array":
        return "list of " + type_text(here, spec["items"])
    if t == "map":
        return "map of " + type_text(here, spec["items"])
    if t == "string":
        return "bytes" if spec.get("format") == "byte" else "string"
    if t == "integer":
        return spec.get("format") or "int32"
    if t in ("number", "boolean"):
        return {"number": "double", "boolean": "bool"}[t]
    if t == "object":
        return "raw"
    if t in SCALARS:
        return SCALARS[t]
    h = home(t)
    return short(t) if h == here else "%s/%s.%s" % (h[0], h[1], short(t))


def flow(v):
    """YAML flow style, plain where it can be."""
    if isinstance(v, dict):
        return "{" + ", ".join("%s: %s" % (k, flow(x)) for k, x in v.items()) + "}"
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(flow(x) for x in v) + "]"
    if v is True or v is False:
        return "true" if v else "false"
    if isinstance(v, int):
        return str(v)
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9 ./_-]*", v) and not v.endswith(" ") and \
            v.lower() not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n"):
        return v
    return json.dumps(v)


def field_entry(facts, name, f, spec):
    here = home(name)
    d = {"t": type_text(here, spec)}
    z = facts.zero.get(name, {})
    for what in ("keep", "emit", "null"):
        if f in split(z.get(what)):
            d["zero"] = {"null": "nil"}.get(what, what)
    if spec.get("required"):
        d["required"] = True
    if d["t"] == "map of quantity" and here[0] != "resource.k8s.io":
        d["milli"] = True
    e = facts.enums.get((name, f))
    if e:
        d["enum"] = split(e["values"])
        if e["set"] == "open":
            d["open"] = True
    dv = facts.defaults.get((name, f))
    if dv and (short(name), f) not in CONDITIONAL:
        d["default"] = json.loads(dv["value"])
        if dv["onlyIn"]:
            d["defaultIn"] = split(dv["onlyIn"])
    for rule in facts.validation.get((name, f), []):
        m = re.fullmatch(r"(minimum|maximum|maxItems|maxBytes|maxLength)=(\d+)", rule)
        if rule == "required":
            d["must"] = True
        elif rule == "immutable":
            d["immutable"] = True
        elif m:
            d["min" if m[1] == "minimum" else "max"] = int(m[2])
    if spec.get("list"):
        d["list"] = spec["list"]
    if spec.get("keys"):
        d["keys"] = spec["keys"]
    if spec.get("patch"):
        d["patch"] = spec["patch"].split(",")
    if spec.get("mergeKey"):
        d["mergeKey"] = spec["mergeKey"]
    if spec.get("mapType") == "atomic":
        d["atomic"] = True
    if spec.get("mapType") == "granular":
        d["granular"] = True
    if "pb" in spec:
        d["pb"] = spec["pb"]
    if spec.get("pbType"):
        d["pbType"] = spec["pbType"]
    return d


def type_lines(facts, name):
    t = facts.types[name]
    key = short(name) if name.startswith(home(name)[2] + ".") else name
    out = ["  %s:" % key]
    if t.get("mapType") == "atomic":
        out.append("    atomic: true")
    d = DEFAULTERS.get(name) or DEFAULTERS.get(short(name))
    if d and (name in DEFAULTERS or "io.k8s.api." in name):
        out.append("    defaulter: " + d)
    fields = t.get("fields", {})
    if not fields:
        return out + ["    fields: {}"]
    out.append("    fields:")
    for f in in_order(facts, name, fields):
        out.append("      %s: %s" % (f, flow(field_entry(facts, name, f, fields[f]))))
    return out


def columns_of(facts, r):
    key = (r["group"] + "/" if r["group"] else "") + r["version"] + "/" + r["resource"]
    out = []
    for c in facts.columns.get(key, []):
        path = PATHS.get(r["resource"], {}).get(c["name"]) or PATHS["*"].get(c["name"])
        d = {"name": c["name"], "type": c["type"]}
        if c.get("format"):
            d["format"] = c["format"]
        if c.get("priority"):
            d["wide"] = True
        if path:
            d["path"] = path
        else:
            cell = re.sub(r"[^a-z0-9]+", "-", c["name"].lower()).strip("-")
            who = "workload" if cell in ("containers", "images", "selector") and \
                r["resource"] not in ("services", "podtemplates") else r["singular"]
            d["cell"] = who + "-" + cell
        out.append(d)
    return out


def bumped(text):
    return [{"annotations": "metadata.annotations", "labels": "metadata.labels"}.get(x, x)
            for x in split(text)]


def selectors(r, text):
    out = []
    for path in split(text):
        d = {"path": path}
        if r["group"] == "events.k8s.io":  # the stored object is core's
            stored = path.replace("regarding.", "involvedObject.")
            stored = {"reportingController": "reportingComponent"}.get(stored, stored)
            if stored != path:
                d["from"] = stored
        elif path in SELECT_FROM:
            d["from"] = SELECT_FROM[path]
        if path in SELECT_DEFAULT:
            d["default"] = SELECT_DEFAULT[path]
        out.append(d)
    return out


STATUS = {"cleared": "cleared", "phase Active": {"phase": "Active"}, "phase Pending": {"phase": "Pending"},
          "phase Pending, qosClass": {"phase": "Pending"}}


def kind_lines(facts, r, subs):
    g, v, res = r["group"], r["version"], r["resource"]
    rule = facts.rules.get((g, v, res), {})
    out = ["  %s:" % r["kind"], "    resource: " + res, "    singular: " + r["singular"]]

    def put(key, value):
        out.append("    %s: %s" % (key, flow(value)))
    if split(r["shortNames"]):
        put("shortNames", split(r["shortNames"]))
    if split(r["categories"]):
        put("categories", split(r["categories"]))
    put("scope", r["scope"])
    put("verbs", split(r["verbs"]))
    if not {"create", "get"} <= set(split(r["verbs"])):
        put("virtual", True)
    if rule:
        put("name", rule["nameStyle"].split(":")[0] or "subdomain")
        for key, column in (("createOnUpdate", "createOnUpdate"), ("gracefulDelete", "gracefulDelete"),
                            ("unconditionalUpdate", "unconditionalUpdate")):
            if rule[column] == "yes":
                put(key, True)
        if rule["deleteReturns"] == "object":
            put("deleteReturnsObject", True)
        if rule["defaultPropagation"] == "Orphan":
            put("deleteOrphans", True)
        if rule["generationAtCreate"] == "1":
            put("generation", 1)
        if rule["generationBumpedBy"]:
            put("generationBumpedBy", bumped(rule["generationBumpedBy"]))
        if rule["statusAtCreate"] in STATUS:
            put("statusAtCreate", STATUS[rule["statusAtCreate"]])
        if rule["resetOnWrite"]:
            put("resetOnWrite", split(rule["resetOnWrite"]))
        if rule["resetOnStatusWrite"]:
            put("resetOnStatusWrite", split(rule["resetOnStatusWrite"]))
    if res == "events":
        put("ttl", 3600)
    if (g, v, res) in STORAGE:
        put("storage", STORAGE[g, v, res][0])
        put("convert", STORAGE[g, v, res][1])
    note = NOT_ENFORCED.get(g + "/" + res) or NOT_ENFORCED.get(g + "/*")
    if note:
        put("notEnforced", note)
    if rule and selectors(r, rule["fieldSelectors"]):
        out.append("    selectable:")
        out += ["      - " + flow(d) for d in selectors(r, rule["fieldSelectors"])]
    if columns_of(facts, r):
        out.append("    columns:")
        out += ["      - " + flow(d) for d in columns_of(facts, r)]
    if subs:
        out.append("    subresources:")
    for s in subs:
        name = s["resource"].split("/")[1]
        srule = facts.rules.get((g, v, s["resource"]), {})
        d = {"kind": s["kind"], "verbs": split(s["verbs"])}
        if s["bodyGroupVersion"]:
            d["body"] = s["bodyGroupVersion"]
        reset = rule.get("resetOnStatusWrite") if name == "status" else srule.get("resetOnWrite")
        if reset:
            d["reset"] = split(reset)
        if (srule or rule).get("unconditionalUpdate") == "yes":
            d["unconditionalUpdate"] = True
        out.append("      %s: %s" % (name, flow(d)))
    return out


def main(folder, out):
    facts = Facts(folder)
    files = {}
    for name in facts.types:
        if any(x in name for x in LEFT_OUT) or name in SCALARS:
            continue
        files.setdefault(home(name), []).append(name)
    for (group, version, package), names in sorted(files.items()):
        lines = ["# %s/%s: kinds and their types. Fields are in canonical (written) order." % (group, version),
                 "# api/kinds/README.md says what the keys mean. Edited by hand."]
        if group != "meta":
            lines.append('group: %s' % flow("" if group == "core" else group))
        else:
            lines.append("group: meta.k8s.io")
        lines += ["version: " + version, "package: " + package]
        mine = [r for r in facts.resources if (r["group"] or "core") == group and r["version"] == version]
        tops = sorted((r for r in mine if "/" not in r["resource"]), key=lambda r: r["kind"])
        if tops:
            lines += ["", "kinds:"]
        for r in tops:
            subs = [s for s in mine if s["resource"].startswith(r["resource"] + "/")]
            lines += kind_lines(facts, r, subs)
        lines += ["", "types:"]
        for name in sorted(names, key=short):
            lines += type_lines(facts, name)
        path = os.path.join(out, group, version + ".yaml")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
