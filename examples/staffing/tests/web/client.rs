//! A client that says what was answered, and bears no failure of the service.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Somebody at one instance.
#[derive(Clone)]
pub(crate) struct Client {
    at: String,
    cookie: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn new(at: &str) -> Self {
        Self { at: at.to_owned(), cookie: None }
    }

    pub(crate) fn with_cookie(self, cookie: String) -> Self {
        Self { cookie: Some(cookie), ..self }
    }

    /// The same user at another instance.
    pub(crate) fn at(&self, instance: &crate::world::Instance) -> Self {
        Self { at: instance.at().to_owned(), cookie: self.cookie.clone() }
    }

    pub(crate) fn cookie(&self) -> &str {
        self.cookie.as_deref().unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, sent: &Value) -> Reply {
        self.send("POST", path, &["Content-Type: application/json"], &sent.to_string()).await
    }

    pub(crate) async fn form(&self, path: &str, sent: &str) -> Reply {
        self.send("POST", path, &["Content-Type: application/x-www-form-urlencoded"], sent).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        let mut connection = self.open(method, path, headers, body).await;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.expect("an answer");
        let reply = Reply::read(&String::from_utf8_lossy(&answer));
        assert!(reply.status < 500, "{method} {path} at {}: {reply:?}", self.at);
        reply
    }

    /// A connection on which an answer comes.
    pub(crate) async fn open(&self, method: &str, path: &str, headers: &[&str], body: &str) -> TcpStream {
        let mut connection = TcpStream::connect(&self.at).await.expect("it listens");
        let mut lines =
            vec![format!("{method} {path} HTTP/1.1"), format!("Host: {}", self.at), "Connection: close".into()];
        lines.extend(headers.iter().map(ToString::to_string));
        lines.extend(self.cookie.iter().map(|cookie| format!("Cookie: {cookie}")));
        if !body.is_empty() {
            lines.push(format!("Content-Length: {}", body.len()));
        }
        let head = lines.join("\r\n");
        connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.expect("sent");
        connection
    }
}

impl Reply {
    fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value)
    }

    /// What a browser would send from now on.
    pub(crate) fn cookie(&self) -> Option<String> {
        self.headers.get("set-cookie").and_then(|line| Some(line.split(';').next()?.to_owned()))
    }
}
