//! Asks the kernel for the id that this network namespace has for another one: the number in a veth's
//! `IFLA_LINK_NETNSID` for the namespace of its peer.
//!
//! One RTM_GETNSID request with NETNSA_PID per process. It needs no capability. The process id is that of the
//! caller's PID namespace.

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

/// The kernel replies at once; the timeout keeps a lost reply from blocking the thread.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The id of a network namespace in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub i32);

/// A socket in the network namespace whose ids it returns: that of the thread that opened it.
#[derive(Debug)]
pub struct NetnsIds {
    socket: OwnedFd,
    sequence: u32,
}

impl NetnsIds {
    /// Opens the socket.
    pub fn open() -> io::Result<NetnsIds> {
        // `None` is protocol 0, which is NETLINK_ROUTE.
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
        Ok(NetnsIds {
            socket,
            sequence: 0,
        })
    }

    /// The id of a process's network namespace. `None` if no link leads there: this namespace itself, and
    /// those without a veth to this one. `ESRCH` means that the process has exited.
    pub fn for_process(&mut self, pid: u32) -> io::Result<Option<NetnsId>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NsidMessage::default();
        request.attributes.push(NsidAttribute::Pid(pid));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(request));
        request.header.flags = NLM_F_REQUEST;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        sendto(
            &self.socket,
            &bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        loop {
            let mut buffer = [0; 1024];
            let (read, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer[..read])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // A late reply to an earlier request.
            if reply.header.sequence_number != self.sequence {
                continue;
            }
            return match reply.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(reply)) => {
                    let id = reply
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
