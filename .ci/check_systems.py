"""Checks what a schema cannot check in kubeyamls/optional/{greeter,echo,ticketing,envoy}.yaml.

    python .ci/check_systems.py

Names, ports and settings are those that docs/tour.md and the clients of these systems rely on.
"""

import pathlib
import re

import yaml

from check_manifests import SYSTEMS, environment, labels, reaches, restricted, seconds, selects

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "kubeyamls"

# Image, replicas and container ports of each Deployment.
DEPLOYMENTS = {
    "greeter": ("kubetester/hellogrpc:v1", 3, {"grpc": 8080, "admin": 8081}),
    "echo-server": ("kubetester/hellogrpc:v1", 3, {"grpc": 50051, "admin": 8080}),
    "echo-client": ("kubetester/kubetester:v1", 1, {}),
    "app-server": ("kubetester/ticketing:v1", 2, {"grpc": 12345, "admin": 8080}),
    "app-client": ("kubetester/kubetester:v1", 1, {}),
    "envoy": ("envoyproxy/envoy:v1.40.0", 2, {"grpc": 8443, "health": 8081}),
}

# The Deployment or StatefulSet that each Service finds, its ports, and whether it is headless.
SERVICES = {
    "greeter": ("greeter", {8080: "grpc"}, False),
    "greeter-headless": ("greeter", {8080: "grpc"}, True),
    "echo": ("echo-server", {50051: "grpc", 8080: "admin"}, False),
    "echo-headless": ("echo-server", {50051: "grpc"}, True),
    "app-server-headless": ("app-server", {12345: "grpc"}, True),
    "ticketing-postgres": ("ticketing-postgres", {5432: "postgres"}, True),
    "envoy": ("envoy", {8443: "grpc"}, False),
}

# The path or port of each server's readiness probe.
READY = {
    "greeter": {"grpc": {"port": 8080}},
    "echo-server": {"httpGet": {"path": "/_ah/health", "port": "admin"}},
    "app-server": {"httpGet": {"path": "/readyz", "port": "admin"}},
    "envoy": {"httpGet": {"path": "/healthz", "port": "health"}},
}


def container_of(workload):
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return container


def ports(container):
    return {port["name"]: port["containerPort"] for port in container.get("ports", [])}


# === pods ===


def deployed(name, deployment):
    """Image, replicas, ports and labels are as others expect, and pods are restricted."""
    spec, container = deployment["spec"], container_of(deployment)
    pod = spec["template"]["spec"]
    restricted(pod, container, volumes=["configMap"] if name == "envoy" else [])
    assert pod["automountServiceAccountToken"] is False and "serviceAccountName" not in pod
    assert (container["image"], spec["replicas"], ports(container)) == DEPLOYMENTS[name], name
    assert spec["selector"] == {"matchLabels": labels(deployment)}


def server(name, deployment, budgets):
    """A server has the probes, spreading, draining and rollout of the backends in kubeyamls."""
    spec, container, own = deployment["spec"], container_of(deployment), labels(deployment)
    pod = spec["template"]["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert 2 < spec["minReadySeconds"] < spec["progressDeadlineSeconds"] <= 120
    for probe in ["startupProbe", "readinessProbe"]:
        assert container[probe]["periodSeconds"] == 1, f"{name}: {probe}"
    assert READY[name].items() <= container["readinessProbe"].items(), name
    assert "httpGet" in container["livenessProbe"] or "tcpSocket" in container["livenessProbe"], name
    for each in pod["topologySpreadConstraints"]:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway" and selects(each["labelSelector"], own)
    (budget,) = [b["spec"] for b in budgets if selects(b["spec"]["selector"], own)]
    assert budget["maxUnavailable"] == 1 and budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    if name == "envoy":
        script = container["lifecycle"]["preStop"]["exec"]["command"][-1]
        (wait,) = re.findall(r"^sleep (\d+)$", script, re.MULTILINE)
        drain = container["args"][container["args"].index("--drain-time-s") + 1]
        assert int(drain) < int(wait) < pod["terminationGracePeriodSeconds"], "Envoy is killed while it drains"
        return
    env = environment(container)
    assert [each["valueFrom"] for each in container["env"] if each["name"] == "POD_NAME"] == [
        {"fieldRef": {"fieldPath": "metadata.name"}}], f"{name}: no POD_NAME by the downward API"
    assert env["LISTEN_ADDR"] == f"[::]:{ports(container)['grpc']}"
    assert env.get("ADMIN_ADDR", "[::]:8080") == f"[::]:{ports(container)['admin']}"
    delay, timeout = seconds(env["DRAIN_DELAY"]), seconds(env["SHUTDOWN_TIMEOUT"])
    assert 32 < delay < timeout < pod["terminationGracePeriodSeconds"], "it is killed while it drains"


def client(name, deployment, called):
    """A client calls a method in proto/ on an existing Service."""
    container = container_of(deployment)
    env = environment(container)
    command, target, *flags = container["args"]
    assert command == "call"
    target = re.sub(r"\$\((\w+)\)", lambda match: env[match.group(1)], target)
    assert re.sub("^[a-z]+:///?", "", target) in called, f"{name} calls {target}"
    (method,) = [flag.removeprefix("--method=") for flag in flags if flag.startswith("--method=")]
    service, _, method = method.rpartition("/")
    package, _, service = service.rpartition(".")
    text = (FOLDER.parent / "proto" / "proto" / f"{package}.proto").read_text(encoding="utf-8")
    assert f"service {service} " in text and f"rpc {method}(" in text, f"{name} calls a method that is not there"


# === references between objects ===


def connected(objects):
    """Each Service selects one workload and ports that it has. Returns the callable addresses."""
    workloads = [each for each in objects if each["kind"] in ["Deployment", "StatefulSet"]]
    services = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Service"}
    assert services.keys() == SERVICES.keys(), services.keys() ^ SERVICES.keys()
    called = set()
    for name, spec in services.items():
        workload, wanted, headless = SERVICES[name]
        (chosen,) = [each for each in workloads if spec["selector"].items() <= labels(each).items()]
        assert chosen["metadata"]["name"] == workload, f"{name} finds {chosen['metadata']['name']}"
        assert (spec.get("clusterIP") == "None") is headless, name
        assert {port["port"]: port["targetPort"] for port in spec["ports"]} == wanted, name
        for port in spec["ports"]:
            assert ports(container_of(chosen))[port["targetPort"]] == port["port"], f"{name}: {port}"
            called.add(f"{name}:{port['port']}")
    return called


def apart(objects, plain):
    """No Service, policy or budget of the plain installation selects a pod of these systems."""
    for each in plain:
        selector = each["spec"].get("podSelector") or each["spec"].get("selector") or {}
        chosen = selector.get("matchLabels", selector)
        for workload in [other for other in objects if other["kind"] in ["Deployment", "StatefulSet"]]:
            assert not chosen.items() <= labels(workload).items(), (each["metadata"], workload["metadata"])


def database(objects):
    """Only the servers reach the database, and both sides have the same password, user and database name."""
    (stateful,) = [each for each in objects if each["kind"] == "StatefulSet"]
    (secret,) = [each for each in objects if each["kind"] == "Secret"]
    (server,) = [each for each in objects if each["metadata"]["name"] == "app-server" and each["kind"] == "Deployment"]
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    pod, container = stateful["spec"]["template"]["spec"], container_of(stateful)
    restricted(pod, container, volumes=["emptyDir"])
    claims = [each["metadata"]["name"] for each in stateful["spec"]["volumeClaimTemplates"]]
    volumes = {each["name"] for each in pod["volumes"]} | set(claims)
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts.keys() == volumes, mounts
    env = environment(container)
    assert env["PGDATA"].startswith(mounts[claims[0]] + "/"), "the customers are lost with the pod"
    assert environment(container_of(server))["DATABASE_URL"] == (
        f"postgres://{env['POSTGRES_USER']}:$(POSTGRES_PASSWORD)@ticketing-postgres:5432/{env['POSTGRES_DB']}")
    for each in [container, container_of(server)]:
        (entry,) = [entry for entry in each["env"] if entry["name"] == "POSTGRES_PASSWORD"]
        source = entry["valueFrom"]["secretKeyRef"]
        assert source["name"] == secret["metadata"]["name"] and source["key"] in secret["data"]
    # Kubernetes replaces $(NAME) by variables that are defined before it.
    names = [entry["name"] for entry in container_of(server)["env"]]
    assert names.index("POSTGRES_PASSWORD") < names.index("DATABASE_URL")
    store = labels(stateful)
    assert reaches(policies, labels(server), store, 5432)
    for stranger in [labels(server) | {"tier": "client"}, {"app": "stranger"}]:
        assert not reaches(policies, stranger, store, 5432), stranger
    assert not reaches(policies, labels(server), store, 22) and not reaches(policies, store, labels(server), 12345)


# === Envoy ===


def proxied(objects, called):
    """The ConfigMap has system E's settings, on ports that the Deployment has, in front of Services that are here."""
    (text,) = [each["data"]["envoy.yaml"] for each in objects if each["kind"] == "ConfigMap"]
    config = yaml.safe_load(text)
    (deployment,) = [each for each in objects if each["metadata"]["name"] == "envoy" and each["kind"] == "Deployment"]
    address = lambda holder: tuple(holder["address"]["socket_address"].values())
    assert address(config["admin"]) == ("127.0.0.1", 8090)
    static = config["static_resources"]
    assert {each["name"]: address(each)[1] for each in static["listeners"]} == ports(container_of(deployment))
    upstreams = {}
    for each in static["clusters"]:
        assert (each["type"], each["dns_lookup_family"], each["lb_policy"], each["connect_timeout"]) == (
            "STRICT_DNS", "V4_ONLY", "ROUND_ROBIN", "0.5s"), each["name"]
        assert all(check["grpc_health_check"] == {} for check in each["health_checks"]) and each["health_checks"]
        ((endpoint,),) = [group["lb_endpoints"] for group in each["load_assignment"]["endpoints"]]
        host, port = address(endpoint["endpoint"])
        assert f"{host}:{port}" in called and SERVICES[host][2], f"{host} has one address for all pods"
        upstreams[each["name"]] = f"{host}:{port}"
    for listener in static["listeners"]:
        ((manager,),) = [chain["filters"] for chain in listener["filter_chains"]]
        router = manager["typed_config"]["http_filters"][-1]
        assert router["typed_config"]["@type"].endswith("router.v3.Router"), "the router has no type"
        if listener["name"] == "grpc":
            assert "StdoutAccessLog" in manager["typed_config"]["access_log"][0]["typed_config"]["@type"]
            (host,) = manager["typed_config"]["route_config"]["virtual_hosts"]
            for route in host["routes"]:
                assert route["route"]["timeout"] == "2s" and route["route"]["cluster"] in upstreams
    return upstreams


def read(path):
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def main():
    found = {path.name: read(path) for path in (FOLDER / "optional").glob("*.yaml") if path.name in SYSTEMS}
    assert found.keys() == SYSTEMS, SYSTEMS - found.keys()
    objects = [each for name in found for each in found[name]]
    called = connected(objects)
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
    deployments = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Deployment"}
    assert deployments.keys() == DEPLOYMENTS.keys(), deployments.keys() ^ DEPLOYMENTS.keys()
    for name, each in deployments.items():
        deployed(name, each)
        if name in READY:
            server(name, each, budgets)
        else:
            client(name, each, called)
        print(f"ok  {name}: restricted, {'graceful, ' if name in READY else ''}complete")
    assert len(budgets) == len(READY)
    plain = [each for path in FOLDER.glob("*.yaml") for each in read(path)]
    apart(objects, [each for each in plain if each["kind"] in ["Service", "NetworkPolicy", "PodDisruptionBudget"]])
    database(objects)
    print("ok  ticketing-postgres: restricted; app-server alone reaches it, with its password")
    print("ok  envoy: " + ", ".join(f"{name} at {at}" for name, at in proxied(objects, called).items()))


if __name__ == "__main__":
    main()
