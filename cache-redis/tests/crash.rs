//! An instance that is killed during an outage: what it had answered `Journaled` to is in force when it is back.
//!
//! The test is a program of its own: as `child` it invalidates, says what came out, and waits to be killed.

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cache_core::{Outcome, Store, Target, store::HolderId};
use cache_redis::{RedisConfig, RedisStore};
use common::{Ground, fill, hit, page, until};
use test_support::{RedisServer, unique};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url, namespace, file] = arguments.as_slice()
        && role == "child"
    {
        runtime.block_on(child(url, namespace, Path::new(file)));
        return;
    }
    runtime.block_on(async {
        nothing_is_lost_by_a_crash().await;
        println!("test nothing_is_lost_by_a_crash ... ok");
        a_file_that_cannot_be_used_is_an_error().await;
        println!("test a_file_that_cannot_be_used_is_an_error ... ok");
    });
}

fn targets() -> Vec<Target> {
    let tag = Target::Tag(cache_core::Tag::new("owner:").arg(&3));
    vec![
        page(1, 1).into_entry(),
        cache_core::Key::new("page").arg(&2).into_node(),
        tag,
        Target::Glob("page:4:*".into()),
    ]
}

fn instance(url: &str, namespace: &str, file: &Path) -> RedisConfig {
    let config = RedisConfig::new(url).namespace(namespace);
    if file.as_os_str() == "-" { config } else { config.journal_file(file) }
}

async fn child(url: &str, namespace: &str, file: &Path) {
    let store = RedisStore::connect(instance(url, namespace, file)).await.expect("an outage is no error");
    let outcome = store.invalidate(&targets()).await.expect("journaled");
    assert_eq!(outcome, Outcome::Journaled);
    assert_eq!(store.release_hold(&[page(5, 1).into_entry()], HolderId([b'h'; 32])).await.unwrap(), Outcome::Journaled);
    println!("journaled");
    std::future::pending::<()>().await;
}

async fn nothing_is_lost_by_a_crash() {
    let file = std::env::temp_dir().join(unique("staleproof-journal"));
    // Without the file, the invalidations die with the process: this shows that the test can tell.
    for (file, is_lost) in [(PathBuf::from("-"), true), (file, false)] {
        let server = RedisServer::start();
        let (network, url) = server.behind_proxy();
        let ground = Ground::on(&server).await;
        for owner in 1..=4 {
            fill(&ground.store, &page(owner, 1), "old").await;
        }
        let held = [page(5, 1).into_entry()];
        let lasts = std::time::Duration::from_secs(60);
        ground.store.hold(&held, HolderId([b'h'; 32]), lasts).await.unwrap();
        network.cut();
        crash(&url, &ground.namespace, &file);
        for owner in 1..=4 {
            assert!(hit(&ground.store, &page(owner, 1)).await.is_some(), "the outage kept it away from Redis");
        }
        network.resume();
        let restarted = RedisStore::connect(instance(&url, &ground.namespace, &file)).await.unwrap();
        until(&restarted, true).await;
        for store in [&restarted, &ground.store] {
            for owner in 1..=4 {
                assert_eq!(hit(store, &page(owner, 1)).await.is_some(), is_lost, "{owner}");
            }
        }
        let is_held = matches!(ground.store.read(&page(5, 1)).await, Ok(cache_core::store::Read::Held));
        assert_eq!(is_held, is_lost, "the release is replayed, too");
        if !is_lost {
            drop(restarted);
            let left = std::fs::read(&file).unwrap();
            let first_line = left.iter().position(|byte| *byte == b'\n');
            assert_eq!(first_line, left.len().checked_sub(1), "only its first line is left");
            std::fs::remove_file(&file).unwrap();
        }
    }
}

/// Runs a child until it has journaled, and kills it.
fn crash(url: &str, namespace: &str, file: &Path) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", url, namespace]).arg(file).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, "journaled\n");
}

async fn a_file_that_cannot_be_used_is_an_error() {
    let server = RedisServer::start();
    let folder = std::env::temp_dir().join(unique("staleproof-journal"));
    let foreign = std::env::temp_dir().join(unique("staleproof-journal"));
    std::fs::write(&foreign, "somebody else's\n").unwrap();
    for path in [folder.join("journal"), std::env::temp_dir(), foreign.clone(), PathBuf::from("/dev/full")] {
        let config = RedisConfig::new(server.url()).journal_file(&path);
        let error = RedisStore::connect(config).await.expect_err("it cannot be used");
        assert!(matches!(error, cache_redis::ConnectError::JournalFile { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "somebody else's\n");
    std::fs::remove_file(&foreign).unwrap();
}
