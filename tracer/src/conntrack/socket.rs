//! A netlink socket to the kernel's netfilter, and requests over it. Never blocks: the kernel answers a request
//! while it is sent or received.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{DefaultNla, Emitable as _, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

use super::ConntrackError;
use super::message::{self, Message, NFGEN_BYTES};

/// `struct nlmsghdr`.
pub(super) const HEADER_BYTES: usize = 16;
/// The kernel sends dumps in parts of at most 32 KiB.
const RECEIVE_BYTES: usize = 64 << 10;

/// A socket and its buffer.
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket that also receives these groups of messages, one bit each.
    pub fn open(groups: u32) -> Result<Socket, ConntrackError> {
        let failed = |operation| {
            move |error: rustix::io::Errno| ConntrackError::System {
                operation,
                source: error.into(),
            }
        };
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(NETFILTER),
        )
        .map_err(failed("open a netlink socket"))?;
        bind(&socket, &SocketAddrNetlink::new(0, groups))
            .map_err(failed("subscribe to conntrack events"))?;
        Ok(Socket {
            socket,
            buffer: vec![0; RECEIVE_BYTES],
        })
    }

    /// The next datagram's messages; `None` if none is waiting.
    pub fn receive(&mut self) -> io::Result<Option<Vec<Message>>> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            match recv(&self.socket, &mut *self.buffer, flags) {
                Ok((_, length)) => {
                    let datagram = self.buffer.get(..length);
                    // A datagram that is longer than the buffer was cut.
                    return Ok(Some(
                        datagram.map_or_else(|| vec![Message::Unreadable], message::messages),
                    ));
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks for all objects of a kind.
    pub fn dump(&mut self, kind: u8, attributes: &[DefaultNla]) -> io::Result<()> {
        self.request(kind, NLM_F_REQUEST | NLM_F_DUMP, attributes)
    }

    /// Asks for one object.
    pub fn get(&mut self, kind: u8) -> io::Result<()> {
        self.request(kind, NLM_F_REQUEST, &[])
    }

    fn request(&mut self, kind: u8, flags: u16, attributes: &[DefaultNla]) -> io::Result<()> {
        let header = HEADER_BYTES + NFGEN_BYTES;
        let length = header + attributes.buffer_len();
        // All zeros is the header's family "unspecified", version 0, resource 0.
        let mut bytes = vec![0; length];
        attributes.emit(&mut bytes[header..]);
        let mut message = NetlinkBuffer::new(&mut bytes);
        message.set_length(u32::try_from(length).unwrap_or(u32::MAX));
        message.set_message_type(message::request_type(kind));
        message.set_flags(flags);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &bytes, SendFlags::empty(), &kernel)?;
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
