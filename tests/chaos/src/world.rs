//! What there is to break: the servers, the instances, and the link of each to a single server.
//!
//! The world also knows from when to when Redis was reachable from each instance: there is a primary for everything that takes writes,
//! the link passes bytes at full speed, and the instance runs.

mod single;

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use test_support::{Proxy, RedisServer};

use crate::{
    Options,
    children::Instance,
    clock::{Nanos, now},
    fact::{Fact, Life},
    instance::Setup,
    reaper::Reaper,
    servers::Servers,
    service,
    watch::{Seen, Watch},
};

/// The link of an instance to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Good,
    Cut,
    Frozen,
    Delayed(Duration),
}

/// An instance's place: what is in it changes with every restart.
pub(crate) struct Place {
    pub(crate) instance: Option<Instance>,
    pub(crate) is_stopped: bool,
    pub(crate) link: LinkState,
    /// To a single server; others tell the instances their own addresses.
    proxy: Option<Proxy>,
    /// Redis has been reachable since.
    reachable: Option<Nanos>,
}

/// From when to when Redis was reachable from a life.
pub(crate) type Reach = (Life, Nanos, Nanos);

pub(crate) struct World {
    pub(crate) places: Vec<Place>,
    pub(crate) servers: Servers,
    watch: Option<Watch>,
    /// The single server runs and takes writes.
    pub(crate) redis_is_good: bool,
    /// When a primary was last tampered with.
    touched: Nanos,
    /// Who takes the writes, as far as is known now.
    primaries: Option<Vec<usize>>,
    pub(crate) reach: Vec<Reach>,
    /// When that has changed.
    pub(crate) notes: Vec<(Nanos, Option<Vec<usize>>)>,
    all_cut: bool,
    facts: Sender<(Life, Fact)>,
    setup: Setup,
    reaper: Reaper,
    folder: PathBuf,
}

impl World {
    /// Starts everything. `None` where there is no server to start.
    pub(crate) fn start(options: &Options) -> Option<(Self, Receiver<(Life, Fact)>)> {
        let mut reaper = Reaper::start();
        let folder = tempfile::Builder::new().prefix("staleproof-chaos-").tempdir().expect("there is room").keep();
        reaper.remove(&folder);
        let temporary = || format!("sqlite:{}?mode=rwc", folder.join("chaos.sqlite").display());
        let database = options.database.clone().unwrap_or_else(temporary);
        create_database(&database);
        let servers = Servers::start(options, &mut reaper)?;
        let (facts, told) = channel();
        let setup = Setup {
            life: 0,
            place: 0,
            redis: servers.url().unwrap_or_default(),
            journal: PathBuf::new(),
            database,
            degraded: options.degraded,
            l1: options.l1,
            broken: options.broken,
        };
        let places = (0..options.instances).map(|_| Place::before(&servers)).collect();
        let mut world = Self {
            places,
            watch: servers.watch(),
            servers,
            redis_is_good: true,
            touched: 0,
            primaries: None,
            reach: Vec::new(),
            notes: Vec::new(),
            all_cut: false,
            facts,
            setup,
            reaper,
            folder,
        };
        for place in 0..options.instances {
            world.start_instance(place);
        }
        Some((world, told))
    }

    pub(crate) fn start_instance(&mut self, place: usize) {
        self.setup.life += 1;
        self.setup.place = place;
        self.setup.journal = self.folder.join(format!("journal-{place}"));
        let place = &mut self.places[place];
        let mut setup = self.setup.clone();
        if let Some(proxy) = &place.proxy {
            setup.redis = format!("redis://127.0.0.1:{}", proxy.port());
        }
        place.instance = Some(Instance::start(&setup, &self.facts, &mut self.reaper));
        place.is_stopped = false;
    }

    pub(crate) fn kill_instance(&mut self, place: usize) {
        self.end_reach(place);
        if let Some(instance) = self.places[place].instance.take() {
            instance.kill(&mut self.reaper);
        }
    }

    /// Forgets an instance that has ended.
    pub(crate) fn bury(&mut self, place: usize) {
        self.end_reach(place);
        if let Some(instance) = self.places[place].instance.take() {
            self.reaper.forget(instance.pid());
        }
    }

    pub(crate) fn stop_instance(&mut self, place: usize) {
        self.end_reach(place);
        let place = &mut self.places[place];
        place.is_stopped = true;
        place.instance.iter().for_each(Instance::stop);
    }

    pub(crate) fn continue_instance(&mut self, place: usize) {
        let place = &mut self.places[place];
        place.is_stopped = false;
        place.instance.iter().for_each(Instance::cont);
    }

    pub(crate) fn set_link(&mut self, place: usize, link: LinkState) {
        self.end_reach(place);
        self.places[place].link = link;
        self.places[place].apply(self.all_cut);
    }

    /// Something is about to happen to this server.
    pub(crate) fn touch(&mut self, server: usize) {
        if self.watch.as_ref().is_none_or(|watch| watch.claimants().contains(&server)) {
            self.redis_is_good = false;
            self.touched = now();
            self.primaries = None;
            self.end_all_reach();
        }
    }

    pub(crate) fn kill_server(&mut self, server: usize) {
        self.touch(server);
        let server = &mut self.servers.all_mut()[server];
        server.pid().into_iter().for_each(|pid| self.reaper.forget(pid));
        server.kill();
    }

    pub(crate) fn start_server(&mut self, server: usize) {
        let server = &mut self.servers.all_mut()[server];
        server.restart();
        self.reaper.watch(server.pid().expect("it runs"));
        // What it remembers of its settings may be from a time when it had little room.
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        self.redis_is_good = true;
    }

    pub(crate) fn stop_server(&mut self, server: usize) {
        self.touch(server);
        self.servers.all()[server].stop();
    }

    pub(crate) fn continue_server(&mut self, server: usize) {
        self.touch(server);
        self.servers.all()[server].cont();
        self.redis_is_good = true;
    }

    pub(crate) fn kill_sentinel(&mut self, sentinel: usize) {
        let sentinel = &mut self.servers.sentinels_mut()[sentinel];
        sentinel.pid().into_iter().for_each(|pid| self.reaper.forget(pid));
        sentinel.kill();
    }

    pub(crate) fn start_sentinel(&mut self, sentinel: usize) {
        let sentinel = &mut self.servers.sentinels_mut()[sentinel];
        sentinel.restart();
        self.reaper.watch(sentinel.pid().expect("it runs"));
    }

    /// The servers that claim to be primaries, the right one first.
    pub(crate) fn claimants(&self) -> Vec<usize> {
        self.watch.as_ref().map_or_else(|| vec![0], Watch::claimants)
    }

    /// What has changed by itself since this was last asked.
    pub(crate) fn changes(&self) -> Vec<Seen> {
        self.watch.as_ref().map_or_else(Vec::new, |watch| watch.changes(&self.ports()))
    }

    fn ports(&self) -> Vec<u16> {
        self.servers.all().iter().map(RedisServer::port).collect()
    }

    /// Notes from where Redis has become reachable, and where it is so no longer.
    pub(crate) fn look_around(&mut self) {
        let primaries = match &self.watch {
            None => self.redis_is_good.then(|| vec![0]),
            Some(watch) => watch.primaries_since(self.touched, &self.ports()),
        };
        if primaries != self.primaries {
            self.end_all_reach();
            self.primaries = primaries;
            self.notes.push((now(), self.primaries.clone()));
        }
        for place in &mut self.places {
            let good = self.primaries.is_some() && place.link == LinkState::Good && !place.is_stopped;
            if good && place.reachable.is_none() && place.instance.is_some() {
                place.reachable = Some(now());
            }
        }
    }

    /// There is a primary for everything.
    pub(crate) fn is_good(&self) -> bool {
        self.primaries.is_some()
    }

    fn end_all_reach(&mut self) {
        (0..self.places.len()).for_each(|place| self.end_reach(place));
    }

    fn end_reach(&mut self, place: usize) {
        let place = &mut self.places[place];
        if let (Some(from), Some(instance)) = (place.reachable.take(), &place.instance) {
            self.reach.push((instance.life, from, now()));
        }
    }

    /// The lives that have not ended.
    pub(crate) fn alive(&self) -> Vec<Life> {
        self.places.iter().filter_map(|place| place.instance.as_ref()).map(|instance| instance.life).collect()
    }

    /// Ends all instances, so that no more facts come.
    pub(crate) fn end(mut self) -> Vec<Reach> {
        for place in 0..self.places.len() {
            self.kill_instance(place);
        }
        // The reaper removes it too, should this process not get here.
        drop(std::fs::remove_dir_all(&self.folder));
        self.reach
    }

    /// Runs a command on a server.
    pub(crate) fn ask(&self, server: usize, command: &[&str]) -> String {
        self.servers.all()[server].cli(command)
    }
}

impl Place {
    fn before(servers: &Servers) -> Self {
        let proxy = match servers {
            Servers::Single(servers) => Some(Proxy::start(servers[0].address())),
            _ => None,
        };
        Self { instance: None, is_stopped: false, link: LinkState::Good, proxy, reachable: None }
    }

    fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("only the links to a single server are broken")
    }

    fn apply(&self, all_cut: bool) {
        let proxy = self.proxy();
        proxy.resume();
        match self.link {
            _ if all_cut => proxy.cut(),
            LinkState::Good => {}
            LinkState::Cut => proxy.cut(),
            LinkState::Frozen => proxy.freeze(),
            LinkState::Delayed(delay) => proxy.delay(delay),
        }
    }
}

fn create_database(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let db = service::open(url).await.expect("the database is there");
        service::create(&db).await.expect("the table can be created");
        db.close().await;
    });
}

/// Waits until the instances have begun.
pub(crate) fn wait_for_first(told: &Receiver<(Life, Fact)>) -> Option<(Life, Fact)> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if let Ok(first) = told.try_recv() {
            return Some(first);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}
