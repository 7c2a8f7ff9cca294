//! Facts about the path of packets.

use crate::model::observation::IcmpError;

#[derive(Clone, Debug)]
pub(in crate::diagnose) enum PathFact {
    /// The path's MTU, as the ICMP error reports it.
    Mtu(IcmpError),
    /// Why the pod keeps sending packets that are too big.
    MtuCauses,
}
