//! What a node of a cluster tells of the cluster and of itself.
//!
//! Two commands are read. `CLUSTER SLOTS` says how clients are to reach the owners of slots, which may be by a name and
//! not by an address; `CLUSTER NODES` also lists primaries that own nothing yet, and in the line of the node that was
//! asked what it claims itself. Lines that cannot be read are passed over: a map that lacks something is found out when
//! the nodes' own claims are put together.

use std::ops::RangeInclusive;

use redis::Value;

/// Host and port of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Spot {
    /// Reads `host:port`. Where the host is missing or not told, it is that of the node that said so.
    pub(crate) fn read(text: &str, said_by: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::of(host.trim_matches(['[', ']']), port.parse().ok()?, said_by))
    }

    fn of(host: &str, port: u16, said_by: &str) -> Self {
        let host = if matches!(host, "" | "?") { said_by } else { host };
        Self { host: host.to_owned(), port }
    }
}

/// A primary of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Primary {
    /// Where to connect to.
    pub(crate) spot: Spot,
    /// All the ways in which a redirection may name it.
    pub(crate) names: Vec<Spot>,
    pub(crate) owns_slots: bool,
}

/// The cluster as one of its nodes sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) primaries: Vec<Primary>,
    /// The replicas, which can be asked when no primary answers.
    pub(crate) replicas: Vec<Spot>,
}

impl Map {
    /// Reads the answers to `CLUSTER SLOTS` and `CLUSTER NODES` of a node on this host.
    pub(crate) fn read(slots: &Value, nodes: &str, said_by: &str) -> Self {
        let owners = owners(slots, said_by);
        let go_by_names = nodes.lines().filter_map(Line::read).any(|line| {
            let is_own = |(id, spot): &(String, Spot)| id == line.id && line.hostname == Some(&spot.host);
            owners.iter().any(is_own)
        });
        let mut map = Self::default();
        for line in nodes.lines().filter_map(Line::read).filter(Line::is_there) {
            let Some(spot) = Spot::read(line.spot, said_by) else { continue };
            if !line.has("master") {
                map.replicas.push(spot);
                continue;
            }
            let name = line.hostname.map(|host| Spot { host: host.to_owned(), port: spot.port });
            let owner = owners.iter().find(|(id, _)| id == line.id).map(|(_, spot)| spot.clone());
            let owns_slots = owner.is_some();
            // Where owners go by their names, so will this one.
            let to = owner.or_else(|| name.clone().filter(|_| go_by_names)).unwrap_or_else(|| spot.clone());
            let mut names = vec![to.clone(), spot];
            names.extend(name);
            map.primaries.push(Primary { spot: to, names, owns_slots });
        }
        map
    }
}

/// The ids of those who own slots, and how to reach them.
fn owners(slots: &Value, said_by: &str) -> Vec<(String, Spot)> {
    let ranges = as_array(slots).unwrap_or_default();
    let owner = |range: &Value| {
        let [host, port, id, ..] = as_array(as_array(range)?.get(2)?)? else { return None };
        let Value::Int(port) = port else { return None };
        let host = as_text(host).unwrap_or_default();
        Some((as_text(id)?.to_owned(), Spot::of(host, u16::try_from(*port).ok()?, said_by)))
    };
    let mut owners: Vec<_> = ranges.iter().filter_map(owner).collect();
    owners.sort_by(|one, other| one.0.cmp(&other.0));
    owners.dedup();
    owners
}

fn as_array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) is_primary: bool,
    /// The later of two claims on a slot has the higher one.
    pub(crate) epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
    /// Slots that are on their way from or to it.
    moving: Vec<u16>,
}

impl Claims {
    /// Reads its own line in the answer to `CLUSTER NODES`.
    pub(crate) fn read(nodes: &str) -> Option<Self> {
        let line = nodes.lines().filter_map(Line::read).find(|line| line.has("myself"))?;
        let (mut slots, mut moving) = (Vec::new(), Vec::new());
        for word in &line.slots {
            if let Some(mark) = word.strip_prefix('[') {
                let end = mark.find(|c: char| !c.is_ascii_digit())?;
                moving.push(mark[..end].parse().ok()?);
            } else {
                let (from, to) = word.split_once('-').unwrap_or((word, word));
                slots.push(from.parse().ok()?..=to.parse().ok()?);
            }
        }
        let is_primary = line.has("master");
        Some(Self { is_primary, epoch: line.epoch.parse().ok()?, slots, moving })
    }

    pub(crate) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    pub(crate) fn moves(&self, slot: u16) -> bool {
        self.moving.contains(&slot)
    }
}

/// A line of `CLUSTER NODES`.
struct Line<'a> {
    id: &'a str,
    spot: &'a str,
    hostname: Option<&'a str>,
    flags: &'a str,
    epoch: &'a str,
    slots: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// `id ip:port@bus[,hostname[,name=value…]] flags primary ping pong epoch link slot…`
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (id, at, flags) = (words.next()?, words.next()?, words.next()?);
        let (epoch, slots) = (words.nth(3)?, words.skip(1).collect());
        let mut at = at.split(',');
        let spot = at.next()?.split('@').next()?;
        let hostname = at.next().filter(|name| !name.is_empty() && !name.contains('='));
        Some(Self { id, spot, hostname, flags, epoch, slots })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|own| own == flag)
    }

    /// Whether it has been met and is not known to be gone.
    fn is_there(&self) -> bool {
        !["noaddr", "handshake", "fail"].iter().any(|flag| self.has(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(host: &str, port: u16) -> Spot {
        Spot { host: host.to_owned(), port }
    }

    fn range(from: i64, to: i64, host: Value, port: i64, id: &str) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), text(id), Value::Array(Vec::new())]);
        Value::Array(vec![Value::Int(from), Value::Int(to), node.clone(), node])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn owners_replicas_and_those_that_own_nothing_yet_are_told_apart() {
        let nodes = "\
            aaaa 10.0.0.1:7001@17001 myself,master - 0 0 3 connected 0-5460 5462\n\
            bbbb 10.0.0.2:7002@17002,,shard-id=0123 master - 0 1 2 connected 5461 5463-16383\n\
            cccc 10.0.0.3:7003@17003 slave aaaa 0 1 3 connected\n\
            dddd 10.0.0.4:7004@17004 master - 0 1 0 connected\n\
            eeee 10.0.0.5:7005@17005 master,fail - 1 1 1 disconnected\n\
            ffff :0@0 master,noaddr - 1 1 1 disconnected\n\
            hello\n\n";
        let (a, b) = (text("10.0.0.1"), text("10.0.0.2"));
        let slots = Value::Array(vec![
            range(0, 5460, a.clone(), 7001, "aaaa"),
            range(5462, 5462, a, 7001, "aaaa"),
            range(5461, 5461, b, 7002, "bbbb"),
        ]);
        let map = Map::read(&slots, nodes, "10.0.0.1");
        let primaries: Vec<_> = map.primaries.iter().map(|primary| (primary.spot.port, primary.owns_slots)).collect();
        assert_eq!(primaries, [(7001, true), (7002, true), (7004, false)]);
        assert_eq!(map.replicas, [spot("10.0.0.3", 7003)]);
    }

    #[test]
    fn a_node_is_reached_as_the_cluster_prefers_and_known_by_all_its_names() {
        let nodes = "\
            aaaa 10.0.0.1:7001@17001,one.internal myself,master - 0 0 3 connected 0-16383\n\
            bbbb 10.0.0.2:7002@17002,two.internal master - 0 1 2 connected\n";
        let map = Map::read(&Value::Array(vec![range(0, 16_383, text("one.internal"), 7001, "aaaa")]), nodes, "seed");
        assert_eq!(map.primaries[0].spot, spot("one.internal", 7001));
        assert!(map.primaries[0].names.contains(&spot("10.0.0.1", 7001)));
        let own = Map::read(&Value::Array(vec![range(0, 16_383, Value::Nil, 7001, "aaaa")]), nodes, "seed");
        assert_eq!(own.primaries[0].spot, spot("seed", 7001), "the endpoint is not told");
        assert_eq!(own.primaries[1].spot, spot("10.0.0.2", 7002));
        assert!(own.primaries[1].names.contains(&spot("two.internal", 7002)));
    }

    #[test]
    fn a_spot_is_read_as_redirections_name_it() {
        assert_eq!(Spot::read("10.0.0.1:7001", "x"), Some(spot("10.0.0.1", 7001)));
        assert_eq!(Spot::read(":7001", "x"), Some(spot("x", 7001)));
        assert_eq!(Spot::read("?:7001", "x"), Some(spot("x", 7001)));
        assert_eq!(Spot::read("::1:7001", "x"), Some(spot("::1", 7001)));
        assert_eq!(Spot::read("[::1]:7001", "x"), Some(spot("::1", 7001)));
        assert_eq!(Spot::read("10.0.0.1", "x"), None);
        assert_eq!(Spot::read("", "x"), None);
    }

    #[test]
    fn a_node_claims_slots_and_tells_what_is_on_its_way() {
        let nodes = "\
            bbbb 10.0.0.2:7002@17002 master - 0 1 9 connected 0-10\n\
            aaaa 10.0.0.1:7001@17001 myself,master - 0 0 3 connected 11 100-200 [150->-bbbb] [7-<-bbbb]\n";
        let claims = Claims::read(nodes).expect("a line of its own");
        assert!(claims.is_primary);
        assert_eq!(claims.epoch, 3);
        let owned: Vec<u16> = (0..300).filter(|&slot| claims.owns(slot)).collect();
        assert_eq!(owned, std::iter::once(11).chain(100..=200).collect::<Vec<_>>());
        assert_eq!((0..300).filter(|&slot| claims.moves(slot)).collect::<Vec<_>>(), [7, 150]);
        let replica = Claims::read("aaaa 10.0.0.1:7001@17001 myself,slave bbbb 0 0 3 connected").expect("a line");
        assert!(!replica.is_primary && !replica.owns(0));
        assert_eq!(Claims::read("bbbb 10.0.0.2:7002@17002 master - 0 1 9 connected 0-10"), None);
        assert_eq!(Claims::read(""), None);
    }
}
