//! The server's process.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use cache_core::start::LocalServer;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    directory::{Directory, SETTINGS, SOCKET},
    program::Program,
};

/// How long the server may take to answer, and to take what it is sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take to end when it is asked to.
const ENDING: Duration = Duration::from_secs(3);

/// The server's process, ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// Starts it. The kernel ties it to the thread that calls this.
    pub(crate) fn start(program: &Program, directory: &Directory, settings: &LocalServer) -> io::Result<Self> {
        directory.write_settings(&text(settings))?;
        let log = directory.log()?;
        let child = program
            .command()
            .arg(SETTINGS)
            .current_dir(directory.path())
            // Interrupts from the terminal are for the service, which may have things to end first.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, socket: directory.socket() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            // The host waits for all children, or ignores `SIGCHLD`: its id may be another's by now.
            Err(error) => Some(format!("how is not known: {error}")),
        }
    }

    pub(crate) fn answers(&self) -> bool {
        answers(&self.socket)
    }

    /// Asks it to end.
    fn end(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // It was not waited for: the id is still its own.
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        wait_until(ENDING, || self.ended().is_some());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if self.ended().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// `set-proc-title no` keeps its arguments visible, by which it is told from other processes.
fn text(settings: &LocalServer) -> String {
    let max_memory = settings.memory_bytes();
    let append_only = if settings.is_persistent() { "yes" } else { "no" };
    format!(
        "# Written at each start.\n\
         port 0\n\
         unixsocket {SOCKET}\n\
         unixsocketperm 700\n\
         daemonize no\n\
         maxmemory {max_memory}\n\
         maxmemory-policy allkeys-lru\n\
         save \"\"\n\
         appendonly {append_only}\n\
         loglevel warning\n\
         set-proc-title no\n"
    )
}

/// Whether a server answers there, if only to say that it is busy.
pub(crate) fn answers(socket: &Path) -> bool {
    ask(socket, b"PING\r\n").is_ok_and(|answer| matches!(answer, b'+' | b'-'))
}

/// Whether a server does what it is asked: one that still reads its file does not.
pub(crate) fn is_ready(socket: &Path) -> bool {
    ask(socket, b"PING\r\n").is_ok_and(|answer| answer == b'+')
}

/// Asks whatever server there is to end.
pub(crate) fn shut_down(socket: &Path) {
    // It closes the connection instead of an answer.
    drop(ask(socket, b"SHUTDOWN NOSAVE\r\n"));
}

/// The first byte of the answer.
fn ask(socket: &Path, command: &[u8]) -> io::Result<u8> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(command)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

/// Waits until it is so, for this long at most. Returns whether it is.
pub(crate) fn wait_until(longest: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + longest;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn one_that_reads_its_file_lives_and_is_not_ready() {
        let socket = std::env::temp_dir().join(format!("staleproof-ready-{}", std::process::id()));
        let listener = UnixListener::bind(&socket).expect("it can be made");
        let server = thread::spawn(move || {
            for answer in ["-LOADING Redis is loading the dataset in memory\r\n", "+PONG\r\n"].repeat(2) {
                let (mut stream, _) = listener.accept().expect("somebody asks");
                stream.read_exact(&mut [0; 6]).expect("it asks PING");
                stream.write_all(answer.as_bytes()).expect("it waits for the answer");
            }
        });
        let seen = [answers(&socket), answers(&socket), is_ready(&socket), is_ready(&socket)];
        server.join().expect("it has answered");
        drop(std::fs::remove_file(&socket));
        assert_eq!(seen, [true, true, false, true]);
    }
}
