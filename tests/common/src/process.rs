//! A server as a process of the test's own.

use std::{
    collections::BTreeSet,
    env,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    cli::cli,
    redis::{Options, unique},
    wait::wait_for,
};

#[derive(Debug)]
pub(crate) struct Process {
    binary: PathBuf,
    pub(crate) options: Options,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    pub(crate) child: Option<Child>,
    is_stopped: AtomicBool,
}

impl Process {
    /// A process that does not run yet.
    pub(crate) fn new(binary: PathBuf, options: Options) -> Self {
        let folder = env::temp_dir().join(format!("staleproof-{}", unique("redis")));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        if let Some(settings) = &options.settings {
            std::fs::write(folder.join(SETTINGS), settings).expect("the folder is new");
        }
        Self { binary, options, port: free_port(), folder, child: None, is_stopped: AtomicBool::new(false) }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let user = self.options.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        let host = if self.options.tls.is_some() { "localhost" } else { "127.0.0.1" };
        format!("{scheme}://{user}{host}:{}", self.port)
    }

    pub(crate) fn spawn(&mut self) {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the server of the path can be run"));
        self.is_stopped.store(false, Ordering::Relaxed);
        self.wait();
        for command in &self.options.commands {
            let command: Vec<_> = command.iter().map(String::as_str).collect();
            let reply = cli(&self.url(), &command);
            assert!(!reply.starts_with('-'), "{command:?}: {reply}");
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        if self.options.settings.is_some() {
            command.arg(self.folder.join(SETTINGS));
        }
        if self.options.is_sentinel {
            command.arg("--sentinel");
        } else {
            command.args(["--save", "", "--enable-debug-command", "local"]);
        }
        command.args(["--bind", "127.0.0.1"]).arg("--dir").arg(&self.folder);
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
        command.args(&self.options.arguments);
        command
    }

    fn wait(&mut self) {
        let began = Instant::now();
        while !answers(self.port, self.options.tls.is_some()) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()).flatten();
            assert!(ended.is_none(), "{} ended at once: {ended:?}", self.binary.display());
            assert!(began.elapsed() < Duration::from_secs(60), "{} does not answer", self.binary.display());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server is a child of this process");
            child.wait().expect("the server is a child of this process");
        }
    }

    pub(crate) fn stop(&self) {
        self.signal("-STOP");
        wait_until_stopped(self.child.as_ref().expect("the server runs").id());
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn cont(&self) {
        self.signal("-CONT");
        self.is_stopped.store(false, Ordering::Relaxed);
    }

    /// Neither killed nor stopped.
    pub(crate) fn runs(&self) -> bool {
        self.child.is_some() && !self.is_stopped.load(Ordering::Relaxed)
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

/// Waits until all threads of a process that was sent `SIGSTOP` stand still: on a busy machine it goes on for a while.
///
/// # Panics
///
/// If they do not within a minute.
pub fn wait_until_stopped(process: u32) {
    let state = |stat: std::io::Result<String>| {
        let stat = stat.ok()?;
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    wait_for("a process to stop", || {
        // Without `/proc` nobody knows: give it some time.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
            thread::sleep(Duration::from_millis(50));
            return Some(());
        };
        let mut states =
            threads.flatten().filter_map(|thread| state(std::fs::read_to_string(thread.path().join("stat"))));
        states.all(|state| matches!(state, 'T' | 't' | 'Z' | 'X')).then_some(())
    });
}

/// The file that a server rewrites its settings in.
const SETTINGS: &str = "settings.conf";

/// The server of the path.
pub(crate) fn binary() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    let find = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|file| is_file(file));
    find("redis-server").or_else(|| find("valkey-server"))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// A port that nothing listens at and that this function has not returned before. It is none of those that systems give to outgoing
/// connections, so that it is still free when a server starts again.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (0..1_000).map(|_| fastrand::u16(10_000..32_000)).find(|port| !given.contains(port) && is_free(port));
    let port = port.expect("the loopback has a free port");
    given.insert(port);
    port
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
