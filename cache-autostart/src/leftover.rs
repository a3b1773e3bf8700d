//! A server whose owner is gone: nobody waits for it, and nobody would stop it.

use std::{path::Path, time::Duration};

use rustix::process::Pid;

use crate::{
    directory::{Directory, Lock},
    server::{answers, shut_down, wait_until},
};

/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(3);

/// Stops what is left of the former owner's server. Whoever has the lock may do so.
pub(crate) fn stop(directory: &Directory, lock: &mut Lock) {
    let socket = directory.socket();
    // Nobody but a server that was started here has its socket in this directory.
    if answers(&socket) {
        tracing::info!(at = %socket.display(), "stopping the server of an owner that is gone");
        shut_down(&socket);
        wait_until(ENDING, || !answers(&socket));
    }
    if let Some(pid) = lock.noted() {
        end(pid, directory.path());
    }
}

#[cfg(target_os = "linux")]
fn end(pid: Pid, directory: &Path) {
    use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    // It names this process for good: should it end now, the signal is for nobody.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if !is_ours(pid, directory) {
        return;
    }
    tracing::info!(pid = pid.as_raw_nonzero().get(), "killing the server of an owner that is gone");
    if pidfd_send_signal(&process, Signal::KILL).is_err() || !wait_until(ENDING, || !is_ours(pid, directory)) {
        tracing::warn!(pid = pid.as_raw_nonzero().get(), "the server of an owner that is gone does not end");
    }
}

/// Without `/proc` nothing shows whose process it is.
#[cfg(not(target_os = "linux"))]
fn end(_: Pid, _: &Path) {}

/// Whether the process is of this user, runs in the directory, and was started as servers are here.
#[cfg(target_os = "linux")]
fn is_ours(pid: Pid, directory: &Path) -> bool {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use rustix::process::geteuid;

    use crate::directory::SETTINGS;

    let process = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let (Ok(about), Ok(runs_in), Ok(directory)) =
        (fs::metadata(&process), fs::metadata(process.join("cwd")), fs::metadata(directory))
    else {
        return false;
    };
    let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
    let last = arguments.split(|byte| *byte == 0).rfind(|argument| !argument.is_empty());
    about.uid() == geteuid().as_raw()
        && (runs_in.dev(), runs_in.ino()) == (directory.dev(), directory.ino())
        && last == Some(SETTINGS.as_bytes())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        env, fs,
        process::{Child, Command},
    };

    use super::*;

    fn sleeping(directory: &Path, last: &str) -> Child {
        // The shell keeps its arguments, and is there as long as it reads.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read _", last]).current_dir(directory).stdin(std::process::Stdio::piped());
        command.spawn().expect("there is a shell")
    }

    #[test]
    fn only_a_server_of_the_directory_is_killed() {
        let path = env::temp_dir().join(format!("staleproof-leftover-{}", std::process::id()));
        let directory = Directory::open(Some(&path)).expect("it can be made");
        let mut lock = directory.try_lock().expect("it can be locked").expect("nobody has it");
        for (runs_in, last, is_ours) in [
            (path.as_path(), "server.conf", true),
            (&path, "other.conf", false),
            (Path::new("/"), "server.conf", false),
        ] {
            let mut child = sleeping(runs_in, last);
            // Until it is the shell.
            assert!(wait_until(Duration::from_secs(60), || {
                fs::read(format!("/proc/{}/cmdline", child.id()))
                    .is_ok_and(|arguments| arguments.starts_with(b"/bin/sh\0"))
            }));
            lock.note(Some(child.id())).expect("it can be written");
            stop(&directory, &mut lock);
            let has_ended = child.try_wait().expect("it can be asked").is_some();
            drop(child.kill());
            drop(child.wait());
            assert_eq!(has_ended, is_ours, "{last} in {}", runs_in.display());
        }
        fs::remove_dir_all(&path).expect("it is ours");
    }

    #[test]
    fn a_process_that_is_gone_is_nobody() {
        let mut child = Command::new("/bin/true").spawn().expect("it is there");
        child.wait().expect("it ends");
        let pid = Pid::from_raw(child.id().try_into().expect("ids are small")).expect("it had one");
        assert!(!is_ours(pid, Path::new("/")));
    }
}
