"""A Deployment of thousands of pods with a Service: controllers come to an end although no single turn of a script may
take long, and nothing is logged as failed. No node: the pods stay unscheduled."""
import time

from cluster import Report, Server

REPLICAS = 6000
WAIT_S = 90
LIMIT_S = 300    # read by tests/run.py: thousands of objects under ASan
SETS, PODS = "/apis/apps/v1/namespaces/default/replicasets", "/api/v1/namespaces/default/pods"
TEMPLATE = {"metadata": {"labels": {"app": "big"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def until(what):
    end = time.monotonic() + WAIT_S
    while not what() and time.monotonic() < end:
        time.sleep(0.2)
    return what()


def count(admin, path):
    """Objects there are, without reading them all."""
    got = admin.request("GET", path + "?limit=1")[1]
    return len(got["items"]) + got["metadata"].get("remainingItemCount", 0)


def main():
    report = Report()
    server = Server(args=["--scheduler", "false"])
    admin = server.client()

    def status():
        return admin.request("GET", SETS + "/big")[1]["status"]

    admin.request("POST", SETS, {"metadata": {"name": "big"}, "spec": {
        "replicas": REPLICAS, "selector": {"matchLabels": {"app": "big"}}, "template": TEMPLATE}})
    report.check("%d pods are made" % REPLICAS, until(lambda: status().get("replicas") == REPLICAS), status())
    report.check("not one more", count(admin, PODS) == REPLICAS, count(admin, PODS))
    admin.request("PATCH", PODS + "/" + admin.request("GET", PODS + "?limit=1")[1]["items"][0]["metadata"]["name"],
                  {"metadata": {"labels": {"app": "other"}}}, "application/merge-patch+json")
    report.check("one that is let go is replaced", until(lambda: count(admin, PODS) == REPLICAS + 1), count(admin, PODS))
    admin.request("PATCH", SETS + "/big", {"spec": {"replicas": 1}}, "application/merge-patch+json")
    report.check("all but one are taken away", until(lambda: count(admin, PODS) == 2 and status()["replicas"] == 1),
                 (count(admin, PODS), status()))
    with open(server.dir + "/test.log", encoding="utf-8") as f:
        failed = [x for x in f if "more time than it may" in x or "a turn took too long" in x]
    report.check("no turn of a script took too long", not failed, failed[:2])
    report.end(server)


if __name__ == "__main__":
    main()
