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
}

impl Figure {
    /// All, in the order in which they are measured.
    pub const ALL: [Figure; 3] = [Figure::Cpu, Figure::Inventory, Figure::Loss];
}
