//! What several servers say of themselves, asked over and over, each by a thread of its own: who the primaries are is nobody's decision here.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use test_support::{Connection, RedisServer, strings};

use crate::clock::{Nanos, now};

/// How often each is asked, and how long it may take.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_millis(200);

/// What was said longer ago does not count.
const FRESH: Nanos = 400_000_000;

const SLOTS: usize = 16_384;

/// Something that was noticed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) what: Change,
    /// When it was not so yet.
    pub(crate) from: Nanos,
    /// When it was so.
    pub(crate) at: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A replica has become a primary, by its own word.
    Promoted(usize),
    /// Who asks the sentinels of a group is sent to another primary than before. In between it may have depended on which of them answered
    /// first.
    Named(usize),
}

/// Asks until it is dropped.
pub(crate) struct Watch(Arc<Shared>);

struct Shared {
    servers: Mutex<Vec<Said>>,
    sentinels: Mutex<Vec<Said>>,
    seen: Mutex<Vec<Seen>>,
    /// The primary that the sentinels sent everybody to when that was last certain, and whether it is so now.
    named: Mutex<Option<(u16, Nanos, bool)>>,
    is_over: AtomicBool,
}

/// What one of them has said last.
#[derive(Clone, Debug, Default)]
struct Said {
    /// When it was asked.
    at: Nanos,
    what: What,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum What {
    #[default]
    Nothing,
    Replica,
    /// It takes writes, and in a cluster these slots are its own.
    Primary {
        writes: bool,
        slots: Vec<(usize, usize)>,
    },
    /// A sentinel: the primary's port, and the number of the configuration.
    Names(u16, u64),
}

#[derive(Clone, Copy)]
enum Kind {
    Server,
    Node,
    Sentinel(&'static str),
}

impl Watch {
    /// Watches a group: the name is what the sentinels call it.
    pub(crate) fn group(servers: &[RedisServer], sentinels: &[RedisServer], service: &str) -> Self {
        let watch = Self::new(servers.len(), sentinels.len());
        // One for a run.
        let service = String::leak(service.to_owned());
        watch.ask_all(servers, Kind::Server);
        watch.ask_all(sentinels, Kind::Sentinel(service));
        watch
    }

    /// Watches a cluster.
    pub(crate) fn cluster(nodes: &[RedisServer]) -> Self {
        let watch = Self::new(nodes.len(), 0);
        watch.ask_all(nodes, Kind::Node);
        watch
    }

    fn new(servers: usize, sentinels: usize) -> Self {
        Self(Arc::new(Shared {
            servers: Mutex::new(vec![Said::default(); servers]),
            sentinels: Mutex::new(vec![Said::default(); sentinels]),
            seen: Mutex::default(),
            named: Mutex::default(),
            is_over: AtomicBool::new(false),
        }))
    }

    fn ask_all(&self, servers: &[RedisServer], kind: Kind) {
        for (index, server) in servers.iter().enumerate() {
            let (shared, url) = (Arc::clone(&self.0), server.url());
            thread::spawn(move || shared.ask(&url, index, kind));
        }
    }

    /// The primaries for all that there is to store, if all of them take writes and have said so after this moment.
    pub(crate) fn primaries_since(&self, since: Nanos, ports: &[u16]) -> Option<Vec<usize>> {
        let since = since.max(now().saturating_sub(FRESH));
        let servers = lock(&self.0.servers);
        let takes = |said: &Said| said.at > since && matches!(said.what, What::Primary { writes: true, .. });
        let sentinels = lock(&self.0.sentinels);
        if sentinels.is_empty() {
            let primaries = servers.iter().enumerate().filter(|(_, said)| takes(said) && !said.slots().is_empty());
            let covered: usize =
                primaries.clone().flat_map(|(_, said)| said.slots()).map(|(from, to)| to - from + 1).sum();
            return (covered == SLOTS).then(|| primaries.map(|(index, _)| index).collect());
        }
        let named = |port: u16| sentinels.iter().filter(|said| said.at > since && said.port() == Some(port)).count();
        let primary = ports.iter().position(|&port| named(port) > sentinels.len() / 2)?;
        takes(&servers[primary]).then(|| vec![primary])
    }

    /// Those that were primaries when they were last heard of, and in a cluster own something.
    pub(crate) fn claimants(&self) -> Vec<usize> {
        let is_cluster = lock(&self.0.sentinels).is_empty();
        let servers = lock(&self.0.servers);
        let claims = |said: &Said| match &said.what {
            What::Primary { slots, .. } => !is_cluster || !slots.is_empty(),
            _ => false,
        };
        (0..servers.len()).filter(|&index| claims(&servers[index])).collect()
    }

    /// What has changed since this was last asked.
    pub(crate) fn changes(&self, ports: &[u16]) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut *lock(&self.0.seen));
        let mut named = lock(&self.0.named);
        match (self.named(), *named) {
            (Named::Nobody, _) => {}
            (Named::One(port), Some((before, _, true))) if port == before => *named = Some((port, now(), true)),
            (Named::One(port), before) => {
                *named = Some((port, now(), true));
                if let (Some((_, from, _)), Some(server)) = (before, ports.iter().position(|&known| known == port)) {
                    seen.push(Seen { what: Change::Named(server), from, at: now() });
                }
            }
            (Named::Several, before) => *named = before.map(|(port, from, _)| (port, from, false)),
        }
        seen
    }

    /// Whom the sentinels send everybody to: what more than half of them say, else what the newest configuration says.
    fn named(&self) -> Named {
        let fresh = now().saturating_sub(FRESH);
        let sentinels = lock(&self.0.sentinels);
        let said = sentinels.iter().filter(|said| said.at > fresh).filter_map(|said| match said.what {
            What::Names(port, epoch) => Some((port, epoch)),
            _ => None,
        });
        let said: Vec<_> = said.collect();
        let Some(newest) = said.iter().map(|(_, epoch)| *epoch).max() else { return Named::Nobody };
        let most = |port| said.iter().filter(|(other, _)| *other == port).count() * 2 > sentinels.len();
        if let Some((port, _)) = said.iter().find(|(port, _)| most(*port)) {
            return Named::One(*port);
        }
        let mut newest = said.iter().filter(|(_, epoch)| *epoch == newest).map(|(port, _)| *port);
        let first = newest.next();
        first.filter(|first| newest.all(|other| other == *first)).map_or(Named::Several, Named::One)
    }
}

enum Named {
    Nobody,
    One(u16),
    Several,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Said {
    fn port(&self) -> Option<u16> {
        match self.what {
            What::Names(port, _) => Some(port),
            _ => None,
        }
    }

    fn slots(&self) -> &[(usize, usize)] {
        match &self.what {
            What::Primary { slots, .. } => slots,
            _ => &[],
        }
    }
}

impl Shared {
    fn ask(&self, url: &str, index: usize, kind: Kind) {
        let mut connection = None;
        let all = if matches!(kind, Kind::Sentinel(_)) { &self.sentinels } else { &self.servers };
        // What it said last, if anything.
        let mut last = Said::default();
        while !self.is_over.load(Ordering::Relaxed) {
            let said = Said { at: now(), what: ask(&mut connection, url, kind) };
            lock(all)[index] = said.clone();
            if said.what != What::Nothing {
                if let (What::Replica, What::Primary { .. }) = (&last.what, &said.what) {
                    lock(&self.seen).push(Seen { what: Change::Promoted(index), from: last.at, at: now() });
                }
                last = said;
            }
            thread::sleep(PAUSE);
        }
    }
}

fn ask(connection: &mut Option<Connection>, url: &str, kind: Kind) -> What {
    let opened = connection.take().map_or_else(|| Connection::open(url, PATIENCE), Ok);
    let said = opened.and_then(|mut open| Ok((hear(&mut open, kind)?, open)));
    let Ok((what, open)) = said else { return What::Nothing };
    *connection = Some(open);
    what
}

fn hear(connection: &mut Connection, kind: Kind) -> io::Result<What> {
    Ok(match kind {
        Kind::Server => match strings(&connection.ask(&["ROLE"])?).first() {
            Some(&"master") => {
                let writes = connection.ask(&["SET", "chaos-watch", "1"])? == "+OK";
                What::Primary { writes, slots: Vec::new() }
            }
            Some(_) => What::Replica,
            None => What::Nothing,
        },
        Kind::Node => {
            let writes = connection.ask(&["CLUSTER", "INFO"])?.contains("cluster_state:ok");
            let nodes = connection.ask(&["CLUSTER", "NODES"])?;
            nodes.lines().find(|line| line.contains("myself")).map_or(What::Nothing, |line| node(line, writes))
        }
        Kind::Sentinel(service) => {
            let address = connection.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service])?;
            let about = connection.ask(&["SENTINEL", "MASTER", service])?;
            let about = strings(&about);
            let epoch = about.iter().skip_while(|field| **field != "config-epoch").nth(1);
            match (
                strings(&address).get(1).and_then(|port| port.parse().ok()),
                epoch.and_then(|epoch| epoch.parse().ok()),
            ) {
                (Some(port), Some(epoch)) => What::Names(port, epoch),
                _ => What::Nothing,
            }
        }
    })
}

/// `id address flags primary ping pong epoch link slot…`
fn node(line: &str, writes: bool) -> What {
    let fields: Vec<_> = line.split_whitespace().collect();
    if fields.get(2).is_none_or(|flags| flags.contains("slave")) {
        return What::Replica;
    }
    let slots = fields.iter().skip(8).filter_map(|slots| {
        let (from, to) = slots.split_once('-').unwrap_or((slots, slots));
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    What::Primary { writes, slots: slots.collect() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
