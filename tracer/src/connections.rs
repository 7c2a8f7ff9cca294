//! The open connections of a listener: how many there are, and when each must end.
//!
//! Any host can open a connection, so their number is limited for each peer address and in total. At the
//! limit, a new connection takes the place of the oldest one without a request (a TLS handshake or an
//! incomplete request is none), else of one whose peer has stopped reading: for a second, or at once if that
//! peer has more connections than the new one's. A peer with its full number replaces only its own. A
//! connection must bring a request, and its peer must read, within fixed times.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;

/// Pause after a failure to accept a connection, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A peer that has not read for this long has stopped reading. A large answer takes less.
const STOPPED_READING: Duration = Duration::from_secs(1);

/// The limits of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in total, at most.
    pub total: usize,
    /// Connections from one address, at most.
    pub per_peer: usize,
    /// From the connection to its first complete request, including the TLS handshake.
    pub first_request: Duration,
    /// How long a peer may leave an answer unread.
    pub unread: Duration,
}

/// The open connections of one listener.
#[derive(Clone, Debug)]
pub struct Connections {
    limits: Limits,
    open: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By age.
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    peer: IpAddr,
    activity: Activity,
    /// Dropped to close the connection.
    _close: oneshot::Sender<Infallible>,
}

/// What a connection is doing; shared with the services that answer its requests.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<State>);

#[derive(Debug, Default)]
struct State {
    answering: AtomicUsize,
    has_asked: AtomicBool,
    /// Since when the peer has not read what was sent.
    unread: Mutex<Option<Instant>>,
}

impl Activity {
    /// A request has arrived, and is being answered until the guard is dropped.
    pub fn answer(&self) -> Answering {
        self.0.has_asked.store(true, Ordering::Relaxed);
        self.0.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(&self.0))
    }

    fn is_answering(&self) -> bool {
        self.0.answering.load(Ordering::Relaxed) > 0
    }

    fn unread_for(&self) -> Option<Duration> {
        self.0.unread.lock().map(|since| since.elapsed())
    }
}

/// Marks a request that is being answered.
#[derive(Debug)]
pub struct Answering(Arc<State>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    /// No connections yet.
    pub fn new(limits: Limits) -> Connections {
        Connections {
            limits,
            open: Arc::default(),
        }
    }

    /// Accepts connections for ever.
    pub fn accept(
        self,
        listener: TcpListener,
    ) -> impl Stream<Item = Result<Connection<TcpStream>, Infallible>> + Send + Unpin {
        Box::pin(futures::stream::unfold(
            (self, listener),
            |(connections, listener)| async {
                // The connection before gets its turn first: one whose request has arrived already is in use by
                // then, and gives way to none that comes behind it.
                tokio::task::yield_now().await;
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => {
                            // Events are small and must not wait for each other.
                            let _ = stream.set_nodelay(true);
                            if let Some(connection) = connections.admit(stream, peer.ip()) {
                                return Some((Ok(connection), (connections, listener)));
                            }
                            tracing::debug!(%peer, "refused a connection: all others are in use");
                        }
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept a connection");
                            sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            },
        ))
    }

    /// Admits a connection; `None` if all others are in use.
    fn admit<Io>(&self, io: Io, peer: IpAddr) -> Option<Connection<Io>> {
        let peer = peer.to_canonical();
        let mut table = self.open.lock();
        let victim = table.victim(peer, &self.limits)?;
        if let Some(victim) = victim {
            table.open.remove(&victim);
        }
        let number = table.next;
        table.next += 1;
        let (close, closed) = oneshot::channel();
        let activity = Activity::default();
        table.open.insert(
            number,
            Open {
                peer,
                activity: activity.clone(),
                _close: close,
            },
        );
        Some(Connection {
            io,
            activity,
            end: End::Open(closed),
            first_request: Some(Box::pin(sleep(self.limits.first_request))),
            unread: None,
            unread_limit: self.limits.unread,
            _place: Place {
                table: Arc::clone(&self.open),
                number,
            },
        })
    }
}

impl Table {
    /// The connection that makes room for one of `peer`, if one has to; `None` if none can.
    fn victim(&self, peer: IpAddr, limits: &Limits) -> Option<Option<u64>> {
        let mut peers: HashMap<IpAddr, usize> = HashMap::new();
        for open in self.open.values() {
            *peers.entry(open.peer).or_default() += 1;
        }
        let held = |peer: IpAddr| peers.get(&peer).copied().unwrap_or_default();
        let own_only = held(peer) >= limits.per_peer;
        if !own_only && self.open.len() < limits.total {
            return Some(None);
        }
        let rank = |open: &Open| match open.activity.unread_for() {
            _ if own_only && open.peer != peer => None,
            _ if !open.activity.is_answering() => Some(0),
            Some(time) if time >= STOPPED_READING => Some(1),
            // Afterwards it still has as many as the new one's peer.
            Some(_) if held(open.peer) >= held(peer) + 2 => Some(2),
            _ => None,
        };
        let ranked = self
            .open
            .iter()
            .filter_map(|(number, open)| Some((rank(open)?, *number)));
        ranked.min().map(|(_, number)| Some(number))
    }
}

/// A place in the table, until the connection is dropped.
#[derive(Debug)]
struct Place {
    table: Arc<Mutex<Table>>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().open.remove(&self.number);
    }
}

#[derive(Debug)]
enum End {
    Open(oneshot::Receiver<Infallible>),
    MadeRoom,
    TimedOut,
}

/// A connection that fails where it has made room for another one, or has missed a deadline.
#[derive(Debug)]
pub struct Connection<Io> {
    io: Io,
    activity: Activity,
    end: End,
    first_request: Option<Pin<Box<Sleep>>>,
    /// Since the peer stopped reading.
    unread: Option<Pin<Box<Sleep>>>,
    unread_limit: Duration,
    _place: Place,
}

impl<Io> Connection<Io> {
    /// To mark the requests that are being answered.
    pub fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Fails once the connection has to end.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let End::Open(closed) = &mut self.end {
            let late = |timer: &mut Pin<Box<Sleep>>, context: &mut Context<'_>| {
                timer.as_mut().poll(context).is_ready()
            };
            if self.activity.0.has_asked.load(Ordering::Relaxed) {
                self.first_request = None;
            }
            if Pin::new(closed).poll(context).is_ready() {
                self.end = End::MadeRoom;
            } else if self
                .first_request
                .as_mut()
                .is_some_and(|timer| late(timer, context))
                || self
                    .unread
                    .as_mut()
                    .is_some_and(|timer| late(timer, context))
            {
                self.end = End::TimedOut;
            }
        }
        match self.end {
            End::Open(_) => Ok(()),
            End::MadeRoom => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "closed to make room for a new connection",
            )),
            End::TimedOut => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Remembers since when the peer has not read.
    fn wrote<T>(&mut self, context: &mut Context<'_>, result: Poll<T>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.unread = None;
            *self.activity.0.unread.lock() = None;
        } else if self.unread.is_none() {
            self.unread = Some(Box::pin(sleep(self.unread_limit)));
            *self.activity.0.unread.lock() = Some(Instant::now());
            // Registers for the wake-up at the deadline.
            self.check(context)?;
        }
        result.map(Ok)
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        Poll::Ready(ready!(self.wrote(context, written))?)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        Poll::Ready(ready!(self.wrote(context, written))?)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<Io> Connected for Connection<Io> {
    type ConnectInfo = Activity;

    fn connect_info(&self) -> Activity {
        self.activity()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LIMITS: Limits = Limits {
        total: 4,
        per_peer: 2,
        first_request: Duration::from_secs(3600),
        unread: Duration::from_secs(3600),
    };
    const SHORT: Duration = Duration::from_millis(20);

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    struct Listener(Connections);

    impl Listener {
        fn admit(&self, from: u8) -> Option<(Connection<DuplexStream>, DuplexStream)> {
            let (ours, theirs) = duplex(16);
            Some((self.0.admit(ours, peer(from))?, theirs))
        }
    }

    async fn is_closed(connection: &mut Connection<DuplexStream>) -> bool {
        let mut byte = [0];
        let read = futures::FutureExt::now_or_never(connection.read(&mut byte));
        matches!(read, Some(Err(_)))
    }

    #[tokio::test]
    async fn the_oldest_connection_without_a_request_gives_way() {
        let listener = Listener(Connections::new(LIMITS));
        let mut all: Vec<_> = (1..=4)
            .map(|from| listener.admit(from).expect("room"))
            .collect();
        let answering = all[0].0.activity().answer();
        let _fifth = listener.admit(5).expect("one is idle");
        let mut closed = Vec::new();
        for (connection, _) in &mut all {
            closed.push(is_closed(connection).await);
        }
        // The first one is being answered.
        assert_eq!(closed, [false, true, false, false]);
        drop(answering);
        let _sixth = listener.admit(6).expect("one is idle");
        assert!(is_closed(&mut all[0].0).await);
    }

    #[tokio::test]
    async fn a_peer_with_its_full_number_replaces_only_its_own_connections() {
        let listener = Listener(Connections::new(LIMITS));
        let mut other = listener.admit(1).expect("room");
        let mut own: Vec<_> = (0..10).map(|_| listener.admit(2).expect("room")).collect();
        assert!(!is_closed(&mut other.0).await);
        let mut open = 0;
        for (connection, _) in &mut own {
            open += usize::from(!is_closed(connection).await);
        }
        assert_eq!(open, LIMITS.per_peer);
        let _answering: Vec<_> = own.iter().map(|(it, _)| it.activity().answer()).collect();
        assert!(listener.admit(2).is_none(), "all of them are in use");
        assert!(listener.admit(3).is_some());
    }

    #[tokio::test]
    async fn places_are_free_again_when_connections_end() {
        let listener = Listener(Connections::new(LIMITS));
        for from in 0..100 {
            let (connection, _) = listener.admit(from).expect("room");
            drop(connection.activity().answer());
        }
        assert!(listener.0.open.lock().open.is_empty());
    }

    #[tokio::test]
    async fn a_connection_without_a_request_ends_at_the_deadline() {
        let listener = Listener(Connections::new(Limits {
            first_request: SHORT,
            ..LIMITS
        }));
        let started = Instant::now();
        let (mut connection, mut theirs) = listener.admit(1).expect("room");
        // Bytes alone are no request.
        theirs.write_all(b"GET /").await.expect("sent");
        let mut bytes = Vec::new();
        let error = connection.read_to_end(&mut bytes).await.expect_err("late");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(bytes, b"GET /");
        assert!(started.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn of_peers_that_do_not_read_the_one_with_most_connections_gives_way() {
        let listener = Listener(Connections::new(LIMITS));
        let mut all = Vec::new();
        for from in [1, 2, 2, 3] {
            let (mut connection, theirs) = listener.admit(from).expect("room");
            let answering = connection.activity().answer();
            let unread = futures::FutureExt::now_or_never(connection.write_all(&[0; 64]));
            assert!(unread.is_none());
            all.push((connection, theirs, answering));
        }
        assert!(
            listener.admit(3).is_none(),
            "no peer has more than this one would"
        );
        let _new = listener.admit(4).expect("a peer has two");
        let mut closed = Vec::new();
        for (connection, _, _) in &mut all {
            closed.push(is_closed(connection).await);
        }
        assert_eq!(closed, [false, true, false, false]);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_closed_at_the_deadline() {
        let listener = Listener(Connections::new(Limits {
            unread: SHORT,
            ..LIMITS
        }));
        let (mut connection, theirs) = listener.admit(1).expect("room");
        let _answering = connection.activity().answer();
        let started = Instant::now();
        let error = connection.write_all(&[0; 64]).await.expect_err("unread");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= SHORT);
        drop(theirs);
    }
}
