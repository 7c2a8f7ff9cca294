//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on the first node.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::lab::process::{Place, Process};

use super::certificates::Authority;
use super::components;
use super::node::{Node, text};

/// The range of Services' addresses, and the API server's own in it.
const SERVICES: (&str, &str) = ("10.152.183.0/24", "10.152.183.1");
/// Everything together is up in 12 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// The API server's audit policy: every request and its user. The end-to-end test compares it with the
/// agent's role.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
"rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts:tracer"]}, {"level": "None"}]}
"#;

/// The API server's URL on its own node.
pub(super) const LOCAL_SERVER: &str = "https://127.0.0.1:6443";

/// The name in the API server's certificate for extension API servers.
const FRONT_PROXY: &str = "front-proxy-client";

/// Where the API server listens.
pub(super) fn server(node: &Node) -> String {
    format!("https://{}:6443", node.ipv4)
}

/// Makes the control plane's certificates.
pub(super) fn sign(authority: &Authority, node: &Node) -> Result<()> {
    let address = node.ipv4.to_string();
    let serves = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "127.0.0.1",
        SERVICES.1,
        &address,
    ];
    authority.sign("apiserver", "kube-apiserver", None, &serves)?;
    authority.sign(
        "apiserver-kubelet",
        "kube-apiserver",
        Some("system:masters"),
        &[],
    )?;
    authority.key("service-accounts")?;
    front_proxy(authority)
}

/// The certificate with which the API server names users to extension API servers. It has an authority of its
/// own: the cluster's signs users too, and each of them could then name any other.
fn front_proxy(authority: &Authority) -> Result<()> {
    let proxies = Authority::new(&authority.directory().join("front-proxy"))?;
    proxies.sign("client", FRONT_PROXY, None, &[])
}

/// Starts etcd and the API server.
pub(super) fn start(
    node: &Node,
    place: &Place<'_>,
    directory: &Path,
    certificates: &Path,
) -> Result<Vec<Process>> {
    let bin = components::programs()?;
    let pki = |name: &str| text(&certificates.join(name));
    let program = |name: &str| text(&bin.join(name));
    let start = |what: &str, argv: &[String]| {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        place.start(what, None, &argv, &node.log(what))
    };
    let etcd = start(
        "etcd",
        &[
            "etcd".to_owned(),
            format!("--data-dir={}", directory.join("etcd").display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--initial-cluster=default=http://127.0.0.1:2380".to_owned(),
        ],
    )?;
    let audit = directory.join("audit-policy.json");
    std::fs::write(&audit, AUDIT)?;
    let apiserver = start(
        "kube-apiserver",
        &[
            program("kube-apiserver"),
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--advertise-address={}", node.ipv4),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            // No resolver here knows the nodes' names.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            // The default, explicit because the agent must run without privileged containers.
            "--allow-privileged=false".to_owned(),
            format!("--service-cluster-ip-range={}", SERVICES.0),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--tls-cert-file={}", pki("apiserver.crt")),
            format!("--tls-private-key-file={}", pki("apiserver.key")),
            format!(
                "--kubelet-client-certificate={}",
                pki("apiserver-kubelet.crt")
            ),
            format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", pki("service-accounts.pub")),
            format!(
                "--service-account-signing-key-file={}",
                pki("service-accounts.key")
            ),
            // The aggregation layer, as kubeadm sets it up.
            format!(
                "--requestheader-client-ca-file={}",
                pki("front-proxy/ca.crt")
            ),
            format!("--requestheader-allowed-names={FRONT_PROXY}"),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            format!("--proxy-client-cert-file={}", pki("front-proxy/client.crt")),
            format!("--proxy-client-key-file={}", pki("front-proxy/client.key")),
            // kube-proxy does not translate what the node itself sends before it runs; endpoints do without.
            "--enable-aggregator-routing=true".to_owned(),
            format!("--audit-policy-file={}", audit.display()),
            format!("--audit-log-path={}", directory.join("audit.log").display()),
        ],
    )?;
    Ok(vec![etcd, apiserver])
}

/// Starts what works with the API server, which must be ready: they end where it is not so soon enough.
pub(super) fn start_controllers(
    node: &Node,
    place: &Place<'_>,
    authority: &Authority,
    certificates: &Path,
) -> Result<Vec<Process>> {
    let bin = components::programs()?;
    let pki = |name: &str| text(&certificates.join(name));
    let program = |name: &str| text(&bin.join(name));
    let server = server(node);
    let start = |what: &str, argv: &[String]| {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        place.start(what, None, &argv, &node.log(what))
    };
    let manager = authority.kubeconfig(
        "kube-controller-manager",
        &server,
        "system:kube-controller-manager",
        None,
    )?;
    let manager = start(
        "kube-controller-manager",
        &[
            program("kube-controller-manager"),
            format!("--kubeconfig={}", manager.display()),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            // Created if missing: on the node, not on the machine.
            "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins".to_owned(),
            format!("--root-ca-file={}", pki("ca.crt")),
            format!(
                "--service-account-private-key-file={}",
                pki("service-accounts.key")
            ),
            format!("--cluster-signing-cert-file={}", pki("ca.crt")),
            format!("--cluster-signing-key-file={}", pki("ca.key")),
        ],
    )?;
    let scheduler =
        authority.kubeconfig("kube-scheduler", &server, "system:kube-scheduler", None)?;
    let scheduler = start(
        "kube-scheduler",
        &[
            program("kube-scheduler"),
            format!("--kubeconfig={}", scheduler.display()),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
        ],
    )?;
    Ok(vec![manager, scheduler])
}

/// Waits until a condition holds; the error names the process that ended meanwhile, if one did.
pub(super) fn wait_until(
    what: &str,
    processes: &[Process],
    mut done: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if done() {
            return Ok(());
        }
        if let Some(dead) = processes.iter().find(|process| !process.alive()) {
            bail!("{} ended before {what}", dead.what);
        }
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(200));
    }
}
