//! The packets for which the probes emit a record. All others still count in their interface's and flow's
//! totals.

/// Maximum number of [`Emission::ports`].
pub const MAX_PORTS: usize = 8;

/// The packets for which the probes emit a record. [`Emission::default`] selects all that the pipeline can
/// use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// DNS messages, and the connections that carry them.
    pub dns: bool,
    /// TCP segments with SYN, FIN or RST, and the first segment seen of a connection.
    pub tcp: bool,
    /// ICMP echo requests and replies.
    pub echo: bool,
    /// ICMP errors.
    pub icmp_errors: bool,
    /// The first packet of any other flow.
    pub first: bool,
    /// Limits `tcp` and `first` to packets with one of these ports on either side; at most [`MAX_PORTS`].
    /// Empty means any port.
    pub ports: Vec<u16>,
    /// The probes can mute single interfaces at run time.
    pub by_interface: bool,
}

impl Default for Emission {
    fn default() -> Emission {
        Emission {
            dns: true,
            tcp: true,
            echo: true,
            icmp_errors: true,
            first: true,
            ports: Vec::new(),
            by_interface: false,
        }
    }
}

impl Emission {
    /// Selects no packets.
    pub fn nothing() -> Emission {
        Emission {
            dns: false,
            tcp: false,
            echo: false,
            icmp_errors: false,
            first: false,
            ports: Vec::new(),
            by_interface: false,
        }
    }
}
