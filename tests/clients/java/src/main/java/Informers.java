import io.kubernetes.client.informer.ResourceEventHandler;
import io.kubernetes.client.informer.SharedInformerFactory;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.openapi.models.V1Secret;
import io.kubernetes.client.openapi.models.V1SecretList;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** An informer of secrets across a death of the server. */
final class Informers {
    private static final String NAMESPACE = Client.NAMESPACE;
    private static final int COUNT = 20;

    private static V1Secret secret(int number, String value) {
        return new V1Secret().metadata(new V1ObjectMeta().name("s" + number).putLabelsItem("kept", "yes"))
            .putDataItem("n", value.getBytes(StandardCharsets.UTF_8));
    }

    private record Keeper(Map<String, String> known) implements ResourceEventHandler<V1Secret> {
        @Override
        public void onAdd(V1Secret secret) {
            known.put(secret.getMetadata().getName(), new String(secret.getData().get("n"), StandardCharsets.UTF_8));
        }

        @Override
        public void onUpdate(V1Secret before, V1Secret secret) {
            onAdd(secret);
        }

        @Override
        public void onDelete(V1Secret secret, boolean unknown) {
            known.remove(secret.getMetadata().getName());
        }
    }

    private static SharedInformerFactory start(ApiClient api, CoreV1Api core, Map<String, String> known) {
        var factory = new SharedInformerFactory(api);
        factory.sharedIndexInformerFor(p -> core.listNamespacedSecret(NAMESPACE).labelSelector("kept=yes").watch(p.watch)
            .resourceVersion(p.resourceVersion).timeoutSeconds(p.timeoutSeconds).buildCall(null),
            V1Secret.class, V1SecretList.class).addEventHandler(new Keeper(known));
        factory.startAllRegisteredInformers();
        return factory;
    }

    static void check(ApiClient api, CoreV1Api core) throws Exception {
        var known = new ConcurrentHashMap<String, String>();
        var factory = start(api, core, known);
        for (int i = 0; i < COUNT; i++) {
            core.createNamespacedSecret(NAMESPACE, secret(i, "a")).execute();
        }
        Client.eventually(() -> known.size() == COUNT);
        core.deleteNamespacedSecret("s0", NAMESPACE).execute();
        Client.restart();
        for (int i = 1; i < COUNT; i++) {
            core.replaceNamespacedSecret("s" + i, NAMESPACE, secret(i, "b")).execute();
        }
        var want = IntStream.range(1, COUNT).boxed().collect(Collectors.toMap(i -> "s" + i, i -> "b"));
        Client.check("an informer sees everything after the server was killed",
            Client.eventually(() -> known.equals(want)), known);
        factory.stopAllRegisteredInformers();
    }
}
