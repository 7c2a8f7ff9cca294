//! Reads the kernel's links, addresses and routes into the [`LinkTable`], which decides which interfaces to trace.

use futures::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkExtentMask;
use netlink_packet_route::route::RouteMessage;

use super::error::CaptureError;
use super::interfaces::{LinkTable, TracedLink};

/// Replaces the table's contents by the kernel's lists.
pub(super) async fn all(
    netlink: &rtnetlink::Handle,
    table: &mut LinkTable,
) -> Result<(), CaptureError> {
    let failed = |operation| move |source| CaptureError::Netlink { operation, source };
    // Statistics are most of a link's message, and not used.
    let links: Vec<_> = netlink
        .link()
        .get()
        .set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats])
        .execute()
        .try_collect()
        .await
        .map_err(failed("list the interfaces"))?;
    let addresses: Vec<_> = netlink
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(failed("list the addresses"))?;
    table.clear();
    for link in &links {
        table.link(link);
    }
    for address in &addresses {
        table.address(address, false);
    }
    routes(netlink, table).await
}

/// Replaces the table's routes by the kernel's list.
pub(super) async fn routes(
    netlink: &rtnetlink::Handle,
    table: &mut LinkTable,
) -> Result<(), CaptureError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let listed: Vec<RouteMessage> = netlink
            .route()
            .get(request)
            .execute()
            .try_collect()
            .await
            .map_err(|source| CaptureError::Netlink {
                operation: "list the routes",
                source,
            })?;
        routes.extend(listed);
    }
    table.clear_routes();
    for route in &routes {
        table.route(route);
    }
    Ok(())
}

/// The interfaces of this network namespace that a capture would trace. Needs no privilege. Recognises the
/// node's own addresses only by their prefix length.
pub fn traced_interfaces() -> Result<Vec<TracedLink>, CaptureError> {
    let failed = |operation| move |source| CaptureError::System { operation, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start a runtime"))?;
    runtime.block_on(async {
        let (asking, netlink, _) =
            rtnetlink::new_connection().map_err(failed("open a netlink socket"))?;
        tokio::spawn(asking);
        let mut table = LinkTable::new(Vec::new(), true, &[]);
        all(&netlink, &mut table).await?;
        Ok(table.traced_links())
    })
}
