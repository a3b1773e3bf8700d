//! A Redis of the test's own.
//!
//! A `redis-server` or `valkey-server` of the path, as a process on a free port of the loopback. Where there is neither
//! but `STALEPROOF_TEST_REDIS_URL` names a running one, a [`Proxy`] in front of that one stands for the process: its data
//! survive a kill then, and tests that need more than that say that they show nothing. Where there is nothing at all, the
//! test fails.

use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    Proxy,
    cli::{Connection, cli, split, try_cli},
    process::{Process, binary},
};

pub(crate) const URL_VARIABLE: &str = "STALEPROOF_TEST_REDIS_URL";

/// What kind of server to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The default user's password.
    pub password: Option<String>,
    /// Keeps every write across a restart.
    pub appendonly: bool,
    /// Certificate and key (PEM files): the port speaks TLS then.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// More arguments of the command line.
    pub arguments: Vec<String>,
    /// Keeps its settings in a file, which begins with these: for servers whose settings are rewritten while they run.
    pub settings: Option<String>,
    /// Commands that it is given whenever it has started.
    pub commands: Vec<Vec<String>>,
    /// Watches over servers instead of being one. It needs a file of [settings](Options::settings).
    pub is_sentinel: bool,
}

/// A Redis of the test's own, ended when dropped.
#[derive(Debug)]
pub struct RedisServer {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Process(Process),
    Proxied { proxy: Proxy, rest: String },
}

impl RedisServer {
    /// A server with nothing in it.
    pub fn start() -> Self {
        if let Some(binary) = binary() {
            return Self::process(binary, Options::default(), true);
        }
        let Ok(url) = env::var(URL_VARIABLE) else { nothing_there() };
        let (address, rest) = split(&url);
        Self { kind: Kind::Proxied { proxy: Proxy::start(address), rest } }
    }

    /// A server that nobody else uses, for tests that change settings of the whole server. `None`, with a line on the
    /// terminal, where only somebody else's is there: return then.
    pub fn own() -> Option<Self> {
        Self::own_with(Options::default())
    }

    /// A server of this kind that nobody else uses; see [`own`](RedisServer::own).
    pub fn own_with(options: Options) -> Option<Self> {
        let Some(binary) = binary() else {
            if env::var(URL_VARIABLE).is_err() {
                nothing_there();
            }
            let test = thread::current().name().unwrap_or("a test").to_owned();
            let line =
                format!("NOT SHOWN: {test} needs redis-server or valkey-server on the PATH; see ./scripts/test\n");
            // Not by a macro: the test harness would keep it to itself.
            io::stderr().write_all(line.as_bytes()).expect("there is a standard error");
            return None;
        };
        Some(Self::process(binary, options, true))
    }

    /// A server that is not there before [`run`](RedisServer::run), for tests of one that comes late.
    pub fn reserve() -> Self {
        if let Some(binary) = binary() {
            return Self::process(binary, Options::default(), false);
        }
        let mut server = Self::start();
        server.kill();
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        match &self.kind {
            Kind::Process(process) => process.url(),
            Kind::Proxied { proxy, rest } => url_at(proxy, rest),
        }
    }

    /// A proxy in front of it, and where it is through that.
    pub fn behind_proxy(&self) -> (Proxy, String) {
        let (address, rest) = split(&self.url());
        let proxy = Proxy::start(address);
        let url = url_at(&proxy, &rest);
        (proxy, url)
    }

    /// Runs a command as `redis-cli` would; see [`cli`].
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(&self.url(), arguments)
    }

    /// The same for a server that may not answer; see [`try_cli`].
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn try_cli(&self, arguments: &[&str]) -> io::Result<String> {
        try_cli(&self.url(), arguments)
    }

    /// Waits until so many replicas have everything that it has written so far, for at most this long. Returns whether they have.
    pub fn is_in_step(&self, replicas: usize, patience: Duration) -> bool {
        let wait = || {
            let mut connection = Connection::open(&self.url(), patience + Duration::from_secs(5))?;
            // WAIT is about what its own connection has seen written: of a new one, nothing.
            connection.ask(&["PING"])?;
            connection.ask(&["WAIT", &replicas.to_string(), &patience.as_millis().to_string()])
        };
        let reached = wait().expect("Redis answers");
        reached.trim_start_matches(':').parse::<usize>().is_ok_and(|reached| reached >= replicas)
    }

    /// Starts it for the first time, or after a [kill](RedisServer::kill).
    pub fn run(&mut self) {
        self.restart();
    }

    /// Its port on the loopback.
    pub fn port(&self) -> u16 {
        match &self.kind {
            Kind::Process(process) => process.port,
            Kind::Proxied { proxy, .. } => proxy.port(),
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port()).into()
    }

    /// The id of its process, if it is one and runs.
    pub fn pid(&self) -> Option<u32> {
        match &self.kind {
            Kind::Process(process) => process.child.as_ref().map(Child::id),
            Kind::Proxied { .. } => None,
        }
    }

    /// The folder of its files, if it is a process of the test's own.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Process(process) => Some(&process.folder),
            Kind::Proxied { .. } => None,
        }
    }

    /// Saves what it holds. It starts with this from now on, after a [kill](RedisServer::kill), however old it is by then.
    /// `false` if it cannot now, as while it saves for a replica.
    #[must_use = "nothing may be saved"]
    pub fn save(&self) -> bool {
        self.cli(&["SAVE"]) == "+OK"
    }

    /// Removes what it [saved](RedisServer::save), or a primary has sent: it starts with nothing in it.
    pub fn remove_dump(&self) {
        if let Some(folder) = self.folder() {
            // There may be none.
            drop(std::fs::remove_file(folder.join("dump.rdb")));
        }
    }

    /// Kills it, with no chance to save or to say goodbye.
    pub fn kill(&mut self) {
        match &mut self.kind {
            Kind::Process(process) => process.kill(),
            Kind::Proxied { proxy, .. } => proxy.cut(),
        }
    }

    /// Starts it again on the same port, after a [kill](RedisServer::kill) or none, and waits until it answers.
    pub fn restart(&mut self) {
        match &mut self.kind {
            Kind::Process(process) => {
                process.kill();
                process.spawn();
            }
            Kind::Proxied { proxy, .. } => {
                proxy.cut();
                proxy.resume();
            }
        }
    }

    /// Stops it where it is: connections stay open, nothing answers.
    pub fn stop(&self) {
        match &self.kind {
            Kind::Process(process) => process.stop(),
            Kind::Proxied { proxy, .. } => proxy.freeze(),
        }
    }

    /// Lets it go on after a [stop](RedisServer::stop).
    pub fn cont(&self) {
        match &self.kind {
            Kind::Process(process) => process.cont(),
            Kind::Proxied { proxy, .. } => proxy.resume(),
        }
    }

    /// Neither killed nor stopped.
    pub fn runs(&self) -> bool {
        match &self.kind {
            Kind::Process(process) => process.runs(),
            Kind::Proxied { .. } => true,
        }
    }

    fn process(binary: PathBuf, options: Options, run: bool) -> Self {
        let mut process = Process::new(binary, options);
        if run {
            process.spawn();
        }
        Self { kind: Kind::Process(process) }
    }
}

/// The URL of a Redis that the tests of this process share: that of the environment, or one of its own.
///
/// # Panics
///
/// If there is none.
pub fn shared_url() -> String {
    static SHARED: OnceLock<String> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            if let Ok(url) = env::var(URL_VARIABLE) {
                return url;
            }
            let mut server = RedisServer::start();
            let url = server.url();
            if let Kind::Process(process) = &mut server.kind {
                end_with_this_process(process);
            }
            // Not dropped before the process ends, as the tests share it.
            std::mem::forget(server);
            url
        })
        .clone()
}

/// Statics are not dropped: a shell that waits for its input to end does it instead.
fn end_with_this_process(process: &Process) {
    let id = process.child.as_ref().expect("the server runs").id();
    let script = format!("cat >/dev/null; kill -KILL {id}; rm -rf '{}'", process.folder.display());
    let watcher = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("there is a shell");
    // Its standard input stays open for as long as this process lives.
    std::mem::forget(watcher);
}

/// A name that no other test uses, also not one of another process.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    format!("{name}-{}-{}-{}", std::process::id(), now.as_micros(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn url_at(proxy: &Proxy, rest: &str) -> String {
    format!("redis://{}", rest.replace("{}", &format!("127.0.0.1:{}", proxy.port())))
}

fn nothing_there() -> ! {
    panic!(
        "this test needs a real Redis: run ./scripts/test, which finds or starts one, put redis-server or valkey-server \
         on the PATH, or name a running one in {URL_VARIABLE}"
    )
}
