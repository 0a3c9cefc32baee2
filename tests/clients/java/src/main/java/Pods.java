import io.kubernetes.client.Exec;
import io.kubernetes.client.PodLogs;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** The streams of a running pod. */
final class Pods {
    private static final String POD = System.getenv("NEAP_POD");

    private static Process execute(ApiClient api, String command, boolean stdin) throws Exception {
        return new Exec(api).exec("default", POD, new String[] {"sh", "-c", command}, stdin);
    }

    private static String text(InputStream stream) throws IOException {
        return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }

    private static void checkExec(ApiClient api) throws Exception {
        var process = execute(api, "echo out; echo wrong >&2", false);
        var errors = process.getErrorStream(); // the library gives none any more once the socket is closed
        String out = text(process.getInputStream());
        String wrong = text(errors);
        Client.check("exec", out.equals("out\n") && wrong.equals("wrong\n") && process.waitFor() == 0, out + wrong);
        process.destroy();
    }

    private static void checkTalk(ApiClient api) throws Exception {
        var process = execute(api, "read x; echo got $x; exit 7", true);
        process.getOutputStream().write("hello\n".getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
        String out = text(process.getInputStream());
        Client.check("exec: its input", out.equals("got hello\n"), out);
        boolean ended = process.waitFor(Client.DEADLINE_S, TimeUnit.SECONDS);
        Client.check("exec: the exit code", ended && process.exitValue() == 7, ended ? process.exitValue() : "it did not end");
        process.destroy();
    }

    private static void checkLogs(ApiClient api, CoreV1Api core) throws Exception {
        String text = core.readNamespacedPodLog(POD, "default").execute();
        Client.check("logs", text.equals("line 1\nline 2\nline 3\n"), text);
        try (var lines = new BufferedReader(new InputStreamReader(
                new PodLogs(api).streamNamespacedPodLog("default", POD, null, null, 2, false), StandardCharsets.UTF_8))) {
            String seen = lines.readLine() + " " + lines.readLine();
            Client.check("logs: followed", seen.equals("line 2 line 3"), seen);
        }
    }

    static void check(ApiClient api, CoreV1Api core) throws Exception {
        checkExec(api);
        checkTalk(api);
        checkLogs(api, core);
    }
}
