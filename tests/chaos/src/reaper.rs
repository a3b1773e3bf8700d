//! The reaper: a process that ends what the supervisor has started when the supervisor is gone.
//!
//! It reads `+PID`, `-PID` and `DIR` lines. Its input ends with the supervisor, whatever ended that: a return, a panic,
//! Ctrl-C (the reaper is in a process group of its own) or SIGKILL.

use std::{
    collections::BTreeSet,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, ExitCode, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const ROLE: &str = "__reaper";

/// The supervisor's end of it.
pub(crate) struct Reaper(ChildStdin);

impl Reaper {
    #[allow(clippy::zombie_processes, reason = "it ends after this process")]
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
        command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("the program can start itself");
        Self(child.stdin.take().expect("piped"))
    }

    pub(crate) fn watch(&mut self, pid: u32) {
        self.tell(&format!("+{pid}"));
    }

    pub(crate) fn forget(&mut self, pid: u32) {
        self.tell(&format!("-{pid}"));
    }

    pub(crate) fn remove(&mut self, folder: &Path) {
        self.tell(&folder.display().to_string());
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("the reaper outlives the supervisor");
    }
}

pub(crate) fn main() -> ExitCode {
    let (mut alive, mut folders) = (BTreeSet::new(), Vec::new());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match (line.strip_prefix('+'), line.strip_prefix('-')) {
            (Some(pid), _) => drop(alive.insert(pid.to_owned())),
            (_, Some(pid)) => drop(alive.remove(pid)),
            _ => folders.push(PathBuf::from(line)),
        }
    }
    for pid in alive.iter().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
    for folder in folders {
        drop(std::fs::remove_dir_all(folder));
    }
    ExitCode::SUCCESS
}
