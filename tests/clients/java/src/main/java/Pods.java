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

    private static String text(InputStream stream) throws IOException {
        return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }

    private record Result(String out, String err, int code) {
    }

    /** The command must wait for a line: the library gives no stream of an exec that has ended already. */
    private static Result execute(ApiClient api, String command) throws Exception {
        var process = new Exec(api).exec("default", POD, new String[] {"sh", "-c", command}, true);
        InputStream out = process.getInputStream();
        InputStream err = process.getErrorStream();
        process.getOutputStream().write("hello\n".getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
        String seenOut = text(out);
        String seenErr = text(err);
        int code = process.waitFor(Client.DEADLINE_S, TimeUnit.SECONDS) ? process.exitValue() : -1;
        process.destroy();
        return new Result(seenOut, seenErr, code);
    }

    private static void checkExec(ApiClient api) throws Exception {
        var failed = execute(api, "read x; echo got $x; echo wrong >&2; exit 7");
        Client.check("exec", failed.out.equals("got hello\n") && failed.err.equals("wrong\n"), failed);
        Client.check("exec: the exit code", failed.code == 7, failed);
        var done = execute(api, "read x");
        Client.check("exec: success", done.code == 0, done);
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
        checkLogs(api, core);
    }
}
