//! The inventory of a big cluster, as `kubectl get nodes,ns,pods,svc,endpointslices -A -o yaml` prints it:
//! 10,000 pods on 100 nodes, 5,000 Services with a slice each. The first pods are those of the bed.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::bed::address;

/// Pods in it.
pub const PODS: usize = 10_000;
/// Services in it.
pub const SERVICES: usize = 5_000;
/// Pods on a node, the first of which are the bed's.
const PODS_PER_NODE: usize = 250;

/// Writes it to a file.
pub fn write(path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    out.write_all(b"apiVersion: v1\nitems:\n")?;
    for index in 0..PODS / PODS_PER_NODE {
        let name = node(index * PODS_PER_NODE);
        write!(
            out,
            "- apiVersion: v1\n  kind: Node\n  metadata:\n    name: {name}\n    uid: {}\n  status:\n    addresses:\n    \
             - address: 192.0.2.{}\n      type: InternalIP\n",
            uid(3, index),
            index + 1
        )?;
    }
    for pod in 0..PODS {
        let (app, ip) = (pod / 2, ip(pod));
        write!(
            out,
            "- apiVersion: v1
  kind: Pod
  metadata:
    labels:
      app: app-{app}
      pod-template-hash: 6d4cf56db6
    name: app-{app}-6d4cf56db6-{pod:05}
    namespace: ns-{}
    ownerReferences:
    - apiVersion: apps/v1
      controller: true
      kind: ReplicaSet
      name: app-{app}-6d4cf56db6
      uid: {}
    uid: {}
  spec:
    containers:
    - image: registry.example/app:1
      name: app
      ports:
      - containerPort: 8080
        name: http
        protocol: TCP
    dnsPolicy: ClusterFirst
    nodeName: {}
  status:
    phase: Running
    podIP: {ip}
    podIPs:
    - ip: {ip}
",
            app % 50,
            uid(2, app),
            uid(1, pod),
            node(pod),
        )?;
    }
    for service in 0..SERVICES {
        let namespace = service % 50;
        let cluster_ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 97, 0, 1)) + index(service));
        write!(
            out,
            "- apiVersion: v1
  kind: Service
  metadata:
    name: app-{service}
    namespace: ns-{namespace}
    uid: {}
  spec:
    clusterIP: {cluster_ip}
    clusterIPs:
    - {cluster_ip}
    ports:
    - name: http
      port: 80
      protocol: TCP
      targetPort: http
    selector:
      app: app-{service}
    type: ClusterIP
- addressType: IPv4
  apiVersion: discovery.k8s.io/v1
  endpoints:
",
            uid(4, service),
        )?;
        for pod in [service * 2, service * 2 + 1] {
            write!(
                out,
                "  - addresses:
    - {}
    conditions:
      ready: true
      serving: true
      terminating: false
    nodeName: {}
    targetRef:
      kind: Pod
      name: app-{service}-6d4cf56db6-{pod:05}
      namespace: ns-{namespace}
      uid: {}
",
                ip(pod),
                node(pod),
                uid(1, pod),
            )?;
        }
        write!(
            out,
            "  kind: EndpointSlice
  metadata:
    labels:
      kubernetes.io/service-name: app-{service}
    name: app-{service}-abcde
    namespace: ns-{namespace}
    uid: {}
  ports:
  - name: http
    port: 8080
    protocol: TCP
",
            uid(5, service),
        )?;
    }
    out.write_all(b"kind: List\n")?;
    out.flush().context("the inventory")
}

/// The node of a pod. The bed's is called `node`.
fn node(pod: usize) -> String {
    match pod / PODS_PER_NODE {
        0 => "node".to_owned(),
        other => format!("node-{other}"),
    }
}

/// A pod's address: on the bed's node those of the bed, elsewhere outside of its range.
fn ip(pod: usize) -> Ipv4Addr {
    if pod < PODS_PER_NODE {
        address(pod)
    } else {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) + index(pod))
    }
}

fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn uid(kind: usize, number: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_parses_and_has_what_its_constants_say() {
        let file = std::env::temp_dir().join(format!("bench-inventory-{}", std::process::id()));
        write(&file).expect("a file");
        let text = std::fs::read_to_string(&file).expect("readable");
        std::fs::remove_file(&file).expect("removable");
        // The whole takes a debug build long: its first and last objects, and how many there are.
        let count = |kind: &str| text.lines().filter(|line| *line == kind).count();
        assert_eq!(count("  kind: Pod"), PODS);
        assert_eq!(count("  kind: Service"), SERVICES);
        assert_eq!(count("  kind: EndpointSlice"), SERVICES);
        let objects: Vec<&str> = text.split("\n- a").collect();
        for object in [
            objects[1],
            objects[60],
            objects[PODS + 60],
            objects[objects.len() - 1],
        ] {
            let object = object
                .trim_end_matches("kind: List\n")
                .replace("\n  ", "\n");
            let parsed: serde_json::Value =
                serde_saphyr::from_str(&format!("a{object}")).expect("YAML");
            assert!(parsed["metadata"]["uid"].is_string(), "{parsed}");
        }
    }
}
