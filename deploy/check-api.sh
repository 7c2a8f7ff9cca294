#!/usr/bin/env bash
# Tries deploy/ on a real API server, without nodes: every overlay and values of the chart by a strict dry run on the server,
# the roles by what the server answers, and that a missing relay blocks the deletion of namespaces until its APIService is gone.
# deploy/check.sh api runs it. It needs root, and the programs of `cargo xtask cluster build`.
#
# API server, etcd and controllers run in a network namespace of their own that has nothing but its loopback.
set -euo pipefail

fail() {
    echo "deploy/check-api.sh: $*" >&2
    exit 1
}

if [ "${TRACER_CHECK_API:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || fail "it needs root, for a network namespace"
    for program in etcd kube-apiserver kube-controller-manager kubectl helm openssl; do
        command -v "$program" > /dev/null || fail "no $program: \`cargo xtask cluster build\` builds Kubernetes' programs"
    done
    # The schemas of the operators' resources; the module proxy is out of reach from inside.
    directories=()
    for module in github.com/prometheus-operator/prometheus-operator@v0.85.0 github.com/cert-manager/cert-manager@v1.21.2; do
        directories+=("$(cd / && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')")
    done
    TRACER_CHECK_API=inside exec unshare --net --pid --fork --kill-child bash "$0" "${directories[@]}"
fi

ip link set lo up
deploy="$(cd "$(dirname "$0")" && pwd)"
prometheus_operator="$1" cert_manager="$2"
work="$(mktemp -d)"
trap 'rm -rf "$work"; kill $(jobs -p) 2> /dev/null || true' EXIT
cd "$work"

openssl genrsa -out sa.key 2048 2> /dev/null
echo 'token,admin,1,system:masters' > tokens.csv
cat > kubeconfig << 'CONFIG'
apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: it, user: {token: token}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
current-context: it
CONFIG
export KUBECONFIG="$work/kubeconfig" HELM_CACHE_HOME="$work/helm" HELM_CONFIG_HOME="$work/helm" HELM_DATA_HOME="$work/helm"
etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync > etcd.log 2>&1 &
kube-apiserver --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --cert-dir=certificates \
    --etcd-servers=http://127.0.0.1:2379 --service-account-issuer=https://kubernetes.invalid --service-account-key-file=sa.key \
    --service-account-signing-key-file=sa.key --service-cluster-ip-range=10.96.0.0/24 --token-auth-file=tokens.csv \
    --authorization-mode=RBAC --enable-aggregator-routing=true > apiserver.log 2>&1 &
for _ in $(seq 90); do
    kubectl get --raw /readyz > /dev/null 2>&1 && break
    sleep 1
done
kubectl get --raw /readyz > /dev/null || fail "the API server does not become ready: $(tail -5 apiserver.log)"
kube-controller-manager --kubeconfig=kubeconfig --authentication-kubeconfig=kubeconfig --authorization-kubeconfig=kubeconfig \
    --secure-port=0 --leader-elect=false \
    --controllers=clusterrole-aggregation-controller,namespace-controller,serviceaccount-controller > controllers.log 2>&1 &

kubectl create --filename "$prometheus_operator"/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml \
    --filename "$prometheus_operator"/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml \
    --filename "$cert_manager"/deploy/crds/cert-manager.io_certificates.yaml \
    --filename "$cert_manager"/deploy/crds/cert-manager.io_issuers.yaml > /dev/null
kubectl wait --for=condition=Established --timeout=30s crd --all > /dev/null
kubectl create namespace tracer > /dev/null

dry_run() {
    kubectl apply --dry-run=server --validate=strict --filename - 2>&1 | grep -v -e 'server dry run' -e last-applied || true
}
count=0
accepted() {
    local what="$1" answer
    answer="$(dry_run)"
    [ -z "$answer" ] || fail "$what is not accepted: $answer"
    count=$((count + 1))
}
for overlay in . overlays/before-5.11 overlays/otlp overlays/prometheus overlays/prometheus-operator; do
    kubectl kustomize "$deploy/$overlay" | accepted "deploy/$overlay"
done
template() { helm template tracer "$deploy/helm/tracer" --namespace tracer --kube-version 1.36.0 "$@" 2> helm.log || fail "$(cat helm.log)"; }
template | accepted "the chart"
template --set relay.hostNetwork=true,relay.ports.api=9443,relay.replicas=3 | accepted "the chart with the host's network"
template --set relay.certManager.enabled=true | accepted "the chart with cert-manager"
template --set relay.enabled=false,agent.config.log=debug | accepted "the chart without relay"
template --set metrics.enabled=true,metrics.podMonitor.enabled=true,metrics.podMonitor.interval=30s,metrics.rules.enabled=true |
    accepted "the chart with metrics"
echo "accepted by the API server: five directories, five sets of values"
# A dry run that accepts everything would prove nothing.
[ -n "$(kubectl kustomize "$deploy" | sed 's/hostPID/hostPid/' | dry_run)" ] || fail "the dry run accepts a misspelt field"

kubectl delete namespace tracer > /dev/null
helm install tracer "$deploy/helm/tracer" --namespace tracer --create-namespace > helm.log 2>&1 || fail "$(cat helm.log)"

# Pod Security: the relays need no exception, the agents need the highest level.
kubectl create namespace strict > /dev/null
kubectl --namespace strict create serviceaccount tracer-relay > /dev/null
pod() {
    template --show-only "templates/$1" | python3 -c '
import sys, yaml
for item in yaml.safe_load_all(sys.stdin):
    if item and item["kind"] in ("DaemonSet", "Deployment"):
        template = item["spec"]["template"]
        template["spec"]["serviceAccountName"] = "tracer-relay"
        metadata = {"name": "it", "namespace": "strict", "labels": template["metadata"]["labels"]}
        print(yaml.dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}))' | dry_run
}
kubectl label namespace strict pod-security.kubernetes.io/enforce=restricted > /dev/null
refused="$(pod relay-deployment.yaml)"
[ -z "$refused" ] || fail "the relay needs more than the level restricted: $refused"
[[ "$(pod agent-daemonset.yaml)" == *violates\ PodSecurity* ]] || fail "an agent is accepted at the level restricted"
kubectl label --overwrite namespace strict pod-security.kubernetes.io/enforce=privileged > /dev/null
refused="$(pod agent-daemonset.yaml)"
[ -z "$refused" ] || fail "an agent is not accepted at the level privileged: $refused"
echo "Pod Security: the relay runs as restricted, the agent as privileged"

kubectl create namespace shop > /dev/null
kubectl --namespace shop create rolebinding ben --clusterrole=view --user=ben > /dev/null
kubectl --namespace shop create rolebinding anna --clusterrole=tracer-findings-view --user=anna > /dev/null
kubectl --namespace shop create rolebinding eve --clusterrole=tracer-traces-view --user=eve > /dev/null
kubectl create clusterrolebinding sre --clusterrole=tracer-traces-view --group=sre > /dev/null

# may WHO VERB GROUP RESOURCE NAMESPACE NAME EXPECTED
may() {
    local user="$1" group=none answer
    [ "$user" != sre ] || group=sre
    answer="$(kubectl create --output 'jsonpath={.status.allowed}' --filename - << REVIEW
{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "$user", "groups": ["$group"],
 "resourceAttributes": {"verb": "$2", "group": "$3", "resource": "$4", "namespace": "$5", "name": "$6"}}}
REVIEW
)"
    [ "$answer" = "$7" ] || fail "$user may $2 $4.$3 $6 in namespace '$5': $answer instead of $7"
}
# `view` gets findings once its controller has run.
for _ in $(seq 30); do
    kubectl get clusterrole view --output yaml | grep -q tracer.internal && break
    sleep 1
done
api=tracer.internal
for user in ben anna; do
    may $user list $api findings shop "" true
    may $user list $api findings other "" false
    may $user list $api traces shop "" false
    may $user delete $api findings shop "" false
done
may eve watch $api traces shop "" true
may eve watch $api traces other "" false
may eve list $api tracernodes "" "" false
may sre list $api tracernodes "" "" true
may sre list $api traces "" "" true
may eve create "" pods/exec tracer "" false
relay=system:serviceaccount:tracer:tracer-relay
agent=system:serviceaccount:tracer:tracer-agent
may $relay list "" pods "" "" true
may $relay list "" secrets tracer "" false
may $relay get "" secrets tracer tracer-relay-tls true
may $relay get "" secrets tracer other false
may $relay get "" configmaps kube-system extension-apiserver-authentication true
may $relay create authentication.k8s.io tokenreviews "" "" true
may $relay create authorization.k8s.io subjectaccessreviews "" "" true
may $relay patch apiregistration.k8s.io apiservices "" v1alpha1.tracer.internal true
may $relay patch apiregistration.k8s.io apiservices "" v1. false
may $agent get "" configmaps tracer tracer-relay-ca true
may $agent get "" configmaps tracer tracer-agent false
may $agent get "" secrets tracer tracer-relay-tls false
echo "roles: as they should be"

# No relay runs here, so the APIService blocks every deletion, and only it.
gone() {
    for _ in $(seq "$1"); do
        kubectl get namespace shop > /dev/null 2>&1 || return 0
        sleep 1
    done
    return 1
}
kubectl delete namespace shop --wait=false > /dev/null
! gone 15 || fail "a namespace was deleted although no relay runs: then docs/install.md is wrong"
state="$(kubectl get namespace shop --output 'jsonpath={.status.conditions[*].reason}')"
[[ "$state" == *DiscoveryFailed* ]] || fail "the deletion waits for something else: $state"
kubectl delete apiservice v1alpha1.tracer.internal > /dev/null
gone 60 || fail "the namespace stays although the APIService is gone"
echo "a missing relay blocks deletions until its APIService is deleted"

helm upgrade tracer "$deploy/helm/tracer" --namespace tracer > helm.log 2>&1 || fail "$(cat helm.log)"
kubectl get apiservice v1alpha1.tracer.internal > /dev/null || fail "an upgrade does not bring the APIService back"
helm uninstall tracer --namespace tracer > helm.log 2>&1 || fail "$(cat helm.log)"
kubectl delete namespace tracer --timeout=60s > /dev/null || fail "the namespace cannot be deleted after helm uninstall"
kubectl apply --kustomize "$deploy" > /dev/null
timeout 90 kubectl delete --kustomize "$deploy" > /dev/null || fail "kubectl delete -k does not end"
left="$(kubectl get apiservices,clusterroles,clusterrolebindings,priorityclasses,rolebindings --all-namespaces --output name | grep tracer || true)"
[ -z "$left" ] || fail "left behind: $left"
echo "helm and kubectl remove everything"
