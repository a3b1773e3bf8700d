//! The directory of a local server, and what is seen of the server from there.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of the test's own, not there yet.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(test_support::unique("autostart")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The server's process, once there is one other than that.
    pub(crate) fn server_other_than(&self, before: u32) -> u32 {
        wait_for("another server", || {
            let noted = fs::read_to_string(self.0.join("lock")).ok()?.trim().parse().ok()?;
            (noted != before && runs(noted) && self.ask("PING").as_deref() == Some("+PONG")).then_some(noted)
        })
    }

    pub(crate) fn server(&self) -> u32 {
        self.server_other_than(0)
    }

    /// What the server answers to a line, as far as one read goes.
    pub(crate) fn ask(&self, line: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.0.join("server.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).trim_end().to_owned())
    }

    /// A setting of the server.
    pub(crate) fn setting(&self, name: &str) -> String {
        let answer = self.ask(&format!("CONFIG GET {name}")).expect("it answers");
        // An array of two strings, each with its length before it.
        answer.split("\r\n").nth(4).unwrap_or_default().to_owned()
    }

    /// How many keys the server has.
    pub(crate) fn keys(&self) -> u32 {
        let count = self.ask("DBSIZE").and_then(|answer| answer.strip_prefix(':')?.parse().ok());
        count.unwrap_or(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that a failed test leaves behind, or a kill where the kernel does not end it.
        self.ask("SHUTDOWN NOSAVE");
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether the process runs; one that has ended and was not waited for does not.
pub(crate) fn runs(process: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        let about = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name before it may be anything, in parentheses.
        return about.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']));
    }
    let state = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output().expect("there is a ps");
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

pub(crate) fn signal(process: u32, signal: &str) {
    let done = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()), "kill {signal} failed");
}

/// Looks again and again until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}
