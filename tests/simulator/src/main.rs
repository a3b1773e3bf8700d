//! The simulator's command line.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use cache_core::L1;
use simulator::{BOUNDED, Backend, MISTAKES, Report, Settings, Simulator};

const USAGE: &str = "\
usage: simulator run     [--seed N] [--seeds N] [--steps N] [--seconds N] [--store redis|memory] [--real-scan]
                         [--l1 off|validated|leased|bounded|all]
       simulator mutants [--seeds N] [--steps N] [--mutant TEXT]
       simulator replay  --seed N [--steps N] [--store redis|memory] [--mutant TEXT] [--trace] [--last N]
                         [--l1 off|validated|leased|bounded|all]
`--l1 all`, the default: the mode of copies follows from the seed.";

/// How many lines of a failure's history are printed.
const LAST: usize = 120;

/// How many steps a run has if none are given.
const STEPS: u64 = 100_000;

struct Arguments {
    /// A seed was given.
    is_seeded: bool,
    seed: u64,
    seeds: u64,
    steps: u64,
    seconds: Option<u64>,
    backend: Backend,
    /// `None`: the seed's.
    l1: Option<L1>,
    mutant: Option<String>,
    trace: bool,
    real_scan: bool,
    last: usize,
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let command = given.next().unwrap_or_default();
    if matches!(command.as_str(), "help" | "-h" | "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let arguments = match parse(given).and_then(|arguments| arguments.check(&command)) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let ok = match command.as_str() {
        "run" => run(&arguments),
        "mutants" => mutants(&arguments),
        "replay" => replay(&arguments),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        is_seeded: false,
        seed: 1,
        seeds: 1,
        steps: 0,
        seconds: None,
        backend: Backend::Redis,
        l1: None,
        mutant: None,
        trace: false,
        real_scan: false,
        last: LAST,
    };
    while let Some(option) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{option} needs a value"));
        let number = |text: String| text.replace('_', "").parse::<u64>().map_err(|_| format!("{text} is not a number"));
        match option.as_str() {
            "--seed" => (arguments.is_seeded, arguments.seed) = (true, number(value()?)?),
            "--seeds" => arguments.seeds = number(value()?)?,
            "--steps" => arguments.steps = number(value()?)?,
            "--seconds" => arguments.seconds = Some(number(value()?)?),
            "--last" => arguments.last = usize::try_from(number(value()?)?).unwrap_or(usize::MAX),
            "--store" => {
                arguments.backend = match value()?.as_str() {
                    "redis" => Backend::Redis,
                    "memory" => Backend::Memory,
                    other => return Err(format!("{other} is neither `redis` nor `memory`")),
                }
            }
            "--l1" => {
                arguments.l1 = match value()?.as_str() {
                    "off" => Some(L1::Off),
                    "validated" => Some(L1::Validated),
                    "leased" => Some(L1::Leased),
                    "bounded" => Some(BOUNDED),
                    "all" => None,
                    other => {
                        return Err(format!("{other} is none of `off`, `validated`, `leased`, `bounded` and `all`"));
                    }
                }
            }
            "--mutant" => arguments.mutant = Some(value()?),
            "--trace" => arguments.trace = true,
            "--real-scan" => arguments.real_scan = true,
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(arguments)
}

impl Arguments {
    /// What would run nothing, or not what was meant, must not pass for a run that found nothing.
    fn check(self, command: &str) -> Result<Self, String> {
        if command == "replay" && !self.is_seeded {
            return Err("replay needs the --seed of the run".to_owned());
        }
        if self.seeds == 0 || self.seconds == Some(0) {
            return Err("that would run nothing".to_owned());
        }
        if let Some(text) = &self.mutant {
            let is_meant =
                |name: &str, backend| name.contains(text.as_str()) && (command == "mutants" || backend == self.backend);
            if !MISTAKES.iter().any(|mistake| is_meant(mistake.name, mistake.backend)) {
                let names = MISTAKES.iter().map(|mistake| mistake.name).collect::<Vec<_>>().join("\n  ");
                return Err(format!("no mutant is called {text:?}; there are\n  {names}"));
            }
        }
        Ok(self)
    }
}

fn simulator(backend: Backend) -> Simulator {
    Simulator::new(backend).unwrap_or_else(|| {
        eprintln!("the simulator needs redis-server or valkey-server on the PATH");
        std::process::exit(2);
    })
}

fn run(arguments: &Arguments) -> bool {
    let mut simulator = simulator(arguments.backend);
    let until = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut all: Option<Report> = None;
    for seed in (arguments.seed..).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let steps = if arguments.steps == 0 { STEPS } else { arguments.steps };
        let mut settings = Settings::new(arguments.backend, seed, steps);
        settings.l1 = arguments.l1.unwrap_or(settings.l1);
        settings.until = until;
        settings.real_scan = arguments.real_scan;
        let report = simulator.run(&settings);
        println!("{report}");
        if report.failure.is_some() {
            explain(&mut simulator, &settings, &report, arguments.last);
            return false;
        }
        match &mut all {
            None => all = Some(report),
            Some(all) => {
                all.steps += report.steps;
                all.took += report.took;
                for (what, count) in report.counts {
                    *all.counts.entry(what).or_default() += count;
                }
            }
        }
    }
    if let Some(all) = all {
        println!("\n{} steps in {:.1} s, nothing stale", all.steps, all.took.as_secs_f64());
        for (what, count) in &all.counts {
            println!("{count:>10}  {what}");
        }
    }
    true
}

fn explain(simulator: &mut Simulator, settings: &Settings, report: &Report, last: usize) {
    let trace = simulator.explain(settings, report);
    let from = trace.len().saturating_sub(last);
    trace[from..].iter().for_each(|line| println!("{line}"));
    println!(
        "seed {}, step {}: {}",
        report.seed,
        report.steps,
        report.failure.as_ref().map_or("", |failure| &failure.what)
    );
}

fn mutants(arguments: &Arguments) -> bool {
    let mut redis = simulator(Backend::Redis);
    let mut memory = simulator(Backend::Memory);
    // Many short runs: each kind of weather comes early.
    let steps = if arguments.steps == 0 { 50_000 } else { arguments.steps };
    let seeds = if arguments.seeds == 1 { 60 } else { arguments.seeds };
    let mut all_caught = true;
    println!("{:<66} {:>10} {:>6}  stale serve", "mutant", "steps", "seed");
    let is_asked_for = |name: &str| arguments.mutant.as_ref().is_none_or(|text| name.contains(text.as_str()));
    for mistake in MISTAKES.iter().filter(|mistake| is_asked_for(mistake.name)) {
        let simulator = if mistake.backend == Backend::Redis { &mut redis } else { &mut memory };
        // What has a test of its own is searched for less long.
        let seeds = if mistake.directed.is_some() { seeds.div_ceil(4) } else { seeds };
        let mut survived = 0;
        let caught = (1..=seeds).find_map(|seed| {
            let report = simulator.run(&Settings::new(mistake.backend, seed, steps).with_mistake(mistake));
            survived += report.steps;
            report.failure.map(|failure| (seed, failure))
        });
        if let Some((seed, failure)) = caught {
            println!("{:<66} {survived:>10} {seed:>6}  {}", mistake.name, failure.what);
        } else if let Some(test) = mistake.directed {
            println!("{:<66} {survived:>10}      -  noticed by the test {test}", mistake.name);
        } else {
            println!("{:<66} {survived:>10} NOT CAUGHT", mistake.name);
            all_caught = false;
        }
    }
    all_caught
}

fn replay(arguments: &Arguments) -> bool {
    let mistake = arguments.mutant.as_ref().and_then(|text| {
        MISTAKES.iter().find(|mistake| mistake.name.contains(text.as_str()) && mistake.backend == arguments.backend)
    });
    let mut simulator = simulator(arguments.backend);
    let mut settings =
        Settings::new(arguments.backend, arguments.seed, if arguments.steps == 0 { STEPS } else { arguments.steps });
    if let Some(mistake) = mistake {
        settings = settings.with_mistake(mistake);
    }
    settings.l1 = arguments.l1.unwrap_or(settings.l1);
    let report = simulator.run(&settings);
    println!("{report}");
    if arguments.trace || report.failure.is_some() {
        explain(&mut simulator, &settings, &report, arguments.last);
    }
    report.failure.is_none()
}
