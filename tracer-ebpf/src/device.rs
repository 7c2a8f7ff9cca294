//! Whose a network device of the kernel is: the node's, or a pod's behind a traced veth or netkit.

use crate::kernel_memory::read;
use crate::maps::INTERFACES;
use crate::settings;

/// The index of the node's end of this device, if the device is a pod's and traced. Other namespaces are linked with the node's as
/// well: a switch, a router, in kind the host.
#[inline(always)]
pub fn host_end(device: usize) -> Option<u32> {
    if !has_peer(device) {
        return None;
    }
    let offsets = settings::offsets();
    let peer: usize = read(device + offsets.dev_private as usize)?;
    let net: usize = read(peer + offsets.dev_net as usize)?;
    if !is_node(net) {
        return None;
    }
    let ifindex: u32 = read(peer + offsets.dev_ifindex as usize)?;
    let interface = INTERFACES.get_ptr(&ifindex)?;
    // An uplink can be linked by a veth, too, with a switch.
    // SAFETY: a live map value of plain integers.
    (unsafe { (*interface).is_node } == 0).then_some(ifindex)
}

/// Whether this is the node's network namespace.
#[inline(always)]
pub fn is_node(net: usize) -> bool {
    read(net + settings::offsets().net_inum as usize) == Some(settings::node_netns())
}

/// Whether the device is a veth or netkit, whose private data begins with its peer.
#[inline(always)]
fn has_peer(device: usize) -> bool {
    let offsets = settings::offsets();
    let kind = || {
        let operations: usize = read(device + offsets.dev_link_ops as usize)?;
        let kind: usize = read(operations + offsets.link_ops_kind as usize)?;
        read::<[u8; 4]>(kind)
    };
    matches!(
        kind(),
        Some([b'v', b'e', b't', b'h'] | [b'n', b'e', b't', b'k'])
    )
}
