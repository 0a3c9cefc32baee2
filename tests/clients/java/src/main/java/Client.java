import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1Namespace;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.util.Config;
import java.io.IOException;
import java.util.concurrent.Callable;

/** The library client-java against a cluster that KUBECONFIG names. */
final class Client {
    static final String NAMESPACE = "java";
    static final int DEADLINE_S = 30;

    interface Part {
        void run() throws Exception;
    }

    static synchronized void check(String name, boolean condition, Object why) {
        String text = String.valueOf(why).replace("\n", " ");
        System.out.println(condition ? "ok " + name : "not ok " + name + ": " + text.substring(0, Math.min(1000, text.length())));
    }

    /** Has the server killed; another answers when this returns. */
    static void restart() throws IOException {
        System.out.println("restart");
        int c;
        do {
            c = System.in.read();
        } while (c != '\n' && c != -1);
    }

    static boolean eventually(Callable<Boolean> look) throws Exception {
        long end = System.nanoTime() + DEADLINE_S * 1_000_000_000L;
        while (!look.call()) {
            if (System.nanoTime() > end) {
                return false;
            }
            Thread.sleep(50);
        }
        return true;
    }

    /** The answer that is an error. */
    static ApiException refused(Part call) throws Exception {
        try {
            call.run();
        } catch (ApiException e) {
            return e;
        }
        return new ApiException(0, "it was accepted");
    }

    static String text(ApiException e) {
        return e.getCode() + " " + e.getMessage() + " " + e.getResponseBody();
    }

    private static void part(String name, Part run) {
        try {
            run.run();
        } catch (ApiException e) {
            check(name, false, text(e));
        } catch (Exception e) {
            check(name, false, e + " " + e.getCause());
        }
    }

    private static void checkDelete(CoreV1Api core) throws Exception {
        core.deleteNamespace(NAMESPACE).execute();
        check("delete", eventually(() -> refused(() -> core.readNamespace(NAMESPACE).execute()).getCode() == 404),
            "the namespace is still there");
    }

    public static void main(String[] args) throws Exception {
        System.setProperty("kubernetes.client.includeManagedFields", "true");  // before the library's classes are loaded
        ApiClient api = Config.defaultClient();
        CoreV1Api core = new CoreV1Api(api);
        core.createNamespace(new V1Namespace().metadata(new V1ObjectMeta().name(NAMESPACE))).execute();
        part("lists", () -> Resources.checkList(core));
        part("writes", () -> Resources.checkWrite(core));
        part("patches", () -> Resources.checkPatch(core));
        part("applies", () -> Resources.checkApply(api));
        part("watches", () -> new Watches(core).check());
        part("informers", () -> Informers.check(api, core));
        part("pods", () -> Pods.check(api, core));
        part("deletes", () -> checkDelete(core));
        System.exit(0);  // threads of the library may still wait
    }
}
