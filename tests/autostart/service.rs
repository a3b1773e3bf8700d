//! A service in a process of its own, which starts as its environment says, obeys lines on its standard input and answers with lines
//! on its standard output.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use staleproof::{Cache, Health, Start, cached, start::LocalServer};

use crate::log::Warnings;

static LOADS: AtomicU32 = AtomicU32::new(0);

struct Doubles {
    cache: Cache,
}

impl Doubles {
    #[cached(ttl = "10m", key_prefix = "double")]
    async fn double(&self, id: u32) -> u32 {
        LOADS.fetch_add(1, Ordering::SeqCst);
        2 * id
    }
}

/// The service itself. `load ID` answers with the value and how many loads it took, `health` with the health, `drop` drops the cache
/// and stays; it exits at the end of its input.
pub(crate) async fn serve(directory: &str) {
    tracing::subscriber::set_global_default(Warnings).expect("there is none yet");
    let builder = Cache::builder();
    let is_asked = std::env::var_os("TEST_FROM_ENV").is_some();
    let mut builder = if is_asked { builder.from_env() } else { builder.start(Start::Auto) };
    builder = builder
        .local_server(LocalServer::new().directory(directory).persist(std::env::var_os("TEST_PERSIST").is_some()))
        // The bound on calls is not what this test is about.
        .call_timeout(Duration::from_secs(5));
    if std::env::var_os("TEST_REQUIRE").is_some() {
        builder = builder.require_redis();
    }
    let cache = match builder.connect().await {
        Ok(cache) => cache,
        Err(error) => return println!("error: {error}"),
    };
    println!("{}", called(cache.health()));
    let mut service = Some(Doubles { cache });
    while let Some(Ok(line)) = std::io::stdin().lines().next() {
        let doubles = service.as_ref().expect("nothing is asked after the drop");
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("load", id) => {
                let before = LOADS.load(Ordering::SeqCst);
                let value = doubles.double(id.parse().expect("a number")).await;
                println!("{value} {}", LOADS.load(Ordering::SeqCst) - before);
            }
            ("health", _) => println!("{}", called(doubles.cache.health())),
            ("drop", _) => {
                drop(service.take());
                println!("dropped");
            }
            (other, _) => panic!("unknown command {other}"),
        }
    }
    // As a service ends that keeps its cache in a static: nothing is dropped.
    std::process::exit(0);
}

fn called(health: Health) -> &'static str {
    match health {
        Health::Connected => "connected",
        Health::Degraded { .. } => "degraded",
        Health::Memory => "memory",
        _ => "unknown",
    }
}

/// The service as the test sees it.
pub(crate) struct Service {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    log: PathBuf,
    /// What it said when it had started.
    pub(crate) began: String,
}

impl Service {
    /// Starts one on this directory, with nothing in its environment but these and the `PATH`.
    pub(crate) fn start(directory: &Path, environment: &[(&str, &str)]) -> Self {
        let log = std::env::temp_dir().join(test_support::unique("autostart-log"));
        let mut process = Command::new(std::env::current_exe().expect("a test has a path"))
            .arg("serve")
            .arg(directory)
            .env_remove("STALEPROOF_URL")
            .env_remove("REDIS_URL")
            .env_remove("STALEPROOF_MODE")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("it can be made"))
            .spawn()
            .expect("the test starts itself");
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("piped"));
        let mut service = Self { process, to, from, log, began: String::new() };
        service.began = service.hear();
        service
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the service answers");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        writeln!(self.to.as_mut().expect("it listens"), "{line}").expect("the service listens");
        self.hear()
    }

    /// Its warnings so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("it was made")
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is a child of this process");
        self.process.wait().expect("it is a child of this process");
    }

    /// Ends it as it would end by itself.
    pub(crate) fn end(&mut self) {
        drop(self.to.take());
        assert!(self.process.wait().expect("it is a child of this process").success(), "{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the service:\n{}", self.log());
        }
        self.kill();
        drop(std::fs::remove_file(&self.log));
    }
}
