//! What do a hundred annotated methods add to `cargo check` and to `cargo build --release`, beside the same package without the attributes?
//!
//! Two packages are written to a temporary folder: 10 services with 7 cached methods and 3 that invalidate each, over 20 types, once with
//! the attributes and once without. Both have the same dependencies, built before, and serde's derives on the same types. Then each is
//! built again and again after a change of its only file, in turn. What is shown are medians, and the size of the program.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml what_do_a_hundred_methods_cost_to_build [rounds]
//! ```

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{argument, table};

const METHODS: usize = 100;
const SERVICES: usize = 10;
const CACHED: usize = 7;
const TYPES: usize = 20;

/// The packages, and whether they have the attributes.
const PACKAGES: [(&str, bool); 2] = [("without", false), ("with", true)];

pub fn run() {
    let rounds = argument(1, 3);
    let folder = Folder::new();
    let mut lines = Vec::new();
    for (what, arguments) in [("`cargo check`", &["check"][..]), ("`cargo build --release`", &["build", "--release"])] {
        // The dependencies, which are the same for both.
        folder.build("without", false, arguments, 0);
        let mut times = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            for ((package, annotated), times) in PACKAGES.into_iter().zip(&mut times) {
                times.push(folder.build(package, annotated, arguments, round));
            }
        }
        let [without, with] = times.map(median);
        lines.push(line(what, "s", without, with));
    }
    let [without, with] = PACKAGES.map(|(package, _)| folder.size(package));
    lines.push(line("size of the program, stripped", "MiB", without, with));
    table::print(&table::columns(["without", "with", "added"]), &lines);
}

fn line(what: &str, unit: &str, without: f64, with: f64) -> Vec<String> {
    let number = |number: f64| format!("{number:.1} {unit}");
    vec![what.to_owned(), number(without), number(with), number(with - without)]
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A workspace of both packages, removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(test_support::unique("hundred-methods")));
        // As small as it can be: nobody looks for symbols in it.
        let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"without\", \"with\"]\n\n\
                         [profile.dev]\ndebug = false\n\n[profile.release]\nstrip = true\n";
        folder.write("Cargo.toml", workspace);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (package, annotated) in PACKAGES {
            folder.write(&format!("{package}/src/main.rs"), &source(annotated));
            let manifest = format!(
                "[package]\nname = {package:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
                 staleproof = {{ path = {root:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\
                 tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n"
            );
            folder.write(&format!("{package}/Cargo.toml"), &manifest);
        }
        // The same versions as the project's own.
        let locked = fs::read_to_string(root.join("Cargo.lock")).expect("there is a lock file");
        folder.write("Cargo.lock", &locked);
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the temporary folder can be written to");
        fs::write(path, text).expect("the temporary folder can be written to");
    }

    /// Seconds that it takes after a change.
    fn build(&self, package: &str, annotated: bool, arguments: &[&str], round: usize) -> f64 {
        let changed = format!("{}pub fn round() -> usize {{ {round} }}\n", source(annotated));
        self.write(&format!("{package}/src/main.rs"), &changed);
        let began = Instant::now();
        let status = Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--quiet", "--package", package, "--target-dir", "target"])
            .env("CARGO_INCREMENTAL", "0")
            .current_dir(&self.0)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "cargo {arguments:?} fails for {package}");
        began.elapsed().as_secs_f64()
    }

    /// In MiB.
    fn size(&self, package: &str) -> f64 {
        let program = self.0.join("target/release").join(package);
        fs::metadata(program).expect("it was built").len() as f64 / f64::from(1 << 20)
    }
}

/// The only file of a package.
fn source(annotated: bool) -> String {
    let mut text = String::from(
        "#![allow(dead_code, unused)]\nuse staleproof::{Cache, cached, invalidates};\n#[derive(Debug)] pub struct Failed;\n",
    );
    for number in 0..TYPES {
        let _ = writeln!(
            text,
            "#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]\npub struct Row{number} {{ pub id: i64, pub name: String, \
             pub rate: Option<f64>, pub tags: Vec<String>, pub at: [u32; {}] }}",
            number + 1
        );
    }
    for number in 0..SERVICES {
        service(&mut text, number, annotated);
    }
    // Whatever is not called is not built.
    text.push_str("#[tokio::main]\nasync fn main() {\nlet cache = Cache::memory();\n");
    for number in 0..SERVICES {
        let _ = writeln!(text, "let service = Service{number} {{ cache: cache.clone() }};");
        for method in 0..METHODS / SERVICES {
            let kind = if method < CACHED { "read" } else { "write" };
            let _ = writeln!(text, "println!(\"{{:?}}\", service.{kind}{method}(1, 2).await);");
        }
    }
    text.push_str("}\n");
    text
}

fn service(text: &mut String, number: usize, annotated: bool) {
    let _ = writeln!(text, "#[derive(Clone)] pub struct Service{number} {{ cache: Cache }}\nimpl Service{number} {{");
    for method in 0..METHODS / SERVICES {
        let (attribute, kind, result) = if method < CACHED {
            let row = (number * CACHED + method) % TYPES;
            (
                format!("#[cached(ttl = \"15m\", key_prefix = \"s{number}_m{method}\")]"),
                "read",
                (format!("Vec<Row{row}>"), "if page > 7 { Err(Failed) } else { Ok(Vec::new()) }"),
            )
        } else {
            let attribute = "#[invalidates(Self::read0(owner, page), Self::read1(owner, ..))]";
            (attribute.to_owned(), "write", ("()".to_owned(), "Ok(())"))
        };
        if annotated {
            let _ = writeln!(text, "{attribute}");
        }
        let (result, body) = result;
        let _ = writeln!(
            text,
            "pub async fn {kind}{method}(&self, owner: i64, page: u32) -> Result<{result}, Failed> {{ tokio::task::yield_now().await; {body} }}"
        );
    }
    text.push_str("}\n");
}
