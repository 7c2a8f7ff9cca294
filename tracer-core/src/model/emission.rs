//! Which packets are worth a record. What is not is still counted: in its interface's totals and in its flow's.

/// So many ports at most can be told apart; see [`Emission::ports`].
pub const MAX_PORTS: usize = 8;

/// Which packets the probes tell of. [`Emission::default`]: of all that the pipeline can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// DNS messages, and the connections that they run over.
    pub dns: bool,
    /// TCP segments with SYN, FIN or RST, and a connection's first that is seen.
    pub tcp: bool,
    /// ICMP echo requests and replies.
    pub echo: bool,
    /// ICMP errors.
    pub icmp_errors: bool,
    /// The first packet of any other flow.
    pub first: bool,
    /// Of `tcp` and `first` only packets with one of these ports on either side; at most [`MAX_PORTS`]. None at all:
    /// whatever the port.
    pub ports: Vec<u16>,
    /// Single interfaces can be muted at run time.
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
    /// Nothing at all.
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
