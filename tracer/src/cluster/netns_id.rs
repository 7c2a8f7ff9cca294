//! The id by which this network namespace knows another one: the same number that the kernel puts into a veth's
//! `IFLA_LINK_NETNSID` for the namespace of its peer.
//!
//! One question a process, over a socket of its own (RTM_GETNSID with NETNSA_PID). It needs no capability, but the process
//! id counts in the caller's process namespace.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// The kernel answers at once; this only keeps a lost answer from stopping everything.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a network namespace is known in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub i32);

/// A socket in the network namespace whose ids are asked for: the one that the thread was in that opened it.
#[derive(Debug)]
pub struct NetnsIds {
    socket: OwnedFd,
    sequence: u32,
}

impl NetnsIds {
    /// Opens it.
    pub fn open() -> io::Result<NetnsIds> {
        // No protocol is protocol 0, and that is NETLINK_ROUTE.
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(NetnsIds {
            socket,
            sequence: 0,
        })
    }

    /// The id of a process's network namespace; `None` where it has none, as nothing links to it from here: the
    /// namespace itself, and those of processes that no veth leads to. `ESRCH` is a process that is gone.
    pub fn of_process(&mut self, pid: u32) -> io::Result<Option<NetnsId>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Pid(pid));
        let mut question = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
        question.header.flags = NLM_F_REQUEST;
        question.header.sequence_number = self.sequence;
        question.finalize();
        let mut bytes = vec![0; question.buffer_len()];
        question.serialize(&mut bytes);
        sendto(
            &self.socket,
            &bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        loop {
            let mut buffer = [0; 1024];
            let (read, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer[..read])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // The answer to an earlier question that came too late.
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) => {
                    let id = answer
                        .attributes
                        .iter()
                        .find_map(|attribute| match attribute {
                            NsidAttribute::Id(id) if *id >= 0 => Some(NetnsId(*id)),
                            _ => None,
                        });
                    Ok(id)
                }
                NetlinkPayload::Error(error) => Err(error.to_io()),
                _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
            };
        }
    }
}
