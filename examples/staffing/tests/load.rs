//! `staffing load`: it reads and writes, says so to Prometheus, and ends when it is told to.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Instance {
    process: Child,
    at: String,
}

impl Instance {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_staffing"));
        for variable in ["STALEPROOF_URL", "REDIS_URL", "DATABASE_URL"] {
            command.env_remove(variable);
        }
        command.args(["load", "--listen", "127.0.0.1:0", "--rate", "500", "--writes", "50"]);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let at = line.trim().strip_prefix("metrics   http://").and_then(|rest| rest.strip_suffix("/metrics"));
        Self { at: at.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned(), process }
    }

    fn get(&self, path: &str) -> String {
        let mut connection = TcpStream::connect(&self.at).expect("it listens");
        write!(connection, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.at).expect("sent");
        let mut page = String::new();
        connection.read_to_string(&mut page).expect("an answer");
        page
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The sum of all series of a metric whose labels have this in them.
fn sum(page: &str, metric: &str, label: &str) -> f64 {
    let of_metric = page.lines().filter(|line| line.starts_with(&format!("{metric}{{")) && line.contains(label));
    of_metric.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn it_serves_metrics_of_what_it_does_and_ends_by_a_signal() {
    let mut instance = Instance::start();
    let health = instance.get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"), "{health}");

    // Every kind of read and write has come by at some time.
    let deadline = Instant::now() + Duration::from_secs(30);
    let has_all = |page: &str| {
        ["outcome=\"l1_hit\"", "outcome=\"miss\""]
            .iter()
            .all(|label| sum(page, "staleproof_requests_total", label) > 0.0)
            && ["kind=\"entry\"", "kind=\"node\"", "kind=\"tag\""]
                .iter()
                .all(|label| sum(page, "staleproof_invalidations_total", label) > 0.0)
            && page.contains("staleproof_load_duration_seconds_bucket{")
            && sum(page, "staleproof_verified_total", "") > 0.0
    };
    let mut page = instance.get("/metrics");
    while !has_all(&page) {
        assert!(Instant::now() < deadline, "{page}");
        std::thread::sleep(Duration::from_millis(100));
        page = instance.get("/metrics");
    }
    assert_eq!(sum(&page, "staleproof_load_errors_total", "").to_bits(), 0, "{page}");

    let asked = Command::new(env!("CARGO_BIN_EXE_staffing")).args(["health", "--at", &instance.at]).status();
    assert!(asked.expect("the program starts").success());
    let ended = Command::new("kill").args(["-TERM", &instance.process.id().to_string()]).status();
    assert!(ended.expect("kill").success());
    assert!(instance.process.wait().expect("it ends").success());
    let asked = Command::new(env!("CARGO_BIN_EXE_staffing")).args(["health", "--at", &instance.at]).output();
    assert!(!asked.expect("the program starts").status.success(), "nobody is there");
}
