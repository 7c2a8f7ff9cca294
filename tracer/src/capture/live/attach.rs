//! Attaches both probes to one interface and detaches them: by TCX at the head of the chain where the kernel has it,
//! else by clsact.
//!
//! Detaches only what is ours: a TCX link is ours by its file descriptor, a clsact filter by its priority and handle
//! (fixed per instance) and by the program in it. Never deletes a clsact qdisc. Names are looked up in the calling
//! thread's network namespace.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::programs::tc::{
    self, NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, TcHandle,
};
use aya::programs::{LinkOrder, ProgramError};
use aya::util::KernelVersion;
use futures::TryStreamExt as _;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcOption};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use tracer_common::InterfaceState;
use tracing::debug;

use super::error::{AttachError, CaptureError, errno};
use super::probes::{FROM_POD, TO_POD, program};
use super::tables::InterfaceTables;
use crate::capture::options::HookChoice;
use tracer_core::model::flow::Ifindex;

/// The probes' tables of interfaces, used from two threads.
pub(super) type SharedInterfaces = Arc<Mutex<InterfaceTables>>;

/// Before every other clsact filter: another's verdict would end the chain before ours. Filters of one priority stand in
/// one list, in which ours is told apart by its handle.
const PRIORITY: u16 = 1;

const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// How an interface is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A TCX link (Linux 6.6).
    Tcx,
    /// A filter in a clsact qdisc.
    Clsact,
}

impl Hook {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Tcx => "TCX",
            Hook::Clsact => "clsact",
        }
    }
}

/// An attached interface. To be given back to [`Attacher::detach`].
pub(super) struct Attached {
    pub hook: Hook,
    from_pod: SchedClassifierLink,
    to_pod: SchedClassifierLink,
}

/// Owns the loaded programs.
pub(super) struct Attacher {
    programs: Ebpf,
    interfaces: SharedInterfaces,
    netlink: rtnetlink::Handle,
    /// For turning names into indices and back.
    names: OwnedFd,
    /// What worked; `None` until the first interface.
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
            operation: "open a socket to look interfaces up",
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

    /// Attaches both programs. The interface's entry is made first: a packet never finds a program without its entry.
    pub fn attach(&mut self, ifindex: Ifindex) -> Result<Attached, AttachError> {
        self.enter(ifindex)?;
        let attached = self.attach_both(ifindex);
        if attached.is_err() {
            self.leave(ifindex);
        }
        attached
    }

    /// Detaches what [`Attacher::attach`] attached, as far as it is still there, and returns the interface's last totals.
    pub async fn detach(&mut self, ifindex: Ifindex, attached: Attached) -> InterfaceState {
        self.unhook(ifindex, attached).await;
        self.leave(ifindex)
    }

    /// Attaches anew what is not in place any more; the interface's totals go on.
    pub async fn reattach(
        &mut self,
        ifindex: Ifindex,
        attached: Attached,
    ) -> Result<Attached, AttachError> {
        self.unhook(ifindex, attached).await;
        self.attach_both(ifindex)
    }

    async fn unhook(&mut self, ifindex: Ifindex, attached: Attached) {
        let Attached {
            hook,
            from_pod,
            to_pod,
        } = attached;
        for (link, name) in [(from_pod, FROM_POD), (to_pod, TO_POD)] {
            if hook == Hook::Clsact && !self.is_ours(ifindex, name).await {
                // Whatever is there now belongs to somebody else: forget the link, or dropping it would detach that.
                std::mem::forget(link);
                continue;
            }
            // The links are taken from their program, so dropping one detaches it. On a vanished interface that fails,
            // and there is nothing left to detach.
            drop(link);
        }
    }

    /// Whether both programs are still where they were attached. A clsact filter can be taken away by anyone who deletes
    /// the qdisc; a TCX link belongs to its holder.
    pub async fn is_in_place(&mut self, ifindex: Ifindex, attached: &Attached) -> bool {
        attached.hook == Hook::Tcx
            || (self.is_ours(ifindex, FROM_POD).await && self.is_ours(ifindex, TO_POD).await)
    }

    fn enter(&self, ifindex: Ifindex) -> Result<(), AttachError> {
        self.tables().enter(ifindex).map_err(AttachError::Table)
    }

    /// Takes the interface out of the probes' tables and returns what was counted of it.
    pub fn leave(&self, ifindex: Ifindex) -> InterfaceState {
        self.tables().leave(ifindex)
    }

    fn tables(&self) -> MutexGuard<'_, InterfaceTables> {
        self.interfaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn attach_both(&mut self, ifindex: Ifindex) -> Result<Attached, AttachError> {
        if let Some(hook) = self.hook {
            return self.attach_by(hook, ifindex);
        }
        // A kernel of the right version can still lack TCX (its configuration, a vendor's backport policy): try once.
        match self.attach_by(Hook::Tcx, ifindex) {
            Ok(attached) => {
                self.hook = Some(Hook::Tcx);
                Ok(attached)
            }
            Err(AttachError::Vanished) => Err(AttachError::Vanished),
            Err(refused) => match self.attach_by(Hook::Clsact, ifindex) {
                Ok(attached) => {
                    debug!(error = %refused, "this kernel has no TCX: attaching by clsact");
                    self.hook = Some(Hook::Clsact);
                    Ok(attached)
                }
                Err(AttachError::Vanished) => Err(AttachError::Vanished),
                Err(_) => Err(refused),
            },
        }
    }

    fn attach_by(&mut self, hook: Hook, ifindex: Ifindex) -> Result<Attached, AttachError> {
        // What a pod sends first: its first query comes soon. If the second fails, the first goes with its link.
        let from_pod = self.attach_one(hook, ifindex, FROM_POD, TcAttachType::Ingress)?;
        let to_pod = self.attach_one(hook, ifindex, TO_POD, TcAttachType::Egress)?;
        Ok(Attached {
            hook,
            from_pod,
            to_pod,
        })
    }

    fn attach_one(
        &mut self,
        hook: Hook,
        ifindex: Ifindex,
        name: &'static str,
        direction: TcAttachType,
    ) -> Result<SchedClassifierLink, AttachError> {
        // aya takes names; a name can change or pass to another interface at any moment, an index cannot.
        let interface = self.name(ifindex).ok_or(AttachError::Vanished)?;
        let attached = self.attach_named(hook, &interface, name, direction);
        let same =
            netdevice::name_to_index(&self.names, &interface).is_ok_and(|index| index == ifindex.0);
        match attached {
            Ok(link) if same => Ok(link),
            // Renamed or gone meanwhile: dropping the link takes it off whatever it landed on. Renamed, it is told of
            // by a link event, and tried again.
            Ok(_) => Err(AttachError::Vanished),
            Err(_) if !same => Err(AttachError::Vanished),
            Err(error) if matches!(errno(&error), Some(libc::ENODEV | libc::ENXIO)) => {
                Err(AttachError::Vanished)
            }
            Err(source) => Err(AttachError::Hook {
                program: name,
                hook: hook.as_str(),
                source,
            }),
        }
    }

    fn attach_named(
        &mut self,
        hook: Hook,
        interface: &str,
        name: &'static str,
        direction: TcAttachType,
    ) -> Result<SchedClassifierLink, ProgramError> {
        let handle = self.handle;
        let Ok(program) = program(&mut self.programs, name) else {
            // Loading found both.
            return Err(ProgramError::NotLoaded);
        };
        let link = match hook {
            Hook::Tcx => program.attach_with_options(
                interface,
                direction,
                TcAttachOptions::TcxOrder(LinkOrder::first()),
            )?,
            Hook::Clsact => {
                // Where there is none yet: for an instant the kernel takes the interface's transmit queues out of
                // service, whoever adds a clsact qdisc, and a packet to the pod can be lost just then.
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
                    // We hold the instance's lock, so this is what a killed predecessor left: its program is replaced
                    // in place, no packet passes unseen.
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

    fn name(&self, ifindex: Ifindex) -> Option<String> {
        netdevice::index_to_name(&self.names, ifindex.0).ok()
    }

    /// Whether the clsact filter at our place holds our program.
    async fn is_ours(&mut self, ifindex: Ifindex, name: &'static str) -> bool {
        let Some(id) = program(&mut self.programs, name)
            .ok()
            .and_then(|program| program.info().ok())
            .map(|info| info.id())
        else {
            return false;
        };
        let filters = self.netlink.traffic_filter(ifindex.0.cast_signed()).get();
        let filters = if name == FROM_POD {
            filters.ingress()
        } else {
            filters.egress()
        };
        let mut filters = std::pin::pin!(filters.execute());
        while let Ok(Some(filter)) = filters.try_next().await {
            let place = (filter.header.info >> 16) as u16;
            let handle = TcHandle::new(filter.header.handle.major, filter.header.handle.minor);
            let holds = |option: &TcOption| matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgId(found)) if *found == id);
            let ours = filter.attributes.iter().any(|attribute| match attribute {
                TcAttribute::Options(options) => options.iter().any(holds),
                _ => false,
            });
            if place == PRIORITY && handle == self.handle && ours {
                return true;
            }
        }
        false
    }
}

/// The same for every run of an instance, different for two instances: FNV-1a, 32 bits. The highest bit stays clear and
/// the lowest set, so it is a handle that a filter can have.
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
    fn an_instance_has_one_handle_and_two_instances_have_two() {
        assert_eq!(handle("default"), handle("default"));
        assert_ne!(handle("default"), handle("second"));
        assert_ne!(u32::from(handle("default")), 0);
    }
}
