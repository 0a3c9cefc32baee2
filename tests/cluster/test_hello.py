"""The README's first command: contrib/setup/up brings a cluster up that runs contrib/examples/hello.yaml; again it
changes nothing; contrib/setup/down takes everything away, and the data stays."""
import os
import subprocess
import sys
import tempfile

from onenode import TOP, Report, host_state, why_not


def run(script, env):
    p = subprocess.run([os.path.join(TOP, "contrib/setup", script)], env=env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=500)
    return p.returncode, p.stdout.decode(errors="replace")


def main():
    report = Report()
    word = why_not()
    if word:
        print("skip hello: " + word)
        return 0
    netns = "neap-h%d" % os.getpid()
    subprocess.run(["ip", "netns", "add", netns], check=True)
    subprocess.run(["ip", "-n", netns, "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="neap-hello-", ignore_cleanup_errors=True) as d:
        env = dict(os.environ, NEAP_DIR=d + "/d", NEAP_LISTEN="127.0.0.1:%d" % (20000 + os.getpid() % 20000),
                   NEAP_OPTIONS="--netns " + netns)
        try:
            code, out = run("up", env)
            report.check("contrib/setup/up", code == 0 and "answers: Hello from neap." in out, out[-3000:])
            code, out = run("up", env)
            report.check("a second time it changes nothing",
                         code == 0 and out.count("unchanged") == 5 and "runs already" in out, out[-3000:])
            code, out = run("down", env)
            report.check("contrib/setup/down", code == 0, out)
            left = host_state("-", d)
            report.check("nothing is left", not left["processes"] and not left["mounts"], left)
            code, out = run("up", env)
            report.check("the next start has it all again",
                         code == 0 and out.count("unchanged") == 5 and "Hello" in out, out[-3000:])
        finally:
            run("down", env)
            subprocess.run(["ip", "netns", "del", netns])
    return min(report.failed, 100)


if __name__ == "__main__":
    sys.exit(main())
