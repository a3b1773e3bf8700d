//! The cluster as one of its nodes sees it.

/// What a node says of itself and of all others.
#[derive(Debug)]
pub(super) struct View {
    /// All slots are served, as far as it knows.
    pub(super) is_ok: bool,
    pub(super) nodes: Vec<Node>,
    me: usize,
}

/// A node, as seen by another one or by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) is_primary: bool,
    /// It has been met, and is not even suspected to be down.
    pub(super) is_well: bool,
    /// The id of its primary, or `-`.
    pub(super) primary: String,
    pub(super) epoch: u64,
    /// From, and up to and with.
    pub(super) slots: Vec<(u16, u16)>,
    /// Slots that are on their way from or to it, which only the node itself tells.
    pub(super) moving: Vec<u16>,
}

impl View {
    /// From the replies to `CLUSTER INFO` and `CLUSTER NODES`.
    pub(super) fn read(info: &str, nodes: &str) -> Option<Self> {
        let me = nodes.lines().position(|line| line.contains("myself"))?;
        let nodes = nodes.lines().map(Node::read).collect::<Option<_>>()?;
        Some(Self { is_ok: info.contains("cluster_state:ok"), nodes, me })
    }

    /// The node that says this.
    pub(super) fn me(&self) -> &Node {
        &self.nodes[self.me]
    }

    /// Both know the same nodes in the same places.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let find =
            |node: &Node| other.nodes.iter().find(|other| other.id == node.id).is_some_and(|other| node.is_as(other));
        self.nodes.len() == other.nodes.len() && self.nodes.iter().all(find)
    }
}

impl Node {
    /// `id address flags primary ping pong epoch link slot…`
    fn read(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [id, _, flags, primary, _, _, epoch, _, slots @ ..] = fields.as_slice() else { return None };
        let flag = |flag: &str| flags.split(',').any(|other| other == flag);
        Some(Self {
            id: (*id).to_owned(),
            is_primary: flag("master"),
            is_well: !["fail", "fail?", "handshake", "noaddr"].into_iter().any(flag),
            primary: (*primary).to_owned(),
            epoch: epoch.parse().ok()?,
            slots: slots.iter().filter_map(|slots| range(slots)).collect(),
            moving: slots.iter().filter_map(|slot| slot.strip_prefix('[')?.split('-').next()?.parse().ok()).collect(),
        })
    }

    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|&(from, to)| (from..=to).contains(&slot))
    }

    fn is_as(&self, other: &Self) -> bool {
        self.is_primary == other.is_primary && self.primary == other.primary && self.slots == other.slots
    }
}

/// `5` or `5-9`, and not `[5->-…]`, which is on its way.
fn range(slots: &str) -> Option<(u16, u16)> {
    let (from, to) = slots.split_once('-').unwrap_or((slots, slots));
    Some((from.parse().ok()?, to.parse().ok()?))
}
