import io.kubernetes.client.custom.V1Patch;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.AppsV1Api;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1Deployment;
import io.kubernetes.client.openapi.models.V1ManagedFieldsEntry;
import io.kubernetes.client.openapi.models.V1Namespace;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.openapi.models.V1Service;
import io.kubernetes.client.openapi.models.V1ServicePort;
import io.kubernetes.client.openapi.models.V1ServiceSpec;
import io.kubernetes.client.util.PatchUtils;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Lists, writes, patches, apply. */
final class Resources {
    private static final String NAMESPACE = Client.NAMESPACE;

    static V1ConfigMap configMap(String name) {
        return new V1ConfigMap().metadata(new V1ObjectMeta().name(name));
    }

    private static void add(Set<String> names, List<V1Namespace> items) {
        items.forEach(n -> names.add(n.getMetadata().getName()));
    }

    static void checkList(CoreV1Api core) throws ApiException {
        var names = new HashSet<String>();
        add(names, core.listNamespace().execute().getItems());
        var nodes = core.listNode().execute().getItems();
        Client.check("list", names.containsAll(List.of("default", "kube-system", NAMESPACE))
            && !nodes.get(0).getStatus().getNodeInfo().getKubeletVersion().isEmpty(), names);
        var paged = new HashSet<String>();
        var page = core.listNamespace().limit(2).execute();
        add(paged, page.getItems());
        add(paged, core.listNamespace()._continue(page.getMetadata().getContinue()).execute().getItems());
        Client.check("list: pages", page.getItems().size() == 2 && paged.equals(names), paged);
    }

    static void checkWrite(CoreV1Api core) throws Exception {
        var data = Map.of("a", "1", "b", "2");
        var made = core.createNamespacedConfigMap(NAMESPACE, configMap("one").data(data)).execute();
        Client.check("create", made.getMetadata().getUid() != null && made.getMetadata().getCreationTimestamp() != null
            && made.getData().equals(data), made);
        var e = Client.refused(() -> core.createNamespacedConfigMap(NAMESPACE, configMap("one")).execute());
        Client.check("create: it exists", e.getCode() == 409 && e.getResponseBody().contains("AlreadyExists"), Client.text(e));
        e = Client.refused(() -> core.createNamespacedConfigMap(NAMESPACE, configMap("No_Name")).execute());
        Client.check("create: invalid", e.getCode() == 422 && e.getResponseBody().contains("metadata.name"), Client.text(e));
        made.data(Map.of("a", "1", "b", "3"));
        core.replaceNamespacedConfigMap("one", NAMESPACE, made).execute();
        e = Client.refused(() -> core.replaceNamespacedConfigMap("one", NAMESPACE, made.data(data)).execute());
        Client.check("replace: a conflict", e.getCode() == 409, Client.text(e));
    }

    private static Map<String, String> patched(CoreV1Api core, String format, String patch) throws ApiException {
        return PatchUtils.patch(V1ConfigMap.class,
            () -> core.patchNamespacedConfigMap("one", NAMESPACE, new V1Patch(patch)).buildCall(null), format,
            core.getApiClient()).getData();
    }

    private static List<V1ServicePort> patchedPorts(CoreV1Api core, String patch) throws ApiException {
        return PatchUtils.patch(V1Service.class,
            () -> core.patchNamespacedService("web", NAMESPACE, new V1Patch(patch)).buildCall(null),
            V1Patch.PATCH_FORMAT_STRATEGIC_MERGE_PATCH, core.getApiClient()).getSpec().getPorts();
    }

    static void checkPatch(CoreV1Api core) throws ApiException {
        var merged = patched(core, V1Patch.PATCH_FORMAT_JSON_MERGE_PATCH, "{\"data\": {\"a\": null, \"c\": \"3\"}}");
        Client.check("merge patch", merged.equals(Map.of("b", "3", "c", "3")), merged);
        var data = patched(core, V1Patch.PATCH_FORMAT_JSON_PATCH,
            "[{\"op\": \"replace\", \"path\": \"/data/c\", \"value\": \"4\"}]");
        Client.check("JSON patch", "4".equals(data.get("c")), data);
        core.createNamespacedService(NAMESPACE, new V1Service().metadata(new V1ObjectMeta().name("web")).spec(
            new V1ServiceSpec().ports(List.of(new V1ServicePort().name("a").port(80),
                new V1ServicePort().name("b").port(81))))).execute();
        var ports = patchedPorts(core,
            "{\"spec\": {\"ports\": [{\"port\": 81, \"name\": \"c\"}, {\"port\": 80, \"$patch\": \"delete\"}]}}");
        Client.check("strategic merge patch", ports.size() == 1 && "c".equals(ports.get(0).getName()), ports);
    }

    private static V1Deployment apply(ApiClient api, String image, String manager, boolean force) throws ApiException {
        var wish = new V1Patch("""
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied"}, "spec": {
             "replicas": 0, "selector": {"matchLabels": {"app": "applied"}}, "template": {
             "metadata": {"labels": {"app": "applied"}}, "spec": {"containers": [{"name": "c", "image": "%s"}]}}}}
            """.formatted(image));
        return PatchUtils.patch(V1Deployment.class, () -> new AppsV1Api(api).patchNamespacedDeployment(
            "applied", NAMESPACE, wish).fieldManager(manager).force(force).buildCall(null),
            V1Patch.PATCH_FORMAT_APPLY_YAML, api);
    }

    private static String image(V1Deployment deployment) {
        return deployment.getSpec().getTemplate().getSpec().getContainers().get(0).getImage();
    }

    static void checkApply(ApiClient api) throws Exception {
        apply(api, "x:1", "first", false);
        var got = apply(api, "x:2", "first", false);
        var appliers = got.getMetadata().getManagedFields().stream().filter(m -> "Apply".equals(m.getOperation()))
            .map(V1ManagedFieldsEntry::getManager).toList();
        Client.check("server-side apply", image(got).equals("x:2") && appliers.equals(List.of("first")), got.getMetadata());
        var e = Client.refused(() -> apply(api, "x:3", "second", false));
        Client.check("server-side apply: a conflict", e.getCode() == 409
            && e.getResponseBody().contains("FieldManagerConflict"), Client.text(e));
        Client.check("server-side apply: force", image(apply(api, "x:3", "second", true)).equals("x:3"), "");
    }
}
