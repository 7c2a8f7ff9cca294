//! What `deploy/` promises: the API server knows every object, the agent has exactly the rights that its code
//! uses, no user may exec into it, and the containers match docs/operations.md. No cluster is needed; `cargo xtask e2e` applies the
//! manifests to a real one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PodSpec, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracer::cluster::access::ACCESS;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn documents(file: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every object below a directory that a kustomization lists.
fn objects(directory: &str) -> Vec<Value> {
    let directory = deploy().join(directory);
    let kustomization = &documents(&directory.join("kustomization.yaml"))[0];
    let resources = kustomization["resources"].as_array().expect("resources");
    let names = resources.iter().map(|name| name.as_str().expect("a name"));
    let files = names.filter(|name| name.ends_with(".yaml"));
    files
        .flat_map(|name| documents(&directory.join(name)))
        .collect()
}

fn find(kind: &str, name: &str) -> Value {
    let mut found = objects("base")
        .into_iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let object = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    object
}

fn typed<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("it is of its kind")
}

/// Whether the API server would know every field: an unknown field is lost when the object is written again.
fn strict<T: DeserializeOwned + Serialize>(object: &Value) {
    let parsed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{error} in {object}"));
    let again = serde_json::to_value(parsed).expect("it can be written");
    assert_eq!(&again, object, "a field is misspelt, or no field at all");
}

#[test]
fn every_object_is_one_that_the_api_server_knows() {
    let all = [objects("base"), objects("overlays/prometheus")].concat();
    assert!(all.len() >= 8, "{all:?}");
    for object in &all {
        match object["kind"].as_str().expect("a kind") {
            "APIService" => strict::<APIService>(object),
            "ClusterRole" => strict::<ClusterRole>(object),
            "ClusterRoleBinding" => strict::<ClusterRoleBinding>(object),
            "ConfigMap" => strict::<ConfigMap>(object),
            "DaemonSet" => strict::<DaemonSet>(object),
            "Deployment" => strict::<Deployment>(object),
            "Namespace" => strict::<Namespace>(object),
            "PodDisruptionBudget" => strict::<PodDisruptionBudget>(object),
            "PriorityClass" => strict::<PriorityClass>(object),
            "Role" => strict::<Role>(object),
            "RoleBinding" => strict::<RoleBinding>(object),
            "Service" => strict::<Service>(object),
            "ServiceAccount" => strict::<ServiceAccount>(object),
            kind => panic!("this test does not know {kind}; teach it"),
        }
    }
}

#[test]
fn no_file_of_the_base_is_forgotten_by_its_kustomization() {
    let entries = fs::read_dir(deploy().join("base")).expect("it is there");
    let files: BTreeSet<String> = entries
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    let kustomization = &documents(&deploy().join("base/kustomization.yaml"))[0];
    let listed: Vec<String> = typed(kustomization["resources"].clone());
    assert_eq!(files, listed.into_iter().collect());
}

/// (group, resource, verb), one each.
type Rights = BTreeSet<(String, String, String)>;

fn rights(rules: &[PolicyRule]) -> Rights {
    let mut rights = Rights::new();
    for rule in rules {
        assert!(rule.non_resource_urls.is_none() && rule.resource_names.is_none());
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

#[test]
fn the_agent_may_do_what_its_code_does_and_nothing_else() {
    let role: ClusterRole = typed(find("ClusterRole", "tracer-agent"));
    let mut used = Rights::new();
    for access in ACCESS {
        for verb in access.verbs {
            used.insert((access.group.into(), access.resource.into(), (*verb).into()));
        }
    }
    assert_eq!(rights(&role.rules.unwrap_or_default()), used);
}

#[test]
fn only_the_agents_account_has_the_agents_role() {
    let binding: ClusterRoleBinding = typed(find("ClusterRoleBinding", "tracer-agent"));
    let account: ServiceAccount = typed(find("ServiceAccount", "tracer-agent"));
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    assert_eq!(binding.role_ref.kind, "ClusterRole");
    assert_eq!(binding.role_ref.name, "tracer-agent");
    let subjects = binding.subjects.unwrap_or_default();
    assert_eq!(subjects.len(), 1);
    assert_eq!(subjects[0].kind, "ServiceAccount");
    assert_eq!(subjects[0].name, account.metadata.name.unwrap_or_default());
    assert_eq!(subjects[0].namespace.as_deref(), Some("tracer"));
    let pod = daemonset
        .spec
        .and_then(|spec| spec.template.spec)
        .expect("a pod");
    assert_eq!(pod.service_account_name.as_deref(), Some("tracer-agent"));
    // Other pods of the namespace get no token of it by accident.
    assert_eq!(account.automount_service_account_token, Some(false));
    assert_eq!(pod.automount_service_account_token, Some(true));
}

/// (resource, name or empty, verb), one each.
fn named_rights(rules: &[PolicyRule]) -> BTreeSet<(String, String, String)> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        let names = rule
            .resource_names
            .clone()
            .unwrap_or_else(|| vec![String::new()]);
        for resource in rule.resources.iter().flatten() {
            for name in &names {
                for verb in &rule.verbs {
                    rights.insert((resource.clone(), name.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

fn triples(expected: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    let owned =
        |(a, b, c): &(&str, &str, &str)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned());
    expected.iter().map(owned).collect()
}

fn only_account(subjects: Option<Vec<Subject>>, name: &str) {
    let subjects = subjects.unwrap_or_default();
    assert_eq!(subjects.len(), 1);
    assert_eq!(subjects[0].kind, "ServiceAccount");
    assert_eq!(subjects[0].name, name);
    assert_eq!(subjects[0].namespace.as_deref(), Some("tracer"));
}

#[test]
fn in_its_namespace_the_agent_reads_the_relays_authority_and_nothing_else() {
    let role: Role = typed(find("Role", "tracer-agent"));
    let expected = triples(&[("configmaps", "tracer-relay-ca", "get")]);
    assert_eq!(named_rights(&role.rules.unwrap_or_default()), expected);
    let binding: RoleBinding = typed(find("RoleBinding", "tracer-agent"));
    only_account(binding.subjects, "tracer-agent");
}

#[test]
fn the_relay_watches_pods_and_writes_its_certificate() {
    let cluster: ClusterRole = typed(find("ClusterRole", "tracer-relay"));
    let api = "v1alpha1.tracer.internal";
    let expected = triples(&[
        ("pods", "", "list"),
        ("pods", "", "watch"),
        ("apiservices", api, "get"),
        ("apiservices", api, "patch"),
    ]);
    assert_eq!(named_rights(&cluster.rules.unwrap_or_default()), expected);
    let role: Role = typed(find("Role", "tracer-relay"));
    let expected = triples(&[
        ("secrets", "", "create"),
        ("secrets", "tracer-relay-tls", "get"),
        ("secrets", "tracer-relay-tls", "update"),
        ("configmaps", "", "create"),
        ("configmaps", "tracer-relay-ca", "get"),
        ("configmaps", "tracer-relay-ca", "update"),
        ("pods", "", "get"),
    ]);
    assert_eq!(named_rights(&role.rules.unwrap_or_default()), expected);
    let binding: RoleBinding = typed(find("RoleBinding", "tracer-relay"));
    only_account(binding.subjects, "tracer-relay");
    // As an extension API server must.
    for name in ["tracer-relay", "tracer-relay-auth-delegator"] {
        let binding: ClusterRoleBinding = typed(find("ClusterRoleBinding", name));
        only_account(binding.subjects, "tracer-relay");
    }
    let reader: RoleBinding = typed(find("RoleBinding", "tracer-relay-authentication-reader"));
    assert_eq!(reader.metadata.namespace.as_deref(), Some("kube-system"));
    assert_eq!(
        reader.role_ref.name,
        "extension-apiserver-authentication-reader"
    );
}

#[test]
fn nothing_that_kustomize_changes_moves_an_object_to_another_namespace() {
    let mut files = vec![
        deploy().join("kustomization.yaml"),
        deploy().join("base/kustomization.yaml"),
    ];
    for overlay in fs::read_dir(deploy().join("overlays")).expect("overlays") {
        files.push(overlay.expect("an entry").path().join("kustomization.yaml"));
    }
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        let kustomization = &documents(file)[0];
        assert!(
            kustomization.get("namespace").is_none(),
            "{}",
            file.display()
        );
    }
}

#[test]
fn users_get_findings_with_the_role_view_and_traces_only_by_a_binding() {
    let findings: ClusterRole = typed(find("ClusterRole", "tracer-findings-view"));
    let traces: ClusterRole = typed(find("ClusterRole", "tracer-traces-view"));
    let aggregated = |role: &ClusterRole| -> Vec<String> {
        let labels = role.metadata.labels.iter().flatten();
        let names = labels.map(|(name, _)| name.clone());
        names.filter(|name| name.contains("aggregate-to")).collect()
    };
    assert_eq!(
        aggregated(&findings),
        ["rbac.authorization.k8s.io/aggregate-to-view"]
    );
    assert!(aggregated(&traces).is_empty());
    let read = |resources: &[&str]| -> Rights {
        let verbs = ["get", "list", "watch"];
        let pairs = resources
            .iter()
            .flat_map(|resource| verbs.map(|verb| (*resource, verb)));
        pairs
            .map(|(r, verb)| ("tracer.internal".into(), r.into(), verb.into()))
            .collect()
    };
    assert_eq!(
        rights(&findings.rules.unwrap_or_default()),
        read(&["findings"])
    );
    assert_eq!(
        rights(&traces.rules.unwrap_or_default()),
        read(&["findings", "traces", "tracernodes"])
    );
    // No role of ours lets anyone run a program in a pod.
    for object in objects("base") {
        assert!(!object.to_string().contains("pods/exec"), "{object}");
    }
}

fn relay() -> PodSpec {
    let deployment: Deployment = typed(find("Deployment", "tracer-relay"));
    let spec = deployment.spec.expect("a spec");
    // While none runs, no namespace can be deleted.
    assert!(spec.replicas >= Some(2));
    spec.template.spec.expect("a pod")
}

#[test]
fn the_relay_has_no_privilege() {
    let pod = relay();
    assert_eq!(
        (pod.host_network, pod.host_pid, pod.host_ipc),
        (None, None, None)
    );
    let context = pod.security_context.expect("a security context");
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.run_as_user, Some(65532));
    assert_eq!(
        context.seccomp_profile.expect("a profile").type_,
        "RuntimeDefault"
    );
    assert!(pod.volumes.is_none());
    let [container] = pod.containers.as_slice() else {
        panic!("one container")
    };
    let context = container.security_context.as_ref().expect("a context");
    assert_eq!(context.privileged, Some(false));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    let capabilities = context.capabilities.as_ref().expect("capabilities");
    assert_eq!(
        capabilities.drop.as_deref(),
        Some(["ALL".to_owned()].as_slice())
    );
    assert!(capabilities.add.is_none());
}

#[test]
fn the_apiservice_leads_to_the_relays_port_and_has_no_certificate_of_its_own() {
    let api: APIService = typed(find("APIService", "v1alpha1.tracer.internal"));
    let spec = api.spec.expect("a spec");
    assert_eq!(
        (spec.ca_bundle, spec.insecure_skip_tls_verify),
        (None, None)
    );
    // Custom resources of others have 1000.
    assert!(spec.group_priority_minimum < 1000);
    let reference = spec.service.expect("a service");
    let service: Service = typed(find("Service", reference.name.as_deref().expect("a name")));
    let service = service.spec.expect("a spec");
    // The aggregator needs a ClusterIP.
    assert_eq!(service.cluster_ip, None);
    let ports = service.ports.expect("ports");
    let api = ports.iter().find(|port| Some(port.port) == reference.port);
    let api = api.expect("the port of the API").target_port.clone();
    assert_eq!(api, Some(IntOrString::String("api".into())));
    let container = &relay().containers[0];
    for (name, number) in [("api", 8443), ("agents", 8444)] {
        let port = container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name));
        assert_eq!(port.expect("a port").container_port, number);
        assert!(ports.iter().any(|port| port.name.as_deref() == Some(name)));
    }
}

#[test]
fn the_agents_token_for_the_relays_is_good_for_nothing_else() {
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    let pod = daemonset
        .spec
        .and_then(|spec| spec.template.spec)
        .expect("a pod");
    let volumes = pod.volumes.expect("volumes");
    let sources = volumes
        .iter()
        .filter_map(|volume| volume.projected.as_ref());
    let sources: Vec<_> = sources
        .flat_map(|projected| projected.sources.iter().flatten())
        .collect();
    let [source] = sources.as_slice() else {
        panic!("one source")
    };
    let token = source.service_account_token.as_ref().expect("a token");
    assert_eq!(token.audience.as_deref(), Some("tracer-relay"));
    assert_eq!(token.expiration_seconds, Some(3600));
}

#[test]
fn the_agents_container_has_three_capabilities_and_no_more_than_it_needs() {
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    let spec = daemonset.spec.expect("a spec");
    let pod = spec.template.spec.expect("a pod");
    assert_eq!(
        (pod.host_network, pod.host_pid, pod.host_ipc),
        (Some(true), Some(true), None)
    );
    assert_eq!(pod.enable_service_links, Some(false));
    assert!(pod.init_containers.is_none());
    assert_eq!(
        pod.node_selector.expect("a selector")["kubernetes.io/os"],
        "linux"
    );
    let tolerations = pod.tolerations.expect("tolerations");
    // Every taint, whatever its key and effect.
    assert!(tolerations.iter().any(
        |toleration| toleration.operator.as_deref() == Some("Exists")
            && toleration.key.is_none()
            && toleration.effect.is_none()
    ));
    let context = pod.security_context.expect("a security context");
    let (seccomp, apparmor) = (context.seccomp_profile, context.app_armor_profile);
    assert_eq!(seccomp.expect("a profile").type_, "RuntimeDefault");
    // kubelet rejects a pod with a profile where the node has no AppArmor.
    assert_eq!(apparmor, None);
    for volume in pod.volumes.iter().flatten() {
        assert!(
            volume.host_path.is_none(),
            "nothing of the node's files is needed"
        );
    }

    let [container] = pod.containers.as_slice() else {
        panic!("one container")
    };
    let context = container
        .security_context
        .as_ref()
        .expect("a security context");
    assert_eq!(context.privileged, Some(false));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.run_as_user, Some(0));
    let capabilities = context.capabilities.as_ref().expect("capabilities");
    let names = |list: &Option<Vec<String>>| -> BTreeSet<String> {
        list.iter().flatten().cloned().collect()
    };
    assert_eq!(names(&capabilities.drop), ["ALL".to_owned()].into());
    let kept = ["BPF", "NET_ADMIN", "PERFMON"].map(str::to_owned);
    assert_eq!(names(&capabilities.add), kept.into());
    let resources = container.resources.as_ref().expect("resources");
    for list in [&resources.requests, &resources.limits] {
        assert!(
            list.as_ref()
                .is_some_and(|list| list.contains_key("memory"))
        );
    }
}

#[test]
fn both_ways_to_build_the_image_leave_kubeconfigs_out() {
    let dockerfile = fs::read_to_string(deploy().join("Dockerfile")).expect("it is there");
    assert!(dockerfile.contains("--no-default-features --features agent,client --target"));
    let task = deploy().join("../xtask/src/image/program.rs");
    let task = fs::read_to_string(task).expect("it is there");
    assert!(task.contains(r#".args(["--no-default-features", "--features", "agent,client"])"#));
}

#[test]
fn kubelet_asks_the_agent_on_the_nodes_loopback_where_no_scraper_asks() {
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    let spec = daemonset.spec.expect("a spec");
    let container = &spec.template.spec.expect("a pod").containers[0];
    let probes = [
        (&container.startup_probe, "/livez"),
        (&container.liveness_probe, "/livez"),
        (&container.readiness_probe, "/readyz"),
    ];
    for (probe, path) in probes {
        let probe = probe.as_ref().expect("a probe");
        let get = probe.http_get.as_ref().expect("by HTTP");
        assert_eq!(get.host.as_deref(), Some("127.0.0.1"));
        assert_eq!(get.path.as_deref(), Some(path));
        let IntOrString::Int(port) = get.port else {
            panic!("a number")
        };
        // What the agent listens on by default.
        assert_eq!(
            format!("127.0.0.1:{port}"),
            tracer::export::http::DEFAULT_PROBE_ADDRESS
        );
    }
}

#[test]
fn the_selector_finds_the_agents_pods_and_the_metrics_service_too() {
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    let spec = daemonset.spec.expect("a spec");
    let labels = spec
        .template
        .metadata
        .and_then(|metadata| metadata.labels)
        .expect("labels");
    let selected = |selector: &std::collections::BTreeMap<String, String>| {
        !selector.is_empty()
            && selector
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value))
    };
    assert!(selected(&spec.selector.match_labels.expect("labels")));
    let mut objects = objects("overlays/prometheus").into_iter();
    let service = objects.find(|object| object["kind"] == "Service");
    let service: Service = typed(service.expect("a Service"));
    let service = service.spec.expect("a spec");
    assert!(selected(&service.selector.expect("a selector")));
    assert_eq!(service.cluster_ip.as_deref(), Some("None"));
}

#[test]
fn the_prometheus_overlay_brings_the_dashboard_where_grafana_looks_for_it() {
    let overlay = &documents(&deploy().join("overlays/prometheus/kustomization.yaml"))[0];
    let resources = overlay["resources"].as_array().expect("resources");
    assert!(resources.contains(&"../../dashboards".into()));
    let directory = deploy().join("dashboards");
    let kustomization = &documents(&directory.join("kustomization.yaml"))[0];
    let generator = &kustomization["configMapGenerator"][0];
    assert_eq!(generator["options"]["labels"]["grafana_dashboard"], "1");
    for file in generator["files"].as_array().expect("files") {
        let path = directory.join(file.as_str().expect("a name"));
        let bytes = fs::metadata(&path).expect("it is there").len();
        // What a ConfigMap holds, and what kubectl apply writes into an annotation.
        assert!(bytes < 256 << 10, "{} has {bytes} bytes", path.display());
    }
}

#[test]
fn the_config_map_is_mounted_whole_and_may_be_missing() {
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    let config: ConfigMap = typed(find("ConfigMap", "tracer-agent"));
    let spec = daemonset.spec.expect("a spec");
    let pod = spec.template.spec.expect("a pod");
    let volumes = pod.volumes.expect("volumes");
    let volume = volumes.iter().find(|volume| volume.config_map.is_some());
    let volume = volume.expect("a volume of the ConfigMap");
    let source = volume.config_map.as_ref().expect("its source");
    assert_eq!(Some(&source.name), config.metadata.name.as_ref());
    assert_eq!(source.optional, Some(true));
    assert!(source.items.is_none(), "all of its files");
    let container = &pod.containers[0];
    let mounts = container.volume_mounts.as_ref().expect("mounts");
    let mount = mounts.iter().find(|mount| mount.name == volume.name);
    let mount = mount.expect("it is mounted");
    assert!(
        mount.sub_path.is_none(),
        "kubelet never changes what is mounted by subPath"
    );
    for name in ["TRACER_CONFIG", "TRACER_RULES"] {
        let env = container.env.iter().flatten().find(|env| env.name == name);
        let value = env.and_then(|env| env.value.as_deref());
        assert_eq!(value, Some(mount.mount_path.as_str()), "{name}");
    }
}

/// The agent's reaction to settings, with an impossible socket so that it exits after reading them.
fn agent_with(settings: &Path) -> String {
    let agent = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["agent", "--socket", "/proc/none/agent.sock"])
        .arg("--config")
        .arg(settings)
        .arg("--rules")
        .arg(settings)
        .output()
        .expect("it runs");
    assert_eq!(agent.status.code(), Some(2));
    String::from_utf8_lossy(&agent.stderr).into_owned()
}

#[test]
fn the_config_map_says_nothing_until_a_line_is_uncommented_and_every_example_is_right() {
    let config: ConfigMap = typed(find("ConfigMap", "tracer-agent"));
    let files = config.data.expect("files");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["config.yaml", "rules.yaml"]);
    let mount = tempfile::tempdir().expect("a directory");
    let empty = agent_with(mount.path());
    assert!(empty.contains("/proc/none"), "{empty}");
    let mut examples = 0;
    for (name, text) in &files {
        assert!(
            text.lines().all(|line| line.starts_with('#')),
            "the defaults hold: {text}"
        );
        // A sentence has a space after its #, an example has none, or the indentation of one above it.
        let mut within = false;
        let uncommented = text.lines().map(|line| {
            let rest = line.trim_start_matches('#');
            let begins = rest.starts_with(|c: char| c.is_ascii_lowercase());
            within = begins || (within && rest.starts_with("  "));
            examples += u32::from(begins);
            if within { rest } else { line }
        });
        let uncommented: Vec<&str> = uncommented.collect();
        fs::write(mount.path().join(name), uncommented.join("\n")).expect("written");
    }
    assert!(examples >= 8, "{examples}");
    let said = agent_with(mount.path());
    assert!(said.contains("/proc/none"), "{said}");
    // Valid settings are read.
    fs::write(mount.path().join("rules.yaml"), "silense: []\n").expect("written");
    let said = agent_with(mount.path());
    assert!(
        said.contains("rules.yaml: line 1: ") && said.contains("did you mean silence?"),
        "{said}"
    );
}

#[test]
fn the_image_is_named_in_one_place() {
    let kustomization = &documents(&deploy().join("base/kustomization.yaml"))[0];
    let images = kustomization["images"].as_array().expect("images");
    assert_eq!(images.len(), 1);
    let daemonset: DaemonSet = typed(find("DaemonSet", "tracer-agent"));
    let pod = daemonset
        .spec
        .and_then(|spec| spec.template.spec)
        .expect("a pod");
    // The kustomization sets registry and tag, so they must not appear here, too.
    assert_eq!(
        pod.containers[0].image.as_deref(),
        images[0]["name"].as_str()
    );
}
