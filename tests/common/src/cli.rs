//! Commands over a connection of their own, as `redis-cli` would run them.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use crate::redis::URL_VARIABLE;

/// Runs a command as `redis-cli` would, and returns the raw reply; a bulk reply without its frame. Not over TLS.
///
/// # Panics
///
/// If the server does not answer, or refuses the password.
pub fn cli(url: &str, arguments: &[&str]) -> String {
    try_cli(url, arguments).expect("Redis answers")
}

/// The same for a server that may not answer.
///
/// # Errors
///
/// If it does not, within 5 s.
///
/// # Panics
///
/// If it refuses the password.
pub fn try_cli(url: &str, arguments: &[&str]) -> io::Result<String> {
    Connection::open(url, Duration::from_secs(5))?.ask(arguments)
}

/// The strings in a raw reply that is an array, nested or not, in their order.
pub fn strings(reply: &str) -> Vec<&str> {
    let mut lines = reply.split("\r\n");
    let mut strings = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            strings.extend(lines.next());
        }
    }
    strings
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects. Any reply that takes longer than `patience` is an error.
    ///
    /// # Errors
    ///
    /// If the server is not there.
    ///
    /// # Panics
    ///
    /// If it refuses the password.
    pub fn open(url: &str, patience: Duration) -> io::Result<Self> {
        let (address, rest) = split(url);
        let (user, path) = rest.split_once("{}/").expect("it stands between both");
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience))?;
        let mut connection = Self(BufReader::new(stream));
        let mut prepare = |arguments: &[&str]| {
            let reply = connection.ask(arguments)?;
            assert_eq!(reply, "+OK", "Redis refused {url}");
            io::Result::Ok(())
        };
        if let Some((user, password)) = user.trim_end_matches('@').split_once(':') {
            prepare(&["AUTH", if user.is_empty() { "default" } else { user }, password])?;
        }
        if !path.is_empty() {
            prepare(&["SELECT", path])?;
        }
        Ok(connection)
    }

    /// Runs a command, and returns the raw reply; a bulk reply without its frame.
    ///
    /// # Errors
    ///
    /// If there is none. The connection is of no use then.
    pub fn ask(&mut self, arguments: &[&str]) -> io::Result<String> {
        let mut request = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            write!(request, "${}\r\n{argument}\r\n", argument.len()).expect("writing to a String succeeds");
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        self.read(&mut reply)?;
        let reply = String::from_utf8_lossy(&reply);
        let reply = reply.trim_end_matches("\r\n");
        Ok(match reply.strip_prefix('$').and_then(|bulk| bulk.split_once("\r\n")) {
            Some((_, bulk)) => bulk.to_owned(),
            None => reply.to_owned(),
        })
    }

    /// Adds the next reply as it comes, with all that is nested in it.
    fn read(&mut self, reply: &mut Vec<u8>) -> io::Result<()> {
        let from = reply.len();
        if self.0.read_until(b'\n', reply)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&reply[from..]).trim_end().to_owned();
        let (kind, length) = line.split_at(1);
        match (kind, length.parse::<u64>()) {
            ("$", Ok(length)) => {
                let read = self.0.by_ref().take(length + 2).read_to_end(reply)?;
                if read as u64 != length + 2 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            ("*", Ok(length)) => (0..length).try_for_each(|_| self.read(reply))?,
            _ => {}
        }
        Ok(())
    }
}

/// The address in a URL, and the rest of it without scheme, with `{}` where the address was.
pub(crate) fn split(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("redis://").unwrap_or_else(|| panic!("{URL_VARIABLE} has to begin with redis://"));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
    let address = with_port.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = address.unwrap_or_else(|| panic!("the host in {URL_VARIABLE} cannot be found"));
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    (address, format!("{user}{{}}/{path}"))
}
