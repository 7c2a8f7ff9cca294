//! The core's tests from outside the crate. They need no root; `captures` needs tshark.

mod architecture;
mod captures;
mod explain;
mod fair_diagnosis;
mod findings_page;
mod fuzz_smoke;
mod inventory;
mod name_wait;
mod network_policies;
mod ordinary_hour;
mod paths;
mod replay;
mod scenario;
mod scenarios;
mod uncounted;
mod under_loss;
