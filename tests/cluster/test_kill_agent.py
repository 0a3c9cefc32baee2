"""kill -9 of the agent, of the server, of neap up: no container restarts, no log line or exit code is lost,
nothing leaks. NEAP_ROUNDS sets the number of rounds (CI: 20, soak: 50)."""
import os
import random
import signal
import subprocess
import sys
import time

from onenode import Report, cluster_or_skip, poll

ROUNDS = int(os.environ.get("NEAP_ROUNDS", "20"))
COUNTER = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"


def restarts(k, name):
    return [c["restartCount"] for c in k.get("pod", name)["status"]["containerStatuses"]]


def kill(k, part):
    for pid in k.pids(part):
        os.kill(pid, signal.SIGKILL)


def agent_is_back(k, old):
    return poll(lambda: k.pids("agent") and not set(k.pids("agent")) & set(old))


def answers(k, name):
    return poll(lambda: k.run("exec", name, "--", "true")[0] == 0)


def check_rounds(report, k):
    k.apply(k.pod("steady", COUNTER), k.pod("other", "sleep 100321"))
    for name in ("steady", "other"):
        if not k.wait_ready(name):
            report.fail("pods run", k.get("pod", name))
            return
    before = {n: k.get("pod", n)["status"] for n in ("steady", "other")}
    codes = []
    for n in range(ROUNDS):
        name, code = "exits-%d" % n, n % 100 + 1
        k.apply(k.pod(name, "sleep 0.%d; exit %d" % (random.randint(1, 9), code), restartPolicy="Never"))
        if n % 2:
            poll(lambda: k.get("pod", name)["status"].get("phase") == "Running", 5)
        old = k.pids("agent")
        kill(k, "agent")
        if not agent_is_back(k, old):
            report.fail("round %d: the agent comes back" % n, k.tail())
            return
        codes.append((name, code))
    for name, code in codes:
        pod = k.wait_phase(name, "Failed")
        got = pod and pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
        if got != code:
            report.fail("no exit code is lost", (name, code, pod and pod["status"], k.tail()))
            return
    report.ok("no exit code is lost in %d rounds" % ROUNDS)
    after = {n: k.get("pod", n)["status"] for n in ("steady", "other")}
    report.check("no container was restarted", all(
        after[n]["containerStatuses"][0]["containerID"] == before[n]["containerStatuses"][0]["containerID"]
        and after[n]["containerStatuses"][0]["restartCount"] == 0 and after[n]["podIP"] == before[n]["podIP"]
        for n in after), (before, after))
    lines = [int(x) for x in k.kubectl("logs", "steady").split()]
    report.check("no log line is lost", lines == list(range(len(lines))) and len(lines) > ROUNDS,
                 [x for i, x in enumerate(lines) if i != x][:10])
    report.check("exec works after it", answers(k, "steady"))


def check_server(report, k):
    k.apply(k.pod("during", "sleep 100321"))
    kill(k, "server")
    code = poll(lambda: k.run("get", "pods")[0] == 0)
    report.check("the server is started again", code)
    report.check("a pod created right before runs", bool(k.wait_ready("during")), k.get("pod", "during"))
    report.check("pods ran on", restarts(k, "steady") == [0])


def check_up(report, k):
    """Everything is killed; the next start takes the pods over."""
    k.process.kill()
    k.process.wait()
    k.process.stdout.close()
    k.output.close()
    gone = poll(lambda: not k.pids("server") and not k.pids("agent"))
    report.check("the parts end with neap up", gone)
    alive = subprocess.run(["pgrep", "-f", "sleep 100321"], stdout=subprocess.PIPE).stdout.split()
    report.check("the pods run on", len(alive) == 2, alive)
    k.start()
    report.check("the next start takes them over",
                 answers(k, "steady") and restarts(k, "steady") == [0] and restarts(k, "other") == [0])
    k.kubectl("delete", "pod", "during", "--grace-period=1", "--timeout=20s")
    report.check("and deletes them", k.get("pod", "during") is None)


def check_upgrade(report, k):
    """SIGTERM to server and agent leaves pods running."""
    for part in ("agent", "server"):
        old = k.pids(part)
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        back = poll(lambda: k.pids(part) and not set(k.pids(part)) & set(old) and k.run("get", "nodes")[0] == 0)
        report.check("SIGTERM to the %s: it is started again" % part, back, k.tail())
    report.check("the pods ran on", answers(k, "other") and restarts(k, "other") == [0])


def main():
    report = Report()
    k = cluster_or_skip("kill_agent")
    try:
        for check in (check_rounds, check_server, check_up, check_upgrade):
            check(report, k)
    except Exception as e:
        report.fail("kill tests", repr(e))
    finally:
        if report.failed:
            print(k.tail())
        time.sleep(0)
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
