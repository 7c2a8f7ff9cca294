//! Sentences' parts that several rules use.

use std::net::{IpAddr, SocketAddr};

use crate::identity::Endpoint;
use crate::model::cluster::{Service, ServiceKind};
use crate::model::echo::Echo;
use crate::model::event::Ends;
use crate::model::exchange::{Exchange, Outcome};
use crate::model::identity::PodEnd;
use crate::model::observation::IcmpError;
use crate::model::time::Timestamp;
use crate::model::units::count;

/// So many items of a list are written out.
const LISTED: usize = 8;

/// How an inventory is made.
pub(super) const GIVE_INVENTORY: &str = "kubectl get nodes,ns,pods,svc,endpointslices,networkpolicies -A -o yaml > inventory.yaml   # then --inventory inventory.yaml";

/// How an exchange ended, as a person says it.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Nodata => "NOERROR without such a record",
        Outcome::Nxdomain => "NXDOMAIN",
        Outcome::Servfail => "SERVFAIL",
        Outcome::Refused => "REFUSED",
        Outcome::Formerr => "FORMERR",
        Outcome::Truncated => "truncated",
        Outcome::Timeout => "no answer",
        Outcome::IcmpError => "ICMP error",
        Outcome::Other => "another response code",
    }
}

/// When the last of it was on the wire: its answer, or the last attempt to get one.
pub(super) fn ended(exchange: &Exchange) -> Timestamp {
    let answered = exchange
        .latency
        .map(|latency| exchange.asked.after(latency));
    answered.unwrap_or(exchange.last_attempt)
}

/// What an ICMP error says and who sent it.
pub(super) fn icmp(error: &IcmpError) -> String {
    let what = match (error.v6, error.icmp_type, error.icmp_code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) | (true, 1, 3) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
        (true, 1, 0) => "no route",
        (true, 1, 5 | 6) => "rejected by policy or route",
        (true, 2, _) => "packet too big",
        (false, 11, _) | (true, 3, _) => "time exceeded",
        _ => {
            return format!(
                "ICMP type {} code {} from {}",
                error.icmp_type,
                error.icmp_code,
                error.from.ip()
            );
        }
    };
    format!("ICMP {what} from {}", error.from.ip())
}

/// `a, b and c`; what is beyond the limit as a number.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let shown = &items[..items.len().min(LISTED)];
    let more = items.len() - shown.len();
    let mut text = String::new();
    for (number, item) in shown.iter().enumerate() {
        if number > 0 {
            let last = number + 1 == shown.len() && more == 0;
            text.push_str(if last { " and " } else { ", " });
        }
        text.push_str(item.as_ref());
    }
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// `1st`, `2nd`, `3rd`, `11th`.
pub(super) fn ordinal(number: usize) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// The pod: `namespace/name`, or its address.
pub(super) fn who(ends: &Ends) -> String {
    pod(&ends.pod)
}

/// The same of one end.
pub(super) fn pod(end: &PodEnd) -> String {
    match &end.identity {
        Ok(pod) => format!("{}/{}", pod.namespace, pod.name),
        Err(_) => end.ip.to_string(),
    }
}

/// The pod's workload: `DaemonSet default/nginx-ds`; the pod where it has none.
pub(super) fn workload(ends: &Ends) -> String {
    let pod = ends.pod.identity.as_ref().ok();
    match pod.and_then(|pod| Some((pod, pod.workload.as_ref()?))) {
        Some((pod, workload)) => format!("{} {}/{}", workload.kind, pod.namespace, workload.name),
        None => who(ends),
    }
}

/// `namespace/name`.
pub(super) fn name_of(service: &Service) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// What sort of Service it is, where that matters to who looks it up.
pub(super) fn kind_of(service: &Service) -> String {
    match &service.kind {
        ServiceKind::ClusterIp => String::new(),
        ServiceKind::Headless => " (headless: its name stands for its ready pods)".to_owned(),
        ServiceKind::ExternalName(target) => format!(" (an alias for {})", target.relative()),
    }
}

/// `90/TCP and 53/UDP`.
pub(super) fn ports_of(service: &Service) -> String {
    let ports: Vec<String> = service
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.port, port.protocol))
        .collect();
    if ports.is_empty() {
        "no port".to_owned()
    } else {
        list(&ports)
    }
}

/// `10.1.79.66 (myns/apache-ds-myns-5tjrr on k8s-worker01)`.
pub(super) fn endpoint(endpoint: &Endpoint) -> String {
    match place(endpoint) {
        Some(place) => format!("{} ({place})", endpoint.ip),
        None => endpoint.ip.to_string(),
    }
}

/// `   # myns/apache-ds-myns-5tjrr on k8s-worker01`, behind a command.
pub(super) fn comment(endpoint: &Endpoint) -> String {
    place(endpoint)
        .map(|place| format!("   # {place}"))
        .unwrap_or_default()
}

fn place(endpoint: &Endpoint) -> Option<String> {
    let pod = endpoint
        .pod
        .as_ref()
        .map(|pod| format!("{}/{}", pod.namespace, pod.name));
    match (pod, &endpoint.node) {
        (Some(pod), Some(node)) => Some(format!("{pod} on {node}")),
        (Some(pod), None) => Some(pod),
        (None, Some(node)) => Some(format!("on {node}")),
        (None, None) => None,
    }
}

/// What a run of echo requests came to.
pub(super) fn echo(echo: &Echo) -> String {
    format!(
        "{}, {}, {}",
        count(echo.sent, "echo request"),
        count(echo.received, "reply"),
        count(echo.errors, "ICMP error")
    )
}

/// `10.0.0.1:80`, `[fd00::1]:80`.
pub(super) fn socket(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// The command that tries a TCP connection, to an endpoint if that is said. Once connected it waits for what the server says
/// and ends with a time-out where that is nothing: so its comment says what to look for.
pub(super) fn try_tcp(ip: IpAddr, port: u16, endpoint: Option<&Endpoint>) -> String {
    let place = endpoint.and_then(place).map(|place| format!("{place}; "));
    format!(
        "curl -sv -m 3 telnet://{}   # {}\"Connected to\" is what counts",
        socket(ip, port),
        place.unwrap_or_default()
    )
}

/// The command that looks for the Service that has an address.
pub(super) fn find_service(ip: IpAddr) -> String {
    format!("kubectl get services -A | grep -wF {ip}   # prints nothing while no Service has it")
}

#[cfg(test)]
mod tests {
    use super::{list, ordinal};

    #[test]
    fn a_list_reads_as_a_sentence_and_ends_in_a_number() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        let many: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(list(&many), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(list::<&str>(&[]), "");
    }

    #[test]
    fn ordinals_end_as_they_are_spoken() {
        let spoken = [1, 2, 3, 4, 11, 12, 13, 21, 103, 112].map(ordinal);
        let expected = "1st 2nd 3rd 4th 11th 12th 13th 21st 103rd 112th";
        assert_eq!(spoken.join(" "), expected);
    }
}
