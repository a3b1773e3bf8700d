//! How an instance begins and ends.

use std::process::{Command, Output};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{OBJECT, OWNER, World, world::PATIENCE};

/// What a program says that does not start.
fn refused(listen: &str, secret: &str) -> String {
    refused_with(&["--listen", listen], secret)
}

fn refused_with(flags: &[&str], secret: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_staffing"));
    for variable in ["STALEPROOF_URL", "REDIS_URL", "DATABASE_URL"] {
        command.env_remove(variable);
    }
    command.env("STAFFING_SECRET", secret).arg("serve").args(flags);
    let Output { status, stderr, .. } = command.output().expect("the program starts");
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    let says = refused("127.0.0.1:0", "secret");
    assert!(says.contains("STAFFING_SECRET") && says.contains("16 bytes"), "{says}");
}

#[test]
fn where_it_cannot_listen_is_said_and_a_secret_of_nothing_is_none() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("it has one").to_string();
    let says = refused(&at, "");
    assert!(says.contains(&at) && says.contains("in use"), "{says}");
}

#[test]
fn a_database_that_cannot_be_opened_is_named_without_its_password() {
    let folder = tempfile::tempdir().expect("the folder for temporary files can be written");
    let file = format!("sqlite:{}/missing/staffing.sqlite", folder.path().display());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = nobody.local_addr().expect("it has one");
    drop(nobody);
    for (url, named) in [
        (file.clone(), file),
        (format!("postgres://me:hidden@{at}/staffing"), format!("postgres://me@{at}/staffing")),
        ("postgres:me:hidden@nowhere/staffing".to_owned(), "nowhere/staffing".to_owned()),
        ("mongodb://me:hidden@nowhere/staffing".to_owned(), "mongodb://me@nowhere/staffing".to_owned()),
    ] {
        let says = refused_with(&["--database", &url, "--listen", "127.0.0.1:0"], "");
        let begins = format!("staffing: the database at {named} (--database, DATABASE_URL) cannot be opened: ");
        assert!(says.starts_with(&begins), "{says}");
        assert!(!says.contains("hidden"), "{says}");
    }
}

async fn reads_until(connection: &mut TcpStream, what: &str) -> String {
    let (mut heard, mut more) = (String::new(), [0; 1_024]);
    while !heard.contains(what) {
        let read = timeout(PATIENCE, connection.read(&mut more)).await.expect("in time").expect("it is open");
        assert!(read > 0, "it ended after {heard}");
        heard += &String::from_utf8_lossy(&more[..read]);
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_streams_of_events_and_answers_what_has_begun() {
    let mut world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let mut events = owner.open("GET", &format!("/events/shifts?object={OBJECT}"), &[], "").await;
    reads_until(&mut events, "\r\n\r\n").await;
    let sent = json!({ "day": "2026-12-27", "starts": 600, "ends": 660, "capacity": 1 }).to_string();
    let length = format!("Content-Length: {}", sent.len());
    // That it is to go on says that the request is being answered.
    let headers = ["Content-Type: application/json", "Expect: 100-continue", &length];
    let mut begun = owner.open("POST", &format!("/api/objects/{OBJECT}/slots"), &headers, "").await;
    reads_until(&mut begun, "100 Continue\r\n\r\n").await;

    world.one.tell_to_stop();
    let mut rest = Vec::new();
    timeout(PATIENCE, events.read_to_end(&mut rest)).await.expect("in time").expect("it ends as it should");
    assert!(String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "{rest:?}");
    begun.write_all(sent.as_bytes()).await.expect("it is open");
    let answer = reads_until(&mut begun, "\"capacity\":1").await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(world.one.ended_well());
}
