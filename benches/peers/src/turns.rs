//! Taking the time of what is over in nanoseconds, or a few thousand of them, and waits for nobody.

use std::{
    fmt,
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use tokio::runtime::Handle;

/// Which of the keys comes next: cheap, and no pattern that a processor could foresee.
pub struct Next(u64);

impl Next {
    fn of_thread(thread: usize) -> Self {
        Self((thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `keys`.
    #[inline]
    pub fn key(&mut self, keys: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % keys
    }
}

/// How many operations a contender does at a time.
pub const BATCH: u64 = 128;

/// One contender: does [`BATCH`] operations over the first so many keys.
pub struct Contender<'a> {
    pub name: &'a str,
    batch: Box<dyn Fn(&mut Next, u64) + Sync + 'a>,
}

impl<'a> Contender<'a> {
    pub fn new(name: &'a str, batch: impl Fn(&mut Next, u64) + Sync + 'a) -> Self {
        Self { name, batch: Box::new(batch) }
    }

    /// Asks for each of the first so many keys often enough that all that follows are hits.
    pub fn fill(&self, keys: u64) {
        let mut next = Next::of_thread(0);
        for _ in 0..16 * keys / BATCH {
            (self.batch)(&mut next, keys);
        }
    }
}

/// How many threads work on how many keys.
#[derive(Clone, Copy)]
pub struct Setting {
    pub threads: usize,
    pub keys: u64,
}

/// How long each measurement takes.
const SLICE: Duration = Duration::from_millis(2);

/// A measurement of several threads counts only if each of them had a processor for itself for this share of the time. Otherwise
/// they do not run side by side, and nothing of what they do to each other shows.
const UNDISTURBED: f64 = 0.95;

/// Nanoseconds per operation and thread.
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn median(&self) -> f64 {
        if self.0.is_empty() { f64::NAN } else { self.0[self.0.len() / 2] }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.pad("never undisturbed"),
            all => f.pad(&format!("{:.0} ({:.0}–{:.0})", self.median(), all[all.len() / 10], all[all.len() * 9 / 10])),
        }
    }
}

/// Measures all contenders in turn, round after round, so that what the machine does meanwhile hits all of them. Median, and
/// in brackets the range of the middle 80 %. In the context of a runtime.
pub fn measure(contenders: &[Contender<'_>], setting: Setting, rounds: usize) -> Vec<Figures> {
    let mut all: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
    for contender in contenders {
        contender.fill(setting.keys);
        slice(contender, setting);
    }
    // On a busy machine some slices are never undisturbed.
    let deadline = Instant::now() + Duration::from_secs(4) * u32::try_from(rounds).unwrap_or(u32::MAX);
    while all.iter().any(|figures| figures.len() < rounds) && Instant::now() < deadline {
        for (contender, figures) in contenders.iter().zip(&mut all).filter(|(_, figures)| figures.len() < rounds) {
            figures.extend(slice(contender, setting));
        }
    }
    all.into_iter()
        .map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            Figures(figures)
        })
        .collect()
}

/// One measurement, if nobody disturbed it.
fn slice(contender: &Contender<'_>, Setting { threads, keys }: Setting) -> Option<f64> {
    let (ready, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    // Some look for it, though it has nothing to do.
    let runtime = Handle::current();
    let work = |thread: usize| {
        let _entered = runtime.enter();
        let mut next = Next::of_thread(thread);
        // What the others have left in the processor's caches is not this contender's.
        let warm = Instant::now();
        for _ in 0..64 {
            (contender.batch)(&mut next, keys);
            if warm.elapsed() > SLICE {
                break;
            }
        }
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < threads {
            spin_loop();
        }
        let (cpu, wall, mut batches) = (ThreadTime::now(), Instant::now(), 0_u64);
        while !stop.load(Ordering::Relaxed) {
            (contender.batch)(&mut next, keys);
            batches += 1;
            if thread == 0 && wall.elapsed() > SLICE {
                stop.store(true, Ordering::Relaxed);
            }
        }
        let (cpu, wall) = (cpu.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64());
        let whole = wall.max(SLICE.as_secs_f64());
        // The processor's time: what others took in between is not part of it.
        (threads == 1 || cpu / whole > UNDISTURBED).then(|| cpu * 1e9 / (batches * BATCH) as f64)
    };
    let all: Option<Vec<f64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a contender does not panic")).collect()
    });
    all.map(|all| all.iter().sum::<f64>() / threads as f64)
}

/// Runs a future that has nothing to wait for, once everything is there. Until then it is asked again and again.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::yield_now();
    }
}
