//! What URLs and the builder say, and that no message has a password in it.

#[cfg(feature = "tls")]
use redis::ConnectionInfo;
use redis::RedisConnectionInfo;

use super::*;

fn address(url: &str) -> Address {
    RedisConfig::new(url).address().expect(url)
}

fn error(url: &str) -> String {
    RedisConfig::new(url).address().expect_err(url).to_string()
}

fn user(settings: &RedisConnectionInfo) -> (&str, &str) {
    (settings.username().unwrap_or(""), settings.password().unwrap_or(""))
}

#[test]
fn urls_of_one_server_are_read() {
    let at = |url: &str| (address(url).at, address(url).database);
    assert_eq!(at("redis://localhost"), ("localhost:6379".to_owned(), 0));
    assert_eq!(at("redis://user:p%40ss@cache:7000/3"), ("cache:7000".to_owned(), 3));
    assert_eq!(at("redis://:a,b@cache"), ("cache:6379".to_owned(), 0));
    assert_eq!(at("valkey://[::1]:1?protocol=resp2"), ("[::1]:1".to_owned(), 0));
    assert_eq!(at("redis+unix:///run/redis.sock?db=2&user=a&pass=b"), ("/run/redis.sock".to_owned(), 2));
    assert_eq!(at("unix:///run/redis.sock"), ("/run/redis.sock".to_owned(), 0));
}

/// Takes a sentinel's address apart: where it is, sentinels, service, database.
fn sentinel(url: &str) -> (Vec<String>, String, i64) {
    match &address(url).topology {
        Topology::Sentinel { service, sentinels, server } => {
            (sentinels.iter().map(place).collect(), service.clone(), server.redis_settings().db())
        }
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn urls_of_sentinels_are_read() {
    let read = |url: &str, at: &[&str], service: &str, database| {
        let at: Vec<_> = at.iter().map(|&at| at.to_owned()).collect();
        assert_eq!(sentinel(url), (at, service.to_owned(), database), "{url}");
    };
    read("redis+sentinel://one/orders", &["one:26379"], "orders", 0);
    read("REDIS+Sentinel://one/orders/", &["one:26379"], "orders", 0);
    read(
        "valkey+sentinel://one,two:7,[::1],[::2]:8/my-primary.1/4?protocol=3",
        &["one:26379", "two:7", "[::1]:26379", "[::2]:8"],
        "my-primary.1",
        4,
    );
    read("redis+sentinel://:a,b@one,10.0.0.1:7/a%2Fb%20c/0", &["one:26379", "10.0.0.1:7"], "a/b c", 0);
    assert_eq!(address("redis+sentinel://u:hunter2@one,two/orders/1").at, "one:26379,two:26379/orders");
}

#[test]
fn sentinels_and_servers_have_users_of_their_own() {
    let users = |config: RedisConfig| match config.address().expect("a good URL").topology {
        Topology::Sentinel { sentinels, server, .. } => {
            assert!(sentinels.iter().all(|sentinel| sentinel.redis_settings().db() == 0), "they have no databases");
            let sentinel = sentinels.last().map(|info| user(info.redis_settings())).expect("there is one");
            [user(server.redis_settings()), sentinel].map(|(user, password)| format!("{user}:{password}"))
        }
        other => panic!("{other:?}"),
    };
    let url = |url: &str| users(RedisConfig::new(url));
    assert_eq!(url("redis+sentinel://one,two/orders/1"), [":", ":"]);
    assert_eq!(url("redis+sentinel://app:a%2Fb@one,two/orders"), ["app:a/b", ":"]);
    assert_eq!(url("redis+sentinel://:x@one/orders?sentinel_pass=y%2B&sentinel_user=ops"), [":x", "ops:y+"]);
    assert_eq!(url("redis+sentinel://one/orders?sentinel_pass=y"), [":", ":y"]);
    let plain = RedisConfig::sentinel("orders", ["one", "[::1]:7"]).credentials("app", "x").database(3);
    assert_eq!(plain.address().expect("good hosts").at, "one:26379,[::1]:7/orders");
    assert_eq!(plain.address().expect("good hosts").database, 3);
    assert_eq!(users(plain.clone()), ["app:x", ":"]);
    assert_eq!(users(plain.sentinel_credentials("", "y@/")), ["app:x", ":y@/"]);
    // What a URL says counts.
    let both = RedisConfig::new("redis+sentinel://:x@one/orders/2?sentinel_user=ops&sentinel_pass=y");
    let both = both.credentials("other", "other").sentinel_credentials("other", "other").database(7);
    assert_eq!(both.address().expect("a good URL").database, 2);
    assert_eq!(users(both), [":x", "ops:y"]);
    let zero = RedisConfig::new("redis://host/0").database(7);
    assert_eq!(zero.address().expect("a good URL").database, 0);
}

#[test]
fn urls_of_clusters_are_read() {
    for (url, at) in [
        ("redis+cluster://one", "one:6379"),
        ("valkey+cluster://app:x@one,two:7001,[::1]/?on_failover=trust", "one:6379,two:7001,[::1]:6379"),
        ("redis+cluster://one/0", "one:6379"),
    ] {
        let address = address(url);
        assert!(matches!(&address.topology, Topology::Cluster { seeds } if !seeds.is_empty()), "{url}");
        assert_eq!(address.at, at);
    }
    let config = RedisConfig::cluster(["one", "two:7001"]).credentials("app", "x");
    match config.address().expect("good hosts").topology {
        Topology::Cluster { seeds } => {
            let seen: Vec<_> = seeds.iter().map(|seed| (place(seed), user(seed.redis_settings()))).collect();
            assert_eq!(seen, [("one:6379".to_owned(), ("app", "x")), ("two:7001".to_owned(), ("app", "x"))]);
        }
        other => panic!("{other:?}"),
    }
    let refused = RedisConfig::cluster(["one"]).database(1).address().expect_err("a cluster has one database");
    assert!(refused.to_string().contains("no database but 0"), "{refused}");
}

#[cfg(feature = "tls")]
#[test]
fn all_nodes_speak_tls_or_none_does() {
    fn nodes(config: &RedisConfig) -> Vec<ConnectionInfo> {
        match config.address().expect("a good URL").topology {
            Topology::Single(server) => vec![server],
            Topology::Sentinel { sentinels, server, .. } => [sentinels, vec![server]].concat(),
            Topology::Cluster { seeds } => seeds,
        }
    }
    for url in ["rediss://a", "rediss+sentinel://a,b/s", "valkeys+sentinel://a/s", "valkeys+cluster://a,b"] {
        assert!(nodes(&RedisConfig::new(url)).iter().all(is_tls), "{url}");
        let plain = url.replace("ss", "s").replace("ys", "y");
        assert!(!nodes(&RedisConfig::new(&plain)).iter().any(is_tls), "{plain}");
        assert!(nodes(&RedisConfig::new(&plain).tls()).iter().all(is_tls), "{plain}");
    }
    assert!(nodes(&RedisConfig::cluster(["a", "b"]).tls()).iter().all(is_tls));
    let other = elsewhere(&nodes(&RedisConfig::new("rediss://a"))[0], "b", 7);
    assert!(is_tls(&other) && place(&other) == "b:7");
    let refused = RedisConfig::new("unix:///s").tls().address().expect_err("no TLS there");
    assert!(refused.to_string().contains("Unix socket"), "{refused}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_without_its_feature_is_an_error() {
    for url in ["rediss://a", "rediss+sentinel://a/s", "valkeys+cluster://a"] {
        assert!(error(url).contains("needs the feature `tls`"), "{url}");
    }
}

#[test]
fn what_is_wrong_is_said_without_the_password() {
    let secret = "hunter2";
    for (url, expected) in [
        ("hunter2", "has to begin with redis://"),
        ("http://:hunter2@host", "has to begin with redis://"),
        ("sentinel://:hunter2@host/orders", "redis+sentinel://"),
        ("redis://:hunter2@", "host"),
        ("redis://:hunter2@host:port", "not a number"),
        ("redis://:hunter2@host/first", "database number"),
        ("redis://:hunter2@host/-1", "negative"),
        ("redis://:hunter2@host?protocol=4", "protocol"),
        ("redis://:hunter2@host?databse=4", "unknown option `databse`; the options are: protocol"),
        ("unix:///s?pass=hunter2&timeout=4", "unknown option; the options are: db, user, pass, protocol"),
        ("unix:///s?timeout=4&pass=hunter2", "unknown option `timeout`; the options are: db, user, pass, protocol"),
        ("unix:///s?pass=a&hunter2", "unknown option; "),
        ("redis://:hunter2@host?on_failover=hope", "either fence or trust"),
        ("redis://user:1?hunter2=x@host", "unknown option; "),
        ("redis://user:1/hunter2@host", "database number"),
        ("redis://user:1#hunter2@host", "fragment"),
        ("redis://user:hunter2/x@host", "not a number"),
        ("redis://:hunter2@one,two", "redis+sentinel:// or redis+cluster://"),
        ("redis://:hunter2@one:1,two:2/1", "redis+sentinel:// or redis+cluster://"),
        ("redis+sentinel://:hunter2@/orders", "host"),
        ("redis+sentinel://:hunter2@one,,two/orders", "host"),
        ("redis+sentinel://:hunter2@one,two", "name is missing"),
        ("redis+sentinel://:hunter2@one,two//1", "name is missing"),
        ("redis+sentinel://:hunter2@one,two:x/orders", "not a number"),
        ("redis+sentinel://:hunter2@one,::1/orders", "without brackets"),
        ("redis+sentinel://:hunter2@[::x]/orders", "IPv6"),
        ("redis+sentinel://:hunter2@one/orders/first", "database number"),
        ("redis+sentinel://:hunter2@one/orders/1/2", "database number"),
        ("redis+sentinel://:hunter2@one/orders/-1", "negative"),
        ("redis+sentinel://:hunter2@one/%ff", "not UTF-8"),
        (
            "redis+sentinel://:hunter2@one/orders?db=1",
            "unknown option `db`; the options are: sentinel_user, sentinel_pass",
        ),
        ("redis+sentinel://one/orders?sentinel_pass=a&hunter2", "unknown option; the options are: sentinel_user"),
        ("redis+sentinel://one/orders?sentinel_pass=hunter2#a", "fragment"),
        ("redis+sentinel://user:hunter2/x@one/orders", "`@` behind the hosts"),
        ("redis+sentinel://user:1/hunter2@one/orders", "`@` behind the hosts"),
        ("redis+sentinel://user:1?hunter2@one/orders", "unknown option; "),
        ("redis+sentinel://user:1#hunter2@one/orders", "fragment"),
        ("redis+cluster://:hunter2@one/1", "no database but 0"),
        ("redis+cluster://:hunter2@one,two/first", "database number"),
        ("redis+cluster://:hunter2@one,two:70000", "not a number"),
        ("redis+cluster://:hunter2@one?sentinel_pass=x", "unknown option `sentinel_pass`; the options are: protocol"),
        ("redis+cluster://user:1/hunter2@one", "database number"),
    ] {
        let message = error(url);
        assert!(message.contains(expected), "{url}: {message}");
        assert!(!message.contains(secret), "{url}: {message}");
        let debug = format!("{:?} {:?}", RedisConfig::new(url), RedisConfig::new(url).address());
        assert!(!debug.contains(secret), "{url}: {debug}");
    }
}

#[test]
fn hosts_of_the_builder_bring_nothing_else() {
    let none: [&str; 0] = [];
    for config in [
        RedisConfig::sentinel("orders", ["one,two"]),
        RedisConfig::sentinel("orders", ["redis://one"]),
        RedisConfig::sentinel("orders", ["user:hunter2@one"]),
        RedisConfig::sentinel("orders", ["one/other"]),
        RedisConfig::sentinel("orders", [""]),
        RedisConfig::sentinel("orders", none),
        RedisConfig::sentinel("", ["one"]),
        RedisConfig::cluster(["one?protocol=2"]),
        RedisConfig::cluster(["one two"]),
        RedisConfig::cluster(["one:x"]),
        RedisConfig::cluster(none),
    ] {
        let error = config.address().expect_err("not hosts");
        assert!(matches!(error, crate::ConnectError::InvalidUrl(_)), "{error}");
        assert!(!format!("{error} {config:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn the_url_says_what_happens_on_failover_or_the_builder_does() {
    let policy = |config: RedisConfig| config.address().map(|address| address.on_failover).expect("a good URL");
    let config = |url: &str| RedisConfig::new(url).on_failover(OnFailover::Trust);
    assert_eq!(policy(RedisConfig::new("redis://host")), OnFailover::Fence);
    assert_eq!(policy(config("redis://host?protocol=resp2")), OnFailover::Trust);
    assert_eq!(policy(config("redis://host?on_failover=fence")), OnFailover::Fence);
    assert_eq!(policy(config("redis+sentinel://host/orders?on_failover=fence")), OnFailover::Fence);
    assert_eq!(policy(RedisConfig::sentinel("orders", ["host"]).on_failover(OnFailover::Trust)), OnFailover::Trust);
    assert_eq!(policy(RedisConfig::new("unix:///s?db=1&on_failover=trust")), OnFailover::Trust);
    assert_eq!(policy(RedisConfig::new("redis+cluster://a,b?on_failover=trust")), OnFailover::Trust);
}

#[test]
fn debug_of_a_good_configuration_tells_no_password() {
    for url in [
        "redis://user:hunter2@host/1",
        "redis+sentinel://user:hunter2@host/orders?sentinel_pass=hunter2",
        "redis+cluster://user:hunter2@one,two",
    ] {
        let config = RedisConfig::new(url);
        assert!(!format!("{config:?} {:?}", config.address()).contains("hunter2"), "{url}");
    }
    let config = RedisConfig::sentinel("orders", ["one"]).credentials("", "hunter2");
    let config = config.sentinel_credentials("ops", "hunter2");
    assert!(!format!("{config:?} {:?}", config.address()).contains("hunter2"));
}
