//! What do a hundred annotated methods add to `cargo check` and to a release build, beside the same crate without the attributes?
//!
//! ```sh
//! cargo run --release -p benches --bin what_do_a_hundred_methods_cost_to_build
//! ```
//!
//! Two crates are written to the target folder: 10 services with 7 cached methods and 3 that invalidate each, over 20 types, once with the
//! attributes and once without. Both have the same dependencies, built before, and serde's derives on the same types. Then each is
//! built again and again after a change of its only file, in turn. Medians of seconds are shown, and the size of the program.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

const SERVICES: usize = 10;
const CACHED: usize = 7;
const TYPES: usize = 20;
const ROUNDS: usize = 3;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/build-cost");
    let crates = [("without", false), ("with", true)].map(|(name, annotated)| write(&folder, &root, name, annotated));
    println!("{:<28} {:>9} {:>9} {:>9}", "100 methods", "without", "with", "added");
    for (what, arguments) in [
        ("cargo check", &["check"][..]),
        ("cargo build", &["build"]),
        ("cargo build --release", &["build", "--release"]),
    ] {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (crate_folder, times) in crates.iter().zip(&mut times) {
                let took = build(crate_folder, &folder, arguments, round);
                // The first one builds the dependencies.
                if round > 0 {
                    times.push(took);
                }
            }
        }
        let [without, with] = times.map(median);
        println!("{what:<28} {without:>7.2} s {with:>7.2} s {:>7.2} s", with - without);
    }
    let [without, with] = ["without", "with"].map(|name| size(&folder.join("target/release").join(name)));
    println!("{:<28} {without:>5.2} MiB {with:>5.2} MiB {:>5.2} MiB", "size, stripped", with - without);
}

fn write(folder: &Path, root: &Path, name: &str, annotated: bool) -> PathBuf {
    let crate_folder = folder.join(name);
    fs::create_dir_all(crate_folder.join("src")).expect("the target folder can be written to");
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nstaleproof = {{ path = \"{}\" }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\ntokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n\n\
         [profile.release]\nstrip = true\n\n[workspace]\n",
        root.display()
    );
    fs::write(crate_folder.join("Cargo.toml"), manifest).expect("the target folder can be written to");
    // The same versions as the project's own.
    fs::copy(root.join("Cargo.lock"), crate_folder.join("Cargo.lock")).expect("there is a lock file");
    fs::write(crate_folder.join("src/main.rs"), source(annotated)).expect("the target folder can be written to");
    crate_folder
}

fn source(annotated: bool) -> String {
    let mut text = String::from("#![allow(dead_code, unused)]\nuse staleproof::{Cache, cached, invalidates};\n\n");
    let mut add = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("writing to a String succeeds");
    for number in 0..TYPES {
        add(format_args!(
            "#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]\npub struct Row{number} {{ pub id: i64, pub name: String, \
             pub rate: Option<f64>, pub tags: Vec<String>, pub at: [u32; {}] }}\n",
            number + 1
        ));
    }
    add(format_args!("#[derive(Debug)] pub struct Failed;\n"));
    for service in 0..SERVICES {
        add(format_args!(
            "#[derive(Clone)] pub struct Service{service} {{ cache: Cache }}\nimpl Service{service} {{\n"
        ));
        for method in 0..CACHED {
            if annotated {
                add(format_args!("#[cached(ttl = \"15m\", key_prefix = \"s{service}_m{method}\")]\n"));
            }
            add(format_args!(
                "pub async fn read{method}(&self, owner: i64, page: u32) -> Result<Vec<Row{}>, Failed> {{ tokio::task::yield_now().await; \
                 if page > 7 {{ Err(Failed) }} else {{ Ok(Vec::new()) }} }}\n",
                (service * CACHED + method) % TYPES
            ));
        }
        for method in CACHED..100 / SERVICES {
            if annotated {
                add(format_args!("#[invalidates(Self::read0(owner, page), Self::read1(owner, ..))]\n"));
            }
            add(format_args!(
                "pub async fn write{method}(&self, owner: i64, page: u32) -> Result<(), Failed> {{ tokio::task::yield_now().await; Ok(()) }}\n"
            ));
        }
        add(format_args!("}}\n"));
    }
    // Whatever is not called is not built.
    add(format_args!("#[tokio::main]\nasync fn main() {{\nlet cache = Cache::memory();\n"));
    for service in 0..SERVICES {
        add(format_args!("let service = Service{service} {{ cache: cache.clone() }};\n"));
        for method in 0..CACHED {
            add(format_args!("println!(\"{{:?}}\", service.read{method}(1, 2).await);\n"));
        }
        for method in CACHED..100 / SERVICES {
            add(format_args!("println!(\"{{:?}}\", service.write{method}(1, 2).await);\n"));
        }
    }
    add(format_args!("}}\n"));
    text
}

/// Seconds that it takes after a change.
fn build(crate_folder: &Path, folder: &Path, arguments: &[&str], round: usize) -> f64 {
    let main = crate_folder.join("src/main.rs");
    let text = fs::read_to_string(&main).expect("it was written");
    let text = text.split("// round").next().unwrap_or_default();
    fs::write(&main, format!("{text}// round {round}\npub fn round() -> usize {{ {round} }}\n"))
        .expect("it was written");
    let began = Instant::now();
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--quiet", "--target-dir"])
        .arg(folder.join("target"))
        .env("CARGO_INCREMENTAL", "0")
        .current_dir(crate_folder)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "cargo {arguments:?} fails in {}", crate_folder.display());
    began.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// In MiB.
#[allow(clippy::cast_precision_loss, reason = "no program is that large")]
fn size(program: &Path) -> f64 {
    fs::metadata(program).expect("it was built").len() as f64 / f64::from(1 << 20)
}
