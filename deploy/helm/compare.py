#!/usr/bin/env python3
"""Compares what the Helm chart gives with what kustomize gives, object by object and field by field.

deploy/check.sh runs it. The objects are compared as data: order of objects and of keys, comments and the
labels that only Helm sets do not count. The namespace is not compared: `helm install --create-namespace`
makes it.
"""

import json
import os
import subprocess
import sys

import yaml

DEPLOY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHART = os.path.join(DEPLOY, "helm", "tracer")
# What each overlay is as values of the chart.
PAIRS = [
    (".", []),
    ("overlays/before-5.11", ["agent.kernelBefore511=true"]),
    ("overlays/prometheus", ["metrics.enabled=true"]),
    (
        "overlays/prometheus-operator",
        ["metrics.enabled=true", "metrics.podMonitor.enabled=true", "metrics.rules.enabled=true"],
    ),
    ("overlays/otlp", ["otlp.endpoint=http://otel-collector.observability.svc.cluster.local:4317"]),
    ("overlays/openshift", ["openshift.enabled=true"]),
]
ONLY_HELMS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
}


def helm(values, namespace="tracer"):
    """The command's exit code, what it printed, and its messages."""
    command = ["helm", "template", "tracer", CHART, "--namespace", namespace, "--kube-version", "1.36.0"]
    for value in values:
        command += ["--set", value]
    done = subprocess.run(command, capture_output=True, text=True)
    messages = [line for line in done.stderr.splitlines() if "found symbolic link" not in line]
    return done.returncode, done.stdout, "\n".join(messages)


def rendered(values, namespace="tracer"):
    code, text, messages = helm(values, namespace)
    if code != 0:
        sys.exit(f"helm template {values}: {messages}")
    return objects(text)


def objects(text):
    """Every object but namespaces, by its kind, namespace and name."""
    found = {}
    for item in yaml.safe_load_all(text):
        if item is None or item["kind"] == "Namespace":
            continue
        metadata = item["metadata"]
        key = "/".join([item["kind"], metadata.get("namespace", ""), metadata["name"]])
        if key in found:
            sys.exit(f"two objects {key}")
        found[key] = normal(item)
    return found


def normal(item):
    for label in ONLY_HELMS:
        item["metadata"].get("labels", {}).pop(label, None)
    if item["kind"] == "ConfigMap":
        # Files of YAML and JSON: their comments are not settings.
        item["data"] = {name: yaml.safe_load(text) for name, text in item["data"].items()}
    return item


def differences(kustomize, chart, path=""):
    if isinstance(kustomize, dict) and isinstance(chart, dict):
        for key in sorted(kustomize.keys() | chart.keys()):
            here = f"{path}.{key}"
            if key not in chart:
                yield f"{here}: only kustomize has {json.dumps(kustomize[key])}"
            elif key not in kustomize:
                yield f"{here}: only the chart has {json.dumps(chart[key])}"
            else:
                yield from differences(kustomize[key], chart[key], here)
    elif isinstance(kustomize, list) and isinstance(chart, list) and len(kustomize) == len(chart):
        for index, (one, other) in enumerate(zip(kustomize, chart)):
            yield from differences(one, other, f"{path}[{index}]")
    elif kustomize != chart:
        yield f"{path}: kustomize has {json.dumps(kustomize)}, the chart {json.dumps(chart)}"


def compare(overlay, values):
    directory = os.path.join(DEPLOY, overlay)
    done = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"kubectl kustomize {overlay}: {done.stderr}")
    kustomize, chart = objects(done.stdout), rendered(values)
    if len(kustomize) < 20:
        sys.exit(f"{overlay} has {len(kustomize)} objects: some are missing")
    found = []
    for key in sorted(kustomize.keys() | chart.keys()):
        if key not in chart:
            found.append(f"{key}: only kustomize has it")
        elif key not in kustomize:
            found.append(f"{key}: only the chart has it")
        else:
            found += [f"{key} {line}" for line in differences(kustomize[key], chart[key])]
    for line in found:
        print(f"{overlay}: {line}", file=sys.stderr)
    print(f"{overlay}: {len(kustomize)} objects, {len(found)} differences")
    return found


def check(condition, what):
    if not condition:
        sys.exit(f"the chart: {what}")


def refused(values, because):
    code, _, messages = helm(values)
    check(code != 0 and because in messages, f"{values} must be refused with {because!r}: {messages}")


def container(found, kind, name):
    pod = found[f"{kind}/tracer/{name}"]["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def other_values():
    """What no overlay has."""
    refused(["relay.replica=3"], "replica")
    refused(["image.digest=sha256:12"], "digest")
    refused(["metrics.podMonitor.enabled=true"], "needs metrics.enabled")

    digest = "sha256:" + "0" * 64
    found = rendered([f"image.digest={digest}", "image.repository=here/tracer", "imagePullSecrets[0].name=r"])
    for kind, name in [("DaemonSet", "tracer-agent"), ("Deployment", "tracer-relay")]:
        pod, own = container(found, kind, name)
        check(own["image"] == f"here/tracer@{digest}", f"{name} has image {own['image']}")
        check(pod["imagePullSecrets"] == [{"name": "r"}], f"{name} has no pull secret")

    found = rendered(["relay.enabled=false", "metrics.enabled=true", "metrics.podMonitor.enabled=true", "metrics.dashboard.enabled=false"])
    left = [key for key, item in found.items() if "relay" in json.dumps(item) or "tracer.internal" in json.dumps(item)]
    check(not left, f"without the relay there is something of it in {left}")

    found = rendered(["relay.hostNetwork=true", "relay.ports.api=9443"])
    pod, own = container(found, "Deployment", "tracer-relay")
    check(pod["hostNetwork"] and pod["dnsPolicy"] == "ClusterFirstWithHostNet", "the relay's network is not the host's")
    check(own["ports"][0] == {"name": "api", "containerPort": 9443, "protocol": "TCP"}, "the port is another")
    check(own["env"] == [{"name": "TRACER_LISTEN", "value": "[::]:9443"}], "the relay does not know its port")
    strategy = found["Deployment/tracer/tracer-relay"]["spec"]["strategy"]["rollingUpdate"]
    check(strategy == {"maxUnavailable": 1, "maxSurge": 0}, "an update would wait for a port that is taken")

    found = rendered(["metrics.enabled=true", "relay.ports.metrics=9999"])
    pod, own = container(found, "Deployment", "tracer-relay")
    check(own["env"] == [{"name": "TRACER_HTTP", "value": "[::]:9999"}], "the relay's metrics are on another port")
    service = found["Service/tracer/tracer-relay-metrics"]
    check(service["metadata"]["annotations"]["prometheus.io/port"] == "9999", "Prometheus looks for another port")
    check({"name": "metrics", "containerPort": 9999, "protocol": "TCP"} in own["ports"], "the port has no name")

    found = rendered(["relay.certManager.enabled=true"])
    api = found["APIService//v1alpha1.tracer.internal"]
    check(
        api["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "tracer/tracer-relay"},
        "cainjector finds no certificate",
    )
    check("apiservices" not in json.dumps(found["ClusterRole//tracer-relay"]), "the relay may change the APIService")
    check("Certificate/tracer/tracer-relay" in found, "there is no certificate")
    check("Issuer/tracer/tracer-relay" in found, "there is no issuer")
    pod, own = container(found, "Deployment", "tracer-relay")
    files = {one["name"]: one["value"] for one in own["env"]}
    directory = own["volumeMounts"][0]["mountPath"]
    for name, file in [("CERT", "tls.crt"), ("KEY", "tls.key"), ("CA", "ca.crt")]:
        check(files[f"TRACER_TLS_{name}"] == f"{directory}/{file}", f"the relay does not find its {file}")
    check("secrets" not in json.dumps(found["Role/tracer/tracer-relay"]), "the relay may read Secrets")
    found = rendered(
        ["relay.certManager.enabled=true", "relay.certManager.issuerRef.kind=ClusterIssuer", "relay.certManager.issuerRef.name=x"]
    )
    check("Issuer/tracer/tracer-relay" not in found, "there is an issuer besides the given one")
    given = found["Certificate/tracer/tracer-relay"]["spec"]["issuerRef"]
    check(given == {"kind": "ClusterIssuer", "name": "x"}, f"another issuer: {given}")

    found = rendered(["agent.config.log=debug", "agent.config.exclude-namespace={payroll,ci-*}"])
    settings = found["ConfigMap/tracer/tracer-agent"]["data"]["config.yaml"]
    check(settings == {"log": "debug", "exclude-namespace": ["payroll", "ci-*"]}, f"other settings: {settings}")

    found = rendered(["otlp.endpoint=https://c:4317", "otlp.clusterDns=false", "otlp.headersSecret=h", "openshift.enabled=true"])
    pod, own = container(found, "DaemonSet", "tracer-agent")
    check(pod["dnsPolicy"] == "Default", "the agent asks the cluster's DNS")
    mounts = {mount["name"]: mount["mountPath"] for mount in own["volumeMounts"]}
    path = {one["name"]: one.get("value") for one in own["env"]}["TRACER_OTLP_HEADERS"]
    check(path == mounts["otlp-headers"] + "/headers", f"the headers are not in {path}")
    check(pod["volumes"][-1] == {"name": "otlp-headers", "secret": {"secretName": "h"}}, "another volume")
    allowed = found["SecurityContextConstraints//tracer-agent"]["volumes"]
    check("secret" in allowed, "OpenShift does not let the agent mount a Secret")

    base = "https://example.org/docs/"
    found = rendered(["metrics.enabled=true", "metrics.rules.enabled=true", f"metrics.rules.runbookBase={base}"])
    rules = json.dumps(found["PrometheusRule/tracer/tracer"])
    check(base in rules and "tracer.example" not in rules, "the alerts' links were not changed")

    # In another namespace nothing is left of the usual one, except that names are tracer's.
    found = rendered([], namespace="observability")
    for key, item in found.items():
        namespace = item["metadata"].get("namespace")
        check(namespace in (None, "observability", "kube-system"), f"{key} is in namespace {namespace}")
        for subject in item.get("subjects", []):
            check(subject["namespace"] == "observability", f"{key} binds an account of {subject['namespace']}")
    service = found["APIService//v1alpha1.tracer.internal"]["spec"]["service"]
    check(service["namespace"] == "observability", "the APIService leads to another namespace")
    print("other values: as they should be")


def main():
    found = []
    for overlay, values in PAIRS:
        found += compare(overlay, values)
    other_values()
    if found:
        sys.exit(f"{len(found)} differences between the chart and kustomize")


main()
