// The package @kubernetes/client-node against a cluster that KUBECONFIG names.
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import * as k8s from "@kubernetes/client-node";

const NAMESPACE = "node", POD = process.env.NEAP_POD, DEADLINE_MS = 30000;
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function check(name, condition, why = "") {
  const text = typeof why === "string" ? why : JSON.stringify(why);
  console.log(condition ? `ok ${name}` : `not ok ${name}: ${text.replaceAll("\n", " ").slice(0, 1000)}`);
}

// Has the server killed; another answers when this returns.
async function restart() {
  console.log("restart");
  await input.next();
}

async function eventually(look) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await new Promise((r) => setTimeout(r, 50)))
    if (await look()) return true;
  return look();
}

async function refused(call) {
  try {
    await call();
    return {};
  } catch (e) {
    return { code: e.code, body: String(e.body) };
  }
}

const configMap = (name, data) => ({ metadata: { name }, data });
const as = (type) => k8s.setHeaderOptions("Content-Type", type);

async function list() {
  const names = (await core.listNamespace()).items.map((n) => n.metadata.name).sort();
  const first = await core.listNamespace({ limit: 2 });
  const rest = await core.listNamespace({ _continue: first.metadata._continue });
  const paged = [...first.items, ...rest.items].map((n) => n.metadata.name).sort();
  check("list", names.includes(NAMESPACE) && String(paged) === String(names), { names, paged });
}

async function write() {
  const made = await core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap("one", { a: "1", b: "2" }) });
  check("create", made.metadata.uid && made.metadata.creationTimestamp instanceof Date && made.data.a === "1", made);
  const twice = await refused(() => core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap("one") }));
  check("create: it exists", twice.code === 409 && twice.body.includes("AlreadyExists"), twice);
  const merged = await core.patchNamespacedConfigMap(
    { name: "one", namespace: NAMESPACE, body: { data: { a: null, c: "3" } } }, as(k8s.PatchStrategy.MergePatch));
  check("merge patch", JSON.stringify(merged.data) === '{"b":"2","c":"3"}', merged.data);
  const patched = await core.patchNamespacedConfigMap(
    { name: "one", namespace: NAMESPACE, body: [{ op: "replace", path: "/data/c", value: "4" }] },
    as(k8s.PatchStrategy.JsonPatch));
  check("JSON patch", patched.data.c === "4", patched.data);
  await core.createNamespacedService({
    namespace: NAMESPACE,
    body: { metadata: { name: "web" }, spec: { ports: [{ name: "a", port: 80 }, { name: "b", port: 81 }] } },
  });
  const service = await core.patchNamespacedService({
    name: "web", namespace: NAMESPACE,
    body: { spec: { ports: [{ port: 81, name: "c" }, { port: 80, $patch: "delete" }] } },
  }, as(k8s.PatchStrategy.StrategicMergePatch));
  check("strategic merge patch", String(service.spec.ports.map((p) => p.name)) === "c", service.spec.ports);
}

async function apply() {
  const wish = (value) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "applied", namespace: NAMESPACE }, data: { value } });
  const send = (value, manager, force) =>
    objects.patch(wish(value), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
  await send("1", "first");
  const got = await send("2", "first");
  check("server-side apply", got.data.value === "2" && got.metadata.managedFields[0].manager === "first", got);
  const conflict = await refused(() => send("3", "second", false));
  check("server-side apply: a conflict", conflict.code === 409 && conflict.body.includes("FieldManagerConflict"), conflict);
}

// The next <count> events from <resourceVersion>, and the revision after them.
function events(resourceVersion, count) {
  return new Promise((resolve, reject) => {
    const seen = [];
    let stop;
    const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
    const query = { resourceVersion, allowWatchBookmarks: true, labelSelector: "!kubernetes.io/none" };
    new k8s.Watch(config).watch(path, query, (type, object) => {
      if (type === "BOOKMARK" || seen.length === count) return;
      seen.push(`${type} ${object.metadata.name}`);
      if (seen.length === count) {
        resolve({ seen: seen.join(" "), revision: object.metadata.resourceVersion });
        stop?.abort();
      }
    }, (e) => (seen.length === count ? undefined : reject(e ?? new Error(`the watch ends after ${seen}`))))
      .then((controller) => { stop = controller; if (seen.length === count) stop.abort(); }, reject);
  });
}

async function watching() {
  const create = (name) => core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap(name) });
  const start = (await core.listNamespacedConfigMap({ namespace: NAMESPACE })).metadata.resourceVersion;
  await create("w1");
  await create("w2");
  await core.deleteNamespacedConfigMap({ name: "w1", namespace: NAMESPACE });
  const first = await events(start, 1);
  check("watch", first.seen === "ADDED w1", first);
  const more = await events(first.revision, 2);
  check("resume from a resourceVersion", more.seen === "ADDED w2 DELETED w1", more);
  await restart();
  await create("w3");
  const after = await events(first.revision, 3);
  check("resume after the server was killed", after.seen === "ADDED w2 DELETED w1 ADDED w3", after);
}

async function informer() {
  const known = new Map();
  const path = `/api/v1/namespaces/${NAMESPACE}/secrets`;
  const shared = k8s.makeInformer(config, path, () => core.listNamespacedSecret({ namespace: NAMESPACE }));
  const put = (o) => known.set(o.metadata.name, o.data?.n);
  shared.on("add", put);
  shared.on("update", put);
  shared.on("delete", (o) => known.delete(o.metadata.name));
  shared.on("error", () => setTimeout(() => shared.start(), 100)); // as the package's example has it
  await shared.start();
  const secret = (i, n) => ({ metadata: { name: `s${i}` }, data: { n } });
  for (let i = 0; i < 10; i++) await core.createNamespacedSecret({ namespace: NAMESPACE, body: secret(i, "YQ==") });
  await eventually(() => known.size === 10);
  await restart();
  for (let i = 1; i < 10; i++)
    await core.replaceNamespacedSecret({ name: `s${i}`, namespace: NAMESPACE, body: secret(i, "Yg==") });
  await core.deleteNamespacedSecret({ name: "s0", namespace: NAMESPACE });
  const same = () => known.size === 9 && [...known.values()].every((v) => v === "Yg==");
  check("an informer sees everything after the server was killed", await eventually(same), [...known]);
  await shared.stop();
}

// Runs a command; its output and the Status at its end.
function execute(command) {
  return new Promise((resolve, reject) => {
    const out = new PassThrough(), err = new PassThrough();
    const text = { out: "", err: "" };
    out.on("data", (d) => { text.out += d; });
    err.on("data", (d) => { text.err += d; });
    new k8s.Exec(config).exec("default", POD, "c", ["sh", "-c", command], out, err, null, false,
      (status) => setImmediate(() => resolve({ ...text, status }))).catch(reject);
  });
}

async function pod() {
  const both = await execute("echo out; echo wrong >&2");
  check("exec", both.out === "out\n" && both.err === "wrong\n" && both.status.status === "Success", both);
  const bad = await execute("exit 7");
  check("exec: the exit code", bad.status.details?.causes?.[0]?.message === "7", bad);
  const text = await core.readNamespacedPodLog({ name: POD, namespace: "default" });
  check("logs", text === "line 1\nline 2\nline 3\n", text);
}

async function part(run) {
  try {
    await run();
  } catch (e) {
    check(run.name, false, `${e?.stack ?? JSON.stringify(e)}`);
  }
}

await core.createNamespace({ body: { metadata: { name: NAMESPACE } } });
for (const run of [list, write, apply, watching, informer, pod]) await part(run);
await core.deleteNamespace({ name: NAMESPACE });
check("delete", await eventually(async () => (await refused(() => core.readNamespace({ name: NAMESPACE }))).code === 404));
process.exit(0);
