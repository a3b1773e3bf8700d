//! Auto-start: who starts a server and who does not, and that it is there for as long as anybody needs it, and no longer.
//!
//! The test is a program of its own: as `serve` it is the service. Processes and signals are real.

mod log;
mod place;
mod service;

use std::{
    fs,
    io::ErrorKind,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use place::{Place, runs, signal, wait_for, wait_until};
use service::Service;
use test_support::{Options, RedisServer};

/// A port where nothing listens: it is reserved.
const NOWHERE: &str = "redis://127.0.0.1:1/0";

/// Loads until the value is in the server, and then hits it.
fn uses_its_server(service: &mut Service, place: &Place) {
    wait_until("the cache to use its server", || {
        service.ask("health") == "connected" && service.ask("load 4").starts_with("8 ") && place.keys() > 0
    });
    assert_eq!(service.ask("load 4"), "8 0", "a hit");
}

fn killed_three_times_it_comes_back() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[]);
    assert_eq!(service.began, "connected");
    let mut server = place.server();
    uses_its_server(&mut service, &place);
    for _ in 0..3 {
        signal(server, "-KILL");
        server = place.server_other_than(server);
        uses_its_server(&mut service, &place);
    }
    service.end();
}

fn one_that_hangs_is_replaced() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[]);
    let server = place.server();
    signal(server, "-STOP");
    assert_ne!(place.server_other_than(server), server);
    assert!(!runs(server), "the one that hung is gone");
    uses_its_server(&mut service, &place);
    service.end();
}

fn a_directory_that_is_cleared_away_is_made_anew() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[]);
    let server = place.server();
    fs::remove_dir_all(place.path()).expect("it is ours");
    assert_ne!(place.server_other_than(server), server);
    assert!(!runs(server), "the one that nobody finds any more is gone");
    uses_its_server(&mut service, &place);
    service.end();
}

fn directory_and_server_are_private() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[]);
    place.server();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(place.path()), 0o700);
    for file in fs::read_dir(place.path()).expect("it is ours") {
        let path = file.expect("it is ours").path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    let settings = [
        ("port", "0"),
        ("unixsocketperm", "700"),
        ("maxmemory", "268435456"),
        ("maxmemory-policy", "allkeys-lru"),
        ("save", ""),
        ("appendonly", "no"),
    ];
    for (name, value) in settings {
        assert_eq!(place.setting(name), value, "{name}");
    }
    service.end();

    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let service = Service::start(place.path(), &[]);
    assert!(service.began.contains("not private"), "{}", service.began);
}

/// What the server answers once it has loaded its data.
fn draft(place: &Place) -> String {
    wait_for("the data", || place.ask("GET draft").filter(|answer| !answer.starts_with('-')))
}

fn other_data_outlive_its_server_where_that_is_asked_for() {
    let persists = [("TEST_PERSIST", "1")];
    for (environment, kept) in [(&persists[..], "$5"), (&[], "$-1")] {
        let place = Place::new();
        let mut service = Service::start(place.path(), environment);
        let server = place.server();
        assert_eq!(place.ask("SET draft begun").as_deref(), Some("+OK"));
        assert_eq!(service.ask("load 1"), "2 1");
        // The file is written each second: killed within it, the last second may be lost.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        signal(server, "-KILL");
        assert_ne!(place.server_other_than(server), server);
        assert!(draft(&place).starts_with(kept), "killed: {}", draft(&place));
        uses_its_server(&mut service, &place);
        assert_eq!(place.ask("SET draft ended").as_deref(), Some("+OK"));
        service.end();

        let mut service = Service::start(place.path(), environment);
        assert!(draft(&place).starts_with(kept), "ended: {}", draft(&place));
        assert_eq!(service.ask("load 1"), "2 1", "what the cache had counts as invalidated");
        service.end();
    }
}

fn without_a_program_it_is_memory() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[("PATH", "")]);
    assert_eq!(service.began, "memory");
    assert_eq!((service.ask("load 1"), service.ask("load 1")), ("2 1".to_owned(), "2 0".to_owned()));
    let log = service.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("WARN") && log.contains("redis-server") && log.contains("apt-get install"), "{log}");
    service.end();

    let service = Service::start(place.path(), &[("PATH", ""), ("TEST_REQUIRE", "1")]);
    assert!(service.began.starts_with("error: Redis is required"), "{}", service.began);
}

fn without_a_program_it_joins_those_who_have_one() {
    let place = Place::new();
    let mut owner = Service::start(place.path(), &[]);
    assert_eq!(owner.ask("load 1"), "2 1");
    let mut guest = Service::start(place.path(), &[("PATH", "")]);
    assert_eq!(guest.began, "connected");
    assert_eq!(guest.ask("load 1"), "2 0", "the entry is the other's");
    guest.end();
    owner.end();
}

fn it_ends_with_its_cache_or_its_process() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[]);
    let server = place.server();
    assert_eq!(service.ask("drop"), "dropped");
    assert!(!runs(server), "the cache was dropped");
    assert_eq!(fs::read_to_string(place.path().join("lock")).expect("it stays"), "");
    service.end();

    let mut service = Service::start(place.path(), &[]);
    let server = place.server();
    service.end();
    if cfg!(target_os = "linux") {
        wait_until("the server to end with its process", || !runs(server));
    }
}

/// The kernel ends it.
#[cfg(target_os = "linux")]
fn none_is_left_after_a_kill() {
    let place = Place::new();
    let mut service = Service::start(place.path(), &[]);
    let server = place.server();
    service.kill();
    wait_until("the server to end with its process", || !runs(server));
}

/// Where nothing makes the kernel end it, the next start does.
#[cfg(target_os = "linux")]
fn the_next_start_stops_what_is_left() {
    for hangs in [false, true] {
        let place = Place::new();
        let programs = Place::new();
        fs::create_dir(programs.path()).expect("it can be made");
        let server = std::env::split_paths(&std::env::var_os("PATH").expect("there is a path"))
            .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)))
            .find(|file| file.is_file())
            .expect("there is a server");
        symlink(server, programs.path().join("redis-server")).expect("it can be made");
        let without_setpriv = [("PATH", programs.path().to_str().expect("it is ASCII"))];

        let mut first = Service::start(place.path(), &without_setpriv);
        let left = place.server();
        first.kill();
        assert!(runs(left), "nobody stops it");
        if hangs {
            signal(left, "-STOP");
        }
        let mut second = Service::start(place.path(), &without_setpriv);
        assert_eq!(second.began, "connected");
        assert_ne!(place.server_other_than(left), left);
        assert!(!runs(left), "the next start stops it");
        uses_its_server(&mut second, &place);
        assert_eq!(second.ask("drop"), "dropped");
    }
}

fn two_share_one_and_the_second_takes_over() {
    let place = Place::new();
    let mut first = Service::start(place.path(), &[]);
    let server = place.server();
    let mut second = Service::start(place.path(), &[]);
    assert_eq!(second.began, "connected");
    assert_eq!(place.server(), server, "there is one for both");
    assert_eq!(first.ask("load 7"), "14 1");
    assert_eq!(second.ask("load 7"), "14 0", "the entry is the other's");

    first.kill();
    let next = place.server_other_than(server);
    wait_until("the first server to end", || !runs(server));
    uses_its_server(&mut second, &place);

    let mut third = Service::start(place.path(), &[]);
    assert_eq!(third.ask("load 4"), "8 0", "the entry is the other's");
    assert_eq!(second.ask("drop"), "dropped");
    assert_ne!(place.server_other_than(next), next);
    uses_its_server(&mut third, &place);
    assert_eq!(third.ask("drop"), "dropped");
}

fn auto_prefers_the_server_that_is_configured(configured: &str) {
    for name in ["STALEPROOF_URL", "REDIS_URL"] {
        let place = Place::new();
        let mut service = Service::start(place.path(), &[(name, configured)]);
        assert_eq!(service.began, "connected");
        assert!(!place.path().exists(), "nothing was started");
        service.end();
    }
    let place = Place::new();
    let mut service = Service::start(place.path(), &[("STALEPROOF_URL", NOWHERE)]);
    assert_eq!(service.began, "connected");
    uses_its_server(&mut service, &place);
    assert!(service.log().contains("the configured Redis does not answer"), "{}", service.log());
    service.end();
}

fn auto_tells_a_refusal() {
    let options = Options { password: Some("secret".to_owned()), ..Options::default() };
    let Some(server) = RedisServer::own_with(options) else { return };
    let place = Place::new();
    let url = format!("redis://127.0.0.1:{}/0", server.port());
    let service = Service::start(place.path(), &[("STALEPROOF_URL", &url)]);
    assert!(service.began.contains("refused the user"), "{}", service.began);
    assert!(!place.path().exists(), "nothing was started");
}

fn external_never_starts_anything(configured: &str) {
    for (url, began) in [(configured, "connected"), (NOWHERE, "degraded")] {
        let place = Place::new();
        let mut service = Service::start(place.path(), &[("STALEPROOF_MODE", "external"), ("STALEPROOF_URL", url)]);
        assert_eq!(service.began, began);
        assert_eq!(service.ask("load 1").split(' ').next(), Some("2"));
        assert!(!place.path().exists(), "nothing was started");
        service.end();
    }
    let place = Place::new();
    let service = Service::start(place.path(), &[("STALEPROOF_MODE", "external")]);
    assert!(service.began.contains("`external` needs a URL"), "{}", service.began);
    assert!(!place.path().exists(), "nothing was started");
}

fn memory_never_connects() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.set_nonblocking(true).expect("it can be set");
    let url = format!("redis://{}/0", listener.local_addr().expect("it is bound"));
    let environment = [("STALEPROOF_MODE", "memory"), ("STALEPROOF_URL", url.as_str()), ("REDIS_URL", &url)];
    let mut service = Service::start(place.path(), &environment);
    assert_eq!(service.began, "memory");
    assert_eq!((service.ask("load 1"), service.ask("load 1")), ("2 1".to_owned(), "2 0".to_owned()));
    assert_eq!(listener.accept().map(drop).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    assert!(!place.path().exists(), "nothing was started");
    service.end();
}

fn a_mode_that_does_not_exist_is_an_error() {
    let place = Place::new();
    for more in [None, Some(("TEST_FROM_ENV", "1"))] {
        let environment: Vec<_> = [("STALEPROOF_MODE", "automatic")].into_iter().chain(more).collect();
        let service = Service::start(place.path(), &environment);
        let parts = ["error: STALEPROOF_MODE", "\"automatic\"", "`auto`", "`external`", "`memory`"];
        assert!(parts.iter().all(|part| service.began.contains(part)), "{}", service.began);
        assert!(!place.path().exists(), "nothing was started");
    }
}

fn from_env_asks_for_the_mode(configured: &str) {
    let began = |mode, url| {
        let place = Place::new();
        let environment = [("TEST_FROM_ENV", "1"), ("STALEPROOF_MODE", mode), ("STALEPROOF_URL", url)];
        let mut service = Service::start(place.path(), &environment);
        service.end();
        (service.began.clone(), place.path().exists())
    };
    let is = |began: &str, is_started| (began.to_owned(), is_started);
    assert_eq!(began("", ""), is("memory", false), "as ever");
    assert_eq!(began("", configured), is("connected", false), "as ever");
    assert_eq!(began("memory", configured), is("memory", false));
    assert_eq!(began("auto", ""), is("connected", true));
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, directory] = arguments.as_slice()
        && role == "serve"
    {
        return service::serve(directory).await;
    }
    let Some(configured) = RedisServer::own() else { return };
    let url = configured.url();
    let cases: &[(&str, &dyn Fn())] = &[
        ("killed_three_times_it_comes_back", &killed_three_times_it_comes_back),
        ("one_that_hangs_is_replaced", &one_that_hangs_is_replaced),
        ("a_directory_that_is_cleared_away_is_made_anew", &a_directory_that_is_cleared_away_is_made_anew),
        ("directory_and_server_are_private", &directory_and_server_are_private),
        (
            "other_data_outlive_its_server_where_that_is_asked_for",
            &other_data_outlive_its_server_where_that_is_asked_for,
        ),
        ("without_a_program_it_is_memory", &without_a_program_it_is_memory),
        ("without_a_program_it_joins_those_who_have_one", &without_a_program_it_joins_those_who_have_one),
        ("it_ends_with_its_cache_or_its_process", &it_ends_with_its_cache_or_its_process),
        #[cfg(target_os = "linux")]
        ("none_is_left_after_a_kill", &none_is_left_after_a_kill),
        #[cfg(target_os = "linux")]
        ("the_next_start_stops_what_is_left", &the_next_start_stops_what_is_left),
        ("two_share_one_and_the_second_takes_over", &two_share_one_and_the_second_takes_over),
        ("auto_prefers_the_server_that_is_configured", &|| auto_prefers_the_server_that_is_configured(&url)),
        ("auto_tells_a_refusal", &auto_tells_a_refusal),
        ("external_never_starts_anything", &|| external_never_starts_anything(&url)),
        ("memory_never_connects", &memory_never_connects),
        ("from_env_asks_for_the_mode", &|| from_env_asks_for_the_mode(&url)),
        ("a_mode_that_does_not_exist_is_an_error", &a_mode_that_does_not_exist_is_an_error),
    ];
    for (name, case) in cases {
        case();
        println!("{name} ... ok");
    }
    println!("{} passed, 0 failed", cases.len());
}
