"""helm 4, as anybody runs it, with a chart of our own: install, upgrade, rollback, test, uninstall."""
import json
import os
import subprocess
import sys

from harness import HERE, build, why_not
from onenode import Report, cluster_or_skip

CHART = os.path.join(HERE, "helm/chart")


class Helm:
    def __init__(self, k):
        self.k, self.program = k, os.path.join(build("helm"), "helm")
        self.env = dict(os.environ, KUBECONFIG=k.kubeconfig, HELM_CACHE_HOME=k.temp.name + "/hc",
                        HELM_CONFIG_HOME=k.temp.name + "/hf", HELM_DATA_HOME=k.temp.name + "/hd")

    def run(self, *args):
        p = subprocess.run([self.program] + list(args), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=120)
        return p.returncode, p.stdout.decode(errors="replace")

    def revisions(self):
        return [(r["revision"], r["status"]) for r in json.loads(self.run("history", "page", "-o", "json")[1])]


def page(k):
    pod = k.get("pods", "-l", "app=page")["items"][0]["metadata"]["name"]
    return k.kubectl("exec", pod, "--", "wget", "-q", "-O-", "http://127.0.0.1:8080/").strip()


def check(report, k, helm):
    code, said = helm.run("install", "page", CHART, "--wait", "--timeout", "60s")
    report.check("helm install --wait", code == 0 and page(k) == "one", said)
    code, said = helm.run("test", "page", "--timeout", "60s")
    report.check("helm test", code == 0 and "Succeeded" in said, said)
    code, said = helm.run("upgrade", "page", CHART, "--set", "text=two,replicas=1", "--wait", "--timeout", "60s")
    report.check("helm upgrade", code == 0 and page(k) == "two", said)
    code, said = helm.run("rollback", "page", "1", "--wait", "--timeout", "60s")
    report.check("helm rollback", code == 0 and page(k) == "one" and k.get("deploy", "page")["spec"]["replicas"] == 2, said)
    report.check("helm history", helm.revisions() == [(1, "superseded"), (2, "superseded"), (3, "deployed")],
                 helm.revisions())
    code, said = helm.run("list", "-o", "json")
    report.check("helm list", code == 0 and json.loads(said)[0]["revision"] == "3", said)
    code, said = helm.run("upgrade", "page", CHART, "--set", "image=neap.local/none:1", "--wait", "--timeout", "5s")
    report.check("a failed upgrade says so", code != 0 and helm.revisions()[-1] == (4, "failed"), said)
    code, said = helm.run("uninstall", "page", "--wait", "--timeout", "60s")
    report.check("helm uninstall", code == 0 and not k.get("deploy", "page") and not k.get("service", "page"), said)


def main():
    word = why_not("helm")
    if word:
        print("skip clients/helm: " + word)
        sys.exit(0)
    k = cluster_or_skip("clients/helm")
    report = Report()
    try:
        check(report, k, Helm(k))
    except Exception as e:
        report.fail("clients/helm", repr(e))
    k.end(report)


main()
