//! The server: a real Redis of its own, with the simulation's clock.
//!
//! Requests reach it as the instances sent them. Some things are changed on the way, each so that a run can be repeated:
//! scripts see the simulation's time (`clock.lua`), `SCAN` walks the keys in an order that follows from the seed rather than
//! from this server's random hash, in pages of a few keys, and a script that is to be a mutant is altered as it is loaded. What is published does not go
//! through this server: it is handed to the network, which takes it to those who have subscribed.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use sha1::{Digest as _, Sha1};
use test_support::RedisServer;

use crate::{mutants::Alteration, resp};

const CLOCK: &str = include_str!("clock.lua");
const TICK: &str = include_str!("tick.lua");

/// The keys of the instances, and not those of the simulation.
const OURS: &str = "app:*";

/// Where scripts leave what they publish: channel and message in turn.
const PUBLISHED: &str = "sim:published";

/// There while scripts may not publish.
const MUTE: &str = "sim:mute";

/// The namespace that instances use.
pub(crate) const APP: &str = "app";

/// A real Redis.
pub(crate) struct Server {
    _process: RedisServer,
    stream: TcpStream,
    unread: Vec<u8>,
    tick: String,
    /// The product's scripts by file name.
    names: Vec<(String, String)>,
    /// By the digest that instances use: the script as it is here, and its name.
    scripts: HashMap<Vec<u8>, (String, String)>,
    /// What has been loaded in this life of the server.
    loaded: HashSet<Vec<u8>>,
    alterations: Vec<Alteration>,
    glob_spares_leases: bool,
    real_scan: bool,
    seed: u64,
    dump: Vec<(Vec<u8>, Vec<u8>)>,
    published: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Server {
    /// Starts one. `None` where there is no `redis-server`.
    pub(crate) fn start() -> Option<Self> {
        let process = RedisServer::own()?;
        let stream = TcpStream::connect(("127.0.0.1", process.port())).expect("the server was waited for");
        stream.set_nodelay(true).expect("a socket can be told not to wait");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cache-redis/src/script");
        let names = std::fs::read_dir(folder)
            .expect("the scripts lie there")
            .filter_map(|file| {
                let path = file.ok()?.path();
                let name = path.file_stem()?.to_str()?.to_owned();
                Some((name, std::fs::read_to_string(&path).ok()?))
            })
            .collect();
        let mut server = Self {
            _process: process,
            stream,
            unread: Vec::new(),
            tick: String::new(),
            names,
            scripts: HashMap::new(),
            loaded: HashSet::new(),
            alterations: Vec::new(),
            glob_spares_leases: false,
            real_scan: false,
            seed: 0,
            dump: Vec::new(),
            published: Vec::new(),
        };
        server.tick = server.load(TICK);
        Some(server)
    }

    /// Makes it an empty server for a new run.
    pub(crate) fn begin(&mut self, seed: u64, alterations: Vec<Alteration>, spares: bool, real_scan: bool) {
        self.alterations = alterations;
        self.glob_spares_leases = spares;
        self.real_scan = real_scan;
        self.seed = seed;
        self.scripts.clear();
        self.loaded.clear();
        self.dump.clear();
        self.flush();
    }

    /// Executes one request at a time of the simulation. Returns the reply.
    pub(crate) fn execute(&mut self, request: &[u8], now: u64) -> Vec<u8> {
        let arguments = resp::strings(request);
        match arguments[0] {
            b"SCRIPT" => self.load_for(arguments[2]),
            b"EVALSHA" => {
                let Some((digest, name)) =
                    self.scripts.get(arguments[1]).filter(|_| self.loaded.contains(arguments[1]))
                else {
                    return b"-NOSCRIPT No matching script.\r\n".to_vec();
                };
                let (digest, publishes) = (digest.clone(), name == "announce");
                let mut arguments = arguments;
                arguments[1] = digest.as_bytes();
                let reply = self.ask_at(now, &resp::request(&arguments));
                if publishes {
                    self.note_published();
                }
                reply
            }
            b"PUBLISH" => {
                self.published.push((arguments[1].to_vec(), arguments[2].to_vec()));
                b":0\r\n".to_vec()
            }
            b"SCAN" if self.real_scan => {
                let mut arguments = arguments;
                if let Some(count) = arguments.last_mut() {
                    *count = b"2";
                }
                self.ask_at(now, &resp::request(&arguments))
            }
            b"SCAN" => self.scan(arguments[1], arguments[3], now),
            b"HELLO" | b"CLIENT" => self.ask(request),
            _ => self.ask_at(now, request),
        }
    }

    /// What was published since this was last asked, by channel.
    pub(crate) fn take_published(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        std::mem::take(&mut self.published)
    }

    fn note_published(&mut self) {
        let reply = self.ask(&resp::request(&["LRANGE", PUBLISHED, "0", "-1"]));
        let texts: Vec<Vec<u8>> = resp::strings(&reply).into_iter().map(<[u8]>::to_vec).collect();
        self.published.extend(texts.chunks_exact(2).map(|two| (two[0].clone(), two[1].clone())));
        self.ask(&resp::request(&["UNLINK", PUBLISHED]));
    }

    /// What a request does, in a word.
    pub(crate) fn name_of(&self, request: &[u8]) -> String {
        let arguments = resp::strings(request);
        match arguments[0] {
            b"EVALSHA" => self.scripts.get(arguments[1]).map_or("?".to_owned(), |(_, name)| name.clone()),
            other => String::from_utf8_lossy(other).into_owned(),
        }
    }

    /// Loses everything.
    pub(crate) fn flush(&mut self) {
        self.ask(&resp::request(&["FLUSHALL"]));
    }

    /// The keys of the instances, in an order that follows from the seed.
    pub(crate) fn keys(&mut self) -> Vec<Vec<u8>> {
        let reply = self.ask(&resp::request(&["KEYS", OURS]));
        let mut keys: Vec<Vec<u8>> = resp::strings(&reply).into_iter().map(<[u8]>::to_vec).collect();
        keys.sort();
        keys
    }

    /// Knows no script any more.
    pub(crate) fn forget_scripts(&mut self) {
        self.loaded.clear();
    }

    /// Whether scripts may publish.
    pub(crate) fn mute(&mut self, is_mute: bool) {
        let request: &[&str] = if is_mute { &["SET", MUTE, "1"] } else { &["UNLINK", MUTE] };
        self.ask(&resp::request(request));
    }

    /// Removes one key.
    pub(crate) fn evict(&mut self, key: &[u8]) {
        self.ask(&resp::request(&[b"UNLINK", key]));
    }

    /// The first byte of what lies there.
    pub(crate) fn kind(&mut self, key: &[u8]) -> Option<u8> {
        let reply = self.ask(&resp::request(&[b"GETRANGE", key, b"0", b"0"]));
        resp::body(&reply).first().copied()
    }

    /// Writes everything down.
    pub(crate) fn save(&mut self) {
        let mut keys = self.keys();
        keys.push(b"sim:due".to_vec());
        self.dump = keys
            .into_iter()
            .map(|key| {
                let reply = self.ask(&resp::request(&[b"DUMP", &key[..]]));
                let dump = resp::body(&reply).to_vec();
                (key, dump)
            })
            .filter(|(_, dump)| !dump.is_empty())
            .collect();
    }

    /// Restarts: another incarnation, with the data as they are or as they were written down.
    pub(crate) fn restart(&mut self, from_dump: bool) {
        if from_dump {
            self.flush();
            for (key, dump) in std::mem::take(&mut self.dump) {
                let reply = self.ask(&resp::request(&[b"RESTORE", &key[..], b"0", &dump[..]]));
                assert_eq!(reply, b"+OK\r\n", "a dump can be restored: {}", String::from_utf8_lossy(&reply));
                self.dump.push((key, dump));
            }
        }
        let reply = self.ask(&resp::request(&["DEBUG", "CHANGE-REPL-ID"]));
        assert_eq!(reply, b"+OK\r\n", "{}", String::from_utf8_lossy(&reply));
        self.loaded.clear();
    }

    /// One page of a walk over the keys: every key that is there from the walk's beginning to its end is in one of them.
    fn scan(&mut self, cursor: &[u8], pattern: &[u8], now: u64) -> Vec<u8> {
        let cursor: u64 = std::str::from_utf8(cursor).ok().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let reply = self.ask_at(now, &resp::request(&[b"KEYS", pattern]));
        let mut keys: Vec<(u64, &[u8])> =
            resp::strings(&reply).into_iter().map(|key| (self.position(key), key)).collect();
        keys.retain(|(at, _)| *at >= cursor);
        keys.sort_unstable();
        let page = keys.len().min(2);
        let next = keys.get(page).map_or(0, |(at, _)| *at);
        let mut found: Vec<Vec<u8>> = keys[..page].iter().map(|(_, key)| key.to_vec()).collect();
        if self.glob_spares_leases {
            found.retain(|key| self.kind(key) != Some(b'L'));
        }
        let mut reply = b"*2\r\n".to_vec();
        resp::push_string(&mut reply, next.to_string().as_bytes());
        reply.extend_from_slice(&resp::request(&found));
        reply
    }

    fn position(&self, key: &[u8]) -> u64 {
        let hash = Sha1::new().chain_update(self.seed.to_le_bytes()).chain_update(key).finalize();
        let first: [u8; 8] = std::array::from_fn(|index| hash[index]);
        (u64::from_le_bytes(first) >> 1).max(1)
    }

    /// Loads a script of an instance, in its altered form, and answers with the digest of what was asked for.
    fn load_for(&mut self, source: &[u8]) -> Vec<u8> {
        let digest = hex(&Sha1::digest(source));
        if !self.scripts.contains_key(digest.as_bytes()) {
            let source = String::from_utf8(source.to_vec()).expect("our scripts are text");
            let name = self.names.iter().find(|(_, text)| source.ends_with(text.as_str()));
            let name = name.map_or("?".to_owned(), |(name, _)| name.clone());
            let mut altered = source;
            for alteration in self.alterations.iter().filter(|alteration| alteration.script == name) {
                assert!(altered.contains(alteration.from), "{name}.lua has changed: a mutant does nothing");
                altered = altered.replace(alteration.from, alteration.to);
            }
            let here = self.load(&[CLOCK, &altered].concat());
            self.scripts.insert(digest.clone().into_bytes(), (here, name));
        }
        self.loaded.insert(digest.clone().into_bytes());
        let mut reply = Vec::new();
        resp::push_string(&mut reply, digest.as_bytes());
        reply
    }

    fn load(&mut self, source: &str) -> String {
        let reply = self.ask(&resp::request(&["SCRIPT", "LOAD", source]));
        assert_eq!(reply[0], b'$', "{}", String::from_utf8_lossy(&reply));
        String::from_utf8_lossy(resp::body(&reply)).into_owned()
    }

    /// Moves the clock, then asks.
    fn ask_at(&mut self, now: u64, request: &[u8]) -> Vec<u8> {
        let mut both = resp::request(&["EVALSHA", &self.tick, "0", &now.to_string()]);
        both.extend_from_slice(request);
        self.stream.write_all(&both).expect("Redis reads");
        let ticked = self.reply();
        assert_eq!(ticked, b":1\r\n", "{}", String::from_utf8_lossy(&ticked));
        self.reply()
    }

    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.stream.write_all(request).expect("Redis reads");
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) = resp::frame_len(&self.unread) {
                let rest = self.unread.split_off(length);
                return std::mem::replace(&mut self.unread, rest);
            }
            let mut some = [0; 16 << 10];
            let count = self.stream.read(&mut some).expect("Redis answers");
            assert!(count > 0, "Redis is there for as long as the simulation");
            self.unread.extend_from_slice(&some[..count]);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(40), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String succeeds");
        text
    })
}
