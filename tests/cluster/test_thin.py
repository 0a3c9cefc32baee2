"""neap's own client, for machines without kubectl: get, apply, delete, logs, exec."""
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import threading

from onenode import Report, cluster_or_skip, poll

LARGE = "0123456789abcdef" * 20000


class Thin:
    def __init__(self, k):
        self.program = os.path.join(k.build, "neap")
        self.env = dict(os.environ, KUBECONFIG=k.kubeconfig)

    def argv(self, *words):
        return [self.program] + list(words)

    def run(self, *words, stdin=""):
        """(exit code, stdout, stderr)"""
        p = subprocess.run(self.argv(*words), input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=self.env, timeout=60)
        return p.returncode, p.stdout.decode(), p.stderr.decode()


def check_objects(report, thin, k):
    pod = k.pod("a", "echo one; echo two; exec sleep 100000")
    report.check("apply from standard input", thin.run("apply", "-f", "-", stdin=json.dumps(pod)) == (0, "pod/a created\n", ""))
    k.wait_ready("a")
    got = thin.run("apply", "-f", "-", stdin=json.dumps(pod))
    report.check("apply again", got == (0, "pod/a configured\n", ""), got)
    taken = dict(pod, metadata={"name": "a", "labels": {"app": "b", "more": "1"}})
    thin.run("apply", "-f", "-", stdin=json.dumps(taken))
    thin.run("apply", "-f", "-", stdin=json.dumps(pod))
    labels = k.get("pod", "a")["metadata"]["labels"]
    report.check("what is no longer applied goes", labels == {"app": "a"}, labels)
    got = thin.run("get", "pods", "-l", "app in (a, b)")
    report.check("get by a selector", got[0] == 0 and got[1].splitlines()[1].split()[:3] == ["a", "1/1", "Running"], got)
    got = thin.run("get", "po", "a", "-o", "json")
    report.check("get as JSON", got[0] == 0 and json.loads(got[1])["metadata"]["name"] == "a", got)
    got = thin.run("get", "pods", "b")
    report.check("get what is not there", got == (1, "", 'neap: the server answered 404: pods "b" not found\n'), got)
    got = thin.run("get", "-q")
    report.check("an unknown option", got == (1, "", "neap: -q: no such option\n"), got)
    got = thin.run("apply", "-f", "-", stdin="kind: [\n")
    report.check("a broken document", got[0] == 1 and got[2].count("\n") == 1, got)


def check_logs(report, thin, k):
    got = thin.run("logs", "a")
    report.check("logs", got == (0, "one\ntwo\n", ""), got)
    got = thin.run("logs", "a", "-c", "x")
    report.check("logs of no container", got[0] == 1 and "container x is not valid for pod a" in got[2], got)
    k.apply(k.pod("b", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"))
    k.wait_ready("b")
    p = subprocess.Popen(thin.argv("logs", "-f", "b"), stdout=subprocess.PIPE, env=thin.env)
    lines = [p.stdout.readline() for _ in range(8)]
    k.kubectl("delete", "pod", "b", "--grace-period=0", "--force")
    p.stdout.read()
    report.check("logs: followed, to the end of the pod", lines == [b"line %d\n" % i for i in range(8)] and p.wait(30) == 0,
                 (lines, p.returncode))
    p.stdout.close()


def check_exec(report, thin):
    got = thin.run("exec", "a", "--", "sh", "-c", "echo out --x; echo wrong >&2; exit 3")
    report.check("exec", got == (3, "out --x\n", "wrong\n"), got)
    got = thin.run("exec", "a", "-i", "--", "cat", stdin=LARGE)
    report.check("exec: a large input, to its end", got == (0, LARGE, ""), (got[0], len(got[1]), got[2]))
    got = thin.run("exec", "nobody", "--", "true")
    report.check("exec in no pod", got == (1, "", 'neap: the server answered 404: pods "nobody" not found\n'), got)
    got = thin.run("exec", "a", "--", "/no/such")
    report.check("exec of no program", got[0] == 1 and "neap: exec: executable file `/no/such` not found" in got[2], got)
    got = thin.run("exec", "a")
    report.check("exec of nothing", got[0] == 1 and got[2].startswith("neap: usage: neap exec"), got)


def check_terminal(report, thin):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    p = subprocess.Popen(thin.argv("exec", "a", "-it", "--", "sh"), stdin=follower, stdout=follower, stderr=follower,
                         env=thin.env, start_new_session=True,
                         preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    said = bytearray()

    def read():
        try:
            while True:
                said.extend(os.read(leader, 4096))
        except OSError:
            pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    raw = poll(lambda: not termios.tcgetattr(follower)[3] & termios.ECHO and b"# " in said)
    os.write(leader, b"stty size\n")
    report.check("a terminal: its size", raw and poll(lambda: b"40 100" in said), bytes(said))
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    report.check("a terminal: it is resized", poll(lambda: os.write(leader, b"stty size\n") and b"50 120" in said), bytes(said))
    os.write(leader, b"exit 5\n")
    report.check("a terminal: the exit code", p.wait(30) == 5, (p.returncode, bytes(said)))
    report.check("a terminal: it is as it was", termios.tcgetattr(follower)[3] & termios.ECHO)
    os.close(follower)
    thread.join(5)
    os.close(leader)


def main():
    k = cluster_or_skip("thin client")
    report = Report()
    thin = Thin(k)
    check_objects(report, thin, k)
    check_logs(report, thin, k)
    check_exec(report, thin)
    check_terminal(report, thin)
    got = thin.run("delete", "pod", "a")
    report.check("delete", got == (0, "pod/a deleted\n", "") and poll(lambda: not k.get("pod", "a")), got)
    k.end(report)


if __name__ == "__main__":
    main()
