//! Where the running kernel's structs have the fields that the probes of drops and retransmissions read.

use tracer_common::{KernelOffsets, SocketOffsets};

use super::btf::Btf;

/// Packets, devices and namespaces.
pub(super) fn kernel_offsets(btf: &Btf) -> Result<KernelOffsets, String> {
    Ok(KernelOffsets {
        skb_head: at(btf, "sk_buff", "head")?,
        skb_network_header: at(btf, "sk_buff", "network_header")?,
        skb_dev: at(btf, "sk_buff", "dev")?,
        skb_sk: at(btf, "sk_buff", "sk")?,
        dev_name: at(btf, "net_device", "name")?,
        dev_ifindex: at(btf, "net_device", "ifindex")?,
        dev_net: at(btf, "net_device", "nd_net.net")?,
        dev_link_ops: at(btf, "net_device", "rtnl_link_ops")?,
        dev_private: private_data(btf).ok_or("the kernel has no struct net_device")?,
        link_ops_kind: at(btf, "rtnl_link_ops", "kind")?,
        sock_net: at(btf, "sock", "__sk_common.skc_net.net")?,
        net_inum: at(btf, "net", "ns.inum")?,
    })
}

/// TCP sockets and the segments that they keep.
pub(super) fn socket_offsets(btf: &Btf) -> Result<SocketOffsets, String> {
    let control = at(btf, "sk_buff", "cb")?;
    Ok(SocketOffsets {
        sock_route: at(btf, "sock", "sk_dst_cache")?,
        route_dev: at(btf, "dst_entry", "dev")?,
        // `sk_rcv_saddr_set` and `sk_daddr_set` (net/inet_sock.h) write the mapped address of IPv4 into these.
        sock_local: at(btf, "sock", "__sk_common.skc_v6_rcv_saddr")?,
        sock_remote: at(btf, "sock", "__sk_common.skc_v6_daddr")?,
        sock_local_port: at(btf, "sock", "__sk_common.skc_num")?,
        sock_remote_port_be: at(btf, "sock", "__sk_common.skc_dport")?,
        skb_segments: control + at(btf, "tcp_skb_cb", "tcp_gso_segs")?,
    })
}

fn at(btf: &Btf, of: &str, path: &str) -> Result<u32, String> {
    btf.offset(of, path)
        .ok_or_else(|| format!("the kernel's struct {of} has no field {path}"))
}

/// Where a device's private data begins: a field of its own, or behind the struct, aligned (`NETDEV_ALIGN`).
fn private_data(btf: &Btf) -> Option<u32> {
    let field = btf.offset("net_device", "priv");
    field.or_else(|| Some(btf.size("net_device")?.next_multiple_of(32)))
}
