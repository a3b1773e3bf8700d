//! The schedule: which step is next, and what breaks.

mod trouble;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::{Cache, Degraded, ManualClock, MemoryStore};
use cache_redis::{RedisConfig, RedisStore};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    Backend, Report, Settings,
    actor::{self, DEGRADED_TTL, Instance, Stage},
    network::Network,
    resp,
    server::{APP, Server},
    stepped::Stepped,
    world::{Scene, Waiting, World},
};

/// How many actors are under way at once.
const ACTORS: usize = 20;

/// How many of them may be writers.
const MOST_WRITERS: usize = 10;

/// The share of readers that read several keys by one batch.
const BATCHES: f64 = 0.3;

/// How many instances share a Redis.
const INSTANCES: usize = 4;

/// How many scripts may be on their way a second time.
const MOST_ECHOES: usize = 12;

/// A read that takes longer, in milliseconds, hangs.
const LONGEST_READ: u64 = 60_000;

/// One simulation.
pub(crate) struct Schedule<'a> {
    settings: &'a Settings,
    server: Option<&'a mut Server>,
    random: fastrand::Rng,
    world: World,
    stage: Stage,
    network: Network,
    clock: ManualClock,
    slots: Vec<Slot>,
    actors: Vec<Actor>,
    /// Scripts that will be executed once more.
    echoes: Vec<Vec<u8>>,
    echo_soon: bool,
    next_instance: u64,
    /// When the server, and each slot's instance, can be reached again.
    down_until: u64,
    /// Until when nothing may be published. Zero: it may.
    mute_until: u64,
    cut_off: Vec<(u64, u64)>,
    steps: u64,
    weather: Weather,
}

/// How much happens. Each seed has one of five kinds: some mistakes show only when little is broken, others in a storm.
struct Weather {
    /// The share of steps at which something breaks.
    trouble: f64,
    /// The share of actors that write.
    writes: f64,
    /// The share of writers that hold what they write.
    holds: f64,
    /// The server mostly dies and comes back with what it had written down.
    restarts: bool,
}

impl Weather {
    fn of(seed: u64) -> Self {
        match seed % 5 {
            0 => Self { trouble: 0.004, writes: 0.07, holds: 0.3, restarts: false },
            1 => Self { trouble: 0.012, writes: 0.13, holds: 0.3, restarts: false },
            2 => Self { trouble: 0.03, writes: 0.20, holds: 0.3, restarts: false },
            3 => Self { trouble: 0.004, writes: 0.35, holds: 0.8, restarts: false },
            _ => Self { trouble: 0.003, writes: 0.10, holds: 0.1, restarts: true },
        }
    }
}

enum Slot {
    Starting(u64, JoinHandle<Cache>),
    Running(Instance),
}

struct Actor {
    instance: u64,
    reads: Option<usize>,
    began: u64,
    task: JoinHandle<()>,
}

/// What may be next.
#[derive(Clone, Copy)]
enum Step {
    Wake(usize),
    Execute(usize),
    Deliver(usize),
    Echo(usize),
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(settings: &'a Settings, mut server: Option<&'a mut Server>) -> Self {
        let scene = Arc::new(Scene::new());
        let world = World::new(scene.keys.len(), settings.l1, settings.trace);
        if let Some(server) = &mut server {
            let mistake = settings.mistake.as_ref();
            let alterations = mistake.map_or(Vec::new(), |mistake| mistake.scripts.to_vec());
            let spares = mistake.is_some_and(|mistake| mistake.glob_spares_leases);
            server.begin(settings.seed, alterations, spares, settings.real_scan);
        }
        Self {
            settings,
            server,
            random: fastrand::Rng::with_seed(settings.seed),
            world: world.clone(),
            stage: Stage { world, scene },
            network: Network::default(),
            clock: whole_second(),
            slots: Vec::new(),
            actors: Vec::new(),
            echoes: Vec::new(),
            echo_soon: false,
            next_instance: 1,
            down_until: 0,
            mute_until: 0,
            cut_off: Vec::new(),
            steps: 0,
            weather: Weather::of(settings.seed),
        }
    }

    pub(crate) async fn run(mut self) -> Report {
        let instances = if self.settings.backend == Backend::Redis { INSTANCES } else { 1 };
        for _ in 0..instances {
            let slot = self.start();
            self.slots.push(slot);
        }
        while self.steps < self.settings.steps && !self.is_over() {
            self.populate();
            self.settle().await;
            if self.random.f64() < self.weather.trouble {
                self.trouble();
                self.steps += 1;
            } else if self.step() {
                self.steps += 1;
            }
        }
        if self.world.lock().checker.failure.is_none() {
            self.wind_down().await;
        }
        self.report()
    }

    fn is_over(&self) -> bool {
        self.world.lock().checker.failure.is_some()
            || (self.steps.is_multiple_of(64)
                && self.settings.until.is_some_and(|until| std::time::Instant::now() >= until))
    }

    /// Lets everything run that can, until all wait for the schedule. A sleep ends when nothing else is left to do: time
    /// stands still until then.
    async fn settle(&mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.clock.advance(Instant::now().into_std() - self.clock.now());
            self.world.lock().now += 1;
            if !self.shake_hands() {
                break;
            }
        }
        self.watch().await;
    }

    /// Executes what opens a connection: nothing depends on when that happens.
    fn shake_hands(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let mut network = self.network.lock();
        let now = self.world.lock().now;
        let mut moved = false;
        for connection in &mut network.connections {
            while connection.stalled_until <= now
                && connection.replies.is_empty()
                && connection.requests.front().is_some_and(|request| is_handshake(request))
            {
                let request = connection.requests.pop_front().expect("it is there");
                connection.replies.push_back(server.execute(&request, now));
                connection.deliver();
                moved = true;
            }
        }
        moved
    }

    /// Looks at what the instances have come to.
    async fn watch(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Starting(id, task) = slot
                && task.is_finished()
            {
                let cache = task.await.expect("connecting does not panic");
                *slot = Slot::Running(Instance { id: *id, cache });
            }
            if let Slot::Running(instance) = slot {
                let mut state = self.world.lock();
                let now = state.now;
                state.checker.link(instance.id, !instance.is_down(), now);
            }
        }
        let mut state = self.world.lock();
        let now = state.now;
        self.actors.retain(|actor| !actor.task.is_finished());
        if let Some(actor) = self.actors.iter().find(|actor| now - actor.began > LONGEST_READ) {
            let what = format!("an actor of instance {} has hung since {}", actor.instance, actor.began);
            state.checker.fail(actor.reads.unwrap_or(0), what);
        }
        if self.down_until <= now {
            self.network.lock().down = false;
        }
        if (1..=now).contains(&self.mute_until)
            && let Some(server) = &mut self.server
        {
            server.mute(false);
            self.mute_until = 0;
        }
        self.cut_off.retain(|(instance, until)| {
            if *until <= now {
                self.network.lock().unreachable.remove(instance);
            }
            *until > now
        });
        self.network.lock().tidy();
    }

    /// Brings in actors for those who have left.
    fn populate(&mut self) {
        let running: Vec<Instance> = {
            let (network, now) = (self.network.lock(), self.world.lock().now);
            let running = self.slots.iter().filter_map(|slot| slot.running());
            running.filter(|instance| !network.is_frozen(instance.id, now)).cloned().collect()
        };
        while self.actors.len() < ACTORS && !running.is_empty() {
            let instance = running[self.random.usize(..running.len())].clone();
            let (stage, random) = (self.stage.clone(), self.random.fork());
            let writes = self.random.f64() < self.weather.writes && self.writers() < MOST_WRITERS;
            let reads = (!writes).then(|| self.random.usize(..self.stage.scene.keys.len()));
            let more = if self.random.f64() < BATCHES { self.random.usize(1..5) } else { 0 };
            let (id, began) = (instance.id, self.world.lock().now);
            let task = match reads {
                Some(key) if more > 0 => {
                    let others = (0..more).map(|_| self.random.usize(..self.stage.scene.keys.len()));
                    let keys = std::iter::once(key).chain(others).collect();
                    tokio::spawn(actor::read_many(stage, instance, keys, random))
                }
                Some(key) => tokio::spawn(actor::read(stage, instance, key, random)),
                None => tokio::spawn(actor::write(stage, instance, self.weather.holds, random)),
            };
            self.actors.push(Actor { instance: id, reads, began, task });
        }
    }

    /// How many write, or wait until nobody serves what they have invalidated. That takes so long that they would keep readers out.
    fn writers(&self) -> usize {
        self.actors.iter().filter(|actor| actor.reads.is_none()).count()
    }

    /// Takes one step, if there is one to take. Otherwise all wait for time to pass.
    fn step(&mut self) -> bool {
        let now = self.world.lock().now;
        self.world.lock().waiting.retain(|waiting| !waiting.go.is_closed());
        let network = self.network.clone();
        let network = network.lock();
        let mut possible: Vec<Step> = {
            let state = self.world.lock();
            let waiting = state.waiting.iter().enumerate();
            let runs = waiting.filter(|(_, waiting)| !network.is_frozen(waiting.instance, now));
            runs.map(|(index, _)| Step::Wake(index)).collect()
        };
        for (index, connection) in network.connections.iter().enumerate() {
            if connection.stalled_until > now {
                continue;
            }
            if !connection.replies.is_empty() {
                possible.extend([Step::Deliver(index); 4]);
            }
            let weight = if connection.client_left { 1 } else { connection.requests.len().min(24) };
            if !connection.requests.is_empty() {
                possible.extend((0..weight).map(|_| Step::Execute(index)));
            }
        }
        drop(network);
        if !self.echoes.is_empty() && (self.echo_soon || self.random.f64() < 0.2) {
            if std::mem::take(&mut self.echo_soon) {
                possible.clear();
            }
            possible.push(Step::Echo(self.random.usize(..self.echoes.len())));
        }
        if possible.is_empty() {
            self.world.lock().count("(waited for time to pass)", 1);
            return false;
        }
        match possible[self.random.usize(..possible.len())] {
            Step::Wake(index) => {
                let mut state = self.world.lock();
                let Waiting { what, go, .. } = state.waiting.swap_remove(index);
                state.count(what, 1);
                // An error means that the actor has gone away meanwhile.
                let _ = go.send(());
            }
            Step::Execute(index) => self.execute(index),
            Step::Deliver(index) => {
                self.network.lock().connections[index].deliver();
                self.world.lock().count("reply that came late", 1);
            }
            Step::Echo(index) => {
                let request = self.echoes.swap_remove(index);
                self.ask("again ", 0, &request);
            }
        }
        true
    }

    fn execute(&mut self, index: usize) {
        let network = self.network.clone();
        let (instance, request) = {
            let connection = &mut network.lock().connections[index];
            (connection.instance, connection.requests.pop_front().expect("a request waits"))
        };
        let arguments = resp::strings(&request);
        let reply = match arguments.first() {
            Some(&b"SUBSCRIBE") => {
                self.world.lock().count("SUBSCRIBE", 1);
                network.lock().connections[index].subscribe(&arguments[1..])
            }
            _ => self.ask("", instance, &request),
        };
        let name = self.server.as_ref().map_or(String::new(), |server| server.name_of(&request));
        // Soon after a removal is when a script that comes again could do harm.
        self.echo_soon = matches!(name.as_str(), "invalidate" | "unhold") && self.random.f64() < 0.3;
        if is_script(&request) && self.random.f64() < if name == "acquire" { 0.5 } else { 0.1 } {
            if self.echoes.len() == MOST_ECHOES {
                self.echoes.remove(0);
            }
            self.echoes.push(request);
        }
        let connection = &mut network.lock().connections[index];
        if connection.client_left {
            return;
        }
        connection.replies.push_back(reply);
        if connection.replies.len() == 1 && self.random.f64() < 0.7 {
            connection.deliver();
        }
    }

    fn ask(&mut self, how: &str, instance: u64, request: &[u8]) -> Vec<u8> {
        let server = self.server.as_mut().expect("only instances of a Redis send requests");
        let mut state = self.world.lock();
        let reply = server.execute(request, state.now);
        let name = format!("{how}{}", server.name_of(request));
        state.count(&name, 1);
        state.trace(|| {
            let keys: Vec<_> = resp::strings(request).into_iter().skip(1).map(String::from_utf8_lossy).collect();
            let reply = String::from_utf8_lossy(&reply).escape_debug().to_string();
            format!("  server: {name} for instance {instance}: {} -> {reply}", keys.join(" "))
        });
        let published = server.take_published();
        drop(state);
        self.publish(&published);
        reply
    }

    /// Takes what was published to those who have subscribed, behind what they are still to hear.
    fn publish(&mut self, published: &[(Vec<u8>, Vec<u8>)]) {
        let now = self.world.lock().now;
        for (channel, message) in published {
            let hearers = self.network.lock().publish(channel, message);
            for index in hearers {
                self.world.lock().count("message published", 1);
                let is_soon = self.random.f64() < 0.5;
                let connection = &mut self.network.lock().connections[index];
                if is_soon && connection.replies.len() == 1 && connection.stalled_until <= now {
                    connection.deliver();
                }
            }
        }
    }

    /// Ends all trouble, lets everything finish, and reads everything once more.
    async fn wind_down(&mut self) {
        self.echoes.clear();
        self.down_until = 0;
        self.mute_until = self.mute_until.min(1);
        self.cut_off.iter_mut().for_each(|(_, until)| *until = 0);
        self.network.lock().thaw();
        self.finish().await;
        let running: Vec<Instance> = self.slots.iter().filter_map(|slot| slot.running().cloned()).collect();
        for instance in running {
            if instance.is_down() {
                let what = format!("instance {} has not found back to its store", instance.id);
                self.world.lock().checker.fail(0, what);
            }
            for key in 0..self.stage.scene.keys.len() {
                let (stage, random) = (self.stage.clone(), self.random.fork());
                let task = tokio::spawn(actor::read(stage, instance.clone(), key, random));
                let began = self.world.lock().now;
                self.actors.push(Actor { instance: instance.id, reads: Some(key), began, task });
            }
        }
        self.finish().await;
    }

    async fn finish(&mut self) {
        for _ in 0..5_000 {
            self.settle().await;
            self.step();
        }
        if !self.actors.is_empty() && self.world.lock().checker.failure.is_none() {
            let what = format!("{} actors do not come to an end", self.actors.len());
            self.world.lock().checker.fail(0, what);
        }
    }

    fn report(self) -> Report {
        let mut state = self.world.lock();
        for slot in &self.slots {
            if let Slot::Running(instance) = slot {
                add_stats(&instance.cache, |what, by| state.count(what, by));
            }
        }
        let trace = state.trace.take().unwrap_or_default();
        Report {
            seed: self.settings.seed,
            l1: (self.settings.backend == Backend::Redis).then_some(self.settings.l1),
            steps: self.steps,
            took: Duration::ZERO,
            counts: std::mem::take(&mut state.counts),
            failure: state.checker.failure.take(),
            trace: trace.into_iter().map(|line| format!("{:>7} {}", line.at, line.text)).collect(),
        }
    }
}

/// Instances.
impl Schedule<'_> {
    fn one_running(&mut self) -> Option<Instance> {
        let running: Vec<Instance> = self.slots.iter().filter_map(|slot| slot.running().cloned()).collect();
        (!running.is_empty()).then(|| running[self.random.usize(..running.len())].clone())
    }

    fn start(&mut self) -> Slot {
        let id = self.next_instance;
        self.next_instance += 1;
        let builder = Cache::builder()
            .clock(&self.clock)
            .l1(self.settings.l1)
            .load_timeout(Duration::from_secs(2))
            .degraded(Degraded::Memory { max_ttl: Duration::from_millis(DEGRADED_TTL) })
            .memory_limit(1 << 20);
        if self.settings.backend == Backend::Memory {
            // Every other seed has too little room.
            let limit = if self.settings.seed.is_multiple_of(2) { 1 << 20 } else { 6 << 10 };
            let memory = Arc::new(MemoryStore::with_clock(limit, (&self.clock).into()));
            let stepped = Stepped::new(memory, self.world.clone(), self.random.fork());
            let cache = builder.store(Arc::new(stepped)).build().expect("nothing is out of range");
            return Slot::Running(Instance { id, cache });
        }
        let config = RedisConfig::new("redis://127.0.0.1")
            .namespace(APP)
            .call_timeout(Duration::from_millis(250))
            .connect_timeout(Duration::from_secs(5))
            .wire(self.network.wire(id));
        let task = tokio::spawn(async move {
            let store = RedisStore::connect(config).await.expect("a server out of reach is no error");
            builder.store(Arc::new(store)).build().expect("nothing is out of range")
        });
        Slot::Starting(id, task)
    }
}

impl Slot {
    fn running(&self) -> Option<&Instance> {
        match self {
            Self::Running(instance) => Some(instance),
            Self::Starting(..) => None,
        }
    }
}

fn add_stats(cache: &Cache, mut add: impl FnMut(&str, u64)) {
    let total = cache.stats().total;
    add("cache: hits", total.hits);
    add("cache: hits from copies", total.l1_hits);
    add("cache: misses", total.misses);
    add("cache: fills", total.fills);
    add("cache: fills refused", total.refused);
    add("cache: joined", total.joined);
    add("cache: refreshed early", total.refreshed);
    add("cache: served after an error", total.served_stale);
    add("cache: degraded calls", total.degraded);
}

/// A clock that goes with the runtime's and begins with a second: stored times are rounded, and must be so in the same way in
/// each run.
fn whole_second() -> ManualClock {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ManualClock::starting_at(Instant::now().into_std(), UNIX_EPOCH + Duration::from_secs(today.as_secs()))
}

fn is_handshake(request: &[u8]) -> bool {
    matches!(resp::strings(request).first(), Some(&(b"HELLO" | b"CLIENT" | b"SCRIPT")))
}

fn is_script(request: &[u8]) -> bool {
    resp::strings(request).first() == Some(&&b"EVALSHA"[..])
}
