//! The probes' interface tables: the attached interfaces with their traffic, losses and thinning, and what user
//! space says about each.
//!
//! Owns all three maps, so that an interface is removed from them together. The probes write the counters; this
//! module only reads them.

use std::collections::HashMap as StdHashMap;
use std::io;
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use tracer_common::{
    FlowTotals, InterfaceControl, InterfaceState, InterfaceTraffic, MAX_INTERFACES,
};
use tracing::warn;

use super::batch;
use super::error::errno;
use tracer_core::model::flow::Ifindex;
use tracer_core::model::loss::Thinning;
use tracer_core::model::time::Timestamp;

/// An interface's counters: those summed over CPUs and the shared ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub traffic: InterfaceTraffic,
    pub state: InterfaceState,
}

/// All interface tables.
pub(super) struct InterfaceTables {
    traffic: PerCpuArray<MapData, InterfaceTraffic>,
    /// A second descriptor of `traffic`, for the command that aya lacks.
    traffic_fd: Option<OwnedFd>,
    cpus: usize,
    /// The interface of each slot of `traffic`; short of the slots that were never used.
    slots: Vec<Option<Ifindex>>,
    /// Packets of the interfaces that were removed.
    removed_packets: u64,
    states: HashMap<MapData, u32, InterfaceState>,
    /// A second descriptor of `states`, for the command that aya lacks.
    states_fd: Option<OwnedFd>,
    control: HashMap<MapData, u32, InterfaceControl>,
    /// What `control` contains.
    controls: StdHashMap<Ifindex, InterfaceControl>,
    /// Final counters of removed interfaces that lost records.
    removed: Vec<(Ifindex, InterfaceState)>,
}

impl InterfaceTables {
    pub fn new(traffic: Map, states: Map, control: Map) -> Result<InterfaceTables, MapError> {
        let states_fd = batch::second_fd(&states);
        let traffic_fd = batch::second_fd(&traffic);
        Ok(InterfaceTables {
            traffic: PerCpuArray::try_from(traffic)?,
            traffic_fd,
            cpus: nr_cpus().map_err(|(_, error)| error)?,
            slots: Vec::new(),
            removed_packets: 0,
            states: HashMap::try_from(states)?,
            states_fd,
            control: HashMap::try_from(control)?,
            controls: StdHashMap::new(),
            removed: Vec::new(),
        })
    }

    /// Adds an interface. Without its entries the probes neither count nor record its packets.
    pub fn add(&mut self, ifindex: Ifindex, is_node: bool) -> Result<(), MapError> {
        let slot = self.free_slot()?;
        self.set_slot(slot, Some(ifindex))?;
        let state = InterfaceState {
            slot: slot as u32,
            is_node: is_node.into(),
            ..InterfaceState::default()
        };
        self.states.insert(ifindex.0, state, 0)
    }

    fn free_slot(&mut self) -> Result<usize, MapError> {
        if let Some(free) = self.slots.iter().position(Option::is_none) {
            return Ok(free);
        }
        if self.slots.len() >= MAX_INTERFACES as usize {
            return Err(MapError::IoError(io::Error::from_raw_os_error(
                libc::ENOSPC,
            )));
        }
        self.slots.push(None);
        Ok(self.slots.len() - 1)
    }

    /// Gives a slot to an interface, or takes it back. Flows can still name the slot of an interface that was
    /// removed; the probes compare its owner.
    fn set_slot(&mut self, slot: usize, owner: Option<Ifindex>) -> Result<(), MapError> {
        let empty = InterfaceTraffic {
            ifindex: owner.map_or(0, |ifindex| ifindex.0),
            ..InterfaceTraffic::default()
        };
        let values = PerCpuValues::try_from(vec![empty; self.cpus])?;
        self.traffic.set(slot as u32, values, 0)?;
        self.slots[slot] = owner;
        Ok(())
    }

    fn slot(&self, ifindex: Ifindex) -> Option<usize> {
        self.slots.iter().position(|owner| *owner == Some(ifindex))
    }

    /// Removes an interface and returns its final counters.
    pub fn remove(&mut self, ifindex: Ifindex) -> Counters {
        let last = self.counters(ifindex).unwrap_or_default();
        self.removed_packets += packets(&last.traffic);
        self.controls.remove(&ifindex);
        let freed = self.slot(ifindex).map(|slot| self.set_slot(slot, None));
        for removed in [
            freed.unwrap_or(Ok(())),
            self.states.remove(&ifindex.0),
            // The kernel can give the index to another interface.
            self.control.remove(&ifindex.0),
        ] {
            if let Err(error) = unless_missing(removed) {
                warn!(ifindex = ifindex.0, %error, "cannot remove the interface from the probes' table");
            }
        }
        if last.state.lost > 0 {
            self.removed.push((ifindex, last.state));
        }
        last
    }

    /// Takes the final counters of the interfaces removed since the last call, if they lost records.
    pub fn take_removed(&mut self) -> Vec<(Ifindex, InterfaceState)> {
        std::mem::take(&mut self.removed)
    }

    /// The shared counters of all attached interfaces.
    pub fn states(&self) -> Result<Vec<(Ifindex, InterfaceState)>, MapError> {
        let mut all = Vec::new();
        let mut put = |ifindex: u32, state: InterfaceState| all.push((Ifindex(ifindex), state));
        if let Some(fd) = &self.states_fd
            && batch::for_each(fd, &mut put)?
        {
            return Ok(all);
        }
        for entry in self.states.iter() {
            match entry {
                Ok((ifindex, state)) => put(ifindex, state),
                // Removed between two steps of the iteration.
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// An interface's counters; `None` if it is not attached.
    pub fn counters(&self, ifindex: Ifindex) -> Option<Counters> {
        let state = self.states.get(&ifindex.0, 0).ok()?;
        let cpus = self.traffic.get(&(self.slot(ifindex)? as u32), 0).ok()?;
        Some(Counters {
            traffic: sum(&cpus),
            state,
        })
    }

    /// The counters of every interface, by index.
    pub fn all_counters(&self) -> Result<StdHashMap<Ifindex, Counters>, MapError> {
        let mut states: StdHashMap<Ifindex, InterfaceState> = self.states()?.into_iter().collect();
        let mut all = StdHashMap::with_capacity(states.len());
        self.for_each_slot(|ifindex, traffic| {
            if let Some(state) = states.remove(&ifindex) {
                all.insert(ifindex, Counters { traffic, state });
            }
        })?;
        Ok(all)
    }

    /// Packets that a probe saw on the interfaces, those removed included.
    pub fn packets_seen(&self) -> Result<u64, MapError> {
        let mut seen = self.removed_packets;
        self.for_each_slot(|_, traffic| seen += packets(&traffic))?;
        Ok(seen)
    }

    fn for_each_slot(
        &self,
        mut take: impl FnMut(Ifindex, InterfaceTraffic),
    ) -> Result<(), MapError> {
        let read = match &self.traffic_fd {
            Some(fd) => batch::read_array::<InterfaceTraffic>(fd, self.slots.len(), self.cpus)?,
            None => None,
        };
        for (slot, owner) in self.slots.iter().enumerate() {
            let Some(ifindex) = owner else {
                continue;
            };
            let traffic = match &read {
                Some(values) => sum(&values[slot * self.cpus..][..self.cpus]),
                None => sum(&self.traffic.get(&(slot as u32), 0)?),
            };
            take(*ifindex, traffic);
        }
        Ok(())
    }

    /// Switches the records of an attached interface off or on.
    pub fn mute(&mut self, ifindex: Ifindex, mute: bool) -> Result<(), MapError> {
        self.set_control(ifindex, |control| control.muted = u32::from(mute))
    }

    /// Sets an attached interface's number of flow table entries, as the difference to `flows_added`.
    pub fn set_flows_base(&mut self, ifindex: Ifindex, base: u64) -> Result<(), MapError> {
        self.set_control(ifindex, |control| control.flows_base = base)
    }

    fn set_control(
        &mut self,
        ifindex: Ifindex,
        change: impl FnOnce(&mut InterfaceControl),
    ) -> Result<(), MapError> {
        let known = self.controls.get(&ifindex).copied().unwrap_or_default();
        let mut wanted = known;
        change(&mut wanted);
        // An interface that has been detached gets no entry: nothing would remove it.
        if wanted == known || self.states.get(&ifindex.0, 0).is_err() {
            return Ok(());
        }
        self.control.insert(ifindex.0, wanted, 0)?;
        self.controls.insert(ifindex, wanted);
        Ok(())
    }
}

/// An interface's thinning. The probes lower it with the interface's next record, by one each second, so
/// without records it has fallen since.
pub(super) fn thinning(state: &InterfaceState, now: Timestamp) -> Thinning {
    let seconds = now.since(Timestamp(state.thinned_ktime_ns)).as_secs();
    let level = u64::from(state.thinning).saturating_sub(seconds);
    Thinning(u8::try_from(level).unwrap_or(u8::MAX))
}

fn sum(cpus: &[InterfaceTraffic]) -> InterfaceTraffic {
    let mut traffic = InterfaceTraffic::default();
    for cpu in cpus {
        add(&mut traffic.totals, &cpu.totals);
        add(&mut traffic.outside, &cpu.outside);
    }
    traffic
}

fn packets(traffic: &InterfaceTraffic) -> u64 {
    traffic.totals.tx_packets + traffic.totals.rx_packets
}

fn add(sum: &mut FlowTotals, part: &FlowTotals) {
    sum.tx_packets = sum.tx_packets.wrapping_add(part.tx_packets);
    sum.tx_bytes = sum.tx_bytes.wrapping_add(part.tx_bytes);
    sum.rx_packets = sum.rx_packets.wrapping_add(part.rx_packets);
    sum.rx_bytes = sum.rx_bytes.wrapping_add(part.rx_bytes);
}

/// Treats the removal of a missing entry as success.
fn unless_missing(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
