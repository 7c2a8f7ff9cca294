//! What the programs at the node's uplink cost each packet that the node forwards, by kind and direction: the kernel's
//! account of them, less that of an empty program behind them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::bed::{Bed, SERVER};
use super::delay::pod_socket;
use super::empty::{Empty, Runs, Statistics, runs_of_program};
use super::sources::start_on;
use super::tool::{Output, Programs};
use crate::lab::shell::run;

/// The node's device on the link to the server.
const UPLINK: &str = "vs";
/// Questions on their way.
const BATCH: usize = 16;
/// A question for `ns.cluster.local`, with its id, flags and counts.
const QUESTION: &[u8] =
    b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ns\x07cluster\x05local\x00\x00\x01\x00\x01";
const PATIENCE: Duration = Duration::from_secs(1);

/// Nanoseconds over an empty program, for each packet.
#[derive(Clone, Copy, Debug)]
pub struct Uplink {
    /// TCP data of a pod, on its way out.
    pub out_ns: f64,
    /// TCP data to the pod's address.
    pub in_ns: f64,
    /// The same to the node's address: the pod is masqueraded, and the kernel translates behind the program.
    pub masqueraded_ns: f64,
    /// DNS answers to a pod's address.
    pub dns_ns: f64,
}

/// Measures it. The bed has a pod.
pub(super) fn uplink(bed: &Bed, programs: &Programs, lasts: Duration) -> Result<Uplink> {
    let masquerade = format!(
        "table ip bench_uplink {{
chain translates {{ type nat hook postrouting priority 100; oifname {UPLINK} masquerade; }}
}}"
    );
    let on_node = |argv: &[&str]| run(&mut bed.command("node", "load", argv)?);
    with_uplink(bed, || {
        let [out_ns, in_ns] = cost(bed, programs, || talk(bed, lasts))?;
        let [_, dns_ns] = cost(bed, programs, || ask(bed, lasts))?;
        on_node(&["nft", &masquerade])?;
        let masqueraded = cost(bed, programs, || talk(bed, lasts));
        on_node(&["nft", "delete", "table", "ip", "bench_uplink"])?;
        let [_, masqueraded_ns] = masqueraded?;
        Ok(Uplink {
            out_ns,
            in_ns,
            masqueraded_ns,
            dns_ns,
        })
    })
}

/// Makes the device an uplink meanwhile: the tracer takes that of a default route.
pub(super) fn with_uplink<T>(bed: &Bed, measure: impl FnOnce() -> Result<T>) -> Result<T> {
    let server = SERVER.to_string();
    let route = |change| {
        let argv = [
            "ip", "route", change, "default", "via", &server, "dev", UPLINK,
        ];
        run(&mut bed.command("node", "load", &argv)?)
    };
    route("add")?;
    let measured = measure();
    route("delete")?;
    measured
}

/// Nanoseconds of the program that sees what leaves, and of the one that sees what arrives.
fn cost(bed: &Bed, programs: &Programs, traffic: impl FnOnce() -> Result<()>) -> Result<[f64; 2]> {
    let _statistics = Statistics::enable()?;
    let empty = Empty::attach(bed, UPLINK)?;
    let (running, pid) = start_on(bed, programs, Output::Json, UPLINK)?;
    let read = || -> Result<[Runs; 4]> {
        let [arriving, leaving] = empty.runs_by_hook()?;
        let of = |name| runs_of_program(pid, name);
        Ok([of("from_node")?, leaving, of("to_node")?, arriving])
    };
    let before = read()?;
    traffic()?;
    let after = read()?;
    running.stop(bed)?;
    let mean = |at: usize| {
        let runs = after[at].since(before[at]);
        runs.mean().context("the program did not run")
    };
    Ok([mean(0)? - mean(1)?, mean(2)? - mean(3)?])
}

/// A byte to the server and one back, in turns. Bulk data would come in few packets, and displace the programs from the
/// CPU's caches in between: that shows the caches' cost, and differs by half from run to run.
fn talk(bed: &Bed, lasts: Duration) -> Result<()> {
    let listener = bed.within("server", || Ok(TcpListener::bind((SERVER, 0))?))?;
    let port = listener.local_addr()?.port();
    let client = bed.within("client", || Ok(TcpStream::connect((SERVER, port))?))?;
    let (server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    thread::scope(|scope| {
        let serving = scope.spawn(|| -> Result<()> {
            let mut byte = [0];
            while (&server).read(&mut byte)? > 0 {
                (&server).write_all(&byte)?;
            }
            Ok(())
        });
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            (&client).write_all(&[0])?;
            (&client).read_exact(&mut [0])?;
        }
        client.shutdown(std::net::Shutdown::Write)?;
        serving.join().map_err(|_| anyhow!("the server panicked"))?
    })
}

/// Asks the server and waits for its answers.
fn ask(bed: &Bed, lasts: Duration) -> Result<()> {
    let socket: UdpSocket = pod_socket(bed, 0)?;
    socket.connect((SERVER, 53))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        for _ in 0..BATCH {
            socket.send(QUESTION)?;
        }
        for _ in 0..BATCH {
            socket.recv(&mut [0; 512]).context("no answer")?;
        }
    }
    Ok(())
}
