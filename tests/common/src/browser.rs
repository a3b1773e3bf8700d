//! A real Chromium without a window, by its driver.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub use fantoccini::key::Key as Pressed;
use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::unique;

/// The browser's programs, as distributions call them.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Nothing that is waited for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many browsers there are at once: each is a handful of processes.
static SEATS: Semaphore = Semaphore::const_new(3);

/// How wide the window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// Wide.
    Desktop,
    /// Narrow, and touched.
    Phone,
}

/// A browser of the test's own, which ends with it.
pub struct Browser {
    /// What speaks to it.
    pub client: Client,
    _driver: Driver,
    _seat: SemaphorePermit<'static>,
}

/// The driver's process. What it has started ends with it, also where the test fails.
struct Driver {
    child: Child,
    folder: PathBuf,
}

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    let found = |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    names.iter().find_map(found)
}

impl Driver {
    fn start() -> (Self, String) {
        let program = on_path(&["chromedriver"]).unwrap_or_else(|| {
            panic!("there is no chromedriver on the PATH: run ./scripts/test, which installs it, or install chromium-driver")
        });
        let folder = env::temp_dir().join(format!("staleproof-{}", unique("browser")));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        let mut command = Command::new(&program);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // What it and the browser leave behind goes with the folder.
        command.env("TMPDIR", &folder).env("HOME", &folder);
        let mut driver = Self { child: command.spawn().expect("chromedriver can be run"), folder };
        let output = driver.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        // Read on, so that it never waits for somebody to read.
        std::thread::spawn(move || lines.for_each(drop));
        (driver, format!("http://127.0.0.1:{}", port.expect("chromedriver says where it listens")))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let all = descendants(self.child.id());
        let ids = all.iter().map(ToString::to_string);
        // Some end by themselves meanwhile.
        drop(Command::new("kill").arg("-KILL").args(ids).stdout(Stdio::null()).stderr(Stdio::null()).status());
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A process and all that it has started, at one time.
fn descendants(process: u32) -> BTreeSet<u32> {
    let parents = parents();
    let mut all = BTreeSet::from([process]);
    loop {
        let more: Vec<_> = parents.iter().filter(|(id, parent)| all.contains(parent) && !all.contains(id)).collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more.into_iter().map(|(id, _)| id));
    }
}

/// The parent of each process: as Linux shows it, else as `ps` tells.
fn parents() -> Vec<(u32, u32)> {
    if let Ok(processes) = std::fs::read_dir("/proc") {
        let stat = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // Behind the name, in which anything may be.
            let parent = stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        };
        return processes.filter_map(stat).collect();
    }
    let listing = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().map(|output| output.stdout);
    let pair = |line: &str| {
        let (id, parent) = line.trim().split_once(char::is_whitespace)?;
        Some((id.parse().ok()?, parent.trim().parse().ok()?))
    };
    String::from_utf8_lossy(&listing.unwrap_or_default()).lines().filter_map(pair).collect()
}

fn capabilities(device: Device, folder: &Path) -> Capabilities {
    let program = on_path(&BROWSERS).unwrap_or_else(|| {
        panic!("there is no Chromium on the PATH: run ./scripts/test, which installs it, or install chromium")
    });
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let mut options = json!({
        "binary": program,
        "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900", profile,
        ],
    });
    if device == Device::Phone {
        options["mobileEmulation"] =
            json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2, "touch": true } });
    }
    let all = json!({ "browserName": "chrome", "goog:chromeOptions": options });
    let Value::Object(all) = all else { unreachable!("it is written as an object") };
    all
}

impl Browser {
    /// Opens one.
    pub async fn open(device: Device) -> Self {
        let seat = SEATS.acquire().await.expect("it is never closed");
        let (driver, address) = Driver::start();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities(device, &driver.folder));
        let client = builder.connect(&address).await.expect("the driver opens a browser");
        Self { client, _driver: driver, _seat: seat }
    }

    /// Goes to an address.
    pub async fn goto(&self, address: &str) {
        self.client.goto(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    /// Runs a script in the page.
    pub async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The first element of this kind, once there is one: a click does not wait for the page that it leads to.
    pub async fn find(&self, css: &str) -> Element {
        let waiting = self.client.wait().at_most(PATIENCE).every(Duration::from_millis(20));
        waiting.for_element(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// What is to be read in it.
    pub async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.expect("it is on the page")
    }

    /// All that is to be read.
    pub async fn page(&self) -> String {
        self.text("body").await
    }

    /// Clicks on it.
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Writes into a field, instead of what is there.
    pub async fn write(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.expect("it is a field");
        field.send_keys(text).await.expect("it is a field");
    }

    /// Waits until a script says something that is true.
    pub async fn wait_for(&self, script: &str) -> Value {
        let began = Instant::now();
        loop {
            let said = self.script(script).await;
            if !matches!(said, Value::Null | Value::Bool(false)) {
                return said;
            }
            let is_late = began.elapsed() > PATIENCE;
            assert!(!is_late, "never true: {script}; the page says\n{}", self.page().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
