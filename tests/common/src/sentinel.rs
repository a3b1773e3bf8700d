//! A primary, its replicas, and the sentinels that watch over them.

use crate::{
    cli::strings,
    redis::{Options, RedisServer},
    wait::wait_for,
};

/// What the sentinels call the servers.
const SERVICE: &str = "fixture";

/// What kind of group to start.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// How many replicas.
    pub replicas: usize,
    /// How many sentinels. One more than half of them has to agree that the primary is down.
    pub sentinels: usize,
    /// How many replicas a primary has to have heard from within this many seconds to take writes.
    pub min_replicas: Option<(usize, u64)>,
    /// The password of the servers.
    pub password: Option<String>,
    /// The password of the sentinels.
    pub sentinel_password: Option<String>,
    /// More arguments of the servers' command lines.
    pub arguments: Vec<String>,
    /// Sentinels look at the servers as seldom as they do in production: an old primary that comes back stays one for some 10 s.
    pub unhurried: bool,
}

impl Default for SentinelOptions {
    fn default() -> Self {
        Self {
            replicas: 1,
            sentinels: 3,
            min_replicas: None,
            password: None,
            sentinel_password: None,
            arguments: Vec::new(),
            unhurried: false,
        }
    }
}

/// A primary, its replicas, and sentinels, all of them processes that end when this is dropped.
///
/// Sentinels count a server as down after 1 s, and fail over at most every 4 s.
#[derive(Debug)]
pub struct SentinelGroup {
    /// The servers; the first is the primary in the beginning. To be killed, stopped, continued and restarted at will: they remember
    /// whose replicas they are, and not what they held.
    pub servers: Vec<RedisServer>,
    /// The sentinels, to be broken like the servers.
    pub sentinels: Vec<RedisServer>,
    options: SentinelOptions,
}

impl SentinelGroup {
    /// A group whose replicas have what the primary has, and whose sentinels know of each other. `None`, with a line on the terminal,
    /// where there is no server to start: return then.
    pub fn start(options: SentinelOptions) -> Option<Self> {
        let servers = (0..=options.replicas).map(|_| server(&options)).collect::<Option<Vec<_>>>()?;
        for replica in &servers[1..] {
            follow(replica, &servers[0]);
        }
        wait_for("the replicas to attach", || servers[1..].iter().all(is_attached).then_some(()));
        let sentinels = (0..options.sentinels).map(|_| sentinel(&options, &servers[0])).collect::<Option<Vec<_>>>()?;
        let group = Self { servers, sentinels, options };
        group.settle();
        Some(group)
    }

    /// How the store finds the primary: all sentinels, and the name of the service.
    pub fn url(&self) -> String {
        let user = self.options.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        let password = self.options.sentinel_password.as_ref();
        let query = password.map_or(String::new(), |password| format!("?sentinel_pass={password}"));
        format!("redis+sentinel://{user}{}/{SERVICE}{query}", hosts.join(","))
    }

    /// What the sentinels call the servers.
    #[allow(clippy::unused_self, reason = "it may differ some day")]
    pub fn service(&self) -> &str {
        SERVICE
    }

    /// The server that more than half of the sentinels call the primary, if there is one. It may be down.
    pub fn primary(&self) -> Option<usize> {
        let named: Vec<_> = self.sentinels.iter().filter_map(|sentinel| self.named_by(sentinel)).collect();
        let votes = |index: &usize| named.iter().filter(|named| *named == index).count();
        (0..self.servers.len()).find(|index| votes(index) > self.sentinels.len() / 2)
    }

    /// Commands a failover, and waits until the sentinels have begun with it. The old primary is not told at once.
    pub fn fail_over(&self) {
        wait_for("the sentinels to begin a failover", || self.try_fail_over().then_some(()));
    }

    /// Commands a failover. `false` if the sentinels cannot now, as while the last one goes on.
    #[must_use = "they may not"]
    pub fn try_fail_over(&self) -> bool {
        let mut running = self.sentinels.iter().filter(|sentinel| sentinel.runs());
        running.any(|sentinel| ask(sentinel, &["SENTINEL", "FAILOVER", SERVICE]) == "+OK")
    }

    /// Waits until another server than this one is the primary and takes writes, and returns it.
    pub fn wait_for_failover(&self, from: usize) -> usize {
        wait_for("a failover", || {
            self.primary().filter(|&now| now != from && role(&self.servers[now]).as_deref() == Some("master"))
        })
    }

    /// Waits until all is well: all sentinels that run call the same running server the primary, and all other servers that run have
    /// what it has. Returns the primary. An old primary takes some seconds to follow the new one.
    pub fn settle(&self) -> usize {
        wait_for("the group to settle", || {
            let mut sentinels = self.sentinels.iter().filter(|sentinel| sentinel.runs());
            let primary = self.primary()?;
            let settled = sentinels.all(|sentinel| self.is_settled(sentinel, primary))
                && role(&self.servers[primary]).as_deref() == Some("master")
                && self.others(primary).all(|other| self.follows(other, primary));
            settled.then_some(primary)
        })
    }

    fn others(&self, primary: usize) -> impl Iterator<Item = &RedisServer> {
        let others = self.servers.iter().enumerate().filter(move |(index, server)| *index != primary && server.runs());
        others.map(|(_, server)| server)
    }

    fn follows(&self, replica: &RedisServer, primary: usize) -> bool {
        let port = format!("master_port:{}\r", self.servers[primary].port());
        let info = ask(replica, &["INFO", "replication"]);
        info.contains(&port) && info.contains("master_link_status:up")
    }

    /// The sentinel knows what it needs for the next failover.
    fn is_settled(&self, sentinel: &RedisServer, primary: usize) -> bool {
        let replicas = ask(sentinel, &["SENTINEL", "REPLICAS", SERVICE]);
        let known = |port: u16| strings(&replicas).contains(&port.to_string().as_str());
        self.named_by(sentinel) == Some(primary)
            && self.others(primary).all(|other| known(other.port()))
            && ask(sentinel, &["SENTINEL", "CKQUORUM", SERVICE]).starts_with("+OK")
            && ask(sentinel, &["INFO", "sentinel"]).contains("status=ok")
    }

    fn named_by(&self, sentinel: &RedisServer) -> Option<usize> {
        if !sentinel.runs() {
            return None;
        }
        let reply = ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        let port = *strings(&reply).get(1)?;
        self.servers.iter().position(|server| server.port().to_string() == port)
    }
}

fn server(options: &SentinelOptions) -> Option<RedisServer> {
    let mut arguments: Vec<String> =
        ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"].map(Into::into).into();
    if let Some((replicas, lag)) = options.min_replicas {
        let (replicas, lag) = (replicas.to_string(), lag.to_string());
        arguments.extend(["--min-replicas-to-write", &replicas, "--min-replicas-max-lag", &lag].map(Into::into));
    }
    if let Some(password) = &options.password {
        arguments.extend(["--masterauth", password].map(Into::into));
    }
    arguments.extend(options.arguments.iter().cloned());
    // Sentinels tell a server whom to follow, and to remember it.
    let (password, settings) = (options.password.clone(), Some(String::new()));
    RedisServer::own_with(Options { password, arguments, settings, ..Options::default() })
}

fn sentinel(options: &SentinelOptions, primary: &RedisServer) -> Option<RedisServer> {
    let (port, quorum) = (primary.port(), options.sentinels / 2 + 1);
    let mut settings = vec![
        format!("sentinel monitor {SERVICE} 127.0.0.1 {port} {quorum}"),
        format!("sentinel down-after-milliseconds {SERVICE} 1000"),
        format!("sentinel failover-timeout {SERVICE} 2000"),
        format!("sentinel parallel-syncs {SERVICE} {}", options.replicas.max(1)),
    ];
    settings.extend(options.password.iter().map(|password| format!("sentinel auth-pass {SERVICE} {password}")));
    settings.extend(options.sentinel_password.iter().map(|password| format!("sentinel sentinel-pass {password}")));
    let hurry = ["INFO-PERIOD", "500", "PUBLISH-PERIOD", "300", "TILT-PERIOD", "500"];
    let commands = if options.unhurried {
        Vec::new()
    } else {
        vec![["SENTINEL", "DEBUG"].iter().chain(&hurry).map(ToString::to_string).collect()]
    };
    let (password, settings) = (options.sentinel_password.clone(), Some(settings.join("\n") + "\n"));
    RedisServer::own_with(Options { password, settings, commands, is_sentinel: true, ..Options::default() })
}

fn follow(replica: &RedisServer, primary: &RedisServer) {
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "+OK");
    assert_eq!(replica.cli(&["CONFIG", "REWRITE"]), "+OK");
}

fn is_attached(replica: &RedisServer) -> bool {
    replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
}

fn role(server: &RedisServer) -> Option<String> {
    if !server.runs() {
        return None;
    }
    let role = ask(server, &["ROLE"]);
    strings(&role).first().map(ToString::to_string)
}

/// The reply, or what went wrong.
fn ask(server: &RedisServer, command: &[&str]) -> String {
    server.try_cli(command).unwrap_or_else(|error| error.to_string())
}
