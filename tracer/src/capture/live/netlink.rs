//! The netlink connections to the kernel's link, address and route tables.

use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};
use tracing::debug;

use super::error::CaptureError;

/// The kernel's messages about links, addresses and routes.
pub(super) type Messages = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Pods start in bursts, and each causes a dozen messages.
const RECEIVE_BUFFER_BYTES: u32 = 4 << 20;

/// Opens two connections: one receives messages, one sends requests. A burst of messages then never displaces
/// a reply.
pub(super) fn connect() -> Result<(rtnetlink::Handle, Messages), CaptureError> {
    let failed = |source| CaptureError::System {
        operation: "open a netlink socket",
        source,
    };
    let (mut listening, _, messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ])
    .map_err(failed)?;
    if let Err(error) = listening
        .socket_mut()
        .socket_mut()
        .set_rx_buf_sz(RECEIVE_BUFFER_BYTES)
    {
        debug!(%error, "cannot enlarge the netlink socket's receive buffer");
    }
    let (requesting, handle, _) = rtnetlink::new_connection().map_err(failed)?;
    tokio::spawn(listening);
    tokio::spawn(requesting);
    Ok((handle, messages))
}
