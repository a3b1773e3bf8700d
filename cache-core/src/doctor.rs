//! What is wrong with a cache's configuration and with its store, and what to do about it.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    cache::{Cache, Health},
    map::map,
    policy::MAX_TTL,
    registry,
};

/// What [`Cache::doctor`] has found. Empty if all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The gravest first.
    pub findings: Vec<Finding>,
}

/// Something that is wrong, or may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Names the kind of finding, for programs: `no-maxmemory`.
    pub id: &'static str,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// How much a finding matters, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// The cache does not work as it should, or a promise rests on what is not there.
    Error,
    /// It works, and there will be trouble.
    Warning,
    /// Worth knowing.
    Note,
}

impl Finding {
    /// A finding.
    pub fn new(severity: Severity, id: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity, id, what: what.into(), advice: advice.into() }
    }
}

impl Diagnosis {
    /// Of these findings.
    pub fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.severity);
        Self { findings }
    }

    /// Whether there is nothing but notes.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return writeln!(f, "all is well");
        }
        for Finding { severity, id, what, advice } in &self.findings {
            writeln!(f, "{severity} [{id}] {what}\n  {advice}")?;
        }
        Ok(())
    }
}

impl Cache {
    /// Looks for what is wrong with this configuration, with the cached functions of this program, and with the store: asks it
    /// about its settings, times it, and sends something through its feed. Takes about a second at most where the store answers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let diagnosis = cache_core::Cache::memory().doctor().await;
    /// assert!(diagnosis.is_well(), "{diagnosis}");
    /// # }
    /// ```
    pub async fn doctor(&self) -> Diagnosis {
        let mut findings = of_program();
        if let Health::Degraded { since, journal } = self.health() {
            findings.push(Finding::new(
                Severity::Error,
                "out-of-reach",
                format!(
                    "the store has been out of reach for {:.0} s; {journal} invalidations wait to be replayed",
                    since.elapsed().as_secs_f64()
                ),
                "the log says why since then; memory carries this instance meanwhile",
            ));
        }
        findings.extend(self.store().examine().await);
        Diagnosis::new(findings)
    }
}

/// What the attributes show.
fn of_program() -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(clash) = registry::check() {
        findings.push(Finding::new(
            Severity::Error,
            "prefix-clash",
            clash.to_string(),
            "until then their entries are kept apart by the functions' paths, which change when code moves",
        ));
    }
    let map = map();
    for orphan in map.orphans() {
        findings.push(Finding::new(
            Severity::Note,
            "orphan",
            format!("no `#[invalidates]` drops `{}` ({}:{})", orphan.prefix, orphan.file, orphan.line),
            format!(
                "what it caches is served for {} whatever is written: name it where its data are written",
                orphan.ttl
            ),
        ));
    }
    for (writer, drops) in map.idle() {
        findings.push(Finding::new(
            Severity::Warning,
            "hits-nothing",
            format!("{} `{}` hits no cached function ({}:{})", drops.how, drops.target, writer.file, writer.line),
            "compare it with the tags and prefixes of the cached functions",
        ));
    }
    for site in registry::sites() {
        if duration(site.ttl()).is_some_and(|ttl| ttl > MAX_TTL) {
            findings.push(Finding::new(
                Severity::Warning,
                "ttl-over-cap",
                format!("`{}` asks for {} ({}:{})", site.prefix(), site.ttl(), site.file(), site.line()),
                "no entry lives for more than 24 h; write a TTL of at most `24h`",
            ));
        }
    }
    findings
}

/// A TTL as it is written in an attribute; `None` for an expression.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (mut total, mut rest) = (0_u64, text.trim());
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = after.trim_start();
    }
    Some(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_attribute_reads_them() {
        for (text, millis) in
            [("900", 900_000), ("15m", 900_000), ("1h 30m", 5_400_000), ("250ms", 250), ("1d2h", 93_600_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["TTL", "Duration :: from_secs (3)", "", "15 parsecs"] {
            assert!(duration(text).is_none_or(|ttl| ttl.is_zero()), "{text}");
        }
    }

    #[test]
    fn the_gravest_come_first() {
        let finding = |severity| Finding::new(severity, "x", "this", "do that");
        let all = Diagnosis::new([Severity::Note, Severity::Error, Severity::Warning].map(finding).into());
        assert!(!all.is_well());
        assert_eq!(
            all.to_string(),
            "error [x] this\n  do that\nwarning [x] this\n  do that\nnote [x] this\n  do that\n"
        );
        assert!(Diagnosis::new(vec![finding(Severity::Note)]).is_well());
        assert_eq!(Diagnosis::default().to_string(), "all is well\n");
    }
}
