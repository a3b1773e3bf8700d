//! Two instances of the service on one Redis and one database.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use test_support::{Options, RedisServer};
use tokio::runtime::Handle;

use crate::{client::Client, common};

/// Nothing that is waited for takes longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) one: Instance,
    pub(crate) two: Instance,
    /// For as long as the database in it is in use.
    _folder: TempDir,
    database: String,
    flags: Vec<&'static str>,
}

impl World {
    /// Over a Redis that has its data after a restart.
    pub(crate) fn start(flags: &[&'static str]) -> Self {
        let redis = RedisServer::own_with(Options { appendonly: true, ..Options::default() });
        Self::over(redis.expect("a Redis of the test's own"), flags)
    }

    pub(crate) fn over(redis: RedisServer, flags: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().expect("the folder for temporary files can be written");
        let schema = tokio::task::block_in_place(|| Handle::current().block_on(common::own_schema()));
        let file = || format!("sqlite:{}", folder.path().join("staffing.sqlite").display());
        let database = schema.expect("PostgreSQL gives a schema").unwrap_or_else(file);
        let (one, two) = (Instance::start(&redis, &database, flags), Instance::start(&redis, &database, flags));
        Self { redis, one, two, _folder: folder, database, flags: flags.to_vec() }
    }

    /// Kills both instances and starts others.
    pub(crate) fn restart_instances(&mut self) {
        self.one.kill();
        self.two.kill();
        self.one = Instance::start(&self.redis, &self.database, &self.flags);
        self.two = Instance::start(&self.redis, &self.database, &self.flags);
    }

    /// Waits until both instances say that they are with Redis, or without it.
    pub(crate) async fn until(&self, is_up: bool) {
        for instance in [&self.one, &self.two] {
            let began = Instant::now();
            while (instance.client().get("/healthz").await.body == "ok\n") != is_up {
                assert!(began.elapsed() < PATIENCE, "waited in vain for Redis to be there: {is_up}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// A process of the service.
pub(crate) struct Instance {
    process: Child,
    at: String,
    said: Arc<Mutex<Vec<String>>>,
}

impl Instance {
    fn start(redis: &RedisServer, database: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_staffing"));
        for variable in ["STALEPROOF_URL", "REDIS_URL", "DATABASE_URL", "STAFFING_SECRET"] {
            command.env_remove(variable);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--redis", &redis.url(), "--database", database]);
        let mut process = command.args(flags).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let at = lines.find_map(|line| Some(line.trim().strip_prefix("listens   http://")?.to_owned()));
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| heard.lock().expect("nobody panics here").push(line)));
        Self { process, at: at.expect("it says where it listens"), said }
    }

    /// Where it listens.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Somebody who has not logged in.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.at)
    }

    /// The code that was sent last to somebody, once there is one.
    pub(crate) async fn code(&self, login: &str) -> String {
        let began = Instant::now();
        loop {
            let prefix = format!("code      {login} ");
            let last = {
                let said = self.said.lock().expect("nobody panics here");
                said.iter().rev().find_map(|line| Some(line.strip_prefix(&prefix)?.to_owned()))
            };
            if let Some(code) = last {
                return code;
            }
            assert!(began.elapsed() < PATIENCE, "no code for {login}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks for a code, and returns it.
    pub(crate) async fn new_code(&self, login: &str) -> String {
        self.said.lock().expect("nobody panics here").clear();
        let reply = self.client().post("/api/login/code", &serde_json::json!({ "login": login })).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        self.code(login).await
    }

    /// Somebody who has logged in here.
    pub(crate) async fn log_in(&self, login: &str) -> Client {
        let code = self.new_code(login).await;
        let sent = serde_json::json!({ "login": login, "code": code });
        let reply = self.client().post("/api/login", &sent).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        self.client().with_cookie(reply.cookie().expect("a cookie"))
    }

    /// Tells it to stop, as `docker stop` does.
    pub(crate) fn tell_to_stop(&self) {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(told.expect("there is a kill").success());
    }

    /// Whether it ended well, once it has ended.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.process.wait().expect("it is a child").success()
    }

    fn kill(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}
