//! The token bucket of an interface: a flood on one pod's veth must not displace the records of others.

use tracer_common::InterfaceState;

use crate::settings;

/// Takes the cost of one record from the bucket; `false` if the credit does not suffice. The credit is in
/// nanoseconds, so a refill needs no division and loses no fraction. Not atomic: two CPUs can take the same
/// credit, so the limit is approximate under contention.
#[inline(always)]
pub fn take(interface: *mut InterfaceState, now_ns: u64) -> bool {
    let cost_ns = settings::bucket_cost_ns();
    if cost_ns == 0 {
        return true;
    }
    // SAFETY: `interface` points to a live map value of plain integers; the verifier checks the accesses.
    unsafe {
        let last_ns = (*interface).bucket_ktime_ns;
        // Another CPU can have stored a slightly later time.
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
