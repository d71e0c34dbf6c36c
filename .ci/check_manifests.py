"""What a schema cannot see in kubeyamls: does it hang together, is it safe, and does it end gracefully?

    python .ci/check_manifests.py kubeyamls/*.yaml
"""

import re
import sys

import yaml


def seconds(text):
    """Durations here are whole seconds, `35s`, so that a person can add them up."""
    return int(re.fullmatch(r"(\d+)s", text).group(1))


def restricted(pod, container):
    """The restricted Pod Security Standard, as far as these pods touch it, and a root that cannot be written."""
    context, own = pod["securityContext"], container["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"]["type"] == "RuntimeDefault"
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    forbidden = {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()
    assert not forbidden, forbidden
    assert not any("hostPort" in port for port in container["ports"])


def graceful(deployment, pod, container):
    """A rolling update keeps every pod it has until the next one serves, and lets each one drain to its end."""
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    delay, timeout = seconds(environment["DRAIN_DELAY"]), seconds(environment["SHUTDOWN_TIMEOUT"])
    assert delay < timeout < pod["terminationGracePeriodSeconds"], "it is killed while it drains"


def complete(deployment, pod, container, name):
    """The image, the replicas, the labels and the probes that users and restart.sh count on."""
    assert container["image"] == f"kubetester/{name}:v1"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert deployment["replicas"] == 3
    labels = deployment["template"]["metadata"]["labels"]
    assert labels["app"] == "hello" and labels["track"] == "stable"
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["resources"]["requests"]["cpu"] == "100m"
    assert "memory" in container["resources"]["limits"]


def main(paths):
    objects = [each for path in paths for each in yaml.safe_load_all(open(path, encoding="utf-8"))]
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    services = [each for each in objects if each["kind"] == "Service"]
    assert len(deployments) == 3 and len(services) >= 3, "manifests are missing"
    for each in deployments:
        name, spec = each["metadata"]["name"], each["spec"]
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        restricted(pod, container)
        graceful(spec, pod, container)
        complete(spec, pod, container, name)
        print(f"ok  {name}: restricted, graceful, complete")
    for each in services:
        name, spec = each["metadata"]["name"], each["spec"]
        chosen = [d for d in deployments
                  if spec["selector"].items() <= d["spec"]["template"]["metadata"]["labels"].items()]
        assert len(chosen) == 1, f"{name} selects {len(chosen)} deployments"
        (container,) = chosen[0]["spec"]["template"]["spec"]["containers"]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in spec["ports"]:
            assert port["targetPort"] in named, f"{name}: no port is called {port['targetPort']}"
            print(f"ok  {name}: {port['port']} -> {chosen[0]['metadata']['name']} {named[port['targetPort']]}")


if __name__ == "__main__":
    main(sys.argv[1:])
