//! Runs the staffing service in the terminal: its scenario, one side of two instances that share a cache, or a load that goes on.

mod load;
mod report;
mod scenario;
mod telemetry;
mod watch;
mod web;

use std::{
    error::Error,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    process::ExitCode,
    time::Instant,
};

use clap::{Parser, Subcommand, ValueEnum};
use staffing::{Db, Staffing, args, db::without_password, schema, seed::Scale};
use staleproof::{Cache, CacheBuilder, Health};

/// Contracts, objects and shifts on a cache whose invalidations hold.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// sqlite:FILE or postgres://…; without it SQLite in a temporary file, with Redis in one that all instances on
    /// that Redis share.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database: Option<String>,
    /// redis://…; without it (and without `STALEPROOF_URL`) the cache is this process's memory.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, global = true)]
    redis: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Play the scenario (the default).
    Scenario,
    /// Ask for an owner's employees twice a second, and print when the answer or its source changes.
    Watch {
        /// The owner's id.
        #[arg(long, default_value_t = 7)]
        owner: i64,
    },
    /// Hire somebody: other instances on the same Redis see it at once.
    Hire {
        /// The owner's id.
        #[arg(long, default_value_t = 7)]
        owner: i64,
        /// The name of the new employee.
        #[arg(long)]
        name: String,
        /// What they are hired for.
        #[arg(long, default_value = "cook")]
        trade: String,
    },
    /// Read and write without end, and serve `/metrics` and `/healthz`.
    Load(load::Load),
    /// Serve pages and a JSON API.
    Serve(web::Serve),
    /// Ask a running `load` or `serve` whether it is well, as a container's health check does.
    Health {
        /// Where it listens.
        #[arg(long, default_value = telemetry::ADDRESS)]
        at: SocketAddr,
    },
    /// Say what is wrong with the Redis, and what to do about it. No database is opened.
    Doctor,
    /// Print which write drops what of the cache. Nothing is opened or connected to.
    Map {
        /// As text, as a drawing for Mermaid or Graphviz, or as data.
        #[arg(long, value_enum, default_value_t = Form::Text)]
        form: Form,
    },
    /// End a contract.
    Terminate {
        /// The contract's id.
        #[arg(long)]
        contract: i64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Mermaid,
    Dot,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("staffing: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let command = cli.command.unwrap_or(Command::Scenario);
    let redis = std::env::var("STALEPROOF_URL").ok().or(cli.redis).filter(|url| !url.is_empty());
    match command {
        Command::Map { form } => return print_map(form),
        Command::Health { at } => return telemetry::ask(at),
        Command::Doctor => return examine(redis.as_deref()).await,
        _ => {}
    }
    let database = match (cli.database.filter(|url| !url.is_empty()), redis.as_deref()) {
        (Some(url), _) => Some(url),
        (None, Some(redis)) => Some(shared_file(redis)?),
        (None, None) => None,
    };
    let begun = Instant::now();
    let db = open_database(database.as_deref()).await?;
    let opened_in = begun.elapsed();
    let builder = open_cache(&db, redis.as_deref()).await?;
    if let Command::Load(load) = command {
        return load::run(load, db, builder).await;
    }
    if let Command::Serve(serve) = command {
        return web::run(serve, db, builder).await;
    }
    let cache = builder.connect().await?;
    let service = Staffing::new(db, &cache);

    match command {
        Command::Map { .. } | Command::Health { .. } | Command::Doctor | Command::Load(_) | Command::Serve(_) => {}
        Command::Scenario => {
            let sizes = sizes(&service.db).await?;
            report::print_line!("database  {}: {sizes}; ready after {} ms", service.db, opened_in.as_millis());
            report::print_line!("cache     {}", describe(&service.db, &cache, redis.as_deref()).await?);
            scenario::play(service, cache).await?;
        }
        Command::Watch { owner } => watch::watch(&service, owner).await?,
        Command::Hire { owner, name, trade } => watch::hire(&service, owner, name, trade).await?,
        Command::Terminate { contract } => watch::terminate(&service, contract).await?,
    }
    Ok(())
}

fn print_map(form: Form) -> Result<(), Box<dyn Error>> {
    let map = staleproof::map();
    report::print_line!(
        "{}",
        match form {
            Form::Text => map.to_string(),
            Form::Mermaid => map.to_mermaid(),
            Form::Dot => map.to_dot(),
            Form::Json => serde_json::to_string_pretty(&map)?,
        }
    );
    Ok(())
}

/// The cache belongs to the data: another database gets another namespace.
fn namespace(identity: &str) -> String {
    format!("staffing-{identity}")
}

/// What cannot be opened is named, and the flag that names another.
async fn open_database(url: Option<&str>) -> Result<Db, Box<dyn Error>> {
    let place = || url.map_or_else(|| "a temporary file".to_owned(), without_password);
    Ok(Db::open(url, Scale::FULL).await.map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        format!("the database at {} (--database, DATABASE_URL) cannot be opened: {cause}", place())
    })?)
}

async fn open_cache(db: &Db, redis: Option<&str>) -> Result<CacheBuilder, Box<dyn Error>> {
    let builder = Cache::builder().namespace(namespace(&schema::identity(db).await?));
    Ok(match redis {
        Some(url) => builder.redis(url),
        None => builder,
    })
}

/// Prints what the doctor says; a failure unless all is well.
async fn examine(redis: Option<&str>) -> Result<(), Box<dyn Error>> {
    let url = redis.ok_or("set REDIS_URL: there is nothing to examine in memory")?;
    let diagnosis = Cache::builder().namespace("staffing-doctor").redis(url).connect().await?.doctor().await;
    if diagnosis.findings.is_empty() {
        report::print_line!("nothing is wrong with {}", without_password(url));
        return Ok(());
    }
    report::print_line!("{diagnosis}");
    if diagnosis.is_well() { Ok(()) } else { Err("there is something to do".into()) }
}

async fn describe(db: &Db, cache: &Cache, redis: Option<&str>) -> staffing::Result<String> {
    let Some(url) = redis.map(without_password) else {
        return Ok("memory of this process (set REDIS_URL to share it with other instances)".into());
    };
    let namespace = namespace(&schema::identity(db).await?);
    Ok(match cache.health() {
        Health::Degraded { .. } => format!("memory, for as long as Redis at {url} is out of reach"),
        _ => format!("Redis at {url}, keys under {namespace}:"),
    })
}

async fn sizes(db: &Db) -> staffing::Result<String> {
    let sql = "
        SELECT (SELECT count(*) FROM owners), (SELECT count(*) FROM objects), (SELECT count(*) FROM contracts),
            (SELECT count(*) FROM shifts)";
    let (owners, objects, contracts, shifts): (i64, i64, i64, i64) = db.one(sql, args![]).await?;
    let [owners, objects, contracts, shifts] =
        [owners, objects, contracts, shifts].map(|count| report::grouped(count.unsigned_abs()));
    Ok(format!("{owners} owners, {objects} objects, {contracts} contracts, {shifts} shifts"))
}

/// A database file that all instances on one Redis find, so that they share the data as they share the cache.
fn shared_file(redis: &str) -> std::io::Result<String> {
    let mut hasher = DefaultHasher::new();
    redis.hash(&mut hasher);
    let file = std::env::temp_dir().join(format!("staffing-{:016x}.sqlite", hasher.finish()));
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    // Cookies are signed with a secret that is in there: it is for nobody else.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&file)?;
    Ok(format!("sqlite:{}", file.display()))
}
