//! The first two messages of a connection between an agent and a relay, which decide whether it continues.
//!
//! Each message follows its length, 4 bytes in network byte order. Any host can connect to a relay, so a length
//! above the limit ends the connection before anything is allocated.

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Size limit of a message. A service account token has one to two KiB.
const MAX_BYTES: usize = 64 * 1024;

/// Writes one message.
///
/// # Errors
/// If the peer is gone or the message exceeds the limit.
pub async fn write(peer: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len())
        .ok()
        .filter(|_| encoded.len() <= MAX_BYTES)
        .ok_or_else(too_long)?;
    let mut framed = Vec::with_capacity(4 + encoded.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&encoded);
    peer.write_all(&framed).await?;
    peer.flush().await
}

/// Reads one message.
///
/// # Errors
/// If the peer is gone, or what it sent is not this message.
pub async fn read<M: Message + Default>(peer: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let length = usize::try_from(peer.read_u32().await?)
        .ok()
        .filter(|length| *length <= MAX_BYTES)
        .ok_or_else(too_long)?;
    let mut encoded = vec![0; length];
    peer.read_exact(&mut encoded).await?;
    M::decode(&*encoded).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn too_long() -> io::Error {
    let why = format!("a first message of more than {MAX_BYTES} bytes");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::proto::{Hello, Welcome};

    #[tokio::test]
    async fn a_message_arrives_as_it_was_sent() {
        let (mut one, mut other) = tokio::io::duplex(64);
        let hello = Hello {
            token: "t".repeat(1000),
            ..Hello::default()
        };
        let sent = hello.clone();
        let writing = tokio::spawn(async move { write(&mut one, &sent).await });
        assert_eq!(read::<Hello>(&mut other).await.expect("read"), hello);
        writing.await.expect("no panic").expect("written");
    }

    #[tokio::test]
    async fn other_protocols_and_long_messages_are_errors() {
        for sent in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0, 1, 0, 1],
            &[0, 0, 0, 9, 1],
            &[0, 0, 0, 2, 255, 255],
        ] {
            let (mut one, mut other) = tokio::io::duplex(64);
            one.write_all(sent).await.expect("written");
            drop(one);
            read::<Welcome>(&mut other)
                .await
                .expect_err("not a message");
        }
    }
}
