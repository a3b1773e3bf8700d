//! The program itself: what it prints, and that it fails with words.

use std::process::{Command, Output};

fn staffing(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_staffing"));
    for variable in ["STALEPROOF_URL", "REDIS_URL", "DATABASE_URL"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_scenario_plays_without_a_server() {
    let output = staffing(&[]);
    let story = text(&output.stdout);
    assert!(output.status.success(), "{story}{}", text(&output.stderr));
    assert!(!story.contains('\x1b'), "no colours where nobody sees them");
    for part in [
        "database  SQLite (temporary): 200 owners, 2,000 objects, 20,000 contracts, 208,325 shifts",
        "cache     memory of this process",
        "drops contract_page:7:..",
        "drops object_accessible:..",
        "drops tag owner:7",
        "1,000 callers, 1 load, 999 SQL saved",
        "no such contract",
    ] {
        assert!(story.contains(part), "{part:?} is missing in\n{story}");
    }
    // Calls, hits, joined, misses, statements run and saved: the same every time, as the data are.
    let sums = story.lines().last().unwrap_or_default().split_whitespace().take(7).collect::<Vec<_>>();
    assert_eq!(sums, ["all", "1,046", "16", "999", "24", "43", "1,016"], "{story}");
}

#[test]
fn a_failure_is_told_without_the_password() {
    let output = staffing(&["--database", "postgres://me:secret@127.0.0.1:1/nothing"]);
    let complaint = text(&output.stderr);
    assert!(!output.status.success());
    let named =
        "staffing: the database at postgres://me@127.0.0.1:1/nothing (--database, DATABASE_URL) cannot be opened: ";
    assert!(complaint.starts_with(named), "{complaint}");
    assert!(!complaint.contains("secret"), "{complaint}");
}
