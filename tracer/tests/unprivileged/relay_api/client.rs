//! A client of the relay: HTTP/1.0 by hand over TLS, so that nothing of the relay's own stack reads its
//! answers.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use prost::Message as _;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracer::stream::proto::{ObserveRequest, RelayedResponse};

use super::relay::within;

/// What `kubectl get` accepts.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A client with or without a certificate.
pub struct Client {
    pub address: SocketAddr,
    pub config: Arc<ClientConfig>,
}

/// A whole answer.
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

/// An answer that is read as it comes.
pub struct Open {
    stream: BufReader<TlsStream<TcpStream>>,
}

impl Client {
    pub async fn get(&self, path: &str, user: &str, accept: &str) -> Answer {
        self.send("GET", path, user, accept).await
    }

    pub async fn send(&self, method: &str, path: &str, user: &str, accept: &str) -> Answer {
        let (code, head, mut open) = self.request(method, path, user, accept).await;
        let mut body = Vec::new();
        // The relay may close without TLS's goodbye.
        let _ = within(open.stream.read_to_end(&mut body)).await;
        Answer { code, head, body }
    }

    pub async fn open(&self, path: &str, user: &str, accept: &str) -> Open {
        let (code, _, mut open) = self.request("GET", path, user, accept).await;
        if code != 200 {
            panic!("{path}: {code} {}", open.rest().await);
        }
        open
    }

    fn native(path: &str, request: &ObserveRequest) -> String {
        let encoded = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(request.encode_to_vec());
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}request={encoded}")
    }

    /// All frames of an answer that ends.
    pub async fn frames(
        &self,
        path: &str,
        request: &ObserveRequest,
        user: &str,
    ) -> Vec<RelayedResponse> {
        let path = Client::native(path, request);
        let answer = self.get(&path, user, tracer::relay::api::NATIVE).await;
        assert_eq!(answer.code, 200, "{}", answer.text());
        let mut rest = answer.body.as_slice();
        let mut frames = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let (frame, more) = more.split_at(u32::from_be_bytes(*length) as usize);
            frames.push(RelayedResponse::decode(frame).expect("a message"));
            rest = more;
        }
        assert!(rest.is_empty());
        frames
    }

    pub async fn open_frames(&self, path: &str, request: &ObserveRequest, user: &str) -> Open {
        let path = Client::native(path, request);
        self.open(&path, user, tracer::relay::api::NATIVE).await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        user: &str,
        accept: &str,
    ) -> (u16, String, Open) {
        let name = "relay.test".try_into().expect("a name");
        let stream = within(TcpStream::connect(self.address)).await;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = within(connector.connect(name, stream.expect("connected"))).await;
        let mut stream = BufReader::new(stream.expect("a handshake"));
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: relay.test\r\n");
        for (header, value) in [("X-Remote-User", user), ("Accept", accept)] {
            if !value.is_empty() {
                request.push_str(&format!("{header}: {value}\r\n"));
            }
        }
        request.push_str("\r\n");
        within(stream.write_all(request.as_bytes()))
            .await
            .expect("sent");
        within(stream.flush()).await.expect("sent");
        let mut head = String::new();
        loop {
            let mut line = String::new();
            within(stream.read_line(&mut line)).await.expect("a head");
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.expect("a code"), head, Open { stream })
    }
}

impl Open {
    /// The next event of a watch.
    pub async fn event(&mut self) -> Value {
        let mut line = String::new();
        within(self.stream.read_line(&mut line))
            .await
            .expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no event: {line:?}"))
    }

    /// The next frame.
    pub async fn frame(&mut self) -> RelayedResponse {
        let length = within(self.stream.read_u32()).await.expect("a length");
        let mut frame = vec![0; length as usize];
        within(self.stream.read_exact(&mut frame))
            .await
            .expect("a frame");
        RelayedResponse::decode(frame.as_slice()).expect("a message")
    }

    /// What is left.
    pub async fn rest(&mut self) -> String {
        let mut rest = String::new();
        let _ = within(self.stream.read_to_string(&mut rest)).await;
        rest
    }
}
