//! The instances as the supervisor sees them: processes that it starts, stops and kills.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::Sender,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    fact::{Fact, Life},
    instance::{ROLE, Setup},
    reaper::Reaper,
};

/// An instance that runs.
pub(crate) struct Instance {
    pub(crate) life: Life,
    child: Child,
    input: ChildStdin,
    /// It was told to die.
    pub(crate) is_doomed: bool,
}

impl Instance {
    pub(crate) fn start(setup: &Setup, facts: &Sender<(Life, Fact)>, reaper: &mut Reaper) -> Self {
        let life = setup.life;
        let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
        command.arg(ROLE).arg(serde_json::to_string(setup).expect("a setup is plain data"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program can start itself");
        reaper.watch(child.id());
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let facts = facts.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // A killed process may leave half a line.
                if let Ok(fact) = serde_json::from_str(&line) {
                    drop(facts.send((life, fact)));
                }
            }
        });
        Self { life, child, input, is_doomed: false }
    }

    pub(crate) fn kill(mut self, reaper: &mut Reaper) {
        self.child.kill().expect("the instance is a child of this process");
        self.child.wait().expect("the instance is a child of this process");
        reaper.forget(self.child.id());
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it after the commit of its next write of this kind.
    pub(crate) fn doom(&mut self, kind: &str) {
        self.is_doomed = true;
        // An instance that has ended is found soon.
        drop(writeln!(self.input, "die {kind}"));
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().expect("the instance is a child of this process")?;
        Some(status.to_string())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the instance is a child of this process");
    }
}
