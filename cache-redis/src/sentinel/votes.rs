//! What the sentinels say, taken together.
//!
//! A sentinel alone may be wrong: cut off from the others, it goes on to name the server from before a failover. What more
//! than half of them name is right. Where there is no such thing, since too few of them answer, what counts is the newest
//! configuration: they number their failovers, and each of these needed the consent of more than half.

use std::collections::HashSet;

/// Host and port of a server.
pub(super) type Server = (String, u16);

/// What one sentinel says.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Its own id.
    pub(super) id: String,
    /// The server that it names.
    pub(super) primary: Server,
    /// The number of the failover that made it the primary, which is 0 before the first and where it is not told.
    pub(super) epoch: u64,
    /// The other sentinels that it knows.
    pub(super) others: Vec<Other>,
}

/// A sentinel that another one knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) id: String,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What comes of the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) primary: Server,
    pub(super) epoch: u64,
    /// More than half of all sentinels say so.
    pub(super) is_agreed: bool,
}

/// The answers to one question.
#[derive(Debug, Default)]
pub(super) struct Votes {
    answers: Vec<Answer>,
    /// Sentinels that were known before.
    known: Vec<Other>,
}

impl Votes {
    pub(super) fn new(known: Vec<Other>) -> Self {
        Self { answers: Vec::new(), known }
    }

    /// One vote for each sentinel, by however many addresses it was asked.
    pub(super) fn add(&mut self, answer: Answer) {
        self.answers.retain(|known| known.id != answer.id);
        self.answers.push(answer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether this sentinel has answered.
    pub(super) fn has(&self, id: &str) -> bool {
        self.answers.iter().any(|answer| answer.id == id)
    }

    /// All sentinels that those who answered know.
    pub(super) fn others(&self) -> impl Iterator<Item = &Other> {
        self.answers.iter().flat_map(|answer| &answer.others)
    }

    /// Whether more than half of all sentinels have answered.
    pub(super) fn are_enough(&self) -> bool {
        self.answers.len() * 2 > self.all()
    }

    /// How many sentinels there are, as far as is known.
    fn all(&self) -> usize {
        let own = self.answers.iter().map(|answer| &answer.id);
        own.chain(self.others().chain(&self.known).map(|other| &other.id)).collect::<HashSet<_>>().len()
    }

    /// What more than half of all sentinels say, those included that do not answer. There are `all` of them, or more if more
    /// are known: one that was cut off or set up anew may know of itself alone.
    pub(super) fn agreed(&self, all: usize) -> Option<Choice> {
        let all = all.max(self.all());
        self.answers.iter().find_map(|Answer { primary, .. }| {
            let of_the_same = self.answers.iter().filter(|answer| answer.primary == *primary);
            let epochs: Vec<_> = of_the_same.map(|answer| answer.epoch).collect();
            let epoch = epochs.iter().copied().max().filter(|_| epochs.len() * 2 > all)?;
            Some(Choice { primary: primary.clone(), epoch, is_agreed: true })
        })
    }

    /// Which server is the primary, unless all who answer are behind the configuration `seen` before.
    pub(super) fn choice(&self, seen: u64) -> Option<Choice> {
        let newest = || {
            let newest = self.answers.iter().max_by_key(|answer| answer.epoch)?;
            let choice = Choice { primary: newest.primary.clone(), epoch: newest.epoch, is_agreed: false };
            Some(choice).filter(|choice| choice.epoch >= seen)
        };
        self.agreed(0).or_else(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(id: &str) -> Other {
        Other { id: id.to_owned(), host: "host".to_owned(), port: 1 }
    }

    fn answer(id: &str, primary: &str, epoch: u64, others: &[&str]) -> Answer {
        let others = others.iter().map(|id| other(id)).collect();
        Answer { id: id.to_owned(), primary: (primary.to_owned(), 6379), epoch, others }
    }

    /// Of three, `a`, `b` and `c`, who know each other. Each with the server that it names and the epoch.
    fn votes(answers: &[(&str, &str, u64)]) -> Votes {
        let mut votes = Votes::default();
        for &(id, primary, epoch) in answers {
            let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|other| *other != id).collect();
            votes.add(answer(id, primary, epoch, &others));
        }
        votes
    }

    fn choice(answers: &[(&str, &str, u64)], seen: u64) -> Option<(String, bool)> {
        votes(answers).choice(seen).map(|choice| (choice.primary.0, choice.is_agreed))
    }

    #[test]
    fn what_more_than_half_say_is_right() {
        let agreed = Some(("new".to_owned(), true));
        assert_eq!(choice(&[("a", "new", 2), ("b", "new", 2)], 2), agreed);
        assert_eq!(choice(&[("a", "old", 1), ("b", "new", 2), ("c", "new", 2)], 2), agreed);
        // Also where all of them were set up anew, and one was forgotten.
        assert_eq!(choice(&[("a", "old", 7), ("b", "new", 0), ("c", "new", 0)], 7), agreed);
    }

    #[test]
    fn one_that_is_asked_twice_has_one_vote() {
        assert_eq!(choice(&[("a", "old", 1), ("a", "old", 1), ("b", "new", 2)], 1), Some(("new".to_owned(), false)));
        assert_eq!(choice(&[("a", "old", 1), ("a", "old", 1)], 0), Some(("old".to_owned(), false)));
    }

    #[test]
    fn where_too_few_answer_the_newest_counts() {
        assert_eq!(choice(&[("a", "old", 1)], 0), Some(("old".to_owned(), false)));
        assert_eq!(choice(&[("a", "old", 1), ("b", "new", 2)], 0), Some(("new".to_owned(), false)));
        assert_eq!(choice(&[("b", "new", 2), ("a", "old", 1)], 1), Some(("new".to_owned(), false)));
    }

    #[test]
    fn one_that_is_behind_what_was_seen_is_not_believed_alone() {
        assert_eq!(choice(&[("a", "old", 1)], 2), None);
        assert_eq!(choice(&[("a", "old", 2)], 2), Some(("old".to_owned(), false)));
    }

    #[test]
    fn no_answer_is_no_choice() {
        assert_eq!(choice(&[], 0), None);
    }

    #[test]
    fn one_that_knows_of_nobody_else_has_one_vote_of_all() {
        let alone = || answer("a", "old", 1, &[]);
        let mut votes = votes(&[("b", "new", 2)]);
        votes.add(alone());
        assert_eq!(votes.agreed(0), None);
        let mut before = Votes::new(vec![other("b"), other("c")]);
        before.add(alone());
        assert_eq!(before.agreed(0), None, "two others were known");
        let mut asked = Votes::default();
        asked.add(alone());
        assert_eq!(asked.agreed(2), None, "two were asked");
        assert_eq!(asked.agreed(1).map(|choice| choice.is_agreed), Some(true), "there is one");
    }
}
