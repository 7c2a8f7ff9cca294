//! A new session in the lab, decoded by the tracer and by tshark: they agree on every exchange.

use testbed::lab::ProxyMode;
use testbed::stage::{Stage, program};
use testbed::tshark_diff::compare::Intended;
use testbed::tshark_diff::{diff, session};

#[test]
fn the_captures_that_the_lab_makes_are_decoded_as_tshark_decodes_them() {
    let stage = Stage::new(ProxyMode::Iptables);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let session::Captures { pod, all } =
        session::capture(&stage.lab, directory.path()).expect("tcpdump captures the session");
    // At all interfaces of the node each packet is there before and after translation, and reported once.
    for (file, own) in [(pod, Intended::Retry), (all, Intended::Copy)] {
        let report = diff(program(), &file).expect("both sides");
        assert_eq!(report.unexplained, Vec::<String>::new(), "{report}");
        assert!(
            report.messages > 90 && report.compared > 40,
            "hardly anything was compared: {report}"
        );
        assert!(report.intended.contains_key(&own), "{own:?}: {report}");
    }
}
