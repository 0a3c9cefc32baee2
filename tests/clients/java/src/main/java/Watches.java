import com.google.gson.reflect.TypeToken;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.util.Watch;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Watches of config maps, from a resourceVersion on, also across a death of the server. */
final class Watches {
    private static final String NAMESPACE = Client.NAMESPACE;
    private final CoreV1Api core;
    private String revision;

    Watches(CoreV1Api core) {
        this.core = core;
    }

    private Watch<V1ConfigMap> from(String revision) throws ApiException {
        return Watch.createWatch(core.getApiClient(), core.listNamespacedConfigMap(NAMESPACE).watch(true)
            .resourceVersion(revision).allowWatchBookmarks(true).timeoutSeconds(Client.DEADLINE_S).buildCall(null),
            new TypeToken<Watch.Response<V1ConfigMap>>() { }.getType());
    }

    /** The next events; this.revision is that after them. */
    private List<String> events(String start, int count) throws ApiException, IOException {
        var seen = new ArrayList<String>();
        try (var watch = from(start)) {
            while (seen.size() < count && watch.hasNext()) {
                var event = watch.next();
                if (event.object == null) {
                    throw new ApiException("an event of type " + event.type + ": " + event.status);
                }
                revision = event.object.getMetadata().getResourceVersion();
                if (!event.type.equals("BOOKMARK")) {
                    seen.add(event.type + " " + event.object.getMetadata().getName());
                }
            }
        }
        return seen;
    }

    /** A watch that is under way when the server is killed, and goes on as a user of the library has it. */
    private void live(String start, int count, List<String> lived) {
        revision = start;
        while (lived.size() < count) {
            try {
                lived.addAll(events(revision, 1));
            } catch (ApiException | IOException | RuntimeException e) {  // the connection ends with the server
                pause();
            }
        }
    }

    private static void pause() {
        try {
            Thread.sleep(50);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void create(String name) throws ApiException {
        core.createNamespacedConfigMap(NAMESPACE, Resources.configMap(name)).execute();
    }

    void check() throws Exception {
        var start = core.listNamespacedConfigMap(NAMESPACE).execute().getMetadata().getResourceVersion();
        create("w1");
        create("w2");
        core.deleteNamespacedConfigMap("w1", NAMESPACE).execute();
        var seen = events(start, 1);
        Client.check("watch", seen.equals(List.of("ADDED w1")), seen);
        seen = events(revision, 2);
        Client.check("resume from a resourceVersion", seen.equals(List.of("ADDED w2", "DELETED w1")), seen);
        checkRestart(start, revision);
    }

    private void checkRestart(String start, String now) throws Exception {
        var lived = new CopyOnWriteArrayList<String>();
        var other = new Watches(core);
        var thread = new Thread(() -> other.live(now, 2, lived));
        thread.setDaemon(true);
        thread.start();
        create("w3");
        Client.eventually(() -> !lived.isEmpty());
        Client.restart();
        create("w4");
        var seen = events(start, 5);
        thread.join(Client.DEADLINE_S * 1000L);
        Client.check("resume after the server was killed",
            seen.equals(List.of("ADDED w1", "ADDED w2", "DELETED w1", "ADDED w3", "ADDED w4"))
            && lived.equals(List.of("ADDED w3", "ADDED w4")), seen + " " + lived);
    }
}
