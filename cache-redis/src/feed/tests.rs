//! Announcements, renewals and losses in every order.

use crate::name::Names;

use super::*;

/// What was told, in order.
#[derive(Default)]
struct Course(Mutex<Vec<String>>);

impl Course {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no test panics here"))
    }

    fn add(&self, what: impl Into<String>) {
        self.0.lock().expect("no test panics here").push(what.into());
    }
}

impl Nearby for Course {
    fn invalidate(&self, targets: &[Target]) {
        for target in targets {
            self.add(target.to_string());
        }
    }

    fn empty(&self) {
        self.add("empty");
    }

    fn may_serve_until(&self, _until: Instant) {
        self.add("lease");
    }
}

struct Member {
    feed: Arc<Feed>,
    course: Arc<Course>,
    ear: Ear,
    acks: mpsc::UnboundedReceiver<Ack>,
}

impl Member {
    fn new() -> Self {
        let feed = Arc::new(Feed::new(Names::new("test").feed(0), true, Meter::new("test")));
        let course = Arc::new(Course::default());
        assert!(feed.join(Arc::clone(&course) as Arc<dyn Nearby>));
        let (ear, acks) = Ear::new(&feed);
        Self { feed, course, ear, acks }
    }

    /// With a lease, and the last announcement's number 10.
    fn settled() -> Self {
        let member = Self::new();
        let sent = member.ear.renew().expect("it hears");
        member.renewed(sent, 10, false);
        assert_eq!(member.course.take(), ["empty", "lease"], "nothing from before the first lease is kept");
        member
    }

    fn push(&self, number: u64) {
        let targets = message::encode([Target::Entry(number.to_string())].iter());
        let message = format!("{number} {}", message::announcement("other", 3, &targets));
        let data = vec![
            Value::BulkString(self.feed.names.channel.clone().into_bytes()),
            Value::BulkString(message.into_bytes()),
        ];
        self.ear.listener()(PushInfo { kind: PushKind::Message, data });
    }

    fn renewed(&self, sent: Instant, last: u64, was_missing: bool) {
        self.ear.renewed(&Renewed { sent, was_missing, last });
    }
}

#[test]
fn what_came_before_or_after_the_answer_is_no_gap() {
    let member = Member::settled();
    let sent = member.ear.renew().expect("it hears");
    member.push(11);
    member.push(12);
    for last in [10, 11, 12] {
        member.renewed(sent, last, false);
    }
    assert_eq!(member.course.take(), ["11", "12", "lease", "lease", "lease"]);
    // What was heard before the renewal was sent cannot be the last one.
    let sent = member.ear.renew().expect("it hears");
    member.renewed(sent, 11, false);
    assert_eq!(member.course.take(), ["empty", "lease"]);
}

#[test]
fn an_announcement_that_was_not_heard_empties_before_the_lease() {
    let member = Member::settled();
    let sent = member.ear.renew().expect("it hears");
    member.renewed(sent, 11, false);
    assert_eq!(member.course.take(), ["empty", "lease"]);
    member.push(12);
    assert_eq!(member.course.take(), ["12"], "it goes on from there");
    member.push(14);
    assert_eq!(member.course.take(), ["empty", "14"]);
    let sent = member.ear.renew().expect("it hears");
    member.push(16);
    member.renewed(sent, 14, false);
    assert_eq!(member.course.take(), ["empty", "16", "empty", "lease"], "rather once too often");
}

/// What a member is told over a second connection, when it has missed an announcement between the two.
fn over_another_connection() -> (Member, Vec<String>) {
    let mut member = Member::settled();
    // The registry still has the member: that it leaves was to be sent over the connection that is lost.
    member.ear.listener()(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
    assert_eq!(member.course.take(), ["empty"]);
    // Announcement 11 is not heard, and a copy of what it hits was made before. 12 comes between the subscription and the renewal.
    (member.ear, member.acks) = Ear::new(&member.feed);
    member.push(12);
    let sent = member.ear.renew().expect("it hears");
    member.renewed(sent, 12, false);
    let course = member.course.take();
    (member, course)
}

#[test]
fn nothing_from_before_the_first_lease_over_another_connection_is_kept() {
    let (member, course) = over_another_connection();
    assert_eq!(course, ["12", "empty", "lease"]);
    member.push(13);
    member.renewed(member.ear.renew().expect("it hears"), 13, false);
    assert_eq!(member.course.take(), ["13", "lease"], "from there on it counts");
}

#[cfg(feature = "__mutants")]
#[test]
fn a_first_lease_that_kept_copies_would_be_noticed() {
    mutant::choose(Some(Mutant::FirstLeaseKeeps));
    let (_, course) = over_another_connection();
    mutant::choose(None);
    assert_eq!(course, ["12", "lease"], "the lease is over what 11 has hit");
}

#[test]
fn who_was_missing_is_emptied() {
    let member = Member::settled();
    let sent = member.ear.renew().expect("it hears");
    member.renewed(sent, 10, true);
    assert_eq!(member.course.take(), ["empty", "lease"]);
}

#[test]
fn nothing_counts_after_a_loss() {
    for lose in [
        (|member: &Member| member.feed.lose()) as fn(&Member),
        |member| member.ear.listener()(PushInfo { kind: PushKind::Disconnection, data: Vec::new() }),
        |member| drop(Ear::new(&member.feed)),
    ] {
        let member = Member::settled();
        let sent = member.ear.renew().expect("it hears");
        lose(&member);
        member.push(11);
        member.renewed(sent, 10, false);
        assert_eq!(member.course.take()[0], "empty");
        assert_eq!(member.course.take(), [""; 0], "no lease, and nothing told twice");
        assert!(member.ear.renew().is_none());
    }
}

#[test]
fn what_is_acknowledged_was_told() {
    let mut member = Member::settled();
    member.push(11);
    let ack = member.acks.try_recv().expect("it is acknowledged");
    assert_eq!(ack.channel, format!("{}other", member.feed.names.acks));
    assert_eq!(ack.message, message::ack(&member.feed.id, 3, 11));
    member.feed.lose();
    member.push(12);
    assert!(member.acks.try_recv().is_err(), "what was not told is not acknowledged");
}

#[test]
fn what_cannot_be_read_is_everything() {
    let mut member = Member::settled();
    let data = vec![
        Value::BulkString(member.feed.names.channel.clone().into_bytes()),
        Value::BulkString(b"from the future".to_vec()),
    ];
    member.ear.listener()(PushInfo { kind: PushKind::Message, data });
    assert_eq!(member.course.take(), ["empty", "everything"]);
    assert!(member.acks.try_recv().is_err());
}
