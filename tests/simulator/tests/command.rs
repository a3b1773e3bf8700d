//! What is typed wrongly must not pass for a run that found nothing.

use std::process::Command;

fn simulator(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_simulator")).args(arguments).output().expect("the program runs");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("it prints text"))
}

#[test]
fn what_would_run_nothing_is_an_error_that_says_so() {
    for (arguments, said) in [
        (&["mutants", "--mutant", "no such check"][..], "a hold does nothing"),
        (&["replay", "--seed", "1", "--mutant", "no such check"], "a hold does nothing"),
        (&["replay", "--steps", "10"], "--seed"),
        (&["run", "--seeds", "0"], "nothing"),
        (&["run", "--seconds", "0"], "nothing"),
        (&["run", "--seed"], "needs a value"),
        (&["walk"], "usage"),
    ] {
        let (code, text) = simulator(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    assert_eq!(simulator(&["--help"]).0, Some(0));
    assert_eq!(simulator(&["run", "--steps", "500", "--store", "memory"]).0, Some(0));
}
