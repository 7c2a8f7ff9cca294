//! Objects to add to a stage's cluster: pods with one container, Services and their endpoints.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// An image that serves HTTP on each port of its container.
pub const WEB: &str = "docker.io/library/nginx:1.23";
/// An image that answers DNS queries.
pub const DNS: &str = "registry.k8s.io/coredns/coredns:v1.10.1";
/// An image that does nothing.
pub const IDLE: &str = "docker.io/library/ubuntu:22.04";

/// A pod whose one container, `main`, has this image and declares TCP port 80. Its UID follows from its address.
pub fn pod((namespace, name): (&str, &str), node: &str, ip: Ipv4Addr, image: &str) -> Value {
    let [.., third, fourth] = ip.octets();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "labels": { "app": name },
            "uid": format!("6f0e0000-0000-4000-8000-0000000{third:02x}{fourth:02x}1"),
        },
        "spec": {
            "containers": [
                { "name": "main", "image": image, "ports": [{ "containerPort": 80, "protocol": "TCP" }] },
            ],
            "dnsPolicy": "ClusterFirst", "nodeName": node,
        },
        "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "qosClass": "BestEffort" },
    })
}

/// The same pod in the network of its node, whose address it has.
pub fn on_host_network(mut pod: Value) -> Value {
    pod["spec"]["hostNetwork"] = json!(true);
    pod["status"]["containerStatuses"] = json!([{
        "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "containerID": format!("containerd://{}", "c0ffee".repeat(10)),
    }]);
    pod
}

/// The cgroup of the container of such a pod, below the lab's.
pub fn cgroup_on_host(pod: &Value) -> String {
    let uid = pod["metadata"]["uid"].as_str().expect("a UID");
    format!("kubepods/besteffort/pod{uid}/{}", "c0ffee".repeat(10))
}

/// A Service with one port, and its EndpointSlice.
pub fn service(
    (namespace, name): (&str, &str),
    ip: Ipv4Addr,
    (port, protocol): (u16, &str),
    pods: &[&Value],
) -> [Value; 2] {
    let last = ip.octets()[3];
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": namespace, "name": name,
            "uid": format!("6f0e0000-0000-4000-8000-0000005e01{last:02x}"),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ports": [{ "port": port, "protocol": protocol, "targetPort": port }], "selector": { "app": name },
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": namespace, "name": slice_name(name), "labels": { "kubernetes.io/service-name": name },
            "uid": format!("6f0e0000-0000-4000-8000-0000005e02{last:02x}"),
        },
        "ports": [{ "name": "", "port": port, "protocol": protocol }],
        "endpoints": pods.iter().map(|pod| endpoint(pod)).collect::<Vec<_>>(),
    });
    [service, slice]
}

/// Replaces the endpoints of a Service that [`service`] made by another pod of the objects.
pub fn lead_to(objects: &mut [Value], service: &str, pod: &str) {
    let named = |object: &Value, kind: &str, name: &str| {
        object["kind"] == kind && object["metadata"]["name"] == name
    };
    let mut pods = objects.iter().filter(|object| named(object, "Pod", pod));
    let endpoints = json!([endpoint(pods.next().expect("a pod of that name"))]);
    let slice = slice_name(service);
    let mut slices = objects.iter_mut();
    let slice = slices.find(|object| named(object, "EndpointSlice", &slice));
    slice.expect("a Service of that name")["endpoints"] = endpoints;
}

fn slice_name(service: &str) -> String {
    format!("{service}-1")
}

/// The pod as a ready endpoint.
fn endpoint(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
        },
    })
}
