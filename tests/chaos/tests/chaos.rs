//! The command itself: a few seconds of it hold, and it finds what is broken on purpose.
//!
//! One test after another: each run takes processors and measures time.

use std::process::{Command, Output};

fn chaos(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("the program runs");
    let said = [stdout, stderr].concat();
    (status.success(), String::from_utf8(said).expect("it prints text"))
}

#[test]
fn a_few_seconds_hold_and_a_broken_cache_is_found() {
    let (held, said) = chaos(&["--seconds", "4", "--seed", "7"]);
    assert!(held, "{said}");
    for broken in ["skip", "early"] {
        let (held, said) = chaos(&["--seconds", "2", "--broken", broken, "--only", "flush"]);
        assert!(!held, "a cache that is broken ({broken}) went through:\n{said}");
        assert!(
            said.contains("STALE at") && said.contains("committed"),
            "each stale read comes with its history:\n{said}"
        );
    }
}

#[test]
fn what_the_store_does_not_support_is_said() {
    for topology in ["sentinel", "cluster"] {
        let (held, said) = chaos(&["--topology", topology]);
        assert!(!held && said.contains("does not support"), "{said}");
    }
}
