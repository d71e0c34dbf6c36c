"""Checks what a schema cannot check in kubeyamls: consistency, security and graceful termination.

    python .ci/check_manifests.py kubeyamls/*.yaml kubeyamls/optional/*.yaml

The files are given in the order in which kubectl would apply them.
"""

import json
import re
import sys

import yaml

# The only permissions at the API server: those of the gateway, in its own namespace.
GATEWAY_RULES = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]

# The permissions of the optional drill: those that `restart`, `scale` and `kill` need, for the named Deployments.
DRILLED = ["hellogrpc", "hellohttp", "helloserve"]
DRILL_RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": DRILLED, "verbs": ["get", "patch"]},
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "resourceNames": DRILLED, "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "delete"]},
]

# The files of the other systems, which check_systems.py checks. Only defaults and namespaces are checked here.
SYSTEMS = {"greeter.yaml", "echo.yaml", "ticketing.yaml", "envoy.yaml"}

# The seconds for which a cache may repeat a DNS answer (CoreDNS's TTL in most clusters), and the maximum between two
# lookups of the gateway.
DNS_CACHED, DNS_REFRESH = 30, 2

# The millicores that the control plane of kubeadm or kind, with its network, leaves free on a node of two cores.
LEFT = 1000
# The maximum number of pods of each kind: one Deployment is scaled to ten, the others are in the middle of a rollout.
MOST = [10, 6, 3]

PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}


def seconds(text):
    """Parses a duration in whole seconds, such as `35s`. The manifests use no other unit, so that sums are easy."""
    return int(re.fullmatch(r"(\d+)s", text).group(1))


def environment(container):
    return {entry["name"]: entry.get("value") for entry in container.get("env", [])}


def labels(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def selects(selector, has):
    assert not selector.keys() - {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= has.items()


# === pods ===


def restricted(pod, container, volumes=()):
    """Pods meet the parts of the restricted Pod Security Standard that apply to them, with a read-only root.

    `volumes` lists the kinds of volumes that the pod may have.
    """
    context, own = pod["securityContext"], container["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"]["type"] == "RuntimeDefault"
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    forbidden = {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert not forbidden, forbidden
    kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
    assert kinds <= set(volumes), f"volumes of the kinds {kinds - set(volumes)}"
    assert not any("hostPort" in port for port in container.get("ports", []))
    assert container["imagePullPolicy"] == "IfNotPresent"
    resources = container["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert resources["limits"].keys() == {"memory"}, "a limit of CPU stops it while the node has time to spare"


def graceful(name, deployment, pod, container):
    """A rolling update keeps every pod until its replacement is in DNS, and lets each pod drain completely."""
    update = deployment["strategy"]["rollingUpdate"]
    assert deployment["minReadySeconds"] < deployment["progressDeadlineSeconds"] <= 120, "a broken image goes unreported"
    assert update["maxUnavailable"] == 0
    assert deployment["minReadySeconds"] > DNS_REFRESH, "an old pod goes before the gateway has seen the new one"
    delay, timeout = (seconds(environment(container)[key]) for key in ["DRAIN_DELAY", "SHUTDOWN_TIMEOUT"])
    assert delay < timeout < pod["terminationGracePeriodSeconds"], "it is killed while it drains"
    if name == "hellogrpc":
        assert delay > DNS_CACHED + DNS_REFRESH, "DNS still says who replaces it to nobody"


def complete(name, deployment, pod, container):
    """Image, replicas, labels, probes and other fields are as users and restart.sh expect."""
    assert container["image"] == f"kubetester/{name}:v1"
    assert deployment["replicas"] == 3
    template = deployment["template"]["metadata"]
    assert template["labels"]["app"] == "hello" and template["labels"]["track"] == "stable"
    assert selects(deployment["selector"], template["labels"])
    # A new pod is probed every second from its start, because nothing else delays its first call.
    for probe in ["startupProbe", "readinessProbe"]:
        assert container[probe]["periodSeconds"] == 1 and "initialDelaySeconds" not in container[probe], probe
    assert "livenessProbe" in container
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    scraped = {key.removeprefix("prometheus.io/"): value for key, value in template["annotations"].items()}
    assert scraped == {"scrape": "true", "port": str(ports["admin"]), "path": "/metrics"}
    spread = pod["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for each in spread:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway" and selects(each["labelSelector"], template["labels"])


def fits(containers):
    """All pods fit on one small node, even during a rollout while old pods drain."""
    asked = sorted((int(re.fullmatch(r"(\d+)m", each["resources"]["requests"]["cpu"]).group(1)) for each in containers),
                   reverse=True)
    total = sum(each * count for each, count in zip(asked, MOST))
    assert total <= LEFT, f"{total}m of CPU are asked for, and {LEFT}m are there"
    print(f"ok  room: {sum(MOST)} pods ask for {total}m of CPU")


# === fields that GitOps compares ===


def stored_as_written(objects):
    """The manifests spell out the defaults that the API server adds inside lists and unions.

    `kubectl apply` and GitOps tools replace an atomic list, and a union such as a Deployment's strategy, as a whole: a
    default that is missing there makes the object differ from its manifest for ever. An empty list is never stored.
    """
    def walk(value, path):
        if isinstance(value, list):
            assert value, f"{path}: the API server drops an empty list"
            for number, each in enumerate(value):
                walk(each, f"{path}[{number}]")
        elif isinstance(value, dict):
            for key, each in value.items():
                walk(each, f"{path}.{key}")
                if key == "ports":
                    for port in each:
                        assert "protocol" in port, f"{path}.ports: a port has no protocol"
                if key == "strategy":
                    assert "type" in each, f"{path}.strategy has no type"
                assert each is not None, f"{path}.{key} is null"
    for each in objects:
        walk(each, f"{each['kind']} {each['metadata']['name']}")
    print(f"ok  defaults: {len(objects)} objects are written as the API server stores them")


# === permissions ===


def granted(objects, rules):
    """The only account may do what the rules allow and nothing more. Returns its name."""
    of = lambda kind: [each for each in objects if each["kind"] == kind]
    (account,), (role,), (binding,) = of("ServiceAccount"), of("Role"), of("RoleBinding")
    name = account["metadata"]["name"]
    assert role["rules"] == rules, f"the Role allows {role['rules']}"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name}], binding["subjects"]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]}
    assert account["automountServiceAccountToken"] is False
    print(f"ok  {name}: " + ", ".join(f"{verb} {what}" for rule in rules for what in rule["resources"]
                                      for verb in rule["verbs"]) + ", and no more")
    return name


def allowed(objects):
    """Only the gateway has an account with permissions, and only it mounts a token."""
    name = granted(objects, GATEWAY_RULES)
    (account,) = [each for each in objects if each["kind"] == "ServiceAccount"]
    for each in [each for each in objects if each["kind"] == "Deployment"]:
        pod = each["spec"]["template"]["spec"]
        gateway = each["metadata"]["name"] == "helloserve"
        assert pod["automountServiceAccountToken"] is gateway
        assert pod.get("serviceAccountName") == (name if gateway else None)
        if gateway:
            assert objects.index(account) < objects.index(each), "pods are made before their account"


def admits(rules, side, peer, namespace, port):
    """Returns whether a rule of a NetworkPolicy admits this peer, of our namespace (None) or another, on this port."""
    def fits(rule):
        if not any(each["port"] == port for each in rule["ports"]):
            return False
        return side not in rule or any(
            (("namespaceSelector" in each and selects(each["namespaceSelector"], {})) or namespace is None)
            and selects(each["podSelector"], peer) for each in rule[side])
    return any(fits(rule) for rule in rules)


def reaches(policies, source, target, port, source_namespace=None):
    """Returns whether the policies let a pod with the labels of `source` connect to one with those of `target`."""
    assert all(each["spec"]["policyTypes"] == ["Ingress", "Egress"] for each in policies)
    mine = lambda pod: [each["spec"] for each in policies if selects(each["spec"]["podSelector"], pod)]
    out = source_namespace is not None or not mine(source) or any(
        admits(spec.get("egress", []), "to", target, None, port) for spec in mine(source))
    into = not mine(target) or any(
        admits(spec["ingress"], "from", source, source_namespace, port) for spec in mine(target))
    return out and into


def separated(policies, pods):
    """The gateway reaches the backends, Prometheus the admin ports, and every client the gateway; the rest is denied."""
    ports = {"hellogrpc": 8000, "hellohttp": 8100, "helloserve": 8200}
    stranger, elsewhere, outside = {"app": "stranger"}, "monitoring", {"k8s-app": "kube-dns"}
    for source, target in [(source, target) for source in pods for target in pods]:
        # The backends call no other pod, not even the gateway.
        work = source == "helloserve" and target != "helloserve"
        assert reaches(policies, pods[source], pods[target], ports[target]) is work, (source, target)
        assert not reaches(policies, pods[source], pods[target], 8080), f"{source} reaches the admin port of {target}"
    for name, pod in pods.items():
        assert reaches(policies, stranger, pod, ports[name]) is (name == "helloserve"), name
        assert reaches(policies, stranger, pod, ports[name], elsewhere) is (name == "helloserve"), name
        assert not reaches(policies, stranger, pod, 8080) and not reaches(policies, stranger, pod, 8080, elsewhere)
        assert reaches(policies, PROMETHEUS, pod, 8080) and reaches(policies, PROMETHEUS, pod, 8080, elsewhere)
        assert reaches(policies, PROMETHEUS, pod, ports[name]) is (name == "helloserve"), name
        for port in [53, 443, 6443]:
            assert reaches(policies, pod, outside, port) is (name == "helloserve"), (name, port)
        assert not reaches(policies, pod, outside, 80), name
    print("ok  networks: the gateway to the backends, Prometheus to the admin ports, all to the gateway, no more")


# === references between objects ===


def connected(services, deployments):
    """Each Service selects the pods of one Deployment and a port that they have. Returns the callable addresses."""
    called = set()
    for each in services:
        name, spec = each["metadata"]["name"], each["spec"]
        (chosen,) = [d for d in deployments if spec["selector"].items() <= labels(d).items()]
        (container,) = chosen["spec"]["template"]["spec"]["containers"]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in spec["ports"]:
            assert port["targetPort"] in named, f"{name}: no port is called {port['targetPort']}"
            print(f"ok  {name}: {port['port']} -> {chosen['metadata']['name']} {named[port['targetPort']]}")
            called.add(f"{name}:{port['port']}")
    return called


def routed(gateway, called):
    """The gateway's routes lead to existing Services."""
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    routes = {each["name"]: each.get("target") for each in json.loads(environment(container)["GRPC_ROUTES"])}
    for name in ["round_robin", "pick_first", "least_request"]:
        assert routes.pop(name) is None, f"{name} goes elsewhere than the default"
    assert routes == {"vip": "dns:///grpc-vip:8000", "kubernetes": "kubernetes:///grpc-svc:8000"}, routes
    for target in routes.values():
        assert re.sub("^[a-z]+:///", "", target) in called, target
    (zone,) = [each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"] if each["name"] == "ZONE"]
    assert zone == "metadata.labels['topology.kubernetes.io/zone']", zone
    print(f"ok  routes: {', '.join(sorted(routes))}, and one for each of three policies")


def budgeted(budgets, deployments):
    """Evictions remove one pod of a kind at a time, and never wait for a broken pod."""
    for each in deployments:
        (spec,) = [b["spec"] for b in budgets if selects(b["spec"]["selector"], labels(each))]
        assert spec["maxUnavailable"] == 1 and spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert len(budgets) == len(deployments)


def optional(objects, deployments):
    """Optional objects are autoscalers of existing Deployments, and Jobs that are as restricted as the other pods."""
    names = {each["metadata"]["name"]: each["spec"] for each in deployments}
    driller = granted(objects, DRILL_RULES)
    for each in objects:
        name = each["metadata"]["name"]
        if each["kind"] == "HorizontalPodAutoscaler":
            spec = each["spec"]
            scaled = names[spec["scaleTargetRef"]["name"]]
            assert spec["minReplicas"] == scaled["replicas"] < spec["maxReplicas"]
        elif each["kind"] == "Job":
            pod = each["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            restricted(pod, container)
            assert container["image"] == "kubetester/kubetester:v1"
            drills = "--on=kubernetes" in container["args"]
            assert pod["automountServiceAccountToken"] is drills
            assert pod.get("serviceAccountName") == (driller if drills else None)
        else:
            assert each["kind"] in ["ServiceAccount", "Role", "RoleBinding"], f"nothing is known about {each['kind']}"
            continue
        print(f"ok  optional: {each['kind']} {name}")


def main(paths):
    def read(chosen):
        return [each for path in chosen for each in yaml.safe_load_all(open(path, encoding="utf-8"))]
    systems = [path for path in paths if path.rpartition("/")[2] in SYSTEMS]
    more = [path for path in paths if "/optional/" in path and path not in systems]
    objects = read(path for path in paths if path not in more + systems)
    assert all("namespace" not in each["metadata"] for each in read(paths)), "a namespace is hard-coded"
    kinds = ["Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "Role", "RoleBinding"]
    unknown = {each["kind"] for each in objects} - set(kinds)
    assert not unknown, f"nothing is known about {unknown}"
    deployments, services, policies, budgets = ([o for o in objects if o["kind"] == kind] for kind in kinds[:4])
    assert len(deployments) == 3 and len(services) == 4 and len(policies) == 3, "manifests are missing"
    for each in deployments:
        name, spec = each["metadata"]["name"], each["spec"]
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        restricted(pod, container)
        graceful(name, spec, pod, container)
        complete(name, spec, pod, container)
        print(f"ok  {name}: restricted, graceful, complete")
    stored_as_written(read(paths))
    fits([each["spec"]["template"]["spec"]["containers"][0] for each in deployments])
    allowed(objects)
    separated(policies, {each["metadata"]["name"]: labels(each) for each in deployments})
    called = connected(services, deployments)
    (gateway,) = [each for each in deployments if each["metadata"]["name"] == "helloserve"]
    routed(gateway, called)
    budgeted(budgets, deployments)
    optional(read(more), deployments)


if __name__ == "__main__":
    main(sys.argv[1:])
