//! Commands, ready to be copied. A comment behind three spaces and `#` says what to look for.

use std::net::SocketAddr;

use super::parts::{Asked, ShellWord, place};
use super::sentence;
use crate::diagnose::command::{Command, Kubectl, PodCommand, Setting};
use crate::diagnose::fact::ObjectName;
use crate::diagnose::shell::{self, Shell};
use crate::identity::Index;
use crate::model::sentence::Sentence;

/// A line to copy; `pod` is the case's pod, if its name is known.
pub(in crate::diagnose) fn command(
    index: &Index,
    pod: Option<&ObjectName>,
    command: &Command,
) -> Sentence {
    match command {
        Command::UseName(name) => sentence!("{}", Asked(name)),
        Command::UseAddress(ip) => {
            sentence!("{}   # its address, for as long as the pod lives", ip)
        }
        Command::Setting(Setting::SingleRequestReopen) => sentence!(
            "dnsConfig: {options: [{name: single-request-reopen}]}   # in the pod's spec, if they grow; glibc honours it, musl does not"
        ),
        Command::Setting(Setting::ClusterFirst) => sentence!(
            "dnsPolicy: ClusterFirst   # in the pod's spec; ClusterFirstWithHostNet with hostNetwork"
        ),
        Command::Setting(Setting::Ndots(ndots)) => sentence!(
            "dnsConfig: {options: [{name: ndots, value: \"{}\"}]}   # in the pod's spec",
            ndots
        ),
        Command::Setting(Setting::InternalTrafficCluster) => {
            sentence!("internalTrafficPolicy: Cluster   # in the Service's spec")
        }
        Command::Setting(Setting::ExternalTrafficCluster) => {
            sentence!("externalTrafficPolicy: Cluster   # in the Service's spec")
        }
        Command::Setting(Setting::PublishNotReady) => sentence!(
            "publishNotReadyAddresses: true   # in the Service's spec, if its pods have to find each other before they are ready"
        ),
        Command::HairpinMode(node) => sentence!(
            "cat /sys/class/net/*/brport/hairpin_mode   # on {}: 1 where a pod's packet may go back to it",
            node
        ),
        Command::InPod(command) => in_pod(index, pod, command),
        Command::InPodAfter(seconds, command) => {
            sentence!("sleep {}; {}", seconds, in_pod(index, pod, command))
        }
        Command::Kubectl(command) => kubectl(index, command),
        Command::ConntrackFailures => sentence!(
            "conntrack -S | grep -o 'insert_failed=[0-9]*'   # on the pod's node, one line per CPU: with that race they grow"
        ),
        Command::BridgeNetfilter(node) => sentence!(
            "sysctl net.bridge.bridge-nf-call-iptables   # on {}; it must print 1 (modprobe br_netfilter)",
            match node {
                Some(node) => sentence!("node {}", node),
                None => sentence!("the node"),
            }
        ),
        Command::NodeRules => sentence!(
            "nft list ruleset | grep -B3 drop; iptables-save -c | grep -E 'DROP|REJECT'   # on the pod's node: the rule whose counter rises"
        ),
        Command::RejectRules(node) => sentence!(
            "nft list ruleset | grep -B3 reject; iptables-save -c | grep REJECT   # on {}: the rule whose counter rises",
            match node {
                Some(node) => sentence!("node {}", node),
                None => "the nodes of both ends".into(),
            }
        ),
        Command::ConntrackTable => sentence!(
            "dmesg | grep 'nf_conntrack: table full'; sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max   # on the pod's node"
        ),
        Command::ConntrackFlows(ip, port) => sentence!(
            "conntrack -L -p udp -d {} --dport {}   # on the pod's node: the endpoint that the flow is kept at",
            ip,
            port
        ),
        Command::ChecksumOffload => sentence!(
            "ethtool -k flannel.1 | grep tx-checksum   # on both nodes, with the overlay's device (vxlan.calico, flannel.1, ...)"
        ),
        Command::RouteOnNode(ip) => sentence!("ip route get {}   # on the pod's node", ip),
        Command::SocketsOnNode(node, port) => sentence!(
            "ss -ltn 'sport = :{}'   # on node {}: what listens there",
            port,
            node
        ),
        Command::AgentStatus => {
            sentence!("tracer status   # \"names\" says what the agents get from the API server")
        }
        Command::MakeInventory => sentence!(
            "kubectl get nodes,ns,pods,svc,endpointslices,networkpolicies -A -o yaml > inventory.yaml   # then --inventory inventory.yaml"
        ),
    }
}

/// The command by kubectl; bare for a pod without a known name.
fn in_pod(index: &Index, pod: Option<&ObjectName>, command: &PodCommand) -> Sentence {
    sentence!("{}{}", pod.map(|pod| run_in(index, pod)), bare(command))
}

/// The beginning of a kubectl command that runs another one in a pod.
fn run_in(index: &Index, pod: &ObjectName) -> Sentence {
    let ObjectName { namespace, name } = pod;
    match shell::in_pod(index, pod) {
        Shell::Exec(container) => sentence!(
            "kubectl -n {} exec {}{} -- ",
            namespace,
            Asked(name),
            container.map(|container| sentence!(" -c {}", container))
        ),
        Shell::Debug(container) => sentence!(
            "kubectl -n {} debug -qi {} --image=nicolaka/netshoot --target={} -- ",
            namespace,
            Asked(name),
            container
        ),
    }
}

fn bare(command: &PodCommand) -> Sentence {
    match command {
        PodCommand::Getent(name) => sentence!("getent hosts {}", ShellWord(name)),
        PodCommand::Nslookup {
            name,
            qtype,
            server,
        } => sentence!(
            "nslookup {}{}{}",
            qtype.map(|qtype| sentence!("-type={} ", qtype)),
            ShellWord(name.as_str()),
            server.map(|server| sentence!(" {}", server))
        ),
        PodCommand::NslookupAgain { name, server } => sentence!(
            "nslookup {} {}   # the same query again",
            ShellWord(name.as_str()),
            server
        ),
        PodCommand::ShowResolvConf => {
            sentence!("cat /etc/resolv.conf   # the search domains and ndots of the pod")
        }
        PodCommand::NslookupWildcard(domain) => sentence!(
            "nslookup no-such-name.{}   # an address: the domain has a wildcard",
            ShellWord(domain.as_str())
        ),
        PodCommand::NslookupEndpoint { name, server } => sentence!(
            "nslookup {} {}{}",
            ShellWord(name.as_str()),
            server.ip,
            place(server).map(|place| sentence!("   # {}", place))
        ),
        PodCommand::NslookupKubernetes(server) => {
            sentence!("nslookup kubernetes.default {}", server)
        }
        PodCommand::DigTcp { name, server } => {
            sentence!("dig +tcp @{} {}", server, ShellWord(name.as_str()))
        }
        PodCommand::DigBufferSize { name, server, size } => sentence!(
            "dig +bufsize={} @{} {}   # an answer of this size needs no fragments",
            size,
            server,
            ShellWord(name.as_str())
        ),
        PodCommand::DigWithoutEdns { name, server } => sentence!(
            "dig +noedns @{} {}   # the same query without EDNS",
            server,
            ShellWord(name.as_str())
        ),
        // Once connected, curl waits for the server to speak and ends with a timeout if it does not.
        PodCommand::ConnectTcp { ip, port, endpoint } => sentence!(
            "curl -sv -m 3 telnet://{}   # {}\"Connected to\" is what counts",
            SocketAddr::new(*ip, *port),
            endpoint
                .as_ref()
                .and_then(place)
                .map(|place| sentence!("{}; ", place))
        ),
        PodCommand::Ping(ip) => sentence!("ping -c 3 {}", ip),
        PodCommand::PingEndpoint(endpoint) => sentence!(
            "ping -c 3 {}{}",
            endpoint.ip,
            place(endpoint).map(|place| sentence!("   # {}", place))
        ),
        PodCommand::PingSize { to, size } => sentence!(
            "ping -c 3 -M do -s {} {}   # passes, and one byte more does not",
            size,
            to
        ),
        PodCommand::PingMtu { to, size, mtu } => sentence!(
            "ping -c 3 -M do -s {} {}   # do packets of {} bytes pass?",
            size,
            to,
            mtu
        ),
        PodCommand::Connections(ip) => {
            sentence!("ss -tnoi dst {}   # timers, retransmissions", ip)
        }
        PodCommand::Trace(ip) => sentence!("traceroute -n {}   # which hops repeat?", ip),
        PodCommand::TalkTls { ip, port } => sentence!(
            "openssl s_client -connect {}   # does it speak TLS, and ask for a client certificate?",
            SocketAddr::new(*ip, *port)
        ),
        PodCommand::ShowMtu => sentence!("ip link show eth0   # its MTU"),
    }
}

fn kubectl(index: &Index, command: &Kubectl) -> Sentence {
    match command {
        Kubectl::Service(service) => {
            let ObjectName { namespace, name } = service;
            sentence!(
                "kubectl -n {} get service {} -o wide",
                namespace,
                Asked(name)
            )
        }
        Kubectl::TargetPorts(service) => {
            let ObjectName { namespace, name } = service;
            sentence!(
                "kubectl -n {} get service {} -o jsonpath='{.spec.ports}{\"\\n\"}'   # its targetPort",
                namespace,
                Asked(name)
            )
        }
        Kubectl::ContainerPorts(namespace, selector) => sentence!(
            "kubectl -n {} get pods -l {} -o jsonpath='{range .items[*]}{.metadata.name} {.spec.containers[*].ports}{\"\\n\"}{end}'   # the names of their ports",
            namespace,
            selector
        ),
        Kubectl::SourceRanges(service) => {
            let ObjectName { namespace, name } = service;
            sentence!(
                "kubectl -n {} get service {} -o jsonpath='{.spec.loadBalancerSourceRanges}{\"\\n\"}'",
                namespace,
                Asked(name)
            )
        }
        Kubectl::ExternalName(service) => {
            let ObjectName { namespace, name } = service;
            sentence!(
                "kubectl -n {} get service {} -o jsonpath='{.spec.externalName}{\"\\n\"}'",
                namespace,
                Asked(name)
            )
        }
        Kubectl::ServicesIn(namespace) => {
            sentence!("kubectl -n {} get services", ShellWord(namespace))
        }
        Kubectl::AllServices => sentence!("kubectl get services -A"),
        Kubectl::ServiceWithAddress(ip) => sentence!(
            "kubectl get services -A | grep -wF {}   # prints nothing while no Service has it",
            ip
        ),
        Kubectl::PodWithAddress(ip) => sentence!(
            "kubectl get pods -A -o wide | grep -wF {}   # who has the address now",
            ip
        ),
        Kubectl::EndpointSlices(service) => {
            let ObjectName { namespace, name } = service;
            sentence!(
                "kubectl -n {} get endpointslices -l kubernetes.io/service-name={}",
                namespace,
                Asked(name)
            )
        }
        Kubectl::SelectedPods(namespace, selector) => {
            sentence!("kubectl -n {} get pods -l {} -o wide", namespace, selector)
        }
        Kubectl::PodLabels(namespace) => sentence!(
            "kubectl -n {} get pods --show-labels   # compare with the selector",
            namespace
        ),
        Kubectl::DescribePod(pod) => {
            let ObjectName { namespace, name } = pod;
            sentence!(
                "kubectl -n {} describe pod {}   # its conditions and readiness probe",
                namespace,
                Asked(name)
            )
        }
        Kubectl::Sockets(pod) => {
            let hint = match shell::in_pod(index, pod) {
                Shell::Exec(_) => "what it listens on, if its image has ss",
                Shell::Debug(_) => "what it listens on",
            };
            sentence!("{}ss -ltn   # {}", run_in(index, pod), hint)
        }
        Kubectl::ConnectFromNewPod(ip, port) => sentence!(
            "kubectl run probe --rm -i --restart=Never --image=busybox -- nc -zv -w 3 {} {}   # from another pod: is it this pod alone?",
            ip,
            port
        ),
        Kubectl::TopPods(namespace, selector) => {
            sentence!("kubectl -n {} top pods -l {}", namespace, selector)
        }
        Kubectl::SelectedLogs(namespace, selector) => {
            sentence!(
                "kubectl -n {} logs -l {} --tail=50 --prefix",
                namespace,
                selector
            )
        }
        Kubectl::PodLogs(pod) => {
            let ObjectName { namespace, name } = pod;
            sentence!("kubectl -n {} logs {} --tail=50", namespace, Asked(name))
        }
        Kubectl::ClusterDnsLogs => sentence!(
            "kubectl -n kube-system logs -l k8s-app=kube-dns --tail=50 --prefix   # if it is the cluster's DNS"
        ),
        Kubectl::Corefile => sentence!(
            "kubectl -n kube-system get configmap coredns -o yaml   # the Corefile, where CoreDNS is the cluster's DNS"
        ),
        Kubectl::DescribePolicy(policy) => {
            let ObjectName { namespace, name } = policy;
            sentence!(
                "kubectl -n {} describe networkpolicy {}",
                namespace,
                Asked(name)
            )
        }
        Kubectl::CanList(kind) => sentence!(
            "kubectl auth can-i list {} -A   # as the user or service account that the tracer runs as",
            kind.resource()
        ),
        Kubectl::List(kind) => sentence!("kubectl get {} -A", kind.resource()),
        Kubectl::ServerHealth => {
            sentence!("kubectl get --raw '/readyz?verbose'   # is the API server well?")
        }
    }
}
