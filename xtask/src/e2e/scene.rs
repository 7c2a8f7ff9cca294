//! Creates the test's objects in the cluster and removes them.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{build, chart, image};
use testbed::lab::shell;
use testbed::scenario::{Output, typed};

use super::target::Target;

const SCENARIO: &str = include_str!("../../e2e/scenario.yaml");
/// On everything that the scenario puts into the cluster.
pub(super) const LABEL: &str = "tracer-e2e=scenario";
/// On everything that deploy/ puts there.
const DEPLOYED: &str = "app.kubernetes.io/part-of=tracer";
/// What the relays serve.
pub(super) const API_SERVICE: &str = "v1alpha1.tracer.internal";

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    /// `namespace/name`
    pub(super) name: String,
    pub(super) ip: String,
    pub(super) node: String,
}

/// The scenario's objects in this cluster.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) client: Pod,
    /// A server on another node, if there is one.
    pub(super) server: Pod,
    /// Behind the Service that the client pings.
    pub(super) apaches: Vec<Pod>,
    /// That Service's address.
    pub(super) apache_ip: String,
    /// The DNS server's pods that are on other nodes than the client: there both ends are reported.
    pub(super) dns: Vec<String>,
}

fn deployment() -> PathBuf {
    build::root().join("deploy")
}

/// Refuses to start where the names that the test uses exist.
pub(super) fn ensure_free(target: &Target) -> Result<()> {
    let taken = target.kubectl(&[
        "get",
        "namespaces",
        "tracer",
        "myns",
        "--ignore-not-found",
        "-o",
        "name",
    ])?;
    ensure!(
        taken.trim().is_empty(),
        "taken already: {}",
        taken.trim().replace('\n', ", ")
    );
    let names = [
        "pod/deb-ubuntu",
        "pod/faulty",
        "daemonset/nginx-ds",
        "service/clusterip-nginx-ds",
        "service/faulty",
    ];
    let taken = target.kubectl(
        &[
            &["-n", "default", "get", "--ignore-not-found", "-o", "name"],
            names.as_slice(),
        ]
        .concat(),
    )?;
    ensure!(
        taken.trim().is_empty(),
        "taken already in namespace default: {}",
        taken.trim().replace('\n', ", ")
    );
    Ok(())
}

/// How Tracer is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Install {
    /// `kubectl apply -k deploy/`
    #[default]
    Kustomize,
    /// `helm install` of the chart in deploy/helm
    Helm,
}

/// As a user would.
pub(super) fn deploy(
    target: &Target,
    install: Install,
    image: Option<&str>,
    otlp: Option<&str>,
) -> Result<()> {
    let workloads = ["daemonset/tracer-agent", "deployment/tracer-relay"];
    match install {
        Install::Kustomize => {
            let directory = deployment().display().to_string();
            target.kubectl(&["apply", "--validate=strict", "-k", &directory])?;
            if let Some(image) = image {
                for workload in workloads {
                    let image = format!("*={image}");
                    target.kubectl(&["-n", "tracer", "set", "image", workload, &image])?;
                }
            }
        }
        Install::Helm => {
            let chart = deployment().join("helm/tracer").display().to_string();
            let reference = match image {
                Some(image) => image.to_owned(),
                None => image::reference(&build::root())?,
            };
            let (repository, tag) = reference
                .rsplit_once(':')
                .context("an image with a tag: NAME:TAG")?;
            let helm = chart::helm()?;
            let helm = helm.to_str().context("a path of helm that is UTF-8")?;
            let repository = format!("image.repository={repository}");
            let tag = format!("image.tag={tag}");
            let install = [
                helm,
                "install",
                "tracer",
                &chart,
                "--namespace=tracer",
                "--create-namespace",
                "--set",
                &repository,
                "--set",
                &tag,
            ];
            shell::run(&mut target.command(&install)?)?;
        }
    }
    if let Some(url) = otlp {
        let variable = format!("TRACER_OTLP={url}");
        target.kubectl(&[
            "-n",
            "tracer",
            "set",
            "env",
            "daemonset/tracer-agent",
            &variable,
            "TRACER_OTLP_METRICS=5s",
        ])?;
    }
    for workload in workloads {
        let status = ["rollout", "status", workload, "--timeout=180s"];
        let ready = target.kubectl(&[&["-n", "tracer"], status.as_slice()].concat());
        ready
            .map(drop)
            .with_context(|| format!("{workload} does not become ready:\n{}", troubles(target)))?;
    }
    Ok(())
}

/// Why pods do not run.
fn troubles(target: &Target) -> String {
    let pods = target
        .kubectl(&["-n", "tracer", "describe", "pods"])
        .unwrap_or_default();
    let logs = target.kubectl(&[
        "-n",
        "tracer",
        "logs",
        "-l",
        "app.kubernetes.io/name=tracer",
        "--tail=20",
        "--prefix",
    ]);
    let events: Vec<&str> = pods
        .lines()
        .skip_while(|line| !line.starts_with("Events"))
        .collect();
    format!("{}\n{}", events.join("\n"), logs.unwrap_or_default())
}

impl Scene {
    /// Makes the scenario's pods and Services and waits until they are ready.
    pub(super) fn make(target: &Target, image: &str) -> Result<Scene> {
        let servers = pods(target, "kube-system", "k8s-app=kube-dns")?;
        ensure!(
            !servers.is_empty(),
            "no DNS server: no pod k8s-app=kube-dns in kube-system"
        );
        let nodes = target.get(&["nodes"])?;
        let node = client_node(&nodes, &servers)?;
        let other = usable(&nodes).into_iter().find(|other| *other != node);
        let scenario = SCENARIO
            .replace("IMAGE", image)
            .replace("NODE", &node)
            .replace("OTHER", other.unwrap_or(&node));
        let apply = ["kubectl", "apply", "--validate=strict", "-f", "-"];
        shell::feed(&mut target.command(&apply)?, &scenario)?;
        for (namespace, daemonset) in [
            ("default", "daemonset/nginx-ds"),
            ("myns", "daemonset/apache-ds-myns"),
        ] {
            target.kubectl(&[
                "-n",
                namespace,
                "rollout",
                "status",
                daemonset,
                "--timeout=180s",
            ])?;
        }
        target.kubectl(&[
            "-n",
            "default",
            "wait",
            "--for=condition=Ready",
            "pod/deb-ubuntu",
            "pod/faulty",
            "--timeout=180s",
        ])?;
        let client = target.get(&["-n", "default", "pod", "deb-ubuntu"])?;
        let server = target.get(&["-n", "default", "pod", "faulty"])?;
        let service = target.get(&["-n", "myns", "service", "clusterip-apache2-ds-myns"])?;
        let client = pod(&client).context("the client has no address")?;
        let server = pod(&server).context("the server of the faults has no address")?;
        Ok(Scene {
            apaches: pods(target, "myns", "name=apache")?,
            apache_ip: service["spec"]["clusterIP"]
                .as_str()
                .context("no ClusterIP")?
                .to_owned(),
            dns: servers
                .into_iter()
                .filter(|pod| pod.node != client.node)
                .map(|pod| pod.name)
                .collect(),
            client,
            server,
        })
    }

    pub(super) fn describe(&self) -> String {
        let apaches: Vec<_> = self
            .apaches
            .iter()
            .map(|pod| format!("{} {} on {}", pod.name, pod.ip, pod.node))
            .collect();
        format!(
            "{} {} on {}; myns/clusterip-apache2-ds-myns {} with {}",
            self.client.name,
            self.client.ip,
            self.client.node,
            self.apache_ip,
            apaches.join(", ")
        )
    }
}

/// A node without a DNS server, if there is one: then both ends of a query are reported.
fn client_node(nodes: &Value, servers: &[Pod]) -> Result<String> {
    let names = usable(nodes);
    let apart = names
        .iter()
        .find(|name| servers.iter().all(|server| server.node != **name));
    apart
        .or(names.first())
        .map(|name| (*name).to_owned())
        .context("no node takes pods")
}

/// The nodes that take pods.
fn usable(nodes: &Value) -> Vec<&str> {
    let nodes = nodes["items"].as_array().into_iter().flatten();
    let usable = nodes.filter(|node| {
        let mut taints = node["spec"]["taints"].as_array().into_iter().flatten();
        node["spec"]["unschedulable"] != true
            && taints.all(|taint| taint["effect"] == "PreferNoSchedule")
    });
    usable
        .filter_map(|node| node["metadata"]["name"].as_str())
        .collect()
}

fn pods(target: &Target, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
    let listed = target.get(&["-n", namespace, "pods", "-l", selector])?;
    let items = listed["items"].as_array().context("a list of pods")?;
    Ok(items.iter().filter_map(pod).collect())
}

/// None while it has no address.
fn pod(object: &Value) -> Option<Pod> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Pod {
        name: format!(
            "{}/{}",
            object["metadata"]["namespace"].as_str()?,
            object["metadata"]["name"].as_str()?
        ),
        ip: text(&object["status"]["podIP"])?,
        node: text(&object["spec"]["nodeName"])?,
    })
}

/// Runs a command in the client and returns all that it printed, whatever its exit code: nslookup's and
/// ping's say whether there was an answer, which is what is tested.
pub(super) fn in_client(target: &Target, argv: &[&str]) -> Result<Output> {
    let exec = ["kubectl", "-n", "default", "exec", "deb-ubuntu", "--"];
    let output = target
        .command(&[&exec, argv].concat())?
        .stdin(Stdio::null())
        .output()
        .context("cannot run kubectl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let ran = output.status.success() || said.contains("command terminated with exit code");
    ensure!(ran, "kubectl exec {}: {}", argv.join(" "), said.trim());
    Ok(Output {
        command: typed(argv),
        text: format!("{}{said}", String::from_utf8_lossy(&output.stdout)),
        code: output.status.code(),
    })
}

/// Removes everything and checks that it is gone.
pub(super) fn remove(target: &Target, install: Install) -> Result<()> {
    let directory = deployment().display().to_string();
    // Before the relays, without which no namespace can be deleted while it exists.
    target.kubectl(&["delete", "apiservice", API_SERVICE, "--ignore-not-found"])?;
    if install == Install::Helm {
        let helm = chart::helm()?;
        let helm = helm.to_str().context("a path of helm that is UTF-8")?;
        let uninstall = [helm, "uninstall", "tracer", "--namespace=tracer", "--wait"];
        shell::run(&mut target.command(&uninstall)?)?;
    }
    let deployed = target.kubectl(&[
        "delete",
        "--ignore-not-found",
        "--timeout=120s",
        "-k",
        &directory,
    ]);
    let kinds = "daemonsets,services,pods,rolebindings";
    let labelled = [
        "delete",
        kinds,
        "-n",
        "default",
        "-l",
        LABEL,
        "--timeout=120s",
    ];
    let scenario = target.kubectl(&labelled);
    let namespace = target.kubectl(&[
        "delete",
        "namespace",
        "myns",
        "--ignore-not-found",
        "--timeout=120s",
    ]);
    let roles = target.kubectl(&["delete", "clusterrolebindings", "-l", LABEL]);
    deployed.and(scenario).and(namespace).and(roles)?;
    let cluster_wide = "namespaces,clusterroles,clusterrolebindings,priorityclasses,apiservices";
    let mut left = String::new();
    for selector in [DEPLOYED, LABEL] {
        left += &target.kubectl(&["get", cluster_wide, "-l", selector, "-o", "name"])?;
        left += &target.kubectl(&[
            "get",
            "all,configmaps,serviceaccounts",
            "-A",
            "-l",
            selector,
            "-o",
            "name",
        ])?;
    }
    ensure!(
        left.trim().is_empty(),
        "left in the cluster: {}",
        left.trim().replace('\n', ", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(node: &str) -> Pod {
        Pod {
            name: "kube-system/coredns".to_owned(),
            ip: "10.1.0.2".to_owned(),
            node: node.to_owned(),
        }
    }

    #[test]
    fn the_client_goes_to_a_node_without_a_dns_server_that_takes_pods() {
        let nodes = json!({"items": [
            {"metadata": {"name": "a"}, "spec": {}},
            {"metadata": {"name": "b"}, "spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}},
            {"metadata": {"name": "c"}, "spec": {"unschedulable": true}},
            {"metadata": {"name": "d"}, "spec": {}},
        ]});
        assert_eq!(client_node(&nodes, &[server("a")]).expect("d"), "d");
        assert_eq!(
            client_node(&nodes, &[server("a"), server("d")]).expect("a"),
            "a"
        );
        assert!(client_node(&json!({"items": []}), &[]).is_err());
    }
}
