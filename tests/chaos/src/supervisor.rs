//! A run from its start to its verdict.

use std::{process::ExitCode, sync::mpsc::Receiver, thread, time::Duration};

use crate::{
    Options,
    checker::Book,
    clock::{nanos, now},
    fact::{Fact, Life},
    faults::Faults,
    report::{Report, Tally},
    world::{World, wait_for_first},
};

/// How often the supervisor looks after things.
const TURN: Duration = Duration::from_millis(4);

/// How long everything is left alone at the end: journals have to be in force by then.
const CALM: Duration = Duration::from_millis(2_500);

/// How long the servers may take before that to be well again.
const RECOVERY: Duration = Duration::from_secs(30);

pub(crate) fn run(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!(
        "chaos: {:?}, {} instances, degraded: {:?}, copies: {:?}, --seed {seed}",
        options.topology, options.instances, options.degraded, options.l1
    );
    let Some((mut world, told)) = World::start(options) else {
        return ExitCode::from(2);
    };
    let mut book = Book::new(options.degraded, options.topology, options.l1);
    let mut tally = Tally::default();
    if let Some((life, fact)) = wait_for_first(&told) {
        tally.note(&mut book, life, fact);
    }
    let mut faults = Faults::new(seed, options.topology, &options.only);
    let began = now();
    let (end, mut second) = (began + nanos(Duration::from_secs(options.seconds)), 1);
    while now() < end {
        faults.turn(&mut world, &mut book);
        turn(&mut world, &told, &mut book, &mut tally);
        if now() >= began + second * 1_000_000_000 {
            tally.print_line(second, &faults);
            second += 1;
        }
    }
    faults.heal(&mut world, &mut book);
    let latest = now() + nanos(RECOVERY);
    let mut calm = now() + nanos(CALM);
    while now() < calm {
        faults.watch_over(&mut world, &mut book);
        turn(&mut world, &told, &mut book, &mut tally);
        if !world.is_good() && now() < latest {
            calm = now() + nanos(CALM);
        }
    }
    if !world.is_good() {
        faults.unexpected.push(format!("the servers have not recovered:\n{}", world.servers.say()));
    }
    let alive = world.alive();
    let reach = world.end();
    // The readers of the instances' outputs are at their ends when nobody can send any more.
    while let Ok((life, fact)) = told.recv() {
        tally.note(&mut book, life, fact);
    }
    book.find_inherited();
    book.find_killed_writers(|life| !alive.contains(&life));
    Report {
        seed,
        began,
        book: &book,
        tally: &tally,
        faults: &faults,
        reach: &reach,
        copies: options.l1,
        shows_log: options.log,
    }
    .print()
}

fn turn(world: &mut World, told: &Receiver<(Life, Fact)>, book: &mut Book, tally: &mut Tally) {
    world.look_around();
    for (life, fact) in told.try_iter() {
        tally.note(book, life, fact);
    }
    thread::sleep(TURN);
}
