//! What is wrong with the cached functions of a program is found.

use staleproof::{Cache, cached, doctor::Severity, invalidates};

struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "doctor_good")]
    async fn good(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "3d", key_prefix = "doctor_long")]
    async fn long(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "1h", key_prefix = "doctor_orphan")]
    async fn orphan(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "1h", key_prefix = "doctor_twice")]
    async fn one(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "1h", key_prefix = "doctor_twice")]
    async fn other(&self, id: i64) -> i64 {
        id
    }

    #[invalidates(Self::good(id), Self::long(id), Self::one(id), Self::other(id), tag("doctor_nobody:{id}"))]
    async fn write(&self, id: i64) -> i64 {
        id
    }
}

async fn found(cache: &Cache) -> Vec<(Severity, &'static str)> {
    let diagnosis = cache.doctor().await;
    assert!(!diagnosis.is_well(), "{diagnosis}");
    diagnosis.findings.iter().map(|finding| (finding.severity, finding.id)).collect()
}

const OF_PROGRAM: [(Severity, &str); 4] = [
    (Severity::Error, "prefix-clash"),
    (Severity::Warning, "hits-nothing"),
    (Severity::Warning, "ttl-over-cap"),
    (Severity::Note, "orphan"),
];

#[tokio::test]
async fn what_is_wrong_with_the_program_is_found() {
    let cache = Cache::global();
    assert_eq!(found(&cache).await, OF_PROGRAM);
    let text = cache.doctor().await.to_string();
    for part in
        ["`doctor_twice`", "`doctor_nobody:{id}`", "`doctor_long` asks for 3d (tests/doctor.rs:", "`doctor_orphan`"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let service = Service { cache };
    let sum = service.good(1).await + service.long(1).await + service.orphan(1).await;
    assert_eq!(sum + service.one(1).await + service.other(1).await + service.write(1).await, 6);
}
