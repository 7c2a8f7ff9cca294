#!/usr/bin/env bash
# Checks what deploy/ and .github/ promise. Each check is one function below.
#
#   deploy/check.sh              all checks
#   deploy/check.sh alerts       one of them: alerts, kustomize, chart, workflows, release
#   deploy/check.sh api          as root, a minute: all of it on a real API server without nodes (check-api.sh)
#   deploy/check.sh --bless      first write again what is derived from other files
#
# promtool is from Debian's package prometheus; python3 needs PyYAML (python3-yaml). helm and actionlint are taken from the PATH
# or built as Go modules at fixed releases and kept in $XDG_CACHE_HOME/tracer/tools/bin; kubectl from the PATH or from the
# cluster of `cargo xtask cluster`.
set -euo pipefail
cd "$(dirname "$0")"

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tracer"
export PATH="$cache/tools/bin:$PATH:$cache/cluster/bin"

fail() {
    echo "deploy/check.sh: $*" >&2
    exit 1
}

# A Go program of a fixed release, if there is none.
go_tool() {
    command -v "$1" > /dev/null && return
    command -v go > /dev/null || fail "there is neither $1 nor a Go toolchain to build it with"
    echo "building $2@$3 (once)" >&2
    GOBIN="$cache/tools/bin" CGO_ENABLED=0 nice -n 10 go install -trimpath "$2@$3" ||
        fail "cannot build $2@$3; go's messages are above. It needs a module proxy (GOPROXY) that it reaches"
}

helm_() {
    go_tool helm helm.sh/helm/v3/cmd/helm v3.22.0
    # It reports every symbolic link in files/, which are the alerts and the dashboard.
    helm "$@" 2> >(grep -v 'found symbolic link' >&2)
}

# The PrometheusRule is the plain rule file with a head.
wrapped() {
    sed '/^spec:/q' alerts/prometheusrule.yaml
    sed -n '/^groups:/,$p' alerts/tracer.rules.yaml | sed 's/^\(.\)/  \1/'
}

bless() {
    local text
    text="$(wrapped)"
    printf '%s\n' "$text" > alerts/prometheusrule.yaml
}

check_alerts() {
    command -v promtool > /dev/null || fail "no promtool: apt-get install --no-install-recommends prometheus"
    promtool check rules alerts/tracer.rules.yaml
    (cd alerts && promtool test rules tests.yaml)
    wrapped | cmp -s - alerts/prometheusrule.yaml ||
        fail "alerts/prometheusrule.yaml differs from alerts/tracer.rules.yaml: run deploy/check.sh --bless"
    # Each rule has an alert, or its absence is explained in the file's head.
    local rule missing=""
    while read -r rule; do
        grep -q -e "rule=\"$rule\"" -e "^# .*\b$rule\b" alerts/tracer.rules.yaml || missing="$missing $rule"
    done < <(sed -n 's/^| \[\([a-z0-9-]*\)\](#.*/\1/p' ../docs/findings.md)
    [ -z "$missing" ] || fail "rules without an alert, and without a reason in alerts/tracer.rules.yaml:$missing"
    # The links of the alerts lead to a heading.
    local url page anchor
    while read -r url; do
        page="../docs/${url%%#*}"
        [ -f "$page" ] || fail "no page docs/${url%%#*}, which an alert links to"
        case "$url" in
        *#*)
            anchor="${url#*#}"
            sed -n 's/^##* *//p' "$page" | tr 'A-Z ' 'a-z-' | tr -d "\`.,()'/:" | grep -qx -e "$anchor" ||
                fail "docs/${url%%#*} has no heading #$anchor, which an alert links to"
            ;;
        esac
    done < <(sed -n 's/.*runbook_url: https:\/\/tracer.example\/docs\///p' alerts/tracer.rules.yaml | sort -u)
    # Each metric is in docs/metrics.md, which a test compares with the program.
    local metric
    while read -r metric; do
        grep -q -e "^| \`${metric}\`" -e "^| \`${metric%_bucket}\`" -e "^| \`${metric%_sum}\`" -e "^| \`${metric%_count}\`" ../docs/metrics.md ||
            fail "the alerts use $metric, which docs/metrics.md does not have"
    done < <(grep -v '^ *#' alerts/tracer.rules.yaml | grep -oE '(^|[^:a-z_])tracer_[a-z_]+' | grep -oE 'tracer_[a-z_]+' | sort -u)
}

check_kustomize() {
    command -v kubectl > /dev/null || fail "no kubectl: install it, or build one with \`cargo xtask cluster build\`"
    local directory
    for directory in . overlays/*; do
        kubectl kustomize "$directory" > /dev/null || fail "deploy/$directory is not valid"
    done
}

check_chart() {
    command -v kubectl > /dev/null || fail "no kubectl: install it, or build one with \`cargo xtask cluster build\`"
    helm_ lint --strict --quiet --kube-version 1.36.0 helm/tracer
    # Its own versions are those of Cargo.toml.
    local version
    version="$(sed -n 's/^version = "\(.*\)"/\1/p' ../Cargo.toml)"
    [ "$(sed -n 's/^appVersion: //p' helm/tracer/Chart.yaml)" = "$version" ] ||
        fail "appVersion of helm/tracer/Chart.yaml is not $version, the version in Cargo.toml"
    export -f helm_ go_tool fail
    export cache
    python3 helm/compare.py
}

check_workflows() {
    go_tool actionlint github.com/rhysd/actionlint/cmd/actionlint v1.7.12
    (cd .. && actionlint)
}

check_release() {
    go_tool validate-krew-manifest sigs.k8s.io/krew/cmd/validate-krew-manifest v0.4.3
    bash release/test.sh
}

check_api() {
    go_tool helm helm.sh/helm/v3/cmd/helm v3.22.0
    bash check-api.sh
}

names=()
for argument in "$@"; do
    case "$argument" in
    --bless) bless ;;
    alerts | kustomize | chart | workflows | release | api) names+=("$argument") ;;
    *) fail "there is no check \"$argument\"; there are alerts, kustomize, chart, workflows, release and api" ;;
    esac
done
[ ${#names[@]} -gt 0 ] || names=(alerts kustomize chart workflows release)
for name in "${names[@]}"; do
    echo "== $name"
    "check_$name"
done
