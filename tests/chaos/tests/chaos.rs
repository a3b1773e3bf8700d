//! The command itself: a few seconds of it hold, and it finds what is broken on purpose.
//!
//! One test after another: each run takes processors and measures time. What a busy machine makes of the bounds on time is not judged here.

use std::process::{Command, Output};

/// The exit code if only a bound on time was broken.
const LATE: i32 = 3;

fn chaos(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("the program runs");
    let said = [stdout, stderr].concat();
    let is_right = status.success() || status.code() == Some(LATE);
    (is_right, String::from_utf8(said).expect("it prints text"))
}

#[test]
fn a_few_seconds_hold_and_a_broken_cache_is_found() {
    for topology in ["single", "sentinel", "cluster"] {
        let (held, said) = chaos(&["--topology", topology, "--seconds", "4", "--seed", "7"]);
        assert!(held, "{said}");
        for broken in ["skip", "early"] {
            let arguments = ["--topology", topology, "--seconds", "2", "--broken", broken, "--only", "flush"];
            let (held, said) = chaos(&arguments);
            assert!(!held, "a cache that is broken ({broken}) went through:\n{said}");
            assert!(
                said.contains("STALE at") && said.contains("committed"),
                "each stale read comes with its history:\n{said}"
            );
        }
    }
}

#[test]
fn a_fault_that_a_topology_does_not_have_is_named() {
    let (held, said) = chaos(&["--topology", "cluster", "--only", "flush,cut"]);
    assert!(!held && said.contains("\"cut\"") && said.contains("migrate"), "{said}");
}

/// `docs/FAULTS.md` refers to it.
#[test]
fn help_names_all_faults_and_exit_codes() {
    let (_, said) = chaos(&["--help"]);
    for part in ["demote", "sentinel-stop", "migrate", "Exit code"] {
        assert!(said.contains(part), "{part} in:\n{said}");
    }
}

#[test]
fn without_instances_there_is_no_run() {
    let (held, said) = chaos(&["--instances", "0", "--seconds", "1"]);
    assert!(!held && said.contains("--instances") && !said.contains("panicked"), "{said}");
}
