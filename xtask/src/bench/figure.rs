//! The figures that can be chosen with `--only`.

/// A figure, or a group that is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Figure {
    /// CPU time for each DNS message, beside tcpdump -l
    Cpu,
    /// The same with the inventory of a big cluster
    Inventory,
    /// DNS messages recorded at 50,000 queries a second, at the limit and in an open loop; answered rate
    Loss,
    /// The loss curve: every rate, mix, tool and output; not in a quick run
    Curve,
    /// The cost of a packet by the kernel's statistics, less that of an empty program
    Packet,
    /// iperf3's rate beside the tracer
    Bulk,
    /// Memory and CPU without traffic, of each source too, start and stop, with 250 pods and the inventory
    Rest,
    /// From packet to line, from the first second on
    Delay,
    /// What a packet's sender and process, a dropped packet and a translated flow cost
    Sources,
}

impl Figure {
    /// All, in the order in which they are measured.
    pub const ALL: [Figure; 9] = [
        Figure::Cpu,
        Figure::Inventory,
        Figure::Loss,
        Figure::Curve,
        Figure::Packet,
        Figure::Bulk,
        Figure::Rest,
        Figure::Delay,
        Figure::Sources,
    ];
}
