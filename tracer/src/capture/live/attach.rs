//! Attaches both probes to one interface and detaches them: by TCX at the head of the chain where the kernel
//! has it (Linux 6.6), else by clsact.
//!
//! Detaches only our own programs: a TCX link is ours by its file descriptor, a clsact filter by its
//! priority, its handle (fixed per instance) and the program in it. Never deletes a clsact qdisc. Looks names
//! up in the calling thread's network namespace.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use aya::Ebpf;
use aya::programs::tc::{
    self, NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, TcHandle,
};
use aya::programs::{LinkOrder, ProgramError};
use aya::util::KernelVersion;
use futures::TryStreamExt as _;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcOption};
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use tracing::debug;

use super::error::{AttachError, CaptureError, errno};
use super::interfaces::{LinkOf, TracedLink};
use super::probes::{FROM_LO, FROM_NODE, FROM_POD, IDLE, TO_LO, TO_NODE, TO_POD, program};
use super::tables::{Counters, InterfaceTables};
use crate::capture::HookChoice;
use tracer_core::model::flow::Ifindex;

/// The probes' interface tables, shared by the attaching thread and the capture's owner.
pub(super) type SharedInterfaces = Arc<Mutex<InterfaceTables>>;

/// The first priority: another filter's verdict could end the chain before a later one. Filters of the same
/// priority form a list, in which our handle identifies ours.
const PRIORITY: u16 = 1;

const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// The kind of hook that the probes of an interface are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A TCX link (Linux 6.6).
    Tcx,
    /// A filter in a clsact qdisc.
    Clsact,
}

impl Hook {
    /// The hook's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Tcx => "TCX",
            Hook::Clsact => "clsact",
        }
    }
}

/// The programs of an interface, and where each of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The host end of a pod's pair.
    Pod,
    /// An uplink of the node.
    Node,
    /// The node's `lo`.
    Loopback,
}

impl Side {
    pub fn of(link: &TracedLink) -> Side {
        match link.of {
            LinkOf::Pod { .. } => Side::Pod,
            LinkOf::Node => Side::Node,
            LinkOf::Loopback => Side::Loopback,
        }
    }

    /// In the order of attachment. A pod's first query comes soon. At a device of the node the second program opens the
    /// flows whose answers the first sees.
    fn programs(self) -> [Placed; 2] {
        let placed = |name, direction| Placed {
            name,
            direction,
            second: false,
        };
        match self {
            Side::Pod => [
                placed(FROM_POD, TcAttachType::Ingress),
                placed(TO_POD, TcAttachType::Egress),
            ],
            Side::Node => [
                placed(TO_NODE, TcAttachType::Ingress),
                placed(FROM_NODE, TcAttachType::Egress),
            ],
            Side::Loopback => [
                placed(TO_LO, TcAttachType::Egress),
                Placed {
                    second: true,
                    ..placed(FROM_LO, TcAttachType::Egress)
                },
            ],
        }
    }
}

/// A program and the direction that it sees.
#[derive(Clone, Copy)]
struct Placed {
    name: &'static str,
    direction: TcAttachType,
    /// It shares its hook with the side's other program.
    second: bool,
}

/// An attached interface. [`Attacher::detach`] takes it back.
pub(super) struct Attached {
    pub hook: Hook,
    pub side: Side,
    /// Those of the side's programs, in their order.
    links: [SchedClassifierLink; 2],
}

/// Owns the loaded programs and attaches them.
pub(super) struct Attacher {
    programs: Ebpf,
    interfaces: SharedInterfaces,
    netlink: rtnetlink::Handle,
    /// The socket that translates between interface names and indices.
    names: OwnedFd,
    /// The hook to use; `None` until the first interface has shown which one works.
    hook: Option<Hook>,
    handle: TcHandle,
}

impl Attacher {
    pub fn new(
        programs: Ebpf,
        interfaces: SharedInterfaces,
        netlink: rtnetlink::Handle,
        instance: &str,
        choice: HookChoice,
    ) -> Result<Attacher, CaptureError> {
        let names = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| CaptureError::System {
            operation: "open a socket to look up interfaces",
            source: error.into(),
        })?;
        let hook = match choice {
            HookChoice::Auto => match KernelVersion::current() {
                Ok(version) if version < TCX_SINCE => Some(Hook::Clsact),
                _ => None,
            },
            HookChoice::Tcx => Some(Hook::Tcx),
            HookChoice::Clsact => Some(Hook::Clsact),
        };
        Ok(Attacher {
            programs,
            interfaces,
            netlink,
            names,
            hook,
            handle: handle(instance),
        })
    }

    /// Attaches both programs. The interface's table entry is added first, so no packet meets a program
    /// without one.
    pub fn attach(&mut self, ifindex: Ifindex, side: Side) -> Result<Attached, AttachError> {
        self.interfaces
            .lock()
            .add(ifindex, side != Side::Pod)
            .map_err(AttachError::Table)?;
        let attached = self.attach_both(ifindex, side);
        if attached.is_err() {
            self.leave(ifindex);
        }
        attached
    }

    /// Detaches the programs that are still in place and returns the interface's final counters.
    pub async fn detach(&mut self, ifindex: Ifindex, attached: Attached) -> Counters {
        self.unhook(ifindex, attached).await;
        self.leave(ifindex)
    }

    /// Replaces both programs by one that does nothing, and returns their links. They detach when they are dropped,
    /// which waits for a grace period each; until then the links keep their place and the packets pass. `None` if
    /// this is not possible: the programs are detached then.
    pub async fn silence(
        &mut self,
        ifindex: Ifindex,
        attached: Attached,
    ) -> Option<[SchedClassifierLink; 2]> {
        if attached.hook == Hook::Clsact {
            self.unhook(ifindex, attached).await;
            return None;
        }
        let [first, second] = attached.links;
        Some([self.replace(first)?, self.replace(second)?])
    }

    fn replace(&mut self, link: SchedClassifierLink) -> Option<SchedClassifierLink> {
        // An error means that the interface has gone; the link has then been dropped.
        let idle = program(&mut self.programs, IDLE).ok()?;
        let link = idle.attach_to_link(link).ok()?;
        idle.take_link(link).ok()
    }

    /// Attaches both programs again. The interface's counters continue.
    pub async fn reattach(
        &mut self,
        ifindex: Ifindex,
        attached: Attached,
    ) -> Result<Attached, AttachError> {
        let side = attached.side;
        self.unhook(ifindex, attached).await;
        self.attach_both(ifindex, side)
    }

    async fn unhook(&mut self, ifindex: Ifindex, attached: Attached) {
        let Attached { hook, side, links } = attached;
        for (link, placed) in links.into_iter().zip(side.programs()) {
            if hook == Hook::Clsact && !self.is_ours(ifindex, placed).await {
                // Another program has our place. Dropping the link would detach that one.
                std::mem::forget(link);
                continue;
            }
            // Dropping a link detaches its program. On a vanished interface that fails, and nothing is left
            // to detach.
            drop(link);
        }
    }

    /// Whether both programs are still attached. Deleting the qdisc removes a clsact filter; only its holder
    /// can remove a TCX link.
    pub async fn is_in_place(&mut self, ifindex: Ifindex, attached: &Attached) -> bool {
        let [first, second] = attached.side.programs();
        attached.hook == Hook::Tcx
            || (self.is_ours(ifindex, first).await && self.is_ours(ifindex, second).await)
    }

    /// Removes the interface from the probes' tables and returns its final counters.
    pub fn leave(&self, ifindex: Ifindex) -> Counters {
        self.interfaces.lock().remove(ifindex)
    }

    fn attach_both(&mut self, ifindex: Ifindex, side: Side) -> Result<Attached, AttachError> {
        if let Some(hook) = self.hook {
            return self.attach_by(hook, ifindex, side);
        }
        // A kernel of the right version can still lack TCX (configuration, a vendor's backports): try once.
        match self.attach_by(Hook::Tcx, ifindex, side) {
            Ok(attached) => {
                self.hook = Some(Hook::Tcx);
                Ok(attached)
            }
            Err(AttachError::Vanished) => Err(AttachError::Vanished),
            Err(refused) => match self.attach_by(Hook::Clsact, ifindex, side) {
                Ok(attached) => {
                    debug!(error = %refused, "this kernel has no TCX: attaching to clsact");
                    self.hook = Some(Hook::Clsact);
                    Ok(attached)
                }
                Err(AttachError::Vanished) => Err(AttachError::Vanished),
                Err(_) => Err(refused),
            },
        }
    }

    fn attach_by(
        &mut self,
        hook: Hook,
        ifindex: Ifindex,
        side: Side,
    ) -> Result<Attached, AttachError> {
        let [first, second] = side.programs();
        // If the second fails, dropping the first link detaches it.
        let first = self.attach_one(hook, ifindex, first)?;
        let second = self.attach_one(hook, ifindex, second)?;
        Ok(Attached {
            hook,
            side,
            links: [first, second],
        })
    }

    fn attach_one(
        &mut self,
        hook: Hook,
        ifindex: Ifindex,
        placed: Placed,
    ) -> Result<SchedClassifierLink, AttachError> {
        // aya takes a name, which can move to another interface at any moment; an index cannot.
        let interface = self.name(ifindex).ok_or(AttachError::Vanished)?;
        let attached = self.attach_named(hook, &interface, placed);
        let same =
            netdevice::name_to_index(&self.names, &interface).is_ok_and(|index| index == ifindex.0);
        match attached {
            Ok(link) if same => Ok(link),
            // Renamed or gone since: dropping the link detaches it from whichever interface it reached. If
            // the interface was renamed, its link message causes another attempt.
            Ok(_) => Err(AttachError::Vanished),
            Err(_) if !same => Err(AttachError::Vanished),
            Err(error) if matches!(errno(&error), Some(libc::ENODEV | libc::ENXIO)) => {
                Err(AttachError::Vanished)
            }
            Err(source) => Err(AttachError::Hook {
                program: placed.name,
                hook: hook.as_str(),
                source,
            }),
        }
    }

    fn attach_named(
        &mut self,
        hook: Hook,
        interface: &str,
        placed: Placed,
    ) -> Result<SchedClassifierLink, ProgramError> {
        let Placed {
            name, direction, ..
        } = placed;
        let handle = self.handle_of(placed);
        let Ok(program) = program(&mut self.programs, name) else {
            // Unreachable: the object has all programs.
            return Err(ProgramError::NotLoaded);
        };
        // Those of `lo`, which few nodes need.
        if program.fd().is_err() {
            program.load()?;
        }
        let link = match hook {
            Hook::Tcx => program.attach_with_options(
                interface,
                direction,
                TcAttachOptions::TcxOrder(LinkOrder::first()),
            )?,
            Hook::Clsact => {
                // Adding a clsact qdisc stops the interface's transmit queues for an instant, in which a
                // packet to the pod can be lost; so this adds one only where none exists.
                match tc::qdisc_add_clsact(interface) {
                    Ok(()) => {}
                    Err(error) if exists(&error) => {}
                    Err(error) => return Err(error.into()),
                }
                let options = NlOptions {
                    priority: PRIORITY,
                    handle,
                    classid: None,
                };
                match program.attach_with_options(
                    interface,
                    direction,
                    TcAttachOptions::Netlink(options),
                ) {
                    // We hold the instance's lock, so a killed predecessor left this filter. Its program is
                    // replaced in place and no packet passes unseen.
                    Err(ProgramError::TcError(error)) if exists(&error) => {
                        let left = SchedClassifierLink::attached(
                            interface, direction, PRIORITY, handle, None,
                        )
                        .map_err(TcError::IoError)?;
                        program.attach_to_link(left)?
                    }
                    other => other?,
                }
            }
        };
        program.take_link(link)
    }

    /// A clsact filter's handle.
    fn handle_of(&self, placed: Placed) -> TcHandle {
        let handle = u32::from(self.handle);
        // The second highest bit, so that the value stays a valid handle.
        TcHandle::from(handle ^ u32::from(placed.second) << 30)
    }

    fn name(&self, ifindex: Ifindex) -> Option<String> {
        netdevice::index_to_name(&self.names, ifindex.0).ok()
    }

    /// Whether the clsact filter with our priority and handle contains our program.
    async fn is_ours(&mut self, ifindex: Ifindex, placed: Placed) -> bool {
        let Some(id) = program(&mut self.programs, placed.name)
            .ok()
            .and_then(|program| program.info().ok())
            .map(|info| info.id())
        else {
            return false;
        };
        let filters = self.netlink.traffic_filter(ifindex.0.cast_signed()).get();
        let filters = match placed.direction {
            TcAttachType::Ingress => filters.ingress(),
            _ => filters.egress(),
        };
        let mut filters = std::pin::pin!(filters.execute());
        while let Ok(Some(filter)) = filters.try_next().await {
            let priority = (filter.header.info >> 16) as u16;
            let handle = TcHandle::new(filter.header.handle.major, filter.header.handle.minor);
            let holds = |option: &TcOption| matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgId(found)) if *found == id);
            let ours = filter.attributes.iter().any(|attribute| match attribute {
                TcAttribute::Options(options) => options.iter().any(holds),
                _ => false,
            });
            if priority == PRIORITY && handle == self.handle_of(placed) && ours {
                return true;
            }
        }
        false
    }
}

/// The filter handle of an instance, the same in every run: the 32-bit FNV-1a hash of its name. The highest
/// bit is clear and the lowest set, so the value is a valid handle.
fn handle(instance: &str) -> TcHandle {
    let hash = instance.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    TcHandle::from(hash & 0x7fff_ffff | 1)
}

fn exists(error: &TcError) -> bool {
    errno(error) == Some(libc::EEXIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_has_a_handle_of_its_own() {
        assert_eq!(handle("default"), handle("default"));
        assert_ne!(handle("default"), handle("second"));
        assert_ne!(u32::from(handle("default")), 0);
    }
}
