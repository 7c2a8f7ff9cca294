//! The kernel's lists of links, addresses and routes, put into the table that says which interfaces are pods'.
//!
//! Owns how they are asked for; what they mean is for [`Table`].

use futures::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteMessage;

use super::error::CaptureError;
use super::interfaces::{PodLink, Table};

/// Everything: what the table held is forgotten.
pub(super) async fn all(
    netlink: &rtnetlink::Handle,
    table: &mut Table,
) -> Result<(), CaptureError> {
    let failed = |operation| move |source| CaptureError::Netlink { operation, source };
    let links: Vec<_> = netlink
        .link()
        .get()
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

/// The routes alone.
pub(super) async fn routes(
    netlink: &rtnetlink::Handle,
    table: &mut Table,
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

/// The interfaces of this network namespace that would be traced, without tracing them: it needs no privilege. The node's
/// addresses are told by their prefixes alone here.
pub fn pod_interfaces() -> Result<Vec<PodLink>, CaptureError> {
    let failed = |operation| move |source| CaptureError::System { operation, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("start a runtime"))?;
    runtime.block_on(async {
        let (asking, netlink, _) =
            rtnetlink::new_connection().map_err(failed("open a netlink socket"))?;
        tokio::spawn(asking);
        let mut table = Table::new(Vec::new(), &[]);
        all(&netlink, &mut table).await?;
        Ok(table.pod_links())
    })
}
