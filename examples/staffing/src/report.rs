//! What the scenario prints: a line for each call, and the sums at the end.
//!
//! Whether a call was a hit is not asked of the cache: it was one if the database had nothing to do.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use staffing::{Db, Result, db::Work};

/// Prints a line. That nobody reads on, as in `staffing | head`, is no reason to stop.
macro_rules! print_line {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
pub(crate) use print_line;

/// A call of a service, as it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<A> {
    /// Service and method.
    pub(crate) name: &'static str,
    /// The arguments.
    pub(crate) args: A,
}

/// The calls of one method, summed up.
#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    hits: u64,
    joined: u64,
    loads: u64,
    statements: u64,
    saved: u64,
    saved_time: Duration,
    /// What the last load cost.
    last_load: Option<(u64, Duration)>,
}

impl Tally {
    fn load(&mut self, statements: u64, took: Duration) {
        self.loads += 1;
        self.statements += statements;
        self.last_load = Some((statements, took));
    }

    /// Counts a call that was answered without a load. Answers how many statements that saved: at least one, also
    /// where the load was another instance's.
    fn spare(&mut self, took: Duration) -> u64 {
        let (statements, time) = self.last_load.unwrap_or((1, Duration::ZERO));
        self.saved += statements;
        self.saved_time += time.saturating_sub(took);
        statements
    }
}

/// Prints the calls and adds them up.
pub(crate) struct Report {
    db: Db,
    paint: Paint,
    sections: u32,
    tallies: BTreeMap<&'static str, Tally>,
}

impl Report {
    /// An empty report about what is done with `db`.
    pub(crate) fn new(db: Db) -> Self {
        Self { db, paint: Paint::of_stdout(), sections: 0, tallies: BTreeMap::new() }
    }

    /// Begins the next part of the story.
    pub(crate) fn section(&mut self, title: &str) {
        self.sections += 1;
        print_line!("\n{}", self.paint.bold(format_args!("{}. {title}", self.sections)));
    }

    /// Awaits a cached read and prints how it was answered; `say` puts the answer in words.
    pub(crate) async fn read<T>(
        &mut self,
        call: Call<impl Display>,
        answer: impl Future<Output = Result<T>>,
        say: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let (value, took, work) = self.measured(answer).await;
        let value = value?;
        let tally = self.tallies.entry(call.name).or_default();
        tally.calls += 1;
        let (verdict, sql) = if work.statements == 0 {
            tally.hits += 1;
            (self.paint.green("hit "), format!("{} SQL saved", tally.spare(took)))
        } else {
            tally.load(work.statements, took);
            (self.paint.yellow("miss"), format!("{} SQL", work.statements))
        };
        line(&call, &verdict, took, &sql, &say(&value));
        Ok(value)
    }

    /// Awaits a write and prints it, with what it invalidated.
    pub(crate) async fn write<T>(
        &mut self,
        call: Call<impl Display>,
        answer: impl Future<Output = Result<T>>,
        invalidated: impl AsyncFnOnce() -> Vec<String>,
    ) -> Result<T> {
        let (value, took, work) = self.measured(answer).await;
        let value = value?;
        let tally = self.tallies.entry(call.name).or_default();
        tally.calls += 1;
        tally.statements += work.statements;
        line(&call, &self.paint.cyan("write"), took, &format!("{} SQL", work.statements), "");
        for target in invalidated().await {
            print_line!("      {} {target}", self.paint.cyan("drops"));
        }
        Ok(value)
    }

    /// Prints how many callers of one cold key were answered by how many loads of one statement each.
    pub(crate) async fn burst(
        &mut self,
        call: Call<impl Display>,
        callers: u64,
        all: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let (value, took, work) = self.measured(all).await;
        value?;
        let tally = self.tallies.entry(call.name).or_default();
        tally.calls += callers;
        tally.load(work.statements, took);
        tally.joined += callers - work.statements;
        for _ in work.statements..callers {
            tally.spare(took);
        }
        let sql = format!("{} SQL", work.statements);
        let loads = if work.statements == 1 { "1 load".into() } else { format!("{} loads", work.statements) };
        let words = format!("{} callers, {loads}, {} SQL saved", grouped(callers), grouped(callers - work.statements));
        line(&call, &self.paint.yellow("miss"), took, &sql, &words);
        Ok(())
    }

    /// Prints the sums.
    pub(crate) fn summary(&self) {
        print_line!("\n{}", self.paint.bold("Summary"));
        let heading = ["calls", "hits", "joined", "misses", "SQL run", "SQL saved", "time saved"];
        print_line!("   {}", self.paint.dim(row("", &heading.map(String::from))));
        let mut total = Tally::default();
        for (name, tally) in &self.tallies {
            print_line!("   {}", row(name, &cells(tally)));
            total.calls += tally.calls;
            total.hits += tally.hits;
            total.joined += tally.joined;
            total.loads += tally.loads;
            total.statements += tally.statements;
            total.saved += tally.saved;
            total.saved_time += tally.saved_time;
        }
        print_line!("   {}", self.paint.bold(row("all", &cells(&total))));
    }

    async fn measured<T>(&self, call: impl Future<Output = T>) -> (T, Duration, Work) {
        let (work, begun) = (self.db.work(), Instant::now());
        let value = call.await;
        (value, begun.elapsed(), self.db.work() - work)
    }
}

fn line(call: &Call<impl Display>, verdict: &str, took: Duration, sql: &str, words: &str) {
    let call = format!("{}({})", call.name, call.args);
    // Painted text is longer than it looks, so the verdict comes padded.
    print_line!("   {call:<56} {verdict:<5} {:>9}  {sql:<11}  {words}", millis(took));
}

fn row(name: &str, cells: &[String; 7]) -> String {
    let mut row = format!("{name:<30}");
    for cell in cells {
        // Right-aligned, eleven wide.
        row.extend(std::iter::repeat_n(' ', 11_usize.saturating_sub(cell.len())));
        row.push_str(cell);
    }
    row
}

fn cells(tally: &Tally) -> [String; 7] {
    let numbers = [tally.calls, tally.hits, tally.joined, tally.loads, tally.statements, tally.saved].map(sparse);
    let [calls, hits, joined, loads, statements, saved] = numbers;
    let time = if tally.saved_time.is_zero() { "-".into() } else { millis(tally.saved_time) };
    [calls, hits, joined, loads, statements, saved, time]
}

fn sparse(number: u64) -> String {
    if number == 0 { "-".into() } else { grouped(number) }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Colours, where somebody sees them: on a terminal, unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Colours if the standard output is a terminal.
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!unwanted && std::io::stdout().is_terminal())
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.with("2", text)
    }

    pub(crate) fn green(self, text: impl Display) -> String {
        self.with("32", text)
    }

    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.with("33", text)
    }

    pub(crate) fn cyan(self, text: impl Display) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: impl Display) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 999, 1_000, 20_000, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "20,000", "1,234,567"]);
    }
}
