//! The token bucket of an interface: a flood on one pod's veth must not cost the others their records.

use tracer_common::InterfaceState;

use crate::settings;

/// Takes the price of one record; `false` if the interface cannot pay. The bucket holds time, so refilling needs no
/// division and loses no fraction. Not atomic: two CPUs can take the same credit, the bound is approximate then.
#[inline(always)]
pub fn take(interface: *mut InterfaceState, now_ns: u64) -> bool {
    let cost_ns = settings::bucket_cost_ns();
    if cost_ns == 0 {
        return true;
    }
    // SAFETY: a live map value; the verifier checks the accesses.
    unsafe {
        let last_ns = (*interface).bucket_ktime_ns;
        // Another CPU's clock can be a little ahead of ours.
        let elapsed_ns = if now_ns > last_ns {
            now_ns - last_ns
        } else {
            0
        };
        let mut credit_ns = (*interface).bucket_credit_ns.wrapping_add(elapsed_ns);
        let burst_ns = settings::bucket_burst_ns();
        if credit_ns > burst_ns {
            credit_ns = burst_ns;
        }
        let enough = credit_ns >= cost_ns;
        if enough {
            credit_ns -= cost_ns;
        }
        (*interface).bucket_credit_ns = credit_ns;
        (*interface).bucket_ktime_ns = now_ns;
        enough
    }
}
