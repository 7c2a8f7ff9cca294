//! Loads the probes: sets their read-only globals, sizes their maps and passes them to the verifier.

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, Program, ProgramError, ProgramFd, SchedClassifier};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};
use aya_log::EbpfLogger;
use tracing::{info, warn};

use super::counters::StatsMap;
use super::drops::{DropReader, KFREE_SKB, KernelFacts, own_netns};
use super::error::CaptureError;
use super::flow_table::FlowTable;
use super::globals::Globals;
use super::missed_runs::MissedRuns;
use super::node_flows::NodeFlows;
use super::only_processes::{self, CGROUP_ATTACH_TASK, SCHED_PROCESS_FORK};
use super::processes::{
    INET_SOCK_SET_STATE, ProcessFacts, SOCK_SEND_LENGTH, Senders, SocketOwners,
};
use super::retransmits::{RetransmitFacts, TCP_RETRANSMIT_SKB};
use super::tables::InterfaceTables;
use crate::capture::Options;
use tracer_core::model::error_chain::error_chain;

/// The object that the build script built from `tracer-ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf.o"));

/// The compiler that built the probes.
pub const TOOLCHAIN: &str = env!("TRACER_EBPF_TOOLCHAIN");

/// The program at tc ingress, which sees what the pod sends.
pub(super) const FROM_POD: &str = "from_pod";
/// The program at tc egress, which sees what the pod receives.
pub(super) const TO_POD: &str = "to_pod";
/// The program at tc egress of an uplink, which sees what the node's own sockets send.
pub(super) const FROM_NODE: &str = "from_node";
/// The program at tc ingress of an uplink, which sees the answers.
pub(super) const TO_NODE: &str = "to_node";
/// The program at tc egress of `lo`, which sees what the node's own sockets ask a DNS server on the node.
pub(super) const FROM_LO: &str = "from_lo";
/// The program at tc egress of `lo`, which sees the answers.
pub(super) const TO_LO: &str = "to_lo";
/// The program that replaces the others at the end, and does nothing.
pub(super) const IDLE: &str = "idle";

/// The loaded probes and their maps.
pub(super) struct Probes {
    pub programs: Ebpf,
    pub records: RingBuf<MapData>,
    /// Shows the probes that the reader of `records` waits.
    pub waits: Array<MapData, u32>,
    pub flows: FlowTable,
    pub interfaces: InterfaceTables,
    pub stats: StatsMap,
    /// The flows of the node, if the programs for its own traffic are loaded.
    pub node: Option<NodeFlows>,
    /// Reads the drop records and counts the missing ones, or why there are none.
    pub drops: Result<(DropReader, MissedRuns), String>,
    /// The segments are counted that sockets of pods send again; how many the probe missed, where the kernel counts that.
    /// Or why they are not.
    pub retransmits: Result<Option<MissedRuns>, String>,
    /// Names the processes of records.
    pub senders: Senders,
    /// Why sockets do not show their processes, if they do not.
    pub processes_unnamed: Option<String>,
    /// Why UDP and ICMP sockets do not, if they do not and others do.
    pub datagrams_unnamed: Option<String>,
    /// The probes' log, with `--probe-log`.
    pub log: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// Loads the object and verifies its programs.
pub(super) fn load(options: &Options) -> Result<Probes, CaptureError> {
    let globals = Globals::new(options)?;
    let btf = Btf::from_sys_fs().ok();
    let netns = own_netns().map_err(of_netns);
    let drops = match options.drops {
        true => netns.clone().and_then(|_| KernelFacts::read()),
        false => Err("switched off".to_owned()),
    };
    let retransmits = match options.retransmits {
        true => netns.clone().and_then(|_| RetransmitFacts::read()),
        false => Err("switched off".to_owned()),
    };
    let no_reason = drops.as_ref().map_or(0, |facts| facts.no_reason);
    let (socket_offsets, errors) = (retransmits.as_ref())
        .map_or_else(|_| Default::default(), |facts| (facts.socket, facts.errors));
    let offsets = (drops.as_ref().map(|facts| facts.offsets))
        .or(retransmits.as_ref().map(|facts| facts.kernel))
        .unwrap_or_default();
    let processes = match options.processes {
        true => ProcessFacts::read(),
        false => Err("switched off".to_owned()),
    };
    let (process_offsets, pid_namespace) = processes.as_ref().map_or_else(
        |_| Default::default(),
        |facts| (facts.offsets, facts.namespace),
    );
    let only = match options.processes && options.senders {
        true => only_processes::offsets(),
        false => Err("switched off".to_owned()),
    };
    let task_offsets = only.as_ref().copied().unwrap_or_default();
    let mut programs = EbpfLoader::new()
        .btf(btf.as_ref())
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("DNS_PORTS", &globals.dns_ports, true)
        .override_global("EMIT", &globals.emit, true)
        .override_global("EMIT_PORTS", &globals.emit_ports, true)
        .override_global("PAYLOAD_CAP_BYTES", &globals.payload_cap_bytes, true)
        .override_global("DNS_PORT_COUNT", &globals.dns_port_count, true)
        .override_global("SHARE_PER_WINDOW", &globals.share_per_window, true)
        .override_global("RING_BITS", &globals.ring_bits, true)
        .override_global("FLOW_ENTRIES", &globals.flow_entries, true)
        .override_global("COARSE_CLOCK", &globals.coarse_clock, true)
        .override_global("PROBE_LOG", &globals.probe_log, true)
        .override_global("SENDERS", &globals.senders, true)
        .override_global("DROPS", &u32::from(drops.is_ok()), true)
        .override_global("NO_DROP_REASON", &no_reason, true)
        .override_global("OFFSETS", &offsets, true)
        .override_global("NODE_NETNS", &netns.unwrap_or(0), true)
        .override_global("RETRANSMITS", &u32::from(retransmits.is_ok()), true)
        .override_global("RETRANSMIT_ERRORS", &u32::from(errors), true)
        .override_global("SOCKET_OFFSETS", &socket_offsets, true)
        .override_global("PROCESSES", &u32::from(processes.is_ok()), true)
        .override_global("PROCESS_OFFSETS", &process_offsets, true)
        .override_global("NODE_PID_NS", &pid_namespace, true)
        .override_global("TASK_OFFSETS", &task_offsets, true)
        .map_max_entries("RECORDS", options.ring_bytes)
        .map_max_entries("FLOWS", options.flow_entries)
        .load(OBJECT)
        .map_err(|source| CaptureError::Load { source })?;
    let refused = verify(&mut programs, options.node)?;
    if let Some(error) = &refused {
        warn!(error = %error_chain(error), "the node's own traffic is not traced");
    }
    let drops = drops.and_then(|facts| {
        let program = attach(&mut programs, KFREE_SKB, btf.as_ref())?;
        Ok((DropReader::new(facts), MissedRuns::new(program)?))
    });
    if let Err(reason) = &drops {
        info!(%reason, "dropped packets are not seen");
    }
    let retransmits = retransmits.and_then(|_| {
        let program = attach(&mut programs, TCP_RETRANSMIT_SKB, btf.as_ref())?;
        // Kernels that do not count missed runs miss none.
        Ok(MissedRuns::new(program).ok())
    });
    if let Err(reason) = &retransmits {
        info!(%reason, "retransmissions are not counted");
    }
    let processes = processes.and_then(|facts| {
        attach(&mut programs, INET_SOCK_SET_STATE, btf.as_ref())?;
        let datagrams = facts
            .datagrams
            .and_then(|()| attach(&mut programs, SOCK_SEND_LENGTH, btf.as_ref()).map(drop));
        if let Err(reason) = &datagrams {
            info!(%reason, "processes are named for TCP only");
        }
        Ok(datagrams)
    });
    if let Err(reason) = &processes {
        info!(%reason, "processes are not named by their sockets");
    }
    let processes_unnamed = processes.as_ref().err().cloned();
    let datagrams_unnamed = processes.as_ref().ok().cloned().and_then(Result::err);
    let only = only.and_then(|_| {
        attach(&mut programs, SCHED_PROCESS_FORK, btf.as_ref())?;
        attach(&mut programs, CGROUP_ATTACH_TASK, btf.as_ref())
    });
    if let Err(reason) = &only {
        info!(%reason, "the only process of a container is not named");
    }
    let senders = Senders {
        owners: match processes {
            Ok(datagrams) => {
                let datagrams = datagrams.is_ok();
                let sockets = take(&mut programs, "SOCKETS")?;
                let sockets = HashMap::try_from(sockets).map_err(wrong("SOCKETS"))?;
                Some(SocketOwners::new(sockets, datagrams))
            }
            Err(_) => None,
        },
        only: match only {
            Ok(_) => {
                let changes = take(&mut programs, "CGROUP_CHANGES")?;
                let changes = Array::try_from(changes).map_err(wrong("CGROUP_CHANGES"))?;
                Some(only_processes::Names::new(changes))
            }
            Err(_) => None,
        },
    };
    let log = if options.probe_log {
        EbpfLogger::init(&mut programs)
            .inspect_err(|error| warn!(%error, "cannot read the probes' log; tracing without it"))
            .ok()
    } else {
        None
    };
    let node = NodeFlows::new(
        take(&mut programs, "NODE_OPENED")?,
        take(&mut programs, "NODE_OVER")?,
    )
    .map_err(wrong("NODE_OPENED"))?;
    Ok(Probes {
        records: RingBuf::try_from(take(&mut programs, "RECORDS")?).map_err(wrong("RECORDS"))?,
        waits: Array::try_from(take(&mut programs, "READER_WAITS")?)
            .map_err(wrong("READER_WAITS"))?,
        flows: FlowTable::new(
            take(&mut programs, "FLOWS")?,
            take(&mut programs, "FLOW_COUNT")?,
            options.flow_entries as usize,
        )
        .map_err(wrong("FLOWS"))?,
        interfaces: InterfaceTables::new(
            take(&mut programs, "TRAFFIC")?,
            take(&mut programs, "INTERFACES")?,
            take(&mut programs, "CONTROL")?,
        )
        .map_err(wrong("INTERFACES"))?,
        stats: PerCpuArray::try_from(take(&mut programs, "STATS")?).map_err(wrong("STATS"))?,
        programs,
        node: (options.node && refused.is_none()).then_some(node),
        drops,
        retransmits,
        senders,
        processes_unnamed,
        datagrams_unnamed,
        log,
    })
}

/// Passes the programs to the verifier, which takes a tenth of a second for each, at the same time. Without those for
/// the node's own traffic the others do their work; returns why they were refused.
fn verify(programs: &mut Ebpf, node: bool) -> Result<Option<CaptureError>, CaptureError> {
    let names = [FROM_POD, TO_POD, IDLE, FROM_NODE, TO_NODE];
    let names = &names[..if node { 5 } else { 3 }];
    let wanted = programs.programs_mut().filter_map(|(found, program)| {
        Some((*names.iter().find(|name| **name == found)?, program))
    });
    std::thread::scope(|scope| {
        let loads: Vec<_> = wanted
            .map(|(name, program)| (name, scope.spawn(move || load_program(program))))
            .collect();
        let mut refused = None;
        for (program, load) in loads {
            let loaded = load.join().unwrap_or(Err(ProgramError::NotLoaded));
            match loaded.map_err(|source| CaptureError::Program { program, source }) {
                Ok(()) => {}
                Err(error) if [FROM_NODE, TO_NODE].contains(&program) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    })
}

/// Loads and attaches the program of a tracepoint. It needs CAP_PERFMON.
fn attach(programs: &mut Ebpf, tracepoint: &str, btf: Option<&Btf>) -> Result<ProgramFd, String> {
    let btf = btf.ok_or("the kernel's types (BTF) cannot be read")?;
    let program = programs
        .program_mut(tracepoint)
        .ok_or("the probes lack it")?;
    let program: &mut BtfTracePoint = program.try_into().map_err(reason)?;
    program.load(tracepoint, btf).map_err(reason)?;
    program.attach().map_err(reason)?;
    let program = program.fd().map_err(reason)?.try_clone();
    program.map_err(|error| format!("cannot keep its program: {error}"))
}

fn of_netns(error: std::io::Error) -> String {
    format!("cannot identify this network namespace: {error}")
}

fn reason(error: ProgramError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn load_program(program: &mut Program) -> Result<(), ProgramError> {
    <&mut SchedClassifier>::try_from(program)?.load()
}

/// The program with this name.
pub(super) fn program<'a>(
    programs: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, CaptureError> {
    programs
        .program_mut(name)
        .ok_or(CaptureError::Object { missing: name })?
        .try_into()
        .map_err(|source| CaptureError::Program {
            program: name,
            source,
        })
}

fn take(programs: &mut Ebpf, map: &'static str) -> Result<Map, CaptureError> {
    programs
        .take_map(map)
        .ok_or(CaptureError::Object { missing: map })
}

fn wrong(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> CaptureError {
    move |source| CaptureError::Map { map, source }
}
