//! `staleproof`: looks into a cache in Redis, diagnoses it, and invalidates.
//!
//! What lies in Redis is read from Redis. What only a process of the service knows (its counters, its events, its invalidation map)
//! is read from its admin page.

mod command;
mod failure;
mod invalidate;
mod output;
mod service;
mod shown;
mod watch;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use staleproof::{Cache, L1};

pub(crate) use failure::Failure;
pub(crate) use output::{print, print_json};
use service::Service;

const URL_HELP: &str = "\
redis://[user:password@]host[:port][/db], rediss://…, redis+sentinel://…/service, redis+cluster://…; without it that of \
REDIS_URL, else redis://127.0.0.1";

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and all is well
  1  doctor found an error or a warning; get found nothing
  2  the command line, the URL, the key or the answer makes no sense
  3  out of reach: Redis or the service does not answer, or refuses; or the output cannot be written
  4  nothing was invalidated, because it was not confirmed";

/// Looks into a cache in Redis, diagnoses it, and invalidates.
#[derive(Parser)]
#[command(name = "staleproof", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
pub(crate) struct Global {
    #[arg(long, global = true, help = URL_HELP, env = "STALEPROOF_URL", hide_env_values = true, value_name = "URL")]
    url: Option<String>,
    /// What the service puts in front of every key: its `CacheBuilder::namespace`.
    #[arg(long, short, global = true, env = "STALEPROOF_NAMESPACE", default_value = "staleproof")]
    namespace: String,
    /// JSON for programs, instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// How long each call of Redis, or of the service, may take. Connecting to Redis gets a second in any case.
    #[arg(long, global = true, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    timeout: Duration,
    #[arg(
        long,
        global = true,
        help = "Where the service's admin page is: https://host/admin/cache",
        env = "STALEPROOF_SERVICE",
        value_name = "URL"
    )]
    service: Option<String>,
    /// A header for the service, as `Authorization: Bearer …`. May be given several times.
    #[arg(
        long = "header",
        global = true,
        env = "STALEPROOF_HEADER",
        hide_env_values = true,
        value_name = "NAME: VALUE"
    )]
    headers: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong with the Redis and its settings, and what to do about it.
    Doctor,
    /// Numbers of the servers, and how many entries each function has; of the calls too, with --service.
    Stats {
        /// Stop counting entries after so many.
        #[arg(long, default_value_t = 1_000_000)]
        most: u64,
    },
    /// List entries with what lies there: TTL, size, codec.
    Keys {
        /// Of encoded keys without namespace: `*`, `?`, `[a-z]`, `\`.
        #[arg(default_value = "*")]
        glob: String,
        /// Stop after so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one entry, with its value where the codec describes itself.
    Get {
        /// As `keys` lists it.
        key: String,
    },
    /// Drop entries. Shows what would be hit first, and asks.
    Invalidate(invalidate::Asked),
    /// Print what happens until interrupted: of the servers each second, or the events of a service with --service.
    Watch {
        /// How often the servers are asked.
        #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = seconds)]
        every: Duration,
        /// End after so many lines.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Which method drops which entries, from the service (--service) or from a file that it wrote.
    Map {
        /// The map as JSON, as `staleproof::map()` serializes; `-` for standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
        /// As text, as a drawing for Mermaid or Graphviz, or as data.
        #[arg(long, value_enum, default_value_t = Form::Text)]
        form: Form,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Text,
    Mermaid,
    Dot,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { global, command } = Cli::try_parse().unwrap_or_else(|error| misread(&error));
    let is_json = global.json;
    match run(&global, command).await {
        Ok(code) => output::verdict(code),
        Err(failure) => {
            failure.tell(is_json);
            failure.code()
        }
    }
}

async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Doctor => command::doctor(global).await,
        Command::Stats { most } => command::stats(global, most).await,
        Command::Keys { glob, limit } => command::keys(global, &glob, limit).await,
        Command::Get { key } => command::get(global, &key).await,
        Command::Invalidate(asked) => invalidate::run(global, asked).await,
        Command::Watch { every, count } => watch::run(global, every, count).await,
        Command::Map { file, form } => command::map(global, file.as_deref(), form).await,
    }
}

impl Global {
    /// Opens the cache in Redis, which has to be there.
    pub(crate) async fn open(&self) -> Result<Cache, Failure> {
        let cache = Cache::builder()
            .namespace(&self.namespace)
            .redis(self.redis_url())
            .l1(L1::Off)
            .call_timeout(self.timeout)
            .require_redis()
            .connect()
            .await;
        cache.map_err(|error| Failure::connecting(&error))
    }

    fn redis_url(&self) -> String {
        let of_environment = || std::env::var("REDIS_URL").ok();
        let given =
            self.url.clone().filter(|url| !url.is_empty()).or_else(of_environment).filter(|url| !url.is_empty());
        given.unwrap_or_else(|| "redis://127.0.0.1".to_owned())
    }

    /// The service, if one is named.
    pub(crate) fn service(&self) -> Result<Option<Service>, Failure> {
        let url = self.service.as_deref().filter(|url| !url.is_empty());
        url.map(|url| Service::new(url, &self.headers, self.timeout)).transpose()
    }
}

/// Says why the command line makes no sense, or what was asked for of it, and ends.
fn misread(error: &clap::Error) -> ! {
    // It was not parsed, so it is not known whether that was meant as a flag; a value of that kind is seldom.
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let what = text.lines().next().unwrap_or_default();
        print_json(&serde_json::json!({ "error": what.trim_start_matches("error: ") }));
    }
    error.exit()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(1) && duration <= Duration::from_secs(3600) => Ok(duration),
        _ => Err("between 0.001 and 3600 seconds".to_owned()),
    }
}
