//! The command over a real Redis: what it shows is there, what it drops is gone, and its exit codes say which.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use staleproof::{Cache, Key, Policy, Tag, cached, codec::Json};
use test_support::{RedisServer, cli, shared_url, unique};

type Page = BTreeMap<String, u32>;

/// A service whose entries are looked at from outside.
struct Pages {
    loads: Arc<AtomicU32>,
    cache: Cache,
}

impl Pages {
    #[cached(ttl = "10m", key_prefix = "page", tags("owner:{owner}"))]
    async fn page(&self, owner: u32, page: u32) -> Page {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Page::from([("<b>owner</b>".to_owned(), owner), ("page".to_owned(), page)])
    }
}

struct Ground {
    url: String,
    namespace: String,
    pages: Pages,
}

impl Ground {
    async fn new() -> Self {
        Self::at(shared_url()).await
    }

    async fn at(url: String) -> Self {
        let namespace = unique("cli");
        let builder = Cache::builder().namespace(&namespace).redis(&url).require_redis().codec(Json);
        let cache = builder.call_timeout(Duration::from_secs(2)).connect().await.expect("Redis is there");
        Self { url, namespace, pages: Pages { loads: Arc::default(), cache } }
    }

    /// Two owners with three pages each.
    async fn fill(&self) {
        for owner in 7..9 {
            for page in 1..4 {
                self.pages.page(owner, page).await;
            }
        }
        assert_eq!(self.loads(), 6);
    }

    fn loads(&self) -> u32 {
        self.pages.loads.load(Ordering::SeqCst)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(&[&["--url", &self.url, "--namespace", &self.namespace], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    for name in ["STALEPROOF_URL", "REDIS_URL", "STALEPROOF_NAMESPACE", "STALEPROOF_SERVICE", "STALEPROOF_MODE"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("the command is built");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Ran { code: status.code().expect("nobody kills it"), out: text(stdout), err: text(stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_are_shown() {
    let ground = Ground::new().await;
    ground.fill().await;
    let keys = ground.run(&["keys", "page:7:*"]);
    assert_eq!(keys.code, 0, "{keys:?}");
    let lines: Vec<&str> = keys.out.lines().collect();
    assert!(lines[0].starts_with("key") && lines.len() == 4, "{keys:?}");
    assert!(lines[1].starts_with("page:7:1") && lines[1].ends_with("json"), "{keys:?}");
    let limited = ground.run(&["keys", "--limit", "2"]);
    assert_eq!((limited.out.lines().count(), limited.err.contains("there are more")), (3, true), "{limited:?}");

    let keys = ground.json(&["keys", "page:8:*"]);
    assert_eq!(keys["items"].as_array().expect("a list").len(), 3);
    assert!(keys["items"][0]["ttl_ms"].as_u64().is_some_and(|ttl| ttl > 400_000 && ttl <= 600_000), "{keys}");

    let got = ground.run(&["get", "page:7:1"]);
    assert_eq!(got.code, 0, "{got:?}");
    assert!(got.out.contains("\"<b>owner</b>\": 7"), "{got:?}");
    assert_eq!(ground.json(&["get", "page:7:1"])["value"]["page"], 1);
    let nothing = ground.run(&["get", "page:9:1"]);
    assert_eq!((nothing.code, nothing.err.as_str()), (1, "nothing is at `page:9:1`\n"));
    let no_key = ground.run(&["get", "page 7"]);
    assert_eq!(no_key.code, 2, "{no_key:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_invalidated_without_a_yes_and_then_what_was_shown() {
    let ground = Ground::new().await;
    ground.fill().await;
    let asked = ground.run(&["invalidate", "--node", "page:7"]);
    assert_eq!(asked.code, 4, "{asked:?}");
    assert!(asked.out.contains("3 entries") && asked.out.contains("page:7:2"), "{asked:?}");
    assert!(asked.err.contains("nothing was invalidated"), "{asked:?}");
    assert_eq!(ground.run(&["invalidate", "--node", "page:7", "--dry-run"]).code, 0);
    ground.pages.page(7, 1).await;
    assert_eq!(ground.loads(), 6, "a dry run drops nothing");

    let done = ground.json(&["invalidate", "--node", "page:7", "--yes"]);
    assert_eq!((&done["outcome"], &done["targets"][0]["preview"]["count"]), (&"applied".into(), &3.into()), "{done}");
    ground.pages.page(7, 1).await;
    ground.pages.page(8, 1).await;
    assert_eq!(ground.loads(), 7, "the next call of what was dropped loads, and nothing else does");

    for (aim, loads) in [
        (["--entry", "page:8:1"], 8),
        (["--tag", "owner:8"], 9),
        (["--glob", "page:8:*"], 10),
        (["--function", "page"], 11),
    ] {
        let done = ground.run(&[&["invalidate", "--yes"], &aim[..]].concat());
        assert_eq!((done.code, done.out.lines().last()), (0, Some("applied")), "{done:?}");
        ground.pages.page(8, 1).await;
        assert_eq!(ground.loads(), loads, "{aim:?}");
    }
    assert_eq!(ground.run(&["invalidate", "--all", "--yes"]).code, 0);
    ground.pages.page(8, 1).await;
    assert_eq!(ground.loads(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_told() {
    let ground = Ground::new().await;
    for (arguments, says) in [
        (&["invalidate"][..], "required"),
        (&["invalidate", "--entry", "page 7", "--yes"], "`page 7`: not the path of a key"),
        (&["invalidate", "--function", "page:7", "--yes"], "use --node"),
        (&["map"], "only the program knows its map"),
        (&["map", "--file", "/nowhere"], "/nowhere"),
        (&["keys", "--timeout", "0"], "between 0.001 and 3600"),
        (&["stats", "--service", "localhost"], "is no URL of a service"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let ran = ground.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(says), "{arguments:?}: {ran:?}");
    }
    for (url, namespace, says) in [
        ("http://u:hunter2@127.0.0.1", "a", "no store serves"),
        ("redis://:hunter2@127.0.0.1:99999", "a", "the Redis URL is not valid"),
        ("redis://127.0.0.1?password=hunter2", "a", "unknown option `password`"),
        (&ground.url, "a b", "the namespace \"a b\" is not usable"),
    ] {
        let ran = run(&["--url", url, "--namespace", namespace, "keys"]);
        assert!(ran.code == 2 && ran.err.contains(says) && !ran.err.contains("hunter2"), "{url}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_as_json_is_one_line_of_it() {
    let ground = Ground::new().await;
    let told =
        |ran: &Ran| -> Value { serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}")) };
    let asked = ground.run(&["invalidate", "--entry", "page:7:1", "--json"]);
    assert_eq!(asked.code, 4, "{asked:?}");
    assert!(told(&asked)["targets"].is_array() && told(&asked)["error"].is_string(), "{asked:?}");
    for arguments in [&["invalidate", "--json"][..], &["frobnicate", "--json"], &["keys", "--json", "--limit", "x"]] {
        let ran = ground.run(arguments);
        assert!(ran.code == 2 && told(&ran)["error"].is_string(), "{arguments:?}: {ran:?}");
    }
}

/// Where nobody reads what would be hit, or it cannot be written, it is hit all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_gone_stops_no_invalidation() {
    let ground = Ground::new().await;
    ground.fill().await;
    let at = ["--url", &ground.url, "--namespace", &ground.namespace];
    let unread = {
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        drop(reader);
        std::process::Stdio::from(writer)
    };
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("it is there");
    for (out, code, loads) in [(unread, 0, 7), (full().into(), 3, 8)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
        let status = command.args(at).args(["invalidate", "--all", "--yes"]).stdout(out).status();
        assert_eq!(status.expect("the command is built").code(), Some(code));
        ground.pages.page(7, 1).await;
        assert_eq!(ground.loads(), loads, "it was done");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    let status = command.args(at).args(["get", "page:9:9"]).stderr(full()).status();
    assert_eq!(status.expect("the command is built").code(), Some(1), "it does not panic");
}

/// A server that answers everything with the same.
fn answering(status: &'static str, body: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(std::io::Read::read(&mut stream, &mut [0; 4096]));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            drop(std::io::Write::write_all(&mut stream, answer.as_bytes()));
        }
    });
    format!("http://anybody:hunter2@{at}/admin")
}

#[test]
fn what_is_no_admin_page_is_no_good_news() {
    for body in ["{}", "[]", "null", "<html>"] {
        let url = answering("200 OK", body);
        for command in ["doctor", "stats", "map"] {
            let ran = run(&["--service", &url, command]);
            let is_told = !ran.err.is_empty() && !ran.err.contains("hunter2") && ran.out.is_empty();
            assert!(
                matches!(ran.code, 2 | 3) && is_told || body == "[]" && command == "stats",
                "{body} {command}: {ran:?}"
            );
        }
    }
    for status in ["403 Forbidden", "404 Not Found", "500 Oops"] {
        let url = answering(status, "");
        for command in ["doctor", "stats", "map", "watch"] {
            let ran = run(&["--service", &url, command]);
            assert!(ran.code == 3 && !ran.err.contains("hunter2"), "{status} {command}: {ran:?}");
        }
    }
    let url = answering("200 OK", "data: \u{1b}[31mno event\n\n");
    let ran = run(&["--service", &url, "watch"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    let none = run(&["--service", &answering("200 OK", ""), "watch", "--count", "0"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
    let ran = run(&["--service", "ftp://anybody:hunter2@host", "stats"]);
    assert!(ran.code == 2 && ran.err.contains("…@host") && !ran.err.contains("hunter2"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_reach_is_an_exit_code_of_its_own() {
    let server = RedisServer::reserve();
    let url = server.url();
    for command in ["doctor", "stats", "keys", "watch"] {
        let ran = run(&["--url", &url, "--timeout", "1", command]);
        assert_eq!(ran.code, 3, "{command}: {ran:?}");
    }
    let service = run(&["stats", "--service", &format!("http://127.0.0.1:{}", server.port())]);
    assert_eq!(service.code, 3, "{service:?}");
    let json = run(&["--url", &url, "--timeout", "1", "--json", "keys"]);
    let told: Value = serde_json::from_str(&json.out).expect("JSON also of an error");
    assert!(told["error"].is_string(), "{json:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_planted_fault_and_nothing_on_a_good_server() {
    let server = RedisServer::own().expect("there is a server to start");
    let good = [["maxmemory", "64mb"], ["maxmemory-policy", "allkeys-lru"], ["save", ""]];
    for [name, value] in good {
        assert_eq!(server.cli(&["CONFIG", "SET", name, value]), "+OK");
    }
    let well = run(&["--url", &server.url(), "doctor"]);
    assert_eq!((well.code, well.out.as_str()), (0, "all is well\n"), "{well:?}");
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let found = run(&["--url", &server.url(), "doctor"]);
    assert_eq!((found.code, found.out.contains("[noeviction]")), (1, true), "{found:?}");
    let json = run(&["--url", &server.url(), "doctor", "--json"]);
    let json: Value = serde_json::from_str(&json.out).expect("it is JSON");
    assert_eq!(json["findings"][0]["id"], "noeviction");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_those_of_the_server() {
    let ground = Ground::new().await;
    ground.fill().await;
    let stats = ground.json(&["stats"]);
    assert_eq!(stats["entries"]["page"], 6);
    assert!(stats["servers"][0]["memory_bytes"].as_u64() > Some(0), "{stats}");
    let text = ground.run(&["stats"]);
    assert!(text.out.contains("page            6") || text.out.contains("page           6"), "{text:?}");
    let watched = ground.run(&["watch", "--every", "0.05", "--count", "3"]);
    assert_eq!((watched.code, watched.out.lines().filter(|line| line.starts_with("connected")).count()), (0, 3));
    let line = ground.json(&["watch", "--count", "1"]);
    assert_eq!(line["health"], "connected");
    assert!(line["now"]["keys"].as_u64() > Some(5), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_steer_a_terminal_is_shown_as_text() {
    let ground = Ground::new().await;
    let policy = Policy::new(Duration::from_secs(60));
    let key = Key::new("note").tag(Tag::new("t"));
    let value: Result<String, Infallible> =
        ground.pages.cache.get_or_load(&key, &policy, || async { Ok("a\u{9b}31m\u{202e}b".to_owned()) }).await;
    value.expect("it does not fail");
    let got = ground.run(&["get", "note"]);
    assert!(got.out.contains("\\u{9b}31m\\u{202e}"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_is_drawn_from_a_file() {
    let file = tempfile::NamedTempFile::new().expect("there is room");
    serde_json::to_writer(&file, &staleproof::map()).expect("a map is data");
    let path = file.path().to_str().expect("it is text");
    let text = run(&["map", "--file", path]);
    assert!(text.code == 0 && text.out.contains("page"), "{text:?}");
    let mermaid = run(&["map", "--file", path, "--form", "mermaid"]);
    assert_eq!(mermaid.out.trim_end(), staleproof::map().to_mermaid().trim_end());
    let dot = run(&["map", "--file", path, "--form", "dot"]);
    assert_eq!(dot.out.trim_end(), staleproof::map().to_dot().trim_end());
}

#[test]
fn a_variable_that_is_empty_counts_as_none() {
    let (url, namespace) = (shared_url(), unique("cli"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    let command =
        command.args(["-n", &namespace, "keys"]).env("STALEPROOF_URL", "").env("REDIS_URL", "redis://:x@[bad");
    let asked = command.output().expect("the command is built");
    assert_eq!(asked.status.code(), Some(2), "REDIS_URL is asked then, as the library does: {asked:?}");
    let found = command.env("REDIS_URL", url).env("STALEPROOF_SERVICE", "").output().expect("the command is built");
    assert_eq!(found.status.code(), Some(0), "{found:?}");
}

#[test]
fn foreign_keys_do_not_stop_a_list() {
    let (url, namespace) = (shared_url(), unique("cli"));
    cli(&url, &["RPUSH", &format!("{namespace}:list"), "x"]);
    let ran = run(&["--url", &url, "-n", &namespace, "keys"]);
    assert!(ran.code == 0 && ran.out.contains("foreign"), "{ran:?}");
}

#[test]
fn a_list_of_many_parts_is_in_order_and_names_each_once() {
    let (url, namespace) = (shared_url(), unique("cli"));
    let script = "for i = 1, 1500 do redis.call('SET', ARGV[1] .. ':many:' .. i, 'x', 'EX', 60) end";
    cli(&url, &["EVAL", script, "0", &namespace]);
    let ran = run(&["--url", &url, "-n", &namespace, "--json", "keys", "--limit", "5000"]);
    let listed: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    let items = listed["items"].as_array().expect("a list");
    assert_eq!((items.len(), &listed["is_more"]), (1_500, &false.into()));
    assert!(items.is_sorted_by(|one, other| one["path"].as_str() < other["path"].as_str()));
}

#[test]
fn who_watches_may_leave_a_service_that_does_not_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it has one"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_staleproof"));
    let mut watch = command.args(["watch", "--timeout", "3600", "--service", &url]).spawn().expect("it is built");
    let _open = listener.accept().expect("it asks");
    // By then it listens to signals, too.
    std::thread::sleep(Duration::from_millis(300));
    let interrupted = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().expect("there is kill");
    assert!(interrupted.success());
    let began = std::time::Instant::now();
    let status = loop {
        if let Some(status) = watch.try_wait().expect("it can be asked") {
            break status;
        }
        if began.elapsed() > Duration::from_secs(30) {
            drop(watch.kill());
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}
