"""Compares the metrics of the running programs with docs/metrics.md and docs/grafana-dashboard.json.

    target/ci-venv/bin/python .ci/check_metrics.py target/debug

Reads each /metrics with Prometheus' own parser. Findings are metrics that the page does not list, metrics of the page
that no program exports, different types, and expressions over unknown metrics.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE, DASHBOARD = ROOT / "docs" / "metrics.md", ROOT / "docs" / "grafana-dashboard.json"
NAME = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
# PromQL keywords with an underscore, and labels in expressions.
NOT_METRICS = {"histogram_quantile"}


def page_metrics():
    """Returns the page's metrics with their types, those that appear with the first event, and the alert expressions."""
    types, later, alerts = {}, set(), []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| `([a-z0-9_]+)` \| (counter|gauge|histogram) \|", line):
            assert match[1] not in types, f"{match[1]} is twice on the page"
            types[match[1]] = match[2]
            if "| † " in line:
                later.add(match[1])
            alert = line.rstrip("| ").rsplit(" | ", 1)[-1]
            if alert.startswith("`") and alert.endswith("`"):
                alerts.append(alert.strip("`").replace("\\|", "|"))
    return types, later, alerts


def expressions(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def unknown_names(expression, types):
    outside_of_strings = re.sub(r'"[^"]*"', '""', expression)
    outside_of_labels = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", outside_of_strings)
    names = set(NAME.findall(outside_of_labels)) - NOT_METRICS
    return sorted(name for name in names if name not in types and re.sub("_(bucket|sum|count)$", "", name) not in types)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        return response.read().decode()
    return None


def scraped(folder):
    """Returns the types of all metrics of all programs, after a few requests of every kind."""
    processes, ports, types = [], {}, {}
    try:
        for name in ["hellogrpc", "hellohttp", "ticketing", "helloserve"]:
            ports[name] = free_port(), free_port()
            settings = {"LISTEN_ADDR": "127.0.0.1:{}".format(ports[name][0]),
                        "ADMIN_ADDR": "127.0.0.1:{}".format(ports[name][1])}
            if name == "hellogrpc":
                settings |= {"MAX_CONCURRENT_CALLS": "1", "MAX_STREAMING_CALLS": "1"}
            if name == "helloserve":
                settings |= {"GRPC_CALL_METRICS": "true", "GRPC_TARGET": "ipv4:127.0.0.1:{}".format(ports["hellogrpc"][0]),
                             "HTTP_TARGET": "http://127.0.0.1:{}/hellohttp".format(ports["hellohttp"][0])}
            processes.append(subprocess.Popen([folder / name], env=os.environ | settings, stdin=subprocess.DEVNULL,
                                              stderr=subprocess.DEVNULL))
        for _ in range(300):
            if all(get(admin, "/readyz") for _, admin in ports.values()):
                break
            time.sleep(0.1)
        for path in ["/hellogrpc", "/hellohttp", "/nowhere"]:
            get(ports["helloserve"][0], path)
        # A connection that is closed because of a protocol error.
        for port, _ in ports.values():
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
                client.settimeout(5)
                with contextlib.suppress(OSError):
                    client.recv(1000)
        # More watches than the server allows, so that rejections are counted.
        import grpc
        channel = grpc.insecure_channel("127.0.0.1:{}".format(ports["hellogrpc"][0]))
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        watches = [watch(b"") for _ in range(2)]
        for each in watches:
            with contextlib.suppress(grpc.RpcError):
                next(each)
        for name, (_, admin) in ports.items():
            text = get(admin, "/metrics")
            assert text, f"{name} serves no metrics"
            for family in text_string_to_metric_families(text):
                # The parser strips the suffix from the names of counters.
                full = family.name + ("_total" if family.type == "counter" else "")
                assert types.setdefault(full, family.type) == family.type, f"{full} has two types"
        channel.close()
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return types


def main():
    (page, later, alerts), running = page_metrics(), scraped(pathlib.Path(sys.argv[1]).resolve())
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    findings = [f"{name}: no program has it" for name in page if name not in running and name not in later]
    findings += [f"{name}: not in docs/metrics.md" for name in running if name not in page]
    findings += [f"{name}: {kind} in docs/metrics.md, {running[name]} in the program"
                 for name, kind in page.items() if running.get(name, kind) != kind]
    for expression in alerts + expressions(dashboard):
        findings += [f"{name} in {expression}: unknown" for name in unknown_names(expression, page)]
    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"{len(running)} metrics, {len(alerts)} alerts, {len(dashboard['panels'])} panels: {len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
