//! What happened around a stale read, for people to read.

use super::{Book, Stale};
use crate::clock::Nanos;

impl Book {
    /// What happened to a row around a stale read.
    pub(crate) fn history(&self, stale: &Stale) -> Vec<(Nanos, String)> {
        let from = stale.version.saturating_sub(1);
        let mut lines = Vec::new();
        for (life, write) in &self.writes {
            let commit = &write.commit;
            if commit.row == stale.row && (from..=stale.expected + 1).contains(&commit.version) {
                let (version, kind, outcome) = (commit.version, commit.kind, write.outcome);
                let name = format!("life {life} version {version} ({kind:?})");
                lines.push((write.begin, format!("{name}: write called")));
                lines.push((commit.at, format!("{name}: committed")));
                lines.push((write.end, format!("{name}: returned {outcome:?}")));
            }
        }
        for (life, commit) in self.commits.values() {
            let place = (commit.row, commit.version);
            if commit.row == stale.row
                && !self.returned.contains_key(&place)
                && commit.version <= stale.expected + 1
                && commit.version >= from
            {
                lines.push((
                    commit.at,
                    format!("life {life} version {} ({:?}): committed, never returned", commit.version, commit.kind),
                ));
            }
        }
        for (life, row, version, at) in &self.in_force {
            if *row == stale.row && (from..=stale.expected + 1).contains(version) {
                lines.push((*at, format!("life {life} version {version}: replayed")));
            }
        }
        let (read, snapshot) = (&stale.read, &stale.read.snapshot);
        let life = snapshot.life;
        lines.push((
            snapshot.begin,
            format!("life {life} version {}: load begins, degraded: {}", stale.version, snapshot.degraded),
        ));
        lines.push((snapshot.end, format!("life {life} version {}: load ends", stale.version)));
        lines.push((read.begin, format!("life {} {:?}: the stale read begins", stale.life, read.method)));
        lines.push((read.end, format!("life {} {:?}: the stale read ends", stale.life, read.method)));
        let last = lines.iter().map(|line| line.0).min().unwrap_or(0).min(snapshot.begin).saturating_sub(500_000_000);
        for (life, up, at) in &self.links {
            if (last..=read.end).contains(at) {
                lines.push((*at, format!("life {life}: link {}", if *up { "up" } else { "down" })));
            }
        }
        lines
    }
}
