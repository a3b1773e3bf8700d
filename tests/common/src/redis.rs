//! A Redis of the test's own.
//!
//! A `redis-server` or `valkey-server` of the path, as a process on a free port of the loopback. Where there is neither
//! but `STALEPROOF_TEST_REDIS_URL` names a running one, a [`Proxy`] in front of that one stands for the process: its data
//! survive a kill then, and tests that need more than that say that they show nothing. Where there is nothing at all, the
//! test fails.

use std::{
    env,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Proxy;

const URL_VARIABLE: &str = "STALEPROOF_TEST_REDIS_URL";

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

#[derive(Debug)]
struct Process {
    binary: PathBuf,
    options: Options,
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
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
            std::io::stderr().write_all(line.as_bytes()).expect("there is a standard error");
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
            Kind::Process(process) => process.signal("-STOP"),
            Kind::Proxied { proxy, .. } => proxy.freeze(),
        }
    }

    /// Lets it go on after a [stop](RedisServer::stop).
    pub fn cont(&self) {
        match &self.kind {
            Kind::Process(process) => process.signal("-CONT"),
            Kind::Proxied { proxy, .. } => proxy.resume(),
        }
    }

    fn process(binary: PathBuf, options: Options, run: bool) -> Self {
        let folder = env::temp_dir().join(format!("staleproof-{}", unique("redis")));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        let mut process = Process { binary, options, port: free_port(), folder, child: None };
        if run {
            process.spawn();
        }
        Self { kind: Kind::Process(process) }
    }
}

impl Process {
    fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let user = self.options.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        let host = if self.options.tls.is_some() { "localhost" } else { "127.0.0.1" };
        format!("{scheme}://{user}{host}:{}", self.port)
    }

    fn spawn(&mut self) {
        let mut command = Command::new(&self.binary);
        command.args(["--bind", "127.0.0.1", "--save", ""]).arg("--dir").arg(&self.folder);
        command.args(["--enable-debug-command", "local"]);
        let port = self.port.to_string();
        if let Some((certificate, key)) = &self.options.tls {
            command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
            command.arg("--tls-cert-file").arg(certificate).arg("--tls-key-file").arg(key);
            command.arg("--tls-ca-cert-file").arg(certificate);
        } else {
            command.args(["--port", &port]);
        }
        if self.options.appendonly {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.options.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the server of the path can be run"));
        self.wait();
    }

    fn wait(&mut self) {
        let began = Instant::now();
        while !answers(self.port, self.options.tls.is_some()) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()).flatten();
            assert!(ended.is_none(), "{} ended at once: {ended:?}", self.binary.display());
            assert!(began.elapsed() < Duration::from_secs(10), "{} does not answer", self.binary.display());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server is a child of this process");
            child.wait().expect("the server is a child of this process");
        }
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the server runs");
        let done = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill {signal} failed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // The folder is one for temporary files: leaving it is no failure.
        drop(std::fs::remove_dir_all(&self.folder));
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

/// Runs a command as `redis-cli` would, and returns the raw reply; a bulk reply without its frame. Not over TLS.
pub fn cli(url: &str, arguments: &[&str]) -> String {
    let (address, rest) = split(url);
    let (user, path) = rest.split_once("{}/").expect("it stands between both");
    let mut request = String::new();
    let mut skip = 0;
    if let Some((user, password)) = user.trim_end_matches('@').split_once(':') {
        let user = if user.is_empty() { "default" } else { user };
        frame(&mut request, &["AUTH", user, password]);
        skip += 1;
    }
    if !path.is_empty() {
        frame(&mut request, &["SELECT", path]);
        skip += 1;
    }
    frame(&mut request, arguments);
    // Makes the server close the connection after the reply.
    frame(&mut request, &["QUIT"]);
    let reply = exchange(address, &request);
    let mut reply = reply.as_str();
    for _ in 0..skip {
        reply = reply.strip_prefix("+OK\r\n").unwrap_or_else(|| panic!("Redis refused {url}: {reply}"));
    }
    let reply = reply.strip_suffix("+OK\r\n").unwrap_or(reply).trim_end_matches("\r\n");
    match reply.strip_prefix('$').and_then(|bulk| bulk.split_once("\r\n")) {
        Some((_, bulk)) => bulk.to_owned(),
        None => reply.to_owned(),
    }
}

fn frame(request: &mut String, arguments: &[&str]) {
    write!(request, "*{}\r\n", arguments.len()).expect("writing to a String succeeds");
    for argument in arguments {
        write!(request, "${}\r\n{argument}\r\n", argument.len()).expect("writing to a String succeeds");
    }
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("Redis answers");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("the timeout is not zero");
    stream.write_all(request.as_bytes()).expect("Redis reads");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("Redis answers");
    String::from_utf8_lossy(&reply).into_owned()
}

/// A name that no other test uses, also not one of another process.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    format!("{name}-{}-{}-{}", std::process::id(), now.as_micros(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn binary() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    let find = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|file| is_file(file));
    find("redis-server").or_else(|| find("valkey-server"))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// Whether the server is up and has loaded its data. One with a password answers too, with a refusal.
fn answers(port: u16, is_tls: bool) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    if is_tls {
        return true;
    }
    let mut reply = [0; 64];
    let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read(&mut reply));
    asked.is_ok_and(|read| !reply[..read].starts_with(b"-LOADING") && read > 0)
}

fn url_at(proxy: &Proxy, rest: &str) -> String {
    format!("redis://{}", rest.replace("{}", &format!("127.0.0.1:{}", proxy.port())))
}

/// The address in a URL, and the rest of it without scheme, with `{}` where the address was.
fn split(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("redis://").unwrap_or_else(|| panic!("{URL_VARIABLE} has to begin with redis://"));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
    let address = with_port.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = address.unwrap_or_else(|| panic!("the host in {URL_VARIABLE} cannot be found"));
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    (address, format!("{user}{{}}/{path}"))
}

fn nothing_there() -> ! {
    panic!(
        "this test needs a real Redis: run ./scripts/test, which finds or starts one, put redis-server or valkey-server \
         on the PATH, or name a running one in {URL_VARIABLE}"
    )
}
